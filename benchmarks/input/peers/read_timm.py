"""timm: create_loader over its ImageDataset; the uint8 batches of the workers are timed.

create_loader wraps a DataLoader in a prefetcher that normalises on the device. This script uses the inner DataLoader.
"""

from collections.abc import Iterator
from typing import Any

import clock
import torch
from timm.data import create_dataset, create_loader


def batches(asked: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    prefetcher = create_loader(
        create_dataset("", root=asked.data),
        input_size=(3, clock.SIZE, clock.SIZE),
        batch_size=asked.batch_size,
        is_training=True,
        scale=clock.SCALE,
        ratio=clock.RATIO,
        hflip=0.5,
        color_jitter=0.0,
        interpolation="bilinear",
        num_workers=asked.workers,
        device=torch.device("cpu"),
        use_multi_epochs_loader=True,
    )
    while True:
        yield from prefetcher.loader


if __name__ == "__main__":
    asked = clock.parser().parse_args()
    packages = ("timm", "torch", "torchvision", "pillow")
    clock.measure(asked, batches(asked), filter_="bilinear, antialiased", packages=packages)
