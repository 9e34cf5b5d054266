"""From what a person names (a path, or `digits`) to a Dataset, quickly the second time.

The table is kept in a cache folder of ours, never beside the user's files, and is built anew when a file or folder
of the source has changed. One process builds it while others wait.
"""

import dataclasses
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tench.data import subset
from tench.data.files.names import is_unfinished, reads_heif
from tench.data.files.tree import Tree, is_pattern, open_pattern, open_tree
from tench.data.formats import boxes as box_files
from tench.data.formats import devkit, real
from tench.data.kinds import (
    archive_alone,
    archives_in,
    found_text,
    has_images,
    kind_of_file,
    opened_in_place,
    unread_notes,
    with_sniffed_images,
)
from tench.data.layouts import LAYOUTS, NAMED, Layout, folder, ilsvrc, kaggle, listed
from tench.data.options import EVERY_SOURCE, NO_OPTIONS, SourceOptions, flag
from tench.data.table import Classes, Contents, Dataset, Stamp, Table, is_fresh, load, made, save_dataset, unite
from tench.errors import TenchError, UsageError, nearest

_VAL_SEED = 0
"""For the images of --val-per-class; notes and docs state it."""

_MAX_ARCHIVES_DEPTH = 3
"""Archives in archives in a folder are opened up to here."""

_log = logging.getLogger("tench")


def cache_folder() -> Path:
    """Where tables are kept: TENCH_CACHE, else `tench` in the user's cache directory."""
    if chosen := os.environ.get("TENCH_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tench"


Source = str | Path | Sequence[str | Path]
"""A path or a name, or several that make one set."""


def open_source(
    source: Source,
    options: SourceOptions | None = None,
    *,
    boxes: bool = False,
    anew: bool = False,
    refuse_unused: bool = True,
    **fields: Any,
) -> Dataset:
    """Open the dataset at a path, or by name (`digits`, `synthetic:images=1000`). For a folder called digits: ./digits.

    A path is a folder, an archive, a file, or a pattern of files (`shards/train-{0000..0127}.tar`, `*.rec`). The layout
    is recognised by content. Several sources make one dataset, with classes united by id. options: how to read it; its
    fields can be given by name as well, `open_source("pets", label="breed")`. boxes: read bounding boxes too. anew:
    read the source again, whatever the cache holds. refuse_unused: an option that the layout does not take is an error.
    Raises UsageError if there is no such path or name, TenchError if it holds no known layout, or a damaged one.
    """
    choice = _Choice(dataclasses.replace(options or NO_OPTIONS, **fields), boxes)
    names = _names(source)
    if len(names) == 1:
        dataset = _open(names[0], choice, anew)
    else:
        parts = [_open_part(name, choice, anew) for name in names]
        dataset = _cached(" + ".join(names), choice, lambda spool: unite(parts), anew)
    if refuse_unused:
        _refuse_unused(dataset, choice.options)
    return dataset


def name_of(source: Source) -> str:
    """What a dataset opened from this source calls itself: absolute paths, joined by " + "."""
    return " + ".join(_names(source))


def _names(source: Source) -> list[str]:
    """The sources as names of NAMED, or absolute paths."""
    listed = [source] if isinstance(source, str | Path) else list(source)
    texts = [str(one) for one in listed]
    return [text if text.partition(":")[0] in NAMED else os.path.abspath(os.path.expanduser(text)) for text in texts]


@dataclasses.dataclass(frozen=True)
class _Choice:
    """What is asked of a source beyond its name; see open_source."""

    options: SourceOptions
    boxes: bool

    def applied(self, tree: Tree | None, contents: Contents) -> Contents:
        if self.boxes and tree is not None:
            contents = box_files.attach(tree, contents)
        if self.options.min_images:
            contents = subset.keep_classes(contents, self.options.min_images)
        if self.options.val_per_class:
            contents = subset.val_per_class(contents, self.options.val_per_class, _VAL_SEED)
        return contents


def _open(name: str, choice: _Choice, anew: bool) -> Dataset:
    kind, _, _ = name.partition(":")
    path = Path(name)
    if kind not in NAMED and not path.exists() and not is_pattern(name):
        raise UsageError(
            f"{name}: no such file or folder, and no source of that name.{nearest(path.name, list(NAMED))} "
            f"Give the path of a dataset, or one of: {', '.join(NAMED)}."
        )

    if is_unfinished(path):
        raise TenchError(f"{name}: is being prepared, and not complete. Run the same tench prepare command again.")

    def make(spool: Path) -> Dataset:
        if kind in NAMED:
            return made(choice.applied(None, NAMED[kind].read(name, spool)), source=name, layout=kind)
        tree = (open_tree if path.exists() else open_pattern)(path, spool, choice.options)
        layout, tree = _recognise(tree)
        contents = choice.applied(tree, real.attach(layout.read(tree), tree))
        left_out = [_excluded_note(pattern, count) for pattern, count in tree.excluded.items()]
        left_out += unread_notes(tree, containers=layout is folder)
        contents = dataclasses.replace(contents, notes=[*contents.notes, *tree.notes, *left_out])
        stamp = [*dict.fromkeys([*contents.stamp, *tree.stamp])]
        for packed in sorted(set(tree.indexes.values())):
            note = f"{packed} is read through an index, which is slower than a plain tar: gunzip it if there is room."
            contents = dataclasses.replace(contents, notes=[*contents.notes, note])
        contents = dataclasses.replace(contents, stamp=stamp, indexes=tree.indexes)
        return made(contents, source=name, layout=layout.NAME)

    return _cached(name, choice, make, anew)


def _excluded_note(pattern: str, count: int) -> str:
    return f"--exclude {pattern!r} left out {count:,} files." if count else f"--exclude {pattern!r} matches no file."


def _open_part(name: str, choice: _Choice, anew: bool) -> Dataset:
    """One of several sources. One that has a val keeps it, whatever is asked for those that have none."""
    without = dataclasses.replace(choice, options=dataclasses.replace(choice.options, val_per_class=0))
    part = _open(name, without, anew)
    if choice.options.val_per_class and "val" not in part.splits:
        part = _open(name, choice, anew)
    return part


def _refuse_unused(dataset: Dataset, options: SourceOptions) -> None:
    """Raise UsageError for an option that no layout of the dataset takes."""
    layouts = dataset.layout.split(" + ")
    taken = EVERY_SOURCE.union(*(layout.OPTIONS for layout in (*LAYOUTS, folder) if layout.NAME in layouts))
    for name in options.given():
        if name not in taken:
            known = ", ".join(sorted(map(flag, taken)))
            raise UsageError(
                f"{dataset.source}: {flag(name)} changes nothing in the layout {dataset.layout}. It takes {known}."
            )


def matched(table: Table, dataset: Dataset, classes: Classes, whose: str) -> Table:
    """A table of the dataset with labels as indices into `classes`, matched by id; says so when they change.

    whose: what to call the owner of `classes` in messages. Raises TenchError on a class it does not have.
    """
    index = classes.index_of(dataset.classes, whose=dataset.source, here=whose)
    if classes.meets_by_position(dataset.classes):
        _log.info("%s: classes are matched by position, as one side has only numbers for them.", dataset.source)
    if np.array_equal(index, np.arange(len(index))):
        return table
    _log.info("%s: has the classes of %s in another order; labels are mapped by class id.", dataset.source, whose)
    return table.relabelled(index)


def _recognise(tree: Tree, depth: int = 0) -> tuple[Layout, Tree]:
    """The layout of a tree, or of the archive that is all it holds, as after a download; and that tree."""
    tree = with_sniffed_images(tree)
    found = [layout for layout in LAYOUTS if layout.recognise(tree)]
    if found == [ilsvrc, kaggle]:  # a folder of Kaggle's tree by itself
        found = [kaggle]
    if found == [ilsvrc, listed]:  # Caffe's lists beside the unpacked images: they are its labels where no others are
        found = [ilsvrc if devkit.sources(tree) else listed]
    if len(found) > 1:
        raise TenchError(
            f"{tree.source}: holds more than one dataset: {' and '.join(layout.NAME for layout in found)}. Move one of "
            "them away, or name the files of one (a file, or a pattern such as 'train-{0000..0127}.tar')."
        )
    if found:
        return found[0], tree
    if tree.source.is_dir() and (alone := archive_alone(tree)) and (path := tree.path(tree.index(alone))):
        inside = tree.opened([alone]).under(alone)
        return _recognise(dataclasses.replace(inside, source=path), depth + 1)
    packed = [] if has_images(tree) or depth == _MAX_ARCHIVES_DEPTH else archives_in(tree)
    if packed:
        return _recognise(opened_in_place(tree, packed), depth + 1)
    if folder.recognise(tree):
        if not has_images(tree):
            raise TenchError(f"{tree.source}: holds no images that can be read. {found_text(tree)}")
        return folder, tree
    if not tree.source.is_file():
        raise TenchError(f"{tree.source}: neither a file nor a folder. Give the path of a dataset.")
    raise TenchError(
        f"{tree.source}: a file that holds no data set known here; {_what(tree.source)}. "
        f"Known layouts: {', '.join(layout.NAME for layout in (*LAYOUTS, folder))}. "
        "(To classify one image with a trained model: tench predict RUN IMAGE.)"
    )


def _cached(source: str, choice: _Choice, make: Callable[[Path], Dataset], anew: bool) -> Dataset:
    """The dataset from the cache if it is there and fresh, else made, saved, and loaded."""
    import filelock

    digest = hashlib.sha256(
        os.fsencode(f"{source}\n{dataclasses.astuple(choice)}{' heif' * reads_heif()}")
    ).hexdigest()[:20]
    cache = cache_folder()
    saved = cache / "tables" / f"{digest}.arrow"
    if not anew and (found := _load_fresh(saved)):
        return found
    try:
        saved.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(saved.with_suffix(".lock")).acquire()  # another process may be building it: wait
    except OSError as error:
        raise TenchError(
            f"{cache}: the cache folder cannot be written ({error.strerror}). "
            "Set TENCH_CACHE to a folder that can be written."
        ) from error
    with lock:
        if not anew and (found := _load_fresh(saved)):
            return found
        _log.info("Reading %s ...", source)
        spool = cache / "spool" / digest
        for part in spool.glob(".*.part"):  # of a process that was killed; it can be as large as the dataset
            part.unlink()
        began_ns = time.time_ns()
        try:
            dataset = make(spool)
        except FileNotFoundError as error:
            raise _changed(error.filename) from error
        if changed := _changed_since(began_ns, dataset.stamp, spool):
            raise _changed(changed)
        save_dataset(dataset, saved)
        if found := _load_fresh(saved):
            return found
    raise _changed(source)


def _changed(what: str) -> TenchError:
    return TenchError(f"{what}: changed while the table was made. Wait until the dataset is complete, then try again.")


def _changed_since(began_ns: int, stamp: Stamp, spool: Path) -> str | None:
    """A file or folder of the source, apart from what was spooled, that changed while it was read.

    A time in the future, of a machine whose clock is ahead, does not count.
    """
    now_ns = time.time_ns()
    for path, _, time_ns in stamp:
        if began_ns < time_ns <= now_ns and not Path(path).is_relative_to(spool):
            return str(path)
    return None


def _load_fresh(saved: Path) -> Dataset | None:
    if not saved.exists():
        return None
    loaded = load(saved)
    return loaded if loaded is not None and is_fresh(loaded.stamp) else None


def _what(path: Path) -> str:
    """What a file is by its first bytes, for an error message."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "it is empty"
    kind = kind_of_file(start)
    return f"it begins with {start[:8]!r}" + (f", as {kind} do" if kind else "")
