"""Mixup and cutmix: mix each image of a batch, and its label, with another image of the batch.

The host turns the random numbers into small arrays, with one entry per batch or per image, and the device does the same
few operations in both cases, without making the host wait. Copying a box rewrites the whole batch, which costs as much
as copying the batch first. Label smoothing is not part of this: it is linear, so the loss can smooth a mixed target
like a label.

Sources: arXiv:1710.09412 (mixup), arXiv:1905.04899 (cutmix).
"""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from tench.input.device import sent
from tench.input.views import Draws

Form = Literal["torchvision", "timm"]
Mode = Literal["batch", "pair", "elem"]


class Mixed(NamedTuple):
    """How images are mixed: n is 1 for the whole batch, or the number of images.

    weight: (n, 1, 1, 1) float32, of the image itself; 1 if a box is copied. box: (n, 4) int64, top, left, bottom and
    right of the part that comes from the partner; empty if there is none. share: (n, 1) float32, of the image's own
    label.
    """

    weight: npt.NDArray[np.float32]
    box: npt.NDArray[np.int64]
    share: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchMix:
    """Which images are mixed, and how much.

    mixup, cutmix: alpha of the Beta(alpha, alpha) distribution of an image's own share; 0: not used. prob: probability
    of mixing. switch_prob: probability of cutmix if both are used. mode: one random choice per batch, per pair of
    images that are each other's partners, or per image. form: partners and boxes as in torchvision (MixUp and CutMix of
    transforms.v2: the batch rolled by one) or as in timm (data.mixup.Mixup: the batch reversed). timm's form with mode
    elem and only mixup is also NNabla's.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0
    switch_prob: float = 0.5
    mode: Mode = "batch"
    form: Form = "torchvision"

    num_draws = 5  # whether, which, how much, and where: down and right

    def drawn(self, draws: Draws, height: int, width: int) -> Mixed:
        """The mixing of images of height x width pixels that (n, 5) uniform numbers select."""
        whether, which, much, down, right = draws.T
        is_mixed = whether < self.prob
        is_cutmix = is_mixed & (which < self.switch_prob if self.mixup and self.cutmix else self.cutmix > 0)
        share = np.where(is_cutmix, beta(self.cutmix, much), beta(self.mixup, much))
        share[~is_mixed] = 1.0
        cut = _boxes(self.form, share, down, right, height, width)
        box = np.where(is_cutmix[:, None], cut, 0)
        taken = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        weight = np.where(is_cutmix, 1.0, share)
        share = np.where(is_cutmix, 1.0 - taken / (height * width), share)  # the box may be clipped at the border
        return Mixed(weight.astype(np.float32)[:, None, None, None], box, share.astype(np.float32)[:, None])

    def apply(
        self, images: torch.Tensor, labels: torch.Tensor, num_classes: int, mixed: Mixed
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The images (B, C, H, W) float, mixed, and their targets (B, num_classes) float32.

        labels: (B,) int64. mixed: with one entry, or with B.
        """
        weight, box, share = (sent(part, images.device) for part in mixed)
        partners, targets = self._partners(images), F.one_hot(labels, num_classes).float()
        if (mixed.weight < 1).any():
            images = torch.lerp(partners, images, weight)
        if mixed.box.any():
            images = torch.where(inside(box, images), partners, images)
        return images, torch.lerp(self._partners(targets), targets, share)

    def _partners(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.roll(1, 0) if self.form == "torchvision" else batch.flip(0)


def beta(alpha: float, draws: Draws) -> Draws:
    """Uniform numbers transformed to the Beta(alpha, alpha) distribution; ones for alpha 0."""
    from scipy.special import betaincinv

    values: Draws = betaincinv(alpha, alpha, draws) if alpha > 0 else np.ones_like(draws)
    return values


def inside(box: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Which pixels of images (B, C, H, W) are in boxes (n, 4) of top, left, bottom, right: (n, 1, H, W) bool."""
    top, left, bottom, right = box[:, :, None, None].unbind(1)  # (n, 1, 1)
    y = torch.arange(images.shape[2], device=images.device)[:, None]
    x = torch.arange(images.shape[3], device=images.device)
    return ((y >= top) & (y < bottom) & (x >= left) & (x < right))[:, None]


def _boxes(form: Form, share: Draws, down: Draws, right: Draws, height: int, width: int) -> npt.NDArray[np.int64]:
    """Boxes of 1 - share of the area around a random centre, clipped at the border: (n, 4)."""
    side = np.sqrt(1.0 - share)
    ends = []
    for centre, pixels in ((np.floor(down * height), height), (np.floor(right * width), width)):
        if form == "torchvision":
            before = after = np.floor(0.5 * side * pixels)
        else:
            length = np.floor(pixels * side)
            before, after = length // 2, (length + 1) // 2
        ends.append((np.clip(centre - before, 0, pixels), np.clip(centre + after, 0, pixels)))
    (top, bottom), (left, right_) = ends
    return np.stack([top, left, bottom, right_], axis=1).astype(np.int64)
