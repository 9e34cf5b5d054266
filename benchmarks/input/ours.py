"""tench's loader on any layout, timed in the same way as the other loaders."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2  # noqa: F401 - so that an idle process has imported it too
import numpy as np
import simplejpeg  # noqa: F401
import torch
from PIL import Image  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import clock

from tench.data.source import open_source
from tench.input.augment import Augmented
from tench.input.autoaugment import RandAugment
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import EvalView, RandomResizedCrop, View


def batches(asked: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    _, table = open_source(asked.data).split("train")
    table = table.subset(np.arange(clock.images_to_come(asked)) % len(table))
    order = Order(num_rows=len(table), batch_size=asked.batch_size)
    view: View = EvalView(size=clock.SIZE, resize=clock.RESIZE)
    if asked.view == "train":
        view = RandomResizedCrop(size=clock.SIZE, scale=clock.SCALE, ratio=clock.RATIO)
    if asked.randaugment:
        view = Augmented(view, (RandAugment(),))
    with Loader(table, view, order, channels=3, threads=asked.workers) as loader:
        for batch in loader.batches(epoch=0):
            yield batch.images, batch.labels


if __name__ == "__main__":
    parser = clock.parser()
    parser.add_argument("--view", choices=["train", "eval"], default="train")
    parser.add_argument("--randaugment", action="store_true")
    asked = parser.parse_args()
    packages = ("torch", "simplejpeg", "opencv-python-headless")
    clock.measure(asked, batches(asked), filter_="bilinear, antialiased", packages=packages)
