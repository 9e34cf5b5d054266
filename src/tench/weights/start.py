"""Weights to start a training from, by file or by name, with what is known of them."""

import dataclasses
from pathlib import Path

from torch import Tensor

from tench.errors import TenchError, UsageError
from tench.models.registry import source_of
from tench.weights import own
from tench.weights.files import SAFETENSORS, read_state
from tench.weights.published import timm_weights, torchvision_weights
from tench.weights.transfer import Start, load_start

__all__ = ["Start", "load_start", "starting_weights"]

PUBLISHED = {"torchvision": torchvision_weights, "timm": timm_weights}


def starting_weights(name: str) -> Start:
    """Weights by name, or from a file.

    name: a run directory of ours, or its weights or checkpoint; a state dict of PyTorch's (.pth, .pt, .pth.tar, .ckpt,
    .bin, .safetensors), also as trainers wrap it; torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V1;
    timm:resnet50, timm:resnet50.a1_in1k. Of a file that is not ours nothing is known but its weights, and the name of
    the network where it says one. Raises UsageError where there is nothing of that name, TenchError where it cannot be
    read or downloaded.
    """
    if name == "needed":
        raise UsageError("This recipe begins with trained weights: name them with --weights RUN, FILE or timm:NAME.")
    system, colon, rest = name.partition(":")
    if colon and system in PUBLISHED:
        return PUBLISHED[system](rest)
    path = Path(name)
    if not path.exists():
        raise UsageError(f"{name}: no such file or run directory.{published_hint(name)}")
    card_path = path.with_name(own.CARD)
    if path.is_dir() or (path.suffix == SAFETENSORS and card_path.exists()):
        state, card = own.read(path)
        return _of_card(state, card, name)
    found = read_state(path)
    if found.arch is not None and card_path.exists() and (card := own.read_card(path.parent)).arch == found.arch:
        return dataclasses.replace(_of_card(found.state, card, name), choice=found.choice)
    arch = found.arch if _is_known(found.arch) else None
    return Start(state=found.state, source=name, arch=arch, choice=found.choice)


def _of_card(state: dict[str, Tensor], card: own.ModelCard, source: str) -> Start:
    return Start(
        state=state,
        source=source,
        arch=card.arch,
        classes=card.classes,
        num_classes=len(card.classes),
        channels=card.channels,
        image_size=card.image_size,
        eval_resize=card.eval_resize,
        interpolation=card.interpolation,
        mean=card.mean,
        std=card.std,
        channel_order=card.channel_order,
        options=card.options,
    )


def _is_known(arch: str | None) -> bool:
    """Whether the name that a file calls its network by is one of ours to `create`."""
    try:
        return arch is not None and bool(source_of(arch))
    except TenchError:
        return False


def published_hint(name: str) -> str:
    """Where the name is a network's, how its published weights are called."""
    arch = name.partition(".")[0]
    if _is_known(arch) and (system := source_of(arch).NAME) in PUBLISHED:
        return f" {system}:{name} are the weights that {system} publishes."
    return " torchvision:NAME and timm:NAME are weights that these libraries publish."
