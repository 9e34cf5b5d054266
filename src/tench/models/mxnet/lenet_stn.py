"""LeNet after a spatial transformer (arXiv:1506.02025) that rotates, shifts and scales the image to 28 px.

A small network predicts the six parameters of the transformation. MXNet initialises it like every other layer, so
training starts with a random transformation. MXNet also trains its last layer with a hundredth of the learning rate;
that concerns the optimizer and is not part of this module. Source: MXNet,
example/image-classification/symbols/lenet.py.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from tench.models.initialise import initialise_by
from tench.models.plain import lenet

_SIDE = 28


def lenet_stn(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes). Raises ValueError below 7 px."""
    if image_size < 7:
        raise ValueError("its transformer needs an image of at least 7 px")
    network = nn.Sequential()
    network.add_module("transformer", SpatialTransformer(channels))
    network.add_module("lenet", lenet(num_classes, _SIDE, channels))
    initialise_by(network, "mxnet")
    return network


class SpatialTransformer(nn.Module):
    """An affine view of the image, bilinear, black outside: (B, C, S, S) -> (B, C, 28, 28)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(channels, 30, 5, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(30, 60, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(60, 6),
        )

    def forward(self, x: Tensor) -> Tensor:
        affine = self.locate(x).view(-1, 2, 3)
        grid = F.affine_grid(affine, [x.shape[0], x.shape[1], _SIDE, _SIDE], align_corners=True)
        return F.grid_sample(x, grid, align_corners=True)
