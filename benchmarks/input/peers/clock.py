"""What every loader is asked and how it is timed. Only the standard library: each peer runs in a Python of its own.

A loader is an iterator of (images, labels) that does not end before it is asked for the last batch. Some batches go by
until it is in its stride; then a number of batches is timed, from the request of the first to the arrival of the last.
So neither the start of workers counts nor the end of an epoch, where some loaders run empty: a pass over 1,000
photographs ends a thousand times as often as one over ImageNet.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

SIZE = 224
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of the random resized crop
RESIZE = 256  # of the evaluation view
SPARE_BATCHES = 64  # prepared ahead and never asked for


def parser() -> argparse.ArgumentParser:
    """The options that all loaders have; a peer adds its own."""
    made = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("data", help="the photographs as this loader stores them")
    made.add_argument("--workers", type=int, default=1, help="threads or processes")
    made.add_argument("--batch-size", type=int, default=64)
    made.add_argument("--warm-up", type=int, default=32, help="batches before the clock starts")
    made.add_argument("--batches", type=int, default=125, help="batches that are timed")
    made.add_argument("--idle", action="store_true", help="only import, and wait for the end of standard input")
    return made


def images_to_come(asked: argparse.Namespace) -> int:
    """Images of a stream that lasts until the clock has stopped."""
    return int((asked.warm_up + asked.batches + SPARE_BATCHES) * asked.batch_size)


def measure(
    asked: argparse.Namespace, batches: Iterator[tuple[Any, Any]], *, filter_: str, packages: Sequence[str]
) -> None:
    """Time the batches and print a line of JSON. A line before says when the clock starts, or that nothing will come.

    batches: images uint8 (B, 3, 224, 224) or (B, 224, 224, 3), and labels (B,). filter_: how the crop is resized.
    """
    if asked.idle:
        print("idle", flush=True)
        sys.stdin.read()
        return
    for _ in range(asked.warm_up):
        check(asked, *next(batches))
    print("started", flush=True)
    num_images = 0
    start = time.perf_counter()
    for _ in range(asked.batches):
        images, labels = next(batches)
        num_images += len(labels)
    seconds = time.perf_counter() - start
    check(asked, images, labels)
    versions = {name: version(name) for name in packages}
    print(json.dumps({"images": num_images, "seconds": seconds, "filter": filter_, "versions": versions}), flush=True)


def check(asked: argparse.Namespace, images: Any, labels: Any) -> None:
    """Whether the work is the same for all."""
    count, *rest = images.shape
    if (count, len(labels)) != (asked.batch_size, asked.batch_size) or sorted(rest) != [3, SIZE, SIZE]:
        raise SystemExit(f"The batch has the shape {tuple(images.shape)} and {len(labels)} labels.")
    if "uint8" not in str(images.dtype):
        raise SystemExit(f"The images are {images.dtype}, but should be uint8.")
