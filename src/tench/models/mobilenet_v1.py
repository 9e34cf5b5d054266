"""MobileNet V1 (arXiv:1704.04861). torchvision does not have it, and timm's has fixed strides.

stem         3x3 convolution - BN - relu
13 blocks    depthwise 3x3 - BN - relu - 1x1 - BN - relu
head         mean, dropout, linear
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from tench.compat import import_torchvision

_STEM_WIDTH = 32
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
"""(channels, blocks). The first block of a stage has the stage's stride, except in the first stage."""


def mobilenet_v1(
    num_classes: int,
    *,
    strides: Sequence[int] = (2, 2, 2, 2, 2),
    dropout: float = 0.0,
    width: float = 1.0,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Module:
    """The network: (B, 3, S, S) float -> (B, num_classes) logits.

    strides: of the stem and of the stages with 128, 256, 512 and 1024 channels. dropout: probability before the last
    layer. width: multiplies all numbers of channels. norm: creates the batch norms.
    """
    conv: Any = import_torchvision().ops.Conv2dNormActivation
    in_channels = int(_STEM_WIDTH * width)
    layers: list[nn.Module] = [conv(3, in_channels, 3, strides[0], norm_layer=norm)]
    for (channels, num_blocks), first_stride in zip(_STAGES, (1, *strides[1:]), strict=True):
        out_channels = int(channels * width)
        for block in range(num_blocks):
            stride = first_stride if block == 0 else 1
            depthwise = conv(in_channels, in_channels, 3, stride, groups=in_channels, norm_layer=norm)
            pointwise = conv(in_channels, out_channels, 1, norm_layer=norm)
            layers.append(nn.Sequential(depthwise, pointwise))
            in_channels = out_channels
    parts: dict[str, nn.Module] = {
        "features": nn.Sequential(*layers),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Sequential(nn.Dropout(dropout), nn.Linear(in_channels, num_classes)),
    }
    return nn.Sequential(OrderedDict(parts))
