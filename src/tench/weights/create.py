"""Create a network for your own training loop, with fresh or pretrained weights."""

import logging
from pathlib import Path

from torch import nn

from tench.arguments import checked_arguments
from tench.data.table import Classes
from tench.errors import UsageError
from tench.models import create, stem_note
from tench.models.registry import name_in_source, source_of
from tench.models.source import AS_MADE
from tench.weights.start import PUBLISHED, Start, load_start, starting_weights

_log = logging.getLogger("tench")


@checked_arguments()
def create_model(
    name: str,
    num_classes: int | Classes | None = None,
    *,
    pretrained: bool | str | Path = False,
    image_size: int | None = None,
    channels: int = 3,
) -> nn.Module:
    """Create a network by the name that `tench.list_models` lists: (B, channels, S, S) float -> (B, classes) logits.

    num_classes: a number, or the `Classes` of a dataset; None: the number the weights have, else the network's usual
    number. pretrained: False for fresh weights, initialised from torch's global generator; True for the weights that
    torchvision or timm publishes under this name (downloaded into that library's cache); or the name or path of
    weights: "timm:resnet50.a1_in1k", "torchvision:resnet50", a run, a file. If the weights have other classes, the last
    layer is reinitialised. image_size: S, the side of the images in pixels; None: the size the weights were trained
    with, else the network's usual size. Up to 80 pixels, the first layers of torchvision's and timm's networks are
    adapted to small images. channels: 1 or 3.

    Each change or replacement is logged in one sentence. The network is in training mode. Pretrained weights expect the
    normalisation they were trained with: `Recipe.replace(weights=...)` passes it to `tench.loader`. Raises UsageError
    for an unknown name or a value that the network does not accept, TenchError for weights that cannot be downloaded or
    belong to another network.

    >>> model = tench.create_model("resnet20", num_classes=10, image_size=32)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    start = _start(name, pretrained)
    usual = source_of(name).usual_input(name_in_source(name))
    classes = _classes(num_classes, start, usual.num_classes)
    size = _first(image_size, start.image_size if start else None, usual.image_size)
    options = (start and start.options) or AS_MADE
    network = create(name, num_classes=len(classes), image_size=size, channels=channels, options=options)
    if note := stem_note(name, num_classes=len(classes), image_size=size, channels=channels, options=options):
        _log.info("%s", note)
    if start is not None:
        for note in load_start(network, start, name, classes):
            _log.info("Weights: %s", note)
    return network.train()


def _start(name: str, pretrained: bool | str | Path) -> Start | None:
    if pretrained is False:
        return None
    if pretrained is not True:
        return starting_weights(str(pretrained))
    system = source_of(name).NAME
    if system not in PUBLISHED:
        raise UsageError(
            f"{name}: this network has no published weights. Pass a run or a file as pretrained=, or leave it out."
        )
    return starting_weights(f"{system}:{name_in_source(name)}")


def _classes(asked: int | Classes | None, start: Start | None, usual: int) -> Classes:
    if isinstance(asked, Classes):
        return asked
    count = _first(asked, start.num_classes if start else None, usual)
    if count < 1:
        raise UsageError(f"num_classes must be at least 1, got {count}.")
    if start is not None and start.classes is not None and len(start.classes) == count:
        return start.classes
    return Classes.numbered_to(count)


def _first(*values: int | None) -> int:
    """The first value that is not None."""
    return next(value for value in values if value is not None)
