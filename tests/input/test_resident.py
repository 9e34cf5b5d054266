import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tench.data.source import open_source
from tench.data.table import Table
from tench.errors import TenchError
from tench.input import resident as module
from tench.input.device import on_device
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.resident import Resident, fits
from tench.input.views import EvalView, PadCrop

CPU = torch.device("cpu")
VIEWS = (
    PadCrop(size=24, pad=3),
    PadCrop(size=24, pad=0, flip=0.0),
    PadCrop(size=9, pad=9, flip=1.0),
    PadCrop(size=24, pad=4, fill=127),
    PadCrop(size=24, pad=4, fill="reflect"),
    PadCrop(size=24, pad=2, flip_form="alternate"),
    EvalView(size=24, resize=28),
    EvalView(size=24, resize=24, interpolation="bicubic"),
)


def digits() -> Table:
    """The first 50 training images of scikit-learn's digits: grey raw pixels, 8x8."""
    return open_source("digits").splits["train"].subset(np.arange(50))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_batches_equal_those_of_the_loader_byte_for_byte(
    photo_folder: Path, view: PadCrop | EvalView, channels: int
) -> None:
    table = open_source(photo_folder).splits["train"]
    order = Order(num_rows=len(table), batch_size=7, seed=4, drop_last=False)
    resident = Resident(table, view, order, channels=channels, device=CPU, threads=2)
    assert resident.steps_per_epoch == 3
    with Loader(table, view, order, channels=channels, threads=2) as loader:
        for epoch in (0, 1, 7):
            for ours, theirs in zip(resident.batches(epoch), loader.batches(epoch), strict=True):
                assert torch.equal(ours.rows, theirs.rows)
                assert torch.equal(ours.labels, theirs.labels)
                assert torch.equal(ours.images, theirs.images)
                assert (ours.images.dtype, ours.labels.dtype, ours.rows.dtype) == (
                    theirs.images.dtype,
                    theirs.labels.dtype,
                    theirs.rows.dtype,
                )
                assert ours.images.is_contiguous(memory_format=torch.channels_last)


def test_batches_of_raw_pixels_equal_those_of_the_loader_byte_for_byte() -> None:
    table = digits()
    once = Order(num_rows=50, batch_size=16, seed=1)
    repeated = Order(num_rows=50, batch_size=16, seed=1, repeats=3)
    views: tuple[PadCrop | EvalView, ...] = PadCrop(size=8, pad=1), EvalView(size=8, resize=8)
    for view, order in itertools.product(views, (once, repeated)):
        resident = Resident(table, view, order, channels=1, device=CPU, threads=1)
        with Loader(table, view, order, channels=1, threads=1) as loader:
            for epoch in range(3):
                ours = [batch.images for batch in resident.batches(epoch)]
                assert len(ours) == 3
                assert all(map(torch.equal, ours, [batch.images for batch in loader.batches(epoch)]))


def test_all_images_are_in_order_even_if_they_are_decoded_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DECODE_BATCH", 7)
    table = digits()
    order = Order(num_rows=50, batch_size=50, shuffle=False)
    (batch,) = Resident(table, EvalView(size=8, resize=8), order, channels=1, device=CPU, threads=2).batches(0)
    assert [image.numpy().tobytes() for image in batch.images] == [table.read(row) for row in range(50)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("view", [PadCrop(size=8, pad=1), EvalView(size=8, resize=8)])
def test_the_host_does_not_synchronise_with_the_gpu(view: PadCrop | EvalView) -> None:
    order = Order(num_rows=50, batch_size=16, seed=1)
    resident = Resident(digits(), view, order, channels=1, device=torch.device("cuda"), threads=1)
    batches = on_device(itertools.chain(resident.batches(0), resident.batches(1)), torch.device("cuda"))
    next(batches)  # the first batch initialises libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(batches)) == 5
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_starting_at_a_step_yields_the_rest_of_the_epoch() -> None:
    order = Order(num_rows=50, batch_size=8, seed=3, drop_last=False)
    resident = Resident(digits(), PadCrop(size=8, pad=1), order, channels=1, device=CPU, threads=1)
    whole = [batch.images for batch in resident.batches(1)]
    rest = [batch.images for batch in resident.batches(1, first_step=5)]
    assert len(rest) == 2
    assert all(map(torch.equal, rest, whole[5:]))


def test_with_alternating_mirroring_two_epochs_show_each_image_both_ways() -> None:
    view = PadCrop(size=8, pad=0, flip_form="alternate")
    order = Order(num_rows=50, batch_size=50)
    resident = Resident(digits(), view, order, channels=1, device=CPU, threads=1)
    shown = []
    for epoch in range(4):
        (batch,) = resident.batches(epoch)
        shown.append(batch.images[batch.rows.argsort()])
    for before, after in itertools.pairwise(shown):
        assert torch.equal(after, before.flip(-1))


def test_modifying_a_batch_does_not_affect_the_next_epoch() -> None:
    order = Order(num_rows=50, batch_size=50, shuffle=False)
    for view in (PadCrop(size=8, pad=1), EvalView(size=8, resize=8)):
        resident = Resident(digits(), view, order, channels=1, device=CPU, threads=1)
        (batch,) = resident.batches(0)
        before = batch.images.clone()
        for part in (batch.images, batch.labels, batch.rows):
            part.zero_()
        (again,) = resident.batches(0)
        assert torch.equal(again.images, before)
        assert len(set(again.labels.tolist())) == 10
        assert again.rows.tolist() == list(range(50))
        resident.close()


def test_a_bad_image_is_named_on_creation(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "photos")
    (tmp_path / "photos/train/roof/3.jpg").write_bytes(b"no image")
    table = open_source(tmp_path / "photos").splits["train"]
    with pytest.raises(TenchError, match=r"roof/3\.jpg(?s:.*)This is row 9, stage decode"):
        Resident(table, VIEWS[0], Order(num_rows=18, batch_size=2), channels=3, device=CPU, threads=2)


@pytest.mark.parametrize(
    ("view", "channels", "need"),
    [
        (EvalView(size=8, resize=9), 1, 50 * 8 * 8),
        (PadCrop(size=8, pad=0), 3, 50 * 8 * 8 * 3),
        (PadCrop(size=8, pad=2), 3, 50 * 12 * 12 * 3),
    ],
)
def test_a_dataset_fits_if_its_padded_pixels_need_at_most_a_quarter_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, view: PadCrop | EvalView, channels: int, need: int
) -> None:
    table = digits()
    for free, expected in ((4 * need, True), (4 * need - 4, False), (None, True)):
        monkeypatch.setattr(module, "available_memory_bytes", lambda free=free: free)
        assert fits(table, view, channels) is expected
    images = Resident(table, view, Order(num_rows=50, batch_size=9), channels=channels, device=CPU, threads=1)._images
    assert images.numel() == need


def test_a_dataset_of_more_than_two_gib_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory_bytes", lambda: 10**15)
    table = open_source("synthetic:images=100000,size=2,val=0,format=pixels").splits["train"]
    assert 100_000 * 84 * 84 * 3 < 2 * 2**30 < 100_000 * 85 * 85 * 3
    assert fits(table, EvalView(size=84, resize=84), 3)
    assert not fits(table, EvalView(size=85, resize=85), 3)
