"""MXNet's record files: `train.rec` with `train.idx` and `train.lst`, as im2rec.py leaves them.

An image's id is its row in key order, whatever the order of the records. An image with several labels keeps all of
them. If its bytes contain the word that begins a record, at a multiple of 4, the record is split there into parts.
Source: src/recordio.cc of dmlc-core; python/mxnet/recordio.py and tools/im2rec.py of MXNet.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tench.data.files.tree import open_tree
from tench.data.formats.class_files import text_of
from tench.data.formats.rec import FIRST, HEADER, LAST, MAGIC, MIDDLE, WHOLE, scan
from tench.data.prepare.writers import Content, ImageRecord
from tench.errors import TenchError

_FRAME = struct.Struct("<4sI")
_MAX_RECORD_BYTES = 2**29 - 1
_MAGIC_WORD = int.from_bytes(MAGIC, "little")


class RecordIO:
    """One file per split, or several; `.idx` and `.lst` are made from the finished file."""

    needs_info = False
    end = b""

    def __init__(self, content: Content) -> None:
        self._content = content

    def file_name(self, split: str, number: int) -> str:
        count = self._content.shards[split]
        return f"{split}.rec" if count == 1 else f"{split}-{number:05}-of-{count:05}.rec"

    def frame(self, record: ImageRecord) -> Sequence[bytes]:
        content, split, row = self._content, record.split, record.row
        if split in content.several:
            labels = content.several[split][row]
            head = HEADER.pack(len(labels), 0, row, 0) + struct.pack(f"<{len(labels)}f", *labels)
        else:
            head = HEADER.pack(0, content.labels[split][row], row, 0)
        size = len(head) + len(record.data)
        if size > _MAX_RECORD_BYTES:
            raise TenchError(
                f"{content.names[split][row]} has {len(record.data):,} bytes, but an MXNet record can have at most "
                f"{_MAX_RECORD_BYTES:,}. Store it smaller (--max-side), or choose another layout."
            )
        # The word matters only at multiples of 4, and the head ends at one. `in` takes at least ten times as long.
        words = np.frombuffer(record.data, "<u4", len(record.data) // 4)
        if MAGIC in head or (words == _MAGIC_WORD).any():
            return frames(head + record.data)
        return _FRAME.pack(MAGIC, size), head, record.data, bytes(-size % 4)

    def files_beside(self) -> Mapping[str, str]:
        return text_of(self._content.classes)

    def index_of(self, dest: Path, file: str, split: str) -> Mapping[str, str]:
        """The `.idx` and the `.lst` of a file, by name, made from the records in it."""
        stem = file.removesuffix(".rec")
        records = scan(open_tree(dest / file, dest), file)
        rows = records.image_id.tolist()
        index = "".join(f"{row}\t{frame}\n" for row, frame in zip(rows, records.frame, strict=True))
        return {f"{stem}.idx": index, f"{stem}.lst": "".join(lst_line(self._content, split, row) for row in rows)}


def lst_line(content: Content, split: str, row: int, folder: str = "") -> str:
    """An image's line in a `.lst`, as im2rec.py writes it: id, labels, path."""
    labels = content.several[split][row] if split in content.several else (content.labels[split][row],)
    return f"{row}\t" + "".join(f"{label:f}\t" for label in labels) + f"{folder}{content.names[split][row]}\n"


def frames(payload: bytes) -> list[bytes]:
    """The frames of a record: it is split at each magic word at a multiple of 4, and the word itself is dropped."""
    cuts = []
    at = payload.find(MAGIC)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
        at = payload.find(MAGIC, at + (4 if at % 4 == 0 else 1))
    parts = []
    for number, (start, stop) in enumerate(zip([0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)], strict=True)):
        kind = WHOLE if not cuts else FIRST if number == 0 else LAST if number == len(cuts) else MIDDLE
        parts += [_FRAME.pack(MAGIC, kind << 29 | stop - start), payload[start:stop], bytes((start - stop) % 4)]
    return parts
