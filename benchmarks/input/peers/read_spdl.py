"""SPDL: a pipeline of threads; FFmpeg decodes, crops, resizes and mirrors an image in one filter graph."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clock
import numpy as np
import spdl.io
from spdl.pipeline import PipelineBuilder

TRIES = 10


def crop(width: int, height: int) -> tuple[int, int]:
    """Width and height of a random part, drawn as in torchvision; the whole image after ten misses."""
    for _ in range(TRIES):
        area = width * height * random.uniform(*clock.SCALE)
        ratio = math.exp(random.uniform(*map(math.log, clock.RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return w, h
    return width, height


def view(item: tuple[str, int]) -> tuple[Any, int]:
    """The view of an image, as SPDL frames, and its label."""
    path, label = item
    packets = spdl.io.demux_image(path)
    w, h = crop(packets.width, packets.height)
    left, top = random.randint(0, packets.width - w), random.randint(0, packets.height - h)
    flip = ",hflip" if random.random() < 0.5 else ""
    graph = (
        f"crop={w}:{h}:{left}:{top}:exact=1,scale={clock.SIZE}:{clock.SIZE}:flags=bilinear{flip},format=pix_fmts=rgb24"
    )
    return spdl.io.decode_packets(packets, filter_desc=graph), label


def batch(items: list[tuple[Any, int]]) -> tuple[np.ndarray, np.ndarray]:
    frames, labels = zip(*items, strict=True)
    return spdl.io.to_numpy(spdl.io.convert_frames(list(frames))), np.array(labels)


def forever(folder: str) -> Iterator[tuple[str, int]]:
    files = sorted(Path(folder).glob("*/*"))
    labels = {name: label for label, name in enumerate(sorted({file.parent.name for file in files}))}
    items = [(str(file), labels[file.parent.name]) for file in files]
    while True:
        random.shuffle(items)
        yield from items


def batches(asked: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    pipeline = (
        PipelineBuilder()
        .add_source(forever(asked.data))
        .pipe(view, concurrency=asked.workers)
        .aggregate(asked.batch_size, drop_last=True)
        .pipe(batch)
        .add_sink(4)
        .build(num_threads=asked.workers)
    )
    with pipeline.auto_stop():
        yield from pipeline


if __name__ == "__main__":
    asked = clock.parser().parse_args()
    clock.measure(asked, batches(asked), filter_="bilinear (swscale), antialiased", packages=("spdl", "numpy"))
