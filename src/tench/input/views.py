"""The geometry of a view: which part of an image, mirrored or not, at which size.

A view draws nothing itself: the numbers come in, (num_draws,) uniform in [0, 1), so that the same row and epoch give
the same view anywhere. It asks the image for the part that it will show, so no more of it is decoded. What is resized
is antialiased: in training as torch does it, in evaluation as Pillow does, pixel for pixel.
"""

import dataclasses
import math
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

from tench.data.images.picture import Decoded, Picture
from tench.input.draws import uniforms
from tench.input.resampling import Image, Interpolation, antialiased, as_pillow, pillow_axis

Draws = npt.NDArray[np.float64]
Fill = int | Literal["reflect"]

Decode = Literal["full", "reduced", "fast"]
"""How a JPEG is decoded for a training view: at its full size; at 1/2, 1/4 or 1/8 where the part is at least so many
times as large as the view; the same with less exact arithmetic (what either changes: benchmarks/input)."""

FlipForm = Literal["random", "alternate"]
"""When an image is mirrored: drawn anew in each epoch; drawn for the first one, and turned round in each one after it,
so that at a probability of 0.5 each two epochs show an image both ways. Source: Jordan, arXiv:2404.00498."""

_LARGEST = 1 - 2.0**-32
"""The largest number that is drawn."""

TestTime = Literal["none", "mirror", "mirror-shift", "ten-crop"]
"""mirror: the mean of the logits of the image and its mirror (ffcv-imagenet, whose sum ranks the classes alike).
mirror-shift: that, at half the weight; the other half are two copies shifted by one pixel, to the upper left and to the
lower right, and their mirrors (airbench; Jordan, arXiv:2404.00498). ten-crop: the mean of the probabilities of the four
corners and the centre of the central square, and their mirrors (Krizhevsky et al., "ImageNet classification with deep
convolutional neural networks", 2012, section 4.1)."""


class View(Protocol):
    """What the loaders ask of a view."""

    @property
    def size(self) -> int: ...

    @property
    def num_draws(self) -> int: ...

    @property
    def alternates(self) -> bool:
        """Whether the first number, which decides the mirroring, is drawn once and turned round from epoch to epoch."""

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        """Write the view of an image into out, (size, size, C) uint8."""


def view_draws(view: View, seed: int, epoch: int, keys: npt.NDArray[np.integer[Any]]) -> Draws:
    """The numbers with which a view is rendered in an epoch, counted from 0: (len(keys), num_draws) float64.

    keys: the numbers that the images draw with (Order.keys).
    """
    draws = uniforms(seed, epoch, keys, view.num_draws)
    if view.alternates:
        first = uniforms(seed, 0, keys, 1)[:, 0]
        draws[:, 0] = _LARGEST - first if epoch % 2 else first  # exactly one of the two is below 0.5
    return draws


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
    centre is taken, as much of it as the ratios allow. interpolation: random is either, drawn for each image, as in
    timm. Source: arXiv:1409.4842, section 6; draw and fallback as in torchvision's RandomResizedCrop.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    flip_form: FlipForm = "random"
    interpolation: Interpolation | Literal["random"] = "bilinear"
    decode: Decode = "reduced"

    TRIES = 10

    @property
    def num_draws(self) -> int:
        # flip, top, left, then area and ratio of each try; last, so that the others stay what they are, the filter
        return 3 + 2 * self.TRIES + (self.interpolation == "random")

    @property
    def alternates(self) -> bool:
        return self.flip_form == "alternate"

    def crop(self, height: int, width: int, draws: Draws) -> Crop:
        """The box for an image of height x width pixels."""
        flip, down, right, *tries = draws[: 3 + 2 * self.TRIES].tolist()
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

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        interpolation = self.interpolation
        if interpolation == "random":
            interpolation = "bilinear" if draws[-1] < 0.5 else "bicubic"
        render_crop(image, self.crop(image.height, image.width, draws), out, self.decode, interpolation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PadCrop:
    """The image with a border of `pad` pixels, cropped at random to its own size, mirrored at random.

    fill: value of the border, or reflect: the image mirrored at its edge. An image of another size is first brought to
    size x size by the evaluation view. Source: He et al., arXiv:1512.03385, section 4.2.
    """

    size: int
    pad: int
    flip: float = 0.5
    flip_form: FlipForm = "random"
    fill: Fill = 0

    num_draws = 3

    @property
    def alternates(self) -> bool:
        return self.flip_form == "alternate"

    def offsets(self, draws: Draws) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Top and left in the padded image, 0 to 2 pad, and flip, for draws of shape (..., 3)."""
        places = (draws[..., 1:] * (2 * self.pad + 1)).astype(np.int64)
        return places[..., 0], places[..., 1], draws[..., 0] < self.flip

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        pixels = EvalView(size=self.size, resize=self.size).cut(image)
        top, left, flip = (value.item() for value in self.offsets(draws))
        part = padded(pixels, self.pad, self.fill)[top : top + self.size, left : left + self.size]
        out[:] = part
        if flip:
            mirror(out)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalView:
    """The field's evaluation view: the shorter side resized to `resize`, the centre size x size of that.

    Pixel for pixel what torchvision's Resize and CenterCrop give on a Pillow image, antialiasing included.
    """

    size: int
    resize: int
    interpolation: Interpolation = "bilinear"

    num_draws = 0
    alternates = False

    def __post_init__(self) -> None:
        if self.resize < self.size:
            raise ValueError(f"a square of {self.size} pixels cannot be cut when the shorter side is {self.resize}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation {self.interpolation!r}: expected one of {get_args(Interpolation)}")

    def pixels(self, image: Image) -> Image:
        """The view of an image (H, W, C): (size, size, C)."""
        return self.cut(Decoded(image))

    def cut(self, image: Picture) -> Image:
        """The view of an image: (size, size, C), perhaps not to be written to."""
        height, width = with_shorter(self.resize, image.height, image.width)
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)  # half to even, as torchvision
        if (height, width) == (image.height, image.width):
            return image.part(top, left, self.size, self.size)
        down = pillow_axis(image.height, height, top, self.size, self.interpolation)
        across = pillow_axis(image.width, width, left, self.size, self.interpolation)
        return as_pillow(
            image.part(down.begin, across.begin, down.end - down.begin, across.end - across.begin), down, across
        )

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        out[:] = self.cut(image)


def render_crop(
    image: Picture, crop: Crop, out: Image, decode: Decode, interpolation: Interpolation = "bilinear"
) -> None:
    """Write a part of an image, resized to a square and perhaps mirrored, into out: (size, size, C)."""
    enough = 0 if decode == "full" else len(out)
    part = image.part(crop.top, crop.left, crop.height, crop.width, enough=enough, fast=decode == "fast")
    antialiased(part, out, interpolation)
    if crop.flip:
        mirror(out)


def with_shorter(side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of height x width once its shorter side is `side`; rounded as by torchvision."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def padded(images: Image, pad: int, fill: Fill) -> Image:
    """Images (..., H, W, C) with a border of `pad` pixels of one value, or mirrored without repeating the edge."""
    widths = [(0, 0)] * (images.ndim - 3) + [(pad, pad), (pad, pad), (0, 0)]
    if fill == "reflect":
        return np.pad(images, widths, mode="reflect")
    return np.pad(images, widths, constant_values=fill)


def mirror(image: Image) -> None:
    """Mirror an image (H, W, C) left to right, in place."""
    import cv2

    cv2.flip(image, 1, dst=image)  # 6 us for 224 x 224, where a copy through NumPy's negative steps takes 170
