"""The geometry of a view: which part of an image, mirrored or not, at which size.

A view generates no random numbers itself: it is given numbers, (num_draws,) uniform in [0, 1), so the same row and
epoch always have the same view. It asks the image only for the part it shows, so no more is decoded. Resizing is
antialiased: in training as in torch, in evaluation pixel for pixel as in Pillow.
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
"""How a JPEG is decoded for a training view. full: at its own size. reduced: at 1/2, 1/4 or 1/8 if the part is at least
2, 4 or 8 times as large as the view. fast: like reduced, with less exact arithmetic. See benchmarks/input."""

FlipForm = Literal["random", "alternate"]
"""When an image is mirrored. random: chosen at random in each epoch. alternate: chosen at random in the first epoch and
toggled in each later one, so at a probability of 0.5 any two consecutive epochs show both. Source: Jordan,
arXiv:2404.00498."""

_LARGEST = 1 - 2.0**-32
"""The largest random number."""

TestTime = Literal["none", "mirror", "mirror-shift", "ten-crop"]
"""mirror: the mean of the logits of the image and its mirror image (ffcv-imagenet; its sum ranks classes the same).
mirror-shift: that with half the weight; the other half comes from two copies shifted by one pixel, to the upper left
and to the lower right, and their mirror images (airbench; Jordan, arXiv:2404.00498). ten-crop: the mean of the
probabilities of the four corners and the centre of the central square, and their mirror images (Krizhevsky et al.,
"ImageNet classification with deep convolutional neural networks", 2012, section 4.1)."""


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet, red, green and blue, scaled to 0..1; nearly all networks expect them."""


def usual_resize(image_size: int) -> int:
    """The side in pixels to which the shorter side is usually resized before the centre is cropped: 256 for 224."""
    return round(image_size / 0.875)


class View(Protocol):
    """What the loaders need from a view."""

    @property
    def size(self) -> int: ...

    @property
    def num_draws(self) -> int: ...

    @property
    def alternates(self) -> bool:
        """Whether the first number, which decides mirroring, is fixed for all epochs and reversed from one to the
        next."""

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        """Write the view of an image into out, (size, size, C) uint8."""


def view_draws(view: View, seed: int, epoch: int, keys: npt.NDArray[np.integer[Any]]) -> Draws:
    """The random numbers for a view in an epoch, counted from 0: (len(keys), num_draws) float64.

    keys: the keys of the images' random numbers (Order.keys).
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
    """A random part of an image, resized to a square.

    The area is uniform in `scale` times the image's area, the aspect ratio log-uniform in `ratio`; after ten misses it
    is the centre, as large as the ratios allow. interpolation: random picks one of the two for each image, as in timm.
    Source: arXiv:1409.4842, section 6; sampling and fallback as in torchvision's RandomResizedCrop.
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
        # flip, top, left, area and ratio of each try, and the filter: last, so that the others do not change
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
    """The image with a border of `pad` pixels, randomly cropped to its own size and randomly mirrored.

    fill: value of the border, or reflect: the image mirrored at its edge. An image of another size is first reduced to
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
    """The usual evaluation view: the shorter side resized to `resize`, then the centre of size x size.

    Equals torchvision's Resize and CenterCrop of a Pillow image pixel for pixel, antialiasing included. squash: resize
    both sides to `resize`, changing the aspect ratio.
    """

    size: int
    resize: int
    interpolation: Interpolation = "bilinear"
    squash: bool = False

    num_draws = 0
    alternates = False

    def __post_init__(self) -> None:
        if self.resize < self.size:
            raise ValueError(f"a square of {self.size} pixels does not fit if the shorter side is {self.resize}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation {self.interpolation!r}: expected one of {get_args(Interpolation)}")

    def pixels(self, image: Image) -> Image:
        """The view of an image (H, W, C): (size, size, C)."""
        return self.cut(Decoded(image))

    def cut(self, image: Picture) -> Image:
        """The view of an image: (size, size, C), possibly read-only."""
        height = width = self.resize
        if not self.squash:
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
    """Write a part of an image, resized to a square and mirrored if the crop says so, into out: (size, size, C)."""
    enough = 0 if decode == "full" else len(out)
    part = image.part(crop.top, crop.left, crop.height, crop.width, enough=enough, fast=decode == "fast")
    antialiased(part, out, interpolation)
    if crop.flip:
        mirror(out)


def with_shorter(side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of height x width after resizing its shorter side; rounded as in torchvision."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def padded(images: Image, pad: int, fill: Fill) -> Image:
    """Images (..., H, W, C) with a border of `pad` pixels: of one value, or mirrored without repeating the edge."""
    widths = [(0, 0)] * (images.ndim - 3) + [(pad, pad), (pad, pad), (0, 0)]
    if fill == "reflect":
        return np.pad(images, widths, mode="reflect")
    return np.pad(images, widths, constant_values=fill)


def mirror(image: Image) -> None:
    """Mirror an image (H, W, C) left to right, in place."""
    import cv2

    cv2.flip(image, 1, dst=image)  # 6 us for 224 x 224; a copy through NumPy's negative steps takes 170
