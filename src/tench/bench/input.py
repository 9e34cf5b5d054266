"""Measure how fast images are loaded: each stage alone, the whole loader with 1, 2, 4, ... threads, and the remedies.

All rates are for one fixed sample of the split, read from the page cache unless marked cold. The training view
determines what is decoded, so the rates depend on the recipe.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

from tench.bench import cold
from tench.bench.loading import Setting, remedies, resident_row, whole_rows
from tench.bench.measure import REPEATS, rates
from tench.bench.result import DECODE, READ, READ_COLD, STEP, VIEW, Result, Row
from tench.bench.sample import choose, repeated
from tench.bench.stages import Clock, decode_pass, read_pass, view_pass
from tench.bench.step import step_rate
from tench.bench.verdict import keeps_up
from tench.data import exif
from tench.data.source import Source, open_source
from tench.data.table import Dataset, Table
from tench.errors import TenchError, UsageError
from tench.input.augment import Augmented
from tench.machine import choose_device, num_cores
from tench.progress import progress
from tench.training.plan import resident_view, resolve
from tench.training.recipe import Recipe
from tench.training.recipe_check import validate
from tench.training.recipe_views import train_view
from tench.training.schedule import num_epochs
from tench.training.stopping import stop_signals

SECONDS = 30.0
_PASSES = 50
"""Approximate duration of all measurements, in passes of one thread."""


def bench_input(
    source: Source,
    *,
    recipe: Recipe | None = None,
    split: str | None = None,
    threads: Sequence[int] = (),
    seconds: float = SECONDS,
    device: str = "auto",
    arch: str | None = None,
) -> Result:
    """Measure how fast the training images of a source are read, decoded and made into batches.

    recipe: sets the training view and batch size; None: the defaults. split: None means train, or the only one.
    threads: numbers of threads besides 1; empty: 1, 2, 4, ... up to the cores. seconds: approximate, without the
    network. arch: also measure the training step of this network, on `device`. Raises UsageError for invalid arguments,
    TenchError for a source without images and for an image that does not decode, KeyboardInterrupt after the pass in
    which Ctrl-C or SIGTERM came.
    """
    recipe = recipe or Recipe()
    if arch is not None:
        recipe = recipe.replace(arch=arch)
    validate(recipe)
    if not 0 < seconds < math.inf:
        raise UsageError(f"seconds must be a finite number above 0, got {seconds:g}.")
    if wrong := [count for count in threads if count < 1]:
        raise UsageError(f"threads must be at least 1, got {wrong[0]}.")
    used = choose_device(device)
    dataset = open_source(source, recipe.source)
    name, table = _split(dataset, split)
    how = exif.resolved(recipe.input.exif, dataset)
    resolved, table = resolve(recipe, table, used, exif=how), exif.oriented(table, how)
    # The view of the last epoch: if training images grow, they are largest then.
    view, channels = train_view(resolved, num_epochs(resolved) - 1), resolved.input.channels
    counts = sorted({1, *(threads or _powers_of_two(num_cores()))})
    small = resident_view(table, view, channels)
    num_passes = _num_passes(len(counts), small is not None)
    with stop_signals() as stop_asked, progress("bench", num_passes, "passes") as advance:

        def done() -> None:
            advance(1, "")
            if stop_asked():  # between passes: an interrupt inside one of the loader's finalizers would be lost
                raise KeyboardInterrupt

        step_rows, step_batch = [], 0
        if arch is not None:  # first, so that an unknown network is reported at once
            rate, step_batch = step_rate(resolved, view.size, len(dataset.classes), used, done)
            step_rows = [Row(STEP, num_cores(), rate)]
        sample, images = choose(table, view, channels, seconds / _PASSES)
        setting = Setting(view, channels, recipe.training.batch_size, used, images, done)
        is_cold, clock = cold.dropped(sample), Clock()
        drop = functools.partial(cold.drop, sample) if is_cold == "dropped" else None
        rows = [
            *([] if drop is None else [_read_cold_row(sample, setting, drop)]),
            *_stage_rows(repeated(sample, images), setting, clock),
            *(row for count in counts[:-1] for row in whole_rows(sample, setting, count)),
            *whole_rows(sample, setting, counts[-1], drop),
            *([] if small is None else [resident_row(sample, small, setting, counts[-1])]),
            *step_rows,
        ]
        result = Result(
            source=dataset.source,
            split=name,
            num_images=len(table),
            sampled=len(sample),
            view=resolved.input.train_view + (", augmented" if isinstance(view, Augmented) else ""),
            image_size=view.size,
            channels=channels,
            batch_size=recipe.training.batch_size,
            cores=num_cores(),
            device=used.type,
            is_resident=small is not None,
            cold=is_cold,
            rows=rows,
            shares=clock.shares(),
            arch=arch,
            step_batch=step_batch,
        )
        if small is not None or keeps_up(result) or (sample.labels < 0).any():  # unlabelled images are not prepared
            return result
        return dataclasses.replace(result, remedies=remedies(dataset, sample, setting, counts[-1]))


def _split(dataset: Dataset, asked: str | None) -> tuple[str, Table]:
    """The requested split, else train, else the first. Raises UsageError for an unknown split, TenchError if empty."""
    if asked is not None and asked not in dataset.splits:
        raise UsageError(f"--split: {dataset.source} has no split {asked!r}. Known: {', '.join(dataset.splits)}.")
    name, table = dataset.split(asked or "train", *([] if asked else dataset.splits))
    if not len(table):
        raise TenchError(f"{dataset.source}: the split {name} has no images. Choose another split with --split.")
    return name, table


def _powers_of_two(cores: int) -> list[int]:
    """1, 2, 4, ... and the number of cores."""
    return [*itertools.takewhile(lambda count: count < cores, (2**power for power in range(20))), cores]


def _num_passes(num_counts: int, is_resident: bool) -> int:
    """An approximate number, for the progress bar."""
    return (REPEATS + 1) * (5 + num_counts + (1 if is_resident else 4))


def _read_cold_row(sample: Table, setting: Setting, drop: Callable[[], None]) -> Row:
    """The rate of one thread that reads, with the bytes dropped from the page cache before each pass."""
    passes = {READ_COLD: lambda: read_pass(sample)}
    return Row(READ_COLD, 1, rates(passes, before={READ_COLD: drop}, done=setting.done)[READ_COLD])


def _stage_rows(table: Table, setting: Setting, clock: Clock) -> list[Row]:
    """The rates of reading, decoding whole images and making views, in one thread."""
    view, channels, epochs = setting.view, setting.channels, itertools.count()
    passes: dict[str, Callable[[], int]] = {
        READ: lambda: read_pass(table),
        DECODE: lambda: decode_pass(table, channels),
        VIEW: lambda: view_pass(table, view, channels, next(epochs), clock),
    }
    return [Row(stage, 1, rate) for stage, rate in rates(passes, done=setting.done).items()]
