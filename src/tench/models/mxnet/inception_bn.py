"""Inception with batch norm (arXiv:1502.03167), and a smaller network of the same kind for images of at most 28 px.

Convolutions have biases although a batch norm follows, whose scale is trained and whose eps is 1e-5. Both networks end
with a 7x7 average pooling with stride 1. It leaves one pixel at the usual image size and more at a larger one. Smaller
images do not fit.
Source: MXNet, example/image-classification/symbols/inception-bn.py.
"""

from functools import partial
from typing import Literal

from torch import nn

from tench.models.mxnet.steps import Conv, Fork, Pool, Step, classifier, with_norm

_SMALL = 28  # px

_LAYERS = with_norm(partial(nn.BatchNorm2d, eps=1e-5), bias=True)


def inception_bn(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes): the network for 224 px, or the one for 28 px if S is at most 28.

    Raises ValueError unless S is 25 to 28, or large enough for the larger network.
    """
    body = _small_body() if image_size <= _SMALL else _large_body()
    return classifier(body, _LAYERS, num_classes=num_classes, image_size=image_size, channels=channels)


def _large_body() -> dict[str, Step]:
    return {
        "conv1": Conv(64, 7, stride=2, padding=3),
        "pool1": Pool("max", 3, 2),
        "conv2_reduce": Conv(64),
        "conv2": Conv(192, 3, padding=1),
        "pool2": Pool("max", 3, 2),
        "3a": _inception(64, 64, 64, 64, 96, "avg", 32),
        "3b": _inception(64, 64, 96, 64, 96, "avg", 64),
        "3c": _halving(128, 160, 64, 96),
        "4a": _inception(224, 64, 96, 96, 128, "avg", 128),
        "4b": _inception(192, 96, 128, 96, 128, "avg", 128),
        "4c": _inception(160, 128, 160, 128, 160, "avg", 128),
        "4d": _inception(96, 128, 192, 160, 192, "avg", 128),
        "4e": _halving(128, 192, 192, 256),
        "5a": _inception(352, 192, 320, 160, 224, "avg", 128),
        "5b": _inception(352, 192, 320, 192, 224, "max", 128),
        "mean": Pool("avg", 7),
    }


def _inception(
    one: int, reduced: int, three: int, reduced_twice: int, twice: int, pool: Literal["max", "avg"], pooled: int
) -> Fork:
    return Fork(
        (
            (Conv(one),),
            (Conv(reduced), Conv(three, 3, padding=1)),
            (Conv(reduced_twice), Conv(twice, 3, padding=1), Conv(twice, 3, padding=1)),
            (Pool(pool, 3, padding=1), Conv(pooled)),
        )
    )


def _halving(reduced: int, three: int, reduced_twice: int, twice: int) -> Fork:
    return Fork(
        (
            (Conv(reduced), Conv(three, 3, stride=2, padding=1)),
            (Conv(reduced_twice), Conv(twice, 3, padding=1), Conv(twice, 3, stride=2, padding=1)),
            (Pool("max", 3, 2, padding=1),),
        )
    )


def _small_body() -> dict[str, Step]:
    return {
        "conv1": Conv(96, 3, padding=1),
        "3a": _small_inception(32, 32),
        "3b": _small_inception(32, 48),
        "3c": _small_halving(80),
        "4a": _small_inception(112, 48),
        "4b": _small_inception(96, 64),
        "4c": _small_inception(80, 80),
        "4d": _small_inception(48, 96),
        "4e": _small_halving(96),
        "5a": _small_inception(176, 160),
        "5b": _small_inception(176, 160),
        "mean": Pool("avg", 7),
    }


def _small_inception(one: int, three: int) -> Fork:
    return Fork(((Conv(one),), (Conv(three, 3, padding=1),)))


def _small_halving(three: int) -> Fork:
    return Fork(((Conv(three, 3, stride=2, padding=1),), (Pool("max", 3, 2, padding=1),)))
