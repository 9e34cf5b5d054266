"""A convolutional network as a table of steps. Its modules, smallest image and head size follow from the table.

    body = {"conv1": Conv(64, 7, stride=2, padding=3), "pool1": Pool("max", 3, 2), "3a": Fork((Conv(64),), ...)}

Each name becomes a child of the network. Bias and norm of the convolutions are set once for the whole table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tench.models.initialise import initialise_by
from tench.models.layers import FixedScaleBatchNorm2d

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution, followed by the layers that the table's `ConvLayers` adds."""

    width: int
    """Output channels."""
    kernel: int | Size = 1
    stride: int = 1
    padding: int | Size = 0
    groups: int = 1
    relu: bool = True


@dataclass(frozen=True, slots=True)
class Pool:
    """Pooling that rounds sizes down; average pooling counts the padding."""

    kind: Literal["max", "avg"]
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Mean:
    """Global average pooling."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Several branches on the same map, concatenated along the channels."""

    branches: tuple["Steps", ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """The map plus `scale` times the output of the branch, then relu by default."""

    branch: "Steps"
    scale: float
    relu: bool = True


KeepsShape = Callable[[], nn.Module]
"""Creates any other layer that keeps the shape of the map."""
Step = Conv | Pool | Mean | Fork | Residual | KeepsShape
Steps = Sequence[Step]
ConvLayers = Callable[[int, Conv], list[nn.Module]]
"""(in_channels, conv) -> the layers of one convolution."""


def plain(in_channels: int, conv: Conv) -> list[nn.Module]:
    """Convolution with bias, relu."""
    return [_conv2d(in_channels, conv, bias=True), *_relu(conv)]


def with_norm(norm: Callable[[int], nn.Module], *, bias: bool) -> ConvLayers:
    """Convolution, norm of its width, relu."""
    return lambda in_channels, conv: [_conv2d(in_channels, conv, bias=bias), norm(conv.width), *_relu(conv)]


def fixed_scale_norm(width: int) -> nn.Module:
    """MXNet's default batch norm: fixed scale, eps 1e-3."""
    return FixedScaleBatchNorm2d(width, eps=1e-3)


def classifier(
    body: Mapping[str, Step],
    layers: ConvLayers,
    *,
    num_classes: int,
    image_size: int,
    channels: int,
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    initialiser: str = "mxnet",
) -> nn.Module:
    """The steps, flatten, hidden layers (linear, relu, dropout), and a linear layer: (B, C, S, S) -> (B, K).

    Without hidden layers, the dropout comes before the last layer. The weights are drawn by the named initialiser.
    Raises ValueError if the image is too small for the steps.
    """
    side = map_side(image_size, tuple(body.values()))
    network, width = nn.Sequential(), channels
    for name, step in body.items():
        module, width = _module(width, step, layers)
        network.add_module(name, module)
    network.add_module("flatten", nn.Flatten())
    features = width * side * side
    for number, size in enumerate(hidden, start=1):
        network.add_module(f"linear{number}", nn.Linear(features, size))
        network.add_module(f"linear_relu{number}", nn.ReLU(inplace=True))
        network.add_module(f"dropout{number}", nn.Dropout(dropout))
        features = size
    if dropout and not hidden:
        network.add_module("dropout", nn.Dropout(dropout))
    network.add_module("head", nn.Linear(features, num_classes))
    initialise_by(network, initialiser)
    return network


def map_side(image_size: int, steps: Steps) -> int:
    """Side of the map after the steps, for a square image. Raises ValueError if a window does not fit."""
    if (size := _size((image_size, image_size), steps)) is None:
        smallest = next(side for side in range(image_size, 100 * image_size + 1000) if _size((side, side), steps))
        raise ValueError(f"its convolutions and poolings need an image of at least {smallest} px")
    return size[0]


class Concat(nn.ModuleList):
    """Branches on the same map, concatenated along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class ScaledResidual(nn.Module):
    """x + scale * branch(x), optionally followed by relu."""

    def __init__(self, branch: nn.Module, scale: float, relu: bool) -> None:
        super().__init__()
        self.branch = branch
        self.scale = scale
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.scale * self.branch(x))  # type: ignore[no-any-return]


def _module(in_channels: int, step: Step, layers: ConvLayers) -> tuple[nn.Module, int]:
    """The module of a step, and its output channels."""
    match step:
        case Conv():
            return nn.Sequential(*layers(in_channels, step)), step.width
        case Pool():
            kind = nn.MaxPool2d if step.kind == "max" else nn.AvgPool2d
            return kind(step.kernel, step.stride, step.padding), in_channels
        case Mean():
            return nn.AdaptiveAvgPool2d(1), in_channels
        case Fork():
            branches = [_sequence(in_channels, branch, layers) for branch in step.branches]
            return Concat([module for module, _ in branches]), sum(width for _, width in branches)
        case Residual():
            branch, _ = _sequence(in_channels, step.branch, layers)
            return ScaledResidual(branch, step.scale, step.relu), in_channels
        case _:
            return step(), in_channels


def _sequence(in_channels: int, steps: Steps, layers: ConvLayers) -> tuple[nn.Module, int]:
    modules = []
    for step in steps:
        module, in_channels = _module(in_channels, step, layers)
        modules.append(module)
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules), in_channels


def _size(size: Size, steps: Steps) -> Size | None:
    """The size of the map after the steps; None if a window does not fit."""
    for step in steps:
        match step:
            case Conv() | Pool():
                kernel, padding = _pair(step.kernel), _pair(step.padding)
                spare = [side + 2 * pad - window for side, pad, window in zip(size, padding, kernel, strict=True)]
                if min(spare) < 0:
                    return None
                size = (spare[0] // step.stride + 1, spare[1] // step.stride + 1)
            case Mean():
                size = (1, 1)
            case Fork():
                sizes = {_size(size, branch) for branch in step.branches}
                if None in sizes:
                    return None
                (size,) = (one for one in sizes if one is not None)
            case Residual() if _size(size, step.branch) is None:
                return None
    return size


def _pair(value: int | Size) -> Size:
    return (value, value) if isinstance(value, int) else value


def _conv2d(in_channels: int, conv: Conv, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(in_channels, conv.width, conv.kernel, conv.stride, conv.padding, groups=conv.groups, bias=bias)


def _relu(conv: Conv) -> list[nn.Module]:
    return [nn.ReLU(inplace=True)] if conv.relu else []
