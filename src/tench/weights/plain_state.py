"""Complete a plain state dict with what it does not say: classes, channels, size and preprocessing, from its network.

The names must be those of the network, or of TI edgeailite's form of it. A state dict with unknown names is matched by
the order of its layers, if all shapes agree; a note says so.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tench.compat import import_timm, import_torchvision
from tench.errors import TenchError, UsageError
from tench.models import edgeai, from_timm, from_torchvision, gluon, nnabla
from tench.models.fingerprints import fit_hint
from tench.models.info import usual_dry_run
from tench.models.meta import dry_run
from tench.models.mxnet import source as mxnet
from tench.models.registry import name_in_source, source_of
from tench.weights import mxnet as mxnet_weights
from tench.weights import nnabla as nnabla_weights
from tench.weights.by_order import Layer, layers_of, state_in_order, with_counters
from tench.weights.known import Start, imagenet_input
from tench.weights.own import differences, first_of
from tench.weights.recognise import SYMBOL
from tench.weights.transfer import has_unknown_names, head_layers, match_by_order_note


def completed(state: Mapping[str, Tensor], arch: str, source: str, notes: tuple[str, ...] = ()) -> Start:
    """Weights of a named network, under its own names, with everything needed to use them.

    state: without trainers' prefixes. source: the file, for messages. The preprocessing is the usual one of the
    network. Raises UsageError for an unknown network, TenchError if the state does not fit it.
    """
    own, name = source_of(arch), name_in_source(arch)
    usual = own.usual_input(name)
    layers = layers_of(state)
    if not layers:
        raise TenchError(f"{source} contains no weights.")

    def head(network: nn.Module, _: Tensor) -> str | None:
        found = head_layers(network, usual.num_classes)
        return f"{found[-1]}.weight" if found else None

    named = usual_dry_run(arch, head)
    weight = (
        state[named]
        if named is not None and named in state
        else layers[-1].tensors.get("weight", layers[-1].tensors.get("bias"))
    )
    num_classes = len(weight) if weight is not None and weight.ndim else usual.num_classes
    first = next((one.tensors["weight"] for one in layers if one.tensors.get("weight", _NONE).ndim == 4), None)
    channels = 1 if first is not None and first.shape[1] == 1 and usual.channels == 3 else usual.channels

    def build() -> nn.Module:
        return own.build(name, num_classes=num_classes, image_size=usual.image_size, channels=channels)

    found, note = dry_run(
        build,
        (1, channels, usual.image_size, usual.image_size),
        lambda network, _: _under_names_of(network, dict(state), layers, arch, source),
    )
    preprocessing = _preprocessing(arch, usual.image_size)
    if channels == 1:
        for key in ("mean", "std"):
            preprocessing[key] = (math.fsum(preprocessing[key]) / len(preprocessing[key]),)
    return Start(
        state=found,
        source=source,
        arch=arch,
        num_classes=num_classes,
        channels=channels,
        image_size=usual.image_size,
        notes=(*notes, *([note] if note else [])),
        is_assumed=True,
        **preprocessing,
    )


_NONE = torch.zeros(0)


def _under_names_of(
    network: nn.Module, state: dict[str, Tensor], layers: Sequence[Layer], arch: str, source: str
) -> tuple[dict[str, Tensor], str | None]:
    """The state under the network's names, and a note if it was matched by order."""
    expected, given = network.state_dict(), state
    state = state | with_counters(network, state)  # counters are missing in files from old versions of PyTorch
    problems = differences(expected, state)
    if not problems:
        return state, None
    if has_unknown_names(state, expected):
        try:
            found = state_in_order(network, layers)
        except ValueError as error:
            problems = [str(error)]
        else:
            return found, match_by_order_note(source, arch)
    raise TenchError(
        f"{source}: its weights do not fit {arch}: {first_of(problems)}.{fit_hint(given)} Name the right one with -a."
    )


def _preprocessing(arch: str, image_size: int) -> dict[str, Any]:
    """mean, std, interpolation, eval_resize and channel_order that are usual for a network."""
    source, name = source_of(arch).NAME, name_in_source(arch)
    common = imagenet_input(image_size)
    if source == nnabla.NAME:
        return nnabla_weights.example_input(image_size)
    if source == gluon.NAME:
        return mxnet_weights.gluon_input(image_size)
    if source == mxnet.NAME:
        raise UsageError(f"{arch}: pass the symbol file of the checkpoint, NAME{SYMBOL}.")
    if source == edgeai.NAME and name.endswith("_bgr"):
        return common | {"channel_order": "bgr", "mean": common["mean"][::-1], "std": common["std"][::-1]}
    if source == from_timm.NAME:
        config = import_timm().get_pretrained_cfg(name)
        return common | {
            "mean": tuple(config.mean),
            "std": tuple(config.std),
            "interpolation": config.interpolation,
            "eval_resize": math.floor(image_size / config.crop_pct),
        }
    if source == from_torchvision.NAME:
        view = import_torchvision().models.get_model_weights(name).DEFAULT.transforms()
        if view.crop_size[0] != 224:  # a network with a size of its own
            return common | {"eval_resize": view.resize_size[0], "interpolation": view.interpolation.value}
    return common
