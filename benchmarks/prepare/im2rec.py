"""Compare `tench prepare --to recordio` with MXNet's tools/im2rec.py on the same files: images per second.

There are two jobs. Without re-encoding: `-j 1` and `--pass-through`, one process each. Re-encoded with the shorter side
256 and quality 90: tench has as many threads as im2rec has encoding processes (im2rec has one more process that
writes), once with the same filter (bilinear) and once with our default (area, antialiased). im2rec's list is made
beforehand, and so is our table. Times are those of whole processes. MXNet takes long to import, so a second ratio
excludes start-up, measured in the same turn: the import for im2rec, and `tench prepare --dry-run` for tench. im2rec's
files are flushed with fsync while the clock runs; `tench prepare` flushes its own.

im2rec.py is not in MXNet's wheel: get it from MXNet's repository, branch v1.x.
Usage: python benchmarks/prepare/im2rec.py --photos PHOTOS.tar --im2rec IM2REC.py --python PYTHON [--per-class 20]
    [--threads 2] [--folder DIR] [--repeats 5]
(PYTHON: an interpreter with MXNet 1.9.1 and OpenCV; writes im2rec.json next to this script)
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

VERSIONS = "import mxnet, cv2, numpy; print('mxnet', mxnet.__version__, 'opencv', cv2.__version__, numpy.__version__)"
IMPORT = "import mxnet, cv2"
ANEW = ["--short-side", "256", "--quality", "90", "--enlarge"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--im2rec", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.environ["TENCH_CACHE"] = str(args.folder / "cache")
    photos = common.photographs(args.photos)
    source = common.class_folders(args.folder / f"folder-{args.per_class}", photos, args.per_class)
    listed = args.folder / f"list-{args.per_class}"
    if not listed.exists():
        listed.mkdir()
        im2rec_list = [args.python, args.im2rec, "--list", "--recursive", listed / "train", source]
        subprocess.run(im2rec_list, check=True, stdout=subprocess.DEVNULL)

    def tench(*options: str) -> common.Writer:
        def run(out: Path) -> float:
            common.warm(source)
            return common.timed([*common.TENCH, "prepare", source, out, "--to", "recordio", *options])

        return run

    def im2rec(*options: str) -> common.Writer:
        def run(out: Path) -> float:
            shutil.copytree(listed, out)
            common.warm(source)
            return common.timed([args.python, args.im2rec, *options, out / "train", source], flush=[out])

        return run

    threads = str(args.threads)
    contenders: dict[str, common.Writer] = {
        "im2rec, start": lambda out: common.timed([args.python, "-c", IMPORT]),
        "tench, start": tench("--dry-run"),
        "im2rec, untouched": im2rec("--pass-through"),
        "tench, untouched": tench("-j", "1"),
        "im2rec, anew": im2rec("--resize", "256", "--quality", "90", "--num-thread", threads),
        "tench, anew, bilinear": tench(*ANEW, "--interpolation", "bilinear", "-j", threads),
        "tench, anew, area": tench(*ANEW, "-j", threads),
    }
    seconds = common.writing_in_turns(contenders, args.folder, args.repeats)
    starts = {name: seconds.pop(f"{name}, start") for name in ("im2rec", "tench")}
    num_images = len(photos) * args.per_class
    versions = subprocess.run([args.python, "-c", VERSIONS], check=True, capture_output=True, text=True).stdout.strip()
    working = {
        name: [took - start for took, start in zip(values, starts[name.partition(",")[0]], strict=True)]
        for name, values in seconds.items()
    }
    yardsticks = {
        "tench, untouched": "im2rec, untouched",
        "tench, anew, bilinear": "im2rec, anew",
        "tench, anew, area": "im2rec, anew",
    }
    result = {
        "images": num_images,
        "repeats": args.repeats,
        "threads_anew": args.threads,
        "im2rec": versions,
        "flushed": "im2rec: fsync of its files; tench prepare: fsync of each file, by itself",
        "start_seconds": {name: common.summary(values) for name, values in starts.items()},
        "seconds": {name: common.summary(values) for name, values in seconds.items()},
        "images_per_second": {name: common.rates(num_images, values, 0) for name, values in seconds.items()},
        "images_per_second_without_start": {
            name: common.rates(num_images, values, 0) for name, values in working.items()
        },
        "times_as_fast": {
            name: common.times_as_fast(seconds[name], seconds[theirs]) for name, theirs in yardsticks.items()
        },
        "times_as_fast_without_start": {
            name: common.times_as_fast(working[name], working[theirs]) for name, theirs in yardsticks.items()
        },
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
