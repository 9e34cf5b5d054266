"""Datasets written by `tench prepare`, read by the readers of NVIDIA DALI on the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.interop import sets
from tests.interop.conftest import Ask, Prepare
from tests.interop.sets import Made, Stored

pytestmark = pytest.mark.interop("dali")

READER = "read_dali.py"


def compare(found: list[dict[str, Any]], images: Sequence[Stored], *, first_label: int = 0) -> None:
    """Check that every image was found once, with its bytes, its label, and the size that Pillow reads."""
    by_bytes = {record["sha256"]: record for record in found}
    assert len(by_bytes) == len(found) == len(images)
    for image in images:
        record, picture = by_bytes[image.sha256], image.opened()
        assert record["label"] == image.label + first_label
        assert record["shape"] == [picture.height, picture.width, 3]
        if picture.mode in ("RGB", "L"):
            exact = picture.format == "PNG"
            want = image.pixels().mean(axis=(0, 1)).tolist()
            assert record["mean"] == pytest.approx(want, abs=1e-6 if exact else 2)


def test_dali_reads_tfrecords(photos: Made, prepare: Prepare, ask: Ask) -> None:
    folder = prepare(photos, "--to", "tfrecord", "--shards", "3", "1")
    train, val = sorted(folder.glob("train-*")), sorted(folder.glob("validation-*"))
    assert (len(train), len(val)) == (3, 1)
    compare(ask("dali", READER, "tfrecord", *train), photos.images["train"], first_label=1)
    compare(ask("dali", READER, "tfrecord", *val), photos.images["val"], first_label=1)


def test_dali_reads_record_files(photos: Made, prepare: Prepare, ask: Ask) -> None:
    folder = prepare(photos, "--to", "recordio")
    for split, images in photos:
        compare(ask("dali", READER, "mxnet", folder / f"{split}.rec"), images)


def test_dali_reads_records_in_several_parts(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    magic = sets.with_magic(tmp_path / "magic", photos)
    compare(ask("dali", READER, "mxnet", prepare(magic, "--to", "recordio") / "train.rec"), magic.images["train"])


def test_dali_reads_each_of_several_record_files_of_a_split(photos: Made, prepare: Prepare, ask: Ask) -> None:
    files = sorted(prepare(photos, "--to", "recordio", "--shards", "3", "1").glob("train-*.rec"))
    found = [ask("dali", READER, "mxnet", file) for file in files]
    assert [len(records) for records in found] == [6, 6, 6]
    compare([record for records in found for record in records], photos.images["train"])


def test_dali_reads_webdataset(photos: Made, prepare: Prepare, ask: Ask) -> None:
    files = sorted(prepare(photos, "--shards", "3", "1").glob("train-*.tar"))
    assert len(files) == 3
    compare(ask("dali", READER, "webdataset", "jpg;png", *files), photos.images["train"])


def test_dali_reads_unusual_names_from_webdataset(photos: Made, prepare: Prepare, ask: Ask, tmp_path: Path) -> None:
    odd = sets.odd_names(tmp_path / "odd", photos)
    (file,) = prepare(odd).glob("*.tar")
    found = ask("dali", READER, "webdataset", "jpg;jpeg;JPEG", file)
    assert sorted(record["sha256"] for record in found) == sorted(image.sha256 for image in odd.images["train"])


@pytest.mark.parametrize("style", ["nnabla", "caffe"])
def test_dali_reads_lists(photos: Made, prepare: Prepare, ask: Ask, style: str) -> None:
    folder = prepare(photos, "--to", "list", "--style", style)
    for split, images in photos:
        file = folder / (f"{split}_label" if style == "nnabla" else f"{split}.txt")
        compare(ask("dali", READER, "list", folder / split, file), images)
