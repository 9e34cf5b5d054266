"""The steps of MXNet's default augmenter, each a function of pixels and numbers; `mxnet_augment` supplies the numbers.

Images are (H, W, C) uint8, RGB or grey. Two of MXNet's quirks are kept: it interpolates without antialiasing by
default, and its grey swaps the weights of red and blue. Source: Apache MXNet v1.x, src/io/image_aug_default.cc.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.input.pixels import EIGENVALUES, EIGENVECTORS
from tench.input.resampling import Image

AUTO = 9
"""inter_method: cubic if both sides grow, area if both shrink, else bilinear."""


def between(low: Any, high: Any, draw: Any) -> Any:
    """Map a uniform number in [0, 1) to [low, high)."""
    return low + (high - low) * draw


def short_side(height: int, width: int, side: int) -> tuple[int, int]:
    """The size of an image whose shorter side becomes `side`; the other is rounded down."""
    return (side * height // width, side) if height > width else (side, side * width // height)


def resized(image: Image, height: int, width: int, method: int) -> Image:
    """(height, width, C), resized with this OpenCV interpolation; 9 chooses one by whether both sides grow or
    shrink."""
    import cv2

    if method == AUTO:
        method = _automatic(image.shape[0], image.shape[1], height, width)
    result: Image = cv2.resize(image, (width, height), interpolation=method).reshape(height, width, image.shape[2])
    return result


def _automatic(height: int, width: int, new_height: float, new_width: float) -> int:
    if new_height > height and new_width > width:
        return 2  # cubic
    return 3 if new_height < height and new_width < width else 1  # area, bilinear


def affine(
    image: Image,
    *,
    angle: float,
    shear: float,
    scale: float,
    ratio: float,
    limits: tuple[float, float],
    fill: int,
    method: int,
) -> Image:
    """Rotate (degrees), shear and stretch about the centre of a canvas `scale` times as large.

    limits: smallest and largest side of the canvas, pixels.
    """
    import cv2

    height, width, channels = image.shape
    a, b = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    across = 2 * scale / (1 + ratio)
    along = ratio * across
    new_width, new_height = (max(limits[0], min(limits[1], scale * side)) for side in (width, height))
    matrix = np.array(
        [[across * a - shear * b * along, across * b + shear * a * along, 0], [-b * along, a * along, 0]], np.float32
    )
    matrix[:, 2] = (np.array([new_width, new_height]) - matrix[:, :2] @ (width, height)) / 2
    if method == AUTO:
        method = _automatic(height, width, new_height, new_width)
    target = max(1, int(new_width)), max(1, int(new_height))
    moved: Image = cv2.warpAffine(
        image, matrix, target, flags=method, borderMode=cv2.BORDER_CONSTANT, borderValue=(fill,) * channels
    ).reshape(target[1], target[0], channels)
    return moved


def cut(image: Image, height: int, width: int, down: float | None, right: float | None) -> Image:
    """A part of the image, at a position in [0, 1), or the centre, rounded to the upper left."""
    free = image.shape[0] - height, image.shape[1] - width
    top = free[0] // 2 if down is None else int(down * (free[0] + 1))
    left = free[1] // 2 if right is None else int(right * (free[1] + 1))
    return image[top : top + height, left : left + width]


def jittered(image: Image, factors: Sequence[float], order: Sequence[int]) -> Image:
    """Change brightness (0), contrast (1) and saturation (2) by their factors, in the given order; (H, W, 3).

    Contrast is relative to the image's mean grey, saturation to each pixel's. Grey is 0.114 R + 0.587 G + 0.299 B.
    """
    import cv2

    brightness, contrast, saturation = factors
    for which in order:
        if which == 0:
            image = scaled(image, brightness, 0.0)
            continue
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # of an RGB image, as MXNet uses RGB's formula for BGR
        if which == 1:
            image = scaled(image, contrast, (1 - contrast) * float(grey.mean()))
        else:
            image = cv2.addWeighted(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - saturation, image, saturation, 0)
    return image


def scaled(image: Image, factor: float, shift: float) -> Image:
    """factor * image + shift in float32, rounded half to even, clipped to 0 to 255."""
    return _looked_up(image, np.rint(_BYTES * np.float32(factor) + np.float32(shift)))


def shifted_hls(image: Image, shift: npt.NDArray[np.int64]) -> Image:
    """Shift hue, lightness and saturation (OpenCV's 8 bits) by three whole numbers and clip: hue does not wrap."""
    import cv2

    hls = cv2.cvtColor(image, cv2.COLOR_RGB2HLS)
    changed: Image = cv2.cvtColor(_looked_up(hls, np.minimum(_BYTES + shift, (180, 255, 255))), cv2.COLOR_HLS2RGB)
    return changed


def lit(image: Image, amounts: npt.NDArray[np.float64]) -> Image:
    """Lighting: add amounts (3,) of ImageNet's principal colours; (H, W, 3). Sums are truncated to whole numbers."""
    shift = (EIGENVECTORS @ (EIGENVALUES * amounts)).astype(np.float32)
    return _looked_up(image, np.trunc(_BYTES + shift))


_BYTES = np.arange(256, dtype=np.float32)[:, None]


def _looked_up(image: Image, values: npt.NDArray[Any]) -> Image:
    """Replace each byte by its value, clipped to 0 to 255. values: (256, 1), or (256, C) with one per channel."""
    import cv2

    result: Image = cv2.LUT(image, np.clip(values, 0, 255).astype(np.uint8)[None])
    return result.reshape(image.shape)
