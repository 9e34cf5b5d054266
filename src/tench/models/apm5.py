"""The residual networks of Apm5's TensorFlow training, built from timm's parts.

    resnet50       batch norm and relu after each convolution (arXiv:1512.03385)
    resnet50_v2    batch norm and relu before each convolution (arXiv:1603.05027)

Both have the stride in the 3x3 convolution of each bottleneck, a 2x2 average pooling before the 1x1 convolution of a
strided shortcut, and a last layer without bias. Depth 152 has 3, 4, 36, 3 units; the standard one has 8 in its second
stage. Padding is TensorFlow's SAME; otherwise weights trained in TensorFlow would give different outputs. For an even
size and stride 2, it pads a 3x3 kernel by one row at the bottom and one column on the right, while torch pads all
sides.
Source: Apm5/ImageNet_ResNet_Tensorflow2.0, model/ResNet.py and ResNet_v2.py.
"""

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import nn

from tench.compat import import_timm
from tench.models.initialise import initialise_by
from tench.models.replace import replace_modules
from tench.models.source import AS_MADE, ModelOptions, UsualInput, require_as_made

NAME = "apm5"
FITS_STEM = True

_UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 4, 36, 3)}
_V2 = "_v2"
_DEPTHS = {f"resnet{depth}{version}": depth for version in ("", _V2) for depth in _UNITS}


def names() -> list[str]:
    """Every name that `build` accepts."""
    return list(_DEPTHS)


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in _DEPTHS


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights. Raises OptionError for any option."""
    require_as_made(options)
    make = _resnet_v2 if arch.endswith(_V2) else _resnet
    network = make(_DEPTHS[arch], num_classes, channels)
    _pad_as_tensorflow(network)
    initialise_by(network, "xavier")  # Keras' default, glorot_uniform
    return network


def usual_input(arch: str) -> UsualInput:
    """ImageNet at 224 px."""
    return UsualInput(224, 3, 1000)


def _resnet(depth: int, num_classes: int, channels: int) -> nn.Module:
    resnet: Any = import_timm().models.resnet
    unit = resnet.Bottleneck if depth >= 50 else resnet.BasicBlock
    network = resnet.ResNet(unit, _UNITS[depth], num_classes, channels, avg_down=True)
    network.fc = nn.Linear(network.num_features, num_classes, bias=False)
    return network  # type: ignore[no-any-return]


def _resnet_v2(depth: int, num_classes: int, channels: int) -> nn.Module:
    timm: Any = import_timm()
    basic = depth < 50
    widths = (64, 128, 256, 512)
    network: Any = timm.models.resnetv2.ResNetV2(
        _UNITS[depth],
        widths if basic else tuple(4 * width for width in widths),
        num_classes,
        channels,
        avg_down=True,
        basic=basic,
        bottle_ratio=1.0 if basic else 0.25,
        norm_layer=timm.layers.BatchNormAct2d,
        conv_layer=partial(timm.layers.create_conv2d, bias=False),
    )
    parts: dict[str, nn.Module] = {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(network.num_features, num_classes, bias=False),
    }
    network.head = nn.Sequential(OrderedDict(parts))
    return network  # type: ignore[no-any-return]


def _pad_as_tensorflow(network: nn.Module) -> None:
    """Use SAME padding in convolutions and poolings with stride 2, in place; with stride 1, torch's is the same."""
    layers: Any = import_timm().layers

    def same_conv(conv: nn.Conv2d) -> nn.Module:
        if conv.stride == (1, 1):
            return conv
        return layers.Conv2dSame(  # type: ignore[no-any-return]
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, bias=False
        )

    def same_pool(pool: nn.MaxPool2d) -> nn.Module:
        return layers.create_pool2d("max", pool.kernel_size, pool.stride, padding="same")  # type: ignore[no-any-return]

    replace_modules(network, nn.Conv2d, same_conv)
    replace_modules(network, nn.MaxPool2d, same_pool)
