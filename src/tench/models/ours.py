"""Our own networks, which neither torchvision nor timm has."""

from collections.abc import Callable
from functools import partial

from torch import nn

from tench.models.airbench import Airbench
from tench.models.plain import lenet, mlp
from tench.models.residual import resnet_v1, resnet_v2, small_plan
from tench.models.source import AS_MADE, ModelOptions, UsualInput, require_as_made

NAME = "tench"
FITS_STEM = False  # made for small images

_PLAIN: dict[str, Callable[[int, int, int], nn.Module]] = {"lenet": lenet, "mlp": mlp}
_AIRBENCH: dict[str, Callable[[int, int, int], nn.Module]] = {
    "airbench94": partial(Airbench, widths=(64, 256, 256), convs=2, momentum=0.4),
    "airbench96": partial(Airbench, widths=(128, 384, 512), convs=3, momentum=0.1),
}
_SIZED = _PLAIN | _AIRBENCH
_RESNETS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": partial(resnet_v1, small_plan(depth)) for depth in (20, 32, 44, 56, 110)},
    **{f"resnet{depth}_v2": partial(resnet_v2, small_plan(depth)) for depth in (20, 32, 44, 56, 110, 164)},
}


def names() -> list[str]:
    """Every name that `build` accepts."""
    return [*_SIZED, *_RESNETS]


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in _SIZED or arch in _RESNETS


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights. Raises ValueError for an image it cannot take, OptionError for options."""
    require_as_made(options)
    if arch in _SIZED:
        return _SIZED[arch](num_classes, image_size, channels)
    return _RESNETS[arch](large_stem=False, num_classes=num_classes, channels=channels)


def usual_input(arch: str) -> UsualInput:
    """MNIST's 28 px grey images for the plain networks, CIFAR-10 for the others."""
    return UsualInput(28, 1, 10) if arch in _PLAIN else UsualInput(32, 3, 10)
