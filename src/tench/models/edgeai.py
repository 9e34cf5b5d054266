"""TI edgeailite's networks under their original names, built from torchvision's, with configurable strides.

                 s0      s1          s2        s3        s4
    mobilenetv1  stem    128         256       512       1024       channels of the stage with that stride
    mobilenetv2  stem    24          32        64        160
    mobilenetv3  stem    C1          C2        C3        C4         in the paper's table
    resnet       stem    max pool    layer2    layer3    layer4
    regnetx      stem    -           stage 2   stage 3   stage 4    stage 1 always has 2

The strides of `shufflenetv2` and `vgg16` are fixed. The other families differ from torchvision's as follows: relu
replaces relu6 (mobilenetv2) and, in the lite networks, h-swish, and the lite ones have no squeeze-and-excite; there is
no dropout before the last layer except in mobilenetv3 (0.2); batch norms have torch's eps and momentum except in
mobilenetv3; regnetx400mf ends with 384 channels, torchvision's with 400. The weights have torchvision's names, so
torchvision's files fit. `_xp5` and `_x2` are widths of 0.5 and 2, `_t2` is an expansion of 2, `r` is a halved tail.
`_bgr` is the same network, named after the channel order of its published weights. (TI's own ResNets name their weights
differently: `weights.renaming`.) Source: TexasInstruments/edgeai-torchvision,
references/edgeailite/edgeai_xvision/xvision/models.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from tench.compat import import_torchvision
from tench.models.initialise import initialise_by
from tench.models.mobilenet_v1 import mobilenet_v1
from tench.models.mobilenet_v3 import LARGE, SMALL, BlockTable, mobilenet_v3
from tench.models.replace import replace_modules
from tench.models.source import AS_MADE, ModelOptions, OptionError, UsualInput, require_as_made
from tench.models.stem import replace_input_channels

NAME = "edgeai"
FITS_STEM = False  # TI's own rule sets the strides for small images

_RGB = 3
Strides = tuple[int, ...]


def names() -> list[str]:
    """Every name that `build` accepts."""
    return list(_NETWORKS)


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in _NETWORKS


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights.

    The strides are those of the options, or else chosen by the image size. Raises OptionError for an option that the
    network does not have.
    """
    network = _NETWORKS[arch]
    require_as_made(options, *network.options)
    given: dict[str, Any] = {}
    if "strides" in network.options:
        given["strides"] = strides_for(image_size) if options.strides is None else _checked(options.strides)
    if options.dropout is not None:
        given["dropout"] = options.dropout
    made = network.make(num_classes, **given)
    if channels != _RGB:
        replace_input_channels(made, channels)
    initialise_by(made, NAME)
    return made


def usual_input(arch: str) -> UsualInput:
    """ImageNet at 224 px."""
    return UsualInput(224, _RGB, 1000)


def strides_for(image_size: int) -> Strides:
    """The five strides s0 to s4 for square images of this side in pixels, by the rule in TI's test programs."""
    if image_size < 64:
        return (1, 1, 1, 2, 2)
    if image_size < 128:
        return (1, 1, 2, 2, 2)
    return (2, 2, 2, 2, 2)


def _checked(strides: Strides) -> Strides:
    if len(strides) != 5 or not set(strides) <= {1, 2}:
        raise OptionError(f"needs five strides of 1 or 2, got {' '.join(map(str, strides))}")
    return strides


def _mobilenet_v2(
    num_classes: int, *, strides: Strides, width: float = 1.0, expansion: int = 6, dropout: float = 0.0
) -> nn.Module:
    models: Any = import_torchvision().models
    s0, s1, s2, s3, s4 = strides
    stages = [
        # expansion, channels, blocks, stride
        [1, 16, 1, 1],
        [expansion, 24, 2, s1],
        [expansion, 32, 3, s2],
        [expansion, 64, 4, s3],
        [expansion, 96, 3, 1],
        [expansion, 160, 3, s4],
        [expansion, 320, 1, 1],
    ]
    network: Any = models.MobileNetV2(num_classes, width, stages, dropout=dropout)
    network.features[0][0].stride = (s0, s0)
    replace_modules(network, nn.ReLU6, _relu)
    return network  # type: ignore[no-any-return]


def _mobilenet_v3_lite(table: BlockTable, num_classes: int, **given: Any) -> nn.Module:
    network: nn.Module = mobilenet_v3(table.without_squeezes(), num_classes, **given)
    replace_modules(network, nn.Hardswish, _relu)
    return network


def _relu(_: nn.Module) -> nn.Module:
    return nn.ReLU(inplace=True)


def _resnet(
    unit: str, num_units: Sequence[int], num_classes: int, *, strides: Strides, width: float = 1.0
) -> nn.Module:
    """torchvision's ResNet with all widths scaled and truncated to whole channels."""
    kind: Any = getattr(import_torchvision().models.resnet, unit)
    stem_stride, pool_stride, *stage_strides = strides
    in_channels = int(64 * width)
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(_RGB, in_channels, 7, stem_stride, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(in_channels),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, pool_stride, padding=1),
    }
    for stage, stride in enumerate((1, *stage_strides)):
        channels = int(64 * 2**stage * width)
        out_channels = channels * kind.expansion
        shortcut = None
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
        units = [kind(in_channels, channels, stride, shortcut)]
        units += [kind(out_channels, channels) for _ in range(num_units[stage] - 1)]
        parts[f"layer{stage + 1}"] = nn.Sequential(*units)
        in_channels = out_channels
    parts |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(in_channels, num_classes)}
    return nn.Sequential(OrderedDict(parts))


def _regnet(widths: list[int], depths: list[int], group_width: int, num_classes: int, *, strides: Strides) -> nn.Module:
    regnet: Any = import_torchvision().models.regnet
    stem_stride, _, *stage_strides = strides
    stages = regnet.BlockParams(depths, widths, [group_width] * 4, [1.0] * 4, [2, *stage_strides])
    network = regnet.RegNet(stages, num_classes, stem_width=32)
    network.stem[0].stride = (stem_stride, stem_stride)
    return network  # type: ignore[no-any-return]


def _torchvision(name: str, num_classes: int, **given: Any) -> nn.Module:
    models: Any = import_torchvision().models
    network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **given)
    return network


@dataclass(frozen=True, slots=True)
class _Network:
    make: Callable[..., nn.Module]
    """(num_classes, options by name) -> network with the library's initialisation. Strides, if it has them, are always
    given."""
    options: tuple[str, ...]
    """The options that the network has."""


def _networks() -> Mapping[str, _Network]:
    mobile, strided = ("strides", "dropout"), ("strides",)
    mobilenet_v2 = _Network(_mobilenet_v2, mobile)
    bottlenecks = partial(_resnet, "Bottleneck", (3, 4, 6, 3))
    regnets = (
        ("regnetx400mf_x1", ([32, 64, 160, 384], [1, 2, 7, 12], 16)),
        ("regnetx800mf_x1", ([64, 128, 288, 672], [1, 3, 7, 5], 16)),
        ("regnetx1p6gf_x1", ([72, 168, 408, 912], [2, 4, 10, 2], 24)),
        ("regnetx3p2gf_x1", ([96, 192, 432, 1008], [2, 6, 15, 2], 48)),
    )
    return {
        "mobilenetv1_x1": _Network(mobilenet_v1, mobile),
        "mobilenetv2_x1": mobilenet_v2,
        "mobilenetv2_tv_x1": mobilenet_v2,
        "mobilenetv2_tv_x2_t2": _Network(partial(_mobilenet_v2, width=2.0, expansion=2), mobile),
        "mobilenetv3_small_x1": _Network(partial(mobilenet_v3, SMALL), mobile),
        "mobilenetv3_large_x1": _Network(partial(mobilenet_v3, LARGE), mobile),
        "mobilenetv3_lite_small_x1": _Network(partial(_mobilenet_v3_lite, SMALL), mobile),
        "mobilenetv3_lite_large_x1": _Network(partial(_mobilenet_v3_lite, LARGE), mobile),
        "mobilenetv3_lite_large_x2r": _Network(partial(_mobilenet_v3_lite, LARGE, width=2, halve_tail=True), mobile),
        "resnet18_x1": _Network(partial(_resnet, "BasicBlock", (2, 2, 2, 2)), strided),
        "resnet50_x1": _Network(bottlenecks, strided),
        "resnet50_xp5": _Network(partial(bottlenecks, width=0.5), strided),
        **{name + bgr: _Network(partial(_regnet, *rows), strided) for name, rows in regnets for bgr in ("", "_bgr")},
        "shufflenetv2_x1p0": _Network(partial(_torchvision, "shufflenet_v2_x1_0"), ()),
        "shufflenetv2_x1p5": _Network(partial(_torchvision, "shufflenet_v2_x1_5"), ()),
        "vgg16_x1": _Network(partial(_torchvision, "vgg16"), ("dropout",)),
    }


_NETWORKS = _networks()
