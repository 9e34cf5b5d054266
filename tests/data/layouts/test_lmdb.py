"""LMDB environments: LSUN's, Caffe's and others. The package lmdb writes them; Datums are written by hand."""

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path

import lmdb
import numpy as np
import pytest
from tests.data.photos import encoded, part
from tests.support.errors import error_of
from tests.support.tfrecords import varint

from tench.data.images.image import decode_as
from tench.data.source import open_source


def write(path: Path, records: Mapping[str, bytes]) -> Path:
    path.mkdir(parents=True)
    environment = lmdb.open(str(path), map_size=2**22)
    with environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key.encode(), value)
    environment.close()
    return path


def photo(number: int) -> bytes:
    return encoded(part(20 + number, 16, number))


def datum(pixels: "np.typing.NDArray[np.uint8]", label: int) -> bytes:
    """Caffe's Datum of planes (C, H, W). Field numbers: channels 1, height 2, width 3, data 4, label 5."""
    data = pixels.tobytes()
    sides = b"".join(bytes([field << 3]) + varint(size) for field, size in enumerate(pixels.shape, start=1))
    return sides + b"\x22" + varint(len(data)) + data + b"\x28" + varint(label)


refusal = error_of(open_source)


def test_the_classes_of_lsun_are_the_names_of_its_environments(tmp_path: Path) -> None:
    for name, numbers in (("church_outdoor_train", (1, 2)), ("tower_train", (3, 4, 5)), ("tower_val", (6,))):
        write(tmp_path / f"lsun/{name}_lmdb", {f"{number:040x}": photo(number) for number in numbers})
    dataset = open_source(tmp_path / "lsun")
    assert (dataset.layout, dataset.classes.ids) == ("lmdb", ("church_outdoor", "tower"))
    rows = dataset.splits["train"]
    assert [rows.read(row) for row in range(len(rows))] == [photo(number) for number in (1, 2, 3, 4, 5)]
    assert rows.labels.tolist() == [0, 0, 1, 1, 1]
    assert dataset.splits["val"].labels.tolist() == [1]
    assert dataset.notes == ("The classes are the names of environments or their keys.",)


def test_a_single_class_of_lsun_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "tower_train_lmdb", {"a": photo(1)})
    assert refusal(tmp_path / "tower_train_lmdb") == (
        f"{tmp_path}/tower_train_lmdb: at least two classes are needed. Found: tower. Pass the folder that contains "
        "the environments of all classes."
    )


def test_caffe_datums_have_labels_and_bgr_pixels(tmp_path: Path) -> None:
    planes = {number: np.random.default_rng(number).integers(0, 256, (3, 6, 5), np.uint8) for number in range(4)}
    for split in ("train", "test"):
        records = {f"{number:08}": datum(image, number % 2) for number, image in planes.items()}
        write(tmp_path / f"set/ilsvrc_{split}_lmdb", records)
    dataset = open_source(tmp_path / "set")
    rows = dataset.splits["test"]
    assert rows.labels.tolist() == [0, 1, 0, 1]
    for row, image in planes.items():
        assert np.array_equal(decode_as(rows, row, rows.read(row), 3)[0], image[::-1].transpose(1, 2, 0))
    assert "The pixels are read as BGR, as Caffe's convert_imageset writes them." in dataset.notes


def test_a_datum_may_contain_an_image_file(tmp_path: Path) -> None:
    records = {
        str(number): b"\x22" + varint(len(photo(number))) + photo(number) + b"\x28" + varint(number) + b"\x38\x01"
        for number in range(3)
    }
    rows = open_source(write(tmp_path / "train_lmdb", records)).splits["train"]
    assert [rows.read(row) for row in range(3)] == [photo(number) for number in range(3)]


def test_folders_in_keys_are_classes(tmp_path: Path) -> None:
    records = {f"train/{name}/{number}.jpg": photo(number) for name in ("cat", "owl") for number in range(2)}
    dataset = open_source(write(tmp_path / "my_train_lmdb", records))
    assert dataset.classes.ids == ("cat", "owl")
    assert dataset.splits["train"].keys() == ["cat/0.jpg", "cat/1.jpg", "owl/0.jpg", "owl/1.jpg"]


REFUSED = {
    "train_lmdb": (
        {"7": photo(1), "8": photo(2)},
        "the class of 2 images is unknown, because their records have no label. Their keys are '7', '8'. Expected "
        "names such as church_outdoor_train_lmdb, keys such as church/001.jpg, or Caffe's Datum records.",
    ),
    "ILSVRC2012_train_lmdb": (
        {"0": pickle.dumps((photo(1), 0))},
        "record '0' is a Python pickle, and loading one can run code, so it is not read. Use the script that created "
        "the environment to write its images as files into class folders.",
    ),
    "text_train_lmdb": (
        {"0": b"hello, world"},
        "record '0' is neither an image file nor a Caffe Datum; it begins with b'hello, world'. Write the images as "
        "files into class folders.",
    ),
    "mixed_train_lmdb": (
        {"cat/0": photo(1), "cat/1": datum(np.zeros((1, 2, 2), np.uint8), 1)},
        "record 'cat/1' differs in kind or size from the previous ones.",
    ),
    "empty_train_lmdb": ({}, "the environment contains no records."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_records_that_are_not_labelled_images_are_refused(tmp_path: Path, name: str) -> None:
    records, expected = REFUSED[name]
    write(tmp_path / name, records)
    assert refusal(tmp_path / name) == f"{tmp_path}/{name}/data.mdb: {expected}"


def test_a_damaged_environment_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    path = write(tmp_path / "cat_train_lmdb", {f"{number}": photo(number) for number in range(20)}) / "data.mdb"
    path.write_bytes(path.read_bytes()[:9000])
    said = refusal(tmp_path / "cat_train_lmdb")
    assert said.startswith(f"{path}: ")
    assert said.endswith("Copy or download it again.")


def test_without_lmdb_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "cat_train_lmdb", {"1": photo(1)}) / "data.mdb"
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "lmdb" else find(name, *more))
    assert refusal(tmp_path / "cat_train_lmdb") == (
        f"{path} is an LMDB environment, which requires lmdb: pip install 'tench[interop]'"
    )
