"""MXNet's record files: one or several `.rec`, with or without their `.idx` and `.lst`.

A word in the name of a file or its folder determines the split (`tench.data.splits`). The labels are in the headers of
the records, which are read one by one, so the `.idx` is not needed; it is only compared with the records. The paths in
a `.lst` become the images' keys; without one, the records' ids do. A file of class names next to the records is used if
it matches. MXNet writes a record in several parts if an image happens to contain the bytes that begin a record. Such a
record cannot be addressed in place and is copied to the cache. `tench.data.formats.rec` reads the format itself.
Source: python/mxnet/recordio.py and tools/im2rec.py of MXNet.
"""

import logging
import os
from collections.abc import Sequence

import numpy as np

from tench.data.files.beside import Beside, files_beside
from tench.data.files.tree import Tree, names_unreadable_files
from tench.data.formats.class_files import agreed, class_files
from tench.data.formats.lst import Lst, read_lst
from tench.data.formats.rec import MAGIC, Records, compare_index, scan, walk
from tench.data.keys import keys_of
from tench.data.splits import group_by_split
from tench.data.table import Classes, Contents, IntArray, Rows, numbered_keys
from tench.errors import TenchError, counted
from tench.files import complete_file, require_space

NAME = "recordio"
OPTIONS = frozenset({"split_from"})

_NUM_EXACT = 2**24
"""A label is a float32, which represents every whole number only up to this one."""
_NUM_PLAUSIBLE = 10**6
"""More classes than this are accepted only with at least as many images: a flipped bit can turn a label into
millions."""
_LABEL_TOLERANCE = 1e-6
"""Lists store labels with six decimals."""

_log = logging.getLogger("tench")


def recognise(tree: Tree) -> bool:
    names = _record_files(tree)
    return (bool(names) and list(tree.names) == names) or any(_begins_with_a_record(tree, name) for name in names)


@names_unreadable_files
def read(tree: Tree) -> Contents:
    """The table of record files. Raises TenchError for a damaged file, and for labels that are not classes."""
    names = _record_files(tree)
    if not names:
        raise TenchError(f"{tree.source} contains no record files (.rec).")
    by_split, notes = group_by_split(
        names, str(tree.source), "record files", split_from=tree.options.split_from, root=tree.root.name
    )
    used = set(names)
    files = {}
    for name in names:
        files[name] = records = scan(tree, name)
        stem = os.path.splitext(os.path.basename(name))[0]
        if index := _beside(tree, name, f"{stem}.idx", used):
            notes += compare_index(records, index.text, index.where)
        if listed := _beside(tree, name, f"{stem}.lst", used):
            notes += _match_list(records, read_lst(listed.text, listed.where), listed.where)
        if records.headers:
            notes.append(
                f"Skipped {counted(len(records.headers), 'record')} of {name}: InsightFace headers without an image."
            )
        if not len(records):
            raise TenchError(f"{records.where}: all {len(records.headers):,} records are headers without an image.")
    num_records = sum(map(len, files.values()))
    for records in files.values():
        _check_labels(records, num_records)
    classes = _classes(tree, files, used, notes)
    spooled = _spool(tree, list(files.values()))
    splits = {}
    for split, members in by_split.items():
        splits[split] = _rows(split, [files[name] for name in members], classes, spooled, notes)
    if others := [name for name in tree.names if name not in used]:
        notes.append(f"Left out {counted(len(others), 'file')} without a matching .rec, such as {others[0]}.")
    return Contents(classes, splits, stamp=list(tree.stamp), notes=notes)


def _record_files(tree: Tree) -> list[str]:
    """The record files, recognised by their suffix; a single file is also recognised by its first bytes."""
    if len(tree) == 1 and _begins_with_a_record(tree, tree.names[0]):
        return list(tree.names)
    return [name for name in tree.others if name.endswith(".rec")]


def _begins_with_a_record(tree: Tree, name: str) -> bool:
    try:
        with tree.open(name) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _beside(tree: Tree, name: str, file: str, used: set[str]) -> Beside | None:
    """A file in the folder of a record file, None if it does not exist. Adds it to `used`."""
    found = files_beside(tree, [name], file, in_root=False)
    used.update(one.name for one in found if one.name)
    return found[0] if found else None


def _match_list(records: Records, listed: Lst, where: str) -> list[str]:
    """Set the paths of the records from their list, and return notes.

    Raises TenchError if the list lacks a record, or has other labels.
    """
    ids = np.array(records.image_id, np.uint64).astype(np.int64)
    lines = np.arange(len(ids)) if np.array_equal(ids, listed.ids) else _lines_of(records, ids, listed, where)
    _compare_labels(records, listed, lines, where)
    records.paths = [listed.paths[line] for line in lines.tolist()]
    missing = np.setdiff1d(np.arange(len(listed)), lines)
    if not len(missing):
        return []
    return [
        f"{len(missing):,} of the {len(listed):,} images of {where} are not in {records.name}, such as "
        f"{listed.paths[missing[0]]}; im2rec.py leaves out images that it cannot read."
    ]


def _lines_of(records: Records, ids: IntArray, listed: Lst, where: str) -> IntArray:
    """The position in the list of each record, by its id."""
    order = np.argsort(listed.ids, kind="stable")
    known = listed.ids[order]
    absent = np.flatnonzero(~np.isin(ids, known))
    if len(absent):
        raise TenchError(
            f"{records.record(int(absent[0]))} has no line in {where}; {len(absent):,} of the {len(ids):,} records are "
            "affected. The list belongs to another file. Replace it with the right one, or move it away."
        )
    for what, values in ((where, known), (records.where, np.sort(ids))):
        twice = values[1:][values[1:] == values[:-1]]
        if len(twice):
            raise TenchError(
                f"{what}: the id {twice[0]} appears more than once, so records and lines of {where} cannot be matched. "
                "Move the list away to name the records by numbers."
            )
    return order[np.searchsorted(known, ids)]


def _compare_labels(records: Records, listed: Lst, lines: IntArray, where: str) -> None:
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
            f"{_text(listed.labels[int(lines[row])])}; {len(wrong):,} of the {len(records):,} records are affected. "
            "The list belongs to another file, or was changed after packing. Pack again, or move the list away."
        )


def _text(labels: Sequence[float]) -> str:
    return ", ".join(f"{label:.8g}" for label in labels[:5]) + (", ..." if len(labels) > 5 else "")


def _check_labels(records: Records, num_records: int) -> None:
    labels = records.first_labels()
    most = min(_NUM_EXACT, max(_NUM_PLAUSIBLE, num_records))
    wrong = np.flatnonzero(~((labels >= -1) & (labels < most) & (labels == np.floor(labels))))
    if len(wrong):
        row = int(wrong[0])
        raise TenchError(
            f"{records.record(row)} has the label {records.label[row]:.8g}; {len(wrong):,} of the {len(records):,} "
            f"records are affected. The label of a class must be a whole number from 0 to {most - 1:,}, or -1 if there "
            "is none. These records are for another task, or they are damaged."
        )


def _classes(tree: Tree, files: dict[str, Records], used: set[str], notes: list[str]) -> Classes:
    """The classes from a file next to the records with as many lines as there are classes; else numbers.

    A file with more lines is used too, because the last classes of a set may have no images here.
    """
    count = max(int(records.first_labels().max()) for records in files.values()) + 1
    if count == 1:
        notes.append("All labels are 0, so there is only one class. im2rec.py writes such labels without --recursive.")

    def texts(file: str) -> dict[str, str]:
        found = files_beside(tree, files, file)
        used.update(one.name for one in found if one.name)
        return {one.where: one.text for one in found}

    listed = class_files(texts)
    same, longer = [file for file in listed if len(file) == count], [file for file in listed if len(file) > count]
    chosen, more = agreed(same or [file for file in longer if file.ids is not None])
    notes += more
    if chosen is not None:
        if chosen.ids is None:
            why = "only words" if chosen.has_unique_names else "the same line more than once"
            notes.append(f"{chosen.where} has {why}, so its lines are class names and the ids are numbers.")
        if len(chosen) > count:
            notes.append(f"{chosen.where} names {len(chosen):,} classes, but the labels go only up to {count - 1}.")
        return chosen.classes
    if not more:
        for file in listed:
            notes.append(
                f"{file.where} does not name the classes: it has {len(file):,} lines, but the labels go up to "
                f"{count - 1}."
            )
    return Classes.numbered_to(count)


def _spool(tree: Tree, files: list[Records]) -> str:
    """Copy the images of all records in several parts into one file, if there are any, and change their offsets."""
    spooled = tree.record_copy(tree.spool / "joined.records", "")
    in_parts = [(records, row) for records in files for row in records.parts]
    if in_parts:
        num_bytes = sum(records.length[row] for records, row in in_parts)
        require_space(spooled, num_bytes, str(tree.source))
        _log.info(
            "%s has %d records in several parts: copying them (%.1f MB) once to %s.",
            *(tree.source, len(in_parts), num_bytes / 1e6, spooled),
        )
        with complete_file(spooled) as part, part.open("wb") as sink:
            for records in files:
                with tree.open(records.name) as file:
                    through = walk(tree, records.name, file.fileno())
                    for row, parts in records.parts.items():
                        records.offset[row] = sink.tell()
                        sink.write(through.joined(parts)[-records.length[row] :])
        tree.stamp[str(spooled)] = None
    return str(spooled)


def _rows(split: str, files: list[Records], classes: Classes, spooled: str, notes: list[str]) -> Rows:
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
            f"{several:,} of the {len(label):,} records of {split} have several labels; the first is the class."
        )
    if unknown := int((label < 0).sum()):
        notes.append(f"{unknown:,} of the {len(label):,} images of {split} have no label.")
    absent = np.setdiff1d(np.arange(len(classes)), label).tolist()
    if len(absent) and unknown < len(label):
        which = ", ".join(classes.ids[number] for number in absent[:5])
        notes.append(f"{split} has no images of {counted(len(absent), 'class')}: {which}.")
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


def _keys(split: str, files: list[Records], label: IntArray, classes: Classes, notes: list[str]) -> list[str]:
    """Paths if all files have lists; else the ids, with enough digits to sort as text; else running numbers."""
    paths = [path for records in files for path in records.paths or ()]
    if len(paths) == len(label):
        ids = [None if classes.numbered or number < 0 else classes.ids[number] for number in label.tolist()]
        return keys_of([_tame(path) for path in paths], ids)
    if paths:
        without = next(records.name for records in files if records.paths is None)
        notes.append(f"There is no .lst next to {without}, so the images of {split} are named by numbers.")
    numbers = np.concatenate([np.array(records.image_id, np.uint64) for records in files])
    if len(np.unique(numbers)) < len(numbers):
        notes.append(f"Records of {split} share ids, so its images are numbered in the order of the records.")
        return numbered_keys(len(numbers))
    digits = max(5, len(str(numbers.max())))
    return [f"{number:0{digits}}" for number in numbers.tolist()]


def _tame(path: str) -> str:
    """A path without parts that lead out of a folder: keys become file names if a dataset is written as files."""
    if not path.startswith(("/", ".")) and "//" not in path and "/." not in path:
        return path
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
