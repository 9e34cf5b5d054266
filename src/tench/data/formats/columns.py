"""Columns of images and labels in Parquet and Arrow files, and the dataset made from them.

An image is a struct {bytes, path} or plain binary. A label is a number, which the schema's metadata may name, or a
name; -1 and null mean unlabelled. If every labelled image repeats its WordNet id at the end of its path (as in
n01440764_10026_n01440764.JPEG), these ids are the classes, and the key is the name without it. If paths are missing
or not unique, keys are numbers in the order of files and rows.
Source: features/features.py of Hugging Face's datasets.
"""

import dataclasses
import itertools
import json
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tench.data.files.beside import text_beside
from tench.data.files.tree import Tree
from tench.data.formats.class_files import agreed, class_files
from tench.data.formats.column_names import LABEL_COLUMNS as _LISTED_LABELS
from tench.data.formats.wordnet import WNID, imagenet, names_of
from tench.data.keys import keys_of
from tench.data.limits import LIMITS
from tench.data.options import RecordKeys
from tench.data.splits import group_by_split
from tench.data.table import Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError

NO_LABEL = -1

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "bytes", "pixel_values")
LABEL_COLUMNS = (*_LISTED_LABELS, "fine_label", "cls")
"""The first of these names that a file has is used, in any case."""


@dataclasses.dataclass
class ImageFile:
    """A file: its metadata, its labels and paths by row, and, once located, the byte ranges of its images in `shard`.

    image, label: the names of columns. leaf: the column of bytes itself, "image.bytes" or "image"; number: its
    position. num_bytes: of all images, according to the file. labels: numbers, or names if text is true; NO_LABEL or ""
    for null. class_names: of number labels, from the metadata. offset, length: bytes.
    """

    name: str
    where: str
    image: str
    leaf: str
    number: int
    label: str
    text: bool
    class_names: tuple[str, ...] | None
    compressed: bool
    num_bytes: int
    labels: list[Any]
    paths: list[str | None]
    shard: str = ""
    offset: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    length: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.labels)

    def row(self, row: int) -> str:
        """A row for an error message."""
        return f"{self.where}, row {row} (counted from 0)"


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a file's schema that are used; see ImageFile. has_path: the images have a path too."""

    image: str
    leaf: str
    label: str
    text: bool
    class_names: tuple[str, ...] | None
    has_path: bool


def columns_of(schema: Any, where: str, keys: RecordKeys) -> Columns:
    """The columns of images and labels. Raises TenchError if they are missing, or the named ones do not exist."""
    found = ", ".join(f"{field.name} ({field.type})" for field in schema)
    for what, asked in (("image", keys.image), ("label", keys.label)):
        if asked is not None and asked not in schema.names:
            raise TenchError(f"{where} has no column {asked!r} for the {what}s. Its columns are: {found}.")
    image = keys.image or image_column(schema)
    label = keys.label or _column(schema.names, LABEL_COLUMNS)
    if image is None or not _is_image(schema.field(image).type):
        raise TenchError(
            f"{where} has no column of images (binary, or a struct with binary bytes), or has several and none "
            f"is called image. Its columns are: {found}. Choose one with --keys image=COLUMN."
        )
    if label is None:
        raise TenchError(
            f"{where} has no column of labels ({', '.join(LABEL_COLUMNS)}). Its columns are: {found}. Choose the "
            "right one with --keys label=COLUMN."
        )
    kind = schema.field(label).type
    text = _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)
    if not text and not pa.types.is_integer(kind):
        raise TenchError(
            f"{where}: the labels in column {label!r} are {kind}; expected whole numbers or names. Choose another "
            f"column with --keys label=COLUMN. Its columns are: {found}."
        )
    leaf = f"{image}.bytes" if _child(schema.field(image).type, "bytes") else image
    path = _child(schema.field(image).type, "path")
    has_path = path is not None and _is_text(path)
    return Columns(image, leaf, label, text, _class_names(schema.metadata, label), has_path)


def image_column(schema: Any) -> str | None:
    """The column that contains images: the one with a known name, or the only possible one."""
    able = [field.name for field in schema if _is_image(field.type)]
    return _column(able, IMAGE_COLUMNS) or (able[0] if len(able) == 1 else None)


def contents_of(
    tree: Tree, files: list[ImageFile], find_images: Callable[[Tree, Sequence[ImageFile]], None]
) -> Contents:
    """The dataset of these files. find_images: locates the images in files.

    Raises TenchError if the files do not fit together, or a label is not a class.
    """
    by_split, notes = _by_split(tree, files)
    files = [file for members in by_split.values() for file in members]
    for split, members in by_split.items():
        _check_labels(split, members)
    naming = _by_text(by_split) if files[0].text else _by_number(tree, files)
    if len(naming.classes) < 2:
        found = ", ".join(naming.classes.ids) or "none"
        raise TenchError(f"{files[0].where}: at least two classes are needed, but the images have only these: {found}.")
    find_images(tree, files)
    splits = {split: _rows(split, members, naming, notes) for split, members in by_split.items()}
    told = f"Images: column {files[0].image}; labels: column {files[0].label}."
    return Contents(naming.classes, splits, stamp=list(tree.stamp), notes=[told, *naming.notes, *notes])


@dataclasses.dataclass(frozen=True)
class _Naming:
    """The classes, the index of each label, and whether the paths end in WordNet ids."""

    classes: Classes
    index: Mapping[Any, int]
    appended: bool = False
    notes: tuple[str, ...] = ()


def _by_split(tree: Tree, files: list[ImageFile]) -> tuple[dict[str, list[ImageFile]], list[str]]:
    for file in files:
        if (file.image, file.label, file.text) != (files[0].image, files[0].label, files[0].text):
            raise TenchError(
                f"{file.where} has its images in column {file.image!r} and its labels in {file.label!r}, but "
                f"{files[0].where} has them in {files[0].image!r} and {files[0].label!r}, or its labels have another "
                "type. Pass each set separately."
            )
        if file.class_names != files[0].class_names:
            raise TenchError(
                f"{file.where}: the metadata name other classes than those of {files[0].where}. Pass each set "
                "separately."
            )
    of_name = {file.name: file for file in files}
    by_split, notes = group_by_split(
        of_name, str(tree.source), "files", split_from=tree.options.split_from, root=tree.root.name
    )
    return {split: [of_name[name] for name in names] for split, names in by_split.items()}, notes


def _check_labels(split: str, files: Sequence[ImageFile]) -> None:
    if not any(map(len, files)):
        raise TenchError(f"{files[0].where}: the split {split!r} contains no images (files: {len(files)}).")
    for file in files:
        names, none = file.class_names, "" if file.text else NO_LABEL
        most = LIMITS.classes if names is None else len(names)
        for row, label in enumerate(file.labels):
            if label == none and split != "test":
                raise TenchError(
                    f"{file.row(row)} has no label; only images of the split test may lack one. Correct the file, or "
                    "remove the row."
                )
            if not file.text and not NO_LABEL <= label < most:
                found = "too large for a class" if names is None else f"there are names for {most} classes"
                raise TenchError(
                    f"{file.row(row)}: the label {label} is out of range: {found if label > 0 else 'it is negative'}. "
                    "Correct the file."
                )


def _by_text(by_split: Mapping[str, Sequence[ImageFile]]) -> _Naming:
    """Classes by name, sorted: those of the first split, which is train if there is one."""
    first, *others = by_split.values()
    ids = sorted({label for file in first for label in file.labels} - {""})
    index = {name: number for number, name in enumerate(ids)} | {"": NO_LABEL}
    for file in itertools.chain(*others):
        if unknown := set(file.labels) - index.keys():
            row = next(row for row, label in enumerate(file.labels) if label in unknown)
            raise TenchError(
                f"{file.row(row)}: {file.labels[row]!r} is not one of the {len(ids)} classes of {first[0].where}. Both "
                "must have the same classes."
            )
    return _Naming(Classes.of(ids, names_of(ids)), index)


def _by_number(tree: Tree, files: Sequence[ImageFile]) -> _Naming:
    """Classes by the WordNet ids in the paths, else by the names in the metadata, else by a list next to the files."""
    names = files[0].class_names
    numbers = sorted(set[int]().union(*(file.labels for file in files)) - {NO_LABEL})
    if not numbers and names is None:
        raise TenchError(f"{files[0].where}: the images have no labels, and no other file has labels.")
    count = numbers[-1] + 1 if names is None else len(names)
    if wnids := _wnids(files):
        ids = [wnids[number] for number in numbers]
        of_imagenet = all(imagenet()[number : number + 1] == (wnids[number],) for number in numbers)
        if len(ids) < count and of_imagenet and (names is None or count == len(imagenet())):
            ids = list(imagenet())
        notes = []
        if len(ids) < count:
            notes.append(f"Left out {count - len(ids)} of the {count} classes, which have no images here.")
        index = {number: ids.index(wnids[number]) for number in numbers} | {NO_LABEL: NO_LABEL}
        return _Naming(Classes.of(ids, names_of(ids)), index, appended=True, notes=tuple(notes))
    index = {number: number for number in (NO_LABEL, *numbers)}
    if names is None:
        beside = class_files(lambda name: text_beside(tree, [file.name for file in files], name))
        listed, notes = agreed([one for one in beside if len(one) >= count])
        if listed is not None:
            return _Naming(listed.classes, index, notes=(*notes, f"The class names are from {listed.where}."))
        note = "The classes of the files are only numbers."
        return _Naming(Classes.numbered_to(count), index, notes=(note,))
    if len(set(names)) == count:
        return _Naming(Classes.of(names, names_of(names)), index)
    # Some names are not unique, such as ImageNet's two cranes: then the names are only for display.
    return _Naming(Classes(tuple(map(str, range(count))), names, numbered=True), index)


def _wnids(files: Sequence[ImageFile]) -> dict[int, str] | None:
    """The WordNet id of each label, if the names of all labelled images end in one. Raises TenchError if they
    conflict."""
    first: dict[int, tuple[str, str]] = {}  # by label: the id, and its row
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
                        f"{file.row(row)}: the path {path} says class {wnid}, but according to the file's metadata "
                        f"the label {label} is {names[label]}. Do not use this file until it is clear which is right."
                    )
            other, where = first[label]
            if other != wnid or label_of.setdefault(wnid, label) != label:
                more = f"{other} in {where}" if other != wnid else f"that class has {label_of[wnid]}"
                raise TenchError(
                    f"{file.row(row)}: the path {path} says class {wnid} with the label {label}, but {more}. Do not "
                    "use this file until it is clear which is right, the labels or the paths."
                )
    return {label: wnid for label, (wnid, _) in first.items()}


def _split_path(path: str | None) -> tuple[str, str]:
    """A path without the WordNet id that Hugging Face appended, and this id; "" if it has none."""
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
        notes.append(f"The paths of {split} are not unique, so the keys are numbers, by file and row.")
    shards = list(dict.fromkeys(file.shard for file in files))
    return Rows(
        shards=shards,
        shard=np.repeat(np.array([shards.index(file.shard) for file in files], np.int32), list(map(len, files))),
        offset=np.concatenate([np.frombuffer(file.offset, np.int64) for file in files]),
        length=np.concatenate([np.frombuffer(file.length, np.int64) for file in files]),
        label=np.array(labels, np.int32),
        key=keys,
    )


def _child(kind: Any, name: str) -> Any:
    """The type of a struct's field, None if there is no such struct or field."""
    position = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
    return kind.field(position).type if position >= 0 else None


def _is_image(kind: Any) -> bool:
    return _is_binary(_child(kind, "bytes") or kind)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _column(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in known if name in lower), None)


def _class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """The names of the labels in Hugging Face's metadata."""
    try:
        found = json.loads((metadata or {})[b"huggingface"])
        names = found.get("info", found)["features"][label]["names"]
        return tuple(str(name) for name in names) or None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
