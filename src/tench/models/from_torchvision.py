"""torchvision's classification networks. Weights are never requested, so nothing is downloaded."""

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
"""Their constructors set stochastic_depth_prob and do not accept another value."""
_DROPOUT_WITHIN = ("vit_", "swin_")
"""Their `dropout` applies inside the blocks; there is none before the last layer."""


def names() -> list[str]:
    """The classification networks, without other tasks and quantized copies."""
    models: Any = import_torchvision().models
    return list(models.list_models(module=models))


def knows(arch: str) -> bool:
    """Whether `build` accepts this name."""
    return arch in names()


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights, without auxiliary heads. Raises torchvision's errors."""
    require_as_made(options, *_OPTIONS)
    asked = {field: getattr(options, field) for field in _OPTIONS if getattr(options, field) is not None}
    if "dropout" in asked and arch.startswith(_DROPOUT_WITHIN):
        raise _lacks("dropout before its last layer", arch)
    largest_rate = asked.pop("drop_path", None) if arch.startswith(_OWN_DEPTH) else None
    models: Any = import_torchvision().models
    given = size_arguments(arch, image_size)
    given |= {_OPTIONS[field]: value for field, value in asked.items()}
    try:
        network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes, **given)
    except TypeError as error:  # builders pass unknown arguments on to the class, which names the one it refuses
        refused = next((field for field in asked if f"'{_OPTIONS[field]}'" in str(error)), None)
        if refused is None:
            raise
        raise _lacks(refused, arch) from error
    if "drop_path" in asked and not _depth_layers(network):  # MobileNetV3 accepts the option and ignores it
        raise _lacks("drop_path", arch)
    if largest_rate is not None:
        _scale_depth(network, largest_rate)
    if channels != _RGB:
        replace_input_channels(network, channels)
    return network


def size_arguments(arch: str, image_size: int) -> dict[str, Any]:
    """The arguments of torchvision's builder besides num_classes: without auxiliary heads, for images of this size."""
    if arch in ("googlenet", "inception_v3"):
        # torchvision warns if init_weights is not given; True is the published initialisation.
        return {"aux_logits": False, "init_weights": True}
    if arch.startswith("vit_"):
        return {"image_size": image_size}
    return {"input_size": (image_size, image_size)} if arch.startswith("maxvit_") else {}


def _depth_layers(network: nn.Module) -> list[Any]:
    kind: Any = import_torchvision().ops.StochasticDepth
    return [module for module in network.modules() if isinstance(module, kind)]


def _scale_depth(network: nn.Module, largest_rate: float) -> None:
    """Scale the rates of stochastic depth, which increase with depth, so that the largest one is `largest_rate`."""
    layers = _depth_layers(network)
    own = max(layer.p for layer in layers)
    for layer in layers:
        layer.p *= largest_rate / own


def _lacks(what: str, arch: str) -> OptionError:
    return OptionError(
        f"has no {what} in torchvision" + (f"; timm:{arch} may have it" if from_timm.knows(arch) else "")
    )


def usual_input(arch: str) -> UsualInput:
    """ImageNet at the size at which the default weights were evaluated."""
    models: Any = import_torchvision().models
    weights = models.get_model_weights(arch).DEFAULT
    return UsualInput(weights.transforms.keywords["crop_size"], _RGB, len(weights.meta["categories"]))
