"""The networks of Gluon's model zoo (MXNet), by their names there, built from torchvision's where they are the same.

    alexnet, vgg, densenet, squeezenet, inceptionv3    torchvision's
    resnet*_v1      basic blocks as torchvision's; bottlenecks with the stride in the first 1x1 convolution, and biases
                    in both 1x1 convolutions
    resnet*_v2      batch norm and relu before each convolution; the images pass a batch norm first, whose scale is 1
    mobilenet*      width multipliers of 1.0 to 0.25
    mobilenetv2_*   an expansion in the first block too, and a classifier without bias

Layers are registered in Gluon's order. Source: python/mxnet/gluon/model_zoo/vision of MXNet 1.9.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from tench.compat import import_torchvision
from tench.models.initialise import initialise_by
from tench.models.layers import FixedScaleBatchNorm2d
from tench.models.mobilenet_v1 import mobilenet_v1
from tench.models.residual_units import BasicUnitV2, BottleneckUnitV2, Unit, conv
from tench.models.source import AS_MADE, ModelOptions, UsualInput, require_as_made
from tench.models.stem import replace_input_channels

NAME = "gluon"
FITS_STEM = True

_RGB = 3
_EPS = 1e-5
_UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_MULTIPLIERS = (1.0, 0.75, 0.5, 0.25)

Maker = Callable[[int], nn.Module]
"""num_classes -> network."""


def names() -> list[str]:
    """Every name that `build` accepts."""
    return list(_NETWORKS)


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in _NETWORKS


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights, for any image size that it accepts. Raises OptionError for any option."""
    require_as_made(options)
    network = _NETWORKS[arch](num_classes)
    if channels != _RGB:
        replace_input_channels(network, channels)
        if hasattr(network, "data_norm"):
            network.data_norm = _data_norm(channels)
    initialise_by(network, "mxnet")
    return network


def usual_input(arch: str) -> UsualInput:
    """ImageNet at 224 px, 299 px for inceptionv3."""
    return UsualInput(299 if arch == "inceptionv3" else 224, _RGB, 1000)


def _torchvision(name: str, num_classes: int, **given: Any) -> nn.Module:
    models: Any = import_torchvision().models
    network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **given)
    return network


def _resnet_v1(depth: int, num_classes: int) -> nn.Module:
    network: Any = _torchvision(f"resnet{depth}", num_classes)
    for block in network.modules():
        if hasattr(block, "conv3"):
            stride = block.conv2.stride
            for name, step in (("conv1", stride), ("conv3", (1, 1))):
                old = getattr(block, name)
                setattr(block, name, nn.Conv2d(old.in_channels, old.out_channels, 1, step))
            block.conv2.stride = (1, 1)
    return network  # type: ignore[no-any-return]


def _resnet_v2(depth: int, num_classes: int) -> nn.Module:
    unit: Unit = BasicUnitV2 if depth < 50 else BottleneckUnitV2
    network = nn.Sequential(
        OrderedDict[str, nn.Module](
            data_norm=_data_norm(_RGB),
            conv=conv(_RGB, 64, 7, 2),
            norm1=nn.BatchNorm2d(64),
            relu1=nn.ReLU(inplace=True),
            stem_pool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )
    before = 64
    for stage, count in enumerate(_UNITS[depth], start=1):
        width = 64 * 2 ** (stage - 1) * (1 if depth < 50 else 4)
        first = unit(before, width, 1 if stage == 1 else 2, before != width)
        rest = [unit(width, width, 1, False) for _ in range(count - 1)]
        network.add_module(f"stage{stage}", nn.Sequential(first, *rest))
        before = width
    network.add_module("norm2", nn.BatchNorm2d(before))
    network.add_module("relu2", nn.ReLU(inplace=True))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("head", nn.Linear(before, num_classes))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = _EPS
    return network


def _data_norm(channels: int) -> nn.Module:
    """Normalises the images by running statistics; its scale and shift are not trained."""
    norm = FixedScaleBatchNorm2d(channels, eps=_EPS)
    norm.bias.requires_grad_(False)
    return norm


class _InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, 1x1 projection; each with a batch norm."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.out = nn.Sequential(
            *_conv_norm_relu6(in_channels, width),
            *_conv_norm_relu6(width, width, 3, stride, width),
            *_conv_norm_relu6(width, out_channels)[:2],
        )
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(x) if self.is_residual else self.out(x)  # type: ignore[no-any-return]


_INVERTED = (
    # expansion, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _mobilenet_v2(multiplier: float, num_classes: int) -> nn.Module:
    width = int(32 * multiplier)
    layers: list[nn.Module] = _conv_norm_relu6(_RGB, width, 3, 2)
    for expansion, channels, blocks, stride in _INVERTED:
        for block in range(blocks):
            after = int(channels * multiplier)
            layers.append(_InvertedResidual(width, after, expansion, stride if block == 0 else 1))
            width = after
    last = int(1280 * multiplier) if multiplier > 1 else 1280
    layers += [*_conv_norm_relu6(width, last), nn.AdaptiveAvgPool2d(1)]
    parts: dict[str, nn.Module] = {
        "features": nn.Sequential(*layers),
        "output": nn.Conv2d(last, num_classes, 1, bias=False),
        "flatten": nn.Flatten(),
    }
    return nn.Sequential(OrderedDict(parts))


def _conv_norm_relu6(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        conv(in_channels, out_channels, kernel, stride, groups),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    ]


def _of_depths(name: str, maker: Callable[..., nn.Module], depths: Sequence[Any]) -> dict[str, Maker]:
    return {name.format(depth): partial(maker, depth) for depth in depths}


_NETWORKS: Mapping[str, Maker] = {
    **_of_depths("resnet{}_v1", _resnet_v1, tuple(_UNITS)),
    **_of_depths("resnet{}_v2", _resnet_v2, tuple(_UNITS)),
    **{
        f"vgg{depth}{norm}": partial(_torchvision, f"vgg{depth}{norm}")
        for depth in (11, 13, 16, 19)
        for norm in ("", "_bn")
    },
    "alexnet": partial(_torchvision, "alexnet"),
    **{f"densenet{depth}": partial(_torchvision, f"densenet{depth}") for depth in (121, 161, 169, 201)},
    "squeezenet1.0": partial(_torchvision, "squeezenet1_0"),
    "squeezenet1.1": partial(_torchvision, "squeezenet1_1"),
    "inceptionv3": partial(_torchvision, "inception_v3", aux_logits=False, init_weights=False),
    **{f"mobilenet{width}": partial(mobilenet_v1, width=width) for width in _MULTIPLIERS},
    **_of_depths("mobilenetv2_{}", _mobilenet_v2, _MULTIPLIERS),
}
