"""torchvision's classification networks. Their weights are never asked for, so nothing is downloaded."""

from typing import Any

from torch import nn

from tench.compat import import_torchvision
from tench.models.source import UsualInput
from tench.models.stem import replace_input_channels

NAME = "torchvision"

_RGB = 3


def names() -> list[str]:
    """The classification networks; torchvision's lists of other tasks and of quantized copies are apart."""
    models: Any = import_torchvision().models
    return list(models.list_models(module=models))


def knows(arch: str) -> bool:
    """Whether `build` takes this name."""
    return arch in names()


def build(arch: str, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """The network of that name with fresh weights, without auxiliary heads. Raises what torchvision raises."""
    models: Any = import_torchvision().models
    options: dict[str, Any] = {}
    if arch in ("googlenet", "inception_v3"):
        # init_weights left open is a warning in torchvision; True is the published initialisation.
        options = {"aux_logits": False, "init_weights": True}
    elif arch.startswith("vit_"):
        options = {"image_size": image_size}
    elif arch.startswith("maxvit_"):
        options = {"input_size": (image_size, image_size)}
    network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes, **options)
    if channels != _RGB:
        replace_input_channels(network, channels)
    return network


def usual_input(arch: str) -> UsualInput:
    """ImageNet at the size that the default weights were evaluated at."""
    models: Any = import_torchvision().models
    weights = models.get_model_weights(arch).DEFAULT
    return UsualInput(weights.transforms.keywords["crop_size"], _RGB, len(weights.meta["categories"]))
