"""Measure how fast networks train on this device: the step alone, by batch size, precision and memory format.

Images are synthetic and in memory, so these are the rates that the input must reach. Variants of one network and batch
size take turns. The others are measured one after another, because they would not all fit in memory.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tench.bench.measure import REPEATS, Rate
from tench.bench.network import Network, gmacs_of, network, share
from tench.bench.peak import Peak, peak
from tench.bench.result import STEP
from tench.bench.step import OUT_OF_MEMORY, SECONDS, Measured, in_turns, training_step, usual_batch
from tench.errors import UsageError
from tench.machine import choose_device
from tench.progress import progress
from tench.training.recipe import Recipe
from tench.training.stopping import stop_signals


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRow:
    """One combination. rate: the reason if it could not be measured. memory_bytes: the peak; None if unknown. compile:
    on or off; a recipe's auto is measured as off. peak: of the device in the same precision.
    """

    arch: str
    image_size: int
    batch_size: int
    precision: str
    memory_format: str
    compile: str
    gmacs: float
    rate: Rate | str
    memory_bytes: int | None
    peak: Peak

    @property
    def share(self) -> float | None:
        """The fraction of the peak, counting a step as 3 x forward; None if nothing was measured."""
        return None if isinstance(self.rate, str) else share(self.gmacs, self.rate.median, self.peak.flops)

    def to_json(self) -> dict[str, Any]:
        """For programs and CSV: the same keys in every row; docs/bench.md explains them."""
        return {
            "stage": STEP,
            "arch": self.arch,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "memory_format": self.memory_format,
            "compile": self.compile,
            **rate_values(self.rate),
            "memory_bytes": self.memory_bytes,
            "gmacs": round(self.gmacs, 4),
            "share": None if self.share is None else round(self.share, 4),
            "out_of_memory": self.rate == OUT_OF_MEMORY,
            "note": note(self.rate),
        }


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """device: cpu or cuda."""

    device: str
    rows: Sequence[TrainRow]

    @property
    def peaks(self) -> list[Peak]:
        """The peak that each precision's share is relative to."""
        return list(dict.fromkeys(row.peak for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "rows": [row.to_json() for row in self.rows],
            "peaks": [dataclasses.asdict(one) for one in self.peaks],
        }


def bench_train(
    archs: Sequence[str] = (),
    *,
    batch_sizes: Sequence[int] = (),
    precisions: Sequence[str] = (),
    memory_formats: Sequence[str] = (),
    recipe: Recipe | None = None,
    image_size: int | None = None,
    device: str = "auto",
    seconds: float = SECONDS,
    found: Callable[[TrainRow], None] = lambda row: None,
) -> TrainResult:
    """Measure the training step of each combination. An empty argument means the recipe's value.

    recipe: None means the defaults. On a CPU its batch size is limited to 16. image_size: pixels; None: the recipe's,
    else the usual size of the network. seconds: approximate, for each combination. found: called with each row once its
    network and batch size are measured. Raises UsageError for invalid arguments before measuring anything, and
    KeyboardInterrupt after the pass in which Ctrl-C or SIGTERM came. A network that cannot be trained with a batch
    becomes a row with the reason.
    """
    require_seconds(seconds)
    used, recipe = choose_device(device), recipe or Recipe()
    given = itertools.product(
        precisions or [recipe.training.precision], memory_formats or [recipe.training.memory_format]
    )
    variants = [recipe.replace(precision=precision, memory_format=order) for precision, order in given]
    batches = batch_sizes or [usual_batch(recipe, used)]
    groups = [
        [network(arch, one.replace(batch_size=batch), image_size, used) for one in variants]
        for arch in archs or [recipe.model.arch]
        for batch in batches
    ]
    num_passes = (1 + REPEATS) * sum(map(len, groups))
    rows: list[TrainRow] = []
    with stop_signals() as stop_asked, progress("bench", num_passes, "passes") as advance:

        def done(passes: int = 1, now: str = "") -> None:
            advance(passes, now)
            if stop_asked():
                raise KeyboardInterrupt

        # First a dry run of each network, so that an impossible one is reported before anything is measured.
        gmacs = {}
        for one in {group[0].arch: group[0] for group in groups}.values():
            done(0, one.arch)
            gmacs[one.arch] = gmacs_of(one)
        wanted: dict[str, None] = dict.fromkeys(one.recipe.training.precision for group in groups for one in group)
        peaks = {precision: peak(precision, used) for precision in wanted}
        for group in groups:
            makers = {
                str(number): functools.partial(training_step, one.recipe, one.size, one.num_classes, used)
                for number, one in enumerate(group)
            }
            results = in_turns(makers, seconds, done)
            for one, measured in zip(group, results.values(), strict=True):
                rows.append(_row(one, gmacs[one.arch], measured, peaks))
                found(rows[-1])
    return TrainResult(used.type, rows)


def require_seconds(seconds: float) -> None:
    """Raise UsageError for a duration in which nothing can be measured."""
    if not 0 < seconds < math.inf:
        raise UsageError(f"seconds must be a finite number above 0, got {seconds:g}.")


def rate_values(rate: Rate | str) -> dict[str, Any]:
    """A rate for programs; if there is none, the same keys without values."""
    return dict.fromkeys(Rate.of(1, [1.0]).to_json()) if isinstance(rate, str) else rate.to_json()


def note(rate: Rate | str) -> str | None:
    """Why there is no rate; None if there is one."""
    return rate if isinstance(rate, str) else None


def _row(one: Network, gmacs: float, measured: Measured, peaks: Mapping[str, Peak]) -> TrainRow:
    training = one.recipe.training
    return TrainRow(
        arch=one.arch,
        image_size=one.size,
        batch_size=training.batch_size,
        precision=training.precision,
        memory_format=measured.memory_format or training.memory_format,
        compile="on" if training.compile == "on" else "off",
        gmacs=gmacs,
        rate=measured.rate,
        memory_bytes=measured.memory_bytes,
        peak=peaks[training.precision],
    )
