"""Random erasing: fill rectangles of normalised images with zeros or noise.

The host places the rectangles using each image's own random numbers; the device fills them with the same few operations
for every batch. Source: arXiv:1708.04896.
"""

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from tench.input.device import sent
from tench.input.mix import inside
from tench.input.views import Draws


@dataclasses.dataclass(frozen=True, kw_only=True)
class Erasing:
    """Which part of an image is erased, and with what.

    prob: of erasing anything in an image. area: smallest and largest fraction of the image's area for a rectangle.
    ratio: smallest and largest height : width, log-uniform; a rectangle that reaches from border to border is
    resampled, at most ten times. count: maximum number of rectangles in an image; they share the area. value: zero, or
    normal noise, one number per channel or per pixel. The defaults are those of torchvision's RandomErasing; timm uses
    area 0.02 to 1/3 and ratio 0.3 to 1/0.3 (and calls the values const, rand and pixel).
    """

    prob: float
    area: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    count: int = 1
    value: Literal["zero", "channel", "pixel"] = "zero"

    TRIES = 10

    @property
    def num_draws(self) -> int:
        return 2 + self.count * (2 + 2 * self.TRIES)  # whether, how many; top, left and the tries of each rectangle

    def boxes(self, draws: Draws, height: int, width: int) -> npt.NDArray[np.int64]:
        """The boxes for (B, num_draws) uniform numbers, in images of height x width pixels.

        Returns (B, count, 4) int64: top, left, bottom and right; empty if nothing is erased.
        """
        whether, how_many = draws[:, 0], 1 + np.floor(draws[:, 1] * self.count)
        rectangles = draws[:, 2:].reshape(len(draws), self.count, 2 + 2 * self.TRIES)
        place, tries = rectangles[..., :2], rectangles[..., 2:].reshape(len(draws), self.count, self.TRIES, 2)
        low, high = np.log(self.ratio)
        area = (self.area[0] + tries[..., 0] * (self.area[1] - self.area[0])) * height * width
        area /= how_many[:, None, None]
        ratio = np.exp(low + tries[..., 1] * (high - low))
        sides = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], axis=-1)))  # (B, count, TRIES, 2)
        fits = (sides < (height, width)).all(axis=-1)
        first = fits.argmax(axis=-1)[..., None, None]
        chosen = np.take_along_axis(sides, first, axis=2)[:, :, 0]  # (B, count, 2)
        start = np.floor(place * ((height, width) - chosen + 1))
        boxes = np.concatenate([start, start + chosen], axis=-1).astype(np.int64)
        is_drawn = (whether < self.prob)[:, None] & (np.arange(self.count) < how_many[:, None]) & fits.any(axis=-1)
        return np.where(is_drawn[..., None], boxes, 0)

    def apply(self, images: torch.Tensor, boxes: npt.NDArray[np.int64], seed: int) -> torch.Tensor:
        """Images (B, C, H, W) float with the boxes (B, count, 4) filled. seed: of the noise."""
        places = sent(boxes, images.device)
        generator = torch.Generator(images.device).manual_seed(seed)
        for number in range(self.count):
            images = torch.where(inside(places[:, number], images), self._fill(images, generator), images)
        return images

    def _fill(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        shape = {"zero": (), "channel": (*images.shape[:2], 1, 1), "pixel": images.shape}[self.value]
        if self.value == "zero":
            return images.new_zeros(shape)
        return torch.randn(shape, generator=generator, device=images.device, dtype=images.dtype)
