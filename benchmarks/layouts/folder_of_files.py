"""Measure a folder of Tiny-ImageNet's size, 100,000 files in 200 class folders: building its table, and the next start.

The files are small, because only their names and sizes are read. Each measurement runs in a separate process, with a
warm file system cache. For comparison, torchvision's ImageFolder lists the same folder; the three take turns.
Usage: python benchmarks/layouts/folder_of_files.py [--folder DIR]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

CLASSES, IMAGES = 200, 500

MAKE = """
import sys, time
from tench.data.source import open_source
start = time.perf_counter()
dataset = open_source(sys.argv[1], refresh=True)
print(time.perf_counter() - start)
assert len(dataset.splits["train"]) == int(sys.argv[2])
"""
AGAIN = """
import sys, time
import filelock, numpy, pyarrow
from tench.data.source import open_source
start = time.perf_counter()
dataset = open_source(sys.argv[1])
print(time.perf_counter() - start)
assert len(dataset.splits["train"]) == int(sys.argv[2])
"""
TORCHVISION = """
import sys, time
from tench.compat import import_torchvision
import_torchvision()
from torchvision.datasets import ImageFolder
start = time.perf_counter()
dataset = ImageFolder(sys.argv[1])
print(time.perf_counter() - start)
assert len(dataset) == int(sys.argv[2])
"""


def make(path: Path) -> None:
    for number in range(CLASSES):
        folder = path / f"n{number:08}" / "images"
        folder.mkdir(parents=True)
        for image in range(IMAGES):
            (folder / f"n{number:08}_{image}.JPEG").write_bytes(b"\xff\xd8" + bytes(1000 + image))


def seconds(code: str, path: Path) -> float:
    command = [sys.executable, "-c", code, str(path), str(CLASSES * IMAGES)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def summary(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    args = parser.parse_args()
    path = args.folder / "files"
    os.environ["TENCH_CACHE"] = str(args.folder / "cache")
    if not path.exists():
        make(path)
    rows: dict[str, list[float]] = {"make_table": [], "next_start": [], "torchvision_image_folder": []}
    for _ in range(5):
        for name, code in zip(rows, (MAKE, AGAIN, TORCHVISION), strict=True):
            rows[name].append(seconds(code, path))
    print(json.dumps({"images": CLASSES * IMAGES, **{f"{k}_seconds": summary(v) for k, v in rows.items()}}, indent=2))


if __name__ == "__main__":
    main()
