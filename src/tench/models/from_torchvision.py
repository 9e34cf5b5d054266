"""torchvision's classification networks. Their weights are never asked for, so nothing is downloaded."""

from typing import Any

from torch import nn

from tench.compat import import_torchvision
from tench.models import from_timm
from tench.models.source import AS_MADE, ModelOptions, OptionError, UsualInput, require_as_made
from tench.models.stem import replace_input_channels

NAME = "torchvision"
FITS_STEM = True

_RGB = 3
_OPTIONS = {"dropout": "dropout", "drop_path": "stochastic_depth_prob"}
_OWN_DEPTH = ("swin_", "maxvit_")
"""Their functions set stochastic_depth_prob themselves and take no other."""
_DROPOUT_WITHIN = ("vit_", "swin_")
"""Their `dropout` is that of the blocks, and there is none before the last layer."""


def names() -> list[str]:
    """The classification networks; torchvision's lists of other tasks and of quantized copies are apart."""
    models: Any = import_torchvision().models
    return list(models.list_models(module=models))


def knows(arch: str) -> bool:
    """Whether `build` takes this name."""
    return arch in names()


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The network of that name with fresh weights, without auxiliary heads. Raises what torchvision raises."""
    require_as_made(options, *_OPTIONS)
    asked = {field: getattr(options, field) for field in _OPTIONS if getattr(options, field) is not None}
    if "dropout" in asked and arch.startswith(_DROPOUT_WITHIN):
        raise _lacks("dropout before its last layer", arch)
    largest_rate = asked.pop("drop_path", None) if arch.startswith(_OWN_DEPTH) else None
    models: Any = import_torchvision().models
    given: dict[str, Any] = {}
    if arch in ("googlenet", "inception_v3"):
        # init_weights left open is a warning in torchvision; True is the published initialisation.
        given = {"aux_logits": False, "init_weights": True}
    elif arch.startswith("vit_"):
        given = {"image_size": image_size}
    elif arch.startswith("maxvit_"):
        given = {"input_size": (image_size, image_size)}
    given |= {_OPTIONS[field]: value for field, value in asked.items()}
    try:
        network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes, **given)
    except TypeError as error:  # the builders pass on what they do not know to the class, which refuses it by its name
        refused = next((field for field in asked if f"'{_OPTIONS[field]}'" in str(error)), None)
        if refused is None:
            raise
        raise _lacks(refused, arch) from error
    if "drop_path" in asked and not _depth_layers(network):  # MobileNetV3 takes the option and does nothing with it
        raise _lacks("drop_path", arch)
    if largest_rate is not None:
        _scale_depth(network, largest_rate)
    if channels != _RGB:
        replace_input_channels(network, channels)
    return network


def _depth_layers(network: nn.Module) -> list[Any]:
    kind: Any = import_torchvision().ops.StochasticDepth
    return [module for module in network.modules() if isinstance(module, kind)]


def _scale_depth(network: nn.Module, largest_rate: float) -> None:
    """Scale the rates of stochastic depth, which rise with the depth, so that the largest one is what is asked for."""
    layers = _depth_layers(network)
    own = max(layer.p for layer in layers)
    for layer in layers:
        layer.p *= largest_rate / own


def _lacks(what: str, arch: str) -> OptionError:
    return OptionError(
        f"has no {what} in torchvision" + (f"; timm:{arch} may have it" if from_timm.knows(arch) else "")
    )


def usual_input(arch: str) -> UsualInput:
    """ImageNet at the size that the default weights were evaluated at."""
    models: Any = import_torchvision().models
    weights = models.get_model_weights(arch).DEFAULT
    return UsualInput(weights.transforms.keywords["crop_size"], _RGB, len(weights.meta["categories"]))
