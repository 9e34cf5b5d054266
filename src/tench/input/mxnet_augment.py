"""MXNet's default augmenter as a view: what ImageRecordIter does to a training image, in its order.

Use it to reproduce a training of MXNet's example/image-classification. MXNet's random streams cannot be reproduced, but
its pixels can: without randomness they equal MXNet 1.9.1's, except for changes in OpenCV itself (cubic interpolation by
1 of 255, affine transformations by up to 4 in version 5).

Source: Apache MXNet v1.x, src/io/image_aug_default.cc, whose parameter names are used.
"""

import dataclasses
import itertools
import math
import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from tench.data.images.image import ImageError
from tench.data.images.picture import Picture
from tench.errors import UsageError, nearest
from tench.input.draws import normal
from tench.input.mxnet_steps import AUTO, affine, between, cut, jittered, lit, resized, shifted_hls, short_side
from tench.input.resampling import Image
from tench.input.views import Draws, mirror, padded

Level = Literal["0", "1", "2", "3", "cifar10", "imagenet"]

_LEVEL_1 = {"rand_crop": True, "rand_mirror": True, "fill_value": 127}
_LEVEL_2 = _LEVEL_1 | {"random_h": 36, "random_s": 50, "random_l": 50}
LEVELS: Mapping[Level, Mapping[str, Any]] = MappingProxyType(
    {
        "0": {"fill_value": 127},
        "1": _LEVEL_1,
        "2": _LEVEL_2,
        "3": _LEVEL_2 | {"max_rotate_angle": 10, "max_shear_ratio": 0.1, "max_aspect_ratio": 0.25},
        "cifar10": _LEVEL_1 | {"pad": 4, "fill_value": 0},
        "imagenet": {
            "random_resized_crop": True,
            "min_random_area": 0.08,
            "min_aspect_ratio": 3 / 4,
            "max_aspect_ratio": 4 / 3,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "pca_noise": 0.1,
            "rand_mirror": True,
            "fill_value": 127,
        },
    }
)
"""The settings of the programs in example/image-classification: levels 1 to 3 of set_data_aug_level, and those of
train_cifar10.py (commented out) and --use-imagenet-data-augmentation. They fill with 127, not with MXNet's 255."""

_RANDOM = 10  # inter_method: one of 0 to 4, at random
_ORDERS = tuple(itertools.permutations(range(3)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MXNetAugment:
    """The view defined by ImageRecordIter's parameters of the same names; data_shape is size x size.

    Steps: resize, affine transformation, padding, crop, colour, HLS, PCA noise, mirror. Raises UsageError for
    parameters that MXNet rejects or that contradict each other.
    """

    size: int
    resize: int = -1
    rotate: int = -1
    max_rotate_angle: int = 0
    rotate_list: tuple[int, ...] = ()
    max_shear_ratio: float = 0.0
    min_random_scale: float = 1.0
    max_random_scale: float = 1.0
    min_aspect_ratio: float | None = None
    max_aspect_ratio: float = 0.0
    min_img_size: float = 0.0
    max_img_size: float = 1e10
    pad: int = 0
    fill_value: int = 255
    random_resized_crop: bool = False
    min_random_area: float = 1.0
    max_random_area: float = 1.0
    min_crop_size: int = -1
    max_crop_size: int = -1
    rand_crop: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    random_h: int = 0
    random_s: int = 0
    random_l: int = 0
    pca_noise: float = 0.0
    mirror: bool = False
    rand_mirror: bool = False
    inter_method: int = 1

    TRIES = 10
    num_draws = 25 + 3 * TRIES
    alternates = False

    def __post_init__(self) -> None:
        scaled = (self.min_random_scale, self.max_random_scale) != (1.0, 1.0)
        sized = self.max_crop_size != -1 or self.min_crop_size != -1
        refused = [
            (
                self.random_resized_crop and (self.rand_crop or scaled or sized),
                "random_resized_crop excludes rand_crop, random scales and crop sizes",
            ),
            (
                sized and not 0 < self.min_crop_size <= self.max_crop_size,
                "min_crop_size and max_crop_size must both be set, 0 < min <= max",
            ),
            (not 0 < self.min_random_scale <= self.max_random_scale, "scales must be 0 < min <= max"),
            (not 0 < self.min_random_area <= self.max_random_area, "areas must be 0 < min <= max"),
            (not 0 < self._aspect[0] <= self._aspect[1], "aspect ratios must be 0 < min <= max"),
            (
                self.inter_method not in (0, 1, 2, 3, 4, AUTO, _RANDOM),
                "inter_method must be one of 0, 1, 2, 3, 4, 9, 10",
            ),
            (not 0 <= self.fill_value <= 255, "fill_value must be 0 to 255"),
            (
                min(*self._jitter, *self._hls, self.pca_noise, self.max_rotate_angle, self.max_shear_ratio) < 0,
                "limits of ranges around 0 must be >= 0",
            ),
            (self.pad < 0, "pad must be >= 0"),
            (self.resize != -1 and self.resize < 1, "resize must be >= 1, or -1 for none"),
        ]
        for is_wrong, what in refused:
            if is_wrong:
                raise UsageError(f"MXNet's augmentation: {what}.")

    @property
    def needs_colour(self) -> bool:
        """Whether a step requires three channels."""
        return any((*self._jitter, *self._hls, self.pca_noise))

    @property
    def _jitter(self) -> tuple[float, float, float]:
        return self.brightness, self.contrast, self.saturation

    @property
    def _hls(self) -> tuple[int, int, int]:
        return self.random_h, self.random_l, self.random_s

    @property
    def _aspect(self) -> tuple[float, float]:
        if self.min_aspect_ratio is not None:
            return self.min_aspect_ratio, self.max_aspect_ratio
        return 1 - self.max_aspect_ratio, 1 + self.max_aspect_ratio

    @property
    def _is_affine(self) -> bool:
        own = self.random_resized_crop  # uses scale and ratio for its crop
        return (
            self.max_rotate_angle > 0
            or self.max_shear_ratio > 0
            or self.rotate > 0
            or bool(self.rotate_list)
            or (self.min_random_scale, self.max_random_scale) != (1.0, 1.0)
            or (self._aspect != (1.0, 1.0) and not own)
            or (self.min_img_size, self.max_img_size) != (0.0, 1e10)
        )

    def render(self, picture: Picture, draws: Draws, out: Image) -> None:
        """Write the view of an image into out, (size, size, C)."""
        image = picture.part(0, 0, picture.height, picture.width)
        mirrored, order, *methods = draws[:6].tolist()
        place, colours, noise, tries = draws[6:13], draws[13:22], draws[22:25], draws[25:]
        if self.resize != -1:
            height, width = short_side(image.shape[0], image.shape[1], self.resize)
            image = resized(image, height, width, self._method(methods[0]))
        if self._is_affine:
            image = self._affine(image, place[:4], self._method(methods[1]))
        if self.pad > 0:
            image = padded(image, self.pad, self.fill_value)
        image = self._cropped(image, place[4:], tries, methods[2:])
        if any(self._jitter):
            ranges = np.array(self._jitter)
            image = jittered(image, (1 + between(-ranges, ranges, colours[:3])).tolist(), _ORDERS[int(order * 6)])
        if any(self._hls):
            ranges = np.array(self._hls)
            near_middle = (colours[3:6] + 4 * colours[6:]) / 5
            image = shifted_hls(image, np.trunc(between(-ranges, ranges, near_middle)).astype(np.int64))
        if self.pca_noise:
            image = lit(image, self.pca_noise * np.array([normal(uniform) for uniform in noise.tolist()]))
        out[:] = image
        if self.mirror or (self.rand_mirror and mirrored < 0.5):
            mirror(out)

    def _method(self, draw: float) -> int:
        return int(draw * 5) if self.inter_method == _RANDOM else self.inter_method

    def _affine(self, image: Image, draws: Draws, method: int) -> Image:
        shear, turn, scale, ratio = draws.tolist()
        angle = -self.max_rotate_angle + int(turn * (2 * self.max_rotate_angle + 1))
        if self.rotate > 0:
            angle = self.rotate
        if self.rotate_list:
            angle = self.rotate_list[int(turn * len(self.rotate_list))]
        own = self.random_resized_crop
        return affine(
            image,
            angle=angle,
            shear=between(-self.max_shear_ratio, self.max_shear_ratio, shear),
            scale=between(self.min_random_scale, self.max_random_scale, scale),
            ratio=1.0 if own else between(*self._aspect, ratio),
            limits=(self.min_img_size, self.max_img_size),
            fill=self.fill_value,
            method=method,
        )

    def _cropped(self, image: Image, draws: Draws, tries: Draws, methods: list[float]) -> Image:
        """(size, size, C): a crop of random area, else of random side, else of the side `size`."""
        down, right, side = draws.tolist()
        height, width = image.shape[:2]
        is_drawn = self.random_resized_crop and (
            (self.min_random_area, self.max_random_area) != (1.0, 1.0) or self._aspect != (1.0, 1.0)
        )
        for area, ratio, swap in tries.reshape(self.TRIES, 3).tolist() if is_drawn else ():
            pixels = between(self.min_random_area, self.max_random_area, area) * height * width
            ratio = between(*self._aspect, ratio)
            w, h = (math.floor(math.sqrt(part) + 0.5) for part in (pixels * ratio, pixels / ratio))
            if swap < 0.5:
                w, h = h, w
            if 0 < w <= width and 0 < h <= height:
                image = cut(image, h, w, down, right)
                return resized(image, self.size, self.size, self._method(methods[0]))
        if self.max_crop_size != -1:
            pixels = self.min_crop_size + int(side * (self.max_crop_size - self.min_crop_size + 1))
            if pixels > min(height, width):
                raise ImageError(
                    f"a crop of {pixels} pixels does not fit in an image of {height} x {width}. Set a smaller "
                    "max_crop_size, or a resize that is at least as large"
                )
            image = cut(image, pixels, pixels, *((down, right) if self.rand_crop else (None, None)))
            return resized(image, self.size, self.size, self._method(methods[0]))
        if height < self.size:
            width = int(np.float32(self.size) / np.float32(height) * np.float32(width))
            height = self.size
            image = resized(image, height, width, self._method(methods[0]))
        if width < self.size:
            height = int(np.float32(self.size) / np.float32(width) * np.float32(height))
            width = self.size
            image = resized(image, height, width, self._method(methods[1]))
        return cut(image, self.size, self.size, *((down, right) if self.rand_crop else (None, None)))


def mxnet_augment(size: int, level: Level, parameters: str) -> MXNetAugment:
    """The view of a named level with some parameters changed.

    parameters: such as "rand_crop=1 max_rotate_angle=10 rotate_list=0,90", named as in ImageRecordIter. Raises
    UsageError naming the unknown parameter or the invalid value.
    """
    kinds = {name: kind for name, kind in typing.get_type_hints(MXNetAugment).items() if name != "size"}
    values = dict(LEVELS[level])
    for word in parameters.split():
        name, _, text = word.partition("=")
        if name not in kinds:
            raise UsageError(
                f"{word!r}: not a parameter of MXNet's augmentation.{nearest(name, list(kinds))} "
                f"Known: {', '.join(kinds)}."
            )
        try:
            values[name] = _parsed(text, kinds[name])
        except ValueError:
            raise UsageError(
                f"{word!r}: invalid value. An example of valid parameters: rotate_list=0,90 rand_crop=1."
            ) from None
    return MXNetAugment(size=size, **values)


def _parsed(text: str, kind: Any) -> Any:
    if kind is bool:
        return bool(["0", "1", "false", "true"].index(text.lower()) % 2)
    if kind == tuple[int, ...]:
        return tuple(int(part) for part in text.split(","))
    value = int(text) if kind is int else float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
