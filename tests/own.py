"""A module of the user's own code, for tests of the user's networks, losses and augmentations."""

import dataclasses
from pathlib import Path

CODE = '''"""Parts of a user."""

import torch
import torch.nn.functional as F
from torch import nn

NUMBER = 3


def small(num_classes, channels=3):
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(24, num_classes),
    )


class Net(nn.Module):
    def __init__(self, num_classes, image_size, channels):
        super().__init__()
        self.body = nn.Linear(channels * image_size**2, num_classes)

    def forward(self, images):
        return self.body(images.reshape(len(images), -1))


class Viewing(nn.Module):
    """As in tutorials: it works only if images are stored as nchw."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, num_classes)

    def forward(self, images):
        return self.head(self.conv(images).view(-1, 4 * 36))


def focal(logits, targets):
    entropy = F.cross_entropy(logits, targets, reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()


def dim(image, rng):
    return (image * rng.uniform(0.5, 1.0)).astype("uint8")


def noise(images, targets):
    return images + 0.1 * torch.randn_like(images), targets
'''


@dataclasses.dataclass(frozen=True)
class OwnModule:
    """An importable module that contains CODE."""

    name: str
    path: Path
