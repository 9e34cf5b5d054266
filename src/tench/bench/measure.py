"""Rates with their spread, and the memory of this process, for every benchmark.

Compared passes take turns, so a machine that slows down affects all of them. The median of five passes takes longer
than a single one, but depends less on the other programs on the machine.
"""

import contextlib
import ctypes
import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

REPEATS = 5
"""Timed passes, after one untimed pass."""

_PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class Rate:
    """Images per second: median, minimum and maximum of the timed passes. images: in one pass."""

    median: float
    min: float
    max: float
    images: int
    repeats: int

    @classmethod
    def of(cls, images: int, seconds: Sequence[float]) -> "Rate":
        """The rate of passes over this many images that took these seconds."""
        found = [images / one for one in seconds]
        return cls(statistics.median(found), min(found), max(found), images, len(found))

    def to_json(self) -> dict[str, Any]:
        return {
            "images_per_second": round(self.median, 2),
            "min": round(self.min, 2),
            "max": round(self.max, 2),
            "images": self.images,
            "repeats": self.repeats,
        }


def rates(
    passes: Mapping[str, Callable[[], int]],
    *,
    repeats: int = REPEATS,
    before: Mapping[str, Callable[[], None]] | None = None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Rate]:
    """The rate of each pass, a function that returns the number of its images, the same each time.

    Each runs once untimed, then all take turns. before: called before each pass of its name, untimed. done: called
    after every pass.
    """
    before, images = before or {}, {}
    for name, work in passes.items():
        before.get(name, _nothing)()
        images[name] = work()
        done()
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(repeats):
        for name, work in passes.items():
            before.get(name, _nothing)()
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
            done()
    return {name: Rate.of(images[name], seconds[name]) for name in passes}


def _nothing() -> None: ...


def memory_bytes() -> int | None:
    """The memory of this process and its children; shared pages are divided among processes (proportional set size).

    None if the system does not report it (Linux does). This takes milliseconds, so do not call it in a timed pass.
    """
    own = pss_bytes(_PROC / "self")
    return None if own is None else own + sum(pss_bytes(_PROC / child) or 0 for child in _children())


def pss_bytes(process: Path) -> int | None:
    """The proportional set size of one process, /proc/PID; None if the system does not report it."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _children() -> list[str]:
    """The ids of this process's children."""
    found = []
    for thread in (_PROC / "self" / "task").glob("*"):
        with contextlib.suppress(OSError):
            found += (thread / "children").read_text().split()
    return found


def give_back_memory() -> None:
    """Return freed memory to the system, so that it does not hide what the next measurement uses."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # not in every C library
        ctypes.CDLL(None).malloc_trim(0)
