"""Measure a table of ILSVRC2012's size: a tar of 1000 tars with 1,281,167 members, never unpacked.

The archive is a sparse file: only the headers are written, and the images between them are holes of realistic size. So
offsets exceed 140 GB, while the headers take 5 GB of disk. Each of these is then measured in a separate process:
building the table (with the headers in the page cache, and from the disk), loading it from the cache (seconds, and
resident memory of the loaded table), and the time from the start of Python to the first batch of a training. The images
of that first batch are replaced by a photograph.
Usage: python benchmarks/layouts/tar_of_tars.py [--folder DIR] [--images N]
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from tench.data.formats.wordnet import imagenet

IMAGES, BATCH = 1_281_167, 256
BLOCK = 512

MAKE = """
import sys, time
from tench.data.source import open_source
start = time.perf_counter()
dataset = open_source(sys.argv[1], refresh=True)
seconds = time.perf_counter() - start
train = dataset.splits["train"]
assert len(train) == int(sys.argv[2]) and len(dataset.classes) == 1000
print(seconds, int(train.offsets.max()))
"""
LOAD = """
import resource, sys, time
import numpy, pyarrow, pyarrow.compute, filelock
from tench.data import source
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = resident()
start = time.perf_counter()
dataset = source.open_source(sys.argv[1])
train = dataset.splits["train"]
row = train.offsets[12345], train.key(12345)
seconds = time.perf_counter() - start
every = int(train.offsets.sum()) + int(train.labels.sum()) + int(train.lengths.sum())  # read whole columns too
print(seconds, resident() - before)
"""
FIRST_BATCH = """
import sys
from tench.data.source import open_source
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import RandomResizedCrop
train = open_source(sys.argv[1]).splits["train"]
order = Order(num_rows=len(train), batch_size=int(sys.argv[2]), seed=0)
view = RandomResizedCrop(size=224, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5)
loader = Loader(train, view, order, channels=3)
batch = next(loader.batches(epoch=0))
assert batch.images.shape == (int(sys.argv[2]), 3, 224, 224)
loader.close()
"""


def make(path: Path, num_images: int) -> None:
    """Write the archive, with the classes in random order, because those of the published archive are not sorted."""
    rng = np.random.default_rng(0)
    counts = np.full(1000, num_images // 1000) + (np.arange(1000) < num_images % 1000)
    wnids = list(rng.permutation(np.array(imagenet())))
    with path.open("wb", buffering=0) as file:
        position = 0
        for wnid, count in zip(wnids, counts.tolist(), strict=True):
            sizes = rng.integers(60_000, 160_000, count)
            spans = BLOCK + -(-sizes // BLOCK) * BLOCK
            inner = int(spans.sum()) + 2 * BLOCK
            header(file, position, f"{wnid}.tar", inner)
            start = position + BLOCK
            for number, (size, span) in enumerate(zip(sizes.tolist(), spans.tolist(), strict=True)):
                header(file, start, f"{wnid}_{number * 7 + 3}.JPEG", size)
                start += span
            position += BLOCK + inner
        file.truncate(position + 2 * BLOCK)


def header(file: io.FileIO, position: int, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    os.pwrite(file.fileno(), info.tobuf(tarfile.GNU_FORMAT), position)


def fill_first_batch(path: Path) -> None:
    """Write a photograph of 500 x 375 pixels over the images that the first steps of a training read."""
    from tench.data.source import open_source
    from tench.input.order import Order

    picture = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).resize((500, 375)).save(picture, "JPEG", quality=80)
    assert len(picture.getvalue()) < 60_000
    train = open_source(path).splits["train"]
    order = Order(num_rows=len(train), batch_size=BATCH, seed=0)
    stat = path.stat()
    with path.open("r+b") as file:
        for step in range(min(8, order.steps_per_epoch)):
            for offset in train.offsets[order.rows(0, step)].tolist():
                os.pwrite(file.fileno(), picture.getvalue(), offset)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that the cached table stays valid


def evict(path: Path) -> None:
    """Drop the file from the page cache, so that the headers are read from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(code: str, *arguments: object) -> tuple[list[float], float]:
    """(the numbers that the code prints, seconds of the whole process)"""
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()], time.perf_counter() - start


def summary(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tench-benchmark"))
    parser.add_argument("--images", type=int, default=IMAGES)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.environ["TENCH_CACHE"] = str(args.folder / "cache")
    path = args.folder / "ILSVRC2012_img_train.tar"
    if not path.exists():
        make(path, args.images)
    cold = []
    for _ in range(2):
        evict(path)
        cold.append(run(MAKE, path, args.images)[0])
    made = [run(MAKE, path, args.images)[0] for _ in range(3)]
    fill_first_batch(path)
    loaded = [run(LOAD, path)[0] for _ in range(7)]
    first = [run(FIRST_BATCH, path, BATCH)[1] for _ in range(5)]
    result = {
        "images": args.images,
        "largest_offset": int(made[0][1]),
        "archive_bytes": path.stat().st_size,
        "table_bytes": sum(file.stat().st_size for file in (args.folder / "cache/tables").glob("*.arrow")),
        "make_table_seconds": summary([seconds for seconds, _ in made]),
        "make_table_seconds_headers_not_in_memory": summary([seconds for seconds, _ in cold]),
        "load_table_seconds": summary([seconds for seconds, _ in loaded]),
        "loaded_table_resident_mb": summary([size / 1e6 for _, size in loaded]),
        "start_to_first_batch_seconds": summary(first),
        "first_batch_images": BATCH,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
