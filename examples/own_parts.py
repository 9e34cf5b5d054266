"""Train a network of your own, with your own loss, augmentation and stopping rule.

    python own_parts.py [SOURCE [RUN]]        SOURCE: your dataset; by default the handwritten digits

The same from the command line, in the folder of this file:

    tench train SOURCE -a own_parts:small_net --loss own_parts:focal_loss --policy own_parts:random_gamma \
        --augment-batch own_parts:add_noise --run RUN
    tench evaluate --trust-code RUN

The run stores the names own_parts:small_net and so on. tench imports them again only if you allow it, with --trust-code
on the command line or trust_code=True in Python.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tench


def small_net(num_classes: int, channels: int) -> nn.Module:
    """A network: normalised images (B, channels, S, S) -> logits (B, num_classes).

    tench passes num_classes, and image_size and channels if the function has parameters with these names.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, num_classes),
    )


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """A loss: logits (B, K) and labels (B,) -> scalar. Easy images have less weight (arXiv:1708.02002)."""
    entropy = F.cross_entropy(logits, targets, reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()


def random_gamma(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A policy: one training image, (H, W, C) uint8 -> the same shape. Use only rng, so that runs are reproducible."""
    gamma = rng.uniform(0.7, 1.4)
    return np.rint(255 * (image / 255) ** gamma).astype(np.uint8)


def add_noise(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A batch augmentation on the device: normalised images and targets -> both. torch is seeded for each step."""
    return images + 0.05 * torch.randn_like(images), targets


class Patience:
    """A callback that stops the training when validation has not improved for some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.best, self.best_epoch = epochs, 0.0, 0

    def __call__(self, end: tench.EpochEnd) -> None:
        if end.metrics["val_top1"] > self.best:
            self.best, self.best_epoch = end.metrics["val_top1"], end.epoch
        elif end.epoch - self.best_epoch >= self.epochs:
            raise tench.StopTraining(f"no better than {self.best:.2%} for {self.epochs} epochs")


def main(source: str = "digits", folder: str | None = None) -> None:
    run = tench.fit(
        source,
        run=folder,
        model=small_net,
        loss=focal_loss,
        policy=random_gamma,
        augment=add_noise,
        callbacks=[Patience(epochs=3)],
    )
    classifier = tench.load(run.folder, model=small_net)
    best = classifier.card.metrics
    print(f"{run.folder}: top-1 {best['top1']:.2%} after epoch {best['epoch']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
