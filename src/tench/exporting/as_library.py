"""Find torchvision's or timm's network that computes the same as a classifier, and load its weights into it.

A name is not enough: the libraries have networks of the same name that differ, and tench fits stems to small images.
So each candidate gets the weights, by name or by order, and is accepted only if its logits agree.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from tench.errors import UsageError
from tench.models import from_timm, from_torchvision, stem_note
from tench.models.fingerprints import archs_like
from tench.models.own_network import is_own
from tench.models.registry import name_in_source, source_of
from tench.models.source import NetworkSource
from tench.models.stem import LARGEST_FITTED, first_conv
from tench.weights.by_order import layers_of, state_in_order
from tench.weights.own import Classifier, ModelCard
from tench.weights.same_logits import probe_images, same_logits

LIBRARIES = {source.NAME: source for source in cast(tuple[NetworkSource, ...], (from_timm, from_torchvision))}


def as_library(classifier: Classifier, library: str) -> tuple[str, nn.Module]:
    """(name, network with these weights) in a library, timm or torchvision, on the CPU in evaluation mode.

    The network expects RGB images; the channels of the first convolution are reversed if ours expects BGR. Raises
    UsageError if the library has no network with the same logits.
    """
    card, source = classifier.card, LIBRARIES[library]
    module = classifier.module.cpu()
    images = probe_images(card.channels, card.image_size)
    state = dict(module.state_dict())
    with torch.inference_mode():
        expected = module(images)
    for name in _candidates(card, state, source):
        try:
            network = source.build(
                name, num_classes=len(card.classes), image_size=card.image_size, channels=card.channels
            )
            network.load_state_dict(_under_names_of(network, state))
        except Exception:  # each network has its own error for an image size or weights that do not fit
            continue
        if card.channel_order == "bgr":
            _reverse_first(network)
        with torch.inference_mode():
            found = network.eval()(images.flip(1) if card.channel_order == "bgr" else images)
        if same_logits(found, expected):
            return name, network
    raise UsageError(
        f"{classifier.source}: {library} has no network that computes the same as {card.arch}.{_stem(card, library)} "
        f"Nothing was written. {library} has its own networks for images of more than {LARGEST_FITTED} px: train one "
        "of them."
    )


def _stem(card: ModelCard, library: str) -> str:
    """A remark on the stem, if tench fitted it to small images."""
    if is_own(card.arch) or card.graph is not None:
        return ""
    size = {"image_size": card.image_size, "channels": card.channels}
    if stem_note(card.arch, num_classes=len(card.classes), options=card.options, **size) is None:
        return ""
    return f" tench fits its stem to images of {card.image_size} px; {library} has only the unfitted stem."


def _candidates(card: ModelCard, state: dict[str, Tensor], source: NetworkSource) -> Iterator[str]:
    """Names to try: only the network itself if it is this library's; else the same name, then the same tensors by name,
    then by shape."""
    seen: set[str] = set()
    known = card.graph is None and not is_own(card.arch)
    arch = card.arch
    names = [name_in_source(arch)] if known and source.knows(name_in_source(arch)) else []
    if known and source_of(arch) is source:
        yield from names
        return
    for other in (*archs_like(state), *archs_like(state, by_names=False)):
        if source_of(other).NAME == source.NAME:
            names.append(name_in_source(other))
        elif source.knows(other):
            names.append(other)
    for name in names:
        if name not in seen:
            seen.add(name)
            yield name


def _under_names_of(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if network.state_dict().keys() == state.keys():
        return state
    return state_in_order(network, layers_of(state))


def _reverse_first(network: nn.Module) -> None:
    """Make a network that expects BGR images expect RGB."""
    first = first_conv(network)
    assert first is not None
    with torch.no_grad():
        first[1].weight.copy_(first[1].weight.flip(1))
