import struct
from pathlib import Path

import pytest
from tests.data.mxnet_frames import FRAMES, MAGIC

from tench.data.prepare.writers import Content, ImageRecord
from tench.data.prepare.writers import recordio as module
from tench.data.prepare.writers.recordio import RecordIO, frames, lst_line
from tench.data.table import Classes
from tench.errors import TenchError


@pytest.mark.parametrize(("payload", "expected"), FRAMES)
def test_frames_match_mxnet(payload: bytes, expected: str) -> None:
    assert b"".join(frames(payload)) == bytes.fromhex(expected)


def content_of(labels: list[int], **more: object) -> Content:
    names = [f"cat/{row}.jpg" for row in range(len(labels))]
    return Content(Classes.of(["cat", "dog"]), {"train": names}, {"train": labels}, shards={"train": 1}, **more)  # type: ignore[arg-type]


def test_a_record_begins_with_label_and_row() -> None:
    record = b"".join(RecordIO(content_of([0, 1])).frame(ImageRecord("train", 1, b"jpeg!")))
    length = 24 + 5
    assert record == MAGIC + struct.pack("<I", length) + struct.pack("<IfQQ", 0, 1.0, 1, 0) + b"jpeg!" + bytes(3)


def test_several_labels_precede_the_image() -> None:
    content = content_of([1], several={"train": [[1.0, 0.5, 2.0]]})
    record = b"".join(RecordIO(content).frame(ImageRecord("train", 0, b"jpeg")))
    assert record[8:] == struct.pack("<IfQQ", 3, 0.0, 0, 0) + struct.pack("<3f", 1, 0.5, 2) + b"jpeg"
    assert lst_line(content, "train", 0) == "0\t1.000000\t0.500000\t2.000000\tcat/0.jpg\n"


def test_an_image_is_split_at_each_aligned_magic_word() -> None:
    writer = RecordIO(content_of([1]))
    data = b"0123" + MAGIC + b"45" + MAGIC + b"67"
    record = b"".join(writer.frame(ImageRecord("train", 0, data)))
    assert record == b"".join(frames(struct.pack("<IfQQ", 0, 1.0, 0, 0) + data))
    assert record.count(MAGIC) == 3  # two frames, and the unaligned magic word


def test_a_record_too_large_for_mxnet_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_RECORD_BYTES", 100)
    with pytest.raises(TenchError) as error:
        RecordIO(content_of([1])).frame(ImageRecord("train", 0, bytes(77)))
    assert str(error.value) == (
        "cat/0.jpg has 77 bytes, but an MXNet record can have at most 100. Store it smaller (--max-side), or "
        "choose another layout."
    )
    RecordIO(content_of([1])).frame(ImageRecord("train", 0, bytes(76)))


def test_index_and_list_are_made_from_the_file(tmp_path: Path) -> None:
    writer = RecordIO(content_of([0, 1, 1]))
    order = [2, 0, 1]
    offsets, data = [], b""
    for row in order:
        offsets.append(len(data))
        data += b"".join(writer.frame(ImageRecord("train", row, b"x" * (row + 1))))
    (tmp_path / "train.rec").write_bytes(data)
    found = writer.index_of(tmp_path, "train.rec", "train")
    assert found["train.idx"] == "".join(f"{row}\t{offset}\n" for row, offset in zip(order, offsets, strict=True))
    assert found["train.lst"] == "2\t1.000000\tcat/2.jpg\n0\t0.000000\tcat/0.jpg\n1\t1.000000\tcat/1.jpg\n"


def test_one_file_is_named_after_its_split_and_several_are_numbered() -> None:
    assert RecordIO(content_of([])).file_name("train", 0) == "train.rec"
    several = Content(Classes.of(["a"]), {"val": []}, {"val": []}, shards={"val": 4})
    assert RecordIO(several).file_name("val", 3) == "val-00003-of-00004.rec"
