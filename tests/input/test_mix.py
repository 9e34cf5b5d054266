from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.data.photos import array, part

from tench.compat import import_timm, import_torchvision
from tench.input.mix import BatchMix, Mode, beta
from tench.input.views import Draws

B, H, W, CLASSES = 6, 22, 30, 5
LABELS = torch.tensor([3, 0, 0, 4, 2, 1])


def images() -> torch.Tensor:
    """(B, 3, H, W) float32: parts of photographs, normalised."""
    pixels = np.stack([array(part(W, H, number)) for number in range(B)])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225


def draws(number: int, count: int = 1) -> Draws:
    return np.random.default_rng(number).random((count, BatchMix.num_draws))


def mixed(mix: BatchMix, numbers: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    return mix.apply(images(), LABELS, CLASSES, mix.drawn(numbers, H, W))


class RandomOfTimm:
    """numpy's global random source as timm calls it, returning values based on the given uniform numbers."""

    def __init__(self, numbers: Draws, is_cutmix: np.ndarray[Any, Any], per_batch: bool) -> None:
        self.whether, self.which, self.much = numbers[:, 0], numbers[:, 1], numbers[:, 2]
        self.places = [place for row, cut in zip(numbers, is_cutmix, strict=True) if cut for place in row[3:]]
        # timm asks for `whether` before `which` for a batch, but after it for each image.
        self.rands = [self.whether, self.which] if per_batch else [self.which, self.whether]

    def rand(self, size: int | None = None) -> Any:
        values = self.rands.pop(0)
        return values.item() if size is None else values

    def beta(self, a: float, b: float, size: int | None = None) -> Any:
        values = stats.beta.ppf(self.much, a, b)
        return values.item() if size is None else values

    def randint(self, low: int, high: int, size: None = None) -> int:
        return low + int(self.places.pop(0) * (high - low))


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_timms_form_matches_timms_mixup_on_the_same_draws(
    monkeypatch: pytest.MonkeyPatch, mode: Mode, mixup: float, cutmix: float
) -> None:
    import_timm()
    from timm.data import mixup as theirs

    mix = BatchMix(mixup=mixup, cutmix=cutmix, prob=0.7, switch_prob=0.4, mode=mode, form="timm")
    for number in range(20):
        numbers = draws(number, {"batch": 1, "pair": B // 2, "elem": B}[mode])
        is_cutmix = numbers[:, 0] < 0.7
        is_cutmix &= (numbers[:, 1] < 0.4) if mixup and cutmix else cutmix > 0
        source = RandomOfTimm(numbers, is_cutmix, mode == "batch")
        if not (mixup and cutmix):
            source.rands.remove(source.which)
        fake = SimpleNamespace(**{name: getattr(np, name) for name in dir(np)} | {"random": source})
        monkeypatch.setattr(theirs, "np", fake)
        expected, targets = theirs.Mixup(
            mixup, cutmix, prob=0.7, switch_prob=0.4, mode=mode, label_smoothing=0.1, num_classes=CLASSES
        )(images(), LABELS)
        ours = np.concatenate([numbers, numbers[::-1]]) if mode == "pair" else numbers
        found, shares = mixed(mix, ours)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(shares * 0.9 + 0.1 / CLASSES, targets, rtol=0, atol=1e-6)  # smoothed as in timm
        assert source.places == []


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_torchvisions_form_matches_torchvisions_transform_on_the_same_draws(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import_torchvision()
    from torchvision.transforms import v2

    mix = BatchMix(mixup=0.2) if kind == "MixUp" else BatchMix(cutmix=1.0)
    theirs = getattr(v2, kind)(alpha=mix.mixup or mix.cutmix, num_classes=CLASSES)
    for number in range(30):
        numbers = draws(number)
        _, _, much, down, right = numbers[0]
        share = stats.beta.ppf(much, theirs.alpha, theirs.alpha)
        theirs._dist = SimpleNamespace(sample=lambda shape, share=share: share)
        places = [right, down]
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda high, size, rest=places: torch.tensor([int(rest.pop(0) * high)]))
            expected, targets = theirs(images(), LABELS)
        found, shares = mixed(mix, numbers)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(shares, targets, rtol=0, atol=1e-6)


def test_if_mixup_and_cutmix_are_used_one_is_chosen_with_its_probability() -> None:
    numbers = draws(0, 20_000)
    found = BatchMix(mixup=0.2, cutmix=1.0, prob=0.8, switch_prob=0.25).drawn(numbers, H, W)
    is_cut = found.box[:, 2:].any(axis=1)
    is_mixed = found.weight.ravel() < 1
    assert not (is_cut & is_mixed).any()
    assert is_cut.mean() == pytest.approx(0.8 * 0.25, abs=0.02)  # minus those with an empty box
    assert is_mixed.mean() == pytest.approx(0.8 * 0.75, abs=0.02)


def test_mixing_weights_follow_the_beta_distribution() -> None:
    numbers = np.random.default_rng(1).random(5000)
    for alpha in (0.1, 0.2, 1.0, 3.0):
        assert stats.kstest(beta(alpha, numbers), stats.beta(alpha, alpha).cdf).pvalue > 1e-4
    assert np.array_equal(beta(0.0, numbers), np.ones(5000))
    assert np.isfinite(beta(0.1, np.array([0.0, 1 - 2.0**-32]))).all()


@pytest.mark.parametrize("form", ["torchvision", "timm"])
def test_the_share_of_a_label_is_the_share_of_its_pixels(form: Any) -> None:
    ones = torch.arange(B).float()[:, None, None, None].expand(B, 1, H, W)  # each pixel holds the number of its image
    mix = BatchMix(cutmix=1.0, form=form)
    for number in range(20):
        found, targets = mix.apply(ones, torch.arange(B), B, mix.drawn(draws(number), H, W))
        shares = torch.stack([(found == image).float().mean(dim=(1, 2, 3)) for image in range(B)], dim=1)
        torch.testing.assert_close(targets, shares, rtol=0, atol=1e-6)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(B))


def test_unmixed_images_stay_bit_identical() -> None:
    found, targets = mixed(BatchMix(mixup=1.0, cutmix=1.0, prob=0.0), draws(3))
    assert torch.equal(found, images())
    assert torch.equal(targets, torch.nn.functional.one_hot(LABELS, CLASSES).float())
    assert targets.dtype == torch.float32


def test_the_memory_format_is_kept() -> None:
    mix = BatchMix(mixup=0.5, cutmix=1.0)
    for number in range(6):
        channels_last = images().contiguous(memory_format=torch.channels_last)
        found, _ = mix.apply(channels_last, LABELS, CLASSES, mix.drawn(draws(number), H, W))
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found, mixed(mix, draws(number))[0])
