"""Inception v4 (arXiv:1602.07261); the scales of its batch norms are fixed.

The last average pooling is 8x8 with padding 1 and stride 1. At 299 px it leaves 3x3 positions of 1536 channels, so the
last layer has 13,824 inputs. Source: MXNet, example/image-classification/symbols/inception-v4.py.
"""

from torch import nn

from tench.models.mxnet.steps import Conv, Fork, Pool, Step, classifier, fixed_scale_norm, with_norm

_LAYERS = with_norm(fixed_scale_norm, bias=False)


def inception_v4(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes). Raises ValueError if S is too small."""
    body: dict[str, Step] = {
        "conv1": Conv(32, 3, stride=2),
        "conv2": Conv(32, 3),
        "conv3": Conv(64, 3, padding=1),
        "stem1": Fork(((Pool("max", 3, 2),), (Conv(96, 3, stride=2),))),
        "stem2": Fork(((Conv(64), Conv(96, 3)), (Conv(64), _column(64), _row(64), Conv(96, 3)))),
        "stem3": Fork(((Conv(192, 3, stride=2),), (Pool("max", 3, 2),))),
        **{f"a{number}": _at_35() for number in range(1, 5)},
        "to_17": _to_17(),
        **{f"b{number}": _at_17() for number in range(1, 8)},
        "to_8": _to_8(),
        **{f"c{number}": _at_8() for number in range(1, 4)},
        "mean": Pool("avg", 8, padding=1),
    }
    return classifier(body, _LAYERS, num_classes=num_classes, image_size=image_size, channels=channels, dropout=0.2)


def _at_35() -> Fork:
    return Fork(
        (
            (Pool("avg", 3, padding=1), Conv(96)),
            (Conv(96),),
            (Conv(64), Conv(96, 3, padding=1)),
            (Conv(64), Conv(96, 3, padding=1), Conv(96, 3, padding=1)),
        )
    )


def _to_17() -> Fork:
    return Fork(
        (
            (Pool("max", 3, 2),),
            (Conv(384, 3, stride=2),),
            (Conv(192), Conv(224, 3, padding=1), Conv(256, 3, stride=2)),
        )
    )


def _at_17() -> Fork:
    return Fork(
        (
            (Pool("avg", 3, padding=1), Conv(128)),
            (Conv(384),),
            (Conv(192), _row(224), _column(256)),
            (Conv(192), _row(192), _column(224), _row(224), _column(256)),
        )
    )


def _to_8() -> Fork:
    return Fork(
        (
            (Pool("max", 3, 2),),
            (Conv(192), Conv(192, 3, stride=2)),
            (Conv(256), _row(256), _column(320), Conv(320, 3, stride=2)),
        )
    )


def _at_8() -> Fork:
    row, column = Conv(256, (1, 3), padding=(0, 1)), Conv(256, (3, 1), padding=(1, 0))
    return Fork(
        (
            (Pool("avg", 3, padding=1), Conv(256)),
            (Conv(256),),
            (Conv(384), Fork(((row,), (column,)))),
            (
                Conv(384),
                Conv(448, (1, 3), padding=(0, 1)),
                Conv(512, (3, 1), padding=(1, 0)),
                Fork(((column,), (row,))),
            ),
        )
    )


def _row(width: int) -> Conv:
    return Conv(width, (1, 7), padding=(0, 3))


def _column(width: int) -> Conv:
    return Conv(width, (7, 1), padding=(3, 0))
