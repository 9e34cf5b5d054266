"""Each step, compared with a formula. OpenCV's part of a step is not tested. tests/interop compares with MXNet."""

import colorsys

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.data.photos import Pixels, array, part

from tench.input.mxnet_steps import affine, cut, jittered, lit, resized, scaled, shifted_hls, short_side


def photo(width: int = 40, height: int = 30, number: int = 1) -> Pixels:
    return array(part(width, height, number))


@pytest.mark.parametrize(
    ("size", "expected"), [((30, 40), (16, 21)), ((40, 30), (21, 16)), ((25, 25), (16, 16)), ((10, 33), (16, 52))]
)
def test_the_shorter_side_is_set_and_the_other_is_rounded_down(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert short_side(*size, 16) == expected


@pytest.mark.parametrize(
    ("size", "method"),
    [
        ((60, 80), cv2.INTER_CUBIC),
        ((15, 20), cv2.INTER_AREA),
        ((15, 80), cv2.INTER_LINEAR),
        ((30, 80), 1),
        ((30, 9), 1),
    ],
)
def test_automatic_interpolation_is_cubic_to_grow_area_to_shrink_and_bilinear_between(
    size: tuple[int, int], method: int
) -> None:
    expected = cv2.resize(photo(), size[::-1], interpolation=method)
    assert np.array_equal(resized(photo(), *size, 9), expected)


@pytest.mark.parametrize("method", range(5))
def test_interpolation_has_opencvs_numbers_and_grey_keeps_its_channel(method: int) -> None:
    grey = photo()[..., :1]
    found = resized(grey, 20, 33, method)
    assert found.shape == (20, 33, 1)
    assert np.array_equal(found[..., 0], cv2.resize(grey[..., 0], (33, 20), interpolation=method))


def turned(image: Pixels, **values: float) -> Pixels:
    neutral = {"angle": 0.0, "shear": 0.0, "scale": 1.0, "ratio": 1.0}
    return affine(image, **neutral | values, limits=(0.0, 1e10), fill=7, method=cv2.INTER_NEAREST)


def test_an_affine_step_with_neutral_values_changes_nothing() -> None:
    assert np.array_equal(turned(photo()), photo())
    assert np.array_equal(turned(photo()[..., :1]), photo()[..., :1])


def test_a_half_turn_flips_the_image_both_ways() -> None:
    # As in MXNet, OpenCV locates pixels by their corners here, so the first row and column come from outside the image.
    found = turned(photo(), angle=180)
    assert np.array_equal(found[1:, 1:], photo()[:0:-1, :0:-1])
    assert (found[0] == 7).all()


@pytest.mark.parametrize(
    "values",
    [
        {"angle": 30.0},
        {"angle": -17.0, "shear": 0.1, "ratio": 1.25, "scale": 0.8},
        {"shear": -0.1, "scale": 1.3},
        {"ratio": 0.75},
    ],
)
def test_a_pixel_of_an_affine_step_comes_from_the_position_the_matrix_gives(values: dict[str, float]) -> None:
    given = {"angle": 0.0, "shear": 0.0, "scale": 1.0, "ratio": 1.0} | values
    angle, s, scale, ratio = (given[name] for name in ("angle", "shear", "scale", "ratio"))
    hs = 2 * scale / (1 + ratio)
    ws = ratio * hs
    a, b = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = np.array([[hs * a - s * b * ws, hs * b + s * a * ws], [-b * ws, a * ws]])
    image = photo()
    found = turned(image, **values)
    canvas = np.array([int(scale * 40), int(scale * 30)])
    assert found.shape == (canvas[1], canvas[0], 3)
    agree = total = 0
    middle_of_source, middle = np.array([40, 30]) / 2, np.array([scale * 40, scale * 30]) / 2
    for y, x in np.ndindex(canvas[1], canvas[0]):
        column, row = np.linalg.inv(matrix) @ (np.array([x, y]) - middle) + middle_of_source
        if 0 <= round(row) < 30 and 0 <= round(column) < 40:
            total += 1
            agree += int((found[y, x] == image[round(row), round(column)]).all())
    assert agree > 0.95 * total  # the others are halfway between two pixels
    assert total > 500


def test_the_canvas_of_an_affine_step_is_kept_within_limits() -> None:
    for limits, shape in (((0.0, 20.0), (20, 20, 3)), ((35.0, 1e10), (35, 40, 3)), ((50.0, 1e10), (50, 50, 3))):
        found = affine(photo(), angle=0, shear=0, scale=1, ratio=1, limits=limits, fill=0, method=1)
        assert found.shape == shape


def test_a_crop_comes_from_the_centre_or_from_every_position_equally_often() -> None:
    image = np.stack(np.meshgrid(range(30), range(40), indexing="ij"), axis=-1).astype(np.uint8)
    assert cut(image, 25, 35, None, None)[0, 0].tolist() == [2, 2]
    tops = [cut(image, 28, 40, draw, 0.0)[0, 0, 0] for draw in np.linspace(0, 1, 300, endpoint=False)]
    assert np.bincount(tops).tolist() == [100, 100, 100]


def grey_of(image: Pixels) -> npt.NDArray[np.float64]:
    """Grey as MXNet computes it, with the weights of red and blue swapped."""
    grey: npt.NDArray[np.float64] = image.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
    return grey


@pytest.mark.parametrize("factor", [0.6, 0.93, 1.0, 1.4])
def test_colours_are_changed_by_the_formulas(factor: float) -> None:
    image = photo()
    grey = np.rint(grey_of(image))
    expected = (
        image * factor,
        image * factor + (1 - factor) * grey.mean(),
        image * factor + (1 - factor) * grey[..., None],
    )
    for which, values in enumerate(expected):
        factors = [1.0, 1.0, 1.0]
        factors[which] = factor
        found = jittered(image, factors, (which,)).astype(float)
        assert np.abs(found - np.clip(values, 0, 255)).max() <= 1.01  # rounding of the result and of the grey


def test_the_order_of_colour_steps_is_the_one_given() -> None:
    image = photo()
    factors = (1.4, 0.6, 0.7)
    by_hand = image
    for which in (2, 0, 1):
        by_hand = jittered(by_hand, factors, (which,))
    assert np.array_equal(jittered(image, factors, (2, 0, 1)), by_hand)
    assert not np.array_equal(jittered(image, factors, (0, 1, 2)), by_hand)


def test_scaled_values_are_rounded_half_to_even_and_kept_within_0_and_255() -> None:
    image = np.array([[[0], [1], [3], [200]]], np.uint8)
    assert scaled(image, 0.5, 0.0).ravel().tolist() == [0, 0, 2, 100]
    assert scaled(image, 2.0, -5.0).ravel().tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("shift", [(0, 0, 0), (20, 0, 0), (-20, 0, 0), (0, 30, 0), (0, 0, -40), (12, -9, 25)])
def test_hue_is_shifted_and_lightness_and_saturation_are_shifted_and_clipped(shift: tuple[int, int, int]) -> None:
    image = photo()
    found = shifted_hls(image, np.array(shift)).astype(float)
    hls = cv2.cvtColor(image, cv2.COLOR_RGB2HLS).astype(int) + shift
    expected = np.zeros_like(found)
    for place in np.ndindex(image.shape[:2]):
        h, lightness, s = np.clip(hls[place], 0, (180, 255, 255)) / (180, 255, 255)
        expected[place] = np.array(colorsys.hls_to_rgb(h, lightness, s)) * 255
    assert np.abs(found - expected).max() <= 2  # OpenCV computes with fewer bits


def test_lighting_adds_the_principal_colours_and_truncates_the_sum() -> None:
    image = photo()
    amounts = np.array([0.1, -0.2, 0.3])
    shift = np.zeros(3)
    for value, vector, amount in zip(
        (55.46, 4.794, 1.148),
        ((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203)),
        amounts,
        strict=True,
    ):
        shift += value * np.array(vector) * amount
    expected = np.clip(np.floor(np.maximum(image + shift, 0)), 0, 255)
    assert np.array_equal(lit(image, amounts), expected)
    assert (lit(np.full((1, 1, 3), 100, np.uint8), np.array([0.01, 0.0, 0.0])) == 99).all()  # 100 - 0.3
