"""The options of every loader, and how it is timed. Uses only the standard library: each loader has its own Python.

A loader is an iterator of (images, labels) that does not end before the last batch is requested. After some warm-up
batches, a number of batches is timed, from the request for the first to the arrival of the last. So neither starting
workers nor the end of an epoch counts, where some loaders drain: a pass over 1,000 photographs ends a thousand times as
often as one over ImageNet.
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
SPARE_BATCHES = 64  # prefetched and never requested


def parser() -> argparse.ArgumentParser:
    """The options that all loaders have; a peer adds its own."""
    made = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("data", help="the photographs, in the format of this loader")
    made.add_argument("--workers", type=int, default=1, help="threads or processes")
    made.add_argument("--batch-size", type=int, default=64)
    made.add_argument("--warm-up", type=int, default=32, help="batches before the clock starts")
    made.add_argument("--batches", type=int, default=125, help="batches that are timed")
    made.add_argument("--idle", action="store_true", help="only import, then wait for the end of standard input")
    return made


def images_to_come(asked: argparse.Namespace) -> int:
    """The number of images that a stream needs so that it does not end before the clock stops."""
    return int((asked.warm_up + asked.batches + SPARE_BATCHES) * asked.batch_size)


def measure(
    asked: argparse.Namespace, batches: Iterator[tuple[Any, Any]], *, filter_: str, packages: Sequence[str]
) -> None:
    """Time the batches and print a line of JSON, after a line `started` when the clock starts. If idle, print `idle`.

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
    """Raise SystemExit if a batch differs in shape or type from what every loader must return."""
    count, *rest = images.shape
    if (count, len(labels)) != (asked.batch_size, asked.batch_size) or sorted(rest) != [3, SIZE, SIZE]:
        raise SystemExit(
            f"The batch must have {asked.batch_size} images of 3 x {SIZE} x {SIZE} and as many labels, got the shape "
            f"{tuple(images.shape)} and {len(labels)} labels."
        )
    if "uint8" not in str(images.dtype):
        raise SystemExit(f"The images must be uint8, got {images.dtype}.")
