"""A process that fills images for one thread of the loader, where threads alone would wait for each other.

Reading, decoding and resizing run without the interpreter's lock, but what lies between them holds it: 7 % of an
image's time for photographs of 110 kB, 15 to 20 % for smaller ones of which a part is decoded. So a handful of threads
keep as many cores busy, and many threads do not. Then each hands its images over to a process of its own, which shares
all that was in memory when it began, and takes the pixels from memory that both see. That has no name in /dev/shm, and
is gone with them.
"""

import contextlib
import mmap
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

from tench.errors import TenchError
from tench.input.resampling import Image

Fill = Callable[[int, npt.NDArray[np.float64], Image], None]
"""Writes the view of a row, for the numbers drawn, into an image."""

CAN_FORK = sys.platform == "linux"  # elsewhere a forked process may not use the system's libraries
_CLOSE_SECONDS = 1.0


class Partner:
    """A process that runs `fill`. shape: of up to so many images at a time, (N, H, W, C)."""

    def __init__(self, fill: Fill, shape: tuple[int, int, int, int], others: Iterable["Partner"] = ()) -> None:
        """others: the partners that there are. The new process lets go of their ends: all end when this one does."""
        self._pixels = np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)
        self._connection, theirs = multiprocessing.Pipe()
        ours = [self._connection, *(other._connection for other in others)]
        self._process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(theirs, ours, fill, self._pixels), name="tench-loader", daemon=True
        )
        with warnings.catch_warnings():
            # Python warns of forking beside threads, whose locks the new process would find as they are. It takes none
            # of them: it begins with a loop of ours that only reads, decodes and answers.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def fill(self, rows: list[int], draws: npt.NDArray[np.float64], out: Image) -> None:
        """Fill out, (n, H, W, C), with the views of n rows. Raises what `fill` raised, or TenchError if it died."""
        try:
            self._connection.send((rows, draws))
            error = self._connection.recv()
        except (EOFError, OSError) as gone:
            self._process.join(_CLOSE_SECONDS)
            raise TenchError(
                f"A process of the loader ended (exit code {self._process.exitcode}) at one of the rows {rows}. "
                "With -9 the system ended it, mostly for lack of memory: use fewer threads (-j)."
            ) from gone
        if error is not None:
            raise error
        out[:] = self._pixels[: len(rows)]

    def close(self) -> None:
        """End the process, also in the middle of an image."""
        self._connection.close()
        self._process.terminate()
        self._process.join(_CLOSE_SECONDS)


def _serve(connection: Connection, to_close: list[Connection], fill: Fill, pixels: Image) -> None:
    """Answer until the other end is closed, or its process gone."""
    import torch

    for other in to_close:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides what becomes of it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    torch.get_num_threads()  # has it taken over
    with contextlib.suppress(EOFError, OSError):
        while True:
            rows, draws = connection.recv()
            try:
                for row, numbers, place in zip(rows, draws, pixels, strict=False):
                    fill(row, numbers, place)
            except Exception as error:
                connection.send(error)
            else:
                connection.send(None)
    os._exit(0)  # what the first process wanted to do at its end is not for this one
