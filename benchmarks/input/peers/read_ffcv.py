"""FFCV: a .beton file that fits into the page cache, read in random order, as its guide recommends for this case."""

from collections.abc import Iterator
from typing import Any

import clock
import numpy as np
import torch
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor


def batches(asked: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    crop = RandomResizedCropRGBImageDecoder((clock.SIZE, clock.SIZE), clock.SCALE, clock.RATIO)
    stored = Reader(asked.data).num_samples
    yield from Loader(
        asked.data,
        batch_size=asked.batch_size,
        num_workers=asked.workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        indices=np.arange(clock.images_to_come(asked)) % stored,
        pipelines={
            "image": [crop, RandomHorizontalFlip(), ToTensor()],
            "label": [IntDecoder(), ToTensor(), Squeeze()],
        },
    )


if __name__ == "__main__":
    asked = clock.parser().parse_args()
    packages = ("ffcv", "torch", "numba", "numpy")
    clock.measure(asked, batches(asked), filter_="area (OpenCV), antialiased", packages=packages)
