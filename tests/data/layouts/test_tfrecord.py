import gzip
import hashlib
import json
import logging
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.datasets import reloaded, tree_of
from tests.support.errors import error_of
from tests.support.tfrecords import field, framed, varint

from tench.data import table
from tench.data.files.tree import open_tree
from tench.data.layouts import folder, tfrecord
from tench.data.limits import Limits
from tench.data.table import Contents, Dataset
from tench.errors import TenchError

FILES = Path(__file__).parents[1] / "samples/tensorflow"
TRUTH: dict[str, list[dict[str, tuple[str, list[Any]]]]] = json.loads((FILES / "truth.json").read_text())
"""The output of TensorFlow's own reader for its files; see make_tensorflow.py."""
GOLDEN = Path(__file__).parents[3] / "../shared/golden/records"
IDS = ("n04417672", "n09332890", "n11939491")
NAMES = ("thatch, thatched roof", "lakeside, lakeshore", "daisy")
FROM_ONE = (
    "Classes are those of image/class/synset; the label numbers begin at 1, as 0 is reserved for a background class."
)
BOX = "image/object/bbox/"

Values = Mapping[str, list[Any]]


def contents(path: Path) -> Contents:
    spool = path.parent / f"{path.name.replace('*', 'any')}.spool"
    tree = tree_of(path, spool)
    assert tfrecord.recognise(tree)
    return tfrecord.read(tree)


def read(path: Path) -> Dataset:
    return reloaded(contents(path), tfrecord.NAME, path)


refusal = error_of(read)


def recognised(path: Path) -> bool:
    return tfrecord.recognise(tree_of(path))


def copy(names: list[str], path: Path) -> Path:
    """Copy some of TensorFlow's files into one flat folder."""
    path.mkdir(exist_ok=True)
    for name in names:
        (path / Path(name).name).write_bytes((FILES / name).read_bytes())
    return path


def example(features: Values) -> bytes:
    entries = b""
    for key, values in features.items():
        if values and isinstance(values[0], bytes):
            listed = field(1, b"".join(field(1, value) for value in values))
        elif values and isinstance(values[0], int):
            listed = field(3, field(1, b"".join(varint(value) for value in values)))
        else:
            listed = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        entries += field(1, field(1, key.encode()) + field(2, listed))
    return field(1, entries)


def make(path: Path, **files: list[Values]) -> Path:
    """Write a folder with a file for each list of records; the keyword train becomes train.tfrecord."""
    path.mkdir(parents=True, exist_ok=True)
    for name, records in files.items():
        (path / f"{name}.tfrecord").write_bytes(framed(*map(example, records)))
    return path


def image(label: int | None = None, synset: str = "", name: str = "", text: str = "", **more: list[Any]) -> Values:
    """A record with the keys of the official converter and of Slim."""
    found: dict[str, list[Any]] = {"image/encoded": [f"the bytes of {label} {synset} {name}".encode()]}
    if label is not None:
        found["image/class/label"] = [label]
    for key, value in (("image/class/synset", synset), ("image/filename", name), ("image/class/text", text)):
        if value:
            found[key] = [value.encode()]
    return found | more


def ours(label: int, name: str) -> Values:
    """A record with the keys of TFDS."""
    return {"image": [f"the bytes of {name}".encode()], "label": [label], "file_name": [name.encode()]}


def labels(dataset: Dataset, split: str = "train") -> dict[str, int]:
    rows = dataset.splits[split]
    return dict(zip(rows.keys(), rows.labels.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["official", "slim", "tfds"])
def test_images_classes_and_keys_match_what_tensorflow_reads(kind: str) -> None:
    found = contents(FILES / kind)
    assert (found.classes.ids, found.classes.names, found.classes.numbered) == (IDS, NAMES, False)
    encoded, first, file_key = ("image", 0, "file_name") if kind == "tfds" else ("image/encoded", 1, "image/filename")
    for split, word in (("train", "train"), ("val", "validation")):
        theirs = [
            record
            for name, records in TRUTH.items()
            if name.startswith(f"{kind}/") and word in name
            for record in records
        ]
        rows = found.splits[split]
        assert len(rows.key) == len(theirs)
        for row, record in enumerate(theirs):
            number = record["label" if first == 0 else "image/class/label"][1][0]
            assert rows.label[row] == number - first
            assert rows.key[row] == f"{IDS[number - first]}/{record[file_key][1][0]}"
            offset, length = (np.broadcast_to(column, len(theirs))[row] for column in (rows.offset, rows.length))
            data = Path(rows.shards[rows.shard[row]]).read_bytes()[offset : offset + length]
            assert hashlib.sha256(data).hexdigest() == record[encoded][1][0]
        sides = [f"{BOX}{side}" for side in ("xmin", "ymin", "xmax", "ymax")]
        boxes = [
            [list(box) for box in zip(*(record.get(side, ("", []))[1] for side in sides), strict=True)]
            for record in theirs
        ]
        assert rows.boxes == (boxes if any(boxes) else None)
        assert (kind, split) != ("slim", "train") or rows.boxes is not None


def test_notes_say_what_is_read() -> None:
    assert contents(FILES / "official").notes == [FROM_ONE]
    where = FILES / "tfds/label.labels.txt"
    assert contents(FILES / "tfds").notes == [
        f"Label 0 is class n04417672: {where} lists the classes from 0.",
        "3 of the 3 images of test have no label.",
    ]


def test_the_test_set_of_tfds_has_no_labels() -> None:
    rows = contents(FILES / "tfds").splits["test"]
    assert (list(rows.label), list(rows.key)) == ([-1] * 3, [f"test_{number}.JPEG" for number in range(3)])


def test_the_rows_match_those_of_the_same_images_in_class_folders(tmp_path: Path) -> None:
    dataset = read(copy([name for name in TRUTH if name.startswith("official/")], tmp_path / "records"))
    for split, rows in dataset.splits.items():
        for row, key in enumerate(rows.keys()):
            (tmp_path / "set" / split / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / split / key).write_bytes(rows.read(row))
    loaded = reloaded(folder.read(open_tree(tmp_path / "set", tmp_path / "spool")))
    assert loaded.fingerprint == dataset.fingerprint
    assert loaded.classes.fingerprint == dataset.classes.fingerprint
    assert sum(len(rows) for rows in dataset.splits.values()) == 12


@pytest.mark.parametrize("kind", ["official", "slim"])
def test_the_golden_records_contain_the_golden_images(kind: str, tmp_path: Path) -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"needs {GOLDEN}, which is not part of the repository")
    (tmp_path / "records").symlink_to((GOLDEN / "tensorflow" / kind).resolve())
    dataset = read(tmp_path / "records")
    images = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in (GOLDEN / "images").glob("*/*.JPEG")}
    found = {key: rows.read(row) for rows in dataset.splits.values() for row, key in enumerate(rows.keys())}
    assert found == images
    assert dataset.classes.ids == tuple(sorted({key.split("/")[0] for key in images}))
    assert dataset.classes.names[:2] == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 18, "val": 6}
    boxes: dict[str, list[list[float]]] = {}
    for rows in dataset.splits.values():
        keys = rows.keys()
        assert [dataset.classes.ids[label] for label in rows.labels] == [key.split("/")[0] for key in keys]
        boxes |= {key: rows.boxes(row) or [] for row, key in enumerate(keys)}
    corners = [
        [np.float32(low), np.float32(low), np.float32(high), np.float32(high + 0.25)] for low, high in GOLDEN_BOXES
    ]
    counts = GOLDEN_NUM_BOXES if kind == "slim" else [0] * 24
    assert [boxes[key] for key in sorted(boxes)] == [corners[:count] for count in counts]
    assert dataset.notes == (FROM_ONE,)


GOLDEN_BOXES = ((0.0, 0.25), (0.1, 0.35))
"""Coordinates of an image's first and second box: xmin = ymin, and xmax = ymax - 0.25, as TensorFlow reads them."""
GOLDEN_NUM_BOXES = [int(digit) for digit in "120101201201201201201201"]
"""For the images in the order of their keys."""


def test_the_golden_compressed_file_is_read(tmp_path: Path) -> None:
    source = GOLDEN / "tensorflow/gzip-train-00000-of-00001"
    if not source.exists():
        pytest.skip(f"needs {source}, which is not part of the repository")
    (tmp_path / source.name).symlink_to(source.resolve())
    rows = read(tmp_path / source.name).splits["train"]
    found = {key: rows.read(row) for row, key in enumerate(rows.keys())}
    assert found == {f"n01440764/{path.name}": path.read_bytes() for path in (GOLDEN / "images/n01440764").iterdir()}


def test_compressed_files_are_unpacked_once_into_the_cache_after_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = copy([name for name in TRUTH if name.startswith("packed/")], tmp_path / "packed")
    with caplog.at_level(logging.INFO, "tench"):
        found = contents(path)
    assert caplog.messages == [
        f"{path}: 2 files are compressed and cannot be read in place. Unpacking them (0.0 MB compressed, more when "
        f"unpacked) once to {tmp_path}/packed.spool."
    ]
    spooled = [str(tmp_path / "packed.spool" / name) for name in ("train.tfrecord.gz", "validation.tfrecord.zlib")]
    assert [rows.shards for rows in found.splits.values()] == [[name] for name in spooled]
    assert set(found.stamp) == {str(path), *map(str, path.iterdir()), *spooled}
    for rows, (name, records) in zip(found.splits.values(), list(TRUTH.items())[-3:-1], strict=True):
        assert name.startswith("packed/")
        data = Path(rows.shards[0]).read_bytes()
        for offset, length, theirs in zip(rows.offset, rows.length, records, strict=True):  # type: ignore[arg-type]
            assert hashlib.sha256(data[offset : offset + length]).hexdigest() == theirs["image/encoded"][1][0]


def test_a_truncated_compressed_file_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a", "x")], val=[image(1, "a", "x")])
    (path / "val.tfrecord").write_bytes(gzip.compress((path / "train.tfrecord").read_bytes())[:-3])
    size = (path / "val.tfrecord").stat().st_size
    assert refusal(path) == (
        f"{path}/val.tfrecord ends at byte {size} in the middle of its compressed data. It was probably truncated. "
        f"Copy or download it again."
    )
    assert list((tmp_path / "set.spool").iterdir()) == []


def test_a_compressed_file_that_expands_too_much_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[])
    bomb = gzip.compress(framed(b"") + bytes(10**6))
    (path / "train.tfrecord").write_bytes(bomb)
    tree = open_tree(path, tmp_path / "spool", limits=Limits(inflated_bytes=1000))
    with pytest.raises(TenchError) as error:
        tfrecord.read(tree)
    assert str(error.value).startswith(f"{path}/train.tfrecord: the first {len(bomb):,} bytes unpack to ")
    assert str(error.value).endswith(
        ", more than 100 times as many. Images do not compress this well, so the file is not unpacked."
    )


def test_a_full_disk_is_an_error_that_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Any:
        raise OSError(28, "No space left on device")

    path = make(tmp_path / "set", train=[image(1, "a", "x")])
    (path / "train.tfrecord").write_bytes(zlib.compress((path / "train.tfrecord").read_bytes()))
    monkeypatch.setattr(tfrecord, "complete_file", full)
    assert refusal(path) == (
        f"{path}/train.tfrecord cannot be unpacked to {tmp_path}/set.spool/train.tfrecord (No space left on device). "
        "Make room there, or set TENCH_CACHE to a folder on a larger disk."
    )


NAMES_OF_FILES = {
    "train-00000-of-00001": "train",
    "validation-00000-of-00001": "val",
    "val-0-of-1": "val",
    "test-00000-of-00001.tfrecord": "test",
    "imagenet2012-train.tfrecord-00000-of-00001": "train",
    "imagenet2012-validation.tfrecord-00000-of-00001": "val",
    "flowers_validation_00000-of-00001.tfrecord": "val",
    "cifar10_test.tfrecord": "test",
    "my.valid.tfrecords": "val",
    "Training.tfrec": "train",
    "TEST-set.tfrecord": "test",
    "train/part-00000-of-00001": "train",
    "validation/part.tfrecord": "val",
    "deep/test/er/any.tfrecord": "test",
    "train/validation.tfrecord": "val",
    "contest.tfrecord": None,
    "x-00000-of-00001": None,
    "any.tfrecords": None,
}


@pytest.mark.parametrize("name", NAMES_OF_FILES)
def test_a_word_in_the_name_of_a_file_or_its_folder_gives_the_split(name: str, tmp_path: Path) -> None:
    file = tmp_path / "set" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(framed(example(image(1, "a", "x.jpg"))))
    dataset = read(tmp_path / "set")
    split = NAMES_OF_FILES[name]
    assert list(dataset.splits) == [split or "train"]
    said = "No name contains a split: all TFRecord files are train."
    assert (said in dataset.notes) == (split is None)


@pytest.mark.parametrize(
    "name",
    [
        *("train-00000-of-00001.parquet", "train-00000-of-00001.tar", "train-00000-of-00001.idx", "train.tfrecord.idx"),
        *("train-00000", "train", "tfrecord", "train.rec", "train.record", ".train.tfrecord"),
    ],
)
def test_files_with_other_names_are_not_records(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(framed(example(image(1, "a", "x.jpg"))))
    assert not recognised(tmp_path)


def test_records_are_recognised_by_their_first_bytes(tmp_path: Path) -> None:
    record = framed(example(image(1, "a", "x.jpg")))
    beginnings = {
        record: True,
        gzip.compress(record): True,
        zlib.compress(record): True,
        record[:12]: True,
        record[:11]: False,
        b"": False,
        gzip.compress(b"something else"): False,
        b"\x00" + record[1:]: False,
    }
    for data, expected in beginnings.items():
        (tmp_path / "train.tfrecord").write_bytes(data)
        assert recognised(tmp_path) == expected
        assert recognised(tmp_path / "train.tfrecord") == expected
    make(tmp_path, validation=[image(1, "a", "x.jpg")])  # one good file is enough; reading the other is then an error
    assert recognised(tmp_path)
    assert refusal(tmp_path).startswith(
        f"{tmp_path}/train.tfrecord: record 0 (counted from 0, at byte 0): the checksum"
    )


def test_recognising_an_unreadable_file_is_not_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a", "x.jpg")])
    tree = open_tree(path, tmp_path / "spool")
    (path / "train.tfrecord").unlink()
    assert not tfrecord.recognise(tree)
    assert not recognised(make(tmp_path / "empty"))


def test_files_that_are_missing_from_a_set_are_an_error_that_names_them(tmp_path: Path) -> None:
    data = framed(example(image(1, "a", "x.jpg")))
    (tmp_path / "set").mkdir()
    for number in (1, 4):
        (tmp_path / f"set/train-{number:05}-of-00012.tfrecord").write_bytes(data)
    (tmp_path / "set/validation-00000-of-00001").write_bytes(data)
    missing = ", ".join(f"train-{number:05}-of-00012.tfrecord" for number in (0, 2, 3, 5, 6))
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set: 10 of the 12 files of train are missing: {missing}, .... Copy or convert them; to use a part "
        "of the set, name its files by a pattern (in quotes), or move them to a folder and remove the -of- from their "
        "names."
    )
    for number in (0, 2, 3, *range(6, 12)):
        (tmp_path / f"set/train-{number:05}-of-00012.tfrecord").write_bytes(framed(example(image(1, "a", f"{number}"))))
    assert "1 of the 12 files of train are missing: train-00005-of-00012.tfrecord. Copy" in refusal(tmp_path / "set")
    (tmp_path / "set/train-00004-of-00012.tfrecord").write_bytes(b"")
    (tmp_path / "set/train-00005-of-00012.tfrecord").write_bytes(b"")  # empty if there are more files than images
    assert len(read(tmp_path / "set").splits["train"]) == 10


def test_a_single_file_of_a_set_or_a_pattern_is_read_as_a_part(tmp_path: Path) -> None:
    path = copy([name for name in TRUTH if name.startswith("official/")], tmp_path / "set")
    one = read(path / "train-00001-of-00002")
    assert {split: len(rows) for split, rows in one.splits.items()} == {"train": 4}
    assert one.notes == (FROM_ONE, "These are 1 of the 2 files of train.")
    val = read(path / "validation-00000-of-00001")
    assert (list(val.splits), val.notes) == (["val"], (FROM_ONE,))
    assert len(read(path / "train-*").splits["train"]) == 9


def test_a_part_of_a_larger_set_has_gaps_in_its_label_numbers(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "set", train=[image(3, "c", "x"), image(7, "b", "x"), image(9, "d", "x")]))
    assert labels(dataset) == {"b/x": 0, "c/x": 1, "d/x": 2}
    assert dataset.notes == (
        "Classes are those of image/class/synset; the label numbers, from 3 to 9, have gaps or another order, so they "
        "are not used.",
    )


def test_a_split_with_files_of_two_sets_is_an_error(tmp_path: Path) -> None:
    names = ["train-0-of-1", "train-0-of-2", "train-1-of-2", "validation-0-of-1"]
    (tmp_path / "set").mkdir()
    for name in names:
        (tmp_path / "set" / name).write_bytes(framed(example(image(1, "a", name))))
    rest = "A split must be one set. Move the others away, or pass the folder of one."
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set contains 2 sets of files of the split 'train': train-0-of-1 (1 in all); train-0-of-2 (2 in "
        f"all). {rest}"
    )
    for name in names[1:3]:
        (tmp_path / "set" / name).unlink()
    (tmp_path / "set/train-0-of-1.tfrecord").write_bytes(b"")
    assert "train-0-of-1 (1 in all); train-0-of-1.tfrecord (1 in all). A split" in refusal(tmp_path / "set")
    (tmp_path / "set/train-0-of-1.tfrecord").rename(tmp_path / "set/train.tfrecord")
    assert "train-0-of-1 (1 in all); train.tfrecord (1 in all). A split" in refusal(tmp_path / "set")


def test_impossible_file_numbers_are_an_error(tmp_path: Path) -> None:
    data = framed(example(image(1, "a", "x")))
    for folder_name, names in {
        "twice": ("train-0-of-2", "train-00-of-2"),
        "large": ("train-0-of-2", "train-2-of-2"),
    }.items():
        (tmp_path / folder_name).mkdir()
        for name in names:
            (tmp_path / folder_name / name).write_bytes(data)
    assert refusal(tmp_path / "twice") == (
        f"{tmp_path}/twice: train-0-of-2 and train-00-of-2 have the same number. Keep one of them."
    )
    assert (
        refusal(tmp_path / "large")
        == f"{tmp_path}/large/train-2-of-2: its number must be less than 2. Rename the file."
    )


def test_a_name_with_the_words_of_two_splits_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", **{"train-and-test": [image(1, "a", "x")]})
    assert refusal(path) == (
        f"{path}: train-and-test.tfrecord contains words of several splits: test and train. Rename it, or name the "
        f"split with --split-from REGEX."
    )


def test_files_that_are_not_records_are_left_out_and_a_note_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a", "x")])
    for name in ("dataset_info.json", "features.json", "a.txt", "b.txt"):
        (path / name).write_text("{}")
    dataset = read(path)
    assert labels(dataset) == {"a/x": 0}
    assert dataset.notes[1:] == (
        "Left out files without a TFRecord name: a.txt, b.txt, dataset_info.json, ... (4 in all).",
    )


def test_a_split_without_records_is_left_out_and_a_set_without_records_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a", "x")], val=[])
    dataset = read(path)
    assert list(dataset.splits) == ["train"]
    assert dataset.notes[1:] == ("The files of val contain no records, so the split is left out.",)
    tree = open_tree(make(tmp_path / "empty", train=[], val=[]), tmp_path / "spool")
    with pytest.raises(TenchError, match=r"empty: the 2 TFRecord files contain no records. Convert them again."):
        tfrecord.read(tree)


def test_records_in_an_archive_are_read_in_place(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for name in (
            "official/train-00000-of-00002",
            "official/train-00001-of-00002",
            "official/validation-00000-of-00001",
        ):
            tar.add(FILES / name, name)
    inside, beside = contents(tmp_path / "set.tar"), contents(FILES / "official")
    assert inside.classes == beside.classes
    archive = (tmp_path / "set.tar").read_bytes()
    for split, rows in inside.splits.items():
        plain = beside.splits[split]
        assert rows.shards == [str(tmp_path / "set.tar")]
        assert list(rows.key) == list(plain.key)
        for row in range(len(rows.key)):
            (start, length), (at, size) = (
                (int(np.asarray(of.offset)[row]), int(np.asarray(of.length)[row])) for of in (rows, plain)
            )
            whole = Path(plain.shards[plain.shard[row]]).read_bytes()
            assert archive[start : start + length] == whole[at : at + size]
    assert inside.stamp == [str(tmp_path / "set.tar")]


def test_the_stamp_contains_every_file_that_was_read(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(0, name="x"), image(1, name="y")], val=[image(1, name="z")])
    (path / "labels.txt").write_text("0:a\n1:b\n")
    assert sorted(contents(path).stamp) == sorted([str(path), *map(str, path.iterdir())])
    alone = contents(path / "train.tfrecord")
    assert sorted(alone.stamp) == [str(path / "labels.txt"), str(path / "train.tfrecord")]


def test_a_label_that_contradicts_the_class_is_an_error_with_its_record(tmp_path: Path) -> None:
    good = [image(1, "a", "x"), image(2, "b", "y")]
    path = make(tmp_path / "set", train=good, val=[image(1, "a", "v"), image(1, "b", "w")])
    second = len(framed(example(image(1, "a", "v"))))
    assert refusal(path) == (
        f"{path}/val.tfrecord: record 1 (counted from 0, at byte {second}): its class is b and its label 1, but in "
        f"earlier records b has label 2. One of the two is wrong. Convert the images again."
    )
    make(path, val=[image(2, "c", "v")])
    assert refusal(path).endswith(
        "its class is c and its label 2, but in earlier records label 2 is b. One of the two is wrong. Convert the "
        "images again."
    )
    make(path, val=[image(3, "a", "v")])
    assert "its class is a and its label 3, but in earlier records a has label 1. One" in refusal(path)


def test_classes_are_sorted_by_their_ids_whatever_their_numbers(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "set", train=[image(1, "b", "x"), image(2, "a", "x"), image(0, "\U0001f41f", "x")]))
    assert dataset.classes.ids == ("a", "b", "\U0001f41f")
    assert labels(dataset) == {"a/x": 0, "b/x": 1, "\U0001f41f/x": 2}
    assert "the label numbers, from 0 to 2, have gaps or another order" in dataset.notes[0]


@pytest.mark.parametrize(
    ("first", "said"),
    [(0, "begin at 0."), (1, "begin at 1, as 0 is reserved for a background class."), (5, "begin at 5.")],
)
def test_a_note_says_which_number_labels_begin_at(first: int, said: str, tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(first + 1, "b", "x")], val=[image(first, "a", "x")])
    dataset = read(path)
    assert (labels(dataset), labels(dataset, "val")) == ({"b/x": 1}, {"a/x": 0})
    assert dataset.notes == (f"Classes are those of image/class/synset; the label numbers {said}",)


def test_records_may_lack_either_the_class_or_the_label_number(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(None, "b", "x"), image(None, "a", "x")])
    assert labels(read(path)) == {"a/x": 0, "b/x": 1}
    assert read(path).notes == ("Classes are those of image/class/synset; there are no label numbers.",)
    make(
        path, train=[image(2, "b", "x"), image(1, "a", "x"), image(2, "", "y"), image(-1, "", "z"), image(-1, "c", "z")]
    )
    assert labels(read(path)) == {"a/x": 0, "b/x": 1, "b/y": 1, "z": -1, "c/z": 2}
    make(path, val=[image(2, "", "y"), image(3, "", "y")])
    second = len(framed(example(image(2, "", "y"))))
    assert refusal(path) == (
        f"{path}/val.tfrecord: record 1 (counted from 0, at byte {second}): its label is 3, but no record "
        "with that label has image/class/synset. Correct one of the two."
    )


NUMBERS = {
    (1, 2, 3): (1, "the lowest is 1, so 0 was reserved for a background class"),
    (0, 1, 2): (0, "the lowest is 0"),
    (0, 3): (0, "the lowest is 0"),
    (1, 5): (1, "the lowest is 1, so 0 was reserved for a background class"),
    (4, 5): (0, "the lowest is 4, and nothing shows that they begin at 1"),
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_the_lowest_number_of_all_splits_decides_if_labels_begin_at_0_or_1(
    numbers: tuple[int, ...], tmp_path: Path
) -> None:
    offset, why = NUMBERS[numbers]
    train = [image(number, name=f"{number}.jpg") for number in numbers[1:]]
    path = make(tmp_path / "set", train=train, val=[image(numbers[0], name="0.jpg")])
    dataset = read(path)
    assert labels(dataset) == {f"{number}.jpg": number - offset for number in numbers[1:]}
    assert labels(dataset, "val") == {"0.jpg": numbers[0] - offset}
    count = max(numbers) + 1 - offset
    assert dataset.classes == table.Classes.numbered_to(count)
    assert dataset.notes == (
        f"Classes are only numbers, as there is no image/class/synset. Label {offset} is class 0: {why}.",
    )


def test_labels_of_tfds_begin_at_0_even_if_none_is_0(tmp_path: Path) -> None:
    dataset = read(make(tmp_path / "set", train=[ours(1, "x"), ours(2, "y")]))
    assert labels(dataset) == {"x": 1, "y": 2}
    assert len(dataset.classes) == 3
    assert dataset.notes == (
        "Classes are only numbers, as there is no image/class/synset. Label 0 is class 0: the keys are those of TFDS, "
        "which counts from 0.",
    )


@pytest.mark.parametrize("first", [0, 1])
def test_a_thousand_numbers_are_not_mistaken_for_imagenets(first: int, tmp_path: Path) -> None:
    records = [image(number, name=f"{number:04}") for number in range(first, first + 1000)]
    dataset = read(make(tmp_path / "set", train=records))
    assert dataset.classes == table.Classes.numbered_to(1000)
    assert dataset.notes[1:] == (
        "There are 1000 classes, as in ImageNet, but nothing shows that they are ImageNet's, or in which order.",
    )


def test_slims_list_names_the_numbers_and_says_where_they_begin(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, name="x"), image(2, name="y")])
    (path / "labels.txt").write_text("0:daisy\n1:rose\n2:tulip\n3:weed\n")
    dataset = read(path)
    assert dataset.classes == table.Classes(("0", "1", "2", "3"), ("daisy", "rose", "tulip", "weed"), numbered=True)
    assert labels(dataset) == {"x": 1, "y": 2}  # although no label is 0
    assert dataset.notes[0].endswith(f"Label 0 is class 0: {path}/labels.txt lists the classes from 0.")

    (path / "labels.txt").write_text("0:Background\n1:rose\n2:tulip: red\n")
    dataset = read(path)
    assert dataset.classes == table.Classes(("0", "1"), ("rose", "tulip: red"), numbered=True)
    assert labels(dataset) == {"x": 0, "y": 1}
    assert dataset.notes[0].endswith(f"Label 1 is class 0: {path}/labels.txt reserves 0 for a background class.")
    (path / "labels.txt").write_text("1:rose\n2:tulip\n")
    assert read(path).classes.names == ("rose", "tulip")
    (path / "labels.txt").write_text("rose\n\ntulip\nweed\n")  # one name per line, as in other lists
    assert (read(path).classes.names, labels(read(path))) == (("rose", "tulip", "weed"), {"x": 1, "y": 2})
    make(path, val=[image(0, name="z")])
    (path / "labels.txt").write_text("0:background\n1:rose\n2:tulip\n")  # which is a class if images have it
    assert (read(path).classes.names, labels(read(path))) == (("background", "rose", "tulip"), {"x": 1, "y": 2})


def test_class_ids_come_from_lists_of_wordnet_ids_and_tfds_lists(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, name="x"), image(2, name="y")])
    (path / "labels.txt").write_text("0:background\n1:n01443537\n2:n01440764\n")  # this order is kept
    dataset = read(path)
    assert dataset.classes.ids == ("n01443537", "n01440764")
    assert dataset.classes.names == ("goldfish, Carassius auratus", "tench, Tinca tinca")
    assert labels(dataset) == {"n01443537/x": 0, "n01440764/y": 1}
    (path / "labels.txt").unlink()
    make(path, train=[ours(2, "x"), ours(1, "y")])
    (path / "label.labels.txt").write_text("tulips\nroses\ndaisy\n")
    dataset = read(path)
    assert (dataset.classes.ids, dataset.classes.numbered) == (("tulips", "roses", "daisy"), False)
    assert labels(dataset) == {"daisy/x": 2, "roses/y": 1}
    (path / "label.labels.txt").write_text("tulips\nroses\ntulips\n")  # not ids, because two are equal
    assert read(path).classes == table.Classes(("0", "1", "2"), ("tulips", "roses", "tulips"), numbered=True)


def test_a_label_that_the_list_lacks_is_an_error_with_its_record(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[ours(0, "x"), ours(3, "y")])
    (path / "label.labels.txt").write_text("a\nb\nc\n")
    second = len(framed(example(ours(0, "x"))))
    assert refusal(path) == (
        f"{path}/train.tfrecord: record 1 (counted from 0, at byte {second}): its label is 3, but "
        f"{path}/label.labels.txt lists no class with that number. Correct one of the two."
    )
    (path / "label.labels.txt").write_text("\n")
    assert len(read(path).classes) == 4
    (path / "label.labels.txt").write_text("0:background\n")
    assert "its label is 3, but" in refusal(path)
    (path / "label.labels.txt").unlink()
    (path / "labels.txt").write_text("0:background\n")
    make(path, train=[image(1, name="x")])
    assert refusal(path).endswith(
        f"its label is 1, but {path}/labels.txt lists no class with that number. Correct one of the two."
    )


def test_two_lists_that_differ_are_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[ours(0, "x")])
    (path / "label.labels.txt").write_text("a\n")
    (path / "labels.txt").write_text("a\n")
    assert read(path).classes.ids == ("a",)
    (path / "labels.txt").write_text("b\n")
    assert refusal(path) == (
        f"{path}/label.labels.txt and {path}/labels.txt list the classes differently. Keep the right one."
    )


def test_a_class_list_is_found_next_to_a_single_file_and_in_the_folder_of_the_files(tmp_path: Path) -> None:
    path = make(tmp_path / "set/train", part=[ours(0, "x")]).parent
    (path / "train/label.labels.txt").write_text("tulips\nroses\n")
    assert read(path).classes.ids == ("tulips", "roses")
    assert read(path / "train/part.tfrecord").classes.ids == ("tulips", "roses")


def test_impossible_labels_are_an_error_with_their_record(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(-2, name="x")])
    assert refusal(path) == (
        f"{path}/train.tfrecord: record 0 (counted from 0, at byte 0): its label is -2; labels are numbers from 0, or "
        f"-1 for no label."
    )
    make(path, train=[image(0, name="x"), image(10**6, name="y")])
    assert "record 1 (counted from 0, at byte " in refusal(path)
    assert refusal(path).endswith(
        "its label is 1,000,000, but labels must be less than 1,000,000. Correct one of the two."
    )
    make(path, train=[image(2**62, name="x")])
    assert "its label is 4,611,686,018,427,387,904, but labels must be less than 1,000,000." in refusal(path)


def test_records_without_any_label_are_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(name="x"), image(-1, name="y")])
    assert refusal(path) == (
        f"{path}: no record has a label. Expected image/class/label, label or image/class/synset. Convert the images "
        "again with their classes, or choose the key of the label with --keys label=KEY."
    )


def test_names_come_from_the_records_or_else_a_list_or_else_wordnet(tmp_path: Path) -> None:
    path = make(
        tmp_path / "set", train=[image(1, "n01440764", "x"), image(2, "n01443537", "x", "a fish"), image(3, "z", "x")]
    )
    assert read(path).classes.names == ("tench, Tinca tinca", "a fish", "z")
    (path / "labels.txt").write_text("1:Schleie\n2:Goldfisch\n")
    assert read(path).classes.names == ("Schleie", "a fish", "z")
    make(path, train=[image(1, name="x", text="one"), image(2, name="y"), image(1, name="z", text="another one")])
    dataset = read(path)
    assert dataset.classes.names == ("one", "Goldfisch")
    assert dataset.notes[1:] == ("image/class/text differs within 1 class; the first is used as the class's name.",)


def test_file_names_may_be_paths(tmp_path: Path) -> None:
    records = [image(1, "a", "train/a/x/1.jpg"), image(1, "a", "a/2.jpg"), image(2, "b", "elsewhere/3.jpg")]
    assert labels(read(make(tmp_path / "set", train=records))) == {"a/x/1.jpg": 0, "a/2.jpg": 0, "b/3.jpg": 1}


def test_images_without_file_names_are_numbered(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a"), image(2, "b"), image(1, "a", "x.jpg")])
    dataset = read(path)
    assert labels(dataset) == {"a/00000": 0, "b/00001": 1, "a/x.jpg": 0}
    assert dataset.notes[1:] == ("2 of the 3 images of train have no file name, so they are named by number.",)


def test_a_file_name_in_two_numbered_classes_is_not_used_as_a_key(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, name="0.jpg"), image(2, name="0.jpg")])
    dataset = read(path)
    assert labels(dataset) == {"00000": 0, "00001": 1}
    assert dataset.notes[1:] == (
        "Images of train in different classes have the same file name, so they are named by number.",
    )
    make(path, train=[image(1, "a", "0.jpg"), image(2, "b", "0.jpg")])
    assert labels(read(path)) == {"a/0.jpg": 0, "b/0.jpg": 1}


@pytest.mark.parametrize("synset", ["", "a"])
def test_an_image_that_exists_twice_is_an_error_with_both_places(synset: str, tmp_path: Path) -> None:
    path = make(tmp_path / "set/train", one=[image(1, synset, "x")], two=[image(1, synset, "y"), image(1, synset, "x")])
    second = len(framed(example(image(1, synset, "y"))))
    assert refusal(path.parent) == (
        f"{path}/two.tfrecord: record 1 (counted from 0, at byte {second}): its image has the name 'x', like another "
        f"of the same class ({path}/one.tfrecord: record 0 (counted from 0, at byte 0)). Names must differ. Remove the "
        f"duplicate, or convert the images again with their paths as names."
    )


def boxed(name: str, **sides: list[float]) -> Values:
    return {**image(1, "a", name), **{BOX + side: values for side, values in sides.items()}}


def test_boxes_are_read_and_invalid_ones_are_counted(tmp_path: Path) -> None:
    records = [
        boxed("1", xmin=[0.25, 0.0], ymin=[0.5, 0.0], xmax=[0.75, 1.0], ymax=[1.0, 1.0]),
        boxed("2", xmin=[], ymin=[], xmax=[], ymax=[]),
        image(1, "a", "3"),
        boxed("4", xmin=[0.5, 48.0, 0.5], ymin=[0.5, 30.0, 0.5], xmax=[0.25, 90.0, 0.5], ymax=[1.0, 60.0, 0.5]),
        boxed("5", xmin=[float("nan")], ymin=[0.0], xmax=[1.0], ymax=[1.0]),
    ]
    dataset = read(make(tmp_path / "set", train=records, val=[boxed("1", xmin=[], ymin=[], xmax=[], ymax=[])]))
    rows = dataset.splits["train"]
    found = [rows.boxes(row) for row in range(5)]
    assert found == [[[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0]], [], None, [[0.5, 0.5, 0.5, 0.5]], []]
    assert dataset.splits["val"].boxes(0) is None
    assert dataset.notes[1:] == ("Left out 3 boxes with corners outside 0 to 1.",)


@pytest.mark.parametrize("sides", [{"xmin": [0.1]}, {"xmin": [0.1], "ymin": [0.1, 0.2], "xmax": [0.5], "ymax": [0.5]}])
def test_boxes_without_all_sides_are_an_error_with_their_record(sides: dict[str, list[float]], tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[boxed("x", **sides)])
    numbers = ", ".join(str(len(sides.get(side, []))) for side in ("xmin", "ymin", "xmax", "ymax"))
    keys = ", ".join(f"{BOX}{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
    assert refusal(path) == (
        f"{path}/train.tfrecord: record 0 (counted from 0, at byte 0): {keys} have {numbers} values, but should have "
        "the same number."
    )


STRANGE: dict[str, Values] = {
    "it has no image/encoded or image for the image. Its keys are: image_raw, label": {
        "label": [1],
        "image_raw": [b"raw"],
    },
    "it has no image/encoded or image for the image. Its keys are: none": {},
    "it has no image/encoded or image for the image. Its keys are: image, image/encoded": {
        "image": [],
        "image/encoded": [],
    },
    "image contains whole numbers; expected an image file (JPEG, PNG)": {"image": [3], "label": [1]},
    "image contains floats; expected an image file (JPEG, PNG)": {"image": [3.5], "label": [1]},
    "image/encoded has 2 values; expected one, an image file (JPEG, PNG)": {"image/encoded": [b"a", b"b"]},
    "label has 2 values; expected one, a whole number": {"image": [b"a"], "label": [1, 2]},
    "label contains bytes; expected a whole number": {"image": [b"a"], "label": [b"cat"]},
    "image/class/synset contains whole numbers; expected text": {"image": [b"a"], "image/class/synset": [7]},
    "image/class/synset is b'\\xff', which is not UTF-8 text": {"image": [b"a"], "image/class/synset": [b"\xff"]},
    "image/filename or file_name is b'\\xff', which is not UTF-8 text": {"image": [b"a"], "file_name": [b"\xff"]},
}


@pytest.mark.parametrize("what", STRANGE)
def test_records_with_other_features_are_an_error_that_says_what_they_contain(what: str, tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a", "x"), STRANGE[what]])
    second = len(framed(example(image(1, "a", "x"))))
    assert refusal(path) == f"{path}/train.tfrecord: record 1 (counted from 0, at byte {second}): {what}."


def test_a_payload_that_is_not_an_example_is_an_error_with_its_record(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, "a", "x")])
    with (path / "train.tfrecord").open("ab") as file:
        second = file.tell()
        file.write(framed(b"something else"))
    assert refusal(path).startswith(
        f"{path}/train.tfrecord: record 1 (counted from 0, at byte {second}) is not a readable tf.train.Example: "
    )


def test_a_changed_byte_is_found_before_the_label_is_used(tmp_path: Path) -> None:
    path = make(tmp_path / "set", train=[image(1, name="x"), image(2, name="y")])
    data = bytearray((path / "train.tfrecord").read_bytes())
    data[-20] ^= 1
    (path / "train.tfrecord").write_bytes(data)
    second = len(framed(example(image(1, name="x"))))
    assert refusal(path).startswith(
        f"{path}/train.tfrecord: record 1 (counted from 0, at byte {second}): the checksum of its "
    )


def test_only_the_lengths_of_large_files_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "set", train=[image(1, name="x"), image(2, name="y")])
    monkeypatch.setattr(tfrecord, "_VERIFIED_BYTES", (path / "train.tfrecord").stat().st_size - 1)
    good = (path / "train.tfrecord").read_bytes()
    (path / "train.tfrecord").write_bytes(good[:-1] + b"?")
    assert len(read(path).splits["train"]) == 2
    second = len(framed(example(image(1, name="x"))))
    (path / "train.tfrecord").write_bytes(good[:second] + b"?" + good[second + 1 :])
    assert "the checksum of its length does not match" in refusal(path)


def test_a_file_truncated_anywhere_is_an_error_or_ends_with_a_whole_record(tmp_path: Path) -> None:
    records = [image(1, "a", "x"), image(2, "b", "y")]
    path = make(tmp_path / "set", train=records)
    whole = (path / "train.tfrecord").read_bytes()
    first = len(framed(example(records[0])))
    tree = open_tree(path, tmp_path / "spool")
    for length in range(len(whole)):
        (path / "train.tfrecord").write_bytes(whole[:length])
        if length in (0, first):
            continue
        with pytest.raises(TenchError, match=rf"^{path}/train.tfrecord: record {int(length > first)} \(counted from 0"):
            tfrecord.read(tree)


# A class list next to the records, as `prepare` writes it.


def three_classes(path: Path) -> Path:
    records = [image(label, synset, f"{synset}.JPEG") for label, synset in ((1, "dog"), (2, "ant"), (3, "cat"))]
    return make(path, train=records)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "dog\tCanis\nant\ncat\n"),
        ("imagenet_class_index.json", '{"0": ["dog", "Canis"], "1": ["ant", "ant"], "2": ["cat", "cat"]}'),
    ],
)
def test_classes_have_the_order_of_the_list_next_to_the_records(tmp_path: Path, name: str, text: str) -> None:
    three_classes(tmp_path / "set")
    assert read(tmp_path / "set").classes.ids == ("ant", "cat", "dog")
    (tmp_path / "set" / name).write_text(text)
    dataset = read(tmp_path / "set")
    assert dataset.classes.ids == ("dog", "ant", "cat")
    assert labels(dataset) == {"ant/ant.JPEG": 1, "cat/cat.JPEG": 2, "dog/dog.JPEG": 0}
    assert dataset.notes == (FROM_ONE,)


def test_a_class_list_may_name_classes_without_images(tmp_path: Path) -> None:
    three_classes(tmp_path / "set")
    (tmp_path / "set/classes.txt").write_text("eel\ndog\nant\ncat\n")
    dataset = read(tmp_path / "set")
    assert dataset.classes.ids == ("eel", "dog", "ant", "cat")
    assert labels(dataset) == {"ant/ant.JPEG": 2, "cat/cat.JPEG": 3, "dog/dog.JPEG": 1}


@pytest.mark.parametrize(
    "text", ["dog\nant\n", "1 dog\n2 ant\n3 cat\n", "dog\n\nant\ncat\n", "", "kit fox\neel\nray\n"]
)
def test_a_list_of_other_classes_is_ignored(tmp_path: Path, text: str) -> None:
    three_classes(tmp_path / "set")
    (tmp_path / "set/classes.txt").write_text(text)
    assert read(tmp_path / "set").classes.ids == ("ant", "cat", "dog")
