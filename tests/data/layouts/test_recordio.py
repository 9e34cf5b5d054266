import errno
import hashlib
import json
import logging
import math
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.mxnet_frames import FRAMES, MAGIC
from tests.support.datasets import images_of, reloaded, tree_of
from tests.support.errors import error_of

from tench.data import table
from tench.data.files.tree import open_tree
from tench.data.images.image import decode
from tench.data.layouts import folder, recordio
from tench.data.table import Dataset
from tench.errors import TenchError

FILES = Path(__file__).parents[1] / "samples/mxnet"
GOLDEN = Path(__file__).parents[3] / "../shared/golden/records"
IMAGE = b"as good as an image: records are read by their headers"
REPAIR = "Copy or download it again, or recreate it with im2rec.py."

THEIRS: dict[str, list[dict[str, Any]]] = json.loads((FILES / "records.json").read_text())
"""The output of MXNet's reader for its files."""


def frames(payload: bytes) -> bytes:
    """A record as dmlc-core's writer writes it: split at each magic word, for the reader to join again."""
    words = [payload[start : start + 4] for start in range(0, len(payload), 4)]
    parts = [b""]
    for word in words:
        if word == MAGIC:
            parts.append(b"")
        else:
            parts[-1] += word
    kinds = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def payload(image_id: int, label: float | Sequence[float], image: bytes = IMAGE) -> bytes:
    if isinstance(label, int | float):
        return struct.pack("<IfQQ", 0, label, image_id, 0) + image
    return struct.pack(f"<IfQQ{len(label)}f", len(label), 0, image_id, 0, *label) + image


def write(path: Path, *records: bytes) -> Path:
    """Write a record file of these payloads; by default three records of the classes 0, 1 and 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(frames, records or [payload(row, row) for row in range(3)])))
    return path


def read(path: Path, spool: Path | None = None) -> Dataset:
    return reloaded(recordio.read(tree_of(path, spool)), recordio.NAME, path)


def recognised(path: Path) -> bool:
    return recordio.recognise(tree_of(path))


def listing(dataset: Dataset, split: str = "train") -> dict[str, tuple[str | None, bytes]]:
    return images_of(dataset)[split]


refusal = error_of(read)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def copied(name: str, path: Path) -> Path:
    return Path(shutil.copytree(FILES / name, path / name))


# Files written by MXNet.


@pytest.mark.parametrize("file", THEIRS)
def test_every_record_is_read_as_mxnets_reader_reads_it(file: str, tmp_path: Path) -> None:
    source = tmp_path / "set" / Path(file).name
    source.parent.mkdir()
    shutil.copy(FILES / file, source)  # without the list, so keys are ids
    dataset = read(source, tmp_path / "spool")
    ((split, rows),) = dataset.splits.items()
    assert split == ("val" if "val" in file else "train")
    several = any(len(record["labels"]) > 1 for record in THEIRS[file])
    theirs = {record["id"]: record for record in THEIRS[file]}
    assert [int(key) for key in rows.keys()] == sorted(theirs)  # noqa: SIM118
    for row, key in enumerate(rows.keys()):
        record = theirs[int(key)]
        image = rows.read(row)
        assert (len(image), sha256(image)) == (record["bytes"], record["sha256"])
        assert rows.labels[row] == record["labels"][0]
        assert rows.label_sets()[row] == (list(record["labels"]) if several else None)
        assert rows.encoding(row) == "file"


def test_lists_of_im2rec_give_keys_and_splits(tmp_path: Path) -> None:
    dataset = read(copied("photos", tmp_path))
    assert dataset.classes == table.Classes.numbered_to(3)
    assert list(dataset.splits) == ["train", "val"]
    for split, rows in dataset.splits.items():
        theirs = {record["id"]: record for record in THEIRS[f"photos/photos_{split}.rec"]}
        lines = (FILES / f"photos/photos_{split}.lst").read_text().splitlines()
        expected = {}
        for line in lines:
            image_id, label, path = line.split("\t")
            expected[path] = (int(float(label)), theirs[int(image_id)]["sha256"])
        found = {key: (int(rows.labels[row]), sha256(rows.read(row))) for row, key in enumerate(rows.keys())}
        assert found == expected
    assert dataset.notes == ("val has no images of 1 class: 1.",)


def test_records_with_class_names_equal_the_class_folders_they_were_packed_from(tmp_path: Path) -> None:
    source = copied("photos", tmp_path)
    (source / "synset.txt").write_text("petal\nroof\nwater\n")
    dataset = read(source)
    for split in dataset.splits:
        for key, (_, image) in listing(dataset, split).items():
            (tmp_path / "folders" / split / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "folders" / split / key).write_bytes(image)
    loaded = reloaded(folder.read(open_tree(tmp_path / "folders", tmp_path / "spool")))
    assert loaded.fingerprint == dataset.fingerprint
    assert loaded.classes == dataset.classes


def test_an_image_is_read_in_place(tmp_path: Path) -> None:
    source = copied("photos", tmp_path) / "photos_train.rec"
    rows = read(source, tmp_path / "spool").splits["train"]
    data = source.read_bytes()
    for row in range(len(rows)):
        offset, length = int(rows.offsets[row]), int(rows.lengths[row])
        assert rows.shard(row) == str(source)
        assert data[offset : offset + 2] == b"\xff\xd8"
        assert data[offset + length - 2 : offset + length] == b"\xff\xd9"
        assert data[offset - 32 : offset - 28] == MAGIC
    assert not (tmp_path / "spool").exists()


def test_images_that_im2rec_left_out_are_counted_in_a_note(tmp_path: Path) -> None:
    source = copied("skipped", tmp_path)
    dataset = read(source)
    assert dataset.splits["train"].keys() == ["petal/petal_0.jpg", "roof/roof_0.jpg", "water/water_0.jpg"]
    assert dataset.splits["train"].labels.tolist() == [0, 1, 2]
    assert dataset.notes == (
        "No name contains a split: all record files are train.",
        f"1 of the 4 images of {source}/skipped.lst are not in skipped.rec, such as roof/broken.jpg; im2rec.py leaves "
        f"out images that it cannot read.",
    )


def test_several_labels_are_kept_and_the_first_is_the_class(tmp_path: Path) -> None:
    dataset = read(copied("several", tmp_path))
    rows = dataset.splits["train"]
    assert rows.labels.tolist() == [0, 1, 2, 0, 1]
    assert rows.label_sets()[1] == [1.0, float(np.float32(0.333333)), -1.0]
    assert dataset.notes[1:] == ("5 of the 5 records of train have several labels; the first is the class.",)


def test_records_in_parts_are_joined_in_the_spool_and_the_others_stay_in_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = copied("parts", tmp_path) / "parts.rec"
    data = source.read_bytes()
    with caplog.at_level(logging.INFO, "tench"):
        dataset = read(source, tmp_path / "spool")
    rows, spooled = dataset.splits["train"], tmp_path / "spool/joined.records"
    in_spool = [row for row in range(len(rows)) if rows.shard(row) == str(spooled)]
    assert [int(rows.key(row)) for row in in_spool] == [0, 1, 4, 5, 6, 3470205706]
    assert spooled.stat().st_size == sum(int(rows.lengths[row]) for row in in_spool)
    assert [path.name for path in spooled.parent.iterdir()] == [spooled.name]
    (size,) = [record.message for record in caplog.records if "copying" in record.message]
    assert size == (
        f"{source} has 6 records in several parts: copying them ({spooled.stat().st_size / 1e6:.1f} MB) once to "
        f"{spooled}."
    )
    in_one_piece = {int(rows.key(row)) for row in range(len(rows)) if rows.read(row) in data}
    # Only the headers of the last two were split. Image 4 ends with the magic word, which also begins the last frame.
    assert in_one_piece == {2, 4, 5, 3470205706}


def test_the_spool_is_in_the_stamp_and_is_written_again_if_it_is_missing(tmp_path: Path) -> None:
    source, spool = copied("parts", tmp_path) / "parts.rec", tmp_path / "spool"
    stamp = recordio.read(open_tree(source, spool)).stamp
    assert set(stamp) == {str(source), str(source.with_suffix(".idx")), str(spool / "joined.records")}
    shutil.rmtree(spool)
    assert len(listing(read(source, spool))) == 7


def test_the_stamp_has_every_file_that_was_used(tmp_path: Path) -> None:
    source = copied("photos", tmp_path)
    (source / "synset.txt").write_text("a\nb\nc\n")
    assert set(recordio.read(open_tree(source, tmp_path)).stamp) == {str(source), *map(str, source.iterdir())}


# The golden files.


def golden(path: str) -> Path:
    if not GOLDEN.is_dir():
        pytest.skip(f"needs the files of other programs in {GOLDEN}, which are not part of the repository")
    return (GOLDEN / path).resolve()


def test_golden_images_that_were_passed_through_equal_the_files_byte_for_byte() -> None:
    source = golden("mxnet/passthrough.rec")
    dataset = read(source)
    images = golden("images")
    wnids = sorted(path.name for path in images.iterdir())
    expected = {
        str(path.relative_to(images)): (str(wnids.index(path.parent.name)), path.read_bytes())
        for path in images.glob("*/*")
    }
    assert listing(dataset) == expected
    assert len(expected) == 24


@pytest.mark.parametrize("split", ["train", "val"])
def test_golden_resized_records_match_the_labels_and_positions_of_list_and_index(split: str) -> None:
    source = golden(f"mxnet/resized_{split}.rec")
    rows = read(source).splits[split]
    lines = [line.split("\t") for line in source.with_suffix(".lst").read_text().splitlines()]
    starts = [int(line.split("\t")[1]) for line in source.with_suffix(".idx").read_text().splitlines()]
    ends = [*starts[1:], source.stat().st_size]
    expected = {}
    for (_, label, path), start, end in zip(lines, starts, ends, strict=True):
        expected[path] = (float(label), start + 32, end)
    for row, key in enumerate(rows.keys()):
        theirs, begin, end = expected.pop(key)
        assert (rows.labels[row], rows.offsets[row]) == (theirs, begin)
        assert 0 <= end - begin - rows.lengths[row] < 4
    assert not expected


def test_golden_records_decode_to_what_mxnets_iterator_returned() -> None:
    source = golden("mxnet/resized_val.rec")
    rows = read(source).splits["val"]
    paths = [line.split("\t")[2] for line in source.with_suffix(".lst").read_text().splitlines()]
    theirs = np.load(source.with_name("resized_val.centre64.npz"))
    batch = next(value for value in theirs.values() if value.ndim == 4)
    for path, expected in zip(paths, batch, strict=True):
        image = cv2.imdecode(np.frombuffer(rows.read(rows.keys().index(path)), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        top, left = (image.shape[0] - 64) // 2, (image.shape[1] - 64) // 2
        centre = image[top : top + 64, left : left + 64, ::-1].transpose(2, 0, 1)
        assert np.abs(centre.astype(int) - expected.astype(int)).max() <= 2


def test_golden_records_in_parts_have_the_published_hashes(tmp_path: Path) -> None:
    source = golden("mxnet/multipart.rec")
    rows = read(source, tmp_path / "spool").splits["train"]
    theirs = json.loads(source.with_suffix(".json").read_text())
    ours = [
        {
            "id": int(key),
            "label": float(rows.labels[row]),
            "bytes": int(rows.lengths[row]),
            "sha256": sha256(rows.read(row)),
        }
        for row, key in enumerate(rows.keys())
    ]
    assert ours == theirs


def test_golden_records_with_three_labels_keep_them_all() -> None:
    source = golden("mxnet/multilabel.rec")
    rows, data = read(source).splits["train"], source.read_bytes()
    for row in range(len(rows)):
        offset = int(rows.offsets[row])
        labels = list(struct.unpack("<3f", data[offset - 12 : offset]))
        assert rows.label_sets()[row] == labels
        assert rows.labels[row] == labels[0]
        assert decode(rows.read(row)).shape[2] == 3
    assert len(rows) == 8


def test_the_golden_folder_as_a_whole_is_refused_as_it_mixes_different_sets() -> None:
    source = golden("mxnet")
    with pytest.raises(TenchError) as error:
        read(source)
    assert str(error.value) == (
        f"{source}: 3 of the record files without a split in the name (train, val or test): multilabel.rec, "
        f"multipart.rec, passthrough.rec. Others have one: resized_train.rec (train), resized_val.rec (val). "
        "Leave out those without a split with --exclude PATTERN, rename them, or pass only the files to use."
    )


# Frames.


@pytest.mark.parametrize(("record", "expected"), FRAMES)
def test_records_made_here_match_mxnets_writer(record: bytes, expected: str) -> None:
    assert frames(record).hex() == expected.replace(" ", "")


LABELS = st.one_of(
    st.integers(-1, 40).map(float),
    st.lists(st.sampled_from([0.0, 1.0, 7.0, -1.0, struct.unpack("<f", MAGIC)[0]]), min_size=1, max_size=30).map(
        lambda labels: [2.0, *labels]
    ),
)
IMAGES = st.lists(st.sampled_from([b"a", b"bcd", b"efgh", MAGIC, b"\0\0\0\0"]), min_size=1, max_size=8).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 0xCED7230A, 0xCED7230A << 32, 2**64 - 1]), LABELS, IMAGES), min_size=1)
)
def test_any_records_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, float | list[float], bytes]]
) -> None:
    path = tmp_path_factory.mktemp("any")
    contents = recordio.read(
        open_tree(write(path / "a.rec", *(payload(*record) for record in records)), path / "spool")
    )
    rows = contents.splits["train"]
    several = any(isinstance(label, list) and len(label) > 1 for _, label, _ in records)
    for row, (_, label, image) in enumerate(records):
        labels = label if isinstance(label, list) else [label]
        shard, offset = Path(rows.shards[int(rows.shard[row])]), int(np.asarray(rows.offset)[row])
        assert shard.read_bytes()[offset : offset + int(np.asarray(rows.length)[row])] == image
        assert rows.label[row] == labels[0]
        assert (list(rows.labels[row] or ()) == labels) if rows.labels is not None else not several


@pytest.mark.parametrize("width", [1, 7, 8, 9, 10, 300, 20_000])
def test_a_header_may_contain_any_number_of_labels(tmp_path: Path, width: int) -> None:
    labels = [1.0, *np.linspace(0, 1, width - 1, dtype=np.float32).tolist()]
    rows = read(write(tmp_path / "a.rec", payload(0, 0), payload(1, labels), payload(2, 1))).splits["train"]
    assert [rows.read(row) for row in range(3)] == [IMAGE] * 3
    assert rows.labels.tolist() == [0, 1, 1]
    assert rows.label_sets()[1] == (list(labels) if width > 1 else None)


# Files that form one dataset.


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train.rec", "train"), ("val.rec", "val"), ("test.rec", "test"), ("imagenet1k-val.rec", "val")),
        *(("mydata_train_0.rec", "train"), ("Validation3.rec", "val"), ("x/my_train.rec", "train")),
        *(("caltech256-testing.part1.rec", "test"), ("val/part0.rec", "val"), ("train/x_val.rec", "val")),
        *(("restrain.rec", "train"), ("interval.rec", "train"), ("data.rec", "train")),
    ],
)
def test_the_split_is_the_word_in_the_name_of_a_file_or_its_folder(tmp_path: Path, name: str, split: str) -> None:
    write(tmp_path / "set" / name)
    assert list(read(tmp_path / "set").splits) == [split]


def test_several_files_of_a_split_are_joined(tmp_path: Path) -> None:
    for part in range(3):
        write(tmp_path / f"set/x_train_part{part}.rec", payload(10 + part, part, b"%d" % part))
    write(tmp_path / "set/x_test.rec", payload(5, 0, b"test"))
    write(tmp_path / "set/x_val.rec", payload(5, 1, b"val"), payload(6, 0, b"val"), payload(7, 2, b"val"))
    dataset = read(tmp_path / "set")
    assert list(dataset.splits) == ["train", "val", "test"]
    assert listing(dataset) == {"00010": ("0", b"0"), "00011": ("1", b"1"), "00012": ("2", b"2")}
    assert listing(dataset, "test") == {"00005": ("0", b"test")}
    assert len(dataset.splits["val"]) == 3
    assert dataset.notes == ("test has no images of 2 classes: 1, 2.",)


def test_files_whose_names_have_no_split_are_train_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "set/a.rec", payload(0, 0, b"a"), payload(1, 1, b"b"))
    assert read(tmp_path / "set").notes == ("No name contains a split: all record files are train.",)
    write(tmp_path / "set/b.rec", payload(2, 0, b"c"))
    dataset = read(tmp_path / "set")
    assert dataset.notes == ("No name contains a split: all record files are train.",)
    assert listing(dataset) == {"00000": ("0", b"a"), "00001": ("1", b"b"), "00002": ("0", b"c")}


def test_a_file_without_a_split_next_to_others_with_one_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set/extra.rec")
    write(tmp_path / "set/train.rec")
    assert refusal(tmp_path / "set") == (
        f"{tmp_path}/set: 1 of the record files without a split in the name (train, val or test): extra.rec. Others "
        "have one: train.rec (train). Leave out those without a split with --exclude PATTERN, rename them, or pass "
        "only the files to use."
    )


def test_records_may_be_in_a_tar_or_a_zip(tmp_path: Path) -> None:
    source = copied("photos", tmp_path)
    shutil.copy(FILES / "parts/parts.rec", source / "parts_train.rec")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(source, "photos")
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / f"photos{compression}.zip", "w", compression) as archive:
            for file in sorted(source.iterdir()):
                archive.write(file, f"photos/{file.name}")
    expected = read(source, tmp_path / "spool")
    for name in ("photos.tar", f"photos{zipfile.ZIP_STORED}.zip", f"photos{zipfile.ZIP_DEFLATED}.zip"):
        assert recognised(tmp_path / name)
        found = read(tmp_path / name, tmp_path / f"spool of {name}")
        assert found.fingerprint == expected.fingerprint
        for split in expected.splits:
            assert listing(found, split) == listing(expected, split)


def test_a_single_file_is_a_source_and_its_neighbouring_files_are_used(tmp_path: Path) -> None:
    source = copied("photos", tmp_path)
    (source / "synset.txt").write_text("petal\nroof\nwater\n")
    for split in ("train", "val"):
        alone = read(source / f"photos_{split}.rec")
        assert listing(alone, split) == listing(read(source), split)
        assert alone.classes.ids == ("petal", "roof", "water")


def test_a_pattern_of_files_is_a_source_and_their_neighbouring_files_are_used(tmp_path: Path) -> None:
    source = copied("photos", tmp_path)
    (source / "synset.txt").write_text("petal\nroof\nwater\n")
    assert read(source / "photos_{train,val}.rec").fingerprint == read(source).fingerprint


def test_a_single_file_without_the_suffix_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "imagenet_train").rename(tmp_path / "records of mine")
    assert recognised(path)
    assert len(read(path).splits["train"]) == 3


def test_records_are_recognised_by_name_and_first_bytes(tmp_path: Path) -> None:
    assert all(recognised(FILES / name) for name in ("photos", "widths", "parts/parts.rec"))
    (tmp_path / "empty").mkdir()
    assert not recognised(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/scan.rec").write_bytes(b"of another program")
    (tmp_path / "other/scan.par").write_bytes(b"")
    assert not recognised(tmp_path / "other")
    assert recognised(tmp_path / "other/scan.rec")  # if named directly, it is refused with the reason
    assert not recognised(tmp_path / "other/scan.par")
    write(tmp_path / "other/b.rec")
    assert recognised(tmp_path / "other")
    (tmp_path / "short").write_bytes(MAGIC[:3])
    assert not recognised(tmp_path / "short")


def test_files_without_matching_records_are_counted_in_a_note(tmp_path: Path) -> None:
    for name in ("train.rec", "val.rec"):
        write(tmp_path / "set" / name)
    (tmp_path / "set/classes.txt").write_text("a\nb\nc\n")
    assert read(tmp_path / "set").notes == ()
    (tmp_path / "set/README").touch()
    (tmp_path / "set/test.lst").touch()
    assert read(tmp_path / "set").notes == ("Left out 2 files without a matching .rec, such as README.",)


# Keys.


def test_without_a_list_keys_are_zero_padded_ids(tmp_path: Path) -> None:
    rows = read(write(tmp_path / "a.rec", payload(1_000_000, 0), payload(7, 1), payload(30, 1))).splits["train"]
    assert rows.keys() == ["0000007", "0000030", "1000000"]


@pytest.mark.parametrize("files", [1, 2])
def test_if_ids_repeat_images_are_numbered_and_a_note_says_so(tmp_path: Path, files: int) -> None:
    records = [payload(row % 2, row % 2, b"%d" % row) for row in range(4)]
    write(tmp_path / "set/train_0.rec", *records[: 4 // files])
    if files == 2:
        write(tmp_path / "set/train_1.rec", *records[2:])
    dataset = read(tmp_path / "set")
    assert listing(dataset) == {f"{row:05}": (str(row % 2), b"%d" % row) for row in range(4)}
    assert dataset.notes == ("Records of train share ids, so its images are numbered in the order of the records.",)


def test_a_list_next_to_only_some_files_of_a_split_gives_no_keys_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "set/train_0.rec", payload(0, 0), payload(1, 1))
    write(tmp_path / "set/train_1.rec", payload(2, 1))
    (tmp_path / "set/train_0.lst").write_text("0\t0\ta.jpg\n1\t1\tb.jpg\n")
    dataset = read(tmp_path / "set")
    assert dataset.splits["train"].keys() == ["00000", "00001", "00002"]
    assert dataset.notes == ("There is no .lst next to train_1.rec, so the images of train are named by numbers.",)


def test_a_list_may_be_in_another_order_than_the_records(tmp_path: Path) -> None:
    write(tmp_path / "a.rec", *(payload(row, row % 2, b"%d" % row) for row in (5, 3, 9)))
    (tmp_path / "a.lst").write_text("3\t1\tb/three.jpg\n5\t1\tb/five.jpg\n9\t1\tb/nine.jpg\n7\t0\ta/seven.jpg\n")
    dataset = read(tmp_path / "a.rec")
    assert listing(dataset) == {
        "b/three.jpg": ("1", b"3"),
        "b/five.jpg": ("1", b"5"),
        "b/nine.jpg": ("1", b"9"),
    }


def test_a_list_with_repeated_ids_is_matched_with_records_in_the_same_order(tmp_path: Path) -> None:
    write(tmp_path / "a.rec", payload(0, 0, b"x"), payload(0, 1, b"y"))
    (tmp_path / "a.lst").write_text("0\t0\tx.jpg\n0\t1\ty.jpg\n")
    assert listing(read(tmp_path / "a.rec")) == {"x.jpg": ("0", b"x"), "y.jpg": ("1", b"y")}


def test_a_key_never_leads_out_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.rec", *(payload(row, 0) for row in range(5)))
    paths = ["/data/a.jpg", "../../b.jpg", "./c/./d.jpg", "e//f.jpg", ".hidden/..g.jpg"]
    (tmp_path / "a.lst").write_text("".join(f"{row}\t0\t{path}\n" for row, path in enumerate(paths)))
    expected = [".hidden/..g.jpg", "b.jpg", "c/d.jpg", "data/a.jpg", "e/f.jpg"]
    assert read(tmp_path / "a.rec").splits["train"].keys() == expected


def test_the_key_of_a_flat_image_begins_with_its_class_if_the_class_has_a_name(tmp_path: Path) -> None:
    write(tmp_path / "val.rec", payload(1, 1), payload(2, 0), payload(3, -1))
    (tmp_path / "val.lst").write_text("1\t1\tILSVRC2012_1.JPEG\n2\t0\tILSVRC2012_2.JPEG\n3\t-1\tILSVRC2012_3.JPEG\n")
    assert read(tmp_path / "val.rec").splits["val"].keys() == [
        *("ILSVRC2012_1.JPEG", "ILSVRC2012_2.JPEG", "ILSVRC2012_3.JPEG")
    ]
    (tmp_path / "synset.txt").write_text("n01440764\nn01443537\n")
    assert read(tmp_path / "val.rec").splits["val"].keys() == [
        *("ILSVRC2012_3.JPEG", "n01440764/ILSVRC2012_2.JPEG", "n01443537/ILSVRC2012_1.JPEG")
    ]


# Classes.


@pytest.mark.parametrize(
    ("text", "ids", "names"),
    [
        (
            "n01440764\nn01443537\nn00000001\n",
            "n01440764 n01443537 n00000001",
            ["tench, Tinca tinca", "goldfish, Carassius auratus", "n00000001"],
        ),
        (
            "n01440764 tench\nn01443537 gold fish\r\nn00000001",
            "n01440764 n01443537 n00000001",
            ["tench", "gold fish", "n00000001"],
        ),
        ("a b\tfirst\nc\t second \nd\n\n", "a b|c|d", ["first", "second", "d"]),
        ("0 seven\n1 five\n2 six\n", "seven five six", ["seven", "five", "six"]),
        (
            "great white shark\ntiger shark\nray\n",
            "great white shark|tiger shark|ray",
            ["great white shark", "tiger shark", "ray"],
        ),
    ],
)
def test_a_file_next_to_the_records_names_the_classes(tmp_path: Path, text: str, ids: str, names: list[str]) -> None:
    write(tmp_path / "set/sub/a.rec")
    for place in ("set", "set/sub"):
        (tmp_path / place / "classes.txt").write_text(text)
        classes = read(tmp_path / "set").classes
        assert classes.ids == tuple(ids.split("|") if "|" in ids else ids.split())
        assert classes.names == tuple(names)
        assert not classes.numbered
        (tmp_path / place / "classes.txt").unlink()


def test_even_in_synset_txt_only_a_wordnet_id_ends_at_the_first_space(tmp_path: Path) -> None:
    write(tmp_path / "a.rec")
    (tmp_path / "synset_words.txt").write_text("red ant\nred bee\ncat\n")
    classes = read(tmp_path / "a.rec").classes
    assert classes.ids == classes.names == ("red ant", "red bee", "cat")


def test_the_first_of_several_files_that_matches_names_the_classes(tmp_path: Path) -> None:
    write(tmp_path / "a.rec")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    (tmp_path / "synset_words.txt").write_text("x\ny\nz\nw\n")
    (tmp_path / "synset.txt").write_text("x\n")
    assert read(tmp_path / "a.rec").classes.ids == ("a", "b", "c")
    (tmp_path / "classes.txt").write_text("a\nb\nf\n")
    dataset = read(tmp_path / "a.rec")
    assert dataset.classes.ids == ("a", "b", "f")
    assert len(dataset.notes) == 1
    (tmp_path / "classes.txt").write_text("d\ne\nf\n")
    dataset = read(tmp_path / "a.rec")
    assert dataset.classes == table.Classes.numbered_to(3)
    assert dataset.notes[1:] == (
        f"{tmp_path}/classes.txt and {tmp_path}/labels.txt contradict each other: class 0 is 'd' or 'a'. Neither is "
        f"used. Remove the one that does not belong to this list.",
    )


def test_a_list_of_classes_with_an_empty_line_is_an_error_as_it_may_shift_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.rec")
    (tmp_path / "classes.txt").write_text("a\n\nc\n")
    with pytest.raises(TenchError) as error:
        read(tmp_path / "a.rec")
    assert str(error.value) == (f"{tmp_path}/classes.txt, line 2 is empty, but each line is a class, in order.")


def test_a_file_that_names_more_classes_than_there_are_labels_is_used_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "val.rec")
    (tmp_path / "synset.txt").write_text("a\nb\nc\nd\n")
    dataset = read(tmp_path / "val.rec")
    assert dataset.classes.ids == ("a", "b", "c", "d")
    assert dataset.notes == (
        f"{tmp_path}/synset.txt names 4 classes, but the labels go only up to 2.",
        "val has no images of 1 class: d.",
    )


def test_a_file_that_names_fewer_classes_is_not_used_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "val.rec")
    (tmp_path / "synset.txt").write_text("a\nb\n")
    (tmp_path / "labels.txt").write_text("0\n" * 50)
    dataset = read(tmp_path / "val.rec")
    assert dataset.classes == table.Classes.numbered_to(3)
    assert dataset.notes == (
        f"{tmp_path}/synset.txt does not name the classes: it has 2 lines, but the labels go up to 2.",
        f"{tmp_path}/labels.txt does not name the classes: it has 50 lines, but the labels go up to 2.",
    )


def test_repeated_names_are_not_ids_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "val.rec")
    (tmp_path / "labels.txt").write_text("crane\ntench\ncrane\n")
    dataset = read(tmp_path / "val.rec")
    assert dataset.classes == table.Classes(("0", "1", "2"), ("crane", "tench", "crane"), numbered=True)
    assert dataset.notes == (
        f"{tmp_path}/labels.txt has the same line more than once, so its lines are class names and the ids are "
        "numbers.",
    )


def test_readable_names_are_not_ids_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "val.rec")
    (tmp_path / "label_to_content.json").write_text('{"0": "crane", "1": "tench", "2": "eel"}')
    dataset = read(tmp_path / "val.rec")
    assert dataset.classes == table.Classes(("0", "1", "2"), ("crane", "tench", "eel"), numbered=True)
    assert dataset.notes == (
        f"{tmp_path}/label_to_content.json has only words, so its lines are class names and the ids are numbers.",
    )


def test_the_highest_label_of_all_splits_gives_the_number_of_classes(tmp_path: Path) -> None:
    write(tmp_path / "set/train.rec", payload(0, 0), payload(1, 1))
    write(tmp_path / "set/val.rec", payload(0, 4))
    dataset = read(tmp_path / "set")
    assert dataset.classes == table.Classes.numbered_to(5)
    assert dataset.notes == (
        "train has no images of 3 classes: 2, 3, 4.",
        "val has no images of 4 classes: 0, 1, 2, 3.",
    )


def test_the_label_minus_one_means_unlabelled_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path / "set/train.rec", payload(0, 0), payload(1, -1), payload(2, 1))
    write(tmp_path / "set/test.rec", payload(0, -1))
    dataset = read(tmp_path / "set")
    assert dataset.splits["test"].labels.tolist() == [-1]
    assert dataset.notes == (
        "1 of the 3 images of train have no label.",
        "1 of the 1 images of test have no label.",
    )


def test_a_note_gives_the_likely_cause_of_a_single_class(tmp_path: Path) -> None:
    dataset = read(write(tmp_path / "train.rec", payload(0, 0), payload(1, 0)))
    assert dataset.notes == (
        "All labels are 0, so there is only one class. im2rec.py writes such labels without --recursive.",
    )


# Bad input.


@pytest.mark.parametrize(
    ("label", "shown"),
    [(1.5, "1.5"), (-2, "-2"), (math.nan, "nan"), (math.inf, "inf"), (10**6, "1000000"), ([0.25, 1.0], "0.25")],
)
def test_a_label_out_of_range_is_an_error(tmp_path: Path, label: float | list[float], shown: str) -> None:
    path = write(tmp_path / "a.rec", payload(3, 0), payload(8, label), payload(9, label))
    assert refusal(path) == (
        f"{path}: the record at byte 88 (id 8) has the label {shown}; 2 of the 3 records are affected. The label of a "
        "class must be a whole number from 0 to 999,999, or -1 if there is none. These records are for another task, "
        "or they are damaged."
    )


def test_any_number_of_classes_up_to_the_number_of_images_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordio, "_NUM_PLAUSIBLE", 2)
    write(tmp_path / "set/train.rec", payload(0, 0), payload(1, 2))
    write(tmp_path / "set/val.rec", payload(0, 2))
    assert len(read(tmp_path / "set").classes) == 3
    write(tmp_path / "set/val.rec", payload(0, 3))
    assert "(id 0) has the label 3; 1 of the 1 records are affected." in refusal(tmp_path / "set")


def test_a_label_that_the_list_contradicts_is_an_error_with_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", payload(3, 0), payload(8, 2), payload(9, [1, 0.5]))
    lst = path.with_suffix(".lst")
    lst.write_text("3\t0.000000\ta.jpg\n8\t1.000000\tb.jpg\n9\t1\t0.500000\tc.jpg\n")
    assert refusal(path) == (
        f"{path}: the record at byte 88 (id 8) has the label 2, but {lst} gives 1; 1 of the 3 records are affected. "
        f"The list belongs to another file, or was changed after packing. Pack again, or move the list away."
    )
    for line in ("9\t1\t0.4\tc.jpg", "9\t1\tc.jpg", "9\t2\t0.5\tc.jpg"):
        lst.write_text(f"3\t0\ta.jpg\n8\t2\t7\tb.jpg\n{line}\n")  # a second label that was not packed does no harm
        assert "(id 9) has the label 1, 0.5, but" in refusal(path)
    lst.write_text("3\t0\ta.jpg\n8\t2\t7\tb.jpg\n9\t1\t.5\t9\tc.jpg\n")
    assert read(path).splits["train"].keys() == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("ids", [(3, 9), (3, 7, 9), (), (3, 3, 9, 9)])
def test_a_record_missing_from_the_list_is_an_error(tmp_path: Path, ids: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.rec", payload(3, 0), payload(8, 1), payload(9, 1))
    path.with_suffix(".lst").write_text("".join(f"{number}\t{int(number > 3)}\tx{number}.jpg\n" for number in ids))
    row, count = (1, 1) if ids else (0, 3)
    assert refusal(path) == (
        f"{path}: the record at byte {88 * row} (id {(3, 8)[row]}) has no line in {tmp_path}/a.lst; {count} of the 3 "
        "records are affected. The list belongs to another file. Replace it with the right one, or move it away."
    )


@pytest.mark.parametrize(("ours", "listed", "whose"), [((3, 8), (8, 3, 3), "a.lst"), ((3, 3), (3, 8), "a.rec")])
def test_repeated_ids_cannot_be_matched_with_a_list(
    tmp_path: Path, ours: tuple[int, ...], listed: tuple[int, ...], whose: str
) -> None:
    path = write(tmp_path / "a.rec", *(payload(number, 0) for number in ours))
    path.with_suffix(".lst").write_text("".join(f"{number}\t0\tx{number}.jpg\n" for number in listed))
    assert refusal(path) == (
        f"{tmp_path}/{whose}: the id 3 appears more than once, so records and lines of {tmp_path}/a.lst cannot be "
        f"matched. Move the list away to name the records by numbers."
    )


def test_a_list_that_cannot_be_read_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    path.with_suffix(".lst").write_text("0\t0\ta.jpg\nwhat is this\n")
    assert refusal(path).startswith(f"{tmp_path}/a.lst, line 2 must be an id")


def test_repeated_paths_in_a_list_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", payload(0, 0), payload(1, 1))
    path.with_suffix(".lst").write_text("0\t0\ta.jpg\n1\t1\ta.jpg\n")
    assert "the key 'a.jpg' appears twice" in refusal(path)


def test_an_index_may_have_any_keys_and_order(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec")
    path.with_suffix(".idx").write_text("c\t176\n\na\t0\r\nb 88\n")
    dataset = read(path)
    assert len(dataset.splits["train"]) == 3
    assert dataset.notes == ()


def test_a_note_reports_an_index_that_lacks_records_and_all_records_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec")
    path.with_suffix(".idx").write_text("0\t0\n")
    dataset = read(path)
    assert len(dataset.splits["train"]) == 3
    assert dataset.notes == (f"{tmp_path}/train.idx does not list 2 of the 3 records; all were read.",)


@pytest.mark.parametrize("offset", [4, 89, 264, 10**17])
def test_an_index_of_another_file_is_an_error_with_the_line(tmp_path: Path, offset: int) -> None:
    path = write(tmp_path / "train.rec")
    path.with_suffix(".idx").write_text(f"0\t0\n1\t{offset}\n2\t176\n")
    assert refusal(path) == (
        f"{tmp_path}/train.idx, line 2: no record of {path} begins at byte {offset:,}; 1 of the 3 lines are affected. "
        f"The index belongs to another file, or records at the end are missing: compare the file's size with the "
        f"original's. Recreate it with rec2idx.py, or remove it: it is not needed."
    )


def test_a_file_truncated_between_two_records_is_detected_with_its_index(tmp_path: Path) -> None:
    path = copied("photos", tmp_path) / "photos_val.rec"
    last = int(path.with_suffix(".idx").read_text().split()[-1])
    os.truncate(path, last)
    assert f"photos_val.idx, line 5: no record of {path} begins at byte {last:,}" in refusal(path)


@pytest.mark.parametrize("line", ["1", "1\t", "1\t88\t3", "1\t-88", "1\t8.8", "1\tx", f"1\t{'8' * 5000}", "\x00\xff"])
def test_an_index_that_cannot_be_read_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "train.rec")
    path.with_suffix(".idx").write_text(f"0\t0\n{line}\n2\t176\n")
    assert refusal(path) == (
        f"{tmp_path}/train.idx, line 2 must be a key and an offset separated by a TAB, got {line[:80]!r}. "
        "Recreate it with rec2idx.py, or remove it: it is not needed."
    )


def damaged(path: Path, position: int, data: bytes) -> Path:
    """Write the file of three records of 88 bytes each, with some bytes replaced."""
    content = bytearray(write(path / "train.rec").read_bytes())
    content[position : position + len(data)] = data
    (path / "train.rec").write_bytes(content)
    return path / "train.rec"


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.rec").touch()
    assert refusal(tmp_path / "train.rec") == f"{tmp_path}/train.rec: the file is empty. {REPAIR}"


@pytest.mark.parametrize("size", [1, 87, 90, 263])
def test_a_size_that_is_not_a_multiple_of_four_is_an_error(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "train.rec")
    os.truncate(path, size)
    assert refusal(path) == (
        f"{path}: the file has {size} bytes, but a record file's size is a multiple of 4. It was truncated, or "
        f"something was "
        f"added to it. {REPAIR}"
    )


def test_a_file_truncated_within_a_record_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec")
    os.truncate(path, 200)
    assert refusal(path) == (
        f"{path}: the record at byte 176 claims 78 bytes, but the file ends 16 bytes later. It was truncated, or the "
        f"length is wrong. {REPAIR}"
    )
    os.truncate(path, 180)
    assert (
        refusal(path) == f"{path}: the file ends within the record that begins at byte 176. It was truncated. {REPAIR}"
    )


def test_a_length_that_reaches_past_the_end_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = damaged(tmp_path, 88 + 4, struct.pack("<I", 2**29 - 1))
    assert refusal(path) == (
        f"{path}: the record at byte 88 claims 536,870,911 bytes, but the file ends 168 bytes later. It was truncated, "
        f"or the length is wrong. {REPAIR}"
    )


def test_a_wrong_length_within_the_file_is_an_error_with_both_places(tmp_path: Path) -> None:
    path = damaged(tmp_path, 88 + 4, struct.pack("<I", 60))
    assert refusal(path) == (
        f"{path}: byte 156 should begin a record with 0a23d7ce, but has {IMAGE[36:40].hex()}: the length of the record "
        f"before it, at byte 88, is wrong, or it is damaged here. {REPAIR}"
    )


def test_a_flipped_bit_in_the_magic_word_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = damaged(tmp_path, 88, b"\x0b")
    assert refusal(path) == (
        f"{path}: byte 88 should begin a record with 0a23d7ce, but has 0b23d7ce: the length of the record before it, "
        f"at byte 0, is wrong, or it is damaged here. {REPAIR}"
    )


def test_a_file_that_does_not_begin_with_a_record_is_an_error(tmp_path: Path) -> None:
    path = damaged(tmp_path, 0, b"\x0b")
    assert refusal(path) == (
        f"{path}: byte 0 should begin a record with 0a23d7ce, but has 0b23d7ce: this is not a record file, or it is "
        f"damaged. {REPAIR}"
    )


def test_a_kind_of_record_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    path = damaged(tmp_path, 88 + 7, b"\xa0")
    assert refusal(path) == f"{path}: the record at byte 88 is of kind 5, which does not exist. {REPAIR}"


@pytest.mark.parametrize("kind", [2, 3])
def test_a_part_without_a_beginning_is_an_error(tmp_path: Path, kind: int) -> None:
    path = damaged(tmp_path, 88 + 7, bytes([kind << 5]))
    assert refusal(path) == (
        f"{path}: byte 88 continues a record of several parts, but no record has begun. A piece is missing. {REPAIR}"
    )


@pytest.mark.parametrize("row", [0, 2])
def test_a_part_without_an_end_is_an_error(tmp_path: Path, row: int) -> None:
    path = damaged(tmp_path, 88 * row + 7, bytes([1 << 5]))
    assert refusal(path) == (
        f"{path}: the record of several parts that begins at byte {88 * row} should continue at byte {88 * (row + 1)}, "
        f"but does not. A piece is missing. {REPAIR}"
    )


def test_a_record_with_too_many_parts_is_an_error_before_they_are_read(tmp_path: Path) -> None:
    length = 2**29 - 4  # a sparse file: parts of half a GiB that take no disk space
    with (tmp_path / "train.rec").open("wb") as file:
        for row, kind in enumerate((1, 2, 2, 3)):
            file.seek(row * (8 + length))
            file.write(MAGIC + struct.pack("<I", kind << 29 | length))
        file.truncate(4 * (8 + length))
    assert refusal(tmp_path / "train.rec") == (
        f"{tmp_path}/train.rec: the record of several parts that begins at byte 0 has 1,610,612,732 bytes so far, "
        f"more than any can have. {REPAIR}"
    )


def test_a_record_without_a_header_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", payload(0, 0), b"twenty-three bytes long")
    assert refusal(path) == (
        f"{path}: the record at byte 88 contains 23 bytes, less than the 24 of an image's header: it is damaged, or "
        f"the records are not images. {REPAIR}"
    )


@pytest.mark.parametrize("label", [1, [1.0, 2.0], [1.0] * 100])
def test_a_record_without_an_image_is_an_error(tmp_path: Path, label: float | list[float]) -> None:
    path = write(tmp_path / "a.rec", payload(0, 0), payload(77, label, b""))
    size = 24 + 4 * (len(label) if isinstance(label, list) else 0)
    assert refusal(path) == f"{path}: the record at byte 88 (id 77), of {size} bytes, has no image. {REPAIR}"


def test_more_labels_than_a_record_can_contain_are_an_error(tmp_path: Path) -> None:
    path = damaged(tmp_path, 88 + 8, struct.pack("<I", 10**9))
    assert refusal(path) == (
        f"{path}: the record at byte 88 (id 1), of 78 bytes, claims 1,000,000,000 labels. {REPAIR}"
    )


def test_a_record_file_without_records_in_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "set/train.rec")
    (tmp_path / "set/val.rec").touch()
    assert refusal(tmp_path / "set") == f"{tmp_path}/set/val.rec: the file is empty. {REPAIR}"


def test_a_failing_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = write(tmp_path / "train.rec")
    monkeypatch.setattr(os, "pread", fail)
    assert refusal(path) == f"{path}: cannot be read (Input/output error)."


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} contains no record files (.rec)."


def test_damage_within_an_archive_is_reported_with_the_place_of_the_record_file(tmp_path: Path) -> None:
    path = damaged(tmp_path, 88, b"\x0b")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(path, "data/train.rec")
    with tarfile.open(tmp_path / "set.tar") as tar:
        start = tar.getmember("data/train.rec").offset_data
    assert refusal(tmp_path / "set.tar").startswith(
        f"{tmp_path}/set.tar/data/train.rec (in {tmp_path}/set.tar at byte {start:,}): byte 88 should begin a record"
    )


def outcome(path: Path) -> int | str:
    """The number of records found, or the error message."""
    try:
        return len(recordio.read(open_tree(path, path.parent / "spool")).splits["train"].key)
    except TenchError as error:
        return str(error)


@pytest.mark.parametrize("name", ["parts", "widths"])
def test_a_file_truncated_anywhere_gives_its_first_records_or_an_error(tmp_path: Path, name: str) -> None:
    data = (FILES / name / f"{name}.rec").read_bytes()
    path, whole, counts = tmp_path / "train.rec", len(THEIRS[f"{name}/{name}.rec"]), set()
    for end in range(0, len(data), 28):
        path.write_bytes(data[:end])
        found = outcome(path)
        assert isinstance(found, int) or found.startswith(f"{path}: ")
        counts.add(found if isinstance(found, int) else 0)
    assert counts <= set(range(whole))


@pytest.mark.parametrize("image", [IMAGE, b"twenty bytes and .. " + MAGIC + b"more"])
def test_a_flipped_bit_anywhere_in_headers_gives_records_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: bytes
) -> None:
    monkeypatch.setattr(recordio, "_NUM_PLAUSIBLE", 1000)  # building a million classes would take a second each time
    first, second = frames(payload(0, [1.0, 2.0], image)), frames(payload(1, 1))
    path, num_errors = tmp_path / "train.rec", 0
    flipped = [*range(40), *range(first.rindex(MAGIC), first.rindex(MAGIC) + 8), *range(len(first), len(first) + 12)]
    for bit in [8 * byte + bit for byte in flipped for bit in range(8)]:
        changed = bytearray(first + second)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        found = outcome(path)
        assert found in (1, 2) or str(found).startswith(f"{path}: ")
        num_errors += isinstance(found, str)
    assert num_errors > 8 * 20  # all magic words, and most bits of kinds, lengths and label counts


# InsightFace: record 0 holds the id range of the identity records, which have no image.


def faces(path: Path, num_images: int = 4) -> Path:
    last = num_images + 1
    images = [payload(number, number // 3, b"face %d" % number) for number in range(1, last)]
    identities = [payload(last, (1.0, 3.0), b""), payload(last + 1, (3.0, float(last)), b"")]
    return write(path, payload(0, (float(last), last + 2.0), b""), *images, *identities)


def test_insightface_header_records_without_an_image_are_left_out(tmp_path: Path) -> None:
    path = faces(tmp_path / "set/train.rec")
    (tmp_path / "set/property").write_text("2,112,112")
    starts = [at for at in range(0, path.stat().st_size, 4) if path.read_bytes()[at : at + 4] == MAGIC]
    index = "".join(f"{number}\t{start}\n" for number, start in enumerate(starts))
    (tmp_path / "set/train.idx").write_text(index)
    dataset = read(tmp_path / "set")
    assert listing(dataset) == {
        "00001": ("0", b"face 1"),
        "00002": ("0", b"face 2"),
        "00003": ("1", b"face 3"),
        "00004": ("1", b"face 4"),
    }
    assert dataset.notes == (
        "Skipped 3 records of train.rec: InsightFace headers without an image.",
        "Left out 1 file without a matching .rec, such as property.",
    )


def test_a_record_without_an_image_among_images_is_still_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec", payload(0, (3.0, 5.0), b""), payload(1, 0), payload(2, (1.0, 2.0), b""))
    assert f"(id 2), of 32 bytes, has no image. {REPAIR}" in refusal(path)
    path = write(tmp_path / "train.rec", payload(0, (1.0, 2.0), b""), payload(1, (1.0, 1.0), b""))
    assert refusal(path) == f"{path}: all 2 records are headers without an image."
