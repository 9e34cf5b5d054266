from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from tests.data.photos import Pixels, array, part

from tench.compat import import_timm, import_torchvision
from tench.input import pixels


def grey(image: Pixels) -> Pixels:
    return array(Image.fromarray(image).convert("L"))


IMAGES = {
    "photo": array(part(90, 70)),
    "another": array(part(64, 64, 1)),
    "grey": grey(array(part(90, 70, 1))),
    "flat": np.full((20, 24, 3), (7, 130, 255), np.uint8),
    "black": np.zeros((9, 9, 3), np.uint8),
    "two values": np.repeat((np.indices((12, 12)).sum(axis=0) % 2 * 200 + 20).astype(np.uint8)[..., None], 3, axis=2),
    "one pixel wide": array(part(1, 37)),
    "one pixel high": array(part(37, 1)),
    "two by two": array(part(2, 2)),
    "three by three": array(part(3, 3)),
    "grey pixel": np.full((1, 1, 1), 99, np.uint8),
    "every value": np.arange(768, dtype=np.uint8).reshape(16, 16, 3),
}


def picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def same(ours: Pixels, theirs: Image.Image) -> None:
    assert ours.dtype == np.uint8
    assert ours.shape == (theirs.height, theirs.width, len(theirs.getbands()))
    assert np.array_equal(ours, array(theirs))


images = pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())

FACTORS = [0.0, 0.1, 0.27, 0.5, 1 / 3, 1.0, 1.2700000107288361, 1.5, 1.9, 3.0]
BY_FACTOR: list[tuple[Callable[..., Pixels], Callable[[Image.Image], Any]]] = [
    (pixels.brightness, ImageEnhance.Brightness),
    (pixels.contrast, ImageEnhance.Contrast),
    (pixels.saturation, ImageEnhance.Color),
    (pixels.sharpness, ImageEnhance.Sharpness),
]


@images
@pytest.mark.parametrize(("ours", "theirs"), BY_FACTOR)
def test_blends_match_pillows_imageenhance(
    image: Pixels, ours: Callable[..., Pixels], theirs: Callable[[Image.Image], Any]
) -> None:
    for factor in FACTORS:
        same(ours(image, factor), theirs(picture(image)).enhance(factor))


@settings(max_examples=60, deadline=None)
@given(factor=st.floats(0, 3), number=st.integers(0, 50), which=st.sampled_from(BY_FACTOR))
def test_blends_match_pillow_at_any_factor(factor: float, number: int, which: tuple[Any, Any]) -> None:
    ours, theirs = which
    same(ours(array(part(30, 20, number)), factor), theirs(part(30, 20, number)).enhance(factor))


@images
def test_values_are_mapped_as_in_pillows_imageops(image: Pixels) -> None:
    theirs = picture(image)
    for bits in range(1, 9):
        same(pixels.posterize(image, bits), ImageOps.posterize(theirs, bits))
    for threshold in (0, 1, 127.5, 128, 255, 256):
        same(pixels.solarize(image, threshold), ImageOps.solarize(theirs, threshold))  # type: ignore[arg-type]
    same(pixels.invert(image), ImageOps.invert(theirs))
    same(pixels.autocontrast(image), ImageOps.autocontrast(theirs))
    same(pixels.equalize(image), ImageOps.equalize(theirs))


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.integers(0, 255), min_size=1, max_size=6),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_histograms_are_stretched_and_equalized_as_in_pillow(
    values: list[int], width: int, height: int, seed: int
) -> None:
    image = np.random.default_rng(seed).choice(np.array(values, np.uint8), (height, width, 3))
    same(pixels.autocontrast(image), ImageOps.autocontrast(picture(image)))
    same(pixels.equalize(image), ImageOps.equalize(picture(image)))


@images
def test_keeping_no_bits_gives_black(image: Pixels) -> None:
    assert not pixels.posterize(image, 0).any()


@images
def test_solarize_add_matches_timm(image: Pixels) -> None:
    import_timm()
    from timm.data.auto_augment import solarize_add

    for amount in (0, 1, 60, 110, 128):
        same(pixels.solarize_add(image, amount), solarize_add(picture(image), amount))


@images
def test_hue_matches_torchvision_on_pillow_images(image: Pixels) -> None:
    import_torchvision()
    from torchvision.transforms.functional import adjust_hue

    for shift in (-0.5, -0.1, -0.003, 0.0, 0.004, 0.25, 0.5):
        same(pixels.hue(image, shift), adjust_hue(picture(image), shift))


FILLS: list[tuple[int, ...]] = [(), (9, 130, 251)]


@images
@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("fill", FILLS)
def test_shears_shifts_and_rotations_match_pillow(image: Pixels, resample: str, fill: tuple[int, ...]) -> None:
    fill = fill[: image.shape[2]]
    filter_ = Image.Resampling[resample.upper()]

    def by_pillow(*matrix: float) -> Image.Image:
        theirs = picture(image)
        return theirs.transform(theirs.size, Image.Transform.AFFINE, matrix, filter_, fillcolor=fill or 0)

    for amount in (-0.99, -0.3, 0.0, 0.011, 0.15):
        same(pixels.shear_x(image, amount, fill, resample), by_pillow(1, amount, 0, 0, 1, 0))
        same(pixels.shear_y(image, amount, fill, resample), by_pillow(1, 0, 0, amount, 1, 0))
    for amount in (-40, -3.3, 0, 1, 2.5, 7):
        same(pixels.translate_x(image, amount, fill, resample), by_pillow(1, 0, -amount, 0, 1, 0))
        same(pixels.translate_y(image, amount, fill, resample), by_pillow(1, 0, 0, 0, 1, -amount))
    for degrees in (-135, -30, -0.5, 0, 7, 90, 180):
        theirs = picture(image).rotate(degrees, filter_, fillcolor=fill or 0)
        same(pixels.rotate(image, degrees, fill, resample), theirs)


def test_a_shift_to_the_right_and_down_uncovers_the_fill_left_and_above() -> None:
    image = IMAGES["photo"]
    right, down = pixels.translate_x(image, 5, (1, 2, 3)), pixels.translate_y(image, 4, (1, 2, 3))
    assert (right[:, :5] == (1, 2, 3)).all()
    assert np.array_equal(right[:, 5:], image[:, :-5])
    assert (down[:4] == (1, 2, 3)).all()
    assert np.array_equal(down[4:], image[:-4])


@images
def test_amounts_added_to_a_channel_are_rounded_and_clipped(image: Pixels) -> None:
    amounts = np.array([-20.4, 0.6, 90.5])[: image.shape[2]]
    expected = np.clip(np.rint(image + amounts), 0, 255)
    assert np.array_equal(pixels.add(image, amounts), expected)


OPERATIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "shear_x": lambda image: pixels.shear_x(image, 0.3),
    "shear_y": lambda image: pixels.shear_y(image, 0.3),
    "translate_x": lambda image: pixels.translate_x(image, 5),
    "rotate": lambda image: pixels.rotate(image, 5),
    "brightness": lambda image: pixels.brightness(image, 1.4),
    "contrast": lambda image: pixels.contrast(image, 1.4),
    "saturation": lambda image: pixels.saturation(image, 1.4),
    "sharpness": lambda image: pixels.sharpness(image, 1.4),
    "posterize": lambda image: pixels.posterize(image, 3),
    "solarize": lambda image: pixels.solarize(image, 99),
    "solarize_add": lambda image: pixels.solarize_add(image, 50),
    "autocontrast": pixels.autocontrast,
    "equalize": pixels.equalize,
    "invert": pixels.invert,
    "hue": lambda image: pixels.hue(image, 0.3),
    "add": lambda image: pixels.add(image, np.array([3.0] * image.shape[2])),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_input_image_stays_unchanged(name: str) -> None:
    for image in (IMAGES["photo"], IMAGES["grey"]):
        copy = image.copy()
        copy.setflags(write=False)
        OPERATIONS[name](copy)
        assert np.array_equal(copy, image)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_part_of_an_image_is_treated_like_its_copy(name: str) -> None:
    whole: npt.NDArray[np.uint8] = IMAGES["photo"]
    for view in (whole[3:50, 5:40], whole[::-1, ::-1]):
        assert np.array_equal(OPERATIONS[name](view), OPERATIONS[name](np.ascontiguousarray(view)))
