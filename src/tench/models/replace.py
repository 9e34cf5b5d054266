"""Changing a library's network into another system's network of the same name."""

from collections.abc import Callable
from typing import Any

from torch import nn


def replace_modules(network: nn.Module, kind: type[nn.Module], new: Callable[[Any], nn.Module]) -> None:
    """Replace each module of exactly this type by `new(module)`, in place; subclasses are left alone."""
    for name, module in list(network.named_modules()):
        if type(module) is kind:
            network.set_submodule(name, new(module))


def drop_before_pooling(network: Any) -> None:
    """Move the dropout before torchvision's last layer to the map before the pooling, in place.

    network: torchvision's MobileNetV2 or EfficientNet. The names of the weights do not change.
    """
    network.features.append(nn.Dropout(network.classifier[0].p))
    network.classifier[0] = nn.Identity()
