"""The geometry of a view: which part of an image, mirrored or not, at which size.

A view draws nothing itself: the numbers come in, (num_draws,) uniform in [0, 1), so that the same row and epoch give
the same view anywhere. Training views are made with OpenCV, quickly: what must shrink is averaged over areas
(antialiased), then what must grow is interpolated. The evaluation view is Pillow's own, pixel for pixel.
"""

import dataclasses
import math
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Draws = npt.NDArray[np.float64]
Fill = int | Literal["reflect"]


class View(Protocol):
    """What the loaders ask of a view."""

    @property
    def size(self) -> int: ...

    @property
    def num_draws(self) -> int: ...

    def render(self, image: Image, draws: Draws, out: Image) -> None:
        """Write the view of an image (H, W, C) into out, (size, size, C)."""


class Crop(NamedTuple):
    """A box in the image, in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResizedCrop:
    """A random part of the image, resized to a square.

    The area is drawn from `scale` of the image's, the aspect ratio log-uniformly from `ratio`; after ten misses the
    centre is taken, as much of it as the ratios allow. Source: arXiv:1409.4842, section 6; draw and fallback as in
    torchvision's RandomResizedCrop.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    TRIES = 10

    @property
    def num_draws(self) -> int:
        return 3 + 2 * self.TRIES  # flip, top, left, then area and ratio of each try

    def crop(self, height: int, width: int, draws: Draws) -> Crop:
        """The box for an image of height x width pixels."""
        flip, down, right, *tries = draws.tolist()
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for area_draw, ratio_draw in zip(tries[::2], tries[1::2], strict=True):
            area = height * width * (self.scale[0] + area_draw * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + ratio_draw * (high - low))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return Crop(int(down * (height - h + 1)), int(right * (width - w + 1)), h, w, flip < self.flip)
        w, h = width, height
        if width < self.ratio[0] * height:
            h = max(1, round(width / self.ratio[0]))
        elif width > self.ratio[1] * height:
            w = max(1, round(height * self.ratio[1]))
        return Crop((height - h) // 2, (width - w) // 2, h, w, flip < self.flip)

    def render(self, image: Image, draws: Draws, out: Image) -> None:
        crop = self.crop(image.shape[0], image.shape[1], draws)
        part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        resized = resize(part, self.size, self.size)
        out[:] = resized[:, ::-1] if crop.flip else resized


@dataclasses.dataclass(frozen=True, kw_only=True)
class PadCrop:
    """The image with a border of `pad` pixels, cropped at random to its own size, mirrored at random.

    fill: value of the border, or reflect: the image mirrored at its edge. An image of another size is first brought to
    size x size by the evaluation view. Source: He et al., arXiv:1512.03385, section 4.2.
    """

    size: int
    pad: int
    flip: float = 0.5
    fill: Fill = 0

    num_draws = 3

    def offsets(self, draws: Draws) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Top and left in the padded image, 0 to 2 pad, and flip, for draws of shape (..., 3)."""
        places = (draws[..., 1:] * (2 * self.pad + 1)).astype(np.int64)
        return places[..., 0], places[..., 1], draws[..., 0] < self.flip

    def render(self, image: Image, draws: Draws, out: Image) -> None:
        if image.shape[:2] != (self.size, self.size):
            image = EvalView(size=self.size, resize=self.size).pixels(image)
        top, left, flip = (value.item() for value in self.offsets(draws))
        part = padded(image, self.pad, self.fill)[top : top + self.size, left : left + self.size]
        out[:] = part[:, ::-1] if flip else part


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalView:
    """The field's evaluation view: the shorter side resized to `resize`, the centre size x size of that.

    Pixel for pixel what torchvision's Resize and CenterCrop give on a Pillow image, antialiasing included.
    """

    size: int
    resize: int
    interpolation: str = "bilinear"

    num_draws = 0

    def __post_init__(self) -> None:
        if self.resize < self.size:
            raise ValueError(f"a square of {self.size} pixels cannot be cut when the shorter side is {self.resize}")

    def pixels(self, image: Image) -> Image:
        """The view of an image (H, W, C): (size, size, C)."""
        from PIL import Image as Pillow

        height, width, channels = image.shape
        if height <= width:
            target = self.resize, int(self.resize * width / height)
        else:
            target = int(self.resize * height / width), self.resize
        if target != (height, width):
            picture = Pillow.fromarray(image[..., 0] if channels == 1 else image)
            filter_ = Pillow.Resampling[self.interpolation.upper()]
            image = np.asarray(picture.resize((target[1], target[0]), filter_)).reshape(*target, channels)
        top, left = (round((side - self.size) / 2) for side in target)  # round half to even, as torchvision
        return image[top : top + self.size, left : left + self.size]

    def render(self, image: Image, draws: Draws, out: Image) -> None:
        out[:] = self.pixels(image)


def padded(images: Image, pad: int, fill: Fill) -> Image:
    """Images (..., H, W, C) with a border of `pad` pixels of one value, or mirrored without repeating the edge."""
    widths = [(0, 0)] * (images.ndim - 3) + [(pad, pad), (pad, pad), (0, 0)]
    if fill == "reflect":
        return np.pad(images, widths, mode="reflect")
    return np.pad(images, widths, constant_values=fill)


def resize(image: Image, height: int, width: int) -> Image:
    """Resize (H, W, C) to (height, width, C): area averages where it shrinks, then bilinear where it grows."""
    import cv2

    shrunk = (min(height, image.shape[0]), min(width, image.shape[1]))
    result: npt.NDArray[Any] = image
    if shrunk != image.shape[:2]:
        result = cv2.resize(result, (shrunk[1], shrunk[0]), interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        result = cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR)
    return result.reshape(height, width, image.shape[2])
