"""MXNet's networks under the names of its benchmark: the program's module, then a dash and the depth."""

import re
from collections.abc import Callable
from functools import partial

from torch import nn

from tench.models import plain
from tench.models.mxnet.alexnet import alexnet
from tench.models.mxnet.googlenet import googlenet
from tench.models.mxnet.inception_bn import inception_bn
from tench.models.mxnet.inception_resnet_v2 import inception_resnet_v2
from tench.models.mxnet.inception_v3 import inception_v3
from tench.models.mxnet.inception_v4 import inception_v4
from tench.models.mxnet.lenet_stn import lenet_stn
from tench.models.mxnet.mobilenet import mobilenet
from tench.models.mxnet.resnet import is_depth, resnet, resnetv1, resnext
from tench.models.mxnet.vgg import DEPTHS, vgg
from tench.models.residual import LARGE_DEPTHS
from tench.models.source import AS_MADE, ModelOptions, UsualInput, require_as_made

NAME = "mxnet"
FITS_STEM = False  # the networks have their own rules for small images

NetworkMaker = Callable[..., nn.Module]
"""(num_classes, image_size, channels) -> network, by name."""

_DIGITS: dict[str, NetworkMaker] = {"mlp": plain.mlp, "lenet": plain.lenet, "lenet-stn": lenet_stn}
_NETWORKS: dict[str, NetworkMaker] = {
    "alexnet": alexnet,
    "googlenet": googlenet,
    "inception-bn": inception_bn,
    "inception-resnet-v2": inception_resnet_v2,
    "inception-v3": inception_v3,
    "inception-v4": inception_v4,
    "mobilenet": mobilenet,
    "resnext-101-64x4d": partial(resnext, 101, groups=64),
    **{f"vgg-{depth}": partial(vgg, depth) for depth in DEPTHS},
}
_OF_ANY_DEPTH: dict[str, NetworkMaker] = {"resnet": resnet, "resnetv1": resnetv1, "resnext": resnext}
_SPELLINGS = {"resnet-v1": "resnetv1"}
"""Aliases of families that MXNet's programs accept."""
_SMALL_DEPTHS = (20, 32, 44, 56, 110, 164)
"""The depths in the papers; others work too."""
_AT_299 = ("inception-resnet-v2", "inception-v3", "inception-v4")


def names() -> list[str]:
    """The usual names; `build` accepts more depths of ResNets for small images."""
    depths = (*_SMALL_DEPTHS, *LARGE_DEPTHS)
    return [*_DIGITS, *_NETWORKS, *(f"{family}-{depth}" for family in _OF_ANY_DEPTH for depth in depths)]


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in _DIGITS or arch in _NETWORKS or _family_and_depth(arch) is not None


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights, with MXNet's structure for this image size.

    Raises ValueError if the image is too small or the depth does not exist for this image size, and OptionError for any
    option.
    """
    require_as_made(options)
    size = {"num_classes": num_classes, "image_size": image_size, "channels": channels}
    if found := _family_and_depth(arch):
        family, depth = found
        return _OF_ANY_DEPTH[family](depth, **size)
    return (_DIGITS | _NETWORKS)[arch](**size)


def usual_input(arch: str) -> UsualInput:
    """MNIST for the digit networks, 28 px with 10 classes for depths for small images, ImageNet for the others."""
    if arch in _DIGITS:
        return UsualInput(28, 1, 10)
    if (found := _family_and_depth(arch)) and found[1] not in LARGE_DEPTHS:
        return UsualInput(28, 3, 10)
    return UsualInput(299 if arch in _AT_299 else 224, 3, 1000)


def _family_and_depth(arch: str) -> tuple[str, int] | None:
    """ "resnet-50" -> ("resnet", 50); None if there is no such network."""
    match = re.fullmatch(r"([\w-]+)-([1-9]\d*)", arch)
    if match is None:
        return None
    family, depth = _SPELLINGS.get(match[1], match[1]), int(match[2])
    return (family, depth) if family in _OF_ANY_DEPTH and is_depth(depth) else None
