"""MXNet's augmenter and ours: equal without randomness, and MXNet's random changes are within our ranges."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.data.photos import Pixels, array, encoded, part
from tests.interop.conftest import Ask
from tests.support.views import rendered

from tench.cli.main import main
from tench.data.images.picture import Decoded
from tench.input.mxnet_augment import MXNetAugment, mxnet_augment
from tench.input.mxnet_steps import jittered, shifted_hls

pytestmark = pytest.mark.interop("mxnet")

Augmented = Callable[[list[tuple[int, str]]], list[Pixels]]
SIZES = ((60, 45), (40, 64), (50, 50))
CUBIC = 1  # OpenCV's rounding in cubic interpolation depends on the CPU instructions of its build
AFFINE = 4  # OpenCV 5 rounds differently from 4 in warpAffine; with OpenCV 4.5.5 on both sides, there is no difference
CASES = [
    (24, "resize=32", 0),
    (24, "resize=70", 0),
    (30, "", 0),
    (48, "", 0),
    (64, "", 0),
    (30, "resize=20", 0),
    (30, "mirror=1", 0),
    (48, "pad=4 fill_value=127", 0),
    (40, "pad=4 fill_value=0", 0),
    (24, "min_crop_size=30 max_crop_size=30", 0),
    (45, "min_crop_size=30 max_crop_size=30", 0),
    *((24, f"resize={side} inter_method={method}", 0) for side in (32, 70) for method in (0, 1, 3, 4)),
    *((24, f"resize={side} inter_method={method}", CUBIC) for side in (32, 70) for method in (2, 9)),
    (40, "rotate=30 fill_value=9", AFFINE),
    (40, "rotate=170", AFFINE),
    (40, "rotate_list=45", AFFINE),
    (40, "min_random_scale=1.5 max_random_scale=1.5", AFFINE),
    (20, "min_random_scale=0.5 max_random_scale=0.5", AFFINE),
    (40, "min_aspect_ratio=1.4 max_aspect_ratio=1.4", AFFINE),
    (24, "max_img_size=44", AFFINE),
    (40, "min_img_size=70", AFFINE),
    *((30, f"rotate=20 inter_method={method}", AFFINE) for method in (1, 2, 4, 9)),
    (24, "resize=32 pad=3 rotate=10", AFFINE),
]


def photos() -> list[Pixels]:
    return [array(part(*size, number)) for number, size in enumerate(SIZES)]


@pytest.fixture
def augmented(tmp_path: Path, ask: Ask) -> Augmented:
    """A function that augments the photographs with MXNet: (3, side, side, 3) for each (side, parameters)."""
    for number, size in enumerate(SIZES):
        path = tmp_path / f"photos/train/{number}/0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(part(*size, number), "PNG"))
    assert main(["prepare", str(tmp_path / "photos"), str(tmp_path / "records"), "--to", "recordio"]) == 0

    def augmented(cases: list[tuple[int, str]]) -> list[Pixels]:
        sets = [(side, dict(word.split("=") for word in text.split())) for side, text in cases]
        to = tmp_path / "augmented.npz"
        ask("mxnet", "augment_mxnet.py", tmp_path / "records/train.rec", to, json.dumps(sets))
        with np.load(to) as found:
            return [found[str(number)] for number in range(len(cases))]

    return augmented


def furthest(first: Pixels, second: Pixels) -> int:
    return int(np.abs(first.astype(int) - second).max())


def test_without_randomness_the_pixels_equal_mxnets(augmented: Augmented) -> None:
    found = augmented([(side, text) for side, text, _ in CASES])
    for (side, text, rounding), theirs in zip(CASES, found, strict=True):
        view = mxnet_augment(side, "0", "fill_value=255 " + text)
        for image, expected in zip(photos(), theirs, strict=True):
            out = np.zeros((side, side, 3), np.uint8)
            view.render(Decoded(image), np.full(view.num_draws, 0.5), out)
            assert furthest(out, expected) <= rounding, text


@pytest.mark.parametrize("which", range(3))
def test_every_colour_change_of_mxnet_is_within_our_range_of_factors(augmented: Augmented, which: int) -> None:
    name = ("brightness", "contrast", "saturation")[which]
    (theirs,) = augmented([(40, f"{name}=0.4")])
    for image, expected in zip(photos(), theirs, strict=True):
        centre = rendered(MXNetAugment(size=40), image)
        factors = [[1.0] * which + [factor] + [1.0] * (2 - which) for factor in np.arange(0.6, 1.4, 0.0005).tolist()]
        assert min(furthest(jittered(centre, one, (which,)), expected) for one in factors) <= 1


@pytest.mark.parametrize("which", range(3))
def test_every_hls_change_of_mxnet_is_within_our_range_of_shifts(augmented: Augmented, which: int) -> None:
    (theirs,) = augmented([(40, f"random_{'hls'[which]}=30")])
    for image, expected in zip(photos(), theirs, strict=True):
        centre = rendered(MXNetAugment(size=40), image)
        shifts = np.eye(3, dtype=np.int64)[which] * np.arange(-30, 31)[:, None]
        assert min(furthest(shifted_hls(centre, shift), expected) for shift in shifts) <= 1


def test_lighting_shifts_each_channel_by_one_truncated_number(augmented: Augmented) -> None:
    (theirs,) = augmented([(40, "pca_noise=0.01")])  # shifts below 1: a channel is shifted down by one, or not at all
    for image, expected in zip(photos(), theirs, strict=True):
        change = expected.astype(int) - rendered(MXNetAugment(size=40), image)
        for channel in range(3):
            inner = change[..., channel][expected[..., channel] > 0]
            assert set(inner.tolist()) in ({0}, {-1})
