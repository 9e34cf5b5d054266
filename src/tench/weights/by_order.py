"""Match the weights of another program to a network by their order, where the names say nothing.

Both sides are compared layer by layer. NNabla and Gluon save layers in the order of creation, and a PyTorch state dict
lists them in the order of registration. Each pair of layers must have the same tensors with the same shapes, so a file
of another network is refused. If two layers of the same shape are swapped, only the accuracy shows it.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tench.errors import counted
from tench.models.source import NetworkSource
from tench.weights.known import Start

_SYSTEMS = {"nnabla": "NNabla", "gluon": "Gluon"}
_COUNTER = "num_batches_tracked"


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """The tensors of one layer, by torch's names (weight, bias, running_mean, ...). name: for messages."""

    name: str
    tensors: Mapping[str, Tensor]


def layers_of(state: Mapping[str, Tensor]) -> list[Layer]:
    """The layers of a state dict, in its order, without the counters of batch norms."""
    named = ((name.rpartition("."), tensor) for name, tensor in state.items())
    kept = ((owner, role, tensor) for (owner, _, role), tensor in named if role != _COUNTER)
    return [
        Layer(owner, {role: tensor for _, role, tensor in members})
        for owner, members in itertools.groupby(kept, key=lambda one: one[0])
    ]


def state_in_order(
    network: nn.Module, layers: Sequence[Layer], *, unchecked: Collection[str] = ()
) -> dict[str, Tensor]:
    """The tensors under a network's names.

    A 1x1 convolution may stand for a linear layer. unchecked: layers of the network whose shapes may differ. Raises
    ValueError with the first difference.
    """
    ours = layers_of(network.state_dict())
    state: dict[str, Tensor] = {}
    for theirs, own in zip(layers, ours, strict=False):
        if theirs.tensors.keys() != own.tensors.keys():
            raise ValueError(
                f"{theirs.name} has {', '.join(theirs.tensors)}, but {own.name or 'the network'}, in the same place, "
                f"has {', '.join(own.tensors)}"
            )
        for role, tensor in theirs.tensors.items():
            expected = own.tensors[role].shape
            if tensor.shape != expected and _is_one_pixel(tensor.shape, expected):
                tensor = tensor.reshape(expected)
            if tensor.shape != expected and own.name not in unchecked:
                raise ValueError(
                    f"{theirs.name}.{role} has shape {tuple(tensor.shape)}, but {own.name}.{role}, in the same place, "
                    f"has {tuple(expected)}"
                )
            state[f"{own.name}.{role}".lstrip(".")] = tensor
    if len(layers) != len(ours):
        raise ValueError(f"it has {counted(len(layers), 'layer')}, but the network has {len(ours)}")
    return with_counters(network, state)


def num_outputs(layers: Sequence[Layer]) -> int:
    """The rows of the last layer's weight, which are the classes; 0 if it has none."""
    weight = layers[-1].tensors.get("weight")
    return len(weight) if weight is not None and weight.ndim else 0


def start_in_order(
    path: Path,
    system: NetworkSource,
    names: Iterable[str],
    layers: Sequence[Layer],
    preprocessing: Callable[[int], Mapping[str, Any]],
) -> Start:
    """The weights of a file for the first of a system's networks that they fit, at its usual image size.

    preprocessing: (image size) -> the fields of `Start` that describe the input. Raises ValueError with the first
    difference from the first of them if they fit none.
    """
    problem, num_classes = "", num_outputs(layers) or 1
    for name in names:
        size = system.usual_input(name).image_size
        with torch.device("meta"):
            network = system.build(name, num_classes=num_classes, image_size=size, channels=3)
        try:
            state = state_in_order(network, layers)
        except ValueError as error:
            problem = problem or str(error)
            continue
        return Start(
            state=state,
            source=str(path),
            system=_SYSTEMS[system.NAME],
            arch=f"{system.NAME}:{name}",
            num_classes=num_classes,
            channels=3,
            image_size=size,
            is_assumed=True,
            **preprocessing(size),
        )
    raise ValueError(problem)


def _is_one_pixel(theirs: torch.Size, ours: torch.Size) -> bool:
    short, long = sorted((theirs, ours), key=len)
    return len(short) == 2 and len(long) == 4 and long[:2] == short and math.prod(long[2:]) == 1


def with_counters(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with the counters of batch norms, which other programs do not keep, in the order of the network."""
    found = {}
    for name, tensor in network.state_dict().items():
        if name in state:
            found[name] = state[name]
        elif name.rpartition(".")[2] == _COUNTER:
            found[name] = torch.zeros((), dtype=tensor.dtype, device="cpu")
    return found
