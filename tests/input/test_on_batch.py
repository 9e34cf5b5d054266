import itertools

import numpy as np
import pytest
import torch
from tests.data.photos import array, part

from tench.input.draws import Stream, uniforms
from tench.input.erasing import Erasing
from tench.input.mix import BatchMix, Mode
from tench.input.on_batch import OnBatch
from tench.input.order import Order

NOISE = Erasing(prob=0.9, value="pixel")
ORDER = Order(num_rows=20, batch_size=6, seed=3)


def batch(order: Order = ORDER, step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The images (B, 3, 18, 14) and labels of a step. The content of an image is a function of its row."""
    rows = order.rows(*divmod(step, order.steps_per_epoch)).tolist()
    pixels = np.stack([array(part(14, 18, row)) for row in rows])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, torch.tensor(rows) % 5


def test_images_are_erased_and_then_mixed() -> None:
    images, labels = batch(step=4)
    mix = BatchMix(mixup=1.0)
    found, targets = OnBatch(ORDER, 5, NOISE, mix)(images, labels, 4)
    erased, same = OnBatch(ORDER, 5, NOISE)(images, labels, 4)
    assert same is labels
    # With 3 steps per epoch, this is the second step of the second epoch.
    draws = uniforms(3, 1, np.array([1]), 5, Stream.MIX_OF_BATCH)
    expected = mix.apply(erased, labels, 5, mix.drawn(draws, 18, 14))
    assert torch.equal(found, expected[0])
    assert torch.equal(targets, expected[1])


def test_without_erasing_and_mixing_nothing_changes() -> None:
    images, labels = batch()
    found, targets = OnBatch(ORDER, 5)(images, labels, 0)
    assert found is images
    assert targets is labels


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_a_step_does_not_depend_on_earlier_ones_and_differs_from_them(mode: Mode) -> None:
    on_batch = OnBatch(ORDER, 5, NOISE, BatchMix(mixup=0.8, cutmix=1.0, mode=mode, form="timm"))
    images, labels = batch()
    forward = [on_batch(images, labels, step) for step in range(7)]
    backward = [on_batch(images, labels, step) for step in reversed(range(7))][::-1]
    for first, second in zip(forward, backward, strict=True):
        assert all(map(torch.equal, first, second))
    for one, other in itertools.combinations(forward, 2):
        assert not torch.equal(one[0], other[0])


def test_the_erased_part_of_an_image_depends_only_on_its_row_for_any_number_of_ranks() -> None:
    images, labels = batch()
    erasing = Erasing(prob=0.9)
    whole, _ = OnBatch(ORDER, 5, erasing)(images, labels, 0)
    parts = []
    for rank in range(3):
        order = Order(num_rows=20, batch_size=6, seed=3, rank=rank, world_size=3)
        parts.append(OnBatch(order, 5, erasing)(*batch(order), 0)[0])
    assert torch.equal(torch.cat(parts), whole)


def test_the_images_of_a_pair_are_mixed_alike_and_the_middle_one_of_an_odd_batch_with_itself() -> None:
    order = Order(num_rows=20, batch_size=7, seed=3)
    images, _ = batch(order)
    on_batch = OnBatch(order, 7, mix=BatchMix(mixup=0.8, cutmix=1.0, mode="pair", form="timm"))
    found, targets = on_batch(images, torch.arange(7), 0)
    assert torch.equal(targets, targets.flip(0, 1))
    torch.testing.assert_close(found[3], images[3])
    torch.testing.assert_close(found + found.flip(0), images + images.flip(0))  # the two shares add up to 1


def test_a_batch_of_one_stays_unchanged() -> None:
    order = Order(num_rows=1, batch_size=6)
    images, labels = batch(order)
    found, targets = OnBatch(order, 5, mix=BatchMix(mixup=0.8, cutmix=1.0))(images, labels, 0)
    torch.testing.assert_close(found, images)
    assert targets.tolist() == [[1, 0, 0, 0, 0]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_the_host_does_not_synchronise_with_the_gpu(mode: Mode) -> None:
    on_batch = OnBatch(ORDER, 5, NOISE, BatchMix(mixup=0.8, cutmix=1.0, mode=mode, form="timm"))
    images, labels = (part.cuda() for part in batch())
    on_batch(images, labels, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_batch(images, labels, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
