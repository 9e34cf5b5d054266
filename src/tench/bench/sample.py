"""Choose the images to measure: always the same ones, as many as the time allows."""

import time

import numpy as np
import numpy.typing as npt

from tench.bench.cold import drop
from tench.bench.stages import Clock, read_pass, view_pass
from tench.data.table import Table
from tench.input.views import View

_LEAST = 16


def choose(table: Table, view: View, channels: int, seconds: float) -> tuple[Table, int]:
    """(a sample of the rows, number of images in a pass of about this many seconds in one thread).

    The rows are spread evenly over the table. In a compressed archive they are adjacent, as training reads them,
    because decompression starts at the last index point before an image. If a pass needs more rows than the table has,
    the caller repeats them. Raises TenchError for an image that does not decode.
    """
    trial = table.subset(_rows(table, _LEAST))
    drop(trial)
    began = time.perf_counter()
    read_pass(trial)
    reading = time.perf_counter() - began
    view_pass(trial, view, channels, 0, Clock())  # loads libraries
    began = time.perf_counter()
    view_pass(trial, view, channels, 0, Clock())
    slowest = max(reading, time.perf_counter() - began) / len(trial)
    images = max(_LEAST, round(seconds / slowest))
    return table.subset(_rows(table, images)), images


def repeated(table: Table, images: int) -> Table:
    """The rows of a table repeated a whole number of times, to about this many images."""
    return table.subset(np.tile(np.arange(len(table)), max(1, round(images / len(table)))))


def _rows(table: Table, count: int) -> npt.NDArray[np.int64]:
    if table.pieces() is not None:
        return table.in_file_order()[:count].astype(np.int64)
    return np.unique(np.linspace(0, len(table) - 1, min(count, len(table))).astype(np.int64))
