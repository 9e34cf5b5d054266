"""torchvision: ImageFolder and the v2 transforms in the processes of a DataLoader, on Pillow images or on tensors.

Tensors are decoded by torchvision.io.decode_jpeg, which needs torchvision's compiled operators.
"""

from collections.abc import Iterator
from typing import Any

import clock
import torch
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2


def read_tensor(path: str) -> torch.Tensor:
    return decode_jpeg(read_file(path), mode=ImageReadMode.RGB)


def batches(asked: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    if asked.view == "eval":
        steps = [v2.Resize(clock.RESIZE, antialias=True), v2.CenterCrop(clock.SIZE)]
    else:
        crop = v2.RandomResizedCrop(clock.SIZE, scale=clock.SCALE, ratio=clock.RATIO, antialias=True)
        steps = [crop, v2.RandomHorizontalFlip()]
    if asked.randaugment:
        steps.append(v2.RandAugment())
    if asked.form == "pillow":
        dataset = ImageFolder(asked.data, v2.Compose([*steps, v2.PILToTensor()]))
    else:
        dataset = ImageFolder(asked.data, v2.Compose(steps), loader=read_tensor)
    order = RandomSampler(dataset, num_samples=clock.images_to_come(asked))
    yield from DataLoader(dataset, asked.batch_size, sampler=order, num_workers=asked.workers, drop_last=True)


if __name__ == "__main__":
    parser = clock.parser()
    parser.add_argument("--form", choices=["pillow", "tensor"], default="pillow")
    parser.add_argument("--view", choices=["train", "eval"], default="train")
    parser.add_argument("--randaugment", action="store_true")
    asked = parser.parse_args()
    packages = ("torch", "torchvision", *(["pillow"] if asked.form == "pillow" else []))
    clock.measure(asked, batches(asked), filter_="bilinear, antialiased", packages=packages)
