"""VGG (arXiv:1409.1556) without batch norm: torchvision's network without the average pooling before its linear layers.

torchvision pools every map to 7x7. MXNet flattens it directly, so the size of the linear layers depends on the image
size. At 224 px both are the same. Source: MXNet, example/image-classification/symbols/vgg.py.
"""

from typing import Any

from torch import nn

from tench.compat import import_torchvision
from tench.models.initialise import initialise_by

DEPTHS = (11, 13, 16, 19)

_RGB = 3
_USUAL_SIDE = 7
_SHRINKS = 2**5


def vgg(depth: int, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes), of that depth, initialised by `xavier`.

    Raises ValueError below 32 px.
    """
    if (side := image_size // _SHRINKS) < 1:
        raise ValueError(f"its convolutions and poolings need an image of at least {_SHRINKS} px")
    models: Any = import_torchvision().models
    network: nn.Module = models.get_model(f"vgg{depth}", weights=None, init_weights=False, num_classes=num_classes)
    features, head = network.get_submodule("features"), network.get_submodule("classifier")
    assert isinstance(features, nn.Sequential)
    assert isinstance(head, nn.Sequential)
    if channels != _RGB:
        features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    network.set_submodule("avgpool", nn.Identity())
    if side != _USUAL_SIDE:
        head[0] = nn.Linear(512 * side * side, 4096)
    initialise_by(network, "xavier")
    return network
