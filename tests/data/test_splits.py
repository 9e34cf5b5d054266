"""One rule decides which split a name or value means."""

import pytest

from tench.data.splits import group_by_split, split_of, split_of_path, splits_of_values
from tench.errors import TenchError, UsageError


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Training TRAIN training_set TrainSet seg_train train.X1 train_data Final_Training cars_train"),
        ("train", "trainval train_val train+val trainvalid TrainVal train2017 train-00000-of-00012.tfrecord X_train"),
        ("val", "val valid validation dev val.X Validation_Set imagenet1k-validation-00.tar valB eval"),
        ("test", "test testing test_set TestSet seg_test X_test test.zip cars_test"),
    ],
)
def test_split_words_are_recognised_in_any_usual_spelling(split: str, names: str) -> None:
    words = names.split()
    assert {name: split_of(name) for name in words} == dict.fromkeys(words, split)


@pytest.mark.parametrize("name", ["contest", "latest", "valencia", "testudo", "extra", "data", "images", ""])
def test_a_word_that_only_contains_a_split_word_names_none(name: str) -> None:
    assert split_of(name) is None


@pytest.mark.parametrize("name", ["train_test_split.txt", "trainval-test", "val_or_test"])
def test_a_name_with_the_words_of_two_splits_names_none(name: str) -> None:
    assert split_of(name) is None


def test_the_file_name_takes_precedence_over_the_nearest_folder() -> None:
    assert split_of_path("train/val-000.tar") == "val"
    assert split_of_path("test/train/000.tar") == "train"
    assert split_of_path("a/b/000.tar") is None


def test_paths_that_name_no_split_are_all_train() -> None:
    assert group_by_split(["a.rec", "b.rec"], "/set", "record files") == (
        {"train": ["a.rec", "b.rec"]},
        ["No name contains a split: all record files are train."],
    )


def test_splits_are_in_their_usual_order() -> None:
    grouped, notes = group_by_split(["test.tar", "val.tar", "train.tar"], "/set", "shards")
    assert (list(grouped), notes) == (["train", "val", "test"], [])


def test_a_path_that_names_no_split_next_to_others_that_do_is_refused() -> None:
    with pytest.raises(TenchError) as error:
        group_by_split(["train.tar", "extra.tar"], "/set", "shards")
    assert str(error.value) == (
        "/set: 1 of the shards without a split in the name (train, val or test): extra.tar. Others have one: "
        "train.tar (train). Leave out those without a split with --exclude PATTERN, rename them, or pass only the "
        "files to use."
    )


def test_trainval_next_to_val_is_refused() -> None:
    with pytest.raises(TenchError) as error:
        group_by_split(["train_val.rec", "val.rec"], "/set", "record files")
    assert str(error.value) == (
        "/set: train_val.rec contains train and val together, and val.rec repeats val, so validation images would be "
        "trained on. Leave one out, for example with --exclude 'train_val.rec'."
    )


def test_a_name_with_two_splits_is_refused() -> None:
    with pytest.raises(TenchError) as error:
        group_by_split(["train_test.tar"], "/set", "shards")
    assert str(error.value) == (
        "/set: train_test.tar contains words of several splits: test and train. Rename it, or name the split with "
        "--split-from REGEX."
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
def test_a_split_column_contains_names_or_yes_and_no(column: str, splits: dict[str, str]) -> None:
    assert splits_of_values(column, list(splits) * 2) == splits


@pytest.mark.parametrize(("column", "values"), [("fold", ["0", "1"]), ("set", ["a", "b"]), ("split", ["train", "x"])])
def test_a_column_with_other_values_is_not_a_split_column(column: str, values: list[str]) -> None:
    assert splits_of_values(column, values) is None


def test_a_split_word_in_a_folder_further_up_is_ignored() -> None:
    assert group_by_split(["train_test_split/train/0.tar"], "/set", "shards")[0] == {
        "train": ["train_test_split/train/0.tar"]
    }


def test_a_source_folder_named_like_a_split_gives_the_split_of_files_that_name_none() -> None:
    assert group_by_split(["0.tar"], "/set/val", "shards", root="val") == (
        {"val": ["0.tar"]},
        ["The folder val names the split: all shards are val."],
    )
    assert group_by_split(["0.tar"], "/set/train", "shards", root="train") == ({"train": ["0.tar"]}, [])
    assert group_by_split(["0.tar"], "/my_test", "shards", root="my_test")[0] == {"train": ["0.tar"]}
    assert group_by_split(["train.tar"], "/set/val", "shards", root="val")[0] == {"train": ["train.tar"]}


def test_split_from_accepts_a_regular_expression_or_the_depth_of_a_folder() -> None:
    paths = ["x/phase1-0.rec", "y/phase2-0.rec"]
    assert group_by_split(["a_dev0.rec", "a_train0.rec"], "/set", "files", split_from=r"_([a-z]+)\d")[0] == {
        "train": ["a_train0.rec"],
        "val": ["a_dev0.rec"],
    }
    deep = ["a/train/test-time.rec", "a/test/train-time.rec"]
    assert group_by_split(deep, "/set", "files", split_from="folder 2")[0] == {"train": deep[:1], "test": deep[1:]}
    with pytest.raises(TenchError) as error:
        group_by_split(paths, "/set", "files", split_from="(phase.)")
    assert str(error.value) == (
        "x/phase1-0.rec: --split-from '(phase.)' finds 'phase1', which is not a split (train, val or test)."
    )
    with pytest.raises(TenchError) as error:
        group_by_split(["train.rec", "b.rec"], "/set", "files", split_from="(train|val)")
    assert str(error.value) == (
        "/set: --split-from '(train|val)' finds no split in b.rec. Extend it, or leave the file out with --exclude "
        "PATTERN."
    )


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (
            "(",
            "--split-from must be a valid regular expression, got '(' "
            "(missing ), unterminated subpattern at position 0).",
        ),
        ("train", "--split-from 'train' has no group. Put parentheses around the part that names the split."),
    ],
)
def test_a_split_from_that_cannot_work_is_a_usage_error(how: str, text: str) -> None:
    with pytest.raises(UsageError) as error:
        group_by_split(["train.rec"], "/set", "files", split_from=how)
    assert str(error.value) == text
