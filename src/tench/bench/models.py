"""What networks cost here: forward and training rates and memory at their usual size, beside parameters and GMACs.

For choosing one. Each network and batch size is measured by itself, its forward pass and its training step in turns.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

from tench.bench.accuracy import Accuracy, accuracies
from tench.bench.measure import REPEATS, Rate
from tench.bench.network import network
from tench.bench.step import SECONDS, forward_pass, in_turns, training_step
from tench.bench.train import rate_values, require_seconds
from tench.errors import UsageError
from tench.machine import choose_device
from tench.models import ModelInfo, describe, find
from tench.progress import progress
from tench.training.recipe import Recipe
from tench.training.stopping import stop_signals

USUAL = "alexnet vgg16 resnet50 resnet152 inception_v3 densenet121 squeezenet1_1 mobilenet_v2".split()
"""Where none is named: those of MXNet's benchmark_score.py that torchvision has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A network with a batch size. forward, training: None where it ran out of memory. memory_bytes: of training, at
    most; None where that is not known. accuracies: known ones, the best first.
    """

    info: ModelInfo
    batch_size: int
    precision: str
    forward: Rate | None
    training: Rate | None
    memory_bytes: int | None
    accuracies: Sequence[Accuracy]

    def to_json(self) -> dict[str, Any]:
        """For programs and CSV: the same keys in every row; what they mean stands in docs/bench.md."""
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
) -> list[ModelRow]:
    """Measure networks, named or matched by shell patterns, each with each batch size, at its usual image size.

    patterns: none: `USUAL`. seconds: about, for each rate. Raises UsageError for what cannot be asked, before anything
    is measured, and KeyboardInterrupt after the pass in which Ctrl-C or SIGTERM came.
    """
    require_seconds(seconds)
    used = choose_device(device)
    archs = networks(patterns or USUAL)
    recipe = Recipe().replace(precision=precision)
    pairs = [
        (arch, network(arch, recipe.replace(batch_size=batch), None, used)) for arch in archs for batch in batch_sizes
    ]
    infos = {arch: describe(arch) for arch in archs}
    rows = []
    with stop_signals() as stop_asked, progress("bench", 2 * (1 + REPEATS) * len(pairs), "passes") as advance:
        note = ""

        def done() -> None:
            advance(1, note)
            if stop_asked():
                raise KeyboardInterrupt

        for arch, one in pairs:
            note = f"{arch}, batch of {one.recipe.training.batch_size}"
            of_one = (one.recipe, one.size, one.num_classes, used)
            makers = {
                "forward": functools.partial(forward_pass, *of_one),
                "training": functools.partial(training_step, *of_one),
            }
            found = in_turns(makers, seconds, done)
            forward, training = found["forward"], found["training"]
            rows.append(
                ModelRow(
                    info=infos[arch],
                    batch_size=one.recipe.training.batch_size,
                    precision=one.recipe.training.precision,
                    forward=None if forward is None else forward.rate,
                    training=None if training is None else training.rate,
                    memory_bytes=None if training is None else training.memory_bytes,
                    accuracies=accuracies(arch),
                )
            )
    return rows


def networks(patterns: Sequence[str]) -> list[str]:
    """The networks that names and shell patterns stand for, each once. Raises UsageError for a pattern of none."""
    found: list[str] = []
    for pattern in patterns:
        names = find(pattern) if re.search(r"[*?[]", pattern) else [pattern]
        if not names:
            raise UsageError(f"{pattern!r}: no network is called so. tench models PATTERN lists them.")
        found += names
    return list(dict.fromkeys(found))
