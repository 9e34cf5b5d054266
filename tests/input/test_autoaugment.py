import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.data.photos import Pixels, array, part

from tench.compat import import_torchvision
from tench.input import autoaugment
from tench.input.autoaugment import AUTO_POLICIES, RAND_OPS, AutoAugment, RandAugment, TrivialAugmentWide
from tench.input.draws import uniforms


class Replayed:
    """Replaces the module `torch` in torchvision's policies. Its random integers are the given ones, in order."""

    def __init__(self, integers: list[int]) -> None:
        self.integers = iter(integers)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randint(self, high: int, *_: Any, **__: Any) -> torch.Tensor:
        drawn = next(self.integers)
        assert 0 <= drawn < high
        return torch.tensor([drawn])


def theirs() -> Any:
    import_torchvision()
    from torchvision.transforms import autoaugment as module

    return module


def mode(resample: str) -> Any:
    theirs()
    from torchvision.transforms import InterpolationMode

    return InterpolationMode(resample)


SIGNED = {name for name, scale in autoaugment._scales(31, 32, 32).items() if scale.signed}
SIZES = [(40, 40), (37, 52)]
FILL = (9, 130, 251)


def apply(image: Any, policy: Any, integers: list[int], monkeypatch: pytest.MonkeyPatch) -> Pixels:
    monkeypatch.setattr(theirs(), "torch", Replayed(integers))
    try:
        return array(policy(image))
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize(("magnitude", "bins", "num_ops"), [(9, 31, 2), (0, 31, 1), (30, 31, 1), (7, 10, 3)])
@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
def test_randaugment_matches_torchvision_on_the_same_draws(
    magnitude: int, bins: int, num_ops: int, resample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = RandAugment(num_ops=num_ops, magnitude=magnitude, bins=bins, fill=FILL, resample=resample)
    their = theirs().RandAugment(num_ops, magnitude, bins, mode(resample), list(FILL))
    assert ours.num_draws == 2 * num_ops
    for number, draws in enumerate(uniforms(0, 0, np.arange(60), ours.num_draws)):
        image = part(*SIZES[number % 2], number)
        integers = []
        for which, sign in draws.reshape(-1, 2):
            integers.append(int(which * 14))
            if RAND_OPS[integers[-1]] in SIGNED:
                integers.append(int(sign * 2))
        assert np.array_equal(ours(array(image), draws), apply(image, their, integers, monkeypatch)), number


@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
def test_trivialaugment_matches_torchvision_for_every_operation_strength_and_sign(
    resample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = TrivialAugmentWide(resample=resample)
    their = theirs().TrivialAugmentWide(interpolation=mode(resample))
    strong = set(autoaugment._wide_scales(31))
    image = part(24, 24)
    for op, strength, sign in itertools.product(range(14), range(31), (0, 1)):
        draws = np.array([(op + 0.5) / 14, (strength + 0.5) / 31, (sign + 0.5) / 2])
        integers = [
            op,
            *([strength] if RAND_OPS[op] in strong else []),
            *([sign] if RAND_OPS[op] in SIGNED else []),
        ]
        expected = apply(image, their, integers, monkeypatch)
        assert np.array_equal(ours(array(image), draws), expected), (RAND_OPS[op], strength, sign)


@pytest.mark.parametrize("policy", AUTO_POLICIES)
def test_autoaugment_matches_torchvision_on_the_same_draws(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = theirs()
    ours = AutoAugment(policy=policy)
    their = module.AutoAugment(module.AutoAugmentPolicy(policy))
    for number, draws in enumerate(uniforms(0, 0, np.arange(150), ours.num_draws)):
        params = (int(draws[0] * 25), torch.from_numpy(draws[1:3]), torch.from_numpy((draws[3:] * 2).astype(int)))
        monkeypatch.setattr(their, "get_params", lambda _, params=params: params)
        image = part(40, 30, number)
        assert np.array_equal(ours(array(image), draws), array(their(image))), number


@pytest.mark.parametrize("policy", AUTO_POLICIES)
def test_the_tables_of_autoaugment_match_torchvision(policy: str) -> None:
    module = theirs()
    expected = [
        tuple((name.lower(), chance, strength or 0) for name, chance, strength in pair)
        for pair in module.AutoAugment(module.AutoAugmentPolicy(policy)).policies
    ]
    found = [
        tuple((name.replace("_", ""), chance, strength) for name, chance, strength in pair)
        for pair in AUTO_POLICIES[policy]
    ]
    assert found == expected
    assert len(found) == 25


@pytest.mark.parametrize("bins", [2, 9, 10, 11, 31, 32])
def test_strengths_match_torchvision_for_any_number_of_bins(bins: int) -> None:
    module = theirs()
    pairs = [
        (autoaugment._scales(bins, 50, 70), module.RandAugment()._augmentation_space(bins, (50, 70))),
        (autoaugment._wide_scales(bins), module.TrivialAugmentWide()._augmentation_space(bins)),
    ]
    for ours, their in pairs:
        scales = {name.replace("_", ""): scale for name, scale in ours.items()}
        for name, (values, signed) in their.items():
            scale = scales.get(name.lower())
            if values.ndim:
                assert scale is not None, name
                assert (list(scale.values), scale.signed) == (values.tolist(), signed), name
            else:
                assert scale is None, name


@pytest.mark.parametrize("policy", [RandAugment(), TrivialAugmentWide()])
def test_operations_and_signs_are_chosen_with_equal_frequency(
    policy: RandAugment | TrivialAugmentWide, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float]] = []

    def noting(name: str) -> autoaugment.Operation:
        def operation(image: Pixels, value: float, *_: Any) -> Pixels:
            seen.append((name, value))
            return image

        return operation

    monkeypatch.setattr(autoaugment, "_OPERATIONS", {name: noting(name) for name in RAND_OPS})
    for draws in uniforms(0, 0, np.arange(8000), policy.num_draws):
        policy(np.zeros((8, 8, 3), np.uint8), draws)
    assert stats.chisquare([sum(name == op for op, _ in seen) for name in RAND_OPS]).pvalue > 1e-4
    signs = [value > 0 for op, value in seen if op in SIGNED and value]
    assert abs(np.mean(signs) - 0.5) < 5 * 0.5 / np.sqrt(len(signs))


@pytest.mark.parametrize("policy", [RandAugment(), TrivialAugmentWide(), AutoAugment(policy="svhn")])
def test_grey_images_keep_their_one_channel(policy: RandAugment | TrivialAugmentWide | AutoAugment) -> None:
    image = array(part(20, 20, mode="L"))
    for draws in uniforms(2, 0, np.arange(80), policy.num_draws):
        assert policy(image, draws).shape == (20, 20, 1)
