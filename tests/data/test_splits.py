"""One rule says which split a name or value stands for."""

import pytest

from tench.data.splits import group_by_split, split_of, split_of_path, splits_of_values
from tench.errors import TenchError


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Training TRAIN training_set TrainSet seg_train train.X1 train_data Final_Training cars_train"),
        ("train", "trainval train_val train+val trainvalid TrainVal train2017 train-00000-of-00012.tfrecord X_train"),
        ("val", "val valid validation dev val.X Validation_Set imagenet1k-validation-00.tar valB"),
        ("test", "test testing test_set TestSet seg_test X_test test.zip cars_test"),
    ],
)
def test_split_words_in_any_usual_spelling(split: str, names: str) -> None:
    words = names.split()
    assert {name: split_of(name) for name in words} == dict.fromkeys(words, split)


@pytest.mark.parametrize("name", ["contest", "latest", "valencia", "testudo", "extra", "data", "images", ""])
def test_a_word_that_only_contains_a_split_word_names_none(name: str) -> None:
    assert split_of(name) is None


@pytest.mark.parametrize("name", ["train_test_split.txt", "trainval-test", "val_or_test"])
def test_a_name_with_the_words_of_two_splits_names_none(name: str) -> None:
    assert split_of(name) is None


def test_the_file_name_counts_before_the_nearest_folder() -> None:
    assert split_of_path("train/val-000.tar") == "val"
    assert split_of_path("test/train/000.tar") == "train"
    assert split_of_path("a/b/000.tar") is None


def test_paths_that_name_no_split_are_all_train() -> None:
    assert group_by_split(["a.rec", "b.rec"], "/set", "record files") == (
        {"train": ["a.rec", "b.rec"]},
        ["No name says a split: all record files are train."],
    )


def test_splits_are_in_their_usual_order() -> None:
    grouped, notes = group_by_split(["test.tar", "val.tar", "train.tar"], "/set", "shards")
    assert (list(grouped), notes) == (["train", "val", "test"], [])


def test_a_path_that_names_no_split_beside_others_that_do_is_refused() -> None:
    with pytest.raises(TenchError) as error:
        group_by_split(["train.tar", "extra.tar"], "/set", "shards")
    assert str(error.value) == (
        "/set: 1 of the shards do not say in their name whether they are train, val or test: extra.tar. Others do: "
        "train.tar (train). Leave them out with --exclude PATTERN, rename them, or name the files to use."
    )


def test_trainval_beside_val_is_refused() -> None:
    with pytest.raises(TenchError) as error:
        group_by_split(["train_val.rec", "val.rec"], "/set", "record files")
    assert str(error.value) == (
        "/set: train_val.rec holds train and val together, and val.rec holds val again, so validation images would be "
        "trained on. Leave one of them out, for example with --exclude 'train_val.rec'."
    )


def test_a_name_with_two_splits_is_refused() -> None:
    with pytest.raises(TenchError) as error:
        group_by_split(["train_test.tar"], "/set", "shards")
    assert str(error.value) == (
        "/set: train_test.tar has the words of several splits in its name: test and train. Rename it, or say which "
        "split it is with --split-from REGEX."
    )


@pytest.mark.parametrize(
    ("column", "splits"),
    [
        ("is_valid", {"True": "val", "False": "train"}),
        ("is_valid", {"1": "val", "0": "train"}),
        ("valid", {"yes": "val", "no": "train"}),
        ("is_test", {"true": "test", "false": "train"}),
        ("is_train", {"1": "train", "0": "val"}),
        ("set", {"train": "train", "test": "test"}),
        ("Usage", {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}),
        ("partition", {"train": "train", "Validation": "val"}),
    ],
)
def test_a_split_column_holds_names_or_yes_and_no(column: str, splits: dict[str, str]) -> None:
    assert splits_of_values(column, list(splits) * 2) == splits


@pytest.mark.parametrize(("column", "values"), [("fold", ["0", "1"]), ("set", ["a", "b"]), ("split", ["train", "x"])])
def test_a_column_with_other_values_tells_no_splits(column: str, values: list[str]) -> None:
    assert splits_of_values(column, values) is None
