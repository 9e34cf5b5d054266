"""Files out of the kernel's memory, to measure what a disk gives.

Only the bytes of the images that are measured are dropped, and what lies within 2 MiB of them: the rest of the
kernel's memory is other people's. Where that has no effect (tmpfs is memory itself) it is found out and said.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from tench.data.table import Table

Cold = Literal["dropped", "kept", "unknown"]
"""Whether the bytes left the memory. unknown: the system does not tell."""

_PROBED_ROWS = 16
_PIECE_BYTES = 2**21
"""The kernel keeps files in pieces of up to so many bytes, and drops none in part."""


def drop(table: Table) -> None:
    """Ask the kernel to forget the bytes of all rows; what is not on the disk yet it writes, and forgets next time."""
    if not hasattr(os, "posix_fadvise"):
        return
    for row in range(len(table)):
        with _opened(table, row) as descriptor:
            begin, end = _pieces(table, row)
            os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_DONTNEED)


def dropped(table: Table) -> Cold:
    """Whether the bytes of the rows leave the memory, seen on up to 16 of them."""
    if not hasattr(os, "RWF_NOWAIT"):
        return "unknown"
    drop(table)
    rows = np.unique(np.linspace(0, len(table) - 1, _PROBED_ROWS).astype(int)).tolist()
    answers = [_answer(table.subset(np.array([row]))) for row in rows]
    if "unknown" in answers:
        return "unknown"
    return "kept" if answers.count("kept") > len(answers) // 2 else "dropped"


def _answer(one: Table) -> Cold:
    """Whether the first byte of a table of one row is out of memory: a read that must not wait then fails."""
    begin = 0 if one.indexes else int(one.offsets[0])
    with _opened(one, 0) as descriptor:
        os.fsync(descriptor)  # of so few only: for thousands of small files it is slow, with nothing left to write
        drop(one)  # each by itself, because the read makes the kernel fetch what follows
        try:
            os.preadv(descriptor, [bytearray(1)], begin, os.RWF_NOWAIT)
        except OSError as error:
            return "dropped" if error.errno == errno.EAGAIN else "unknown"
    return "kept"


def _pieces(table: Table, row: int) -> tuple[int, int]:
    """First byte and end of the pieces that hold a row; of a compressed file, whose offsets count other bytes, all."""
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
