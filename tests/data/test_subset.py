import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import reloaded

from tench.data.subset import keep_classes, rows_at, val_per_class
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError, UsageError, counted


def rows_of(labels: Sequence[int], prefix: str = "") -> Rows:
    """A row for each label, with a unique combination of offset, length and shard."""
    count = len(labels)
    return Rows(
        shards=[f"/data/{number}.tar" for number in range(3)],
        shard=np.arange(count, dtype=np.int32) % 3,
        offset=np.arange(count) * 100,
        length=np.arange(count) + 1,
        label=np.array(labels, np.int32),
        key=[f"{prefix}{number:05}.jpg" for number in range(count)],
    )


def contents_of(ids: str, **labels: Sequence[int]) -> Contents:
    splits = {split: rows_of(values, f"{split}/") for split, values in labels.items()}
    return Contents(Classes.of(list(ids), [f"the {name}" for name in ids]), splits, ["/data"], ["A note."])


def where(rows: Rows) -> dict[str, tuple[str, int, int]]:
    """The shard, offset and length of each key's bytes."""
    offsets = np.broadcast_to(rows.offset, len(rows.key)).tolist()
    lengths = np.broadcast_to(rows.length, len(rows.key)).tolist()
    files = [rows.shards[number] for number in rows.shard.tolist()]
    return dict(zip(rows.key, zip(files, offsets, lengths, strict=True), strict=True))


def classes_of(contents: Contents, split: str) -> dict[str, str | None]:
    rows = contents.splits[split]
    ids = [contents.classes.ids[label] if label >= 0 else None for label in rows.label.tolist()]
    return dict(zip(rows.key, ids, strict=True))


def test_classes_with_fewer_training_images_are_dropped_from_all_splits() -> None:
    before = contents_of("abcd", train=[3, 0, 1, 3, 1, 0, 2, 3], val=[0, 1, 2, 3, -1], test=[-1, 2])
    after = keep_classes(before, 2)
    assert after.classes == Classes.of(list("abd"), ["the a", "the b", "the d"])
    for split in before.splits:
        kept = {key: name for key, name in classes_of(before, split).items() if name != "c"}
        assert classes_of(after, split) == kept
        assert where(after.splits[split]) == {key: where(before.splits[split])[key] for key in kept}
    assert after.notes == ["A note.", "Dropped 1 of 4 classes with fewer than 2 images in train, and their 3 images."]
    assert after.stamp == ["/data"]


def test_a_class_without_training_images_is_dropped_and_numbers_stay_ids() -> None:
    before = dataclasses.replace(contents_of("abcd", train=[0, 3, 3]), classes=Classes.numbered_to(4))
    after = keep_classes(before, 1)
    assert (after.classes.ids, after.classes.numbered) == (("0", "3"), False)
    assert after.splits["train"].label.tolist() == [0, 1, 1]


def test_nothing_is_dropped_if_all_classes_have_enough_images() -> None:
    before = contents_of("ab", train=[0, 1, 1, 0])
    after = keep_classes(before, 2)
    assert (after.classes, after.splits) == (before.classes, before.splits)
    assert after.notes[-1] == "All 2 classes have at least 2 images in train; none was dropped."


def test_fewer_than_two_classes_left_are_an_error() -> None:
    with pytest.raises(UsageError) as error:
        keep_classes(contents_of("abc", train=[0, 1, 1, 2, 2, 2]), 3)
    assert str(error.value) == (
        "--min-images 3: only 1 of the 3 classes have that many images in train; the largest has 3. A classifier needs "
        "at least two classes. Use a smaller number."
    )


def test_several_labels_per_image_are_an_error() -> None:
    before = contents_of("ab", train=[0, 1])
    rows = dataclasses.replace(before.splits["train"], labels=[[0, 1], [1]])
    with pytest.raises(UsageError) as error:
        keep_classes(dataclasses.replace(before, splits={"train": rows}), 1)
    assert str(error.value) == ("--min-images: this source has several labels per image, so classes cannot be dropped.")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 8))
def test_exactly_the_classes_with_enough_images_remain(labels: list[int], min_images: int) -> None:
    before = contents_of("abcdef", train=labels)
    kept = [label for label in range(6) if labels.count(label) >= min_images]
    if len(kept) < 2:
        with pytest.raises(UsageError):
            keep_classes(before, min_images)
        return
    after = keep_classes(before, min_images)
    assert after.classes.ids == tuple("abcdef"[label] for label in kept)
    expected = {key: name for key, name in classes_of(before, "train").items() if "abcdef".index(name or "") in kept}
    assert classes_of(after, "train") == expected


def drawn(keys: Sequence[str], count: int, seed: int) -> set[str]:
    """The rule, written a second time as the oracle."""
    return set(sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\n{key}".encode()).hexdigest())[:count])


@settings(max_examples=50, deadline=None)
@given(
    st.permutations([0] * 9 + [1] * 4 + [2] * 5 + [-1] * 2),
    st.integers(1, 3),
    st.integers(0, 3),
    st.permutations(range(20)),
)
def test_the_keys_with_the_smallest_digests_of_each_class_are_drawn_in_any_order_of_rows(
    labels: list[int], count: int, seed: int, order: list[int]
) -> None:
    before = contents_of("abc", train=labels, test=[0, 1])
    rows = rows_at(before.splits["train"], np.array(order))
    shuffled = dataclasses.replace(before, splits={**before.splits, "train": rows})
    after = val_per_class(before, count, seed)
    by_class = classes_of(before, "train")
    expected = set()
    for name in "abc":
        expected |= drawn([key for key, of in by_class.items() if of == name], count, seed)
    for found in (after, val_per_class(shuffled, count, seed)):
        assert list(found.splits) == ["train", "val", "test"]
        assert set(found.splits["val"].key) == expected
        assert classes_of(found, "val") | classes_of(found, "train") == by_class
        assert len(found.splits["train"].key) == 20 - 3 * count
        assert where(found.splits["val"]) | where(found.splits["train"]) == where(before.splits["train"])
        assert found.splits["test"] is before.splits["test"]
    assert (
        after.notes[-1] == f"The split val is {counted(count, 'image')} per class, drawn from train with seed {seed}."
    )


def test_a_different_seed_draws_different_images() -> None:
    before = contents_of("ab", train=[0, 1] * 100)
    assert set(val_per_class(before, 20, 0).splits["val"].key) != set(val_per_class(before, 20, 1).splits["val"].key)


def test_the_images_drawn_with_seed_0_never_change() -> None:
    """Runs are compared on these images, so a different rule would need a different name."""
    found = val_per_class(contents_of("ab", train=[0, 1] * 50), 3, 0)
    assert sorted(key[6:11] for key in found.splits["val"].key) == [
        "00011",
        "00015",
        "00042",
        "00079",
        "00094",
        "00098",
    ]


def test_the_11k_rule_drops_small_classes_and_then_draws(tmp_path: Path) -> None:
    labels = [0] * 500 + [1] * 499 + [2] * 731
    after = val_per_class(keep_classes(contents_of("abc", train=labels), 500), 50, 0)
    dataset = reloaded(dataclasses.replace(after, stamp=[]))
    assert dataset.classes.ids == ("a", "c")
    assert {split: np.bincount(rows.labels).tolist() for split, rows in dataset.splits.items()} == {
        "train": [450, 681],
        "val": [50, 50],
    }
    assert dataset.notes == (
        "A note.",
        "Dropped 1 of 3 classes with fewer than 500 images in train, and their 499 images.",
        "The split val is 50 images per class, drawn from train with seed 0.",
    )


def test_a_class_without_images_left_for_training_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError) as error:
        val_per_class(contents_of("abcd", train=[0, 0, 0, 1, 1, 3]), 2, 0)
    assert str(error.value) == (
        "--val-per-class 2: 3 of the 4 classes have at most 2 images in train, so none would be left for training: "
        "b (2), c (0), d (1). Use a smaller number, or leave out small classes with --min-images."
    )


def test_val_per_class_is_refused_if_there_is_a_split_val() -> None:
    with pytest.raises(UsageError) as error:
        val_per_class(contents_of("ab", train=[0, 1] * 5, val=[0]), 1, 0)
    assert str(error.value) == "--val-per-class: this source already has a split val. Leave out the option to use that."


def test_a_source_without_train_is_an_error() -> None:
    before = contents_of("ab", test=[0, 1], real=[1])
    for option in ("min-images", "val-per-class"):
        with pytest.raises(UsageError) as error:
            keep_classes(before, 1) if option == "min-images" else val_per_class(before, 1, 0)
        assert str(error.value) == f"--{option}: this source has no split train, only test, real."


@pytest.mark.parametrize("label", [2, -2])
def test_a_label_out_of_range_is_an_error(label: int) -> None:
    before = contents_of("ab", train=[0, 1] * 5, test=[0, label])
    for option in ("min-images", "val-per-class"):
        with pytest.raises(TenchError) as error:
            keep_classes(before, 1) if option == "min-images" else val_per_class(before, 1, 0)
        assert str(error.value) == f"test: test/00001.jpg has label {label}, but there are 2 classes."


def test_rows_keep_all_their_values() -> None:
    rows = dataclasses.replace(
        rows_of([0, 1, 0, 1]),
        offset=7,
        height=np.array([1, 2, 3, 4]),
        width=5,
        channels=3,
        labels=[[0.5], [1, 2], None, []],
        boxes=[None, [[0, 0, 1, 1]], [], [[0, 0, 0.5, 1], [0, 0, 1, 0.5]]],
        encoding="pixels-hwc",
    )
    found = rows_at(rows, np.array([3, 1]))
    assert (found.shards, found.shard.tolist()) == (["/data/0.tar", "/data/1.tar"], [0, 1])
    assert (found.offset, found.width, found.channels, found.encoding) == (7, 5, 3, "pixels-hwc")
    assert isinstance(found.height, np.ndarray)
    assert isinstance(found.length, np.ndarray)
    assert (found.height.tolist(), found.length.tolist()) == ([4, 2], [4, 2])
    assert (found.labels, found.boxes) == ([[], [1, 2]], [[[0, 0, 0.5, 1], [0, 0, 1, 0.5]], [[0, 0, 1, 1]]])
    assert found.key == ["00003.jpg", "00001.jpg"]
    assert len(rows_at(rows, np.array([], np.int64)).key) == 0


def test_files_of_a_folder_remain_files_of_a_folder(tmp_path: Path) -> None:
    """Shards without rows are removed, so the table can tell that each image is a file."""
    rows = dataclasses.replace(rows_of([0, 1] * 3), shards=[f"{n}.jpg" for n in range(6)], shard=np.arange(6), offset=0)
    found = val_per_class(Contents(Classes.of(["a", "b"]), {"train": rows}, []), 1, 0)
    assert [len(part.shards) for part in found.splits.values()] == [4, 2]
    assert all(set(part.shards) == {f"{int(key[:5])}.jpg" for key in part.key} for part in found.splits.values())
