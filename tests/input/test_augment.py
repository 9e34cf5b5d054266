import collections
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy import stats
from tests.data.photos import array, part
from tests.support.views import rendered

from tench.compat import import_torchvision
from tench.data.source import open_source
from tench.errors import UsageError
from tench.input.augment import (
    Augmentation,
    Augmented,
    ColorJitter,
    Cutout,
    Lighting,
    mean_colour,
    named_policy,
)
from tench.input.autoaugment import AutoAugment, RandAugment, TrivialAugmentWide
from tench.input.draws import uniforms
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.timm_augment import TimmRandAugment
from tench.input.views import EvalView, PadCrop, RandomResizedCrop

Draws = npt.NDArray[np.float64]


def drawn(augmentation: Augmentation, count: int, seed: int = 0) -> Draws:
    return uniforms(seed, 0, np.arange(count), augmentation.num_draws)


@pytest.mark.parametrize(
    "spans", [(0.4, 0.4, 0.4, 0.1), (0.5, 0.0, 2.0, 0.0), (0.0, 0.3, 0.0, 0.5), (0.0, 0.0, 0.0, 0.0)]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_colour_jitter_matches_torchvision_on_the_same_draws(
    spans: tuple[float, ...], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_torchvision()
    from torchvision.transforms import ColorJitter as Theirs

    brightness, contrast, saturation, hue = spans
    ours = ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    theirs = Theirs(*spans)
    ranges = [theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue]
    orders = collections.Counter[tuple[int, ...]]()
    for number, draws in enumerate(drawn(ours, 200)):
        order = permutation(int(draws[0] * 24))
        orders[order] += 1
        factors = [
            None if span is None else span[0] + draw * (span[1] - span[0])
            for span, draw in zip(ranges, draws[1:].tolist(), strict=True)
        ]
        params = torch.tensor(order), *factors
        monkeypatch.setattr(theirs, "get_params", lambda *_, params=params: params)
        image = part(20, 24, number, mode)
        assert np.array_equal(ours(array(image), draws), array(theirs(image))), number
    assert len(orders) == 24


def permutation(number: int) -> tuple[int, ...]:
    """The permutation of 0 to 3 with this rank in lexicographic order, by its factorial digits."""
    left, order = [0, 1, 2, 3], []
    for base in (6, 2, 1, 1):
        order.append(left.pop(number // base))
        number %= base
    return tuple(order)


def test_lighting_shifts_each_channel_as_in_alexnet() -> None:
    image = array(part(20, 20))
    lighting = Lighting(std=0.1)
    vectors = np.array([[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]])
    values = [55.46, 4.794, 1.148]
    for draws in drawn(lighting, 50):
        alphas = stats.norm.ppf(draws + 2.0**-33, scale=0.1)
        shift = sum(alpha * value * vector for alpha, value, vector in zip(alphas, values, vectors, strict=True))
        assert np.array_equal(lighting(image, draws), np.clip(np.rint(image + shift), 0, 255))


def test_the_components_of_lighting_are_orthonormal() -> None:
    from tench.input.pixels import EIGENVECTORS

    assert np.allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=2e-4)


def test_lighting_makes_a_grey_image_brighter_or_darker() -> None:
    image = np.full((4, 4, 1), 100, np.uint8)
    values = [Lighting(std=0.1)(image, draws) for draws in drawn(Lighting(std=0.1), 200)]
    assert {value.shape for value in values} == {(4, 4, 1)}
    assert stats.normaltest([int(value[0, 0, 0]) for value in values]).pvalue > 1e-4


@pytest.mark.parametrize("side", [1, 2, 5, 8, 40])
@pytest.mark.parametrize("fill", [(), (1, 2, 3)])
def test_cutout_fills_a_square_around_any_pixel_clipped_to_the_image(side: int, fill: tuple[int, ...]) -> None:
    image = np.full((9, 12, 3), 200, np.uint8)
    lines, columns = np.indices((9, 12))
    for row in range(9):
        for column in range(12):
            draws = np.array([(row + 0.5) / 9, (column + 0.5) / 12])
            inside = np.ones((9, 12), bool)
            for places, centre in ((lines, row), (columns, column)):
                inside &= (centre - side // 2 <= places) & (places < centre - side // 2 + side)
            expected = np.where(inside[..., None], fill or (0, 0, 0), image)
            assert np.array_equal(Cutout(side=side, fill=fill)(image, draws), expected)


def test_cutout_does_not_change_its_input() -> None:
    image = array(part(8, 8, mode="L"))
    copy = image.copy()
    cut = Cutout(side=4, fill=(9,))(image, np.array([0.5, 0.5]))
    assert np.array_equal(image, copy)
    assert (cut[2:6, 2:6] == 9).all()


@pytest.mark.parametrize("view", [RandomResizedCrop(size=24), PadCrop(size=24, pad=3), EvalView(size=24, resize=27)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_augmented_view_is_the_view_then_each_augmentation_on_its_own_draws(
    view: RandomResizedCrop | PadCrop | EvalView, mode: str
) -> None:
    first, second = RandAugment(), Cutout(side=5)
    augmented = Augmented(view, (first, second))
    assert augmented.size == 24
    assert augmented.num_draws == view.num_draws + 4 + 2
    for number, draws in enumerate(uniforms(0, 0, np.arange(30), augmented.num_draws)):
        image = array(part(40, 30, number, mode))
        cut = rendered(view, image, draws[: view.num_draws])
        expected = second(first(cut, draws[view.num_draws : -2]), draws[-2:])
        assert np.array_equal(rendered(augmented, image, draws), expected)


def test_augmentation_does_not_change_the_geometry_of_a_view() -> None:
    view = RandomResizedCrop(size=16)
    augmented = Augmented(view, (RandAugment(), ColorJitter(hue=0.2)))
    alone = uniforms(3, 1, np.array([8]), view.num_draws)
    assert np.array_equal(uniforms(3, 1, np.array([8]), augmented.num_draws)[:, : view.num_draws], alone)


ALL: list[Augmentation] = [
    RandAugment(num_ops=3),
    TrivialAugmentWide(),
    AutoAugment(policy="imagenet"),
    TimmRandAugment.parse("rand-m9-mstd0.5-inc1"),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    Lighting(std=0.1),
    Cutout(side=4),
]


@pytest.mark.parametrize("augmentation", ALL, ids=lambda one: type(one).__name__)
def test_the_result_depends_only_on_the_image_and_its_draws(augmentation: Augmentation) -> None:
    images = [array(part(16, 16, number)) for number in range(20)]
    draws = drawn(augmentation, 20, seed=4)
    for image in images:
        image.setflags(write=False)
    forwards = [augmentation(image, numbers) for image, numbers in zip(images, draws, strict=True)]
    backwards = [augmentation(image, numbers) for image, numbers in zip(images[::-1], draws[::-1], strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards[::-1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(forwards, images, strict=True))


@pytest.mark.parametrize("augmentation", ALL, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("extreme", [0.0, 1 - 2.0**-32])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 2)])
def test_the_smallest_images_and_the_most_extreme_draws_work(
    augmentation: Augmentation, extreme: float, size: tuple[int, int]
) -> None:
    for channels in (1, 3):
        image = np.full((*size, channels), 100, np.uint8)
        assert augmentation(image, np.full(augmentation.num_draws, extreme)).shape == image.shape


def test_a_policy_is_found_by_its_name() -> None:
    mean = (1, 2, 3)
    assert named_policy("none", mean=mean) is None
    assert named_policy("randaugment-3-12", mean=mean) == RandAugment(num_ops=3, magnitude=12)
    assert named_policy("trivialaugment-wide", mean=mean, resample="bilinear") == TrivialAugmentWide(
        resample="bilinear"
    )
    for name in ("imagenet", "cifar10", "svhn"):
        assert named_policy(f"autoaugment-{name}", mean=mean) == AutoAugment(policy=name)
    assert named_policy("rand-m9-n3-inc1", mean=mean) == TimmRandAugment.parse("rand-m9-n3-inc1", mean)


@pytest.mark.parametrize("name", ["", "randaugment-2", "trivialaugment", "autoaugment-mnist", "augmix", "Rand-m9"])
def test_the_error_for_an_unknown_policy_lists_the_forms(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        named_policy(name)
    assert str(refused.value).startswith(f"{name}: unknown augmentation policy.")
    assert str(refused.value).endswith(
        " Known: none, randaugment-N-M, trivialaugment-wide, autoaugment-imagenet, autoaugment-cifar10, "
        "autoaugment-svhn, rand-mM-nN-mstdS-inc1, or package.module:function."
    )


@pytest.mark.parametrize("name", ["randaugment-0-9", "randaugment-2-31"])
def test_a_randaugment_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=f"{name}: the number of operations must be at least 1 and the magnitude 0 to 30"
    ):
        named_policy(name)


def test_the_mean_as_a_colour_matches_timm() -> None:
    assert mean_colour((0.485, 0.456, 0.406)) == (124, 116, 104)
    assert mean_colour((0.1307,)) == (33,)
    assert mean_colour((-0.1, 1.5)) == (0, 255)


def test_an_augmentation_treats_pillows_images_and_views_alike() -> None:
    """A view may write into a slice of a batch, and Pillow's arrays are read-only."""
    batch = np.stack([array(part(16, 16, number)) for number in range(3)])
    for augmentation in ALL:
        draws = drawn(augmentation, 1)[0]
        assert np.array_equal(augmentation(batch[1], draws), augmentation(np.asarray(Image.fromarray(batch[1])), draws))


def test_augmented_batches_are_the_same_for_any_number_of_threads(photo_folder: Path) -> None:
    table = open_source(photo_folder).splits["train"]
    view = Augmented(RandomResizedCrop(size=24), tuple(ALL))
    order = Order(num_rows=len(table), batch_size=5, drop_last=False)

    def batches(threads: int) -> list[torch.Tensor]:
        with Loader(table, view, order, channels=3, threads=threads) as loader:
            return [batch.images.clone() for batch in loader.batches(epoch=2)]

    assert all(torch.equal(a, b) for a, b in zip(batches(1), batches(3), strict=True))
