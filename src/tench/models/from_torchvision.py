"""torchvision's classification networks. Their weights are never asked for, so nothing is downloaded."""

from typing import Any

from torch import nn

from tench.compat import import_torchvision
from tench.models.source import AS_MADE, OptionError, Options, UsualInput, require_as_made
from tench.models.stem import replace_input_channels

NAME = "torchvision"
FITS_STEM = True

_RGB = 3
_OPTIONS = {"dropout": "dropout", "drop_path": "stochastic_depth_prob"}


def names() -> list[str]:
    """The classification networks; torchvision's lists of other tasks and of quantized copies are apart."""
    models: Any = import_torchvision().models
    return list(models.list_models(module=models))


def knows(arch: str) -> bool:
    """Whether `build` takes this name."""
    return arch in names()


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: Options = AS_MADE) -> nn.Module:
    """The network of that name with fresh weights, without auxiliary heads. Raises what torchvision raises."""
    require_as_made(options, *_OPTIONS)
    asked = {name: getattr(options, field) for field, name in _OPTIONS.items() if getattr(options, field) is not None}
    models: Any = import_torchvision().models
    given: dict[str, Any] = {}
    if arch in ("googlenet", "inception_v3"):
        # init_weights left open is a warning in torchvision; True is the published initialisation.
        given = {"aux_logits": False, "init_weights": True}
    elif arch.startswith("vit_"):
        given = {"image_size": image_size}
    elif arch.startswith("maxvit_"):
        given = {"input_size": (image_size, image_size)}
    try:
        network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes, **given, **asked)
    except TypeError as error:  # the builders pass on what they do not know to the class, which refuses it by its name
        refused = next((name for name in asked if f"'{name}'" in str(error)), None)
        if refused is None:
            raise
        raise OptionError(f"has no {refused} in torchvision; timm:{arch} may have it") from error
    if channels != _RGB:
        replace_input_channels(network, channels)
    return network


def usual_input(arch: str) -> UsualInput:
    """ImageNet at the size that the default weights were evaluated at."""
    models: Any = import_torchvision().models
    weights = models.get_model_weights(arch).DEFAULT
    return UsualInput(weights.transforms.keywords["crop_size"], _RGB, len(weights.meta["categories"]))
