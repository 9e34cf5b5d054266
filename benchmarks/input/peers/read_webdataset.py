"""webdataset: tar shards, decoded by Pillow and transformed by torchvision in the processes of a WebLoader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clock
import torch
import webdataset as wds
from torchvision.transforms import v2

SHUFFLE_BUFFER = 1000  # encoded images


def batches(asked: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    crop = v2.RandomResizedCrop(clock.SIZE, scale=clock.SCALE, ratio=clock.RATIO, antialias=True)
    transform = v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])
    shards = sorted(map(str, Path(asked.data).glob("*.tar")))
    dataset = (
        wds.WebDataset(shards, resampled=True, shardshuffle=False)  # shards are drawn with replacement, without end
        .shuffle(SHUFFLE_BUFFER)
        .decode("pil")
        .to_tuple("jpg;jpeg", "cls")
        .map_tuple(transform, torch.tensor)
        .batched(asked.batch_size, partial=False)
    )
    yield from wds.WebLoader(dataset, batch_size=None, num_workers=asked.workers)


if __name__ == "__main__":
    asked = clock.parser().parse_args()
    packages = ("webdataset", "torch", "torchvision", "pillow")
    clock.measure(asked, batches(asked), filter_="bilinear, antialiased", packages=packages)
