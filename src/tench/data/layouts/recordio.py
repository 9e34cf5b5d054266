"""MXNet's record files: one or several `.rec`, with or without their `.idx` and `.lst`.

The split is told by the last word of a file's path that names one (`data_val_0.rec`); where no file has such a word,
all are train. The headers of all records are read, one small read each, for the labels stand there; so the `.idx` is
not needed and only compared. A `.lst` gives the images' paths, which become their keys; without it the records' ids do.
A file of class names beside the records is used where it fits. What is paid: a record in several parts, as MXNet writes
it where an image happens to contain the bytes that begin a record, cannot be addressed where it is, and is spooled.
Source: include/dmlc/recordio.h and src/recordio.cc of dmlc-core; python/mxnet/recordio.py and tools/im2rec.py of MXNet.
"""

import dataclasses
import logging
import os
import re
import struct
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tench.data.keys import keys_of
from tench.data.layouts.folder import SPLITS
from tench.data.lst import Lst, read_lst
from tench.data.table import Classes, Contents, IntArray, Rows, numbered_keys
from tench.data.tree import Tree, require_space
from tench.data.wordnet import WNID, names_of
from tench.errors import TenchError
from tench.files import complete_file

NAME = "recordio"

CLASS_FILES = ("synset.txt", "synset_words.txt", "classes.txt", "labels.txt")
"""Files beside the records that may name the classes, one on each line, in the order in which they are tried."""

_MAGIC = bytes.fromhex("0a23d7ce")
_FRAME_BYTES = 8  # magic; kind (3 bits) and length (29 bits) of what follows, which is padded to a multiple of 4
_HEADER = struct.Struct("<IfQQ")  # of an image: number of labels (0: it is the next field), label, id, its high part
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)

_MAX_RECORD_BYTES = 2**30
"""MXNet writes records of less than 2**29 bytes, in its first versions of less than 2**30."""
_NUM_EXACT = 2**24
"""A float32, which a label is, holds each whole number only up to here."""
_NUM_PLAUSIBLE = 10**6
"""More classes than this are believed only of a set that has as many images; one flipped bit can make millions."""
_LABEL_TOLERANCE = 1e-6
"""Lists have six decimals."""

_NEW_INDEX = "Make it anew with rec2idx.py, or remove it: it is not needed."

_log = logging.getLogger("tench")


def recognise(tree: Tree) -> bool:
    names = _record_files(tree)
    return (bool(names) and list(tree.names) == names) or any(_begins_with_a_record(tree, name) for name in names)


def read(tree: Tree) -> Contents:
    """The table of record files. Raises TenchError for one that is damaged, and for labels that are no classes."""
    try:
        return _read(tree)
    except OSError as error:
        raise TenchError(f"{error.filename or tree.source}: cannot be read ({error.strerror}).") from error


def _read(tree: Tree) -> Contents:
    names = _record_files(tree)
    if not names:
        raise TenchError(f"{tree.source}: holds no record files (.rec).")
    by_split, notes = _splits(tree, names)
    used = set(names)
    files = {}
    for name in names:
        files[name] = records = _scan(tree, name)
        stem = os.path.splitext(os.path.basename(name))[0]
        if index := _beside(tree, name, f"{stem}.idx", used):
            notes += _compare_index(records, *index)
        if listed := _beside(tree, name, f"{stem}.lst", used):
            notes += _match_list(records, read_lst(*listed), listed[1])
    num_records = sum(map(len, files.values()))
    for records in files.values():
        _check_labels(records, num_records)
    classes = _classes(tree, files, used, notes)
    spooled = _spool(tree, list(files.values()))
    splits = {}
    for split, members in by_split.items():
        splits[split] = _rows(split, [files[name] for name in members], classes, spooled, notes)
    if others := [name for name in tree.names if name not in used]:
        notes.append(f"{len(others):,} files that belong to no .rec were left out, the first is {others[0]}.")
    return Contents(classes, splits, stamp=list(tree.stamp), notes=notes)


@dataclasses.dataclass
class _Records:
    """The records of one file, in its order.

    name: in the tree. where: the file for messages. shard: the file on disk. frame: where each record begins, counted
    from the start of the `.rec`. offset, length: the image's bytes in the shard, or in the spool for the records in
    `parts`, which has (offset in the shard, bytes) of each of their parts. label: the first. labels: all, of the
    records that have a list of them. paths: of the images, where a `.lst` tells them.
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
    parts: dict[int, list[tuple[int, int]]] = dataclasses.field(default_factory=dict)
    paths: list[str] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def first_labels(self) -> npt.NDArray[np.float32]:
        return np.array(self.label, np.float32)

    def record(self, row: int) -> str:
        """A record for an error message."""
        return f"{self.where}: the record at byte {self.frame[row]:,} (id {self.image_id[row]})"


def _record_files(tree: Tree) -> list[str]:
    """The names of record files: by suffix, or of a single file of another name by its first bytes."""
    if len(tree) == 1 and _begins_with_a_record(tree, tree.names[0]):
        return list(tree.names)
    return [name for name in tree.names if name.endswith(".rec")]


def _begins_with_a_record(tree: Tree, name: str) -> bool:
    try:
        with tree.open(name) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _splits(tree: Tree, names: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The files of each split, and what to tell a person about that."""
    told: dict[str | None, list[str]] = {}
    for name in names:
        words = re.findall("[a-z]+", name.lower())
        told.setdefault(next((SPLITS[word] for word in reversed(words) if word in SPLITS), None), []).append(name)
    unknown = told.pop(None, [])
    if unknown and told:
        known = ", ".join(f"{members[0]} ({split})" for split, members in told.items())
        raise TenchError(
            f"{tree.root}: the name of {unknown[0]} does not say whether it is train, val or test, as those of other "
            f"record files do: {known}. Rename it, move it away, or give one file by itself."
        )
    if unknown:
        what = f"{unknown[0]} is" if len(unknown) == 1 else f"all {len(unknown)} record files together are"
        return {"train": unknown}, [f"No split is named: {what} the split train."]
    return {split: told[split] for split in dict.fromkeys(SPLITS.values()) if split in told}, []


def _scan(tree: Tree, name: str) -> _Records:
    """All records of a file, by their frames and headers."""
    at = tree.index(name)
    start = int(tree.offset[at])
    records = _Records(name, tree.place(name), tree.shards[int(tree.shard[at])])
    with tree.open(name) as file:
        walk = _walk(tree, name, file.fileno())
        enough = 64  # bytes that cover the headers, as far as the record before tells
        while walk.position < walk.size:
            frame = walk.position
            kind, num_bytes, head = walk.step(enough)
            payload, parts = head[_FRAME_BYTES:], None
            if kind != _WHOLE:
                parts = walk.parts(kind, frame, num_bytes)
                payload = walk.joined(parts)
                num_bytes = len(payload)
            if num_bytes < _HEADER.size:
                raise walk.error(
                    f"the record at byte {frame:,} holds {num_bytes} bytes, less than the {_HEADER.size} of an image's "
                    "header: it is damaged, or the records are no images."
                )
            num_labels, label, image_id, _ = _HEADER.unpack_from(payload)
            begin = _HEADER.size + 4 * num_labels
            if begin >= num_bytes:
                what = "has no image" if begin == num_bytes else f"claims {num_labels:,} labels"
                raise walk.error(f"the record at byte {frame:,} (id {image_id}) {what}, in its {num_bytes:,} bytes.")
            if num_labels:
                if len(payload) < begin:  # never of a joined record, which is there as a whole
                    payload = walk.bytes_at(frame + _FRAME_BYTES, begin)
                labels = struct.unpack_from(f"<{num_labels}f", payload, _HEADER.size)
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


class _Walk:
    """From frame to frame through one record file. position: of the next, counted from the file's start."""

    def __init__(self, descriptor: int, start: int, size: int, where: str) -> None:
        """start, size: the bytes of the open file that are the record file."""
        self.position, self.size = 0, size
        self._descriptor, self._start, self._where = descriptor, start, where
        self._before = -1
        if not size:
            raise self.error("is empty.")
        if size % 4:
            raise self.error(
                f"has {size:,} bytes, but a record file's size is a multiple of 4. It was cut off, or something was "
                "added to it."
            )

    def error(self, what: str) -> TenchError:
        return TenchError(f"{self._where}: {what} Copy or download it again, or pack it anew with im2rec.py.")

    def bytes_at(self, position: int, count: int) -> bytes:
        data = os.pread(self._descriptor, count, self._start + position)
        while len(data) < count:  # a network file system may give less than it has
            more = os.pread(self._descriptor, count - len(data), self._start + position + len(data))
            if not more:
                raise self.error(f"became shorter while it was read, at byte {position:,}.")
            data += more
        return data

    def step(self, enough: int) -> tuple[int, int, bytes]:
        """(kind, bytes, the first `enough` bytes with the frame itself) of the next frame, and past it."""
        position, left = self.position, self.size - self.position
        head = self.bytes_at(position, min(enough, left))
        if head[:4] != _MAGIC:
            before = f"the length of the record before it, at byte {self._before:,}, is wrong, or it is damaged here"
            raise self.error(
                f"byte {position:,} should begin a record with {_MAGIC.hex()}, but has {head[:4].hex()}: "
                f"{before if self._before >= 0 else 'this is no record file, or it is damaged'}."
            )
        if left < _FRAME_BYTES:
            raise self.error(f"ends within the record that begins at byte {position:,}: it was cut off.")
        word = int.from_bytes(head[4:8], "little")
        kind, num_bytes = word >> 29, word & (1 << 29) - 1
        following = position + _FRAME_BYTES + (num_bytes + 3) // 4 * 4
        if kind > _LAST:
            raise self.error(f"the record at byte {position:,} is of kind {kind}, which does not exist.")
        if following > self.size:
            raise self.error(
                f"the record at byte {position:,} claims {num_bytes:,} bytes, but the file ends "
                f"{left - _FRAME_BYTES:,} bytes later. It was cut off, or the length is wrong."
            )
        self._before, self.position = position, following
        return kind, num_bytes, head

    def parts(self, kind: int, frame: int, num_bytes: int) -> list[tuple[int, int]]:
        """(position, bytes) of all parts of the record whose first frame has just been passed."""
        if kind != _FIRST:
            raise self.error(
                f"byte {frame:,} continues a record of several parts, but none has begun before. A piece is missing."
            )
        parts, total = [(frame + _FRAME_BYTES, num_bytes)], num_bytes
        while kind != _LAST:
            position = self.position
            kind, num_bytes, _ = self.step(_FRAME_BYTES) if position < self.size else (_WHOLE, 0, b"")
            if kind not in (_MIDDLE, _LAST):
                raise self.error(
                    f"the record of several parts that begins at byte {frame:,} should go on at byte {position:,}, but "
                    "does not. A piece is missing."
                )
            total += len(_MAGIC) + num_bytes
            if total > _MAX_RECORD_BYTES:
                raise self.error(
                    f"the record of several parts that begins at byte {frame:,} has {total:,} bytes so far, more than "
                    "any can have."
                )
            parts.append((position + _FRAME_BYTES, num_bytes))
        return parts

    def joined(self, parts: list[tuple[int, int]]) -> bytes:
        """A record of several parts as it was before the magic words in it were taken out."""
        return _MAGIC.join(self.bytes_at(position, num_bytes) for position, num_bytes in parts)


def _walk(tree: Tree, name: str, descriptor: int) -> _Walk:
    at = tree.index(name)
    return _Walk(descriptor, int(tree.offset[at]), int(tree.length[at]), tree.place(name))


def _beside(tree: Tree, name: str, file: str, used: set[str]) -> tuple[str, str] | None:
    """(text, what to call it) of a file in the folder of a record file, None if there is none.

    It is sought on disk too, as the tree of a single file or of a pattern has record files alone. used: the files that
    have a use are added.
    """
    sibling = f"{name.rpartition('/')[0]}/{file}".lstrip("/")
    if sibling in tree:
        used.add(sibling)
        return tree.text(sibling), tree.place(sibling)
    record = tree.path(tree.index(name))
    if record is None or not (path := record.with_name(file)).is_file():
        return None
    tree.stamp[str(path)] = None
    return path.read_text("utf-8-sig", "replace"), str(path)


def _compare_index(records: _Records, text: str, where: str) -> list[str]:
    """Raise TenchError for an index that is not of these records; what to say of one that lacks some."""
    numbers, offsets = array("q"), array("q")
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not fields[1].isdecimal() or len(fields[1]) > 18:
            raise TenchError(
                f"{where}, line {number}: should be a key and an offset with a TAB between them, but is "
                f"{line[:80]!r}. {_NEW_INDEX}"
            )
        numbers.append(number)
        offsets.append(int(fields[1]))
    found = np.array(offsets, np.int64)
    wrong = np.flatnonzero(~np.isin(found, np.array(records.frame, np.int64)))
    if len(wrong):
        row = int(wrong[0])
        raise TenchError(
            f"{where}, line {numbers[row]}: no record of {records.where} begins at byte {offsets[row]:,}; "
            f"{len(wrong):,} of the {len(found):,} lines are like that. The index is of another file, or records at "
            f"the end are missing: compare the file's size with the original's. {_NEW_INDEX}"
        )
    unlisted = len(records) - len(np.unique(found))
    return [f"{where} does not list {unlisted:,} of the {len(records):,} records; all were read."] if unlisted else []


def _match_list(records: _Records, listed: Lst, where: str) -> list[str]:
    """Give the records the paths of their list; what to say about it.

    Raises TenchError where the list lacks a record, or has other labels.
    """
    ids = np.array(records.image_id, np.uint64).astype(np.int64)
    lines = np.arange(len(ids)) if np.array_equal(ids, listed.ids) else _lines_of(records, ids, listed, where)
    _compare_labels(records, listed, lines, where)
    records.paths = [listed.paths[line] for line in lines.tolist()]
    missing = np.setdiff1d(np.arange(len(listed)), lines)
    if not len(missing):
        return []
    return [
        f"{len(missing):,} of the {len(listed):,} images of {where} are not in {records.name}, the first is "
        f"{listed.paths[missing[0]]}; im2rec.py leaves out those that it cannot read."
    ]


def _lines_of(records: _Records, ids: IntArray, listed: Lst, where: str) -> IntArray:
    """The position in the list of each record, by its id."""
    order = np.argsort(listed.ids, kind="stable")
    known = listed.ids[order]
    absent = np.flatnonzero(~np.isin(ids, known))
    if len(absent):
        raise TenchError(
            f"{records.record(int(absent[0]))} has no line in {where}; {len(absent):,} of the {len(ids):,} records are "
            "like that. The list is of another file: put the one it was packed from there, or move this one away."
        )
    for what, values in ((where, known), (records.where, np.sort(ids))):
        twice = values[1:][values[1:] == values[:-1]]
        if len(twice):
            raise TenchError(
                f"{what}: the id {twice[0]} appears more than once, so records and lines of {where} cannot be matched. "
                "Move the list away: the records are then named by numbers."
            )
    return order[np.searchsorted(known, ids)]


def _compare_labels(records: _Records, listed: Lst, lines: IntArray, where: str) -> None:
    theirs = np.array([labels[0] for labels in listed.labels], np.float32)[lines]
    differs = ~(np.abs(theirs - records.first_labels()) <= _LABEL_TOLERANCE)
    for row, labels in records.labels.items():
        line = listed.labels[int(lines[row])]
        same = (abs(a - b) <= _LABEL_TOLERANCE * max(1.0, abs(b)) for a, b in zip(line, labels, strict=False))
        differs[row] |= len(line) < len(labels) or not all(same)
    wrong = np.flatnonzero(differs)
    if len(wrong):
        row = int(wrong[0])
        ours = records.labels.get(row, (records.label[row],))
        raise TenchError(
            f"{records.record(row)} has the label {_text(ours)}, but {where} gives "
            f"{_text(listed.labels[int(lines[row])])}; {len(wrong):,} of the {len(records):,} records are like that. "
            "The list is of another file, or was changed after packing: pack anew, or move the list away."
        )


def _text(labels: Sequence[float]) -> str:
    return ", ".join(f"{label:.8g}" for label in labels[:5]) + (", ..." if len(labels) > 5 else "")


def _check_labels(records: _Records, num_records: int) -> None:
    labels = records.first_labels()
    most = min(_NUM_EXACT, max(_NUM_PLAUSIBLE, num_records))
    wrong = np.flatnonzero(~((labels >= -1) & (labels < most) & (labels == np.floor(labels))))
    if len(wrong):
        row = int(wrong[0])
        raise TenchError(
            f"{records.record(row)} has the label {records.label[row]:.8g}; {len(wrong):,} of the {len(records):,} "
            f"records are like that. A class's label is a whole number from 0 to {most - 1:,}, or -1 where there is "
            "none. These records are for another task, or they are damaged."
        )


def _classes(tree: Tree, files: dict[str, _Records], used: set[str], notes: list[str]) -> Classes:
    """The classes by a file beside the records that has as many lines as there are classes, else numbers.

    A file with more lines is taken too: the last classes of a set may have no images here.
    """
    count = max(int(records.first_labels().max()) for records in files.values()) + 1
    if count == 1:
        notes.append("All labels are 0, as im2rec.py writes them without --recursive: there is only one class.")
    listed: dict[str, tuple[list[str], list[str]]] = {}
    for file in CLASS_FILES:
        for name in files:
            if found := _beside(tree, name, file, used):
                listed.setdefault(found[1], _class_lines(found[0], file))
        if file in tree:
            used.add(file)
            listed.setdefault(tree.place(file), _class_lines(tree.text(file), file))
    for where, (ids, names) in listed.items():
        if len(ids) == count:
            if len(set(ids)) == count:
                return Classes.of(ids, names)
            notes.append(f"{where} has the same line more than once: classes have these names, but numbers as ids.")
            return Classes(Classes.numbered_to(count).ids, tuple(names), numbered=True)
    for where, (ids, names) in listed.items():
        if len(ids) > count and len(set(ids)) == len(ids):
            notes.append(f"{where} names {len(ids):,} classes, but the labels go only up to {count - 1}.")
            return Classes.of(ids, names)
    for where, (ids, _) in listed.items():
        notes.append(
            f"{where} does not name the classes: it has {len(ids):,} lines, but the labels go up to {count - 1}."
        )
    return Classes.numbered_to(count)


def _class_lines(text: str, file: str) -> tuple[list[str], list[str]]:
    """(ids, names for people) of a list of classes: `id`, `id<TAB>names`, or `id names` where ids are no words."""
    lines = [line.strip() for line in text.rstrip().split("\n")]
    first_words = [line.split(" ", 1)[0] for line in lines]
    if any("\t" in line for line in lines):
        separator = "\t"
    elif file.startswith("synset") or all(WNID.fullmatch(word) or word.isdecimal() for word in first_words):
        separator = " "
    else:
        return lines, lines
    pairs = [line.partition(separator) for line in lines]
    ids = [class_id.strip() for class_id, _, _ in pairs]
    return ids, [name.strip() or known for (_, _, name), known in zip(pairs, names_of(ids), strict=True)]


def _spool(tree: Tree, files: list[_Records]) -> str:
    """Write the images of all records in several parts into one file, if there are any; their offsets become its."""
    spooled = tree.spool / "joined.records"
    in_parts = [(records, row) for records in files for row in records.parts]
    if in_parts:
        num_bytes = sum(records.length[row] for records, row in in_parts)
        require_space(spooled, num_bytes, str(tree.source))
        _log.info(
            "%s: %d records are in several parts: copying their %.1f MB once to %s.",
            *(tree.source, len(in_parts), num_bytes / 1e6, spooled),
        )
        with complete_file(spooled) as part, part.open("wb") as sink:
            for records in files:
                with tree.open(records.name) as file:
                    walk = _walk(tree, records.name, file.fileno())
                    for row, parts in records.parts.items():
                        records.offset[row] = sink.tell()
                        sink.write(walk.joined(parts)[-records.length[row] :])
        tree.stamp[str(spooled)] = None
    return str(spooled)


def _rows(split: str, files: list[_Records], classes: Classes, spooled: str, notes: list[str]) -> Rows:
    shards: dict[str, int] = {}
    shard = []
    for records in files:
        numbers = np.full(len(records), shards.setdefault(records.shard, len(shards)), np.int32)
        if records.parts:
            numbers[list(records.parts)] = shards.setdefault(spooled, len(shards))
        shard.append(numbers)
    label = np.concatenate([records.first_labels() for records in files]).astype(np.int32)
    several = sum(len(labels) > 1 for records in files for labels in records.labels.values())
    if several:
        notes.append(
            f"{several:,} of the {len(label):,} records of {split} have several labels: the first is the class."
        )
    if unknown := int((label < 0).sum()):
        notes.append(f"{unknown:,} of the {len(label):,} images of {split} have no label.")
    absent = np.setdiff1d(np.arange(len(classes)), label).tolist()
    if len(absent) and unknown < len(label):
        which = ", ".join(classes.ids[number] for number in absent[:5])
        notes.append(f"{split} has no images of {len(absent):,} classes: {which}.")
    return Rows(
        shards=list(shards),
        shard=np.concatenate(shard),
        offset=np.concatenate([np.array(records.offset, np.int64) for records in files]),
        length=np.concatenate([np.array(records.length, np.int64) for records in files]),
        label=label,
        key=_keys(split, files, label, classes, notes),
        labels=[records.labels.get(row, (records.label[row],)) for records in files for row in range(len(records))]
        if several
        else None,
    )


def _keys(split: str, files: list[_Records], label: IntArray, classes: Classes, notes: list[str]) -> list[str]:
    """Paths where all files have lists; else the ids, so many digits each that they sort; else running numbers."""
    paths = [path for records in files for path in records.paths or ()]
    if len(paths) == len(label):
        ids = [None if classes.numbered or number < 0 else classes.ids[number] for number in label.tolist()]
        return keys_of([_tame(path) for path in paths], ids)
    if paths:
        without = next(records.name for records in files if records.paths is None)
        notes.append(f"There is no .lst beside {without}, so the images of {split} are named by numbers.")
    numbers = np.concatenate([np.array(records.image_id, np.uint64) for records in files])
    if len(np.unique(numbers)) < len(numbers):
        notes.append(f"Records of {split} have the same ids, so its images are numbered in the order of the records.")
        return numbered_keys(len(numbers))
    digits = max(5, len(str(numbers.max())))
    return [f"{number:0{digits}}" for number in numbers.tolist()]


def _tame(path: str) -> str:
    """A path without what leads out of a folder: keys become file names when a dataset is written as files."""
    if not path.startswith(("/", ".")) and "//" not in path and "/." not in path:
        return path
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
