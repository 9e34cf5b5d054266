"""Rates with their spread, and the memory of this process: what every benchmark measures with.

What is compared takes turns, so that a machine that slows down meanwhile slows all of it. The price of a median of five
is time; a single clock reading would tell as much about the neighbours as about the code.
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
"""Passes that are timed, after one that is not."""

_PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class Rate:
    """Images per second: median, smallest and largest of the timed passes. images: of one pass."""

    median: float
    min: float
    max: float
    images: int
    repeats: int

    @classmethod
    def of(cls, images: int, seconds: Sequence[float]) -> "Rate":
        """The rate of passes over so many images that took so long."""
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
    """The rate of each pass, a function that returns how many images it went through, always as many.

    Each runs once untimed, then all of them in turns. before: called before each pass of its name, untimed.
    done: called after every pass.
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
    """The memory of this process and its children; pages shared count in part (proportional set size).

    None where the system does not tell (Linux does). Takes milliseconds, so it has no place in a timed pass.
    """
    own = pss_bytes(_PROC / "self")
    return None if own is None else own + sum(pss_bytes(_PROC / child) or 0 for child in _children())


def pss_bytes(process: Path) -> int | None:
    """The proportional set size of one process, /proc/PID; None where the system does not tell."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _children() -> list[str]:
    """The ids of the processes that this one began."""
    found = []
    for thread in (_PROC / "self" / "task").glob("*"):
        with contextlib.suppress(OSError):
            found += (thread / "children").read_text().split()
    return found


def give_back_memory() -> None:
    """Return to the system what earlier measurements have freed, so that it does not hide what the next one takes."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # not in every C library
        ctypes.CDLL(None).malloc_trim(0)
