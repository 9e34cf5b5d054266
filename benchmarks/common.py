"""Helpers shared by the benchmarks: photographs repeated under other names, turns, and summaries.

A turn runs each contender once, one after the other, so that other load on the machine affects all of them. Each
contender is a separate process.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TENCH = [sys.executable, "-m", "tench"]

Contender = Callable[[], float]
"""Runs a process and returns the measured seconds."""

Writer = Callable[[Path], float]
"""Creates a folder, writes into it, flushes it to the disk, and returns the seconds taken."""


def photographs(tar: Path) -> dict[str, list[bytes]]:
    """The photographs in a tar, by WordNet id; its members are named `photos/<wnid>_<name>.JPEG`."""
    found: dict[str, list[bytes]] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".JPEG"):
                found.setdefault(Path(member.name).name.partition("_")[0], []).append(file.read())
    return found


def copies(photos: Sequence[bytes], total: int) -> list[bytes]:
    """A list of `total` images, made by repeating the photographs."""
    return [photos[number % len(photos)] for number in range(total)]


def class_folders(path: Path, photos: Mapping[str, Sequence[bytes]], per_class: int) -> Path:
    """Create class folders with `per_class` files each, unless `path` exists; returns `path`."""
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        for wnid, of_class in photos.items():
            (part / wnid).mkdir(parents=True)
            for number, data in enumerate(copies(of_class, per_class)):
                (part / wnid / f"{wnid}_{number}.JPEG").write_bytes(data)
        part.rename(path)
    return path


def warm(path: Path) -> int:
    """Read a file, or all files in a folder, into the page cache; returns the number of bytes."""
    num_bytes = 0
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while block := opened.read(2**24):
                    num_bytes += len(block)
    return num_bytes


def timed(command: Sequence[str | Path], *, flush: Sequence[Path] = (), prefix: Sequence[str] = ()) -> float:
    """The seconds that a command takes, including `fsync` of the paths in `flush`."""
    start = time.perf_counter()
    subprocess.run([*prefix, *map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for path in flush:
        flushed(path)
    return time.perf_counter() - start


def flushed(path: Path) -> None:
    """Flush a file, or all files in a folder, to the disk."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def in_turns(contenders: Mapping[str, Contender], repeats: int) -> dict[str, list[float]]:
    """The seconds of each contender in each turn, after one warm-up turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, contender in contenders.items():
            took = contender()
            print(f"turn {turn}: {name}: {took:.2f} s", file=sys.stderr, flush=True)
            if turn:
                seconds[name].append(took)
    return seconds


def writing_in_turns(writers: Mapping[str, Writer], folder: Path, repeats: int) -> dict[str, list[float]]:
    """Like `in_turns`, for writers: before each one starts, the last output is removed and the disk is synced."""
    out = folder / "out"

    def writing(writer: Writer) -> Contender:
        def run() -> float:
            shutil.rmtree(out, ignore_errors=True)
            os.sync()
            return writer(out)

        return run

    seconds = in_turns({name: writing(writer) for name, writer in writers.items()}, repeats)
    shutil.rmtree(out, ignore_errors=True)
    return seconds


def summary(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def rates(amount: float, seconds: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Summary of the amount per second."""
    return summary([amount / took for took in seconds], digits)


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Summary of the ratios within each turn: above 1 if ours is faster."""
    return summary([slow / fast for fast, slow in zip(ours, theirs, strict=True)])
