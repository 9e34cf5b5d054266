"""Residual networks for small images: three stages at full, half and quarter size, 16, 32 and 64 channels wide.

                 v1 (arXiv:1512.03385)              v2 (arXiv:1603.05027)
    stem         conv3x3 - BN                       BN with fixed scale - conv3x3
    unit         conv - BN - relu - conv - BN       BN - relu - conv - BN - relu - conv
                 + shortcut, then relu              + shortcut, nothing after it
    shortcut     x, or 1x1 conv - BN                x, or 1x1 conv of the first relu's output
    head         mean, linear                       BN - relu - mean, linear

The rules are those of MXNet's example (symbols/resnet.py and resnet-v1.py, images of at most 28 px), and the parameter
counts are its counts. They differ from the paper in three points: the first unit of *every* stage has a convolution in
its shortcut, also where shapes match; no relu follows the stem's BN; BN has eps 2e-5. The mean over the last map
makes any image size work.
"""

from collections.abc import Callable

from torch import Tensor, nn

from tench.models.initialise import initialise_by
from tench.models.layers import FixedScaleBatchNorm2d

_EPS = 2e-5
_STEM_WIDTH = 16
_STAGE_WIDTHS = (16, 32, 64)

Unit = Callable[[int, int, int, bool], nn.Module]
"""(in_channels, out_channels, stride, project) -> residual unit; project: the shortcut has a 1x1 convolution."""


def cifar_resnet_v1(depth: int, num_classes: int, channels: int) -> nn.Module:
    """The network after arXiv:1512.03385, of basic units. Raises ValueError unless depth = 6 n + 2."""
    network = nn.Sequential()
    network.add_module("conv", _conv(channels, _STEM_WIDTH, 3))
    network.add_module("norm", _norm(_STEM_WIDTH))
    _add_stages(network, BasicUnitV1, _STAGE_WIDTHS, _units_per_stage(depth, layers_per_unit=2))
    _add_head(network, _STAGE_WIDTHS[-1], num_classes)
    initialise_by(network, "mxnet")
    return network


def cifar_resnet_v2(depth: int, num_classes: int, channels: int) -> nn.Module:
    """The network after arXiv:1603.05027; from 164 layers on the units are bottlenecks, four times as wide outside.

    Raises ValueError unless depth = 6 n + 2 (below 164) or 9 n + 2 (from 164).
    """
    bottleneck = depth >= 164
    unit: Unit = BottleneckUnitV2 if bottleneck else BasicUnitV2
    widths = tuple(4 * width for width in _STAGE_WIDTHS) if bottleneck else _STAGE_WIDTHS
    network = nn.Sequential()
    network.add_module("data_norm", FixedScaleBatchNorm2d(channels, eps=_EPS))
    network.add_module("conv", _conv(channels, _STEM_WIDTH, 3))
    _add_stages(network, unit, widths, _units_per_stage(depth, layers_per_unit=3 if bottleneck else 2))
    network.add_module("norm", _norm(widths[-1]))
    network.add_module("relu", nn.ReLU(inplace=True))
    _add_head(network, widths[-1], num_classes)
    initialise_by(network, "mxnet")
    return network


class BasicUnitV1(nn.Module):
    """Two 3x3 convolutions, each with a BN after it; relu after the sum."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 3, stride)
        self.norm1 = _norm(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.norm2 = _norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(_conv(in_channels, out_channels, 1, stride), _norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return self.relu(out + self.shortcut(x))  # type: ignore[no-any-return]


class BasicUnitV2(nn.Module):
    """Two 3x3 convolutions, each with a BN and a relu before it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, project: bool) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels)
        self.conv1 = _conv(in_channels, out_channels, 3, stride)
        self.norm2 = _norm(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.relu = nn.ReLU(inplace=True)
        self.project = _conv(in_channels, out_channels, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.norm1(x))
        out = self.conv1(activated)
        out = self.conv2(self.relu(self.norm2(out)))
        shortcut = x if self.project is None else self.project(activated)
        return out + shortcut  # type: ignore[no-any-return]


class BottleneckUnitV2(nn.Module):
    """1x1 to a quarter of the width, 3x3 (with the stride), 1x1 back; each with a BN and a relu before it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, project: bool) -> None:
        super().__init__()
        width = out_channels // 4
        self.norm1 = _norm(in_channels)
        self.conv1 = _conv(in_channels, width, 1)
        self.norm2 = _norm(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.norm3 = _norm(width)
        self.conv3 = _conv(width, out_channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.project = _conv(in_channels, out_channels, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.norm1(x))
        out = self.conv1(activated)
        out = self.conv2(self.relu(self.norm2(out)))
        out = self.conv3(self.relu(self.norm3(out)))
        shortcut = x if self.project is None else self.project(activated)
        return out + shortcut  # type: ignore[no-any-return]


def _units_per_stage(depth: int, layers_per_unit: int) -> int:
    """The stem and the head are two layers; the three stages share the others evenly."""
    units, rest = divmod(depth - 2, 3 * layers_per_unit)
    if units < 1 or rest:
        raise ValueError(f"a ResNet of {depth} layers: the depth must be {3 * layers_per_unit} n + 2")
    return units


def _add_stages(network: nn.Sequential, unit: Unit, widths: tuple[int, ...], num_units: int) -> None:
    in_channels = _STEM_WIDTH
    for stage, width in enumerate(widths, start=1):
        units = [unit(in_channels, width, 1 if stage == 1 else 2, True)]
        units += [unit(width, width, 1, False) for _ in range(num_units - 1)]
        network.add_module(f"stage{stage}", nn.Sequential(*units))
        in_channels = width


def _add_head(network: nn.Sequential, in_features: int, num_classes: int) -> None:
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("head", nn.Linear(in_features, num_classes))


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


def _norm(num_channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(num_channels, eps=_EPS)
