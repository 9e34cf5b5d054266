"""Compare the memory of our loader (4 threads) and of a DataLoader with torchvision (4 workers) on the same folders.

The proportional set size (Pss in smaps_rollup: shared pages are divided among their processes) of all processes of a
loader is sampled while batches are timed. That of an idle process with the same imports is subtracted.

Usage: python benchmarks/input/memory.py --photos photos.tar --environments DIR [--work DIR] [--workers 4]
    [--batches 250] [--repeats 3] [--output FILE] (writes memory.json next to this script)
"""

import argparse
import os
import select
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
import forms
from loaders import TENSOR, Contender
from machine import write_result

from tench.bench.measure import pss_bytes

SAMPLE_SECONDS = 0.1
MEGABYTE = 10**6

CONTENDERS = [
    Contender("tench", "ours", "ours", "folder"),
    Contender("torchvision, Pillow", "torch", "torchvision", "folder"),
    Contender("torchvision, decode_jpeg", "torch", "torchvision", "folder", TENSOR),
]


def pss(session: int) -> int:
    """The proportional set size of all processes of a session, in bytes."""
    total = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.getsid(int(process.name)) == session:
                total += pss_bytes(process) or 0
        except ProcessLookupError:  # it has just ended
            continue
    return total


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a process in its own session, and wait until it reports that it has warmed up or is idle."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit(f"{' '.join(command)} ended with {process.wait()}.")
    return process


def idle(command: list[str]) -> int:
    with start([*command, "--idle"]) as process:
        found = pss(process.pid)
        process.communicate()
    return found


def working(command: list[str]) -> list[int]:
    """The memory samples taken until the process prints its result, in bytes."""
    samples = []
    with start(command) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], SAMPLE_SECONDS)[0]:
            samples.append(pss(process.pid))
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/tench-benchmark/input"))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--batches", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    environments = args.environments.absolute()
    os.environ["TENCH_CACHE"] = str(args.work / "cache")
    folder = forms.make("folder", args.work, args.photos, environments / "ffcv/bin/python")
    there = [one for one in CONTENDERS if one.python(environments).exists()]
    found: dict[str, list[tuple[int, int, float]]] = {one.name: [] for one in there}  # idle, largest, median
    for _ in range(args.repeats):
        for one in there:
            command = [*one.command(environments, folder), "--workers", str(args.workers)]
            samples = working([*command, "--batches", str(args.batches)])
            found[one.name].append((idle(command), max(samples), statistics.median(samples)))

    def summary(name: str) -> dict[str, Any]:
        runs = found[name]
        return {
            "idle": common.summary([idle / MEGABYTE for idle, _, _ in runs], 0),
            "largest_above_idle": common.summary([(largest - idle) / MEGABYTE for idle, largest, _ in runs], 0),
            "median_above_idle": common.summary([(median - idle) / MEGABYTE for idle, _, median in runs], 0),
        }

    result = {
        "workers": args.workers,
        "batch_size": 64,
        "batches": args.batches,
        "repeats": args.repeats,
        "megabytes": {name: summary(name) for name in found},
    }
    write_result(args.output, result)


if __name__ == "__main__":
    main()
