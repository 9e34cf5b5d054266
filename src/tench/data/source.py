"""Open a path or a name such as `digits` as a Dataset; opening it again is fast.

The table is kept in the cache (`cache`) and rebuilt if a file or folder of the source has changed.
"""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tench.arguments import checked_arguments
from tench.data import subset
from tench.data.cache import cached
from tench.data.evidence.folders import folders_of, outline_of
from tench.data.evidence.kinds import (
    archive_alone,
    archives_in,
    found_text,
    has_images,
    kind_of_file,
    opened_in_place,
    unread_notes,
    with_sniffed_images,
)
from tench.data.files.gzip_index import open_indexed
from tench.data.files.names import is_image_name, is_unfinished, reads_heif
from tench.data.files.tree import Tree, is_pattern, open_pattern, open_tree
from tench.data.formats import boxes as box_files
from tench.data.formats import devkit, real
from tench.data.images.image import format_of_start
from tench.data.layouts import (
    LAYOUTS,
    NAMED,
    Layout,
    folder,
    ilsvrc,
    imagenet_eval,
    kaggle,
    listed,
    pixel_table,
    svhn,
    synsets,
)
from tench.data.options import EVERY_SOURCE, EVERY_TREE, NO_OPTIONS, SourceOptions, flag
from tench.data.table import Classes, Contents, Dataset, Table, made, unite
from tench.errors import TenchError, UsageError, counted, nearest, some
from tench.files import is_there
from tench.plain import PlainError

_VAL_SEED = 0
"""The seed of --val-per-class; notes and docs state it."""

_MAX_ARCHIVES_DEPTH = 3
"""Nested archives in a folder are opened down to this depth."""

_log = logging.getLogger("tench")


Source = str | Path | Dataset | Sequence[str | Path]
"""A path or a name, several that make up one set, or a dataset that is already open."""


@checked_arguments()
def open_source(
    source: Source,
    options: SourceOptions | None = None,
    *,
    boxes: bool = False,
    refresh: bool = False,
    refuse_unused: bool = True,
    **fields: Any,
) -> Dataset:
    """Open a dataset: find its images and labels, without copying or unpacking what can be read in place.

    source: a folder, an archive, a file, or a pattern of files ("shards/train-{0000..0127}.tar", "*.rec"); the layout
    is recognised by content. Or a name: "digits", "synthetic:images=1000" (for a folder called digits: "./digits").
    Several sources make one dataset, with classes united by id. A dataset that is already open is returned unchanged.
    options: how to read the source. boxes: read bounding boxes too. refresh: read the source again and ignore the
    cache. refuse_unused: raise an error for an option that the layout does not accept. fields: options by name instead:
    open_source("pets", label="breed"). Raises UsageError for an unknown path, name or option, or for options with an
    open dataset; TenchError if the layout is unknown or the data are damaged.

    >>> digits = tench.open_source("digits")
    >>> digits.layout, len(digits.classes), digits.num_images, list(digits.splits)
    ('digits', 10, 1797, ['train', 'val'])
    """
    choice = _Choice(_chosen(options, fields), boxes)
    if isinstance(source, Dataset):
        if choice.options not in (NO_OPTIONS, source.options) or boxes or refresh:
            raise UsageError(
                f"{source.source}: the dataset is already open, so options for reading it have no effect. Pass them to "
                "open_source with the path instead."
            )
        return source
    choice.options.check()
    names = _names(source)
    if not names:
        raise UsageError("No source is given. Pass the path of a dataset, or the name digits.")
    if len(names) == 1:
        dataset = _open(names[0], choice, refresh)
    else:
        parts = [_open_part(name, choice, refresh) for name in names]
        dataset = cached(" + ".join(names), choice.text, lambda spool: unite(parts), refresh)
    if refuse_unused:
        _refuse_unused(dataset, choice.options)
    return dataclasses.replace(dataset, parts=tuple(names), options=choice.options)


def _chosen(options: SourceOptions | None, fields: dict[str, Any]) -> SourceOptions:
    """The options together with those given by name. Raises UsageError for an unknown name, a wrong type, or two
    different values for one option."""
    known = [field.name for field in dataclasses.fields(SourceOptions)]
    given = {} if options is None else options.to_json()
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    for name, value in plain.items():
        if name not in known:
            raise UsageError(
                f"open_source has no option {name!r}.{nearest(name, known)} Options for reading: {', '.join(known)}."
            )
        if name in given and given[name] != value:
            raise UsageError(f"{name} is {given[name]!r} in options, but {value!r} by name. Pass only one of them.")
    try:
        return SourceOptions.from_json(given | plain, "options")
    except PlainError as error:
        raise UsageError(f"open_source: {error}.") from error


def name_of(source: Source) -> str:
    """The name of a dataset opened from this source: absolute paths, joined by " + "."""
    return source.source if isinstance(source, Dataset) else " + ".join(_names(source))


def _names(source: str | Path | Sequence[str | Path]) -> list[str]:
    """The sources as names in NAMED, or absolute paths."""
    listed = [source] if isinstance(source, str | Path) else list(source)
    texts = [str(one) for one in listed]
    return [text if text.partition(":")[0] in NAMED else os.path.abspath(os.path.expanduser(text)) for text in texts]


@dataclasses.dataclass(frozen=True)
class _Choice:
    """How a source is read; see open_source."""

    options: SourceOptions
    boxes: bool

    @property
    def text(self) -> str:
        """The choice as part of the dataset's name in the cache."""
        return f"{dataclasses.astuple(self)}{' heif' * reads_heif()}"

    def applied(self, tree: Tree | None, contents: Contents) -> Contents:
        if self.boxes and tree is not None:
            contents = box_files.attach(tree, contents)
        if self.options.min_images:
            contents = subset.keep_classes(contents, self.options.min_images)
        if self.options.val_per_class:
            contents = subset.val_per_class(contents, self.options.val_per_class, _VAL_SEED)
        return contents


def _open(name: str, choice: _Choice, refresh: bool) -> Dataset:
    kind, _, _ = name.partition(":")
    path = Path(name)
    if kind not in NAMED and not is_there(path) and not is_pattern(name):
        raise UsageError(
            f"{name}: no such file or folder, and no source of that name.{nearest(path.name, list(NAMED))} "
            f"Pass the path of a dataset, or one of: {', '.join(NAMED)}."
        )

    if is_unfinished(path):
        raise TenchError(f"{name}: tench prepare has not finished it. Run the same tench prepare command again.")

    def make(spool: Path) -> Dataset:
        if kind in NAMED:
            if choice.boxes:
                raise UsageError(f"{name} has no boxes to read. Leave out --boxes.")
            return made(choice.applied(None, NAMED[kind].read(name, spool)), source=name, layout=kind)
        tree = (open_tree if path.exists() else open_pattern)(path, spool, choice.options)
        layout, tree = _recognise(tree)
        contents = choice.applied(tree, real.attach(layout.read(tree), tree))
        left_out = [_excluded_note(pattern, count) for pattern, count in tree.excluded.items()]
        left_out += unread_notes(tree, containers=layout is folder)
        if layout is folder:
            left_out += listed.beside_folders(tree)
        alike = _alike_notes(contents.classes.ids)
        contents = dataclasses.replace(contents, notes=[*contents.notes, *tree.notes, *left_out, *alike])
        stamp = [*dict.fromkeys([*contents.stamp, *tree.stamp])]
        for packed in sorted(set(tree.indexes.values())):
            note = f"{packed} is read through an index, which is slower than a plain tar: gunzip it if there is room."
            contents = dataclasses.replace(contents, notes=[*contents.notes, note])
        outline = contents.outline or outline_of(folders_of(tree), tree.names)
        contents = dataclasses.replace(contents, stamp=stamp, indexes=tree.indexes, copies=tree.copies, outline=outline)
        return made(contents, source=name, layout=layout.NAME, open_indexed=open_indexed)

    return cached(name, choice.text, make, refresh)


def _alike_notes(class_ids: Sequence[str]) -> list[str]:
    """A note on classes whose names differ only in case. Single letters are skipped: "a" and "A" are two classes."""
    spelled: dict[str, list[str]] = {}
    for class_id in class_ids:
        if len(class_id) > 1:
            spelled.setdefault(class_id.casefold(), []).append(class_id)
    alike = [" and ".join(found) for found in spelled.values() if len(found) > 1]
    return [f"Some classes differ only in case: {some(alike, 3)}. If they are one class, rename them."] if alike else []


def _excluded_note(pattern: str, count: int) -> str:
    return (
        f"--exclude {pattern!r} left out {counted(count, 'file')}."
        if count
        else f"--exclude {pattern!r} matches no file."
    )


def _open_part(name: str, choice: _Choice, refresh: bool) -> Dataset:
    """Open one of several sources. Options that make a val do not apply to a source that has one."""
    without = dataclasses.replace(choice, options=dataclasses.replace(choice.options, val_per_class=0))
    part = _open(name, without, refresh)
    if choice.options.val_per_class and "val" not in part.splits:
        part = _open(name, choice, refresh)
    return part


def _refuse_unused(dataset: Dataset, options: SourceOptions) -> None:
    """Raise UsageError for an option that no layout of the dataset accepts."""
    layouts = dataset.layout.split(" + ")
    found = [layout for layout in (*LAYOUTS, folder) if layout.NAME in layouts]
    taken = EVERY_SOURCE.union(*(EVERY_TREE | layout.OPTIONS for layout in found))
    for name in options.given():
        if name not in taken:
            known = ", ".join(sorted(map(flag, taken)))
            raise UsageError(
                f"{dataset.source}: {flag(name)} has no effect on the layout {dataset.layout}, which accepts {known}."
            )


def matched(table: Table, dataset: Dataset, classes: Classes, whose: str) -> Table:
    """A table of the dataset with its labels remapped to `classes`, matched by id; logs it if they change.

    whose: the owner of `classes`, for messages. Raises TenchError on a class that `classes` does not have.
    """
    index = classes.index_of(dataset.classes, whose=dataset.source, here=whose)
    if classes.meets_by_position(dataset.classes):
        _log.info(
            "%s: classes are matched by position, because one side has only numbers for its classes.", dataset.source
        )
    if np.array_equal(index, np.arange(len(index))):
        return table
    _log.info("%s has the classes of %s in another order; labels are remapped by class id.", dataset.source, whose)
    return table.relabelled(index)


def _recognise(tree: Tree, depth: int = 0) -> tuple[Layout, Tree]:
    """The layout of a tree, and the tree. If it contains only one archive, as after a download, both are the
    archive's."""
    tree = with_sniffed_images(tree)
    found = [layout for layout in LAYOUTS if layout.recognise(tree)]
    asked = tree.options.given().keys() - EVERY_SOURCE  # an option that only class folders take selects class folders
    if found and asked and asked <= folder.OPTIONS and not any(asked <= layout.OPTIONS for layout in found):
        found = [folder] if folder.recognise(tree) and has_images(tree) else found
    found = _preferred(found, tree)
    packed = [] if has_images(tree) or depth == _MAX_ARCHIVES_DEPTH else archives_in(tree)
    if found == [listed] and packed and tree.source.is_dir():
        found = []  # the images of the lists may be in the archives next to them
    if len(found) > 1:
        raise TenchError(
            f"{tree.source} contains more than one dataset: {' and '.join(layout.NAME for layout in found)}. Move one "
            "away, or pass the files of one (a file, or a pattern such as 'train-{0000..0127}.tar')."
        )
    if found:
        return found[0], tree
    if tree.source.is_dir() and (alone := archive_alone(tree)) and (path := tree.path(tree.index(alone))):
        inside = tree.opened([alone]).under(alone)
        return _recognise(dataclasses.replace(inside, source=path), depth + 1)
    if packed:
        return _recognise(opened_in_place(tree, packed), depth + 1)
    if folder.recognise(tree):
        if not has_images(tree):
            raise TenchError(f"{tree.source} contains no readable images. {found_text(tree)}")
        return folder, tree
    if not tree.source.is_file():
        raise TenchError(f"{tree.source} is neither a file nor a folder. Pass the path of a dataset.")
    raise _no_data_set(tree.source)


def _preferred(found: list[Layout], tree: Tree) -> list[Layout]:
    """Drop layouts that would read only a part of what another layout reads."""
    if ilsvrc in found and kaggle in found:  # ilsvrc recognises a folder inside Kaggle's tree
        found = [layout for layout in found if layout is not ilsvrc]
    if len(found) < 2 or listed not in found:
        return found
    others = [layout for layout in found if layout is not listed]
    # Caffe's lists next to the unpacked images are their labels if there are no others. HAM10000 has images, and small
    # copies of them in a table.
    is_list = (others == [ilsvrc] and not devkit.sources(tree)) or (
        others == [pixel_table] and any(map(is_image_name, tree.names))
    )
    if is_list:
        return [listed]
    # A single file is not two datasets, and these layouts read their own lists better.
    own_lists = (ilsvrc, kaggle, synsets, imagenet_eval, pixel_table, svhn)
    return others if len(tree) == 1 or any(layout in own_lists for layout in others) else found


def _no_data_set(path: Path) -> TenchError:
    """The error for a file that no layout reads; it describes the file by its first bytes."""
    with path.open("rb") as file:
        start = file.read(512)
    if format_of_start(start):
        return TenchError(
            f"{path} is one image, not a dataset. To train, pass the folder that contains the class folders. To "
            f"classify this image with a trained model: tench predict RUN {path}"
        )
    kind = kind_of_file(start)
    what = f"begins with {start[:8]!r}" + (f", as {kind} do" if kind else "") if start else "is empty"
    return TenchError(
        f"{path} is not a known kind of dataset; it {what}. Pass a folder or an archive of images, a label file, or a "
        "container such as WebDataset, TFRecord, Parquet, HDF5 or .npz."
    )
