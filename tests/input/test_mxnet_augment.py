import dataclasses
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.data.photos import Pixels, array, part
from tests.support.views import rendered

from tench.errors import TenchError, UsageError
from tench.input import mxnet_augment as module
from tench.input.mxnet_augment import LEVELS, MXNetAugment, mxnet_augment

MIDDLE = np.full(MXNetAugment.num_draws, 0.5)


def photo(width: int = 60, height: int = 45, number: int = 1) -> Pixels:
    return array(part(width, height, number))


def drawn(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).random((count, MXNetAugment.num_draws))


def test_without_parameters_the_centre_is_cropped() -> None:
    assert np.array_equal(rendered(MXNetAugment(size=30), photo()), photo()[7:37, 15:45])


def test_an_image_smaller_than_the_crop_is_enlarged_keeping_its_shape() -> None:
    expected = cv2.resize(photo(), (66, 50), interpolation=cv2.INTER_LINEAR)[:, 8:58]
    assert np.array_equal(rendered(MXNetAugment(size=50), photo()), expected)
    tall = photo(30, 45)
    expected = cv2.resize(tall, (40, 60), interpolation=cv2.INTER_LINEAR)[10:50]
    assert np.array_equal(rendered(MXNetAugment(size=40), tall), expected)


def test_steps_come_in_the_order_resize_affine_pad_crop() -> None:
    view = MXNetAugment(size=40, resize=32, rotate=180, pad=4, fill_value=9, inter_method=0)
    small = cv2.resize(photo(), (42, 32), interpolation=cv2.INTER_NEAREST)
    turned = np.full_like(small, 9)
    turned[1:, 1:] = small[:0:-1, :0:-1]
    expected = np.pad(turned, ((4, 4), (4, 4), (0, 0)), constant_values=9)[:, 5:45]
    assert np.array_equal(rendered(view, photo()), expected)


def test_random_crops_come_from_every_position() -> None:
    image = np.arange(45 * 60).reshape(45, 60)
    pixels = np.stack([image % 251, image // 251, 0 * image], axis=-1).astype(np.uint8)
    view = MXNetAugment(size=43, rand_crop=True)
    corners = {tuple(rendered(view, pixels, draws)[0, 0, :2].tolist()) for draws in drawn(600)}
    assert corners == {(place % 251, place // 251) for place in (60 * y + x for y in range(3) for x in range(18))}


def test_mirroring_happens_always_or_half_the_time_and_comes_last() -> None:
    plain = MXNetAugment(size=30, brightness=0.4)
    always, sometimes = dataclasses.replace(plain, mirror=True), dataclasses.replace(plain, rand_mirror=True)
    mirrored = 0
    for draws in drawn(200):
        expected = rendered(plain, photo(), draws)
        assert np.array_equal(rendered(always, photo(), draws), expected[:, ::-1])
        found = rendered(sometimes, photo(), draws)
        mirrored += int(np.array_equal(found, expected[:, ::-1]))
        assert np.array_equal(found, expected[:, ::-1]) or np.array_equal(found, expected)
    assert mirrored == pytest.approx(100, abs=30)


def spied(monkeypatch: pytest.MonkeyPatch, step: str) -> list[tuple[Any, ...]]:
    """A list that collects the calls of a step: positional arguments without the image, then keyword arguments."""
    calls: list[tuple[Any, ...]] = []
    real = getattr(module, step)

    def spy(image: Pixels, *arguments: Any, **named: Any) -> Pixels:
        calls.append((*arguments, *named.values()))
        result: Pixels = real(image, *arguments, **named)
        return result

    monkeypatch.setattr(module, step, spy)
    return calls


def test_angle_shear_scale_and_ratio_are_random_within_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch, "affine")
    view = MXNetAugment(
        size=20,
        max_rotate_angle=2,
        max_shear_ratio=0.1,
        min_random_scale=0.5,
        max_random_scale=0.8,
        max_aspect_ratio=0.25,
    )
    for draws in drawn(300):
        rendered(view, photo(), draws)
    angles, shears, scales, ratios = zip(*(call[:4] for call in calls), strict=True)
    assert set(angles) == {-2, -1, 0, 1, 2}
    for values, low, high in ((shears, -0.1, 0.1), (scales, 0.5, 0.8), (ratios, 0.75, 1.25)):
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high


def test_a_fixed_angle_overrides_a_random_one_and_a_list_overrides_both(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch, "affine")
    for draws in drawn(30):
        rendered(MXNetAugment(size=20, max_rotate_angle=9, rotate=5), photo(), draws)
    assert {call[0] for call in calls} == {5}
    calls.clear()
    for draws in drawn(60):
        rendered(MXNetAugment(size=20, rotate=5, rotate_list=(0, 90, -30)), photo(), draws)
    assert {call[0] for call in calls} == {0, 90, -30}


def test_crops_of_random_area_and_ratio_are_within_their_ranges_and_tall_as_often_as_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = spied(monkeypatch, "cut")
    view = MXNetAugment(
        size=20, random_resized_crop=True, min_random_area=0.1, min_aspect_ratio=0.5, max_aspect_ratio=0.8
    )
    for draws in drawn(400):
        rendered(view, photo(60, 60), draws)
    sizes = np.array([call[:2] for call in calls], float)
    areas = sizes.prod(axis=1) / (60 * 60)
    assert 0.09 < areas.min() < 0.15
    ratios = sizes.min(axis=1) / sizes.max(axis=1)
    assert 0.45 < ratios.min() < 0.55
    assert 0.75 < ratios.max() < 0.9
    assert (sizes[:, 0] > sizes[:, 1]).mean() == pytest.approx(0.5, abs=0.1)


def test_if_no_random_crop_fits_the_plain_crop_is_used() -> None:
    plain = rendered(MXNetAugment(size=30), photo())
    none_fits = MXNetAugment(
        size=30, random_resized_crop=True, min_aspect_ratio=9.0, max_aspect_ratio=9.0, min_random_area=0.9
    )
    assert np.array_equal(rendered(none_fits, photo()), plain)
    assert np.array_equal(rendered(MXNetAugment(size=30, random_resized_crop=True), photo()), plain)


def test_a_square_of_random_side_is_cropped_at_random_or_from_the_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch, "cut")
    for rand_crop in (False, True):
        view = MXNetAugment(size=20, min_crop_size=25, max_crop_size=28, rand_crop=rand_crop)
        for draws in drawn(100):
            rendered(view, photo(), draws)
    assert {call[:2] for call in calls} == {(side, side) for side in (25, 26, 27, 28)}
    assert [call[2] is None for call in calls] == [True] * 100 + [False] * 100


def test_a_square_larger_than_the_image_is_refused() -> None:
    with pytest.raises(TenchError, match=r"a crop of 50 pixels does not fit in an image of 45 x 60\. Set"):
        rendered(MXNetAugment(size=20, min_crop_size=50, max_crop_size=50), photo())


def test_colours_change_within_their_ranges_in_all_six_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    jitters, shifts, lights = (spied(monkeypatch, step) for step in ("jittered", "shifted_hls", "lit"))
    view = MXNetAugment(
        size=20, brightness=0.1, contrast=0.2, saturation=0.4, random_h=36, random_s=50, random_l=20, pca_noise=0.1
    )
    for draws in drawn(500):
        rendered(view, photo(), draws)
    factors = np.array([call[0] for call in jitters])
    limits = np.array([0.1, 0.2, 0.4])
    assert (np.abs(factors - 1) <= limits).all()
    assert (np.abs(factors - 1).max(axis=0) > 0.95 * limits).all()
    assert len({call[1] for call in jitters}) == 6
    hls = np.array([call[0] for call in shifts])
    assert (np.abs(hls) <= (36, 20, 50)).all()
    assert (np.abs(hls).max(axis=0) > (29, 16, 40)).all()
    # (u + 4 u') / 5 is rarely near the ends.
    assert np.abs(hls / (36, 20, 50)).std(axis=0) == pytest.approx(0.27, abs=0.05)
    noise = np.array([call[0] for call in lights])
    assert noise.std(axis=0) == pytest.approx([0.1] * 3, abs=0.01)
    assert noise.mean(axis=0) == pytest.approx([0] * 3, abs=0.015)


def test_interpolation_10_chooses_one_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch, "resized")
    for draws in drawn(60):
        rendered(MXNetAugment(size=20, resize=30, inter_method=10), photo(), draws)
    assert {call[2] for call in calls} == {0, 1, 2, 3, 4}


def test_draws_at_their_limits_are_rendered_at_every_level() -> None:
    for level in LEVELS:
        view = mxnet_augment(24, level, "resize=30 inter_method=10")
        for draws in (np.zeros(view.num_draws), np.full(view.num_draws, 1 - 2.0**-32)):
            assert rendered(view, photo(), draws).shape == (24, 24, 3)
        for draws in drawn(20):
            assert rendered(view, photo(), draws).std() > 0


def test_grey_images_pass_through_the_geometric_steps() -> None:
    view = mxnet_augment(24, "1", "pad=3 rotate=10 resize=30")
    found = rendered(view, photo()[..., :1])
    colour = rendered(view, np.repeat(photo()[..., :1], 3, axis=-1))
    assert np.array_equal(found[..., 0], colour[..., 0])
    assert not view.needs_colour
    assert [level for level in LEVELS if mxnet_augment(8, level, "").needs_colour] == ["2", "3", "imagenet"]


def test_levels_match_the_settings_of_mxnets_programs() -> None:
    first = MXNetAugment(size=224, rand_crop=True, rand_mirror=True, fill_value=127)
    second = dataclasses.replace(first, random_h=36, random_s=50, random_l=50)
    third = dataclasses.replace(second, max_rotate_angle=10, max_shear_ratio=0.1, max_aspect_ratio=0.25)
    assert [mxnet_augment(224, level, "") for level in ("1", "2", "3")] == [first, second, third]


def test_parameters_override_the_levels() -> None:
    text = "rand_crop=0 pad=4  fill_value=0 min_aspect_ratio=0.5 max_aspect_ratio=2 rotate_list=0,90,-90 mirror=true"
    assert mxnet_augment(24, "1", text) == MXNetAugment(
        size=24,
        rand_mirror=True,
        mirror=True,
        pad=4,
        fill_value=0,
        min_aspect_ratio=0.5,
        max_aspect_ratio=2.0,
        rotate_list=(0, 90, -90),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rand_corp=1", "'rand_corp=1': not a parameter of MXNet's augmentation. Did you mean 'rand_crop'"),
        ("size=3", "'size=3': not a parameter of MXNet's augmentation."),
        ("pad=wide", "'pad=wide': invalid value. An example of valid parameters: rotate_list=0,90 rand_crop=1."),
        ("pad", "'pad': invalid value"),
        ("mirror=2", "'mirror=2': invalid value"),
        ("brightness=nan", "'brightness=nan': invalid value"),
        (
            "random_resized_crop=1",
            "MXNet's augmentation: random_resized_crop excludes rand_crop, random",
        ),
        (
            "max_crop_size=30",
            "MXNet's augmentation: min_crop_size and max_crop_size must both be set, 0 < min <= max.",
        ),
        ("min_random_scale=2", "MXNet's augmentation: scales must be 0 < min <= max."),
        ("min_random_area=2", "MXNet's augmentation: areas must be 0 < min <= max."),
        ("max_aspect_ratio=1", "MXNet's augmentation: aspect ratios must be 0 < min <= max."),
        ("inter_method=5", "MXNet's augmentation: inter_method must be one of 0, 1, 2, 3, 4, 9, 10."),
        ("fill_value=256", "MXNet's augmentation: fill_value must be 0 to 255."),
        ("pca_noise=-1", "MXNet's augmentation: limits of ranges around 0 must be >= 0."),
        ("pad=-1", "MXNet's augmentation: pad must be >= 0."),
        ("resize=0", "MXNet's augmentation: resize must be >= 1, or -1 for none."),
    ],
)
def test_an_invalid_parameter_is_refused_and_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        mxnet_augment(24, "1", text)
    assert str(refused.value).startswith(message)
