"""What a source of networks offers: a module of this package with these members, known to `registry`."""

from dataclasses import dataclass, fields
from typing import Protocol

from torch import nn


@dataclass(frozen=True, slots=True)
class UsualInput:
    """The problem that a network is usually quoted for."""

    image_size: int
    """Side of the square image, pixels."""
    channels: int
    num_classes: int


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What may be asked of a network beside its name; None: as its authors made it."""

    dropout: float | None = None
    """Probability that a feature is dropped before the last layer."""
    drop_path: float | None = None
    """Probability that a residual branch is left out for an image (stochastic depth, arXiv:1603.09382)."""
    strides: tuple[int, ...] | None = None
    """Five strides, of the stem and what follows it, in the order of edgeai's networks, which alone have them."""
    blurpool: bool = False
    """A fixed blur before convolutions of stride 2; any network can have it (`blurpool`)."""


AS_MADE = ModelOptions()


class OptionError(ValueError):
    """A network does not have what it was asked for. The message goes on after its name."""


def require_as_made(options: ModelOptions, *but: str) -> None:
    """Raise OptionError for the first option of the source's that is given, except those named in `but`."""
    for field in fields(options):
        value = getattr(options, field.name)
        if field.default is None and value is not None and field.name not in but:
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            raise OptionError(f"has no {field.name} to set to {shown}: leave it out")


class NetworkSource(Protocol):
    """A module with these members."""

    NAME: str
    """Whose networks these are; `NAME:resnet50` names one of them where several sources have the name."""

    FITS_STEM: bool
    """Whether the stems of its networks are fitted to small images: not where they have rules of their own."""

    def names(self) -> list[str]:
        """Every name that `build` takes."""

    def knows(self, arch: str) -> bool:
        """Whether `build` takes this name."""

    def build(
        self, arch: str, *, num_classes: int, image_size: int, channels: int, options: ModelOptions = AS_MADE
    ) -> nn.Module:
        """The network of that name with fresh weights, on torch's current device.

        Raises OptionError for an option that the network does not have, otherwise what its code raises.
        """

    def usual_input(self, arch: str) -> UsualInput:
        """The problem that the network is usually quoted for."""
