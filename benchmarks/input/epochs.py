"""Check that the loader's memory does not grow: its proportional set size after each of 100 epochs of 10,000 images.

The images are small, so that a million of them take only minutes: every fifth of CIFAR-10's training images, as JPEG
files of 32 x 32, with a random resized crop of 32 x 32.

Usage: python benchmarks/input/epochs.py --source cifar10.tar.xz [--epochs 100] [--threads 4] [--output FILE]
(writes epochs.json next to this script)
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result
from memory import MEGABYTE

from tench.bench.measure import memory_bytes
from tench.data.source import open_source
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import RandomResizedCrop

NUM_IMAGES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    _, table = open_source(args.source).split("train")
    table = table.subset(np.arange(NUM_IMAGES) * len(table) // NUM_IMAGES)
    order = Order(num_rows=NUM_IMAGES, batch_size=64, drop_last=False)
    megabytes, seconds = [], []
    with Loader(table, RandomResizedCrop(size=32), order, channels=3, threads=args.threads) as loader:
        for epoch in range(args.epochs):
            start = time.perf_counter()
            num_images = sum(len(batch.rows) for batch in loader.batches(epoch))
            seconds.append(time.perf_counter() - start)
            assert num_images == NUM_IMAGES
            megabytes.append(round((memory_bytes() or 0) / MEGABYTE, 1))
    result = {
        "images": NUM_IMAGES,
        "epochs": args.epochs,
        "threads": args.threads,
        "images_per_second": common.rates(NUM_IMAGES, seconds, 0),
        "first_megabytes": megabytes[0],
        "last_megabytes": megabytes[-1],
        "largest_megabytes": max(megabytes),
        "last_to_first": round(megabytes[-1] / megabytes[0], 3),
        "megabytes": megabytes,
    }
    write_result(args.output, result)


if __name__ == "__main__":
    main()
