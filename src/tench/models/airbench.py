"""airbench's small, fast networks for CIFAR-sized images.

    whiten   conv2x2 with fixed filters (plus and minus the whitened directions of 2x2 training patches) - GELU
    stage    conv3x3 - max pooling 2 - BN - GELU, then conv3x3 - BN - GELU; airbench96 has a third convolution and a
             residual connection from after the pooling to before the last GELU
    head     global max pooling, linear without bias, logits divided by 9

Convolutions are initialised to the identity on their first channels, and batch norms have no scale. Source:
arXiv:2404.00498, airbench94 and airbench96 of cifar10-airbench. Made for 32 px; any size of at least 9 px works.
"""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

_LOGIT_SCALE = 1 / 9
_EPS = 1e-12
_WHITEN_EPS = 5e-4
_PATCH = 2


class Airbench(nn.Sequential):
    """The network: (B, channels, S, S) -> (B, num_classes). Call `fit_whitening` before training.

    widths: channels of the three stages. convs: convolutions per stage, 2 or 3. momentum: of the batch norms, as torch
    defines it. Raises ValueError below 9 px.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        *,
        widths: Sequence[int],
        convs: int,
        momentum: float,
    ) -> None:
        if image_size < 9:
            raise ValueError("a 2x2 convolution and three poolings need at least 9 px")
        super().__init__()
        width = 2 * channels * _PATCH**2
        self.whiten = nn.Conv2d(channels, width, _PATCH)
        self.add_module("activation", nn.GELU())
        for number, stage_width in enumerate(widths, start=1):
            self.add_module(f"stage{number}", Stage(width, stage_width, convs, momentum))
            width = stage_width
        self.add_module("pool", nn.AdaptiveMaxPool2d(1))
        self.add_module("flatten", nn.Flatten())
        self.add_module("head", nn.Linear(width, num_classes, bias=False))
        self.add_module("scale", Scale(_LOGIT_SCALE))
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(cast(Tensor, self.whiten.bias))

    def fit_whitening(self, images: Tensor) -> None:
        """Compute the first layer's filters from a few thousand normalised training images (N, channels, H, W)."""
        self.whiten.weight.data.copy_(whitening_filters(images))


class Stage(nn.Module):
    """Convolutions at half the input size; the first one comes before the pooling."""

    def __init__(self, in_channels: int, out_channels: int, convs: int, momentum: float) -> None:
        super().__init__()
        self.residual = convs > 2
        self.pool = nn.MaxPool2d(2)
        self.activation = nn.GELU()
        widths = [in_channels, *[out_channels] * convs]
        self.convs = nn.ModuleList(_conv(*pair) for pair in itertools.pairwise(widths))
        self.norms = nn.ModuleList(_norm(out_channels, momentum) for _ in range(convs))

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.activation(self.norms[0](self.pool(self.convs[0](x))))
        x = first
        for conv, norm in zip(self.convs[1:-1], self.norms[1:-1], strict=True):
            x = self.activation(norm(conv(x)))
        x = self.norms[-1](self.convs[-1](x))
        return self.activation(x + first if self.residual else x)  # type: ignore[no-any-return]


class Scale(nn.Module):
    """Multiplies its input by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def whitening_filters(images: Tensor) -> Tensor:
    """Plus and minus the eigenvectors of the covariance of 2x2 patches, each divided by the root of its eigenvalue.

    images: (N, C, H, W) float, normalised; the mean patch is assumed to be 0. Returns (8 C, C, 2, 2), in order of
    decreasing variance.
    """
    channels = images.shape[1]
    patches = images.float().unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)  # (N, C, H - 1, W - 1, 2, 2)
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * _PATCH**2)
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))  # ascending
    scaled = (vectors / (values + _WHITEN_EPS).sqrt()).T.flip(0).reshape(-1, channels, _PATCH, _PATCH)
    return torch.cat([scaled, -scaled])


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[:in_channels])
    return conv


def _norm(num_channels: int, momentum: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(num_channels, eps=_EPS, momentum=momentum)
    norm.weight.requires_grad_(False)
    return norm
