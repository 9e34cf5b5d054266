"""Inception-ResNet v2 (arXiv:1602.07261); convolutions have biases, and the scales of batch norms are fixed.

Two things follow the program rather than the paper: 129 channels, and paddings that make the map between the 1x7 and
the 7x1 convolution two rows higher and two columns narrower. Source: MXNet,
example/image-classification/symbols/inception-resnet-v2.py.
"""

from torch import nn

from tench.models.mxnet.steps import Conv, Fork, Mean, Pool, Residual, Step, classifier, fixed_scale_norm, with_norm

_LAYERS = with_norm(fixed_scale_norm, bias=True)


def inception_resnet_v2(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes). Raises ValueError if S is too small."""
    body: dict[str, Step] = {
        "conv1a": Conv(32, 3, stride=2),
        "conv2a": Conv(32, 3),
        "conv2b": Conv(64, 3, padding=1),
        "pool3a": Pool("max", 3, 2),
        "conv3b": Conv(80),
        "conv4a": Conv(192, 3),
        "pool5a": Pool("max", 3, 2),
        "mixed5b": Fork(
            (
                (Conv(96),),
                (Conv(48), Conv(64, 5, padding=2)),
                (Conv(64), Conv(96, 3, padding=1), Conv(96, 3, padding=1)),
                (Pool("avg", 3, padding=1), Conv(64)),
            )
        ),
        **{f"block35_{number}": _block35() for number in range(1, 11)},
        "to_17": Fork(
            (
                (Conv(384, 3, stride=2),),
                (Conv(256), Conv(256, 3, padding=1), Conv(384, 3, stride=2)),
                (Pool("max", 3, 2),),
            )
        ),
        **{f"block17_{number}": _block17() for number in range(1, 21)},
        "to_8": Fork(
            (
                (Conv(256), Conv(384, 3, stride=2)),
                (Conv(256), Conv(288, 3, stride=2)),
                (Conv(256), Conv(288, 3, padding=1), Conv(320, 3, stride=2)),
                (Pool("max", 3, 2),),
            )
        ),
        **{f"block8_{number}": _block8(scale=0.2, relu=True) for number in range(1, 10)},
        "block8_10": _block8(scale=1.0, relu=False),
        "conv7b": Conv(1536),
        "mean": Mean(),
    }
    return classifier(body, _LAYERS, num_classes=num_classes, image_size=image_size, channels=channels, dropout=0.2)


def _block35() -> Residual:
    branches = Fork(
        (
            (Conv(32),),
            (Conv(32), Conv(32, 3, padding=1)),
            (Conv(32), Conv(48, 3, padding=1), Conv(64, 3, padding=1)),
        )
    )
    return Residual((branches, Conv(320, relu=False)), scale=0.17)


def _block17() -> Residual:
    seven = (Conv(129), Conv(160, (1, 7), padding=(1, 2)), Conv(192, (7, 1), padding=(2, 1)))
    return Residual((Fork(((Conv(192),), seven)), Conv(1088, relu=False)), scale=0.1)


def _block8(scale: float, relu: bool) -> Residual:
    three = (Conv(192), Conv(224, (1, 3), padding=(0, 1)), Conv(256, (3, 1), padding=(1, 0)))
    return Residual((Fork(((Conv(192),), three)), Conv(2080, relu=False)), scale, relu)
