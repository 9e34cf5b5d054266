"""The framing of MXNet's record files (RecordIO), and the headers of the images in them, without MXNet.

A file is a sequence of frames: the magic word, a word with the kind (3 bits) and the length (29 bits), that many bytes,
and zeros up to a multiple of 4. A record is one frame, or several if its bytes contained the magic word at a multiple
of 4, which is removed there. An image's record begins with a header that contains its labels. The frames have no
checksums: a damaged length is detected only at the start of the next frame. Scanning takes one small read per record.
Source: include/dmlc/recordio.h and src/recordio.cc of dmlc-core; python/mxnet/recordio.py of MXNet."""

import dataclasses
import os
import struct
from array import array

import numpy as np
import numpy.typing as npt

from tench.data.files.tree import Tree
from tench.errors import TenchError, counted

MAGIC = bytes.fromhex("0a23d7ce")
_FRAME_BYTES = 8  # magic; kind (3 bits) and length (29 bits) of what follows, which is padded to a multiple of 4
HEADER = struct.Struct("<IfQQ")  # of an image: number of labels (0: it is the next field), label, id, its high part
WHOLE, FIRST, MIDDLE, LAST = range(4)

_MAX_RECORD_BYTES = 2**30
"""MXNet writes records of less than 2**29 bytes; early versions wrote less than 2**30."""

_NEW_INDEX = "Recreate it with rec2idx.py, or remove it: it is not needed."


@dataclasses.dataclass
class Records:
    """The records of one file, in its order.

    name: in the tree. where: the file for messages. shard: the file on disk. frame: start of each record in the `.rec`.
    offset, length: the image's bytes in the shard, or in the spool for the records in `parts`, which has (offset in the
    shard, bytes) of each of their parts. label: the first. labels: all, for records with a list of them. paths: of the
    images, if a `.lst` names them. headers: starts of records without an image, which InsightFace has: the first, and
    those of its identities; identities: their first id and the id after the last.
    """

    name: str
    where: str
    shard: str
    frame: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    offset: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    length: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    label: "array[float]" = dataclasses.field(default_factory=lambda: array("f"))
    image_id: "array[int]" = dataclasses.field(default_factory=lambda: array("Q"))
    labels: dict[int, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    headers: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    identities: tuple[float, float] | None = None
    parts: dict[int, list[tuple[int, int]]] = dataclasses.field(default_factory=dict)
    paths: list[str] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def first_labels(self) -> npt.NDArray[np.float32]:
        """The first label of each record, float32."""
        return np.array(self.label, np.float32)

    def record(self, row: int) -> str:
        """The location of a record, for an error message."""
        return f"{self.where}: the record at byte {self.frame[row]:,} (id {self.image_id[row]})"


def scan(tree: Tree, name: str) -> Records:
    """All records of a file, by their frames and headers. Raises TenchError, with the byte, if it is damaged."""
    at = tree.index(name)
    start = int(tree.offset[at])
    records = Records(name, tree.place(name), tree.shards[int(tree.shard[at])])
    with tree.open(name) as file:
        through = walk(tree, name, file.fileno())
        enough = 64  # bytes that cover the headers, judging by the previous record
        while through.position < through.size:
            frame = through.position
            kind, num_bytes, head = through.step(enough)
            payload, parts = head[_FRAME_BYTES:], None
            if kind != WHOLE:
                parts = through.parts(kind, frame, num_bytes)
                payload = through.joined(parts)
                num_bytes = len(payload)
            if num_bytes < HEADER.size:
                raise through.error(
                    f"the record at byte {frame:,} contains {num_bytes} bytes, less than the {HEADER.size} of an "
                    "image's header: it is damaged, or the records are not images."
                )
            num_labels, label, image_id, _ = HEADER.unpack_from(payload)
            begin = HEADER.size + 4 * num_labels
            if begin == num_bytes and _is_header(records, payload, num_labels, image_id):
                records.headers.append(frame)
                continue
            if begin >= num_bytes:
                what = "has no image" if begin == num_bytes else f"claims {counted(num_labels, 'label')}"
                raise through.error(f"the record at byte {frame:,} (id {image_id}), of {num_bytes:,} bytes, {what}.")
            if num_labels:
                if len(payload) < begin:  # never true for a joined record, which is already complete
                    payload = through.bytes_at(frame + _FRAME_BYTES, begin)
                labels = struct.unpack_from(f"<{num_labels}f", payload, HEADER.size)
                records.labels[len(records)] = labels
                label = labels[0]
                enough = max(64, _FRAME_BYTES + begin)
            if parts is not None:
                records.parts[len(records)] = parts
            records.frame.append(frame)
            records.offset.append(start + frame + _FRAME_BYTES + begin)
            records.length.append(num_bytes - begin)
            records.label.append(label)
            records.image_id.append(image_id)
    return records


def _is_header(records: Records, payload: bytes, num_labels: int, image_id: int) -> bool:
    """Whether a record without an image is InsightFace's: the first has the range of ids of the identities' records,
    and each of those has two numbers, for its first and its last image.
    """
    if num_labels != 2 or len(payload) < HEADER.size + 8:
        return False
    if not records.frame and not records.headers:
        records.identities = struct.unpack_from("<2f", payload, HEADER.size)
        return True
    return records.identities is not None and image_id >= records.identities[0]


class Walk:
    """Steps from frame to frame through a record file. position: of the next frame, from the file's start."""

    def __init__(self, descriptor: int, start: int, size: int, where: str) -> None:
        """start, size: the range of the open file that is the record file."""
        self.position, self.size = 0, size
        self._descriptor, self._start, self._where = descriptor, start, where
        self._before = -1
        if not size:
            raise self.error("the file is empty.")
        if size % 4:
            raise self.error(
                f"the file has {size:,} bytes, but a record file's size is a multiple of 4. It was truncated, or "
                f"something "
                "was added to it."
            )

    def error(self, what: str) -> TenchError:
        """An error of this file. what: a sentence that follows its name."""
        return TenchError(f"{self._where}: {what} Copy or download it again, or recreate it with im2rec.py.")

    def bytes_at(self, position: int, count: int) -> bytes:
        """`count` bytes from a position of the file. Raises TenchError if the file has become shorter."""
        data = os.pread(self._descriptor, count, self._start + position)
        while len(data) < count:  # a network file system may return fewer bytes
            more = os.pread(self._descriptor, count - len(data), self._start + position + len(data))
            if not more:
                raise self.error(f"the file became shorter while it was being read, at byte {position:,}.")
            data += more
        return data

    def step(self, enough: int) -> tuple[int, int, bytes]:
        """(kind, bytes, the first `enough` bytes including the frame) of the next frame; moves past it."""
        position, left = self.position, self.size - self.position
        head = self.bytes_at(position, min(enough, left))
        if head[:4] != MAGIC:
            before = f"the length of the record before it, at byte {self._before:,}, is wrong, or it is damaged here"
            raise self.error(
                f"byte {position:,} should begin a record with {MAGIC.hex()}, but has {head[:4].hex()}: "
                f"{before if self._before >= 0 else 'this is not a record file, or it is damaged'}."
            )
        if left < _FRAME_BYTES:
            raise self.error(f"the file ends within the record that begins at byte {position:,}. It was truncated.")
        word = int.from_bytes(head[4:8], "little")
        kind, num_bytes = word >> 29, word & (1 << 29) - 1
        following = position + _FRAME_BYTES + (num_bytes + 3) // 4 * 4
        if kind > LAST:
            raise self.error(f"the record at byte {position:,} is of kind {kind}, which does not exist.")
        if following > self.size:
            raise self.error(
                f"the record at byte {position:,} claims {num_bytes:,} bytes, but the file ends "
                f"{left - _FRAME_BYTES:,} bytes later. It was truncated, or the length is wrong."
            )
        self._before, self.position = position, following
        return kind, num_bytes, head

    def parts(self, kind: int, frame: int, num_bytes: int) -> list[tuple[int, int]]:
        """(position, bytes) of all parts of the record whose first frame has just been passed."""
        if kind != FIRST:
            raise self.error(
                f"byte {frame:,} continues a record of several parts, but no record has begun. A piece is missing."
            )
        parts, total = [(frame + _FRAME_BYTES, num_bytes)], num_bytes
        while kind != LAST:
            position = self.position
            kind, num_bytes, _ = self.step(_FRAME_BYTES) if position < self.size else (WHOLE, 0, b"")
            if kind not in (MIDDLE, LAST):
                raise self.error(
                    f"the record of several parts that begins at byte {frame:,} should continue at byte {position:,}, "
                    "but does not. A piece is missing."
                )
            total += len(MAGIC) + num_bytes
            if total > _MAX_RECORD_BYTES:
                raise self.error(
                    f"the record of several parts that begins at byte {frame:,} has {total:,} bytes so far, more than "
                    "any can have."
                )
            parts.append((position + _FRAME_BYTES, num_bytes))
        return parts

    def joined(self, parts: list[tuple[int, int]]) -> bytes:
        """The bytes of a record in several parts, with the magic words between them restored."""
        return MAGIC.join(self.bytes_at(position, num_bytes) for position, num_bytes in parts)


def walk(tree: Tree, name: str, descriptor: int) -> Walk:
    """A reader of the frames of a record file of the tree. descriptor: the open file that contains it; it stays
    open."""
    at = tree.index(name)
    return Walk(descriptor, int(tree.offset[at]), int(tree.length[at]), tree.place(name))


def compare_index(records: Records, text: str, where: str) -> list[str]:
    """Notes on an `.idx` that lacks some records. Raises TenchError if it belongs to another file."""
    numbers, offsets = array("q"), array("q")
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not fields[1].isdecimal() or len(fields[1]) > 18:
            raise TenchError(
                f"{where}, line {number} must be a key and an offset separated by a TAB, got "
                f"{line[:80]!r}. {_NEW_INDEX}"
            )
        numbers.append(number)
        offsets.append(int(fields[1]))
    found = np.array(offsets, np.int64)
    frames = np.array([*records.frame, *records.headers], np.int64)
    wrong = np.flatnonzero(~np.isin(found, frames))
    if len(wrong):
        row = int(wrong[0])
        raise TenchError(
            f"{where}, line {numbers[row]}: no record of {records.where} begins at byte {offsets[row]:,}; "
            f"{len(wrong):,} of the {len(found):,} lines are affected. The index belongs to another file, or records "
            f"at the end are missing: compare the file's size with the original's. {_NEW_INDEX}"
        )
    unlisted = len(frames) - len(np.unique(found))
    return [f"{where} does not list {unlisted:,} of the {len(frames):,} records; all were read."] if unlisted else []
