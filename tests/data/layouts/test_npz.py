"""NumPy archives and array files: MedMNIST, Keras, and others. The oracle is numpy itself."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.support.errors import error_of

from tench.data.images.image import decode_as
from tench.data.source import open_source
from tench.data.table import Dataset

NUMBERS = "The classes are only numbers. To name them, put a classes.txt next to the file."
ALL_TRAIN = "No name contains a split: all arrays are train."


def images(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(len(shape) + shape[0]).integers(0, 256, shape, np.uint8)


def pixels(dataset: Dataset, split: str = "train") -> npt.NDArray[np.uint8]:
    """All images of a split, (N, H, W, C), in RGB unless all are grey."""
    rows = dataset.splits[split]
    channels = int(rows.channels[0])
    return np.stack([decode_as(rows, row, rows.read(row), channels)[0] for row in range(len(rows))])


refusal = error_of(open_source)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_medmnist_is_read_with_its_three_splits(tmp_path: Path, save: Any) -> None:
    arrays = {}
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        arrays[f"{split}_images"] = images(count, 28, 28, 3)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8).reshape(-1, 1) % 3
    save(tmp_path / "pathmnist.npz", **arrays)
    dataset = open_source(tmp_path / "pathmnist.npz")
    assert (dataset.layout, dataset.classes.numbered, len(dataset.classes)) == ("npz", True, 3)
    for split, rows in dataset.splits.items():
        assert np.array_equal(pixels(dataset, split), arrays[f"{split}_images"])
        assert rows.labels.tolist() == arrays[f"{split}_labels"].ravel().tolist()
    assert dataset.notes == ("Images: train_images; labels: train_labels.", NUMBERS)


def test_uncompressed_members_are_read_in_place(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=images(4, 5, 6, 3), labels=np.arange(4))
    assert open_source(tmp_path / "set.npz").splits["train"].shard(0) == str(tmp_path / "set.npz")


def test_an_archive_from_keras_is_read_as_grey_images_of_train_and_test(tmp_path: Path) -> None:
    x_train, x_test = images(10, 28, 28), images(4, 28, 28)
    np.savez(tmp_path / "mnist.npz", x_train=x_train, y_train=np.arange(10), x_test=x_test, y_test=np.arange(4))
    dataset = open_source(tmp_path / "mnist.npz")
    assert np.array_equal(pixels(dataset)[..., 0], x_train)
    assert np.array_equal(pixels(dataset, "test")[..., 0], x_test)


def test_pairs_of_npy_files_are_read(tmp_path: Path) -> None:
    for split in ("train", "val"):
        np.save(tmp_path / f"X_{split}.npy", images(4, 6, 5, 3))
        np.save(tmp_path / f"y_{split}.npy", np.arange(4) % 2)
    dataset = open_source(tmp_path)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 4, "val": 4}
    assert np.array_equal(pixels(dataset), images(4, 6, 5, 3))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (images(4, 3, 7, 9), images(4, 3, 7, 9).transpose(0, 2, 3, 1)),
        (np.asfortranarray(images(4, 7, 9, 3)), images(4, 7, 9, 3)),
        (images(4, 7, 9, 3).astype(np.int64), images(4, 7, 9, 3)),
        (images(4, 7, 9, 3) / np.float32(255), images(4, 7, 9, 3)),
        ((images(4, 7, 9, 3) / 255).astype(np.float16), images(4, 7, 9, 3)),
        (images(4, 7, 9, 4), images(4, 7, 9, 4)[..., :3]),
        (images(4, 7, 9) > 99, (images(4, 7, 9) > 99)[..., None] * np.uint8(255)),
    ],
    ids=["planes", "fortran", "int64", "float32", "float16", "alpha", "bool"],
)
def test_other_forms_of_the_same_pixels_are_read_exactly(
    tmp_path: Path, stored: npt.NDArray[Any], expected: npt.NDArray[Any]
) -> None:
    np.savez(tmp_path / "set.npz", X=stored, y=np.arange(4))
    assert np.array_equal(pixels(open_source(tmp_path / "set.npz")), expected)


def test_labels_may_be_text_or_one_column_per_class(tmp_path: Path) -> None:
    np.savez(tmp_path / "text.npz", images=images(3, 8, 8), labels=np.array(["owl", "cat", "owl"]))
    dataset = open_source(tmp_path / "text.npz")
    assert (dataset.classes.ids, dataset.splits["train"].labels.tolist()) == (("cat", "owl"), [1, 0, 1])
    np.savez(tmp_path / "columns.npz", images=images(3, 8, 8), labels=np.eye(4)[[2, 0, 3]])
    assert open_source(tmp_path / "columns.npz").splits["train"].labels.tolist() == [2, 0, 3]


def test_class_names_are_taken_from_the_archive_or_from_a_list_next_to_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images(3, 8, 8), labels=np.arange(3), class_names=np.array(["x", "y", "z"]))
    dataset = open_source(tmp_path / "a.npz")
    assert (dataset.classes.ids, dataset.notes[1]) == (("x", "y", "z"), "The class names are from class_names.")
    np.savez(tmp_path / "b.npz", images=images(3, 8, 8), labels=np.arange(3))
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    assert open_source(tmp_path / "b.npz").classes.ids == ("ant", "bee", "cat")


def test_several_candidates_lead_to_a_question_that_keys_answers(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, a=images(4, 8, 8), b=images(4, 8, 8), kind=np.arange(4), age=np.arange(4) % 2)
    assert refusal(path) == (
        f"{path}: it is unclear which arrays contain the images and labels of train. Possible images: a uint8 (4, "
        f"8, 8), b uint8 "
        "(4, 8, 8); labels: age int64 (4,), kind int64 (4,). Name them with --keys image=NAME,label=NAME, or leave "
        "files out with --exclude PATTERN."
    )
    dataset = open_source(path, keys="image=b,label=age")
    assert dataset.splits["train"].labels.tolist() == [0, 1, 0, 1]
    assert dataset.notes[0] == "Images: b; labels: age."
    assert dataset.notes[-1] == "Left out arrays that are neither images nor labels: a, kind."
    assert open_source(path, keys="image=a", label="kind").splits["train"].labels.tolist() == [0, 1, 2, 3]
    assert refusal(path, keys="image=c,label=age").startswith(
        f"{path}: no array 'c' with the shape of images. Its arrays"
    )


REFUSED: dict[str, tuple[dict[str, npt.NDArray[Any]], str]] = {
    "noise": (
        {"X": np.linspace(-1, 1, 256).reshape(4, 8, 8), "y": np.arange(4)},
        "set.npz/X.npy (in {path} at byte 55): its values (float64) range from -1 to 1. Pixels are whole numbers from "
        "0 to 255, or steps of 1/255 from 0 to 1. Save the images as uint8.",
    ),
    "flat": (
        {"X": images(4, 64), "y": np.arange(4)},
        "set.npz: no array has the shape of images: (N, H, W), (N, H, W, C) or (N, C, H, W). Its arrays are: X uint8 "
        "(4, 64), y int64 (4,). Save flattened images with their height and width.",
    ),
    "volumes": (
        {"images": images(4, 8, 8, 8), "labels": np.arange(4)},
        "set.npz/images.npy (in {path} at byte 60): its shape (4, 8, 8, 8) is not that of images: (N, H, W), (N, H, W, "
        "C) or (N, C, H, W) with 1 or 3 channels C. Volumes and other arrays are not read. Save slices of them as "
        "images.",
    ),
    "several labels": (
        {"images": images(2, 8, 8), "labels": np.array([[1, 1, 0], [0, 0, 1]])},
        "set.npz/labels.npy (in {path} at byte 376) has 3 columns, and row 0 is [1, 1, 0]: exactly one column of a "
        "row should be 1. 1 of the 2 rows are affected. Images with several labels or none cannot be read from arrays. "
        "Name another array with --keys label=NAME.",
    ),
    "fractions": (
        {"images": images(2, 8, 8), "labels": np.array([0.5, 1.0])},
        "set.npz/labels.npy (in {path} at byte 376): the labels are fractions (the first is 0.5). A class is a whole "
        "number or text. Name another array with --keys label=NAME.",
    ),
    "one class": (
        {"images": images(2, 8, 8), "labels": np.array([0, 0])},
        "set.npz/labels.npy (in {path} at byte 376): all labels are 0. At least two classes are needed.",
    ),
    "no labels": (
        {"images": images(2, 8, 8)},
        "set.npz: it is unclear which arrays contain the images and labels of train. Possible images: images uint8 "
        "(2, 8, 8); "
        "labels: none. Its arrays are: images uint8 (2, 8, 8). Name them with --keys image=NAME,label=NAME, or leave "
        "files out with --exclude PATTERN.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_without_images_are_refused_with_a_list_of_arrays(tmp_path: Path, case: str) -> None:
    arrays, expected = REFUSED[case]
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    assert refusal(path) == f"{tmp_path}/{expected.format(path=path)}"


def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=np.array([images(3, 4, 3), images(4, 4, 3)], object), labels=np.arange(2))
    assert refusal(path) == (
        f"{path}/images.npy (in {path} at byte 60) contains Python objects, which are pickled: reading them could run "
        "code. Save its arrays as numbers or text, and images of the same size as (N, H, W, C) uint8."
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "its header is not that of a NumPy array"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "its header is not that of a NumPy array"),
        (
            b"\x93NUMPY\x01\x00\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (99, 8, 8)}".ljust(80),
            "promises",
        ),
    ],
)
def test_a_damaged_array_is_refused_with_its_place(tmp_path: Path, data: bytes, said: str) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", data)
    assert f"{tmp_path}/set.npz/images.npy" in refusal(tmp_path / "set.npz")
    assert said in refusal(tmp_path / "set.npz")


def test_single_images_saved_as_npy_are_named_with_the_remedy(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(2):
            np.save(tmp_path / f"set/{label}/{number}.npy", images(8, 8, 3))
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set contains no readable images. It contains 4 files: 4 NumPy files (.npy) (cat/0.npy). NumPy "
        "files (.npy): Save each as PNG, or save one array of images (N, H, W, C) and one of labels."
    )
