import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.photos import Pixels, array, part
from tests.support.views import assert_resized_like_torch, rendered

from tench.compat import import_torchvision
from tench.input.draws import uniforms
from tench.input.resampling import antialiased
from tench.input.resize_crop import ResizeCrop
from tench.input.views import Decode, with_shorter

APM5 = ResizeCrop(size=224, short_side=(256, 384), stretch=(0.8, 1.25))


def numbers(view: ResizeCrop, count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return uniforms(seed, 0, np.arange(count), view.num_draws)


def resized_sides(height: int, width: int, short_side: int, factor: float = 1.0) -> tuple[int, int]:
    """Height and width after Apm5's random_aspect and random_size, in exact arithmetic."""
    if height < width:
        width = int(width * factor)
    else:
        height = int(height * factor)
    shorter = min(height, width)
    return height * short_side // shorter, width * short_side // shorter


def by_torchvision(image: Pixels, sides: tuple[int, int], top: int, left: int, size: int) -> Pixels:
    """The whole image resized as a tensor, then cropped."""
    import_torchvision()
    from torchvision.transforms.v2.functional import crop, resize

    whole = resize(torch.from_numpy(image.copy()).permute(2, 0, 1), list(sides), antialias=True)
    cut: Pixels = crop(whole, top, left, size, size).permute(1, 2, 0).numpy()
    return cut


@given(side=st.integers(1, 500), height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_the_shorter_side_is_set_and_the_longer_follows(side: int, height: int, width: int) -> None:
    assert with_shorter(side, height, width) == resized_sides(height, width, side)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("width", "height"), [(80, 60), (60, 90)])
def test_an_image_that_already_has_the_size_is_only_cropped(width: int, height: int, mode: str) -> None:
    image = array(part(width, height, mode=mode))
    view = ResizeCrop(size=50, short_side=(60, 61))
    for draws in numbers(view, 40):
        top, left = int(draws[1] * (height - 49)), int(draws[2] * (width - 49))
        expected = image[top : top + 50, left : left + 50]
        assert np.array_equal(rendered(view, image, draws), expected[:, ::-1] if draws[0] < 0.5 else expected)


@pytest.mark.parametrize("times", [2, 3])
def test_an_image_of_a_multiple_of_the_size_matches_the_crop_of_the_whole_except_at_the_edge(
    times: int,
) -> None:
    image = array(part(80 * times, 60 * times))
    view = ResizeCrop(size=50, short_side=(60, 61), flip=0)
    for draws in numbers(view, 20):
        whole = by_torchvision(image, (60, 80), int(draws[1] * 11), int(draws[2] * 31), 50)
        assert_resized_like_torch(rendered(view, image, draws)[1:-1, 1:-1], whole[1:-1, 1:-1])


@pytest.mark.parametrize(("width", "height"), [(250, 187), (150, 210), (200, 200), (65, 50), (9, 7)])
def test_the_visible_box_is_within_a_pixel_of_the_crop_of_the_resized_whole_image(width: int, height: int) -> None:
    down, right = np.mgrid[:height, :width].astype(np.uint8)
    image = np.stack([down, right, 0 * down], axis=-1)  # the colours encode the position
    view = dataclasses.replace(APM5, flip=0.0)
    for draws in numbers(view, 60):
        sides = resized_sides(height, width, 256 + int(draws[3] * 128), 0.8 + draws[4] * (1.25 - 0.8))
        top, left = int(draws[1] * (sides[0] - 223)), int(draws[2] * (sides[1] - 223))
        expected = by_torchvision(image, sides, top, left, 224).astype(int)
        assert np.abs(rendered(view, image, draws) - expected).max() <= 1


def test_a_view_is_its_box_resized_and_mirrored() -> None:
    image = array(part(200, 150))
    for draws in numbers(APM5, 20):
        top, left, height, width, flip = APM5.crop(150, 200, draws)
        expected = np.empty((224, 224, 3), np.uint8)
        antialiased(np.ascontiguousarray(image[top : top + height, left : left + width]), expected)
        assert np.array_equal(rendered(APM5, image, draws), expected[:, ::-1] if flip else expected)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    draws=st.lists(st.sampled_from([0.0, 0.3, 0.999, 1 - 2.0**-32]), min_size=5, max_size=5),
    stretch=st.sampled_from([(1.0, 1.0), (0.8, 1.25), (0.001, 0.01), (5.0, 100.0)]),
    size=st.integers(1, 256),
)
def test_a_box_always_lies_inside_the_image(
    height: int, width: int, draws: list[float], stretch: tuple[float, float], size: int
) -> None:
    crop = ResizeCrop(size=size, stretch=stretch).crop(height, width, np.array(draws))
    assert 0 <= crop.top < crop.top + crop.height <= height
    assert 0 <= crop.left < crop.left + crop.width <= width


def test_every_length_but_the_last_is_equally_frequent() -> None:
    view = ResizeCrop(size=8, short_side=(10, 14))
    heights = [view.crop(8 * 10 * 11 * 12 * 13, 200_000, draws).height for draws in numbers(view, 4000)]
    lengths, counts = np.unique(8 * 8 * 10 * 11 * 12 * 13 // np.array(heights), return_counts=True)
    assert lengths.tolist() == [10, 11, 12, 13]
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(750)


def test_every_position_is_equally_frequent() -> None:
    view = ResizeCrop(size=8, short_side=(10, 11))
    places = [view.crop(10, 12, draws)[:2] for draws in numbers(view, 3000)]
    found, counts = np.unique(places, axis=0, return_counts=True)
    assert found.tolist() == [[top, left] for top in range(3) for left in range(5)]
    assert np.abs(counts - 200).max() < 5 * math.sqrt(200)


@pytest.mark.parametrize(("height", "width", "stretched"), [(400, 600, 1), (600, 400, 0), (400, 400, 0)])
def test_the_longer_side_is_stretched_or_the_height_of_a_square(height: int, width: int, stretched: int) -> None:
    view = ResizeCrop(size=200, short_side=(400, 401), stretch=(1.25, 1.25))
    sides = [200, 200]
    sides[stretched] = 160  # this many pixels of the image become 200
    crop = view.crop(height, width, np.full(5, 0.5))
    assert [crop.height, crop.width] == sides


def test_the_factor_is_uniform() -> None:
    view = ResizeCrop(size=1000, short_side=(1000, 1001), stretch=(2.0, 4.0))
    factors = [1000 / view.crop(100_000, 200_000, draws).width * 100 for draws in numbers(view, 2000)]
    assert 2 <= min(factors) <= max(factors) <= 4.001
    assert np.abs(np.quantile(factors, [0.25, 0.5, 0.75]) - [2.5, 3.0, 3.5]).max() < 0.1


def test_a_side_that_becomes_the_shorter_by_stretching_gets_the_size_so_the_crop_fits() -> None:
    view = ResizeCrop(size=224, short_side=(256, 257), stretch=(0.5, 0.5))
    crop = view.crop(400, 600, np.zeros(5))  # stretched to 400 x 300, then resized to 341 x 256
    assert (crop.height, crop.width) == (round(224 * 400 / 341), round(224 * 600 / 256))
    corner = view.crop(400, 600, np.full(5, 1 - 2.0**-32))
    assert (corner.top + corner.height, corner.left + corner.width) == (400, 600)


def test_an_image_of_one_pixel_can_be_rendered() -> None:
    image = np.full((1, 1, 3), 9, np.uint8)
    assert (rendered(APM5, image, np.full(5, 0.5)) == 9).all()


@dataclasses.dataclass
class _Asked:
    """An image that records which parts are requested."""

    height: int
    width: int
    wanted: list[tuple[tuple[int, int, int, int], int, bool]] = dataclasses.field(default_factory=list)

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        self.wanted.append(((top, left, height, width), enough, fast))
        return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize(("decode", "enough", "fast"), [("full", 0, False), ("reduced", 32, False), ("fast", 32, True)])
def test_only_the_box_is_decoded_at_no_more_than_the_needed_size(decode: Decode, enough: int, fast: bool) -> None:
    view = ResizeCrop(size=32, short_side=(40, 60), decode=decode)
    image = _Asked(300, 400)
    for draws in numbers(view, 10):
        view.render(image, draws, np.empty((32, 32, 3), np.uint8))
        assert image.wanted.pop() == (view.crop(300, 400, draws)[:4], enough, fast)
        assert image.wanted == []


@pytest.mark.parametrize("short_side", [(223, 256), (256, 256), (300, 280)])
def test_a_size_smaller_than_the_crop_or_a_missing_one_is_refused(short_side: tuple[int, int]) -> None:
    low, high = short_side
    with pytest.raises(ValueError, match=rf"short_side {low} {high}: expected two lengths, the first at least 224"):
        ResizeCrop(size=224, short_side=short_side)


@pytest.mark.parametrize("stretch", [(0.0, 1.0), (1.25, 0.8)])
def test_a_stretch_of_zero_or_in_the_wrong_order_is_refused(stretch: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=rf"stretch {stretch[0]} {stretch[1]}: expected two factors above 0, in order"):
        ResizeCrop(size=224, stretch=stretch)
