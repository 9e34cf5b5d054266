"""A process that fills images for one thread of the loader, for machines whose threads would wait for each other.

Reading, decoding and resizing release Python's lock, but the code in between holds it: 12 % of the time for a
photograph, 20 to 50 % for a small image (benchmarks/input/partner.md). So about eight threads saturate the lock, and a
machine with 16 or more cores starves its GPU. With more threads than that, each hands its images to its own process.
The process shares the table that was in memory when it started, and passes the pixels through shared memory, which has
no name in /dev/shm and is freed with the processes. On two cores photographs gain nothing and raw pixels get slower, so
a few threads work alone.

The process is forked by hand, because `multiprocessing` waits at exit for each of its processes without a time limit,
and a process that waits for a hanging disk does not end.
"""

import contextlib
import mmap
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe

import numpy as np
import numpy.typing as npt

from tench.errors import TenchError
from tench.input.resampling import Image

Fill = Callable[[int, npt.NDArray[np.float64], Image], None]
"""Writes the view of a row, for the given random numbers, into an image."""

CAN_FORK = sys.platform == "linux"  # elsewhere a forked process must not use the system's libraries
_POLL_SECONDS = 1.0
_CLOSE_SECONDS = 1.0


class Partner:
    """A process that runs `fill`. shape: (N, H, W, C) of the images per call, N up to 255."""

    def __init__(self, fill: Fill, shape: tuple[int, int, int, int], others: Sequence["Partner"] = ()) -> None:
        """others: the existing partners. The new process closes their connections; all end when this process does."""
        memory = np.frombuffer(mmap.mmap(-1, int(np.prod(shape)) + 1), np.uint8)
        self._pixels, self._place = memory[:-1].reshape(shape), memory[-1:]
        self._connection, theirs = Pipe()
        with warnings.catch_warnings():
            # Python warns about forking while threads run, because the new process inherits their locks. It takes none
            # of them: it goes straight into our loop, which only reads, decodes and answers.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            _serve(theirs, [self._connection, *(one._connection for one in others)], fill, self._pixels, self._place)
        theirs.close()
        self._exit_code: int | None = None

    def fill(
        self,
        rows: list[int],
        draws: npt.NDArray[np.float64],
        out: Image,
        on_row: Callable[[int], None] = lambda row: None,
    ) -> None:
        """Fill out, (n, H, W, C), with the views of n rows.

        Raises what `fill` raised, or TenchError if the process died.

        on_row: called about every second with the current row.
        """
        try:
            self._connection.send((rows, draws))
            while not self._connection.poll(_POLL_SECONDS):
                on_row(rows[min(int(self._place[0]), len(rows) - 1)])
            error = self._connection.recv()
        except (EOFError, OSError) as gone:
            self._wait(time.monotonic() + _CLOSE_SECONDS)
            raise TenchError(
                f"A process of the loader ended (exit code {self._exit_code}) at row {rows[int(self._place[0])]}. "
                "Exit code -9 means that the system killed it, usually for lack of memory: use fewer threads (-j)."
            ) from gone
        if error is not None:
            raise error
        out[:] = self._pixels[: len(rows)]

    def _wait(self, until: float) -> None:
        """Wait for the process to end, at most until a deadline."""
        while self._exit_code is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                if pid:
                    self._exit_code = os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                return
            time.sleep(0.005)


def end(partners: Sequence[Partner]) -> None:
    """End processes, even in the middle of an image. One that is stuck in the kernel is left behind.

    A thread that waits for one of them gets an error; its connection stays open until the last reference is gone.
    """
    for partner in partners:
        if partner._exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(partner._pid, signal.SIGKILL)
    until = time.monotonic() + _CLOSE_SECONDS
    for partner in partners:
        partner._wait(until)


def _serve(connection: Connection, to_close: list[Connection], fill: Fill, pixels: Image, place: Image) -> None:
    """Answer until the other end is closed or its process has ended. Does not return."""
    try:
        import torch

        for other in to_close:
            other.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one handles it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)
        torch.get_num_threads()  # makes it take effect
        while True:
            rows, draws = connection.recv()
            try:
                for number, (row, numbers) in enumerate(zip(rows, draws, strict=True)):
                    place[0] = number
                    fill(row, numbers, pixels[number])
            except Exception as error:
                _send(connection, error)
            else:
                connection.send(None)
    finally:
        os._exit(0)  # the exit handlers belong to the first process


def _send(connection: Connection, error: Exception) -> None:
    if not isinstance(error, TenchError):  # a bug: tracebacks are not pickled
        error.add_note(traceback.format_exc())
    try:
        connection.send(error)
    except (OSError, EOFError):
        raise
    except Exception:  # it cannot be pickled
        connection.send(RuntimeError(traceback.format_exc()))
