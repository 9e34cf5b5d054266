"""What a source of networks offers. Three modules are one: `ours`, `from_torchvision` and `from_timm`."""

from dataclasses import dataclass
from typing import Protocol

from torch import nn


@dataclass(frozen=True, slots=True)
class UsualInput:
    """The problem that a network is usually quoted for."""

    image_size: int
    """Side of the square image, pixels."""
    channels: int
    num_classes: int


class Source(Protocol):
    """A module with these members."""

    NAME: str

    def names(self) -> list[str]:
        """Every name that `build` takes."""

    def knows(self, arch: str) -> bool:
        """Whether `build` takes this name."""

    def build(self, arch: str, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
        """The network of that name with fresh weights, on torch's current device. Raises what its code raises."""

    def usual_input(self, arch: str) -> UsualInput:
        """The problem that the network is usually quoted for."""
