import concurrent.futures
import dataclasses
import gc
import hashlib
import os
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tench.data import table
from tench.data.table import (
    PIXELS_CHW,
    PIXELS_HWC,
    Classes,
    Contents,
    Dataset,
    Rows,
    Table,
    is_fresh,
    load,
    save,
    stamp_of,
    unite,
)
from tench.errors import PassingError, TenchError

ABC = Classes.of(["a", "b", "c"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


def opened(path: Path) -> Dataset:
    loaded = load(path)
    assert loaded is not None
    return loaded


def saved(folder: Path, splits: dict[str, Rows], classes: Classes = ABC) -> Dataset:
    save(Contents(classes, splits, stamp=[], notes=["A note."]), folder / "saved", source="somewhere", layout="made")
    return opened(folder / "saved")


def one_shard(folder: Path, images: dict[str, tuple[bytes, int]]) -> Rows:
    """Write all images back to back into one file, in the order of the dict."""
    folder.mkdir(exist_ok=True)
    data = [content for content, _ in images.values()]
    (folder / "shard").write_bytes(b"".join(data))
    lengths = np.array([len(content) for content in data], int)
    return Rows(
        shards=[str(folder / "shard")],
        shard=np.zeros(len(images), int),
        offset=np.cumsum(lengths) - lengths,
        length=lengths,
        label=np.array([label for _, label in images.values()], int),
        key=list(images),
    )


def one_file_each(folder: Path, count: int) -> Rows:
    """Write a file per row; file i contains the number i as text."""
    paths = [folder / f"{index:04}" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_text(str(index))
    lengths = np.array([len(str(index)) for index in range(count)])
    return Rows(
        [str(path) for path in paths], np.arange(count), 0, lengths, np.zeros(count, int), [p.name for p in paths]
    )


def num_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def refuse_to_flush(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_fingerprint_of_classes_is_a_hash_of_their_ids_in_order() -> None:
    # printf 'n01440764\nn01443537' | sha256sum
    assert Classes.of(["n01440764", "n01443537"]).fingerprint == "8124f08fe2385764"
    assert Classes.of(["n01443537", "n01440764"]).fingerprint != "8124f08fe2385764"


def test_class_names_do_not_change_the_fingerprint() -> None:
    named = Classes.of(["n01440764", "n01443537"], ["tench", "goldfish"])
    assert named.names == ("tench", "goldfish")
    assert named.fingerprint == "8124f08fe2385764"


def test_a_class_id_that_appears_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="class id 'a' appears more than once"):
        Classes.of(["a", "b", "a"])


def test_there_must_be_as_many_names_as_ids() -> None:
    with pytest.raises(ValueError, match="2 class ids but 1 class names"):
        Classes.of(["a", "b"], ["apple"])


@given(st.lists(TEXT, unique=True, min_size=1), st.randoms(use_true_random=False))
def test_classes_in_another_order_are_matched_by_id(ids: list[str], random: Random) -> None:
    shuffled = random.sample(ids, len(ids))
    index = Classes.of(ids).index_of(Classes.of(shuffled), whose="theirs", here="ours")
    assert [ids[place] for place in index] == shuffled


def test_classes_of_a_set_that_lacks_one_can_be_matched() -> None:
    assert ABC.index_of(Classes.of(["c", "a"]), whose="val", here="train").tolist() == [2, 0]


def test_an_unknown_class_is_an_error_that_names_it_and_the_known_ones() -> None:
    with pytest.raises(TenchError) as error:
        ABC.index_of(Classes.of(["a", "x", "y"]), whose="photos/val", here="run 3")
    assert str(error.value) == (
        "2 of the 3 classes of photos/val are not in run 3: x, y. run 3 has 3 classes: a, b, c. Check that "
        "both are from the same dataset."
    )


def test_the_first_five_of_many_unknown_classes_are_named() -> None:
    with pytest.raises(TenchError, match=r"u0, u1, u2, u3, u4, \.\.\. \(7 in all\)\. here has"):
        ABC.index_of(Classes.of([f"u{index}" for index in range(7)]), whose="theirs", here="here")


def test_numbered_classes_are_matched_by_position_with_as_many_named_ones() -> None:
    numbered = Classes.numbered_to(3)
    assert numbered.ids == ("0", "1", "2")
    assert ABC.index_of(numbered, whose="list", here="model").tolist() == [0, 1, 2]
    assert numbered.index_of(ABC, whose="folder", here="model").tolist() == [0, 1, 2]


def test_numbered_classes_are_not_matched_with_a_different_number_of_named_ones() -> None:
    with pytest.raises(TenchError, match=r"^list has 4 classes and model has 3, but list has only numbers"):
        ABC.index_of(Classes.numbered_to(4), whose="list", here="model")


def test_two_numbered_lists_are_matched_by_number() -> None:
    assert Classes.numbered_to(5).index_of(Classes.numbered_to(3), whose="a", here="b").tolist() == [0, 1, 2]
    with pytest.raises(TenchError, match="are not in b: 3, 4"):
        Classes.numbered_to(3).index_of(Classes.numbered_to(5), whose="a", here="b")


@pytest.mark.parametrize("classes", [ABC, Classes.of(["n1"], ["tench, Tinca tinca"]), Classes.numbered_to(4)])
def test_classes_are_read_back_from_json(classes: Classes) -> None:
    assert Classes.from_json(classes.to_json()) == classes


def test_each_row_returns_its_bytes_label_and_key(tmp_path: Path) -> None:
    images = {"k3": (b"three", 2), "k1": (b"one", -1), "k2": (b"", 0)}
    dataset = saved(tmp_path, {"train": one_shard(tmp_path, images)})
    train = dataset.splits["train"]
    assert [(train.key(row), train.read(row), int(train.labels[row])) for row in range(len(train))] == [
        ("k1", b"one", -1),
        ("k2", b"", 0),
        ("k3", b"three", 2),
    ]
    assert train.keys() == ["k1", "k2", "k3"]
    assert train.num_bytes == 8
    assert {train.encoding(row) for row in range(3)} == {"file"}
    assert (dataset.source, dataset.layout, dataset.classes, dataset.notes) == ("somewhere", "made", ABC, ("A note.",))


@given(names=st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_offsets_increase_in_file_order(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("images")
    one, other = (one_shard(folder / part, {part + name: (b"12", 0) for name in names}) for part in "xy")
    table = Table.joined(
        [saved(folder / part, {"train": rows}).splits["train"] for part, rows in (("x", one), ("y", other))], "here"
    )
    places = [(table.shard(row), int(table.offsets[row])) for row in table.in_file_order().tolist()]
    assert places == [(str(folder / part / "shard"), 2 * number) for part in "xy" for number in range(len(names))]


def test_rows_shards_and_encodings_of_splits_stay_separate(tmp_path: Path) -> None:
    train = one_shard(tmp_path / "train", {"b": (b"abcdef", 0), "a": (b"ghijkl", 1)})
    pixels = Rows(
        shards=["unused", str(tmp_path / "train/shard")],
        shard=np.array([1, 1]),
        offset=np.array([6, 0]),
        length=6,
        label=np.array([2, 0]),
        key=["y", "x"],
        encoding=PIXELS_CHW,
        height=1,
        width=np.array([2, 2]),
        channels=3,
    )
    flat = Rows([str(tmp_path / "train/shard")], np.array([0]), 0, 4, np.array([0]), ["z"], PIXELS_HWC, 2, 2, 1)
    dataset = saved(tmp_path, {"train": train, "val": pixels, "test": flat})
    assert list(dataset.splits) == ["train", "val", "test"]
    read = {name: [split.read(row) for row in range(len(split))] for name, split in dataset.splits.items()}
    assert read == {"train": [b"ghijkl", b"abcdef"], "val": [b"abcdef", b"ghijkl"], "test": [b"abcd"]}
    assert [split.encoding(0) for split in dataset.splits.values()] == ["file", "pixels-chw", "pixels-hwc"]
    val = dataset.splits["val"]
    assert (val.heights[0], val.widths[0], val.channels[0]) == (1, 2, 3)
    assert (val.heights.tolist(), val.widths.tolist(), val.labels.tolist()) == ([1, 1], [2, 2], [0, 2])
    assert dataset.splits["train"].heights.tolist() == [0, 0]


def test_a_split_may_be_empty(tmp_path: Path) -> None:
    nothing = one_shard(tmp_path / "nothing", {})
    for splits in ({"train": nothing}, {"val": nothing, "train": one_shard(tmp_path / "a", {"a": (b"x", 0)})}):
        dataset = saved(tmp_path, splits)
        assert {name: len(split) for name, split in dataset.splits.items()} == {
            name: len(rows.key) for name, rows in splits.items()
        }
        assert dataset.splits[next(iter(splits))].keys() == []


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(TEXT, unique=True, max_size=12))
def test_rows_are_sorted_by_code_point_of_their_keys(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
    images = {key: (key.encode(), 0) for key in keys}
    folder = tmp_path_factory.getbasetemp() / "sorted"
    train = saved(folder, {"train": one_shard(folder, images)}).splits["train"]
    assert train.keys() == sorted(keys, key=lambda key: [ord(char) for char in key])
    assert [train.read(row).decode() for row in range(len(train))] == train.keys()


def test_code_points_beyond_the_first_plane_sort_after_those_in_it(tmp_path: Path) -> None:
    keys = ["\U0001f41f", "\uffee", "\u00e9", "b", "B", "10", "9"]  # in UTF-16, the fish would sort before U+FFEE
    train = saved(tmp_path, {"train": one_shard(tmp_path, dict.fromkeys(keys, (b"x", 0)))}).splits["train"]
    assert train.keys() == ["10", "9", "B", "b", "\u00e9", "\uffee", "\U0001f41f"]


def test_a_loaded_table_is_memory_mapped_and_read_only(tmp_path: Path) -> None:
    count = 20_000
    numbers = np.arange(count)
    rows = Rows(["x", "y"], numbers % 2, numbers, 1, numbers % 3, [f"{index:06}" for index in range(count)])
    save(Contents(ABC, {"train": rows, "val": rows}, []), tmp_path / "saved", source="s", layout="l")
    before = pa.total_allocated_bytes()
    dataset = opened(tmp_path / "saved")
    assert pa.total_allocated_bytes() - before < (tmp_path / "saved").stat().st_size / 100
    assert dataset.splits["val"].labels.tolist() == (numbers % 3).tolist()
    with pytest.raises(ValueError, match="read-only"):
        dataset.splits["val"].labels[0] = 1


def test_a_key_that_appears_twice_is_refused(tmp_path: Path) -> None:
    rows = Rows(["s"], np.zeros(4, int), 0, 1, np.zeros(4, int), ["c", "b", "a", "b"])
    with pytest.raises(TenchError, match=r"^somewhere \(val\): the key 'b' appears twice\. Keys name images"):
        saved(tmp_path, {"val": rows})
    assert not (tmp_path / "saved").exists()


def test_two_splits_may_have_the_same_key(tmp_path: Path) -> None:
    rows = one_shard(tmp_path, {"a": (b"x", 0)})
    assert saved(tmp_path, {"train": rows, "val": rows}).splits["val"].keys() == ["a"]


@pytest.mark.parametrize("label", [3, -2, 2**32])
def test_a_label_out_of_range_is_refused(tmp_path: Path, label: int) -> None:
    rows = Rows(["s"], np.zeros(3, int), 0, 1, np.array([0, label, label]), ["one.jpg", "two.jpg", "three.jpg"])
    with pytest.raises(TenchError) as error:
        saved(tmp_path, {"train": rows})
    assert str(error.value) == (
        f"somewhere (train): two.jpg has label {label}, but there are 3 classes (labels 0 to 2); "
        "2 rows are affected. Check the label file."
    )


@pytest.mark.parametrize("name", ["offset", "length"])
def test_a_negative_byte_range_is_refused(tmp_path: Path, name: str) -> None:
    ranges = {"offset": np.array([5, 0]), "length": np.array([1, 1])} | {name: np.array([1, -7])}
    rows = Rows(["s"], np.zeros(2, int), ranges["offset"], ranges["length"], np.zeros(2, int), ["one", "two"])
    with pytest.raises(TenchError, match=rf"^somewhere \(train\): two has {name} -7; it must be at least 0\."):
        saved(tmp_path, {"train": rows})


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    rows = Rows(["s"], np.zeros(1, int), 0, 1, np.zeros(1, int), [name])
    with pytest.raises(TenchError, match=r"the name 'caf\\udce9\.jpg' is not UTF-8 text\. Rename it\."):
        saved(tmp_path, {"train": rows})


def test_the_fingerprint_of_a_dataset_depends_on_keys_labels_and_lengths(tmp_path: Path) -> None:
    images = {"a": (b"1", 0), "b": (b"22", 1)}
    first = saved(tmp_path, {"train": one_shard(tmp_path / "1", images)}).fingerprint
    elsewhere = {"b": (b"##", 1), "a": (b"#", 0)}  # a different order, in a different file
    assert saved(tmp_path, {"train": one_shard(tmp_path / "2", elsewhere)}).fingerprint == first
    others: list[dict[str, Rows]] = [
        {"train": one_shard(tmp_path / "3", {"a": (b"1", 0), "c": (b"22", 1)})},
        {"train": one_shard(tmp_path / "4", {"a": (b"1", 0), "b": (b"22", 2)})},
        {"train": one_shard(tmp_path / "5", {"a": (b"1", 0), "b": (b"2", 1)})},
        {"val": one_shard(tmp_path / "6", images)},
        {"train": one_shard(tmp_path / "7", images), "val": one_shard(tmp_path / "8", {})},
    ]
    fingerprints = {saved(tmp_path, splits).fingerprint for splits in others}
    assert len(fingerprints | {first}) == 6


def test_a_table_of_another_version_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"train": one_shard(tmp_path, {"a": (b"x", 0)})}
    saved(tmp_path, rows)
    monkeypatch.setattr(table, "VERSION", table.VERSION + 1)
    assert load(tmp_path / "saved") is None
    assert len(saved(tmp_path, rows).splits["train"]) == 1


def test_a_saved_table_that_is_truncated_anywhere_is_not_loaded(tmp_path: Path) -> None:
    saved(tmp_path, {"train": one_shard(tmp_path, {"a": (b"x", 0)})})
    whole = (tmp_path / "saved").read_bytes()
    for length in (*range(0, len(whole), 37), len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        assert load(tmp_path / "cut") is None, length


def test_another_arrow_file_is_not_loaded(tmp_path: Path) -> None:
    other = pa.table({"a": [1]})
    with pa.OSFile(str(tmp_path / "other"), "wb") as sink, pa.ipc.new_file(sink, other.schema) as writer:
        writer.write_table(other)
    assert load(tmp_path / "other") is None


def test_a_table_is_saved_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, {"train": one_shard(tmp_path, {"a": (b"x", 0)})})
    before = (tmp_path / "saved").read_bytes()
    monkeypatch.setattr(os, "fsync", refuse_to_flush)
    with pytest.raises(TenchError, match=r"/saved: cannot be written: the disk is full\. Free some space"):
        saved(tmp_path, {"train": one_shard(tmp_path, {"a": (b"x", 0), "b": (b"y", 1)})})
    assert (tmp_path / "saved").read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["saved", "shard"]


def test_many_threads_can_read_the_same_file_at_once(tmp_path: Path) -> None:
    images = {f"{index:04}": (f"image {index} ".encode() * (index % 50), 0) for index in range(500)}
    train = saved(tmp_path, {"train": one_shard(tmp_path, images)}).splits["train"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(train.read, [*range(500), *reversed(range(500))]))
    expected = [content for content, _ in images.values()]
    assert read == expected + expected[::-1]


def test_numbered_classes_with_the_same_ids_are_matched_by_id() -> None:
    folders = Classes.of(sorted(str(number) for number in range(12)))  # 0, 1, 10, 11, 2, ...
    index = folders.index_of(Classes.numbered_to(12), whose="the list", here="the folders")
    assert [folders.ids[label] for label in index] == [str(number) for number in range(12)]


def test_a_file_that_was_truncated_is_named_with_the_row_and_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "my photos"
    images = {"a": (b"0123456789", 0), "b": (b"0123456789", 1)}
    train = saved(tmp_path, {"train": one_shard(folder, images)}).splits["train"]
    os.truncate(folder / "shard", 15)
    assert train.read(0) == b"0123456789"
    with pytest.raises(TenchError) as error:
        train.read(1)
    assert str(error.value) == (
        f"{folder}/shard: row 1 (b) covers bytes 10-20, but the file ends after 15. It has changed since its table was "
        f"built, or was truncated while copying. Restore it, or read and check the dataset again: tench check SOURCE"
    )


@pytest.mark.parametrize("count", [2, 100])
def test_an_image_file_that_grew_is_named(tmp_path: Path, count: int) -> None:
    train = saved(tmp_path, {"train": one_file_each(tmp_path, count)}).splits["train"]
    (tmp_path / "0001").write_text("1 and more")
    for rows in (train, train.subset(np.array([0, 1])), train.relabelled(np.array([1], np.int32))):
        assert rows.read(0) == b"0"
        with pytest.raises(TenchError, match=r"/0001: row 1 \(0001\) covers bytes 0-1, but the file is longer\."):
            rows.read(1)


def test_a_container_may_contain_more_than_its_rows(tmp_path: Path) -> None:
    train = saved(tmp_path, {"train": one_shard(tmp_path, {"a": (b"12", 0), "b": (b"345", 0)})}).splits["train"]
    with (tmp_path / "shard").open("ab") as shard:
        shard.write(b"something else")
    assert [train.read(row) for row in range(2)] == [b"12", b"345"]
    one = Rows([str(tmp_path / "shard")], np.array([0]), 0, 3, np.array([0]), ["a"], PIXELS_HWC, 1, 1, 3)
    assert saved(tmp_path, {"train": one}).splits["train"].read(0) == b"123"


@pytest.mark.parametrize("count", [2, 100])
def test_a_file_that_was_deleted_is_named(tmp_path: Path, count: int) -> None:
    train = saved(tmp_path, {"train": one_file_each(tmp_path, count)}).splits["train"]
    (tmp_path / "0001").unlink()
    with pytest.raises(TenchError, match=r"/0001.*: cannot be read \(No such file or directory\)\. Row 1 needs it\."):
        train.read(1)
    assert train.read(0) == b"0"


def test_many_files_are_not_kept_open(tmp_path: Path) -> None:
    train = saved(tmp_path, {"train": one_file_each(tmp_path, 100)}).splits["train"]
    before = num_descriptors()
    assert [train.read(row) for row in range(100)] == [str(row).encode() for row in range(100)]
    (tmp_path / "0007").unlink()
    with pytest.raises(TenchError):
        train.read(7)
    assert num_descriptors() == before


def test_a_few_files_stay_open_until_the_table_is_closed_or_deleted(tmp_path: Path) -> None:
    train = saved(tmp_path, {"train": one_file_each(tmp_path, 5)}).splits["train"]
    before = num_descriptors()
    for _ in range(2):
        assert [train.read(row) for row in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        assert num_descriptors() == before + 5
    train.close()
    assert num_descriptors() == before
    assert train.read(4) == b"4"  # a closed table can be read again
    assert num_descriptors() == before + 1
    del train
    assert num_descriptors() == before


def test_a_place_names_the_file_and_for_a_container_the_bytes_and_the_key(tmp_path: Path) -> None:
    container = saved(tmp_path, {"train": one_shard(tmp_path, {"a": (b"12", 0), "b": (b"345", 0)})}).splits["train"]
    assert container.place(1) == f"{tmp_path}/shard, bytes 2-5 (b)"
    folder = saved(tmp_path, {"train": one_file_each(tmp_path, 100)}).splits["train"]
    assert folder.place(1) == folder.shard(1) == f"{tmp_path}/0001"


@given(st.lists(st.integers(0, 9), max_size=20))
@settings(max_examples=30, deadline=None)
def test_a_subset_has_these_rows_in_this_order(tmp_path_factory: pytest.TempPathFactory, chosen: list[int]) -> None:
    folder = tmp_path_factory.getbasetemp() / "subset"
    images = {str(index): (b"x" * index, index % 3) for index in range(10)}
    whole = saved(folder, {"val": one_shard(folder, {"v": (b"v", 0)}), "train": one_shard(folder, images)})
    part = whole.splits["train"].subset(np.array(chosen, int))
    assert part.keys() == [str(index) for index in chosen]
    assert [len(part.read(row)) for row in range(len(part))] == chosen
    assert part.labels.tolist() == [index % 3 for index in chosen]
    assert part.subset(np.flatnonzero(part.labels == 1)).keys() == [str(index) for index in chosen if index % 3 == 1]


def test_relabelled_rows_have_the_new_label_and_unlabelled_rows_stay_so(tmp_path: Path) -> None:
    images = {"a": (b"1", 0), "b": (b"2", -1), "c": (b"3", 2), "d": (b"4", 1)}
    train = saved(tmp_path, {"train": one_shard(tmp_path, images)}).splits["train"]
    other = train.relabelled(np.array([2, 0, 1], np.int32))
    assert other.labels.tolist() == [2, -1, 1, 0]
    assert train.labels.tolist() == [0, -1, 2, 1]
    assert (other.keys(), other.read(3)) == (train.keys(), b"4")
    assert other.subset(np.array([3, 2])).labels.tolist() == [0, 1]


def test_the_first_existing_split_is_returned_with_its_name(tmp_path: Path) -> None:
    dataset = saved(tmp_path, {"train": one_shard(tmp_path, {"a": (b"1", 0)})})
    name, found = dataset.split("val", "train")
    assert (name, isinstance(found, Table), len(found)) == ("train", True, 1)
    with pytest.raises(TenchError, match=r"^somewhere has no split 'val' or 'test'; it has train\.$"):
        dataset.split("val", "test")


def test_a_stamp_is_fresh_until_a_file_changes_or_is_added_or_removed(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("1")
    folder.mkdir()
    stamp = stamp_of([str(file), str(folder)])
    assert is_fresh(stamp)
    os.utime(file, ns=(0, 10**18))
    assert not is_fresh(stamp)
    stamp = stamp_of([str(file), str(folder)])
    (folder / "entry").touch()
    os.utime(folder, ns=(0, 10**18))
    assert not is_fresh(stamp)
    stamp = stamp_of([str(file), str(folder)])
    file.unlink()
    assert not is_fresh(stamp)


def test_a_saved_stamp_has_the_size_and_time_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    os.utime(tmp_path / "file", ns=(0, 1_700_000_000_123_456_789))
    rows = one_shard(tmp_path, {"a": (b"x", 0)})
    save(Contents(ABC, {"train": rows}, [str(tmp_path / "file")]), tmp_path / "saved", source="s", layout="l")
    loaded = load(tmp_path / "saved")
    assert loaded is not None
    assert loaded.stamp == ((str(tmp_path / "file"), 3, 1_700_000_000_123_456_789),)


def test_the_fingerprint_of_a_dataset_never_changes(tmp_path: Path) -> None:
    rows = one_shard(tmp_path, {"b": (b"22", 1), "a": (b"1", 0)})
    # The split's name and length, the keys, then little-endian labels (int32) and lengths (int64).
    expected = hashlib.sha256(
        b"train 2\na\nb" + bytes.fromhex("0000000001000000") + bytes.fromhex("01000000000000000200000000000000")
    ).hexdigest()[:16]
    assert saved(tmp_path, {"train": rows}).fingerprint == expected


def test_all_labels_and_boxes_of_an_image_are_read_back(tmp_path: Path) -> None:
    images = {"x": (b"1", 0), "a": (b"2", 1), "m": (b"3", 2)}
    boxes = [[(0.0, 0.25, 0.5, 1.0), (0.125, 0.0, 0.25, 0.5)], [], None]
    rows = dataclasses.replace(one_shard(tmp_path, images), labels=[[0, 2.5], [1], None], boxes=boxes)
    train = saved(tmp_path, {"train": rows, "val": one_shard(tmp_path / "val", {"y": (b"4", 0)})}).splits["train"]
    assert [(train.key(row), train.label_sets()[row], train.boxes(row)) for row in range(3)] == [
        ("a", [1.0], []),
        ("m", None, None),
        ("x", [0.0, 2.5], [[0.0, 0.25, 0.5, 1.0], [0.125, 0.0, 0.25, 0.5]]),
    ]
    assert opened(tmp_path / "saved").splits["val"].boxes(0) is None


def test_several_datasets_are_united_by_class_id(tmp_path: Path) -> None:
    first = saved(tmp_path / "1", {"train": one_shard(tmp_path / "a", {"a/1": (b"one", 0), "c/1": (b"three", 2)})})
    numbers = {"train": one_shard(tmp_path / "b", {"d/1": (b"four", 0), "b/1": (b"two", 1)})}
    more = numbers | {"val": one_shard(tmp_path / "c", {"d/2": (b"five!", 0)})}
    second = saved(tmp_path / "2", more, Classes.of(["d", "b"], ["dog", "bee"]))
    whole = unite([first, second])
    assert (whole.classes.ids, whole.classes.names) == (("a", "b", "c", "d"), ("a", "b", "c", "dog"))
    train = whole.splits["train"]
    found = [(train.key(row), whole.classes.ids[train.labels[row]], train.read(row)) for row in range(len(train))]
    assert found == [("a/1", "a", b"one"), ("b/1", "b", b"two"), ("c/1", "c", b"three"), ("d/1", "d", b"four")]
    assert whole.classes.ids[whole.splits["val"].labels[0]] == "d"
    assert whole.notes[-1] == "2 sources are combined into 4 classes; 1 of them occur in several sources."
    other_way = unite([second, first])
    assert other_way.fingerprint == whole.fingerprint
    third = saved(
        tmp_path / "3", {"test": one_shard(tmp_path / "e", {"a/2": (b"six", 0)})}, Classes.of(["a", "b", "c"])
    )
    note = "3 sources are combined into 4 classes; 3 of them occur in several sources."
    assert unite([first, second, third]).notes[-1] == note


def test_an_image_that_is_in_two_united_datasets_is_an_error(tmp_path: Path) -> None:
    part = saved(tmp_path, {"train": one_shard(tmp_path / "a", {"a/1": (b"one", 0)})})
    with pytest.raises(TenchError, match=r"^somewhere \+ somewhere \(train\): the key 'a/1' appears twice\."):
        unite([part, part])


def test_classes_that_are_only_numbers_cannot_be_united(tmp_path: Path) -> None:
    part = saved(tmp_path, {"train": one_shard(tmp_path / "a", {"0": (b"one", 0)})}, Classes.numbered_to(2))
    with pytest.raises(TenchError, match=r"has only numbers for its classes, so it cannot be combined .*classes\.txt"):
        unite([part, part])


def test_an_image_of_40_gb_is_refused_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(40 * 10**9)
    rows = Rows(
        [str(tmp_path / "huge.jpg")], np.zeros(1, int), 0, np.array([40 * 10**9]), np.zeros(1, int), ["huge.jpg"]
    )
    dataset = saved(tmp_path, {"train": rows})
    monkeypatch.setattr(table, "_pread", None)
    with pytest.raises(TenchError) as refused:
        dataset.splits["train"].read(0)
    assert not isinstance(refused.value, PassingError)
    assert str(refused.value) == (
        f"{tmp_path}/huge.jpg: too large: 40,000,000,000 bytes; the limit for one image is 1,073,741,824. "
        "Remove it, or convert it."
    )


def test_reading_a_pipe_in_place_of_an_image_does_not_block(tmp_path: Path) -> None:
    found = saved(tmp_path, {"train": one_file_each(tmp_path, 2)}).splits["train"]
    (tmp_path / "0001").unlink()
    os.mkfifo(tmp_path / "0001")
    with pytest.raises(TenchError, match="0001"):
        found.read(1)
