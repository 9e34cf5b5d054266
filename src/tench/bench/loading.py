"""Measure the complete path: the rate of batches, from the loader or from memory, and the memory that it uses."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from tench.bench.measure import give_back_memory, memory_bytes, rates
from tench.bench.remedy import candidates, prepared
from tench.bench.result import RESIDENT, WHOLE, WHOLE_COLD, Remedy, Row
from tench.bench.sample import repeated
from tench.data.table import Dataset, Table
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.resident import Resident
from tench.input.views import EvalView, PadCrop, View

_PASS_PER_THREAD = 0.4
"""Fraction of a one-thread pass, per thread: with more threads, a pass needs more images to be timed."""
_MEMORY_BATCHES = 30
"""Number of batches during which memory is measured; no more are in memory at a time."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Shared by all measurements of the whole path. images: in a one-thread pass. done: called after every pass."""

    view: View
    channels: int
    batch_size: int
    device: torch.device
    images: int
    done: Callable[[], None]


def whole_rows(sample: Table, setting: Setting, threads: int, drop: Callable[[], None] | None = None) -> list[Row]:
    """The loader's rate and memory with this many threads. Raises TenchError for a bad image.

    drop: drops the sample's files from the page cache; the rate after that is also measured, in turns with the other.
    """
    give_back_memory()
    before = memory_bytes()
    with ExitStack() as stack:
        warm = stack.enter_context(_loader(_lengthened(sample, setting, threads), setting, threads))
        peak = _peak(warm)
        passes = {WHOLE: _epochs(warm)}
        if drop is not None:  # one epoch over the sample, because the second would come from memory
            passes[WHOLE_COLD] = _epochs(stack.enter_context(_loader(sample, setting, threads)))
        found = rates(passes, before={} if drop is None else {WHOLE_COLD: drop}, done=setting.done)
    taken = None if before is None or peak is None else peak - before
    return [Row(stage, threads, rate, taken if stage == WHOLE else None) for stage, rate in found.items()]


def resident_row(sample: Table, view: PadCrop | EvalView, setting: Setting, threads: int) -> Row:
    """The rate of batches from a set kept in memory. Raises TenchError for a bad image."""
    table = repeated(sample, setting.images)
    resident = Resident(
        table, view, _order(table, setting), channels=setting.channels, device=setting.device, threads=threads
    )
    one_epoch = _epochs(resident)

    def epoch() -> int:
        images = one_epoch()
        if setting.device.type == "cuda":
            torch.cuda.synchronize(setting.device)
        return images

    return Row(RESIDENT, threads, rates({RESIDENT: epoch}, done=setting.done)[RESIDENT])


def remedies(dataset: Dataset, sample: Table, setting: Setting, threads: int) -> list[Remedy]:
    """The gain of each kind of prepared images, measured in turns with the present ones. Raises as `prepare` does."""
    found = []
    as_it_is = _lengthened(sample, setting, threads)
    for written, options in candidates(setting.view.size).items():
        with (
            prepared(dataset, sample, options, threads) as made,
            _loader(as_it_is, setting, threads) as before,
            _loader(_lengthened(made, setting, threads), setting, threads) as after,
        ):
            both = rates({"before": _epochs(before), "after": _epochs(after)}, done=setting.done)
        found.append(Remedy(written, both["before"], both["after"], made.num_bytes / sample.num_bytes))
    return found


@contextmanager
def _loader(table: Table, setting: Setting, threads: int) -> Iterator[Loader]:
    pin = setting.device.type == "cuda"
    order = _order(table, setting)
    with Loader(table, setting.view, order, channels=setting.channels, threads=threads, pin=pin) as loader:
        yield loader


def _order(table: Table, setting: Setting) -> Order:
    """Shuffled as in training, but including the last images: every pass has the same images."""
    pieces = table.pieces()
    return Order(num_rows=len(table), batch_size=setting.batch_size, drop_last=False, pieces=pieces)


def _lengthened(sample: Table, setting: Setting, threads: int) -> Table:
    return repeated(sample, round(setting.images * max(1.0, _PASS_PER_THREAD * threads)))


def _epochs(batches: Loader | Resident) -> Callable[[], int]:
    """A function that runs through the next epoch on each call and returns its number of images."""
    epochs = itertools.count()
    return lambda: sum(len(batch.rows) for batch in batches.batches(next(epochs)))


def _peak(loader: Loader) -> int | None:
    """The peak memory of the process while batches are made."""
    found = [memory_bytes() for _ in itertools.islice(loader.batches(epoch=0), _MEMORY_BATCHES)]
    return max((one for one in found if one is not None), default=None)
