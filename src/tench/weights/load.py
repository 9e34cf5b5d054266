"""Load a classifier by name: a run, its weights file, published weights, or a file of another program.

Published weights have no model.json, but the libraries publish the same information, and so do the folders of
transformers and timm. Any other file is used with the preprocessing that is usual for its network, and its classes are
numbers.
"""

import dataclasses
import logging
import os

import torch

from tench.arguments import checked_arguments
from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.files import is_there, user_path
from tench.models.fingerprints import unnamed_network
from tench.models.own_network import OwnNetwork
from tench.models.source import ModelOptions
from tench.weights import own
from tench.weights.class_names import named_classes
from tench.weights.known import Start, short_numbers
from tench.weights.onnx_file import ONNX, load_onnx
from tench.weights.own import Classifier, ModelCard
from tench.weights.plain_state import completed
from tench.weights.recognise import CARD, is_tench_weights
from tench.weights.start import PUBLISHED, published_hint, starting_weights

_log = logging.getLogger("tench")


@checked_arguments("model")
def load(
    name: str | os.PathLike[str],
    device: str | torch.device = "auto",
    *,
    arch: str | None = None,
    classes: str | None = None,
    model: OwnNetwork | None = None,
    trust_code: bool = False,
) -> Classifier:
    """Load a trained classifier, in evaluation mode.

    name: a run or its directory, a .safetensors file with its model.json in the same folder, or published weights:
    torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V1, timm:resnet50.a1_in1k. Or weights of another program: a
    PyTorch state dict, a transformers or timm folder, NNabla's .h5 or .nnp, MXNet's NAME-symbol.json or .params. Or an
    .onnx file from `export`, which runs in onnxruntime.

    arch: the network, if a file does not name it. Published weights and the folders of transformers and timm describe
    their classes and preprocessing. Any other file gets the preprocessing that is usual for its program and network,
    and numbers as classes. classes: names them: a file that lists them in order, or "imagenet" for its 1000.

    For a run that trained your own network, pass either model, the module or function as in `tench.fit`, or
    trust_code=True to import the function that the run names; importing a module runs its code. If you pass a module,
    the weights are loaded into it in place. Raises UsageError for an unknown name, for your own network without model
    or trust_code, or if the weights come without what is needed to use them; TenchError if they cannot be read or
    downloaded.

    >>> classifier = tench.load("runs/digits")
    >>> len(classifier.classes), classifier.card.arch
    (10, 'resnet20')
    """
    found = _loaded(os.fspath(name), device, arch, model, trust_code)
    if classes is None:
        return found
    card = dataclasses.replace(found.card, classes=named_classes(classes, len(found.classes)))
    return dataclasses.replace(found, card=card)


def _loaded(
    name: str, device: str | torch.device, arch: str | None, model: OwnNetwork | None, trust_code: bool
) -> Classifier:
    system, colon, _ = name.partition(":")
    if colon and system in PUBLISHED:
        if model is not None:
            raise UsageError(f"{name}: published weights come with their network. Leave model= out.")
        start = starting_weights(name, arch)
        return own.classifier(start.state, card_of(start), start.source, start.source, device)
    path = user_path(name)
    if not is_there(path):
        raise UsageError(f"{name}: no such run directory or weights file.{published_hint(name)}")
    if path.suffix == ONNX:
        if arch is not None or model is not None:
            raise UsageError(f"{name}: an ONNX file contains its network. Leave arch and model out.")
        return load_onnx(path, device)
    if is_tench_weights(path):
        if arch is not None:
            raise UsageError(f"{name}: its {CARD} names its network. Leave arch out.")
        return own.load(name, device, model=model, trust_code=trust_code)
    if model is not None:
        raise UsageError(f"{name}: model= is for a run of your own network. Name the network of this file with arch=.")
    start = whole_weights(name, arch)
    card = card_of(start)
    for note in start.notes:
        _log.info("%s", note)
    if start.is_assumed:
        _log.info("%s", _assumption(start.source, card))
    return own.classifier(start.state, card, start.source, start.source, device)


def _assumption(source: str, card: ModelCard) -> str:
    mean, std = short_numbers(card.mean), short_numbers(card.std)
    return (
        f"Note: {source} does not describe its preprocessing. The usual one of {card.arch} is assumed: "
        f"{card.image_size} px after resizing to {card.eval_resize} px, {card.interpolation}, mean {mean}, std {std}."
    )


def whole_weights(name: str, arch: str | None) -> Start:
    """Weights in a file of another program with everything needed to use them. Raises UsageError if the network is
    unknown."""
    start = starting_weights(name, arch)
    if start.num_classes is None and start.arch is not None:
        start = completed(start.state, start.arch, name, start.notes)
    if start.arch is None:
        raise unnamed_network(name, start.state)
    return start


def card_of(start: Start) -> ModelCard:
    """The model.json that a run would write for published weights, or for those of another program."""
    if start.num_classes is None:
        raise UsageError(
            f"{start.source}: these weights have no classifier head. To fine-tune them, use tench train --weights."
        )
    if start.image_size is None:
        raise UsageError(
            f"{start.source}: these weights need images that are not square, which tench does not support."
        )
    assert start.arch is not None
    assert start.channels is not None
    assert start.eval_resize is not None
    assert start.interpolation is not None
    assert start.mean is not None
    assert start.std is not None
    card = ModelCard(
        arch=start.arch,
        classes=start.classes or Classes.numbered_to(start.num_classes),
        channels=start.channels,
        image_size=start.image_size,
        eval_resize=start.eval_resize,
        squash=start.squash,
        interpolation=start.interpolation,
        mean=start.mean,
        std=start.std,
        channel_order="bgr" if start.channel_order == "bgr" else "rgb",
        options=start.options or ModelOptions(fit_stem=False),
        graph=start.graph,
    )
    try:
        card.require_valid()
    except ValueError as error:
        raise TenchError(f"{start.source}: the preprocessing cannot be used: {error}.") from error
    return card
