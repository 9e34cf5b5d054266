"""Numbers for comparing networks: parameters and multiply-accumulates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from tench.arguments import checked_arguments
from tench.models.macs import count_macs
from tench.models.meta import dry_run
from tench.models.registry import name_in_source, source_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The size and cost of a network for its usual input.

    >>> tench.model_info("resnet18").image_size
    224
    """

    name: str
    """Its name, as `create_model` accepts it."""
    source: str
    """Where the network comes from: tench, torchvision, timm, or another system."""
    image_size: int
    """Side of the usual square input, pixels."""
    parameters: int
    """Number of parameters with the usual classes (1000, or 10 for our own), without running averages."""
    gmacs: float
    """Multiply-accumulates of convolutions and linear layers for one image of that size, in 10^9; see `macs`."""
    conv_gmacs: float
    """The convolutions' share of gmacs."""


@checked_arguments()
def describe(arch: str) -> ModelInfo:
    """Measure a network by its name, without allocating its memory. Raises UsageError for an unknown name.

    >>> found = tench.model_info("resnet50")
    >>> found.parameters, round(found.gmacs, 2)
    (25557032, 4.09)
    """

    def measure(network: nn.Module, images: Tensor) -> ModelInfo:
        parameters = sum(parameter.numel() for parameter in network.parameters())
        macs = count_macs(network, images)
        gmacs, conv_gmacs = macs.total / 1e9, macs.convolutions / 1e9
        return ModelInfo(arch, source_of(arch).NAME, images.shape[-1], parameters, gmacs, conv_gmacs)

    return usual_dry_run(arch, measure)


def usual_dry_run(arch: str, use: Callable[[nn.Module, Tensor], T]) -> T:
    """`dry_run` of the named network for one image, at its usual image size and number of classes.

    The network is the original one: its stem is not adapted to small images. Auxiliary heads are left out.
    """
    source, name = source_of(arch), name_in_source(arch)
    usual = source.usual_input(name)

    def build() -> nn.Module:
        return source.build(name, num_classes=usual.num_classes, image_size=usual.image_size, channels=usual.channels)

    return dry_run(build, (1, usual.channels, usual.image_size, usual.image_size), use)
