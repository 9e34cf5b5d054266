"""Measure the cost of networks on this machine, to help choose one: rates, memory, parameters and GMACs.

Each network and batch size is measured alone, at the network's usual image size; its forward pass and training step
take turns.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tench.bench.accuracy import Accuracy, accuracies
from tench.bench.measure import REPEATS, Rate
from tench.bench.network import Network, network
from tench.bench.step import SECONDS, forward_pass, in_turns, training_step
from tench.bench.train import note, rate_values, require_seconds
from tench.errors import UsageError
from tench.machine import choose_device
from tench.models import ModelInfo, describe, find
from tench.progress import progress
from tench.training.recipe import Recipe
from tench.training.stopping import stop_signals

USUAL = "alexnet vgg16 resnet50 resnet152 inception_v3 densenet121 squeezenet1_1 mobilenet_v2".split()
"""The default: the networks of MXNet's benchmark_score.py that torchvision has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A network with a batch size. forward, training: a rate, or the reason if there is none. memory_bytes: peak of
    training; None if unknown. accuracies: the known ones, best first.
    """

    info: ModelInfo
    batch_size: int
    precision: str
    forward: Rate | str
    training: Rate | str
    memory_bytes: int | None
    accuracies: Sequence[Accuracy]

    def to_json(self) -> dict[str, Any]:
        """For programs and CSV: the same keys in every row; docs/bench.md explains them."""
        best = self.accuracies[0] if self.accuracies else None
        forward, training = rate_values(self.forward), rate_values(self.training)
        return {
            "stage": "model",
            **dataclasses.asdict(self.info),
            "batch_size": self.batch_size,
            "precision": self.precision,
            "forward_images_per_second": forward["images_per_second"],
            "forward_min": forward["min"],
            "forward_max": forward["max"],
            "images_per_second": training["images_per_second"],
            "min": training["min"],
            "max": training["max"],
            "memory_bytes": self.memory_bytes,
            "note": note(self.training),
            "forward_note": note(self.forward),
            "top1": None if best is None else round(best.top1, 6),
            "top1_of": None if best is None else f"{best.weights}, {best.data}, {best.whose}",
        }


def bench_models(
    patterns: Sequence[str] = (),
    *,
    batch_sizes: Sequence[int] = (1, 16),
    precision: str = "auto",
    device: str = "auto",
    seconds: float = SECONDS,
    found: Callable[[ModelRow], None] = lambda row: None,
) -> list[ModelRow]:
    """Measure networks, named or matched by shell patterns, each with each batch size, at its usual image size.

    patterns: empty means `USUAL`. seconds: approximate, for each rate. found: called with each row once it is measured.
    Raises UsageError for invalid arguments before measuring anything, and KeyboardInterrupt after the pass in which
    Ctrl-C or SIGTERM came. A network that cannot be trained with a batch becomes a row with the reason.
    """
    require_seconds(seconds)
    used = choose_device(device)
    archs = networks(patterns or USUAL)
    recipes = [Recipe().replace(precision=precision, batch_size=batch) for batch in batch_sizes]
    each = {arch: [network(arch, recipe, None, used) for recipe in recipes] for arch in archs}
    rows: list[ModelRow] = []
    num_passes = 2 * (1 + REPEATS) * len(archs) * len(batch_sizes)
    with stop_signals() as stop_asked, progress("bench", num_passes, "passes") as advance:
        now = ""

        def done(passes: int = 1) -> None:
            advance(passes, now)
            if stop_asked():
                raise KeyboardInterrupt

        for arch, ones in each.items():
            now = arch
            done(0)
            info = describe(arch)
            for one in ones:
                now = f"{arch}, batch of {one.recipe.training.batch_size}"
                rows.append(_row(one, info, seconds, used, done))
                found(rows[-1])
    return rows


def networks(patterns: Sequence[str]) -> list[str]:
    """The networks that match names and shell patterns, each once. Raises UsageError if a pattern matches none."""
    found: list[str] = []
    for pattern in patterns:
        names = find(pattern) if re.search(r"[*?[]", pattern) else [pattern]
        if not names:
            raise UsageError(f"{pattern!r} matches no network. `tench models` lists all names.")
        found += names
    return list(dict.fromkeys(found))


def _row(one: Network, info: ModelInfo, seconds: float, device: torch.device, done: Callable[[], None]) -> ModelRow:
    of_one = (one.recipe, one.size, one.num_classes, device)
    makers = {
        "forward": functools.partial(forward_pass, *of_one),
        "training": functools.partial(training_step, *of_one),
    }
    measured = in_turns(makers, seconds, done)
    return ModelRow(
        info=info,
        batch_size=one.recipe.training.batch_size,
        precision=one.recipe.training.precision,
        forward=measured["forward"].rate,
        training=measured["training"].rate,
        memory_bytes=measured["training"].memory_bytes,
        accuracies=accuracies(one.arch),
    )
