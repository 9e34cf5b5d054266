"""Photographs as arrays, and what a view makes of them."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.data.photos import array, photo

from tench.data.images.picture import Decoded

Pixels = npt.NDArray[np.uint8]


@functools.cache
def photo_array(channels: int = 3) -> Pixels:
    """A photograph, (427, 640, channels)."""
    return array(photo("flower.jpg").convert("RGB" if channels == 3 else "L"))


def rendered(view: Any, image: Pixels, draws: npt.NDArray[np.float64] | None = None) -> Pixels:
    """What a view makes of an image, (size, size, channels). draws: 0.5 each by default."""
    out = np.full((view.size, view.size, image.shape[2]), 77, np.uint8)
    view.render(Decoded(image), np.full(view.num_draws, 0.5) if draws is None else draws, out)
    return out
