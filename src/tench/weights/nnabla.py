"""Read weights that NNabla's ImageNet example saved, with the preprocessing of its validation.

The file does not name its network. The shapes of its layers, in their order, determine it.
"""

from pathlib import Path
from typing import Any, cast

from tench.errors import TenchError, UsageError, nearest
from tench.models import nnabla
from tench.models.source import NetworkSource
from tench.weights.by_order import Layer, start_in_order
from tench.weights.known import Start, imagenet_input
from tench.weights.nnabla_h5 import layers_of_h5
from tench.weights.nnabla_nnp import read_parameters


def read_nnabla(path: Path, arch: str | None = None) -> Start:
    """The weights in a parameter file, for the network that they fit.

    arch: the network, by NNabla's name; None tries all. Raises UsageError for an unknown name, TenchError if the file
    is damaged or fits no network.
    """
    if arch is not None and not nnabla.knows(arch):
        raise UsageError(
            f"NNabla has no network {arch!r}.{nearest(arch, nnabla.names())} Known: {', '.join(nnabla.names())}."
        )
    parameters = read_parameters(path)
    try:
        layers = layers_of_h5(parameters)
    except ValueError as error:
        raise TenchError(f"{path}: {error}, so it is not a network of NNabla's ImageNet example.") from error
    names = [arch] if arch else _candidates(layers)
    try:
        return start_in_order(path, cast(NetworkSource, nnabla), names, layers, example_input)
    except ValueError as error:
        tried = f"do not fit nnabla:{arch}" if arch else "fit none of NNabla's networks"
        raise TenchError(f"{path}: its weights {tried} ({names[0]}: {error}).") from error


def example_input(image_size: int) -> dict[str, Any]:
    """The preprocessing of the example's validation. Source: data.py and normalize_config.py there."""
    return imagenet_input(image_size) | {"eval_resize": 2 * round(256 / 224 * image_size / 2)}


def _candidates(layers: list[Layer]) -> list[str]:
    """The networks that may have these layers, by the name of the first one."""
    is_resnet = layers[0].name.startswith("conv1")
    return [name for name in nnabla.names() if name.partition("_")[0].startswith(("res", "se")) == is_resnet]
