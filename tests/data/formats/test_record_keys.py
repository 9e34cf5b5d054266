"""Unusual keys of TFRecords are recognised by their values. Records are written by hand; see `example`."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.data.photos import array, encoded, part
from tests.support.errors import error_of
from tests.support.files import write_file
from tests.support.tfrecords import field, framed, varint

from tench.data.images.image import decode_as
from tench.data.source import open_source

Record = Mapping[str, Any]


def photo(number: int) -> bytes:
    return encoded(part(20 + number, 16, number))


def example(record: Record) -> bytes:
    """A tf.train.Example. By key: bytes, a float, a number or a list of numbers."""
    entries = b""
    for key, value in record.items():
        if isinstance(value, bytes):
            listed = field(1, field(1, value))
        elif isinstance(value, float):
            listed = field(2, field(1, struct.pack("<f", value)))
        else:
            listed = field(3, field(1, b"".join(map(varint, value if isinstance(value, list) else [value]))))
        entries += field(1, field(1, key.encode()) + field(2, listed))
    return field(1, entries)


def write(path: Path, *records: Record) -> Path:
    return write_file(path, framed(*map(example, records)))


refusal = error_of(open_source)


def row(number: int, **values: Any) -> dict[str, Any]:
    return {"image": photo(number), **{key: value(number) for key, value in values.items()}}


READ: dict[str, Callable[[int], Record]] = {
    "Images: key image; labels: key class.": lambda n: {
        **row(n, id=lambda n: b"%d" % n),
        "class": n % 3,
    },
    "Images: key image; labels: key target.": lambda n: row(
        n, image_name=lambda n: b"%d.jpg" % n, target=lambda n: n % 3
    ),
    "Images: key pic; labels: key kind.": lambda n: {"pic": photo(n), "kind": n % 3, "width": 20 + n},
    "Images: key image/encoded; labels: key image/class/index.": lambda n: {
        "image/encoded": photo(n),
        "image/format": b"jpeg",
        "image/class/index": n % 3,
    },
}


@pytest.mark.parametrize("note", READ)
def test_one_image_and_one_label_are_recognised_by_their_values(tmp_path: Path, note: str) -> None:
    dataset = open_source(write(tmp_path / "train.tfrecord", *map(READ[note], range(6))))
    rows = dataset.splits["train"]
    assert {rows.read(row): int(rows.labels[row]) for row in range(6)} == {photo(n): n % 3 for n in range(6)}
    assert note in dataset.notes


def test_a_label_that_is_text_names_the_class(tmp_path: Path) -> None:
    records = [row(number, label=lambda n: (b"owl", b"cat")[n % 2]) for number in range(4)]
    dataset = open_source(write(tmp_path / "train.tfrecord", *records))
    assert (dataset.classes.ids, dataset.splits["train"].labels.tolist()) == (("cat", "owl"), [0, 0, 1, 1])


@pytest.mark.parametrize("depth", [{"depth": 3}, {"channels": 3}, {}])
def test_raw_pixels_with_their_size_next_to_them_are_read(tmp_path: Path, depth: dict[str, int]) -> None:
    pixels = {number: array(part(20, 16, number)) for number in range(4)}
    records = [
        {"image_raw": image.tobytes(), "height": 16, "width": 20, "label": number % 2, **depth}
        for number, image in pixels.items()
    ]
    rows = open_source(write(tmp_path / "train.tfrecord", *records)).splits["train"]
    for number, image in pixels.items():
        assert (decode_as(rows, number, rows.read(number), 3)[0] == image).all()
    assert rows.labels.tolist() == [0, 1, 0, 1]


def test_raw_pixels_of_another_size_are_an_error_with_their_record(tmp_path: Path) -> None:
    good = {"image_raw": bytes(12), "height": 2, "width": 2, "depth": 3, "label": 1}
    path = write(tmp_path / "train.tfrecord", *[good] * 70, {**good, "height": 3})
    start = 70 * (path.stat().st_size // 71)
    assert refusal(path) == (
        f"{path}: record 70 (counted from 0, at byte {start:,}): height, width, depth are [3, 2, 3], which is not the "
        "size of an image of 12 bytes."
    )


def test_ambiguous_keys_are_refused_with_a_list_and_the_keys_option_decides(tmp_path: Path) -> None:
    records = [{"left": photo(n), "right": photo(n + 9), "a": n % 2, "b": n % 3, "c": 0.5} for n in range(6)]
    path = write(tmp_path / "train.tfrecord", *records)
    listed = (
        f"Their keys are: 'a' (int, 0), 'b' (int, 0), 'c' (float, 0.5), 'left' (bytes, JPEG of {len(photo(0)):,} "
        f"bytes), 'right' (bytes, JPEG of {len(photo(9)):,} bytes). Choose with --keys image=KEY,label=KEY."
    )
    found = "it is unclear which key contains the image. By their values, the keys left, right may."
    assert refusal(path) == f"{path}: {found} {listed}"
    found = "it is unclear which key contains the label. By their values, the keys a, b may."
    assert refusal(path, keys="image=left") == f"{path}: {found} {listed}"
    rows = open_source(path, keys="image=right,label=b").splits["train"]
    assert {rows.read(row): int(rows.labels[row]) for row in range(6)} == {photo(n + 9): n % 3 for n in range(6)}
    assert refusal(path, keys="image=up") == f"{path}: no record has the key 'up' for the image. {listed}"
    assert refusal(path, keys="image=a,label=b") == f"{path}: the key 'a' contains no image file or pixels. {listed}"


def test_records_without_an_image_are_refused_with_their_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tfrecord", {"text": b"hello", "ids": [1, 2, 3]})
    assert refusal(path) == (
        f"{path}: it is unclear which key contains the image. By their values, no key does. Their keys are: 'ids' "
        f"(3 x int, 1), "
        "'text' (bytes, b'hello'). Choose with --keys image=KEY,label=KEY."
    )
