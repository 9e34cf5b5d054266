"""Changing a network of a library where another system's network of the same name differs."""

from collections.abc import Callable
from typing import Any

from torch import nn


def replace_modules(network: nn.Module, kind: type[nn.Module], new: Callable[[Any], nn.Module]) -> None:
    """Put `new(module)` in the place of each module of that kind, in place; subclasses of the kind stay as they are."""
    for name, module in list(network.named_modules()):
        if type(module) is kind:
            network.set_submodule(name, new(module))


def drop_before_pooling(network: Any) -> None:
    """Move the dropout in front of torchvision's last layer to the map before the pooling, in place.

    network: a MobileNetV2 or EfficientNet of torchvision; the names of its weights stay.
    """
    network.features.append(nn.Dropout(network.classifier[0].p))
    network.classifier[0] = nn.Identity()
