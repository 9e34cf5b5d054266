"""Load a classifier by name: a run, a weights file of a run, or weights that torchvision and timm publish.

Published weights have no model.json, but the libraries publish what it would say. The state dict of another trainer
says neither its classes nor how an image becomes its input, so it can start a training but not be evaluated.
"""

import os

from tench.data.table import Classes
from tench.errors import UsageError
from tench.files import is_there
from tench.weights import own
from tench.weights.own import Classifier, ModelCard
from tench.weights.start import PUBLISHED, published_hint, starting_weights
from tench.weights.transfer import Start


def load(name: str | os.PathLike[str], device: str = "auto") -> Classifier:
    """Load a trained classifier, in evaluation mode.

    name: a run or its directory, a .safetensors file with its model.json beside it, or weights that a library
    publishes: torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V1, timm:resnet50.a1_in1k. Raises UsageError if
    there is nothing of that name, or if it lacks something that its use requires; TenchError if it cannot be read or
    downloaded.
    """
    text = os.fspath(name)
    system, colon, _ = text.partition(":")
    if colon and system in PUBLISHED:
        start = starting_weights(text)
        return own.classifier(start.state, _card(start), start.source, start.source, device)
    if text.startswith("~") and not is_there(text):
        text = os.path.expanduser(text)
    if not is_there(text):
        raise UsageError(f"{name}: no such run directory or weights file.{published_hint(text)}")
    return own.load(text, device)


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
