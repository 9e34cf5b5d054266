"""Weights to start a training from, by file or by name, with what is known of them."""

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from tench.errors import TenchError, UsageError
from tench.files import user_path
from tench.models.info import usual_dry_run
from tench.models.registry import source_of
from tench.weights import own
from tench.weights.files import SAFETENSORS, StateFile, read_state
from tench.weights.published import timm_weights, torchvision_weights
from tench.weights.renaming import as_torchvision
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
    path = user_path(name)
    if not path.exists():
        raise UsageError(f"{name}: no such file or run directory.{published_hint(name)}")
    card_path = path.with_name(own.CARD)
    if path.is_dir() or (path.suffix == SAFETENSORS and card_path.exists()):
        state, card = own.read(path)
        return _of_card(state, card, name)
    found = read_state(path)
    if found.arch is not None and card_path.exists() and (card := own.read_card(path.parent)).arch == found.arch:
        return dataclasses.replace(_of_card(found.state, card, name), notes=_notes(found.choice))
    found = dataclasses.replace(found, state=as_torchvision(found.state))
    arch, whose = _network_of(found)
    return Start(state=found.state, source=name, arch=arch, notes=_notes(found.choice, whose))


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


def _network_of(found: StateFile) -> tuple[str | None, str | None]:
    """(name for `create`, note) of the network that a file names without saying whose name that is.

    Where several networks are called so, the one whose weights have the names of the file's, else the first.
    """
    called = found.arch
    if called is None:
        return None, None
    archs: list[str] = []
    for arch in (called, f"timm:{called}", f"edgeai:{called}"):
        if _is_known(arch) and source_of(arch) not in map(source_of, archs):
            archs.append(arch)
    if len(archs) < 2:
        return (archs[0] if archs else None), None
    theirs = _names(found.state)
    arch = next((arch for arch in archs if _names_in(arch) == theirs), archs[0])
    if arch == archs[0]:
        return arch, None
    return arch, f"The file calls its network {called}, and the names of its weights are those of {arch}."


def _names_in(arch: str) -> set[str]:
    """The names of a network's weights."""
    return usual_dry_run(arch, lambda network, _: _names(network.state_dict()))


def _names(state: Mapping[str, Tensor]) -> set[str]:
    """Without the counters, which files of old versions of PyTorch do not have."""
    return {name for name in state if not name.endswith(".num_batches_tracked")}


def _notes(*notes: str | None) -> tuple[str, ...]:
    return tuple(note for note in notes if note is not None)


def _is_known(arch: str) -> bool:
    """Whether `create` takes the name."""
    try:
        return bool(source_of(arch))
    except TenchError:
        return False


def published_hint(name: str) -> str:
    """Where the name is a network's, how its published weights are called."""
    arch = name.partition(".")[0]
    if _is_known(arch) and (system := source_of(arch).NAME) in PUBLISHED:
        return f" {system}:{name} are the weights that {system} publishes."
    return " torchvision:NAME and timm:NAME are weights that these libraries publish."
