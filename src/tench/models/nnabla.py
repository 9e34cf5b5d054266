"""The 22 networks of NNabla's ImageNet example, under their original names.

They are torchvision's and timm's networks with these differences:

    resnet18 ... resnet152    none
    resnext50                 the stem pools without padding and counts a partial window (ceil mode)
    se_resnet50, se_resnext50 none: timm's legacy_ networks; the former has the stride in a block's first convolution
    mobilenet_v1              our own, because torchvision has none
    mobilenet_v2              dropout 0.2 on the map before the pooling
    mobilenet_v3_*            gates clip(0.2 x + 0.5, 0, 1), squeezed to exactly a quarter; no bias before the head
    efficientnet_*            no activation in the stem, stochastic depth 0.2 in every block, dropout before the pooling

All of them differ in initialisation; MobileNets and EfficientNets also in the momentum of batch norms (0.01). The eps
of batch norms is always 1e-5. The head of NNabla's ResNets is a 1x1 convolution, which equals the linear layer used
here. Source: sony/nnabla-examples, image-classification/imagenet/models.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from tench.compat import import_timm, import_torchvision
from tench.models.initialise import initialise_by
from tench.models.mobilenet_v1 import mobilenet_v1
from tench.models.mobilenet_v3 import LARGE, SMALL, BlockTable, mobilenet_v3
from tench.models.replace import drop_before_pooling
from tench.models.source import AS_MADE, ModelOptions, UsualInput, require_as_made
from tench.models.stem import replace_input_channels

NAME = "nnabla"
FITS_STEM = True

_RGB = 3
_norm = partial(nn.BatchNorm2d, momentum=0.01)


def names() -> list[str]:
    """Every name that `build` accepts."""
    return list(_NETWORKS)


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in _NETWORKS


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights, for any image size. Raises OptionError for a rate that it does not have."""
    network = _NETWORKS[arch]
    require_as_made(options, *network.rates)
    asked = {rate: getattr(options, rate) for rate in network.rates if getattr(options, rate) is not None}
    made = network.make(num_classes, **asked)
    if channels != _RGB:
        replace_input_channels(made, channels)
    initialise_by(made, NAME)
    return made


def usual_input(arch: str) -> UsualInput:
    """ImageNet at 224 px; for EfficientNets the size of the network, the only one that NNabla's version accepts."""
    return UsualInput(_NETWORKS[arch].image_size, _RGB, 1000)


class ClippedLinear(nn.Module):
    """clip(0.2 x + 0.5, 0, 1): NNabla's hard sigmoid, flatter than torch's of the same name, which divides by 6."""

    def forward(self, x: Tensor) -> Tensor:
        return (0.2 * x + 0.5).clamp(0, 1)


def _resnet(name: str, num_classes: int) -> nn.Module:
    models: Any = import_torchvision().models
    network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
    return network


def _resnext50(num_classes: int) -> nn.Module:
    network: Any = _resnet("resnext50_32x4d", num_classes)
    network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return network  # type: ignore[no-any-return]


def _se_resnet(name: str, num_classes: int) -> nn.Module:
    timm: Any = import_timm()
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    return network


def _mobilenet_v1(num_classes: int) -> nn.Module:
    return mobilenet_v1(num_classes, norm=_norm)


def _mobilenet_v2(num_classes: int, *, dropout: float = 0.2) -> nn.Module:
    models: Any = import_torchvision().models
    network: nn.Module = models.MobileNetV2(num_classes, norm_layer=_norm, dropout=dropout)
    drop_before_pooling(network)
    return network


def _mobilenet_v3(table: BlockTable, num_classes: int, *, dropout: float = 0.2) -> nn.Module:
    squeeze_excite: Any = import_torchvision().ops.SqueezeExcitation

    def squeeze(channels: int, _: int) -> nn.Module:
        return squeeze_excite(channels, channels // 4, scale_activation=ClippedLinear)  # type: ignore[no-any-return]

    network = mobilenet_v3(table, num_classes, dropout=dropout, norm=_norm, squeeze=squeeze)
    before_head = network.classifier[0]
    network.classifier[0] = nn.Linear(before_head.in_features, before_head.out_features, bias=False)
    return network  # type: ignore[no-any-return]


_EFFICIENTNET_STAGES = (
    # expansion, kernel size, stride, channels in, channels out, blocks; before scaling
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def _efficientnet(num_classes: int, *, width: float, depth: float, dropout: float, drop_path: float = 0.2) -> nn.Module:
    torchvision: Any = import_torchvision()
    efficientnet = torchvision.models.efficientnet
    stages = [efficientnet.MBConvConfig(*stage, width_mult=width, depth_mult=depth) for stage in _EFFICIENTNET_STAGES]
    network = efficientnet.EfficientNet(stages, dropout, drop_path, num_classes, _norm)
    network.features[0][2] = nn.Identity()
    for module in network.modules():
        if isinstance(module, torchvision.ops.StochasticDepth):
            module.p = drop_path  # constant; torchvision's increases from 0 with the depth
    drop_before_pooling(network)
    return network  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Network:
    make: Callable[..., nn.Module]
    """(num_classes, rates by name) -> network with the library's initialisation."""
    rates: tuple[str, ...] = ()
    """The options that the network has."""
    image_size: int = 224
    """Usual side, pixels."""


def _efficientnets() -> Mapping[str, _Network]:
    scales = {
        # width, depth, dropout, image size
        "b0": (1.0, 1.0, 0.2, 224),
        "b1": (1.0, 1.1, 0.2, 240),
        "b2": (1.1, 1.2, 0.3, 260),
        "b3": (1.2, 1.4, 0.3, 300),
        "b4": (1.4, 1.8, 0.4, 380),
        "b5": (1.6, 2.2, 0.4, 456),
        "b6": (1.8, 2.6, 0.5, 528),
        "b7": (2.0, 3.1, 0.5, 600),
        "b8": (2.2, 3.6, 0.5, 672),
        "l2": (4.3, 5.3, 0.5, 800),
    }
    return {
        f"efficientnet_{scale}": _Network(
            partial(_efficientnet, width=width, depth=depth, dropout=dropout),
            ("dropout", "drop_path"),
            image_size,
        )
        for scale, (width, depth, dropout, image_size) in scales.items()
    }


_NETWORKS: Mapping[str, _Network] = {
    **{f"resnet{depth}": _Network(partial(_resnet, f"resnet{depth}")) for depth in (18, 34, 50, 101, 152)},
    "resnext50": _Network(_resnext50),
    "se_resnet50": _Network(partial(_se_resnet, "legacy_seresnet50")),
    "se_resnext50": _Network(partial(_se_resnet, "legacy_seresnext50_32x4d")),
    "mobilenet_v1": _Network(_mobilenet_v1),
    "mobilenet_v2": _Network(_mobilenet_v2, ("dropout",)),
    "mobilenet_v3_large": _Network(partial(_mobilenet_v3, LARGE), ("dropout",)),
    "mobilenet_v3_small": _Network(partial(_mobilenet_v3, SMALL), ("dropout",)),
    **_efficientnets(),
}
