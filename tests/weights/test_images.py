"""The record of the images that a model was trained on."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tench.data import table as table_module
from tench.data.source import open_source
from tench.data.table import Table
from tench.errors import TenchError
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import EvalView
from tench.weights.images import (
    HELD_OUT,
    OTHER,
    TRAINED_ON,
    Recorder,
    RunImages,
    SplitImages,
    images_of,
    read_images,
    write_images,
)
from tench.weights.recognise import IMAGES

PIXELS = "synthetic:images=60,size=8,classes=4,val=20,format=pixels"


def read_all(table: Table) -> None:
    for row in range(len(table)):
        table.read(row)


@pytest.fixture
def tables() -> dict[str, Table]:
    """Two splits whose keys differ."""
    splits = open_source(PIXELS).splits
    return {"train": splits["train"], "val": _renamed(splits["val"])}


@pytest.fixture
def recorder(tables: dict[str, Table], tmp_path: Path) -> Recorder:
    recorder = Recorder(tmp_path, tables["train"], tables["val"], "f1")
    read_all(recorder.trained_on)
    read_all(recorder.held_out)
    recorder.save()
    return recorder


def test_each_image_is_recognised(recorder: Recorder, tables: dict[str, Table], tmp_path: Path) -> None:
    images = read_images(tmp_path / IMAGES)
    assert (images.standing(tables["train"], threads=1) == TRAINED_ON).all()
    assert (images.standing(tables["val"], threads=1) == HELD_OUT).all()
    more = open_source(PIXELS.replace("images=60", "images=120")).splits["train"]
    other = _renamed(more.subset(np.arange(90, 120)))  # the lengths and labels are the same
    assert (images.standing(other, threads=1) == OTHER).all()


def test_an_image_with_another_key_is_recognised_by_its_bytes(
    recorder: Recorder, tables: dict[str, Table], tmp_path: Path
) -> None:
    mixed = Table.joined([tables["train"].subset(np.arange(40, 60)), _renamed(tables["val"])], "mixed")
    standing = read_images(tmp_path / IMAGES).standing(mixed, threads=1)
    expected = [HELD_OUT if mixed.key(row).startswith("new") else TRAINED_ON for row in range(len(mixed))]
    assert standing.tolist() == expected


def _renamed(table: Table) -> Table:
    keys = [f"new{key}" for key in table.keys()]  # noqa: SIM118  # a table is not a dict
    position = table_module.SCHEMA.get_field_index("key")
    return Table(table.rows.set_column(position, "key", [keys]))


def test_only_a_sample_of_images_with_known_keys_is_read(
    recorder: Recorder, tables: dict[str, Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = read_images(tmp_path / IMAGES)
    read: list[int] = []
    really_read = Table.read

    def reading(self: Table, row: int) -> bytes:
        read.append(row)
        return really_read(self, row)

    monkeypatch.setattr(Table, "read", reading)
    monkeypatch.setattr("tench.weights.images._SAMPLE", 7)
    images.standing(tables["train"], threads=1)
    assert 1 <= len(read) <= 7
    read.clear()
    strange = open_source("synthetic:images=60,size=9,classes=4,val=0,format=pixels").splits["train"]
    assert (images.standing(strange, threads=1) == OTHER).all()
    assert read == []  # no image of the run has this length


def test_an_image_that_was_never_read_is_recognised_by_its_key(tables: dict[str, Table], tmp_path: Path) -> None:
    Recorder(tmp_path, tables["train"], tables["val"], "f1").save()
    images = read_images(tmp_path / IMAGES)
    assert not images.trained_on.content.any()
    assert (images.standing(tables["train"], threads=1) == TRAINED_ON).all()


def test_an_image_whose_key_is_in_both_parts_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    splits = open_source(PIXELS).splits
    assert set(splits["val"].keys()) <= set(splits["train"].keys())
    recorder = Recorder(tmp_path, splits["train"], splits["val"], "f1")
    recorder.save()
    unread = read_images(tmp_path / IMAGES)
    assert (unread.standing(splits["train"], threads=1) == TRAINED_ON).all()
    read_all(recorder.trained_on)
    read_all(recorder.held_out)
    recorder.save()
    images = read_images(tmp_path / IMAGES)
    assert (images.standing(splits["train"], threads=1) == TRAINED_ON).all()
    assert (images.standing(splits["val"], threads=1) == HELD_OUT).all()


def test_a_copy_that_was_trained_on_and_held_out_counts_as_trained_on(tables: dict[str, Table]) -> None:
    train, val = tables["train"], tables["val"]
    images = RunImages(SplitImages.of(train), SplitImages.of(_renamed(train)), "f1")
    for part in (images.trained_on, images.held_out):
        read_all(train.digesting(part.content))
    third = Table(_renamed(_renamed(train)).rows)
    assert (images.standing(third, threads=1) == TRAINED_ON).all()
    assert (images.standing(train, threads=1) == TRAINED_ON).all()
    assert (images.standing(_renamed(train), threads=1) == HELD_OUT).all()
    assert (images.standing(val, threads=1) == OTHER).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_readers_in_other_processes_record_too(tables: dict[str, Table], tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, tables["train"], tables["val"], "f1")
    order = Order(num_rows=60, batch_size=10, shuffle=False, drop_last=False)
    with Loader(
        recorder.trained_on, EvalView(size=8, resize=8), order, channels=3, threads=2, processes=True
    ) as loader:
        assert sum(len(batch.rows) for batch in loader.batches(epoch=0)) == 60
    recorder.save()
    expected = [table_module.content_digest(tables["train"].read(row)) for row in range(60)]
    assert read_images(tmp_path / IMAGES).trained_on.content.tolist() == expected


def test_a_record_is_continued_and_only_written_again_after_changes(
    recorder: Recorder, tables: dict[str, Table], tmp_path: Path
) -> None:
    before = (tmp_path / IMAGES).stat().st_ino
    recorder.save()
    assert (tmp_path / IMAGES).stat().st_ino == before
    again = Recorder(tmp_path, tables["train"], tables["val"], "f1")
    again.save()
    assert np.count_nonzero(read_images(tmp_path / IMAGES).trained_on.content) == 60
    other = Recorder(tmp_path, tables["val"], tables["train"], "f2")
    other.save()
    assert not read_images(tmp_path / IMAGES).trained_on.content.any()


def test_a_record_of_other_data_does_not_belong_to_a_model(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"")
    assert images_of(str(tmp_path), "f1") is not None
    assert images_of(str(tmp_path / "best.safetensors"), "f1") is not None
    assert images_of(str(tmp_path), "f2") is None
    assert images_of(str(tmp_path), None) is None
    assert images_of("timm:resnet18", "f1") is None
    (tmp_path / IMAGES).unlink()
    assert images_of(str(tmp_path), "f1") is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trained_on.key": None}, "trained_on is not three lists of equal length"),
        ({"held_out.size": np.zeros(3, np.uint64)}, "held_out is not three lists of equal length"),
        ({"held_out.size": np.zeros(20, np.int64)}, "held_out is not three lists of equal length"),
        ({"trained_on.content": np.zeros((60, 1), np.uint64)}, "trained_on is not three lists of equal length"),
    ],
)
def test_a_record_with_invalid_values_is_refused(
    recorder: Recorder, tmp_path: Path, change: dict[str, np.ndarray | None], reason: str
) -> None:
    path = tmp_path / IMAGES
    arrays = {name: array for name, array in (load_file(path) | change).items() if array is not None}
    save_file(arrays, path, metadata={"version": "1"})
    with pytest.raises(TenchError) as refused:
        read_images(path)
    assert str(refused.value) == (
        f"{path} does not list the images of a run ({reason}). Restore a copy or delete it. Without it, tench "
        "evaluate cannot tell which images the model was trained on."
    )


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff" * 100])
def test_a_damaged_record_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / IMAGES).write_bytes(data)
    with pytest.raises(TenchError, match=r"images\.safetensors does not list the images of a run \("):
        read_images(tmp_path / IMAGES)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1)}, tmp_path / IMAGES, metadata={"version": "2"})
    with pytest.raises(TenchError, match=r"\(its version is '2', expected '1'\)"):
        read_images(tmp_path / IMAGES)


def test_a_full_disk_is_an_error_that_names_the_file(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    before, limits = (tmp_path / IMAGES).read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(TenchError, match=r"images\.safetensors: cannot be written: the file would be too large\."):
            write_images(tmp_path / IMAGES, read_images(tmp_path / IMAGES))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / IMAGES).read_bytes() == before
