import logging
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tests.support.datasets import reloaded

import tench.data.layouts.digits as digits
from tench.data import table


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("digits") / "spool"


@pytest.fixture(scope="module")
def contents(spool: Path) -> table.Contents:
    return digits.read("digits", spool)


@pytest.fixture(scope="module")
def dataset(contents: table.Contents) -> table.Dataset:
    return reloaded(contents, digits.NAME)


def test_each_row_is_scikit_learns_image_of_that_number_scaled_to_bytes(dataset: table.Dataset) -> None:
    theirs = load_digits()
    seen = []
    for split in dataset.splits.values():
        for row in range(len(split)):
            index = int(split.key(row))
            seen.append(index)
            expected = [round(value * 255 / 16) for value in theirs.images[index].ravel()]
            assert list(split.read(row)) == expected
            assert split.labels[row] == theirs.target[index]
    assert sorted(seen) == list(range(1797))


def test_the_rows_say_that_they_are_grey_8x8_pixels(dataset: table.Dataset) -> None:
    train = dataset.splits["train"]
    assert (train.encoding(0), train.heights[0], train.widths[0], train.channels[0]) == (table.PIXELS_HWC, 8, 8, 1)


def test_a_fifth_of_each_class_is_used_for_validation(dataset: table.Dataset) -> None:
    val, train = np.bincount(dataset.splits["val"].labels), np.bincount(dataset.splits["train"].labels)
    assert val.tolist() == [round((of_val + of_train) / 5) for of_val, of_train in zip(val, train, strict=True)]
    assert dataset.classes == table.Classes.of(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])


def test_the_split_is_the_same_every_time(contents: table.Contents, tmp_path: Path) -> None:
    again = digits.read("digits", tmp_path)
    assert again.splits["val"].key == contents.splits["val"].key
    # The images of each class with the smallest SHA-256, computed by hand. A change would make old runs incomparable.
    assert list(again.splits["val"].key[:5]) == ["00006", "00009", "00014", "00015", "00044"]


def test_the_spooled_file_is_in_the_stamp_and_nothing_else_is_written(contents: table.Contents, spool: Path) -> None:
    assert contents.stamp == [str(spool / "digits.pixels")]
    assert [(file.name, file.stat().st_size) for file in spool.iterdir()] == [("digits.pixels", 1797 * 64)]


def test_the_size_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tench"):
        digits.read("digits", tmp_path)
    assert f"1797 digits: writing 115.0 KB once to {tmp_path / 'digits.pixels'}." in caplog.text
