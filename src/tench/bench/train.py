"""How fast networks learn on this device: the training step alone, for batch sizes, precisions and memory formats.

Images are made up and there at once, so that these are the rates that an input would have to feed. The networks of one
name and batch size take turns; different ones come one after the other, for all of them would not fit into memory.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tench.bench.measure import REPEATS, Rate
from tench.bench.network import Network, network
from tench.bench.peak import Peak, peak
from tench.bench.result import STEP
from tench.bench.step import SECONDS, Measured, in_turns, training_step, usual_batch
from tench.errors import UsageError
from tench.machine import choose_device
from tench.progress import progress
from tench.training.recipe import Recipe
from tench.training.stopping import stop_signals


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRow:
    """One combination. rate: None where it ran out of memory. memory_bytes: at most, None where that is not known.

    share: of the device's peak in the same precision, counted as 3 x forward.
    """

    arch: str
    image_size: int
    batch_size: int
    precision: str
    memory_format: str
    gmacs: float
    rate: Rate | None
    memory_bytes: int | None
    share: float | None

    def to_json(self) -> dict[str, Any]:
        """For programs and CSV: the same keys in every row; what they mean stands in docs/bench.md."""
        return {
            "stage": STEP,
            "arch": self.arch,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "memory_format": self.memory_format,
            **rate_values(self.rate),
            "memory_bytes": self.memory_bytes,
            "gmacs": round(self.gmacs, 4),
            "share": None if self.share is None else round(self.share, 4),
            "out_of_memory": self.rate is None,
        }


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """peaks: what the share of each precision refers to."""

    device: str
    rows: Sequence[TrainRow]
    peaks: Sequence[Peak]

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
) -> TrainResult:
    """Measure the training step of each combination; of what is not named, the recipe's value (None: the defaults).

    On a processor the recipe's batch is cut to 16 images. image_size: pixels; None: the recipe's, else the one that a
    network is usually quoted for. seconds: about, for each combination. Raises UsageError for what cannot be asked,
    before anything is measured, and KeyboardInterrupt after the pass in which Ctrl-C or SIGTERM came.
    """
    require_seconds(seconds)
    used, recipe = choose_device(device), recipe or Recipe()
    given = itertools.product(
        precisions or [recipe.training.precision], memory_formats or [recipe.training.memory_format]
    )
    variants = [recipe.replace(precision=precision, memory_format=order) for precision, order in given]
    batches = batch_sizes or [usual_batch(recipe, used)]
    # All are tried without their memory first: what cannot be is known before the first one is measured.
    groups = [
        [network(arch, one.replace(batch_size=batch), image_size, used) for one in variants]
        for arch in archs or [recipe.model.arch]
        for batch in batches
    ]
    num_passes = (1 + REPEATS) * sum(map(len, groups))
    rows: list[TrainRow] = []
    with stop_signals() as stop_asked, progress("bench", num_passes, "passes") as advance:

        def done() -> None:
            advance(1, "")
            if stop_asked():
                raise KeyboardInterrupt

        wanted: dict[str, None] = dict.fromkeys(one.recipe.training.precision for group in groups for one in group)
        peaks = {precision: peak(precision, used) for precision in wanted}
        for group in groups:
            makers = {
                str(number): functools.partial(training_step, one.recipe, one.size, one.num_classes, used)
                for number, one in enumerate(group)
            }
            found = in_turns(makers, seconds, done)
            rows += [_row(one, measured, peaks) for one, measured in zip(group, found.values(), strict=True)]
    return TrainResult(used.type, rows, list(peaks.values()))


def require_seconds(seconds: float) -> None:
    """Raise UsageError for a time in which nothing can be measured."""
    if not 0 < seconds < math.inf:
        raise UsageError(f"The time to measure is {seconds:g} s, but should be more than 0.")


def rate_values(rate: Rate | None) -> dict[str, Any]:
    """A rate as programs read it; with None, where memory did not suffice, the same keys without values."""
    return dict.fromkeys(Rate.of(1, [1.0]).to_json()) if rate is None else rate.to_json()


def _row(one: Network, measured: Measured | None, peaks: Mapping[str, Peak]) -> TrainRow:
    training = one.recipe.training
    flops = peaks[training.precision].flops
    return TrainRow(
        arch=one.arch,
        image_size=one.size,
        batch_size=training.batch_size,
        precision=training.precision,
        memory_format=training.memory_format if measured is None else measured.memory_format,
        gmacs=one.gmacs,
        rate=None if measured is None else measured.rate,
        memory_bytes=None if measured is None else measured.memory_bytes,
        share=None if measured is None else one.share(measured.rate.median, flops),
    )
