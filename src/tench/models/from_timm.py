"""timm's networks. `pretrained` is never set, so nothing is downloaded."""

from typing import Any

from torch import nn

from tench.compat import import_timm
from tench.models.source import AS_MADE, ModelOptions, OptionError, UsualInput, require_as_made

NAME = "timm"
FITS_STEM = True

EPS_IF_TRAINED = {"fbnetc_100": 1e-3}
"""Networks of timm whose batch norms have another epsilon if timm loads trained weights, with that epsilon."""

_OPTIONS = {"dropout": "drop_rate", "drop_path": "drop_path_rate"}


def names() -> list[str]:
    """Every architecture, without the tags of its weights."""
    timm: Any = import_timm()
    return list(timm.list_models())


def knows(arch: str) -> bool:
    """Whether `build` accepts this name: an architecture (resnet50d), with or without a tag (resnet50d.ra2_in1k)."""
    timm: Any = import_timm()
    if not timm.is_model(arch):
        return False
    try:
        timm.get_pretrained_cfg(arch)
    except RuntimeError:  # the architecture exists, the tag does not
        return False
    return True


def build(arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE) -> nn.Module:
    """The named network with fresh weights. Raises timm's errors, and ValueError if patches do not cover the image."""
    require_as_made(options, *_OPTIONS, "norm_eps")
    timm: Any = import_timm()
    given: dict[str, Any] = {"pretrained": False, "num_classes": num_classes, "in_chans": channels}
    given |= {name: getattr(options, field) for field, name in _OPTIONS.items() if getattr(options, field) is not None}
    network: nn.Module
    given["img_size"] = image_size
    while True:
        try:
            network = timm.create_model(arch, **given)
            break
        except TypeError as error:
            # timm has no list of the arguments that each network takes; an unknown one is named in the error.
            refused = next((name for name in ("img_size", *_OPTIONS.values()) if f"'{name}'" in str(error)), None)
            if refused not in given:
                raise
            if refused != "img_size":
                field = next(field for field, name in _OPTIONS.items() if name == refused)
                raise OptionError(f"has no {field} in timm") from error
            del given[refused]
    if options.norm_eps is not None:
        for module in network.modules():
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.eps = options.norm_eps
    embedding: Any = next((module for module in network.modules() if isinstance(module, timm.layers.PatchEmbed)), None)
    if embedding is not None and not embedding.dynamic_img_pad:
        patch = embedding.patch_size[0]
        if image_size % patch:  # timm would silently ignore the last pixels
            raise ValueError(f"the image size must be a multiple of the patch size, {patch} px")
    return network


def usual_input(arch: str) -> UsualInput:
    """ImageNet-1k at the size in the network's configuration, or 224 px if there is none."""
    timm: Any = import_timm()
    config = timm.get_pretrained_cfg(arch)
    channels, size, _ = config.input_size if config is not None else (3, 224, 224)
    return UsualInput(size, channels, 1000)
