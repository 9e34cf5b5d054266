"""Load existing weights into a network for new data, and report what was not loaded.

All weights must fit, except those that depend on the dataset. The head depends on the classes: it is kept if they are
the same, else reinitialised. The first convolution depends on the images: its weights are summed for grey images, and
reinitialised if the stem was adapted to small images. Nothing else is skipped, so a file for another network is an
error, not a silently worse start. A state dict with unknown names is matched by the order of its layers.
"""

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tench.data.table import Classes
from tench.errors import TenchError
from tench.models import from_timm
from tench.models.fingerprints import archs_like, fit_hint
from tench.models.registry import source_of
from tench.models.stem import LARGEST_FITTED, first_conv
from tench.weights.by_order import layers_of, state_in_order
from tench.weights.known import Start
from tench.weights.own import differences, first_of

_ANY_SIZE = (nn.Linear, nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
"""Layers whose weights do not depend on the image size, in nearly every network."""


def load_start(module: nn.Module, start: Start, arch: str, classes: Classes) -> list[str]:
    """Load weights into a network for these classes, in place; return notes for the log, one sentence each.

    module: `arch` with fresh weights, which are kept for parameters that the file lacks. Raises TenchError, before
    anything is changed, if anything but the head and the first convolution differs.
    """
    expected = module.state_dict()
    state, by_order = _by_our_names(module, start, arch, classes)
    notes = [by_order, _fit_head(module, state, expected, start, classes), _fit_first_conv(module, state, expected)]
    for name, tensor in expected.items():
        if name.endswith(".num_batches_tracked"):  # missing in files from old versions of PyTorch
            state.setdefault(name, tensor)
    if problems := differences(expected, state):
        raise TenchError(
            f"{start.source}: the weights do not fit {arch}: {first_of(problems)}. "
            + _remedy(module, state, expected, start, arch)
        )
    module.load_state_dict(state)
    if start.options is not None and start.options.norm_eps is not None:
        notes.append(f"Epsilon of the norms is {arch}'s own, not {start.options.norm_eps:g} as before.")
    return [*start.notes, *(note for note in notes if note is not None)]


def _by_our_names(module: nn.Module, start: Start, arch: str, classes: Classes) -> tuple[dict[str, Tensor], str | None]:
    """The state under the module's names, and a note if it was matched by order."""
    state = dict(start.state)
    if not has_unknown_names(state, module.state_dict()):
        return state, None
    first = first_conv(module)
    unchecked = [*head_layers(module, len(classes)), *([first[0]] if first else [])]
    try:
        return state_in_order(module, layers_of(state), unchecked=unchecked), match_by_order_note(start.source, arch)
    except ValueError:  # the caller reports the difference
        return state, None


def has_unknown_names(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Whether a state dict shares at most half of a network's names and matches no network we know."""
    return len(state.keys() & expected.keys()) <= len(expected) // 2 and not archs_like(state)


def match_by_order_note(source: str, arch: str) -> str:
    """The note on a match by order, which only an evaluation can confirm."""
    return (
        f"{source}: its parameter names are unknown, so its layers were matched to {arch} by order and shape. Check "
        "the accuracy: tench evaluate, or tench weights --verify."
    )


def head_layers(module: nn.Module, num_classes: int) -> list[str]:
    """The names of the layers that produce the logits: usually one; none if no layer has num_classes outputs.

    It is the last linear layer or convolution with num_classes outputs, in the order of registration. Distilled
    networks (DeiT: head and head_dist) and those with a head per branch have more. These layers have the same type and
    number of outputs, and belong to a child of the root module that contains only such layers. A layer that is not the
    last of a sequence is a hidden layer, however many outputs it has.
    """
    outputs = {
        name: layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    candidates = [name for name, count in outputs.items() if count == num_classes]
    if not candidates:
        return []
    last = candidates[-1]
    kind = type(module.get_submodule(last))
    mixed = {_part(name) for name in outputs if name not in candidates or type(module.get_submodule(name)) is not kind}
    return [
        name
        for name in candidates
        if name == last or not (_part(name) in mixed or isinstance(_common_parent(module, name, last), nn.Sequential))
    ]


def _fit_head(
    module: nn.Module, state: dict[str, Tensor], expected: dict[str, Tensor], start: Start, classes: Classes
) -> str | None:
    """Adapt the head in `state` to these classes if possible; return a note on what was done."""
    layers = head_layers(module, len(classes))
    if not layers:
        return None
    num_theirs = _num_rows(state, layers[-1])
    # If a layer's number of rows differs from the last one's, it has num_classes outputs by chance.
    layers = [layer for layer in layers if _num_rows(state, layer) == num_theirs]
    names = [name for layer in layers for name in (f"{layer}.weight", f"{layer}.bias") if name in expected]
    label = ", ".join(layers)
    if num_theirs is None:
        state.update({name: expected[name] for name in names if name not in state})
        return f"Head ({label}) is initialised for {len(classes)} classes: {start.source} has no head."
    rows, how = _rows(start, classes, num_theirs)
    if rows is None:
        # A different number of inputs is not due to the classes, so the weight is kept and reported as a difference.
        state |= {name: expected[name] for name in names if _same_but_rows(state.get(name), expected[name])}
        other = "other " if num_theirs == len(classes) else ""
        return f"Head ({label}: {num_theirs} classes) reinitialised for {len(classes)} {other}classes."
    state |= {name: state[name][torch.from_numpy(rows)] for name in names if name in state}
    return f"Head ({label}: {num_theirs} classes) kept{how}"


def _rows(start: Start, classes: Classes, num_theirs: int) -> tuple[npt.NDArray[np.int32] | None, str]:
    """For each of our classes, its row in their head, and how it was matched; None if the classes differ."""
    theirs = start.classes
    if theirs is None or len(theirs) != num_theirs:
        if num_theirs != len(classes):
            return None, ""
        return np.arange(num_theirs, dtype=np.int32), (
            f" by position: {start.source} does not name its classes, but their number equals the data's."
        )
    if len(theirs) != len(classes) or not (theirs.meets_by_position(classes) or set(theirs.ids) == set(classes.ids)):
        return None, ""
    rows = theirs.index_of(classes, whose="the data", here=start.source)
    if theirs.numbered or classes.numbered:
        which = "both have" if theirs.numbered and classes.numbered else "one of them has"
        return rows, f" by position, because {which} only numbers for the classes ({start.source} and the data)."
    if np.array_equal(rows, np.arange(len(rows))):
        return rows, ": the classes are the same."
    return rows, ": the classes are the same in a different order, so its rows were reordered to match the data."


def _fit_first_conv(module: nn.Module, state: dict[str, Tensor], expected: dict[str, Tensor]) -> str | None:
    """Adapt the first convolution in `state` to these images if possible; return a note on what was done."""
    first = first_conv(module)
    if first is None or f"{first[0]}.weight" not in state:
        return None
    name, conv = f"{first[0]}.weight", first[1]
    theirs, ours = state[name], expected[name]
    if theirs.ndim != 4 or theirs.shape == ours.shape or len(theirs) != len(ours) or conv.groups != 1:
        return None
    if theirs.shape[2:] == (7, 7) and ours.shape[2:] == (3, 3) and conv.stride == (1, 1):
        state[name] = ours
        return (
            f"First convolution ({first[0]}) reinitialised: the stem is adapted to small images, with a 3x3 kernel "
            f"instead of 7x7. It is kept if the image size is larger than {LARGEST_FITTED}."
        )
    if theirs.shape[2:] != ours.shape[2:]:
        return None
    if (theirs.shape[1], ours.shape[1]) == (3, 1):
        state[name] = theirs.sum(dim=1, keepdim=True)  # timm's rule: equivalent to three equal channels
        return f"First convolution ({first[0]}): weights summed over the 3 channels, for grey images."
    if (theirs.shape[1], ours.shape[1]) == (1, 3):
        state[name] = theirs.expand(-1, 3, -1, -1) / 3
        return f"First convolution ({first[0]}): weights of 1 channel spread over 3, for colour images."
    return None


def _remedy(module: nn.Module, state: dict[str, Tensor], expected: dict[str, Tensor], start: Start, arch: str) -> str:
    other = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    owners = [module.get_submodule(name.rpartition(".")[0]) for name in other]
    is_of_arch = start.arch == arch or not any(isinstance(owner, _ANY_SIZE) for owner in owners)
    if state.keys() == expected.keys() and is_of_arch:
        size = start.image_size
        return "These weights depend on the image size: " + (
            f"add --image-size {size}, the size they were trained with."
            if size is not None
            else "add --image-size with the size they were trained with."
        )
    if start.arch is not None and start.arch != arch:
        return f"The weights belong to {start.arch}: add -a {start.arch}."
    if hint := fit_hint(start.state):
        return f"{hint.strip()} Name the right one: -a ARCH."
    is_elsewhere = source_of(arch).NAME != from_timm.NAME and from_timm.knows(arch)
    timms = f", or timm's of the same name: -a timm:{arch}" if is_elsewhere else ""
    return f"Name the network that the weights belong to: -a ARCH{timms}."


def _num_rows(state: dict[str, Tensor], layer: str) -> int | None:
    weight = state.get(f"{layer}.weight")
    return len(weight) if weight is not None and weight.ndim else None


def _same_but_rows(theirs: Tensor | None, ours: Tensor) -> bool:
    return theirs is None or theirs.shape[1:] == ours.shape[1:]


def _common_parent(module: nn.Module, one: str, other: str) -> nn.Module:
    """The smallest part of the network that contains both layers."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    path = [part for part, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return module.get_submodule(".".join(path))


def _part(name: str) -> str:
    """The child of the root module that a layer belongs to: "head" for "head.fc.fc2"."""
    return name.partition(".")[0]
