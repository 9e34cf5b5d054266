import functools
import math
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.views import assert_resized_like_torch, photo_array, rendered

from tench.compat import import_torchvision
from tench.input import views as module
from tench.input.augment import Augmented, Cutout
from tench.input.draws import uniforms
from tench.input.mxnet_augment import MXNetAugment
from tench.input.resampling import Interpolation, antialiased
from tench.input.resize_crop import ResizeCrop
from tench.input.views import Crop, EvalView, Fill, PadCrop, RandomResizedCrop, View, padded, view_draws

Pixels = npt.NDArray[np.uint8]


def part(height: int, width: int, channels: int = 3) -> Pixels:
    """A part of the photograph, which is tiled if it is too small."""
    rows, columns = np.arange(height) % 427, (150 + np.arange(width)) % 640
    return photo_array(channels)[rows[:, None], columns]


def pillow(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def in_torchvision(image: Pixels, size: int, resized: int, interpolation: str, *, v2: bool) -> Pixels:
    """A Pillow image after torchvision's Resize and CenterCrop."""
    import_torchvision()
    from torchvision import transforms as v1
    from torchvision.transforms import v2 as new

    transforms: Any = new if v2 else v1
    mode = v1.InterpolationMode(interpolation)
    chain = transforms.Compose([transforms.Resize(resized, interpolation=mode), transforms.CenterCrop(size)])
    return np.asarray(chain(pillow(image))).reshape(size, size, image.shape[2])


SIZES = [
    (60, 80),
    (80, 60),
    (32, 32),
    (33, 35),
    (37, 1),
    (1, 37),
    (1, 1),
    (5, 7),
    (200, 33),
    (427, 640),
    (36, 36),
    (36, 99),
]


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("v2", [False, True])
def test_the_evaluation_view_matches_torchvision_pixel_for_pixel(
    interpolation: Interpolation, channels: int, v2: bool
) -> None:
    for height, width in SIZES:
        for size, resized in ((32, 36), (31, 36), (224, 256) if channels == 3 else (224, 224)):
            image = part(height, width, channels)
            ours = rendered(EvalView(size=size, resize=resized, interpolation=interpolation), image)
            theirs = in_torchvision(image, size, resized, interpolation, v2=v2)
            assert np.array_equal(ours, theirs), (height, width, size, resized)


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_a_squashing_view_matches_pillow_pixel_for_pixel(interpolation: Interpolation) -> None:
    for height, width in SIZES:
        for size, resized in ((32, 36), (31, 36), (64, 64)):
            image = part(height, width)
            view = EvalView(size=size, resize=resized, interpolation=interpolation, squash=True)
            whole = Image.fromarray(image).resize((resized, resized), Image.Resampling[interpolation.upper()])
            edge = round((resized - size) / 2)
            theirs = np.asarray(whole)[edge : edge + size, edge : edge + size]
            assert np.array_equal(rendered(view, image), theirs), (height, width, size, resized)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(1, 40),
    margin=st.integers(0, 20),
    interpolation=st.sampled_from(get_args(Interpolation)),
)
def test_the_evaluation_view_matches_torchvision_at_any_size(
    height: int, width: int, size: int, margin: int, interpolation: Interpolation
) -> None:
    image = part(height, width)
    ours = rendered(EvalView(size=size, resize=size + margin, interpolation=interpolation), image)
    assert np.array_equal(ours, in_torchvision(image, size, size + margin, interpolation, v2=True))


def test_an_image_of_the_evaluation_size_stays_unchanged() -> None:
    assert np.array_equal(rendered(EvalView(size=40, resize=40), part(40, 40)), part(40, 40))


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match="interpolation 'lanczos': expected one of"):
        EvalView(size=5, resize=5, interpolation="lanczos")  # type: ignore[arg-type]


def test_a_crop_larger_than_the_resized_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a square of 256 pixels does not fit if the shorter side is 224"):
        EvalView(size=256, resize=224)


def crops_of(view: RandomResizedCrop, height: int, width: int, count: int = 4000, seed: int = 1) -> list[Crop]:
    draws = uniforms(seed, 0, np.arange(count), view.num_draws)
    return [view.crop(height, width, numbers) for numbers in draws]


@functools.cache
def boxes_in_torchvision(height: int, width: int, count: int = 4000) -> npt.NDArray[np.int64]:
    """(count, 4): top, left, height, width of torchvision's own draws."""
    import_torchvision()
    from torchvision.transforms import RandomResizedCrop as Theirs

    image = torch.empty((3, height, width))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        boxes = [Theirs.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    return np.array(boxes)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (224, 224), (300, 120), (40, 333)])
def test_random_resized_crops_have_the_distribution_of_torchvisions(height: int, width: int) -> None:
    view = RandomResizedCrop(size=224)
    ours = np.array([crop[:4] for crop in crops_of(view, height, width)], float)
    theirs = boxes_in_torchvision(height, width).astype(float)

    def features(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        top, left, h, w = boxes.T
        area = h * w / (height * width)
        return np.stack(
            [area, area**2, np.log(w / h), np.log(w / h) ** 2, (top + h / 2) / height, (left + w / 2) / width]
        )

    mean, expected = features(ours).mean(axis=1), features(theirs).mean(axis=1)
    error = np.sqrt(features(ours).var(axis=1) / len(ours) + features(theirs).var(axis=1) / len(theirs))
    assert np.all(np.abs(mean - expected) <= 5 * error + 1e-12), (mean, expected)
    for column in range(4):
        ranks = np.quantile(ours[:, column], [0.1, 0.25, 0.5, 0.75, 0.9])
        expected_ranks = np.quantile(theirs[:, column], [0.1, 0.25, 0.5, 0.75, 0.9])
        assert np.abs(ranks - expected_ranks).max() <= 0.05 * max(height, width)


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (1, 3000), (3000, 1)])
def test_if_no_box_fits_the_centre_is_used_as_in_torchvision(height: int, width: int) -> None:
    theirs = {tuple(box) for box in boxes_in_torchvision(height, width, 50).tolist()}
    ours = {crop[:4] for crop in crops_of(RandomResizedCrop(size=224), height, width, 50)}
    assert ours == theirs
    assert len(theirs) == 1


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    draws=st.lists(st.sampled_from([0.0, 0.3, 0.999, 1 - 2.0**-32]), min_size=23, max_size=23),
    least=st.floats(0.001, 1),
)
def test_a_box_always_lies_inside_the_image(height: int, width: int, draws: list[float], least: float) -> None:
    crop = RandomResizedCrop(size=8, scale=(least, 1.0)).crop(height, width, np.array(draws))
    assert 0 <= crop.top < crop.top + crop.height <= height
    assert 0 <= crop.left < crop.left + crop.width <= width


def test_a_box_may_be_at_any_position() -> None:
    view = RandomResizedCrop(size=8, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    crops = crops_of(view, 8, 8, 2000)
    assert {crop[2:4] for crop in crops} == {(4, 4)}
    assert {crop[:2] for crop in crops} == {(top, left) for top in range(5) for left in range(5)}


@pytest.mark.parametrize(("flip", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_the_fraction_of_mirrored_views_is_the_probability(flip: float, expected: float) -> None:
    crops = crops_of(RandomResizedCrop(size=8, flip=flip), 50, 60)
    share = np.mean([crop.flip for crop in crops])
    pad_crop = PadCrop(size=8, pad=1, flip=flip)
    flips = pad_crop.offsets(uniforms(0, 0, np.arange(4000), pad_crop.num_draws))[2]
    for found in (share, flips.mean()):
        assert abs(found - expected) <= 5 * math.sqrt(expected * (1 - expected) / 4000)


ALTERNATING: list[View] = [
    PadCrop(size=8, pad=1, flip_form="alternate"),
    RandomResizedCrop(size=8, flip_form="alternate"),
    ResizeCrop(size=8, flip_form="alternate"),
    Augmented(PadCrop(size=8, pad=1, flip_form="alternate"), (Cutout(side=3),)),
]
OTHERS: list[View] = [
    PadCrop(size=8, pad=1),
    RandomResizedCrop(size=8, interpolation="random"),
    ResizeCrop(size=8),
    EvalView(size=8, resize=9),
    MXNetAugment(size=8),
    Augmented(PadCrop(size=8, pad=1), (Cutout(side=3),)),
]


@pytest.mark.parametrize("view", OTHERS)
def test_a_view_is_rendered_with_the_numbers_of_its_seed_epoch_and_row(view: View) -> None:
    keys = np.array([3, 9, 2**40])
    for epoch in range(3):
        assert np.array_equal(view_draws(view, 7, epoch, keys), uniforms(7, epoch, keys, view.num_draws))


@pytest.mark.parametrize("view", ALTERNATING)
def test_alternating_mirroring_changes_only_its_own_number(view: View) -> None:
    keys = np.arange(50)
    first = uniforms(7, 0, keys, 1)[:, 0]
    for epoch in range(4):
        draws = view_draws(view, 7, epoch, keys)
        assert np.array_equal(draws[:, 1:], uniforms(7, epoch, keys, view.num_draws)[:, 1:])
        assert np.array_equal(draws[:, 0], 1 - 2.0**-32 - first if epoch in (1, 3) else first)


@pytest.mark.parametrize("view", ALTERNATING)
def test_two_consecutive_epochs_mirror_each_image_once_and_half_of_them_in_each(view: View) -> None:
    flips = np.stack([view_draws(view, 1, epoch, np.arange(4000))[:, 0] < 0.5 for epoch in range(5)])
    assert (flips[:-1] != flips[1:]).all()
    assert np.abs(flips.mean(axis=1) - 0.5).max() < 5 * 0.5 / math.sqrt(4000)


def test_alternating_mirroring_keeps_its_probability_in_each_epoch() -> None:
    for flip, expected in ((0.0, 0.0), (0.3, 0.3), (1.0, 1.0)):
        view = PadCrop(size=8, pad=1, flip=flip, flip_form="alternate")
        for epoch in range(2):
            share = view.offsets(view_draws(view, 0, epoch, np.arange(4000)))[2].mean()
            assert abs(share - expected) <= 5 * math.sqrt(expected * (1 - expected) / 4000)


def test_views_with_extreme_and_middle_numbers_are_mirrored_in_one_of_two_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = np.array([[0.0], [0.5 - 2.0**-32], [0.5], [1 - 2.0**-32]])
    monkeypatch.setattr(module, "uniforms", lambda seed, epoch, keys, count: np.repeat(drawn, count, axis=1))
    flips = [view_draws(ALTERNATING[0], 0, epoch, np.arange(4))[:, 0] for epoch in range(2)]
    assert [(numbers < 0.5).tolist() for numbers in flips] == [[True, True, False, False], [False, False, True, True]]
    assert all((numbers >= 0).all() and (numbers < 1).all() for numbers in flips)


def test_a_random_resized_crop_is_its_box_resized_and_mirrored() -> None:
    view = RandomResizedCrop(size=24)
    for numbers in uniforms(3, 0, np.arange(40), view.num_draws):
        top, left, height, width, flip = view.crop(90, 120, numbers)
        box = np.ascontiguousarray(part(90, 120)[top : top + height, left : left + width])
        expected = np.empty((24, 24, 3), np.uint8)
        antialiased(box, expected)
        assert np.array_equal(rendered(view, part(90, 120), numbers), np.fliplr(expected) if flip else expected)


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_a_random_resized_crop_matches_torchvisions_resized_crop_of_a_tensor(interpolation: Interpolation) -> None:
    import_torchvision()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2.functional import resized_crop

    view = RandomResizedCrop(size=24, interpolation=interpolation)
    tensor = torch.from_numpy(part(90, 120)).permute(2, 0, 1)
    for numbers in uniforms(4, 0, np.arange(30), view.num_draws):
        *box, flip = view.crop(90, 120, numbers)
        theirs = resized_crop(tensor, *box, [24, 24], InterpolationMode(interpolation), antialias=True)
        expected = theirs.permute(1, 2, 0).numpy()
        assert_resized_like_torch(rendered(view, part(90, 120), numbers), expected[:, ::-1] if flip else expected)


def test_a_random_interpolation_is_chosen_per_image_and_changes_nothing_else() -> None:
    view = RandomResizedCrop(size=16, interpolation="random")
    plain = RandomResizedCrop(size=16)
    assert view.num_draws == plain.num_draws + 1
    image, kinds = part(60, 80), []
    for numbers in uniforms(2, 0, np.arange(400), view.num_draws):
        assert view.crop(60, 80, numbers) == plain.crop(60, 80, numbers[:-1])
        found = rendered(view, image, numbers)
        bilinear, bicubic = (
            rendered(RandomResizedCrop(size=16, interpolation=kind), image, numbers[:-1])
            for kind in get_args(Interpolation)
        )
        assert not np.array_equal(bilinear, bicubic)
        kinds.append(np.array_equal(found, bicubic))
        assert np.array_equal(found, bicubic if kinds[-1] else bilinear)
    assert abs(np.mean(kinds) - 0.5) < 5 * 0.5 / math.sqrt(400)


def test_a_mirrored_view_is_the_view_from_right_to_left() -> None:
    view = RandomResizedCrop(size=16)
    draws = uniforms(0, 0, np.array([5]), view.num_draws)[0]
    mirrored, straight = draws.copy(), draws.copy()
    mirrored[0], straight[0] = 0.2, 0.8
    image = part(50, 70)
    assert np.array_equal(rendered(view, image, mirrored), rendered(view, image, straight)[:, ::-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pad_crop_is_a_slice_of_the_padded_image(channels: int) -> None:
    view = PadCrop(size=12, pad=3)
    image = part(12, 12, channels)
    bordered = np.pad(image, ((3, 3), (3, 3), (0, 0)))
    for down in range(7):
        for right in range(7):
            for flip in (0.0, 0.9):
                draws = np.array([flip, (down + 0.5) / 7, (right + 0.5) / 7])
                expected = bordered[down : down + 12, right : right + 12]
                found = rendered(view, image, draws)
                assert np.array_equal(found, expected[:, ::-1] if flip < 0.5 else expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("fill", "border"), [(0, cv2.BORDER_CONSTANT), (127, cv2.BORDER_CONSTANT), ("reflect", 4)])
def test_the_border_has_one_value_or_is_mirrored_as_opencv_does(fill: Fill, border: int, channels: int) -> None:
    image = part(12, 12, channels)
    value = (fill,) * 4 if isinstance(fill, int) else None
    expected = cv2.copyMakeBorder(image, 3, 3, 3, 3, border, value=value).reshape(18, 18, channels)
    assert cv2.BORDER_REFLECT_101 == 4
    assert np.array_equal(padded(image, 3, fill), expected)
    assert np.array_equal(padded(image[None], 3, fill), expected[None])
    view = PadCrop(size=12, pad=3, flip=0, fill=fill)
    assert np.array_equal(rendered(view, image, np.array([0.9, 0.0, 0.99])), expected[:12, 6:])


def test_every_position_of_a_pad_crop_is_equally_frequent() -> None:
    view = PadCrop(size=32, pad=4)
    top, left, _ = view.offsets(uniforms(0, 0, np.arange(8100), view.num_draws))
    counts = np.bincount(top * 9 + left, minlength=81)
    assert len(counts) == 81
    assert np.abs(counts - 100).max() < 5 * math.sqrt(100)


def test_an_image_of_another_size_is_pad_cropped_from_its_evaluation_view() -> None:
    view = PadCrop(size=12, pad=3)
    image = part(20, 31)
    still = rendered(EvalView(size=12, resize=12), image)
    draws = np.array([0.7, 0.1, 0.6])
    assert np.array_equal(rendered(view, image, draws), rendered(view, still, draws))


def test_without_padding_a_pad_crop_is_the_image() -> None:
    assert np.array_equal(rendered(PadCrop(size=9, pad=0, flip=0), part(9, 9), np.full(3, 0.99)), part(9, 9))


def test_an_image_of_one_pixel_can_be_rendered_in_every_view() -> None:
    image = np.full((1, 1, 3), 9, np.uint8)
    views: list[View] = [RandomResizedCrop(size=5), EvalView(size=5, resize=6), PadCrop(size=5, pad=0)]
    for view in views:
        draws = np.full(view.num_draws, 0.5)
        assert (rendered(view, image, draws) == 9).all()
