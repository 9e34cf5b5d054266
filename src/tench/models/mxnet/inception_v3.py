"""Inception v3 (arXiv:1512.00567) without auxiliary head and dropout; the scales of its batch norms are fixed.

It ends with an 8x8 average pooling with stride 1: one pixel at 299 px, more for larger images. The last block uses max
pooling.
Source: MXNet, example/image-classification/symbols/inception-v3.py.
"""

from typing import Literal

from torch import nn

from tench.models.mxnet.steps import Conv, Fork, Pool, Step, classifier, fixed_scale_norm, with_norm

_LAYERS = with_norm(fixed_scale_norm, bias=False)


def inception_v3(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes). Raises ValueError if S is too small."""
    body: dict[str, Step] = {
        "conv": Conv(32, 3, stride=2),
        "conv_1": Conv(32, 3),
        "conv_2": Conv(64, 3, padding=1),
        "pool": Pool("max", 3, 2),
        "conv_3": Conv(80),
        "conv_4": Conv(192, 3),
        "pool1": Pool("max", 3, 2),
        "mixed": _at_35(32),
        "mixed_1": _at_35(64),
        "mixed_2": _at_35(64),
        "mixed_3": _to_17(),
        "mixed_4": _at_17(128),
        "mixed_5": _at_17(160),
        "mixed_6": _at_17(160),
        "mixed_7": _at_17(192),
        "mixed_8": _to_8(),
        "mixed_9": _at_8("avg"),
        "mixed_10": _at_8("max"),
        "mean": Pool("avg", 8),
    }
    return classifier(body, _LAYERS, num_classes=num_classes, image_size=image_size, channels=channels)


def _at_35(pooled: int) -> Fork:
    return Fork(
        (
            (Conv(64),),
            (Conv(48), Conv(64, 5, padding=2)),
            (Conv(64), Conv(96, 3, padding=1), Conv(96, 3, padding=1)),
            (Pool("avg", 3, padding=1), Conv(pooled)),
        )
    )


def _to_17() -> Fork:
    return Fork(
        (
            (Conv(384, 3, stride=2),),
            (Conv(64), Conv(96, 3, padding=1), Conv(96, 3, stride=2)),
            (Pool("max", 3, 2),),
        )
    )


def _at_17(reduced: int) -> Fork:
    return Fork(
        (
            (Conv(192),),
            (Conv(reduced), _row(reduced), _column(192)),
            (Conv(reduced), _column(reduced), _row(reduced), _column(reduced), _row(192)),
            (Pool("avg", 3, padding=1), Conv(192)),
        )
    )


def _to_8() -> Fork:
    return Fork(
        (
            (Conv(192), Conv(320, 3, stride=2)),
            (Conv(192), _row(192), _column(192), Conv(192, 3, stride=2)),
            (Pool("max", 3, 2),),
        )
    )


def _at_8(pool: Literal["max", "avg"]) -> Fork:
    row_and_column = Fork(((Conv(384, (1, 3), padding=(0, 1)),), (Conv(384, (3, 1), padding=(1, 0)),)))
    return Fork(
        (
            (Conv(320),),
            (Conv(384), row_and_column),
            (Conv(448), Conv(384, 3, padding=1), row_and_column),
            (Pool(pool, 3, padding=1), Conv(192)),
        )
    )


def _row(width: int) -> Conv:
    return Conv(width, (1, 7), padding=(0, 3))


def _column(width: int) -> Conv:
    return Conv(width, (7, 1), padding=(3, 0))
