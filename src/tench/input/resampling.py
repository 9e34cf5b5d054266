"""Resizing: torch's antialiased resize for training, Pillow's exact arithmetic for evaluation.

torch's operator is called directly, to write into the batch. Pillow's results are computed without Pillow, which would
have to resize the whole image to get its centre: 1.3 ms per photograph, against 0.45 ms here (60 photographs, one
thread). Pillow's own `resize(box=...)` rounds differently in 3 % of the values, and OpenCV and torch use different
filters, so an evaluation would no longer match other programs bit for bit.
"""

import functools
import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import __version__ as _pillow_version

if TYPE_CHECKING:
    import torch

Image = npt.NDArray[np.uint8]
Interpolation = Literal["bilinear", "bicubic"]

_PRECISION_BITS = 22
"""Pillow rounds its weights to this many binary places, and each of its two passes to whole numbers (Resample.c)."""

_PILLOW_MAJOR = int(_pillow_version.partition(".")[0])

_ERROR_PER_TAP = 2.0**-16
"""Largest rounding error of a float32 sum of up to 512, per number added."""


def antialiased(image: Image, out: Image, interpolation: Interpolation = "bilinear") -> None:
    """Resize (H, W, C) to out, (S, T, C); when shrinking, the filter is as wide as the area of an output pixel.

    Equals torchvision's resize of a uint8 tensor with antialias=True.
    """
    import torch

    aten = torch.ops.aten
    resize = aten._upsample_bilinear2d_aa if interpolation == "bilinear" else aten._upsample_bicubic2d_aa
    height, width = out.shape[:2]
    resize.out(_planes(_writable(image)), (height, width), False, None, None, out=_planes(out))


def _writable(image: Image) -> Image:
    """The image, copied if it is read-only, because torch warns about read-only arrays."""
    return image if image.flags.writeable else image.copy()


def _planes(image: Image) -> "torch.Tensor":
    """(H, W, C) as (1, C, H, W), in channels-last memory."""
    import torch

    return torch.from_numpy(image).permute(2, 0, 1)[None]


class Axis(NamedTuple):
    """Which pixels contribute to each pixel of a part of a resized row or column.

    length, resized: its length before and after. begin, end: the pixels that are needed. sources: (n, taps) int64,
    counted from begin. weights: (n, taps) float64, multiples of 2**-22.
    """

    length: int
    resized: int
    begin: int
    end: int
    sources: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


@functools.lru_cache(maxsize=256)
def pillow_axis(length: int, resized: int, first: int, count: int, interpolation: Interpolation) -> Axis:
    """Pillow's weights for `count` pixels, from `first` on, of a row of `length` pixels resized to `resized`.

    Source: precompute_coeffs and normalize_coeffs_8bpc of Pillow's Resample.c. Their order of operations is kept,
    because rounding depends on it.
    """
    scale = length / resized
    stretch = max(scale, 1.0)
    support = (1.0 if interpolation == "bilinear" else 2.0) * stretch
    centre = (np.arange(first, first + count) + 0.5) * scale
    lowest = np.maximum((centre - support + 0.5).astype(np.int64), 0)  # truncates numbers above -1, as C does
    highest = np.minimum((centre + support + 0.5).astype(np.int64), length)
    index = lowest[:, None] + np.arange(math.ceil(support) * 2 + 1)
    inside = index < highest[:, None]
    weights = np.where(inside, _FILTERS[interpolation]((index - centre[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    total = np.zeros(count)
    for tap in weights.T:
        total += tap
    units = weights / total[:, None] * (1 << _PRECISION_BITS)
    weights = np.trunc(units + np.where(units < 0, -0.5, 0.5)) / (1 << _PRECISION_BITS)
    used = (weights != 0).any(axis=0)
    begin, end = int(lowest.min()), int(highest.max())
    sources = np.where(inside, index, lowest[:, None])[:, used] - begin
    return Axis(length, resized, begin, end, np.ascontiguousarray(sources), np.ascontiguousarray(weights[:, used]))


def _triangle(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def as_pillow(image: Image, vertical: Axis, horizontal: Axis) -> Image:
    """A part of an image as resized by Pillow, pixel for pixel: (H, W, C) to (n, m, C).

    image: the rows and columns from begin to end of the axes.
    """
    if _goes_down_first(vertical, horizontal):
        return _across(_down(image, vertical), horizontal)
    return _down(_across(image, horizontal), vertical)


def _goes_down_first(vertical: Axis, horizontal: Axis) -> bool:
    """Whether the installed Pillow resizes vertically first. It matters because the first pass is rounded."""
    fewer_lines, fewer_columns = vertical.length - vertical.resized, horizontal.length - horizontal.resized
    if _PILLOW_MAJOR >= 13:
        return fewer_lines > 0 and fewer_lines > 2 * fewer_columns
    return fewer_lines > 0 and vertical.length > 100 * horizontal.length


def _down(image: Image, axis: Axis) -> Image:
    height, width, channels = image.shape
    return _weighted(_writable(image).reshape(height, width * channels), axis).reshape(-1, width, channels)


def _across(image: Image, axis: Axis) -> Image:
    import cv2

    height, width, channels = image.shape
    turned = _down(cv2.transpose(image).reshape(width, height, channels), axis)
    return np.asarray(cv2.transpose(turned), np.uint8).reshape(height, -1, channels)


def _weighted(lines: Image, axis: Axis) -> Image:
    """Weighted sums of rows, (h, w) to (n, w), each rounded exactly, half up.

    The sums are computed in float32; those near a half are recomputed exactly.
    """
    import cv2
    import torch

    sums = torch.nn.functional.embedding_bag(
        torch.from_numpy(axis.sources),
        torch.from_numpy(lines).float(),
        per_sample_weights=torch.from_numpy(axis.weights).float(),
        mode="sum",
    )
    if axis.weights.min() < 0:
        sums.clamp_(min=0)  # too large values become 255 below, but a negative one would lose its sign
    error = _ERROR_PER_TAP * (axis.sources.shape[1] + 1)
    rounded, other = (cv2.convertScaleAbs(sums.numpy(), beta=beta) for beta in (-error, error))
    near = np.flatnonzero(rounded != other)
    if len(near):
        line, column = np.divmod(near, lines.shape[1])
        exact = (lines[axis.sources[line], column[:, None]] * axis.weights[line]).sum(axis=1)
        rounded.reshape(-1)[near] = np.clip(np.floor(exact + 0.5), 0, 255)
    return np.asarray(rounded, np.uint8)
