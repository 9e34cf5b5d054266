"""What the measurements share: photographs repeated under other names, turns, and summaries.

A turn runs each contender once, one after the other, so that what the machine does beside falls on all of them. Each
is a process of its own.
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
"""Runs a process; returns the seconds that are counted."""

Writer = Callable[[Path], float]
"""Writes into a folder that is not there yet, flushed to the disk; returns seconds."""


def photographs(tar: Path) -> dict[str, list[bytes]]:
    """The photographs by WordNet id, of a tar of files named `photos/<wnid>_<name>.JPEG`."""
    found: dict[str, list[bytes]] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".JPEG"):
                found.setdefault(Path(member.name).name.partition("_")[0], []).append(file.read())
    return found


def copies(photos: Sequence[bytes], total: int) -> list[bytes]:
    """So many images, the photographs over and over."""
    return [photos[number % len(photos)] for number in range(total)]


def class_folders(path: Path, photos: Mapping[str, Sequence[bytes]], per_class: int) -> Path:
    """A folder of class folders with so many files each; made once."""
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
    """Read a file, or all files of a folder, into the kernel's memory; returns the bytes."""
    num_bytes = 0
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while block := opened.read(2**24):
                    num_bytes += len(block)
    return num_bytes


def timed(command: Sequence[str | Path], *, flush: Sequence[Path] = (), prefix: Sequence[str] = ()) -> float:
    """Seconds of a command, and of `fsync` on what it left unflushed."""
    start = time.perf_counter()
    subprocess.run([*prefix, *map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for path in flush:
        flushed(path)
    return time.perf_counter() - start


def flushed(path: Path) -> None:
    """Have a file, or all files of a folder, on the disk."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def in_turns(contenders: Mapping[str, Contender], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contender, a turn after the other, behind one turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, contender in contenders.items():
            took = contender()
            print(f"turn {turn}: {name}: {took:.2f} s", file=sys.stderr, flush=True)
            if turn:
                seconds[name].append(took)
    return seconds


def writing_in_turns(writers: Mapping[str, Writer], folder: Path, repeats: int) -> dict[str, list[float]]:
    """The same of what writes into a folder: its output is removed, and the disk left idle, before the next begins."""
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
    """Summary of amount per second."""
    return summary([amount / took for took in seconds], digits)


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Summary of the ratios of the pairs, each of one turn: above 1 where ours is faster."""
    return summary([slow / fast for fast, slow in zip(ours, theirs, strict=True)])
