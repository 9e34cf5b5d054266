from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.views import assert_resized_like_torch, photo_array

from tench.compat import import_torchvision
from tench.input.resampling import Interpolation, antialiased, as_pillow, pillow_axis

Pixels = npt.NDArray[np.uint8]
SIDES = st.tuples(*[st.integers(1, 70)] * 4)


def resized(image: Pixels, height: int, width: int, interpolation: Interpolation = "bilinear") -> Pixels:
    out = np.full((height, width, image.shape[2]), 77, np.uint8)
    antialiased(image, out, interpolation)
    return out


def pillow(image: Pixels, height: int, width: int, interpolation: str = "bilinear") -> Pixels:
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    result = picture.resize((width, height), Image.Resampling[interpolation.upper()])
    return np.asarray(result).reshape(height, width, image.shape[2])


def tensor_resize(image: torch.Tensor, height: int, width: int, interpolation: str) -> torch.Tensor:
    import_torchvision()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    result: torch.Tensor = resize(image, [height, width], InterpolationMode(interpolation), antialias=True)
    return result


@settings(max_examples=160, deadline=None)
@given(
    sides=SIDES,
    channels=st.sampled_from([1, 3]),
    interpolation=st.sampled_from(get_args(Interpolation)),
    extreme=st.booleans(),
)
def test_antialiased_resizing_equals_torchvisions_and_bilinear_equals_pillows_up_to_rounding(
    sides: tuple[int, int, int, int], channels: int, interpolation: Interpolation, extreme: bool
) -> None:
    height, width, new_height, new_width = sides
    image = photo_array(channels)[100 : 100 + height, 200 : 200 + width]
    if extreme:  # only black and white, so that bicubic sums fall below 0 and exceed 255
        image = np.where(image > 100, 255, 0).astype(np.uint8)
    found = resized(image, new_height, new_width, interpolation)
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    assert_resized_like_torch(found, tensor_resize(tensor, new_height, new_width, interpolation).permute(1, 2, 0))
    # Bicubic sums are clipped to 0 and 255 after each pass, and the order of the passes differs.
    if interpolation == "bilinear":
        assert np.abs(found.astype(int) - pillow(image.copy(), new_height, new_width)).max() <= 2


@settings(max_examples=60, deadline=None)
@given(
    sides=SIDES,
    value=st.integers(0, 255),
    channels=st.sampled_from([1, 3]),
    interpolation=st.sampled_from(get_args(Interpolation)),
)
def test_a_constant_image_stays_constant(
    sides: tuple[int, int, int, int], value: int, channels: int, interpolation: Interpolation
) -> None:
    height, width, new_height, new_width = sides
    image = np.full((height, width, channels), value, np.uint8)
    assert (resized(image, new_height, new_width, interpolation) == value).all()


def test_fine_stripes_shrink_to_grey_and_not_to_coarse_stripes() -> None:
    stripes = np.where(np.arange(64) % 2, 255, 0).astype(np.uint8)[None, :, None] * np.ones((20, 1, 1), np.uint8)
    for height in (5, 20, 50):
        assert np.abs(resized(stripes, height, 16)[:, 1:-1].astype(int) - 127.5).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_slice_of_an_image_is_resized_like_its_copy_and_may_be_read_only(channels: int) -> None:
    image = photo_array(channels)[7:50, 11:60]
    fixed = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    for height, width in ((20, 20), (90, 90), (20, 90)):
        assert np.array_equal(resized(image, height, width), resized(image.copy(), height, width))
        assert np.array_equal(resized(fixed, height, width), resized(image.copy(), height, width))


@settings(max_examples=120, deadline=None)
@given(
    sides=SIDES,
    channels=st.sampled_from([1, 3]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    part=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_any_part_of_the_result_equals_that_part_of_pillows(
    sides: tuple[int, int, int, int],
    channels: int,
    interpolation: Interpolation,
    part: tuple[float, float, float, float],
) -> None:
    height, width, new_height, new_width = sides
    image = photo_array(channels)[50 : 50 + height, 70 : 70 + width].copy()
    top, left = int(part[0] * (new_height - 1)), int(part[1] * (new_width - 1))
    num_lines, num_columns = 1 + int(part[2] * (new_height - top - 1)), 1 + int(part[3] * (new_width - left - 1))
    down = pillow_axis(height, new_height, top, num_lines, interpolation)
    across = pillow_axis(width, new_width, left, num_columns, interpolation)
    found = as_pillow(image[down.begin : down.end, across.begin : across.end], down, across)
    whole = pillow(image, new_height, new_width, interpolation)
    assert np.array_equal(found, whole[top : top + num_lines, left : left + num_columns])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("extreme", [False, True])
def test_a_whole_photograph_is_resized_exactly(interpolation: Interpolation, extreme: bool) -> None:
    image = photo_array()
    if extreme:  # only black and white, so that sums with negative weights fall below 0 and exceed 255
        image = np.where(image > 100, 255, 0).astype(np.uint8)
    for height, width in ((256, 383), (427, 100), (500, 640), (13, 17), (1000, 1499)):
        down = pillow_axis(427, height, 0, height, interpolation)
        across = pillow_axis(640, width, 0, width, interpolation)
        assert np.array_equal(as_pillow(image, down, across), pillow(image, height, width, interpolation))


@pytest.mark.parametrize("length", [256, 512, 1024])
def test_sums_halfway_between_integers_are_rounded_as_in_pillow(length: int) -> None:
    """With a factor of 2 or 4, sums are often exactly halfway between two integers."""
    image = np.random.default_rng(5).integers(0, 256, (length, length, 3), np.uint8)
    for resized_to in (128, 192, 384):
        axis = pillow_axis(length, resized_to, 0, resized_to, "bilinear")
        assert np.array_equal(as_pillow(image, axis, axis), pillow(image, resized_to, resized_to))
