"""Compare `tench check` with its JPEG decoder alone: images per second with the same number of threads, taking turns.

The decoder alone is simplejpeg.decode_jpeg on photographs in memory. `check` opens a tar of the same photographs
without the cached table; it reads, decodes, hashes and inspects each one and looks for duplicates. The file system
cache is warm, and Python's start-up is not counted. The tar contains each photograph many times, so that a run takes
some seconds.

Usage: python benchmarks/prepare/check_rate.py [--photos TAR] [--threads N] [--repeats 7] [--near] [--folder DIR]
(writes check_rate.json next to this script; with --dry-run it only prints)
"""

import argparse
import io
import json
import os
import statistics
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import simplejpeg

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import write_result

from tench.data.check.check import check
from tench.data.source import open_source
from tench.machine import num_threads

SHARED = Path(__file__).parents[2] / "../shared/data/photos.tar"
COPIES_PER_THREAD = 12
ROWS_PER_TASK = 32


def photographs(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {Path(m.name).stem: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def make_tar(path: Path, photos: dict[str, bytes], copies: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for copy in range(copies):
            for name, data in photos.items():
                info = tarfile.TarInfo(f"{name.partition('_')[0]}/{name}_{copy}.JPEG")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def decode_alone(photos: list[bytes], copies: int, threads: int) -> None:
    images = photos * copies

    def decode(start: int) -> None:
        for data in images[start : start + ROWS_PER_TASK]:
            simplejpeg.decode_jpeg(data, "RGB")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, range(0, len(images), ROWS_PER_TASK)))


def check_tar(path: Path, threads: int, near: bool) -> None:
    report = check(open_source(path, refresh=True), threads=threads, near=near)
    assert not report.bad


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def summary(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=SHARED)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    os.environ["TENCH_CACHE"] = str(args.folder / "cache")
    threads = num_threads(args.threads)
    copies = COPIES_PER_THREAD * threads
    photos = photographs(args.photos)
    path = args.folder / f"photos-{copies}.tar"
    if not path.exists():
        make_tar(path, photos, copies)
    runs: dict[str, Callable[[], None]] = {
        "decode_alone": lambda: decode_alone(list(photos.values()), copies, threads),
        "check": lambda: check_tar(path, threads, args.near),
    }
    for run in runs.values():  # warm-up
        run()
    rates: dict[str, list[float]] = {name: [] for name in runs}
    num_images = len(photos) * copies
    for _ in range(args.repeats):
        for name, run in runs.items():
            rates[name].append(num_images / seconds(run))
    ratios = [whole / alone for whole, alone in zip(rates["check"], rates["decode_alone"], strict=True)]
    result = {
        "images": num_images,
        "mean_bytes": round(sum(map(len, photos.values())) / len(photos)),
        "threads": threads,
        "near": args.near,
        "images_per_second": {name: summary(values) for name, values in rates.items()},
        "check_to_decode_alone": summary(ratios),
    }
    if args.dry_run:
        print(json.dumps(result, indent=1))
    else:
        write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
