"""Measure the time and memory that `tench.load` takes for a weight file of about 100 MB, for each system that is read.

Each file is read in a fresh process. That process first reads a small file of the same kind, so that imports are not
counted. The time is that of `tench.load`: reading, finding the network, building it and copying the weights into it.
The file is in the page cache. The memory is the peak of the process's resident memory during that call, minus its
resident memory before (VmHWM and VmRSS in /proc/self/status; the peak is reset before the call). ru_maxrss of getrusage
is not usable: a process inherits it from the one that started it. NNabla's file is listed by a child process, whose
memory is not included.

Usage: python benchmarks/weights/reading.py [--repeats 5] [--output FILE] (writes reading.json next to this script)
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import made
from common import summary, warm
from machine import write_result

import tench

MEGABYTE = 10**6
Write = Callable[[Path], Path]
"""Writes a file into a folder, and returns the path to read."""


def _written(write: Callable[[Path, str], None], name: str, arch: str) -> Write:
    def run(folder: Path) -> Path:
        write(folder / name, arch)
        return folder / name

    return run


def _mxnet(name: str, symbol: Callable[[], dict[str, Any]], image_size: int, channels: int) -> Write:
    def run(folder: Path) -> Path:
        made.write_mxnet(folder / name, symbol(), image_size, channels)
        return folder / f"{name}-symbol.json"

    return run


FORMS: dict[str, tuple[Write, Write]] = {
    "PyTorch .pth": (
        _written(made.write_pth, "small.pth", "squeezenet1_1"),
        _written(made.write_pth, "large.pth", "resnet50"),
    ),
    "safetensors": (
        _written(made.write_safetensors, "small.safetensors", "squeezenet1_1"),
        _written(made.write_safetensors, "large.safetensors", "resnet50"),
    ),
    "NNabla .h5": (
        _written(made.write_nnabla, "small.h5", "mobilenet_v3_small"),
        _written(made.write_nnabla, "large.h5", "resnet50"),
    ),
    "MXNet symbol and params": (
        _mxnet("small", made.mlp_symbol, 28, 1),
        _mxnet("large", made.resnet_50_symbol, 224, 3),
    ),
    "Gluon params": (
        _written(made.write_gluon, "small.params", "squeezenet1.1"),
        _written(made.write_gluon, "large.params", "resnet50_v1"),
    ),
}
"""A small file and a large one of each kind."""
ARCHS = {"small.safetensors": "squeezenet1_1", "large.safetensors": "resnet50"}
"""The network of the files that do not name it and whose shapes do not tell."""


def resident() -> dict[str, int]:
    """The resident memory of this process, now and at its peak, in bytes."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    found = {line[0]: int(line[1]) * 1024 for line in lines if line[0] in ("VmRSS:", "VmHWM:")}
    return {"now": found["VmRSS:"], "peak": found["VmHWM:"]}


def turn(small: Path, large: Path) -> dict[str, Any]:
    """What the large file takes in this process."""
    tench.load(small, "cpu", arch=ARCHS.get(small.name))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident()["now"]
    began = time.perf_counter()
    loaded = tench.load(large, "cpu", arch=ARCHS.get(large.name))
    seconds = time.perf_counter() - began
    return {"arch": loaded.card.arch, "seconds": seconds, "bytes": resident()["peak"] - before}


def size_of(path: Path) -> int:
    """Bytes of a file, with the parameters of a symbol."""
    params = path.with_name(path.name.replace("-symbol.json", "-0000.params"))
    return sum(file.stat().st_size for file in {path, params})


def measured(form: str, folder: Path, repeats: int) -> dict[str, Any]:
    small, large = (write(folder) for write in FORMS[form])
    warm(folder)
    turns = []
    for number in range(repeats + 1):  # the first one is a warm-up
        command = [sys.executable, __file__, "--turn", str(small), str(large)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        turns.append(json.loads(done.stdout))
        print(f"turn {number}: {form}: {turns[-1]}", file=sys.stderr, flush=True)
    num_bytes, turns = size_of(large), turns[1:]
    return {
        "form": form,
        "arch": turns[0]["arch"],
        "file_mb": round(num_bytes / MEGABYTE, 1),
        "seconds": summary([turn["seconds"] for turn in turns]),
        "memory_mb": summary([turn["bytes"] / MEGABYTE for turn in turns], 0),
        "memory_per_file_size": summary([turn["bytes"] / num_bytes for turn in turns]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turn", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    if args.turn:
        print(json.dumps(turn(*args.turn)))
        return
    load = os.getloadavg()[0]
    rows = []
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(form, Path(folder), args.repeats))
    write_result(args.output, {"repeats": args.repeats, "load_average_before": round(load, 2), "rows": rows})


if __name__ == "__main__":
    main()
