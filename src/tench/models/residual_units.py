"""The residual units of MXNet's example (symbols/resnet.py, resnet-v1.py, resnext.py).

                 v1 (arXiv:1512.03385)              v2 (arXiv:1603.05027)
    basic        conv - BN - relu - conv - BN       BN - relu - conv - BN - relu - conv
    bottleneck   conv1x1, stride - BN - relu -      BN - relu - conv1x1 -
                 conv3x3 - BN - relu -              BN - relu - conv3x3, stride -
                 conv1x1 - BN                       BN - relu - conv1x1
    shortcut     x, or conv1x1 - BN                 x, or conv1x1 of the first relu's output
    the sum      then relu                          no relu

ResNeXt's unit (arXiv:1611.05431) is v1's with half the width inside instead of a quarter, and a grouped 3x3 convolution
that has the stride. BN has eps 2e-5 and a trained scale.
"""

from collections.abc import Callable

from torch import Tensor, nn

EPS = 2e-5

Unit = Callable[[int, int, int, bool], nn.Module]
"""(in_channels, out_channels, stride, project) -> residual unit; project: use a 1x1 convolution as shortcut."""


class BasicUnitV1(nn.Module):
    """Two 3x3 convolutions, each followed by BN; relu after the sum."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.norm1 = norm(out_channels)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.norm2 = norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = _shortcut_v1(in_channels, out_channels, stride, project)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return self.relu(out + self.shortcut(x))  # type: ignore[no-any-return]


class BottleneckUnitV1(nn.Module):
    """1x1 to a smaller width, 3x3, 1x1 back, each followed by BN; relu after the sum.

    groups: None for ResNet's unit, else the number of groups of ResNeXt's.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, project: bool, *, groups: int | None = None
    ) -> None:
        super().__init__()
        if groups is None:
            width, strides = out_channels // 4, (stride, 1)
        else:
            width, strides = out_channels // 2, (1, stride)
        self.conv1 = conv(in_channels, width, 1, strides[0])
        self.norm1 = norm(width)
        self.conv2 = conv(width, width, 3, strides[1], groups or 1)
        self.norm2 = norm(width)
        self.conv3 = conv(width, out_channels, 1)
        self.norm3 = norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = _shortcut_v1(in_channels, out_channels, stride, project)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        return self.relu(out + self.shortcut(x))  # type: ignore[no-any-return]


class BasicUnitV2(nn.Module):
    """Two 3x3 convolutions, each preceded by BN and relu."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, project: bool) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.norm2 = norm(out_channels)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.relu = nn.ReLU(inplace=True)
        self.project = conv(in_channels, out_channels, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.norm1(x))
        out = self.conv1(activated)
        out = self.conv2(self.relu(self.norm2(out)))
        shortcut = x if self.project is None else self.project(activated)
        return out + shortcut  # type: ignore[no-any-return]


class BottleneckUnitV2(nn.Module):
    """1x1 to a quarter of the width, 3x3 (with the stride), 1x1 back; each preceded by BN and relu."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, project: bool) -> None:
        super().__init__()
        width = out_channels // 4
        self.norm1 = norm(in_channels)
        self.conv1 = conv(in_channels, width, 1)
        self.norm2 = norm(width)
        self.conv2 = conv(width, width, 3, stride)
        self.norm3 = norm(width)
        self.conv3 = conv(width, out_channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.project = conv(in_channels, out_channels, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.norm1(x))
        out = self.conv1(activated)
        out = self.conv2(self.relu(self.norm2(out)))
        out = self.conv3(self.relu(self.norm3(out)))
        shortcut = x if self.project is None else self.project(activated)
        return out + shortcut  # type: ignore[no-any-return]


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that changes the map's size only by its stride."""
    padding = kernel_size // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=padding, groups=groups, bias=False)


def norm(num_channels: int) -> nn.BatchNorm2d:
    """The BN of the units."""
    return nn.BatchNorm2d(num_channels, eps=EPS)


def _shortcut_v1(in_channels: int, out_channels: int, stride: int, project: bool) -> nn.Module:
    if not project:
        return nn.Identity()
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), norm(out_channels))
