"""Residual networks as MXNet's example builds them, for small images and large ones.

    v1         conv - BN - relu - pool - stages - mean, linear                              arXiv:1512.03385
    v2         BN with fixed scale - conv - BN - relu - pool - stages - BN - relu - ...     arXiv:1603.05027
    ResNeXt    BN with fixed scale - conv - BN - relu - pool - stages - ...                 arXiv:1611.05431

The stem for large images has a 7x7 convolution with stride 2 and a 3x3 max pooling with stride 2. The stem for small
images is a 3x3 convolution, followed by the BN only in v1. A `ResidualPlan` sets depth and widths.

The structure and parameter counts are those of symbols/resnet.py, resnet-v1.py and resnext.py, which differ from the
papers in three points: the first unit of *every* stage has a convolution in its shortcut, even if the shapes match; no
relu follows v1's BN in the stem for small images; BN has eps 2e-5. Any image size works, because the head averages over
the last map. Modules are registered in the order in which MXNet lists a network's arguments.
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from tench.models.initialise import initialise_by
from tench.models.layers import FixedScaleBatchNorm2d
from tench.models.residual_units import (
    EPS,
    BasicUnitV1,
    BasicUnitV2,
    BottleneckUnitV1,
    BottleneckUnitV2,
    Unit,
    conv,
    norm,
)

_SMALL_BOTTLENECK, _LARGE_BOTTLENECK = 164, 50
"""From this number of layers, a plan's units are bottlenecks with four times as many output channels."""

_LARGE_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
LARGE_DEPTHS = tuple(_LARGE_UNITS)


@dataclass(frozen=True, slots=True)
class ResidualPlan:
    """Depth and widths of a residual network."""

    stem_width: int
    widths: tuple[int, ...]
    """Output channels of each stage; all stages except the first halve the map."""
    units: tuple[int, ...]
    bottleneck: bool


def small_plan(depth: int) -> ResidualPlan:
    """Three stages, for 28 and 32 px. Raises ValueError unless depth = 6 n + 2, or 9 n + 2 from 164 layers."""
    bottleneck = depth >= _SMALL_BOTTLENECK
    layers_per_unit = 3 if bottleneck else 2
    # The stem and the head are two layers; the other layers are divided evenly among the three stages.
    units, rest = divmod(depth - 2, 3 * layers_per_unit)
    if units < 1 or rest:
        raise ValueError(f"the depth of a ResNet must be {3 * layers_per_unit} n + 2, got {depth}")
    return ResidualPlan(16, (64, 128, 256) if bottleneck else (16, 32, 64), (units,) * 3, bottleneck)


def large_plan(depth: int) -> ResidualPlan:
    """Four stages, for 224 px. Raises ValueError unless the depth is one of LARGE_DEPTHS."""
    if depth not in _LARGE_UNITS:
        raise ValueError(f"the depth of a ResNet must be one of {', '.join(map(str, LARGE_DEPTHS))}, got {depth}")
    bottleneck = depth >= _LARGE_BOTTLENECK
    widths = (256, 512, 1024, 2048) if bottleneck else (64, 128, 256, 512)
    return ResidualPlan(64, widths, _LARGE_UNITS[depth], bottleneck)


def resnet_v1(plan: ResidualPlan, *, large_stem: bool, num_classes: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes), relu after each sum; initialised by `mxnet`."""
    network = nn.Sequential()
    network.add_module("conv", _stem_conv(channels, plan.stem_width, large_stem))
    network.add_module("norm", norm(plan.stem_width))
    if large_stem:
        network.add_module("relu", nn.ReLU(inplace=True))
        network.add_module("stem_pool", _stem_pool())
    _add_stages(network, BottleneckUnitV1 if plan.bottleneck else BasicUnitV1, plan)
    return _with_head(network, plan, num_classes)


def resnet_v2(plan: ResidualPlan, *, large_stem: bool, num_classes: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes), BN and relu before each convolution; weights by the rule `mxnet`."""
    network = _data_norm_and_stem(plan, large_stem, channels)
    _add_stages(network, BottleneckUnitV2 if plan.bottleneck else BasicUnitV2, plan)
    network.add_module("norm", norm(plan.widths[-1]))
    network.add_module("relu", nn.ReLU(inplace=True))
    return _with_head(network, plan, num_classes)


def resnext(plan: ResidualPlan, *, groups: int, large_stem: bool, num_classes: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes); basic units have no groups. Weights are drawn by the rule `mxnet`."""
    network = _data_norm_and_stem(plan, large_stem, channels)
    _add_stages(network, partial(BottleneckUnitV1, groups=groups) if plan.bottleneck else BasicUnitV1, plan)
    return _with_head(network, plan, num_classes)


def _data_norm_and_stem(plan: ResidualPlan, large: bool, channels: int) -> nn.Sequential:
    network = nn.Sequential()
    network.add_module("data_norm", FixedScaleBatchNorm2d(channels, eps=EPS))
    network.add_module("conv", _stem_conv(channels, plan.stem_width, large))
    if large:
        network.add_module("stem_norm", norm(plan.stem_width))
        network.add_module("stem_relu", nn.ReLU(inplace=True))
        network.add_module("stem_pool", _stem_pool())
    return network


def _stem_conv(channels: int, width: int, large: bool) -> nn.Conv2d:
    return conv(channels, width, 7, 2) if large else conv(channels, width, 3)


def _stem_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, padding=1)


def _add_stages(network: nn.Sequential, unit: Unit, plan: ResidualPlan) -> None:
    in_channels = plan.stem_width
    for stage, (width, num_units) in enumerate(zip(plan.widths, plan.units, strict=True), start=1):
        units = [unit(in_channels, width, 1 if stage == 1 else 2, True)]
        units += [unit(width, width, 1, False) for _ in range(num_units - 1)]
        network.add_module(f"stage{stage}", nn.Sequential(*units))
        in_channels = width


def _with_head(network: nn.Sequential, plan: ResidualPlan, num_classes: int) -> nn.Module:
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("head", nn.Linear(plan.widths[-1], num_classes))
    initialise_by(network, "mxnet")
    return network
