"""Photographs as arrays, and rendering them with a view."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tests.data.photos import array, photo

from tench.data.images.picture import Decoded

Pixels = npt.NDArray[np.uint8]


@functools.cache
def photo_array(channels: int = 3) -> Pixels:
    """A photograph, (427, 640, channels)."""
    return array(photo("flower.jpg").convert("RGB" if channels == 3 else "L"))


def assert_resized_like_torch(found: Pixels, theirs: Any) -> None:
    """Compare with torch's antialiased resizing of uint8, (H, W, C).

    On CPUs with AVX2, torch computes in integers, as tench does. On others, it uses float32 and may be off by one.
    """
    levels_off = 0 if torch.backends.cpu.get_cpu_capability().startswith("AVX") else 1
    assert found.shape == tuple(theirs.shape)
    assert np.abs(found.astype(int) - np.asarray(theirs)).max(initial=0) <= levels_off


def rendered(view: Any, image: Pixels, draws: npt.NDArray[np.float64] | None = None) -> Pixels:
    """An image as rendered by a view, (size, size, channels). draws: all 0.5 by default."""
    out = np.full((view.size, view.size, image.shape[2]), 77, np.uint8)
    view.render(Decoded(image), np.full(view.num_draws, 0.5) if draws is None else draws, out)
    return out
