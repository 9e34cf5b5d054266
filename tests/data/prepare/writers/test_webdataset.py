import hashlib
import io
import json
import tarfile

import pytest

from tench.data.prepare.writers import Content, ImageRecord
from tench.data.prepare.writers.webdataset import WebDataset, header
from tench.data.table import Classes

CLASSES = Classes.of(["cat", "dog"])


def packed(content: Content, images: dict[str, bytes], **more: object) -> dict[str, bytes]:
    """The members that tarfile finds in a shard of these images, in order."""
    writer = WebDataset(content)
    parts: list[bytes] = []
    for row, data in enumerate(images.values()):
        parts += writer.frame(ImageRecord("train", row, data, **more))  # type: ignore[arg-type]
    archive = io.BytesIO(b"".join([*parts, writer.end]))
    with tarfile.open(fileobj=archive) as tar:
        members = tar.getmembers()
        assert {(member.mode, member.uid, member.gid, member.mtime) for member in members} == {(0o644, 0, 0, 0)}
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def content_of(names: list[str], labels: list[int], **more: object) -> Content:
    return Content(CLASSES, {"train": names}, {"train": labels}, shards={"train": 3}, **more)  # type: ignore[arg-type]


def test_a_sample_is_an_image_followed_by_its_class() -> None:
    images = {"cat/1.jpg": b"one", "dog/2.JPEG": b"two"}
    assert list(packed(content_of(list(images), [0, 1]), images).items()) == [
        ("cat/1.jpg", b"one"),
        ("cat/1.cls", b"0"),
        ("dog/2.JPEG", b"two"),
        ("dog/2.cls", b"1"),
    ]


def test_an_image_without_a_label_has_no_cls() -> None:
    assert packed(content_of(["1.jpg"], [-1]), {"1.jpg": b"one"}) == {"1.jpg": b"one"}


def test_dots_in_a_name_are_replaced_and_every_json_has_the_whole_name() -> None:
    images = {"cat/a.b.jpg": b"1", "cat/a_b.jpg": b"2", "dog/c.jpg": b"3"}
    found = packed(content_of(list(images), [0, 0, 1]), images)
    assert list(found) == [
        *("cat/a_b.jpg", "cat/a_b.cls", "cat/a_b.json"),
        *("cat/a_b_1.jpg", "cat/a_b_1.cls", "cat/a_b_1.json"),
        *("dog/c.jpg", "dog/c.cls", "dog/c.json"),
    ]
    assert json.loads(found["cat/a_b.json"]) == {"filename": "cat/a.b.jpg", "label": 0}
    assert json.loads(found["cat/a_b_1.json"]) == {"filename": "cat/a_b.jpg", "label": 0}


def test_dots_in_a_folder_name_are_kept() -> None:
    assert list(packed(content_of(["v1.0/cat/1.jpg"], [0]), {"": b"x"})) == ["v1.0/cat/1.jpg", "v1.0/cat/1.cls"]


def test_labels_and_boxes_are_in_the_json() -> None:
    content = content_of(["a.jpg"], [1], several={"train": [[1.0, 0.0]]}, has_boxes=True)
    found = packed(content, {"a.jpg": b"x"}, boxes=[[0.0, 0.25, 0.5, 1.0]])
    assert json.loads(found["a.json"]) == {
        "filename": "a.jpg",
        "label": 1,
        "labels": [1.0, 0.0],
        "boxes": [[0.0, 0.25, 0.5, 1.0]],
    }


def test_shard_names_contain_their_number_and_the_count() -> None:
    assert WebDataset(content_of([], [])).file_name("train", 2) == "train-00002-of-00003.tar"


@pytest.mark.parametrize("name", ["a", "cat/1.jpg", "x" * 99 + "y", "größe/ähre.jpg", "ü" * 50])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1])
def test_a_header_matches_the_one_that_tarfile_writes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    expected = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    parsed = tarfile.TarInfo.frombuf(header(name, size), "utf-8", "surrogateescape")
    assert (parsed.name, parsed.size, parsed.mode, parsed.type) == (name, size, 0o644, tarfile.REGTYPE)
    assert header(name, size)[:148] == expected[:148]


@pytest.mark.parametrize("name", ["x" * 101, "cat/" + "ü" * 60 + ".jpg", "a/" * 120 + "1.jpg"])
def test_a_long_name_is_stored_in_full(name: str) -> None:
    archive = io.BytesIO(header(name, 3) + b"abc".ljust(512, b"\0") + bytes(1024))
    with tarfile.open(fileobj=archive) as tar:
        assert tar.getnames() == [name]


def test_the_file_next_to_the_shards_names_the_classes() -> None:
    classes = Classes.of(["n01440764", "n01443537"], ["tench, Tinca tinca", "goldfish"])
    content = Content(classes, {"train": []}, {"train": []}, shards={"train": 1})
    text = "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\n"
    assert WebDataset(content).files_beside() == {"classes.txt": text}


def test_the_same_images_give_the_same_files() -> None:
    writer = WebDataset(content_of(["cat/1.jpg"], [0]))
    frames = {hashlib.sha256(b"".join(writer.frame(ImageRecord("train", 0, b"data")))).digest() for _ in range(3)}
    assert len(frames) == 1
