import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tench.bench import loading
from tench.bench.loading import Setting, remedies, resident_row, whole_rows
from tench.bench.measure import Rate
from tench.bench.remedy import candidates, prepared
from tench.data.images import jpegtran
from tench.data.images.encode import Encoding
from tench.data.prepare.planning import PrepareOptions
from tench.data.source import open_source
from tench.data.table import Dataset, Table
from tench.errors import UsageError
from tench.input.views import PadCrop, RandomResizedCrop, View


@pytest.fixture
def dataset(photo_folder: Path) -> Dataset:
    return open_source(photo_folder)


@pytest.fixture
def table(dataset: Dataset) -> Table:
    return dataset.splits["train"]


def setting(view: View, *, images: int = 18, done: Callable[[], None] = lambda: None) -> Setting:
    return Setting(view, 3, 4, torch.device("cpu"), images, done)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_pass_of_the_loader_covers_whole_images_of_the_sample(threads: int, table: Table) -> None:
    passes = []
    (row,) = whole_rows(table, setting(RandomResizedCrop(size=32), done=lambda: passes.append(1)), threads)
    assert (row.stage, row.threads) == ("whole", threads)
    assert row.rate.images == 18 * max(1, round(0.4 * threads))
    assert 0 < row.rate.min <= row.rate.median <= row.rate.max
    assert len(passes) == 1 + row.rate.repeats


def test_the_loaders_memory_is_the_growth_above_the_start(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([1000, 1100, 1700, 1200, *[1300] * 100])
    monkeypatch.setattr(loading, "memory_bytes", lambda: next(readings))
    assert whole_rows(table, setting(RandomResizedCrop(size=32)), 1)[0].memory_bytes == 700
    monkeypatch.setattr(loading, "memory_bytes", lambda: None)
    assert whole_rows(table, setting(RandomResizedCrop(size=32)), 1)[0].memory_bytes is None


def test_rates_from_disk_and_from_memory_are_measured_in_turns(table: Table) -> None:
    turns = []
    plain = setting(RandomResizedCrop(size=32), images=40, done=lambda: turns.append("done"))
    warm, cold = whole_rows(table, plain, 2, drop=lambda: turns.append("drop"))
    assert turns == 6 * ["done", "drop", "done"]
    assert (warm.stage, warm.rate.images) == ("whole", 36)
    assert (cold.stage, cold.rate.images, cold.threads, cold.memory_bytes) == ("whole-cold", 18, 2, None)


def test_a_pass_of_a_resident_dataset_covers_whole_images_of_the_sample(table: Table) -> None:
    view = PadCrop(size=16, pad=2)
    assert resident_row(table, view, setting(view, images=40), 1).rate.images == 36


def test_smaller_images_are_tried_in_proportion_to_the_view() -> None:
    for size in (32, 224):
        assert list(candidates(size))[:2] == ["--max-side 512 --quality 90", "--format pixels --max-side 256"]
    assert list(candidates(448))[:2] == ["--max-side 1024 --quality 90", "--format pixels --max-side 512"]


def test_addressable_jpegs_are_tried_if_jpegtran_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegtran, "program", lambda: "/usr/bin/jpegtran")
    assert list(candidates(224))[2:] == ["--addressable"]

    def missing() -> str:
        raise UsageError("not found")

    monkeypatch.setattr(jpegtran, "program", missing)
    assert list(candidates(224))[2:] == []


@pytest.mark.parametrize(
    ("how", "kind"), [(Encoding(max_side=40), "JPEG"), (Encoding(format="pixels", max_side=40), "PPM")]
)
def test_prepared_images_are_the_sample_re_encoded(how: Encoding, kind: str, dataset: Dataset, table: Table) -> None:
    sample = table.subset(np.array([1, 4, 7, 17]))
    with prepared(dataset, sample, PrepareOptions(encoding=how), threads=2) as made:
        assert len(made) == 4
        folder = Path(made.shard(0)).parent
        for row in range(4):
            with Image.open(io.BytesIO(made.read(row))) as image:
                assert image.format == kind
                assert max(image.size) <= 40
    assert not folder.exists()


def test_the_temporary_folder_is_gone_after_an_interrupt(
    dataset: Dataset, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    smaller = PrepareOptions(encoding=Encoding(max_side=40))
    with pytest.raises(KeyboardInterrupt), prepared(dataset, table, smaller, 1) as made:  # noqa: PT012
        assert Path(made.shard(0)).is_relative_to(tmp_path)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_gain_and_size_of_a_remedy_are_measured_on_its_prepared_images(
    dataset: Dataset, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def rates(passes: Mapping[str, Callable[[], int]], **_: object) -> dict[str, Rate]:
        ran.append({name: work() for name, work in passes.items()})
        return {"before": Rate(100, 90, 110, 18, 1), "after": Rate(250, 200, 300, 18, 1)}

    monkeypatch.setattr(loading, "rates", rates)
    pixels_only = {"--format pixels": PrepareOptions(encoding=Encoding(format="pixels"))}
    monkeypatch.setattr(loading, "candidates", lambda _: pixels_only)
    (found,) = remedies(dataset, table, setting(RandomResizedCrop(size=32)), 1)
    assert ran == [{"before": 18, "after": 18}]
    assert (found.options, found.gain) == ("--format pixels", 2.5)
    pixels = 0
    for row in range(len(table)):
        with Image.open(io.BytesIO(table.read(row))) as image:
            pixels += len(b"P6\n%d %d\n255\n" % image.size) + image.width * image.height * (
                3 if image.mode != "L" else 1
            )
    assert found.room == pytest.approx(pixels / table.num_bytes)
