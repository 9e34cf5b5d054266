"""Images inside Parquet files, as Hugging Face gives out ImageNet-1k: a column of images and one of labels.

An image is a struct {bytes, path} or plain binary. A label is a number, whose name the schema's metadata may tell, or a
name; -1 and null are none. Splits are told by a word in the files' names (train-00000-of-00294.parquet) or in their
folders'. Where every labelled image has its WordNet id once more at the end of its path (as in
n01440764_10026_n01440764.JPEG), these ids are the classes, and the key is the name without it. Where paths are missing
or not unique, keys are numbers in the order of files and rows. How the bytes are reached: `formats.parquet_images`.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tench.data.files.tree import Tree
from tench.data.formats.numbering import MAX_CLASSES
from tench.data.formats.parquet_images import NO_LABEL, ImageFile, find_images, image_column, open_file
from tench.data.formats.tables import is_parquet_list
from tench.data.formats.wordnet import WNID, imagenet, names_of
from tench.data.keys import keys_of
from tench.data.layouts.folder import SPLITS
from tench.data.table import Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError

NAME = "parquet"
OPTIONS = frozenset[str]()

_MAGIC = b"PAR1"


def recognise(tree: Tree) -> bool:
    from pyarrow import parquet

    for name in _names(tree)[:1]:
        try:
            with tree.open(name) as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    return _is_single(tree) and name.endswith(".parquet")
                schema = parquet.read_schema(file)
                return image_column(schema) is not None or (_is_single(tree) and not is_parquet_list(file))
        except (pa.ArrowException, OSError):
            return True  # it begins as Parquet, and `read` says what is wrong with it
    return False


def read(tree: Tree) -> Contents:
    """The table of Parquet files. Raises TenchError for one that is damaged, and for images or labels that are not."""
    by_split, notes = _by_split([open_file(tree, name) for name in _names(tree)])
    files = [file for members in by_split.values() for file in members]
    for split, members in by_split.items():
        _check_labels(split, members)
    naming = _by_text(by_split) if files[0].text else _by_number(files)
    if len(naming.classes) < 2:
        found = ", ".join(naming.classes.ids) or "none"
        raise TenchError(f"{files[0].where}: two classes are needed at least, and its images are of these: {found}.")
    find_images(tree, files)
    splits = {split: _rows(split, members, naming, notes) for split, members in by_split.items()}
    return Contents(naming.classes, splits, stamp=list(tree.stamp), notes=[*naming.notes, *notes])


@dataclasses.dataclass(frozen=True)
class _Naming:
    """The classes, the index of each label, and whether the paths end in WordNet ids."""

    classes: Classes
    index: Mapping[Any, int]
    appended: bool = False
    notes: tuple[str, ...] = ()


def _is_single(tree: Tree) -> bool:
    return len(tree) == 1 and tree.root / tree.names[0] == tree.source


def _names(tree: Tree) -> list[str]:
    return list(tree.names) if _is_single(tree) else [name for name in tree.names if name.endswith(".parquet")]


def _by_split(files: list[ImageFile]) -> tuple[dict[str, list[ImageFile]], list[str]]:
    told: dict[str | None, list[ImageFile]] = {}
    for file in files:
        if (file.image, file.label, file.text) != (files[0].image, files[0].label, files[0].text):
            raise TenchError(
                f"{file.where}: has its images in column {file.image!r} and its labels in {file.label!r}, but "
                f"{files[0].where} in {files[0].image!r} and {files[0].label!r}, or of another type. Give each set by "
                "itself."
            )
        if file.class_names != files[0].class_names:
            raise TenchError(
                f"{file.where}: its metadata name other classes than those of {files[0].where}. Give each by itself."
            )
        told.setdefault(_split_of(file.name), []).append(file)
    unknown = told.pop(None, [])
    if unknown and told:
        raise TenchError(
            f"{unknown[0].where}: its name says no split (train, validation or test), but other names do. Rename it, "
            "move it away, or give one file by itself."
        )
    if unknown:
        return {"train": unknown}, ["The files' names say no split: they are train."]
    return {split: told[split] for split in dict.fromkeys(SPLITS.values()) if split in told}, []


def _split_of(name: str) -> str | None:
    """By the last word of a path that names a split."""
    return next((SPLITS[word] for word in reversed(re.findall("[a-z]+", name.lower())) if word in SPLITS), None)


def _check_labels(split: str, files: Sequence[ImageFile]) -> None:
    if not any(map(len, files)):
        raise TenchError(f"{files[0].where}: the {len(files)} files of the split {split!r} hold no images.")
    for file in files:
        names, none = file.class_names, "" if file.text else NO_LABEL
        most = MAX_CLASSES if names is None else len(names)
        for row, label in enumerate(file.labels):
            if label == none and split != "test":
                raise TenchError(
                    f"{file.row(row)}: has no label; only images of the split test may lack one. Correct the file, or "
                    "take the row out."
                )
            if not file.text and not NO_LABEL <= label < most:
                found = "too large for a class" if names is None else f"there are names for {most} classes"
                raise TenchError(
                    f"{file.row(row)}: the label {label} is out of range: {found if label > 0 else 'it is negative'}. "
                    "Correct the file."
                )


def _by_text(by_split: Mapping[str, Sequence[ImageFile]]) -> _Naming:
    """Classes by name, sorted: those of train, or else of the first split."""
    first, *others = by_split.values()
    ids = sorted({label for file in first for label in file.labels} - {""})
    index = {name: number for number, name in enumerate(ids)} | {"": NO_LABEL}
    for file in itertools.chain(*others):
        if unknown := set(file.labels) - index.keys():
            row = next(row for row, label in enumerate(file.labels) if label in unknown)
            raise TenchError(
                f"{file.row(row)}: {file.labels[row]!r} is none of the {len(ids)} classes of {first[0].where}. Both "
                "must have the same classes."
            )
    return _Naming(Classes.of(ids, names_of(ids)), index)


def _by_number(files: Sequence[ImageFile]) -> _Naming:
    """Classes by the WordNet ids in the paths, else by the names in the metadata, else only numbers."""
    names = files[0].class_names
    numbers = sorted(set[int]().union(*(file.labels for file in files)) - {NO_LABEL})
    if not numbers and names is None:
        raise TenchError(f"{files[0].where}: its images have no labels, and no other file was given that has them.")
    count = numbers[-1] + 1 if names is None else len(names)
    if wnids := _wnids(files):
        ids = [wnids[number] for number in numbers]
        of_imagenet = all(imagenet()[number : number + 1] == (wnids[number],) for number in numbers)
        if len(ids) < count and of_imagenet and (names is None or count == len(imagenet())):
            ids = list(imagenet())
        notes = []
        if len(ids) < count:
            notes.append(f"{count - len(ids)} of the {count} classes have no images here: they are left out.")
        index = {number: ids.index(wnids[number]) for number in numbers} | {NO_LABEL: NO_LABEL}
        return _Naming(Classes.of(ids, names_of(ids)), index, appended=True, notes=tuple(notes))
    index = {number: number for number in (NO_LABEL, *numbers)}
    if names is None:
        note = "Nothing names the classes of the files: they are numbers only."
        return _Naming(Classes.numbered_to(count), index, notes=(note,))
    if len(set(names)) == count:
        return _Naming(Classes.of(names, names_of(names)), index)
    # Such as ImageNet's two cranes: then the names are for people, and no ids.
    return _Naming(Classes(tuple(map(str, range(count))), names, numbered=True), index)


def _wnids(files: Sequence[ImageFile]) -> dict[int, str] | None:
    """The WordNet id of each label, if all labelled images end in one. Raises TenchError where they contradict."""
    first: dict[int, tuple[str, str]] = {}  # by label: the id, and the row that tells it
    label_of: dict[str, int] = {}
    for file in files:
        names = file.class_names if all(map(WNID.fullmatch, file.class_names or ())) else None
        for row, (label, path) in enumerate(zip(file.labels, file.paths, strict=True)):
            if label == NO_LABEL:
                continue
            wnid = _split_path(path)[1]
            if not wnid:
                return None
            if label not in first:
                first[label] = wnid, file.row(row)
                if names and names[label] != wnid:
                    raise TenchError(
                        f"{file.row(row)}: the path {path} says class {wnid}, but by the file's metadata the label "
                        f"{label} is {names[label]}. Do not use this file before it is known which is right."
                    )
            other, where = first[label]
            if other != wnid or label_of.setdefault(wnid, label) != label:
                more = f"{other} in {where}" if other != wnid else f"that class has {label_of[wnid]}"
                raise TenchError(
                    f"{file.row(row)}: the path {path} says class {wnid} with the label {label}, but {more}. Do not "
                    "use this file before it is known which is right, the labels or the paths."
                )
    return {label: wnid for label, (wnid, _) in first.items()}


def _split_path(path: str | None) -> tuple[str, str]:
    """A path without the WordNet id that Hugging Face appended, and this id; "" where there is none."""
    stem, suffix = os.path.splitext(path or "")
    before, _, last = stem.rpartition("_")
    return (before + suffix, last) if before and WNID.fullmatch(last) else (path or "", "")


def _rows(split: str, files: Sequence[ImageFile], naming: _Naming, notes: list[str]) -> Rows:
    labels = [naming.index[label] for file in files for label in file.labels]
    paths = [_split_path(path)[0] if naming.appended else path or "" for file in files for path in file.paths]
    ids = naming.classes.ids
    nameless = naming.classes.numbered
    keys = keys_of(paths, [None if nameless or label == NO_LABEL else ids[label] for label in labels])
    if "" in paths or len(set(keys)) < len(keys):
        keys = numbered_keys(len(paths))
        notes.append(f"The paths of {split} do not tell its images apart: their keys are numbers, by file and row.")
    shards = list(dict.fromkeys(file.shard for file in files))
    return Rows(
        shards=shards,
        shard=np.repeat(np.array([shards.index(file.shard) for file in files], np.int32), list(map(len, files))),
        offset=np.concatenate([np.frombuffer(file.offset, np.int64) for file in files]),
        length=np.concatenate([np.frombuffer(file.length, np.int64) for file in files]),
        label=np.array(labels, np.int32),
        key=keys,
    )
