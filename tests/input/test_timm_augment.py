import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from tests.data.photos import array, part

from tench.compat import import_timm
from tench.errors import UsageError
from tench.input import timm_augment
from tench.input.draws import normal, uniforms
from tench.input.timm_augment import TIMM_OPS, TimmRandAugment

MEAN = (124, 116, 104)


class Replayed:
    """Replaces the module `random` in timm. Returns what our draws mean there."""

    strength: float
    filter: float

    def __init__(self, draws: Any, probability: float) -> None:
        self.ops = iter(draws.reshape(-1, 5).tolist())
        self.probability = probability
        self.asked: Iterator[float] = iter(())

    def next_op(self) -> None:
        _, applied, self.strength, sign, self.filter = next(self.ops)
        self.asked = iter([applied, sign] if self.probability < 1 else [sign])

    def random(self) -> float:
        number = next(self.asked)
        return 0.6 if number == 0.5 else number  # tench and timm treat a tie differently

    def gauss(self, mean: float, deviation: float) -> float:
        return mean + deviation * normal(self.strength)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.strength

    def choice(self, options: Any) -> Any:
        return options[int(self.filter * len(options))]


def posterized(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """timm's posterize, which also accepts 0 bits: black in Pillow before 13, and an error since."""
    from timm.data.auto_augment import posterize

    return posterize(image, bits) if bits >= 1 else Image.new(image.mode, image.size)


def by_timm(text: str, image: Image.Image, draws: Any, monkeypatch: pytest.MonkeyPatch) -> Image.Image:
    import_timm()
    from timm.data import auto_augment

    theirs = auto_augment.rand_augment_transform(text, {"translate_const": 100, "img_mean": MEAN})
    assert [op.name.removesuffix("Increasing").removesuffix("Rel").lower() for op in theirs.ops] == [
        name.replace("_", "") for name in TIMM_OPS
    ]
    replayed = Replayed(draws, theirs.ops[0].prob)
    monkeypatch.setattr(auto_augment, "random", replayed)
    assert draws.size == 5 * theirs.num_layers
    for op in theirs.ops:
        if op.name.startswith("Posterize"):
            op.aug_fn = posterized
    for which in draws.reshape(-1, 5)[:, 0]:
        replayed.next_op()
        image = theirs.ops[int(which * len(theirs.ops))](image)
    return image


POLICIES = [
    "rand",
    "rand-m9-n2-mstd0.5-inc1",
    "rand-m7-mstd0.5-inc1",
    "rand-m9-mstd0.5",
    "rand-m0-p1",
    "rand-m10-p1.0-inc0",
    "rand-inc1-n3-p0.8-m6",
    "rand-m20-mstd5-mmax30-inc1-p1",
    "rand-m25-mmax30-p1",
    "rand-m10-mstd101-inc1-p1",
]


@pytest.mark.parametrize("text", POLICIES)
def test_the_pixels_match_timm_on_the_same_draws(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = TimmRandAugment.parse(text, MEAN)
    for number, draws in enumerate(uniforms(1, 0, np.arange(60), policy.num_draws)):
        image = part(40, 40, number)
        assert np.array_equal(policy(array(image), draws), array(by_timm(text, image, draws, monkeypatch))), number


def test_every_operation_in_both_directions_matches_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    image = part(33, 33)
    for text in ("rand-m9-n1-inc1", "rand-m9-n1"):
        policy = TimmRandAugment.parse(text, MEAN)
        for op, sign, filter_ in itertools.product(range(15), (0.1, 0.9), (0.1, 0.9)):
            draws = np.array([(op + 0.5) / 15, 0.2, 0.5, sign, filter_])
            theirs = array(by_timm(text, image, draws, monkeypatch))
            assert np.array_equal(policy(array(image), draws), theirs), (text, TIMM_OPS[op])


def test_the_string_is_parsed_as_in_timm() -> None:
    parse = TimmRandAugment.parse
    assert parse("rand-m9-n3-mstd0.5-inc1") == TimmRandAugment(magnitude=9, num_ops=3, noise=0.5, increasing=True)
    assert parse("rand") == TimmRandAugment(magnitude=10, num_ops=2, probability=0.5, noise=0, largest=10)
    assert parse("rand-p0.7-mmax20-mstd200") == TimmRandAugment(probability=0.7, largest=20, noise=float("inf"))


@pytest.mark.parametrize(
    "text",
    [
        "rand-",
        "rand-m",
        "rand-mstdinf",
        "rand-tweights",
        "rand-m9.5",
        "rand-m9-m8",
        "rand-n0",
        "rand-p1.5",
        "rand-mmax0",
        "rand-x3",
        "augmix-m3",
    ],
)
def test_a_string_that_timm_would_misread_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected a policy in timm's form, such as rand-m9-n2-mstd0\.5-inc1"):
        TimmRandAugment.parse(text)


def test_operations_are_chosen_with_equal_frequency_and_applied_half_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noting(name: str) -> timm_augment.Operation:
        def operation(image: Any, *_: Any) -> Any:
            seen.append(name)
            return image

        return operation

    monkeypatch.setattr(timm_augment, "_OPERATIONS", {name: noting(name) for name in TIMM_OPS})
    policy = TimmRandAugment()
    for draws in uniforms(0, 0, np.arange(6000), policy.num_draws):
        policy(np.zeros((2, 2, 3), np.uint8), draws)
    assert abs(len(seen) - 6000) < 5 * np.sqrt(3000)
    assert stats.chisquare([seen.count(name) for name in TIMM_OPS]).pvalue > 1e-4


def test_grey_images_keep_their_one_channel() -> None:
    policy = TimmRandAugment.parse("rand-m9-n4-p1-inc1", fill=(118,))
    image = array(part(20, 20, mode="L"))
    for draws in uniforms(2, 0, np.arange(50), policy.num_draws):
        assert policy(image, draws).shape == (20, 20, 1)
