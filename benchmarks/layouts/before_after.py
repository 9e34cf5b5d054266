"""Measure whether a change made reading slower: two checkouts of tench take turns on the same sources.

The sources are those of tar_of_tars.py and folder_of_files.py, created if they are missing. Each measurement runs in a
separate process. A first pass, which is not counted, reads the files into the page cache. Prints wall-clock seconds and
the ratio of the medians, new to old.
Usage: python benchmarks/layouts/before_after.py OLD_SRC NEW_SRC [--folder DIR] [--images N] [--repeats N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import folder_of_files
import tar_of_tars


def seconds(src: str, code: str, source: Path, count: int, cache: Path) -> float:
    """The first number that `code` prints when it runs with the tench in `src`."""
    environment = os.environ | {"PYTHONPATH": src, "TENCH_CACHE": str(cache / str(abs(hash(src))))}
    command = [sys.executable, "-c", code, str(source), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[0])


def info_seconds(src: str, source: Path, cache: Path) -> float:
    """Wall-clock seconds of the whole `tench info` process, with nothing cached."""
    environment = os.environ | {"PYTHONPATH": src, "TENCH_CACHE": str(cache / f"info{time.time_ns()}")}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tench", "info", str(source)], capture_output=True, check=True, env=environment
    )
    return time.perf_counter() - start


def summary(values: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(found) for name, found in values.items()}
    spread = {
        name: {"median": round(medians[name], 3), "min": round(min(found), 3), "max": round(max(found), 3)}
        for name, found in values.items()
    }
    return {**spread, "new_to_old": round(medians["new"] / medians["old"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    parser.add_argument("--images", type=int, default=tar_of_tars.IMAGES)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    cache, checkouts = args.folder / "cache", {"old": args.old, "new": args.new}
    files, archive = args.folder / "files", args.folder / "ILSVRC2012_img_train.tar"
    if not files.exists():
        folder_of_files.make(files)
    if not archive.exists():
        args.folder.mkdir(parents=True, exist_ok=True)
        tar_of_tars.make(archive, args.images)
    num_files = folder_of_files.CLASSES * folder_of_files.IMAGES
    measured = {
        "folder_make_table": lambda src: seconds(src, folder_of_files.MAKE, files, num_files, cache),
        "folder_next_start": lambda src: seconds(src, folder_of_files.AGAIN, files, num_files, cache),
        "folder_info": lambda src: info_seconds(src, files, cache),
        "tar_of_tars_make_table": lambda src: seconds(src, tar_of_tars.MAKE, archive, args.images, cache),
        "tar_of_tars_load": lambda src: seconds(src, tar_of_tars.LOAD, archive, args.images, cache),
    }
    rows: dict[str, Any] = {"images_in_tar": args.images, "files_in_folder": num_files, "repeats": args.repeats}
    for name, measure in measured.items():
        values: dict[str, list[float]] = {"old": [], "new": []}
        for repeat in range(args.repeats + 1):
            for which, src in checkouts.items():
                found = measure(src)
                if repeat:  # the first pass warms the page cache
                    values[which].append(found)
        rows[name] = summary(values)
        print(name, json.dumps(rows[name]), file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
