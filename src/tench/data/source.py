"""From what a person names (a path, or `digits`) to a Dataset, quickly the second time.

The table is kept in a cache folder of ours, never beside the user's files, and is built anew when a file or folder
of the source has changed. One process builds it while others wait.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tench.data.layouts import LAYOUTS, NAMED, Layout
from tench.data.table import Classes, Contents, Dataset, Table, is_fresh, load, save, stamp_of
from tench.errors import TenchError, UsageError, nearest

_log = logging.getLogger("tench")


def cache_folder() -> Path:
    """Where tables are kept: TENCH_CACHE, else `tench` in the user's cache directory."""
    if chosen := os.environ.get("TENCH_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tench"


def open_source(source: str | Path, *, anew: bool = False) -> Dataset:
    """The dataset of a name (`digits`, `synthetic:images=1000`) or at a path; a name wins, write ./digits for a folder.

    The layout is recognised by content. anew: read it again, whatever the cache has. Raises UsageError if there is no
    such path or name, TenchError if the path holds no layout known here, or a broken one.
    """
    name = str(source)
    kind, _, _ = name.partition(":")
    path = Path(name).expanduser().absolute()
    if kind in NAMED:
        return _cached(name, kind, lambda spool: NAMED[kind].read(name, spool), anew)
    if not path.exists():
        raise UsageError(
            f"{source}: no such file or folder, and no source of that name.{nearest(name, list(NAMED))} "
            f"Give the path of a dataset, or one of: {', '.join(NAMED)}."
        )
    layout = _recognise(path)
    return _cached(str(path), layout.NAME, lambda spool: layout.read(path, spool), anew)


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


def _recognise(path: Path) -> Layout:
    for layout in LAYOUTS:
        if layout.recognise(path):
            return layout
    if not path.is_file():
        raise TenchError(f"{path}: neither a file nor a folder. Give the path of a dataset.")
    raise TenchError(
        f"{path}: a file that holds no dataset known here; it begins with {_first_bytes(path)}. "
        f"Known layouts: {', '.join(layout.NAME for layout in LAYOUTS)}; each is a folder. "
        "(To classify one image with a trained model: tench predict RUN IMAGE.)"
    )


def _cached(source: str, layout: str, read: Callable[[Path], Contents], anew: bool = False) -> Dataset:
    """The dataset from the cache if it is there and fresh, else read, saved, and loaded."""
    import filelock

    digest = hashlib.sha256(os.fsencode(f"{layout}\n{source}")).hexdigest()[:20]
    folder = cache_folder()
    saved = folder / "tables" / f"{digest}.arrow"
    if not anew and (dataset := _load_fresh(saved)):
        return dataset
    try:
        saved.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(saved.with_suffix(".lock")).acquire()  # another process may be building it: wait
    except OSError as error:
        raise TenchError(
            f"{folder}: the cache folder cannot be written ({error.strerror}). "
            "Set TENCH_CACHE to a folder that can be written."
        ) from error
    with lock:
        if not anew and (dataset := _load_fresh(saved)):
            return dataset
        _log.info("Reading %s (%s) ...", source, layout)
        spool = folder / "spool" / digest
        began_ns = time.time_ns()
        contents = read(spool)
        changed = _changed_since(began_ns, contents, spool)
        if changed is None:
            save(contents, saved, source=source, layout=layout)
            if dataset := _load_fresh(saved):
                return dataset
    raise TenchError(
        f"{changed or source}: changed while the table was made. Wait until the dataset is complete, then try again."
    )


def _changed_since(began_ns: int, contents: Contents, spool: Path) -> str | None:
    """A file or folder of the source, apart from what was spooled, that changed while it was read.

    A time in the future, of a machine whose clock is ahead, does not count.
    """
    now_ns = time.time_ns()
    try:
        stamp = stamp_of(contents.stamp)
    except OSError as error:
        return str(error.filename)
    for path, _, time_ns in stamp:
        if began_ns < time_ns <= now_ns and not Path(path).is_relative_to(spool):
            return str(path)
    return None


def _load_fresh(saved: Path) -> Dataset | None:
    if not saved.exists():
        return None
    loaded = load(saved)
    if loaded is None or not is_fresh(loaded[1]):
        return None
    return loaded[0]


def _first_bytes(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    return repr(start) if start else "nothing (it is empty)"
