"""Compare `tench prepare` of ILSVRC2012_img_train.tar, without re-encoding, with a plain copy of the same file.

The archive is a tar of class tars in the form that image-net.org publishes, filled with photographs that are repeated
under other names. The reference is `cp --reflink=never` and `sync` of the copy. The clock is read when all output is on
the disk; `tench prepare` flushes its own. The source is always in the page cache, and its table in tench's cache. Times
are those of whole processes: they include the start of Python and the read-back that ends `tench prepare`.
Usage: python benchmarks/prepare/pass_through.py --photos PHOTOS.tar [--folder DIR] [--gigabytes 1.5] [--repeats 5]
(writes pass_through.json next to this script)
"""

import argparse
import io
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

LAYOUTS = ("webdataset", "tfrecord", "recordio")


def make(path: Path, photos: Mapping[str, Sequence[bytes]], num_bytes: float) -> None:
    """Write an archive of about `num_bytes` bytes, with the same number of images in each class."""
    per_class = max(1, round(num_bytes / sum(sum(map(len, of)) / len(of) for of in photos.values())))
    part = path.with_suffix(".part")
    with tarfile.open(part, "w") as outer:
        for wnid, of_class in photos.items():
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as inner:
                for number, data in enumerate(common.copies(of_class, per_class)):
                    add(inner, f"{wnid}_{number}.JPEG", data)
            add(outer, f"{wnid}.tar", packed.getvalue())
    part.rename(path)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    source = args.folder / f"pass_through-{args.gigabytes:g}GB" / "ILSVRC2012_img_train.tar"
    source.parent.mkdir(parents=True, exist_ok=True)
    os.environ["TENCH_CACHE"] = str(args.folder / "cache")
    if not source.exists():
        make(source, common.photographs(args.photos), args.gigabytes * 1e9)

    def copy(out: Path) -> float:
        out.mkdir()
        common.warm(source)
        copied = out / source.name
        return common.timed(["sh", "-c", 'cp --reflink=never "$0" "$1" && sync "$1"', source, copied])

    def prepare(layout: str, threads: int) -> common.Writer:
        def run(out: Path) -> float:
            common.warm(source)
            return common.timed([*common.TENCH, "prepare", source, out, "--to", layout, "-j", str(threads)])

        return run

    contenders: dict[str, common.Writer] = {"cp": copy}
    for threads in (1, 2):
        for layout in LAYOUTS:
            contenders[f"{layout}, {threads} thread{'s' * (threads > 1)}"] = prepare(layout, threads)
    seconds = common.writing_in_turns(contenders, args.folder, args.repeats)
    num_bytes = source.stat().st_size
    result = {
        "bytes": num_bytes,
        "images": num_images(source),
        "repeats": args.repeats,
        "flushed": "cp: sync of the copy; tench prepare: fsync of each file, by itself",
        "seconds": {name: common.summary(values) for name, values in seconds.items()},
        "megabytes_per_second": {name: common.rates(num_bytes / 1e6, values, 0) for name, values in seconds.items()},
        "rate_as_part_of_cp": {
            name: common.times_as_fast(values, seconds["cp"]) for name, values in seconds.items() if name != "cp"
        },
    }
    write_result(Path(__file__).with_suffix(".json"), result)


def num_images(source: Path) -> int:
    from tench.data.source import open_source

    return open_source(source).num_images


if __name__ == "__main__":
    main()
