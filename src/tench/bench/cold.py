"""Drop files from the page cache, to measure how fast a disk delivers.

Only the bytes of the measured images and those within 2 MiB of them are dropped, because other programs use the rest of
the page cache. If dropping has no effect (a tmpfs is in memory), that is detected and reported.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from tench.data.table import Table

Cold = Literal["dropped", "kept", "unknown"]
"""Whether the bytes were dropped from the page cache. unknown: the system does not report it."""

_PROBED_ROWS = 16
_PIECE_BYTES = 2**21
"""The kernel caches files in pieces of up to this many bytes, and drops only whole pieces."""


def drop(table: Table) -> None:
    """Ask the kernel to drop the bytes of all rows; bytes not yet on the disk are written now and dropped next time."""
    if not hasattr(os, "posix_fadvise"):
        return
    for row in range(len(table)):
        with _opened(table, row) as descriptor:
            begin, end = _pieces(table, row)
            os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_DONTNEED)


def dropped(table: Table) -> Cold:
    """Whether the bytes of the rows can be dropped from the page cache, tested on up to 16 rows."""
    if not hasattr(os, "RWF_NOWAIT"):
        return "unknown"
    drop(table)
    rows = np.unique(np.linspace(0, len(table) - 1, _PROBED_ROWS).astype(int)).tolist()
    answers = [_answer(table.subset(np.array([row]))) for row in rows]
    if "unknown" in answers:
        return "unknown"
    return "kept" if answers.count("kept") > len(answers) // 2 else "dropped"


def _answer(one: Table) -> Cold:
    """Whether the first byte of a table of one row was dropped. If so, a non-blocking read fails."""
    begin = 0 if one.indexes else int(one.offsets[0])
    with _opened(one, 0) as descriptor:
        os.fsync(descriptor)  # only for these few: for thousands of small files it is slow
        drop(one)  # row by row, because a read makes the kernel fetch the following bytes
        try:
            os.preadv(descriptor, [bytearray(1)], begin, os.RWF_NOWAIT)
        except OSError as error:
            return "dropped" if error.errno == errno.EAGAIN else "unknown"
    return "kept"


def _pieces(table: Table, row: int) -> tuple[int, int]:
    """First byte and end of the pieces that contain a row; for a compressed file, whose offsets differ, all of it."""
    if table.indexes:
        return 0, os.stat(table.shard(row)).st_size
    begin, end = int(table.offsets[row]), int(table.offsets[row] + table.lengths[row])
    return begin // _PIECE_BYTES * _PIECE_BYTES, -(-end // _PIECE_BYTES) * _PIECE_BYTES


@contextmanager
def _opened(table: Table, row: int) -> Iterator[int]:
    descriptor = os.open(table.shard(row), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
