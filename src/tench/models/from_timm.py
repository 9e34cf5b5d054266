"""timm's networks. `pretrained` is never set, so nothing is downloaded."""

from typing import Any

from torch import nn

from tench.compat import import_timm
from tench.models.source import UsualInput

NAME = "timm"


def names() -> list[str]:
    """Every architecture, without the tags that tell its weights apart."""
    timm: Any = import_timm()
    return list(timm.list_models())


def knows(arch: str) -> bool:
    """Whether `build` takes this name: an architecture (resnet50d), also with a tag (resnet50d.ra2_in1k)."""
    timm: Any = import_timm()
    if not timm.is_model(arch):
        return False
    try:
        timm.get_pretrained_cfg(arch)
    except RuntimeError:  # the architecture exists, the tag does not
        return False
    return True


def build(arch: str, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """The network of that name with fresh weights. Raises what timm raises, and ValueError for a part of a patch."""
    timm: Any = import_timm()
    options: dict[str, Any] = {"pretrained": False, "num_classes": num_classes, "in_chans": channels}
    network: nn.Module
    try:
        network = timm.create_model(arch, img_size=image_size, **options)
    except TypeError as error:
        # timm has no list of the networks that want to know the size; the others refuse the argument by its name.
        if "img_size" not in str(error):
            raise
        network = timm.create_model(arch, **options)
    embedding: Any = next((module for module in network.modules() if isinstance(module, timm.layers.PatchEmbed)), None)
    if embedding is not None and not embedding.dynamic_img_pad:
        patch = embedding.patch_size[0]
        if image_size % patch:  # timm would leave the last pixels unread and say nothing
            raise ValueError(f"the image size must be a multiple of its patches' {patch} px")
    return network


def usual_input(arch: str) -> UsualInput:
    """ImageNet-1k at the size in the network's configuration, 224 px where it has none."""
    timm: Any = import_timm()
    config = timm.get_pretrained_cfg(arch)
    channels, size, _ = config.input_size if config is not None else (3, 224, 224)
    return UsualInput(size, channels, 1000)
