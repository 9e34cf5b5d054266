"""The interface of a source of networks: a module of this package with these members, listed in `registry`."""

from dataclasses import dataclass, fields
from typing import Protocol

from torch import nn


@dataclass(frozen=True, slots=True)
class UsualInput:
    """The input and number of classes for which a network is usually quoted."""

    image_size: int
    """Side of the square image, pixels."""
    channels: int
    num_classes: int


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options of a network besides its name; None means as its authors made it."""

    dropout: float | None = None
    """Probability that a feature is dropped before the last layer."""
    drop_path: float | None = None
    """Probability of skipping a residual branch for an image (stochastic depth, arXiv:1603.09382)."""
    strides: tuple[int, ...] | None = None
    """Five strides, of the stem and the stages after it; only edgeai's networks have this option."""
    norm_eps: float | None = None
    """Epsilon of the layer and batch norms, for timm's networks only. The ViTs of transformers have 1e-12."""
    fit_stem: bool = True
    """Whether `create` fits the stems of torchvision's and timm's networks to small images. Other programs do not."""
    blurpool: bool = False
    """A fixed blur before convolutions of stride 2, for any network (`blurpool`)."""


AS_MADE = ModelOptions()


class OptionError(ValueError):
    """A network does not have a requested option. The message continues after the network's name."""


def require_as_made(options: ModelOptions, *but: str) -> None:
    """Raise OptionError for the first given option of the source, except those named in `but`."""
    for field in fields(options):
        value = getattr(options, field.name)
        if field.default is None and value is not None and field.name not in but:
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            raise OptionError(f"has no option {field.name}, which was set to {shown}")


class NetworkSource(Protocol):
    """A module with these members."""

    NAME: str
    """The name of the source; `NAME:resnet50` selects its network if several sources have the name."""

    FITS_STEM: bool
    """Whether the stems of its networks are adapted to small images; False if the source has its own rules."""

    def names(self) -> list[str]:
        """Every name that `build` accepts."""

    def knows(self, arch: str) -> bool:
        """Whether `build` accepts this name."""

    def build(
        self, arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE
    ) -> nn.Module:
        """The named network with fresh weights, on torch's current device.

        Raises OptionError for an option that the network does not have, and whatever its code raises.
        """

    def usual_input(self, arch: str) -> UsualInput:
        """The input and number of classes for which the network is usually quoted."""
