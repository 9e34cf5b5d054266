import itertools
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tests.support.processes import DEADLINE_SECONDS, join, wait_until

from tench import machine
from tench.data.images.picture import Decoded, Picture
from tench.data.source import open_source
from tench.data.table import Table
from tench.errors import TenchError
from tench.input import loader as module
from tench.input.draws import uniforms
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.input.partner import CAN_FORK
from tench.input.resize_crop import ResizeCrop
from tench.input.views import EvalView, PadCrop, RandomResizedCrop, View

EVAL = EvalView(size=24, resize=28)
VIEWS = (
    RandomResizedCrop(size=24, decode="full"),
    ResizeCrop(size=24, short_side=(26, 40), stretch=(0.8, 1.25), decode="full"),
    PadCrop(size=24, pad=3),
    EVAL,
)


@pytest.fixture
def train(photo_folder: Path) -> Table:
    """18 photographs, including a grey one, a CMYK one and a PNG."""
    return open_source(photo_folder).splits["train"]


@pytest.fixture
def with_bad_image(photo_folder: Path, tmp_path: Path) -> Table:
    """The photographs, with a truncated image in row 9 (roof/3.jpg)."""
    shutil.copytree(photo_folder, tmp_path / "photos")
    bad = tmp_path / "photos/train/roof/3.jpg"
    bad.write_bytes(bad.read_bytes()[:-400])
    table = open_source(tmp_path / "photos").splits["train"]
    assert table.key(9) == "roof/3.jpg"
    return table


def spoil(table: Table, row: int) -> None:
    """Replace an image by the same number of bytes that are not an image."""
    Path(table.shard(row)).write_bytes(b"#" * int(table.lengths[row]))


class Slow:
    """A slow view of one grey pixel that counts how many it has rendered."""

    size, num_draws, alternates = 1, 0, False

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.count = 0
        self._lock = threading.Lock()

    def render(self, image: Picture, draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        time.sleep(self.seconds)
        with self._lock:
            self.count += 1
        out[:] = 0


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tench-loader")]


def settled(view: Slow) -> int:
    """The number of images rendered, once it no longer grows."""
    before = -1
    while view.count != before:
        before = view.count
        time.sleep(20 * view.seconds + 0.05)
    return before


def contents(batches: Iterator[Batch]) -> list[tuple[bytes, list[int], list[int]]]:
    return [(batch.images.numpy().tobytes(), batch.labels.tolist(), batch.rows.tolist()) for batch in batches]


@pytest.mark.parametrize("view", VIEWS)
def test_batches_are_the_same_for_any_number_of_threads_and_with_processes(train: Table, view: View) -> None:
    order = Order(num_rows=len(train), batch_size=7, seed=2, drop_last=False)
    results = []
    for threads, processes in ((1, False), (5, False), (2, CAN_FORK)):
        with Loader(train, view, order, channels=3, threads=threads, processes=processes) as loader:
            results.append([contents(loader.batches(epoch)) for epoch in (0, 1)])
    assert results[0] == results[1] == results[2]
    assert (results[0][0] != results[0][1]) or view is EVAL


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_an_image_in_a_batch_is_the_view_of_the_file_as_read_by_pillow(train: Table, view: View, channels: int) -> None:
    order = Order(num_rows=len(train), batch_size=5, seed=11, drop_last=False)
    with Loader(train, view, order, channels=channels, threads=2) as loader:
        for batch in loader.batches(epoch=3):
            for image, row in zip(batch.images, batch.rows.tolist(), strict=True):
                with Image.open(train.shard(row)) as file:
                    rgb = file.convert("RGB")
                pixels = np.asarray(rgb if channels == 3 else rgb.convert("L")).reshape(rgb.height, rgb.width, channels)
                expected = np.zeros((24, 24, channels), np.uint8)
                view.render(Decoded(pixels), uniforms(11, 3, np.array([row]), view.num_draws)[0], expected)
                assert np.array_equal(image.permute(1, 2, 0).numpy(), expected), train.key(row)


def test_the_repeats_of_a_row_are_different_views_and_the_first_is_the_view_without_repeats(train: Table) -> None:
    view = RandomResizedCrop(size=24)
    order = Order(num_rows=len(train), batch_size=6, seed=1, repeats=3)
    with Loader(train, view, order, channels=3, threads=2) as loader:
        (batch, *_) = loader.batches(epoch=2)
    row = int(batch.rows[0])
    assert batch.rows.tolist()[:3] == [row] * 3
    assert len({image.numpy().tobytes() for image in batch.images}) == 6
    with Loader(train, view, Order(num_rows=len(train), batch_size=6, seed=1), channels=3, threads=2) as loader:
        (once, *_) = loader.batches(epoch=2)
    assert torch.equal(once.images[0], batch.images[0])


def test_rows_follow_the_order_and_labels_belong_to_their_rows(train: Table) -> None:
    order = Order(num_rows=len(train), batch_size=4, seed=5)
    with Loader(train, EVAL, order, channels=3, threads=2) as loader:
        assert loader.steps_per_epoch == order.steps_per_epoch == 4
        batches = list(loader.batches(epoch=1))
    assert len(batches) == 4
    for step, batch in enumerate(batches):
        assert batch.rows.tolist() == order.rows(1, step).tolist()
        assert batch.labels.tolist() == [int(train.labels[row]) for row in batch.rows]
    assert {label for batch in batches for label in batch.labels.tolist()} == {0, 1, 2}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_has_uint8_images_in_channels_last_memory_and_int64_labels(train: Table, channels: int) -> None:
    order = Order(num_rows=len(train), batch_size=4)
    with Loader(train, EVAL, order, channels=channels, threads=1) as loader:
        batch = next(loader.batches(0))
    assert batch.images.shape == (4, channels, 24, 24)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images.permute(0, 2, 3, 1).is_contiguous()
    assert (batch.images.dtype, batch.labels.dtype, batch.rows.dtype) == (torch.uint8, torch.int64, torch.int64)
    assert (batch.labels.shape, batch.rows.shape) == ((4,), (4,))
    moved = batch.to(torch.device("meta"))
    assert {part.device.type for part in (moved.images, moved.labels, moved.rows)} == {"meta"}


def test_starting_at_a_step_yields_the_rest_of_the_epoch(train: Table) -> None:
    order = Order(num_rows=len(train), batch_size=4, seed=1, drop_last=False)
    with Loader(train, VIEWS[0], order, channels=3, threads=2) as loader:
        whole = contents(loader.batches(2))
        for step in range(6):
            assert contents(loader.batches(2, first_step=step)) == whole[step:]


def test_a_loader_that_starts_in_an_odd_epoch_yields_the_same_as_one_from_the_start(train: Table) -> None:
    view = PadCrop(size=24, pad=3, flip_form="alternate")
    order = Order(num_rows=len(train), batch_size=4, seed=1)
    with Loader(train, view, order, channels=3, threads=2) as loader:
        epochs = [contents(loader.batches(epoch)) for epoch in range(4)]
    with Loader(train, view, order, channels=3, threads=2) as loader:
        assert contents(loader.batches(3, first_step=2)) == epochs[3][2:]


def test_a_batch_is_not_modified_after_it_is_yielded(train: Table) -> None:
    order = Order(num_rows=len(train), batch_size=3)
    with Loader(train, VIEWS[0], order, channels=3, threads=2) as loader:
        kept = list(loader.batches(0))
        copies = [batch.images.clone() for batch in kept]
        list(loader.batches(1))
    assert all(torch.equal(batch.images, copy) for batch, copy in zip(kept, copies, strict=True))


def test_a_rank_without_rows_in_a_step_gets_an_empty_batch(train: Table) -> None:
    order = Order(num_rows=17, batch_size=4, drop_last=False, rank=1, world_size=2)
    with Loader(train, VIEWS[0], order, channels=3, threads=1) as loader:
        sizes = [len(batch.images) for batch in loader.batches(0)]
    assert sizes == [2, 2, 2, 2, 0]


@pytest.mark.parametrize(("threads", "processes"), [(1, False), (3, False), (2, CAN_FORK)])
def test_a_bad_image_ends_the_epoch_with_its_file_row_and_stage_and_nothing_hangs(
    with_bad_image: Table, threads: int, processes: bool
) -> None:
    order = Order(num_rows=18, batch_size=4, shuffle=False, drop_last=False)
    with Loader(with_bad_image, EVAL, order, channels=3, threads=threads, processes=processes) as loader:
        batches = loader.batches(0)
        assert [next(batches).rows.tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
        with pytest.raises(TenchError) as error:
            next(batches)
        assert next(batches, None) is None
    assert f"{with_bad_image.shard(9)}" in str(error.value)
    assert "truncated JPEG" in str(error.value)
    assert "This is row 9, stage decode." in str(error.value)
    assert loader_threads() == []


def test_a_missing_file_ends_the_epoch_with_its_name(with_bad_image: Table) -> None:
    Path(with_bad_image.shard(2)).unlink()
    order = Order(num_rows=18, batch_size=4, shuffle=False)
    with (
        Loader(with_bad_image, EVAL, order, channels=3, threads=2) as loader,
        pytest.raises(TenchError, match=r"petal/2\.jpg.*No such file or directory.*Row 2 needs it"),
    ):
        next(loader.batches(0))


def test_the_error_names_the_first_of_several_bad_images(with_bad_image: Table) -> None:
    for row in (3, 5, 12):
        spoil(with_bad_image, row)
    order = Order(num_rows=18, batch_size=18, shuffle=False)
    with Loader(with_bad_image, EVAL, order, channels=3, threads=4) as loader:
        for _ in range(3):
            with pytest.raises(TenchError, match="This is row 3, stage decode"):
                next(loader.batches(0))


def test_after_a_bad_image_no_work_continues_in_the_background(with_bad_image: Table) -> None:
    spoil(with_bad_image, 0)
    one_bad_then_good = with_bad_image.subset(np.array([0] + 31 * [1]))
    view = Slow(0.002)
    order = Order(num_rows=32, batch_size=32, shuffle=False)
    with Loader(one_bad_then_good, view, order, channels=3, threads=1) as loader:
        with pytest.raises(TenchError, match="row 0"):
            next(loader.batches(0))
        assert settled(view) <= 8  # the task that had already begun


def test_a_caller_that_stops_early_stops_the_work(train: Table) -> None:
    view = Slow(0.002)
    order = Order(num_rows=len(train), batch_size=2)
    with Loader(train, view, order, channels=1, threads=1) as loader:
        batches = loader.batches(0)
        next(batches)
        batches.close()
        assert settled(view) <= 2 * 2  # the first batch, and the one that had already begun
        assert len(contents(loader.batches(1))) == order.steps_per_epoch  # and the loader can still be used


def test_closing_ends_the_threads_immediately_even_within_an_epoch(train: Table) -> None:
    view = Slow(0.02)
    loader = Loader(train, view, Order(num_rows=len(train), batch_size=18), channels=1, threads=2)
    next(loader.batches(0))
    assert loader_threads() != []
    batches = loader.batches(1)
    next(batches)
    loader.close()
    assert loader_threads() == []
    assert view.count <= 18 * 3


def test_a_closed_loader_raises_an_error_instead_of_waiting(train: Table) -> None:
    loader = Loader(train, EVAL, Order(num_rows=len(train), batch_size=18), channels=1, threads=2)
    loader.close()
    loader.close()
    with pytest.raises(RuntimeError, match="the loader is closed"):
        next(loader.batches(0))


@pytest.mark.parametrize(("budget", "ahead"), [(0, 1), (2, 1), (6, 3), (10**9, 4)])
def test_the_batches_prepared_ahead_fit_into_the_memory_limit(
    train: Table, monkeypatch: pytest.MonkeyPatch, budget: int, ahead: int
) -> None:
    monkeypatch.setattr(module, "READ_AHEAD_BYTES", budget)
    monkeypatch.setattr(module, "_IMAGES_PER_TASK", 1)
    view = Slow(0.0005)
    order = Order(num_rows=len(train), batch_size=2)  # a batch needs two bytes
    with Loader(train, view, order, channels=1, threads=1) as loader:
        batches = loader.batches(0)
        for given in itertools.count(1):
            if next(batches, None) is None:
                break
            expected = min(2 * (given + ahead), 18)
            wait_until(lambda: view.count >= expected, f"{expected} images")  # noqa: B023
            time.sleep(0.03)  # enough time for more than are expected
            assert view.count == expected
    assert view.count == 18


def test_an_image_that_takes_too_long_ends_the_epoch_with_its_name_and_the_process_can_exit(
    train: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    read = train.read
    monkeypatch.setattr(train, "read", lambda row: hangs.wait(DEADLINE_SECONDS) if row == 7 else read(row))
    monkeypatch.setattr(module, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.05)
    order = Order(num_rows=len(train), batch_size=18, shuffle=False)
    with (
        Loader(train, EVAL, order, channels=3, threads=2) as loader,
        pytest.raises(TenchError, match=rf"{re.escape(train.shard(7))}: timed out after 1 s in stage read, row 7\."),
    ):
        next(loader.batches(0))
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in loader_threads())
    hangs.set()


def test_a_long_wait_is_logged_before_it_ends_the_run(
    train: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = train.read

    def slow(row: int) -> bytes:
        time.sleep(0.3 if row == 7 else 0)
        return read(row)

    monkeypatch.setattr(train, "read", slow)
    monkeypatch.setattr(module, "_STALL_WARNING_SECONDS", 0.1)
    with Loader(train, EVAL, Order(num_rows=18, batch_size=18), channels=3, threads=2) as loader:
        assert len(next(loader.batches(0)).rows) == 18
    assert f"Waiting for {train.shard(7)} (stage read)" in caplog.text


def test_the_memory_of_a_batch_is_reused_once_it_is_unreferenced(train: Table) -> None:
    order = Order(num_rows=len(train), batch_size=6)
    with Loader(train, VIEWS[0], order, channels=3, threads=1) as loader:
        places = {batch.images.data_ptr() for epoch in range(20) for batch in loader.batches(epoch)}
    # Those prepared ahead, the current one, the previous one, and one just released.
    assert len(places) <= loader._ahead + 3


def test_the_loader_does_not_change_the_number_of_torchs_threads(train: Table) -> None:
    before = torch.get_num_threads()
    later: list[int] = []
    torch.set_num_threads(3)
    try:
        with Loader(train, VIEWS[0], Order(num_rows=18, batch_size=9), channels=3, threads=2) as loader:
            next(loader.batches(0))
            thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
            thread.start()
            join(thread)
        assert [torch.get_num_threads(), *later] == [3, 3]
    finally:
        torch.set_num_threads(before)


def test_enough_batches_are_prepared_ahead_to_keep_all_threads_busy(train: Table) -> None:
    for threads, batch_size, ahead in ((1, 16, 1), (4, 16, 4), (4, 9, 8), (2, 18, 2)):
        order = Order(num_rows=len(train), batch_size=batch_size)
        with Loader(train, EvalView(size=4000, resize=4000), order, channels=3, threads=threads) as loader:
            assert loader._ahead == ahead


def test_zero_threads_means_one_per_core(train: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "num_cores", lambda: 3)
    with Loader(train, Slow(0.01), Order(num_rows=18, batch_size=1), channels=1, threads=0) as loader:
        list(loader.batches(0))
        assert len(loader_threads()) == 3
