"""Read weights that NNabla's ImageNet example saved, with the preprocessing of its validation.

The file does not name its network. The shapes of its layers, in their order, determine it.
"""

from pathlib import Path
from typing import Any

import torch

from tench.errors import TenchError, UsageError, nearest
from tench.models import nnabla
from tench.weights.by_order import Layer, state_in_order
from tench.weights.nnabla_h5 import layers_of_h5, read_h5
from tench.weights.transfer import Start


def read_nnabla(path: Path, arch: str | None = None) -> Start:
    """The weights in a parameter file, for the network that they fit.

    arch: the network, by NNabla's name; None tries all. Raises UsageError for an unknown name, TenchError if the file
    is damaged or fits no network.
    """
    if arch is not None and not nnabla.knows(arch):
        raise UsageError(
            f"NNabla has no network {arch!r}.{nearest(arch, nnabla.names())} Known: {', '.join(nnabla.names())}."
        )
    parameters = read_h5(path)
    try:
        layers = layers_of_h5(parameters)
    except ValueError as error:
        raise TenchError(f"{path}: {error}, so it is not a network of NNabla's ImageNet example.") from error
    num_classes = _num_classes(layers[-1])
    first_problem = ""
    for name in [arch] if arch else _candidates(layers):
        size = nnabla.usual_input(name).image_size
        with torch.device("meta"):
            network = nnabla.build(name, num_classes=num_classes, image_size=size, channels=3)
        try:
            state = state_in_order(network, layers)
        except ValueError as error:
            first_problem = first_problem or f"{name}: {error}"
            continue
        return Start(
            state=state,
            source=str(path),
            arch=f"{nnabla.NAME}:{name}",
            num_classes=num_classes,
            channels=3,
            image_size=size,
            **example_input(size),
        )
    tried = f"do not fit nnabla:{arch}" if arch else "fit none of NNabla's networks"
    raise TenchError(f"{path}: its weights {tried} ({first_problem}).")


def example_input(image_size: int) -> dict[str, Any]:
    """The preprocessing of the example's validation. Source: data.py and normalize_config.py there."""
    return {
        "eval_resize": 2 * round(256 / 224 * image_size / 2),
        "interpolation": "bilinear",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "channel_order": "rgb",
    }


def _num_classes(last: Layer) -> int:
    weight = last.tensors.get("weight")
    return len(weight) if weight is not None and weight.ndim else 1


def _candidates(layers: list[Layer]) -> list[str]:
    """The networks that may have these layers, by the name of the first one."""
    is_resnet = layers[0].name.startswith("conv1")
    return [name for name in nnabla.names() if name.partition("_")[0].startswith(("res", "se")) == is_resnet]
