"""Load a classifier by name: a run, a weights file of a run, or weights that torchvision and timm publish.

Published weights have no model.json, but the libraries publish what it would say. The state dict of another trainer
says neither its classes nor how an image becomes its input, so it can start a training but not be evaluated.
"""

import os

import torch

from tench.arguments import checked_arguments
from tench.data.table import Classes
from tench.errors import UsageError
from tench.files import is_there, user_path
from tench.models.own_network import OwnNetwork
from tench.weights import own
from tench.weights.own import Classifier, ModelCard
from tench.weights.start import PUBLISHED, published_hint, starting_weights
from tench.weights.transfer import Start


@checked_arguments("model")
def load(
    name: str | os.PathLike[str],
    device: str | torch.device = "auto",
    *,
    model: OwnNetwork | None = None,
    trust_code: bool = False,
) -> Classifier:
    """Load a trained classifier, in evaluation mode.

    name: a run or its directory, a .safetensors file with its model.json beside it, or weights that a library
    publishes: torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V1, timm:resnet50.a1_in1k. For a run of your own
    network, either pass model, the module or function as in `tench.fit`, or trust_code=True to import the function that
    the run names; importing a module runs its code. A module that is passed gets the weights in place. Raises
    UsageError if nothing has that name, the network is yours and neither is given, or something is missing to use the
    weights; TenchError if they cannot be read or downloaded.

    >>> classifier = tench.load("runs/digits")
    >>> len(classifier.classes), classifier.card.arch
    (10, 'resnet20')
    """
    text = os.fspath(name)
    system, colon, _ = text.partition(":")
    if colon and system in PUBLISHED:
        if model is not None:
            raise UsageError(f"{name}: its network is known, so it needs no model=. Leave model= out.")
        start = starting_weights(text)
        return own.classifier(start.state, _card(start), start.source, start.source, device)
    if not is_there(user_path(text)):
        raise UsageError(f"{text}: no such run directory or weights file.{published_hint(text)}")
    return own.load(text, device, model=model, trust_code=trust_code)


def _card(start: Start) -> ModelCard:
    """The model.json that a run would have written for published weights."""
    if start.num_classes is None:
        raise UsageError(
            f"{start.source}: these weights have no classifier head. To start training from them: "
            "tench train --weights."
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
    return ModelCard(
        arch=start.arch,
        classes=start.classes or Classes.numbered_to(start.num_classes),
        channels=start.channels,
        image_size=start.image_size,
        eval_resize=start.eval_resize,
        interpolation=start.interpolation,
        mean=start.mean,
        std=start.std,
    )
