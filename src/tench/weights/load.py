"""A classifier ready for use, by the name of a run or a file of ours, or of weights that torchvision and timm publish.

Published weights come without a model.json; what it would say is known of them. A state dict of another trainer says
neither its classes nor how an image becomes its input, so it can be trained on from and not evaluated.
"""

from pathlib import Path

from tench.data.table import Classes
from tench.errors import UsageError
from tench.files import user_path
from tench.models.own_network import OwnNetwork
from tench.weights import own
from tench.weights.own import Classifier, ModelCard
from tench.weights.start import PUBLISHED, published_hint, starting_weights
from tench.weights.transfer import Start


def load(
    name: str | Path, device: str = "auto", *, model: OwnNetwork | None = None, trust_code: bool = False
) -> Classifier:
    """The classifier of that name, in evaluation mode.

    name: a run directory, a .safetensors file with its model.json beside it, or weights that a library publishes:
    torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V1, timm:resnet50.a1_in1k. For a run of your own network,
    either pass model, the module or function as in `tench.fit`, or trust_code=True to import the function that the run
    names; importing a module runs its code. A module that is passed gets the weights in place. Raises UsageError if
    nothing has that name, the network is yours and neither is given, or something is missing to use the weights;
    TenchError if they cannot be read or downloaded.
    """
    system, colon, _ = str(name).partition(":")
    if colon and system in PUBLISHED:
        if model is not None:
            raise UsageError(f"{name}: its network is known, so it needs no model=. Leave model= out.")
        start = starting_weights(str(name))
        return own.classifier(start.state, _card(start), start.source, start.source, device)
    if not user_path(name).exists():
        raise UsageError(f"{name}: no such run directory or weights file.{published_hint(str(name))}")
    return own.load(name, device, model=model, trust_code=trust_code)


def _card(start: Start) -> ModelCard:
    """What is known of published weights, as a run would have written it."""
    if start.num_classes is None:
        raise UsageError(f"{start.source}: are not of a whole classifier; tench train --weights can begin with them.")
    if start.image_size is None:
        raise UsageError(f"{start.source}: are for images that are not square, which is not read yet.")
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
