"""The cache folder: the tables of sources that were read before. Nothing is stored next to the user's files.

A table is rebuilt if its source has changed or its own file is damaged (each has a checksum). One process builds a
table while others wait for it.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tench.data.files.gzip_index import open_indexed
from tench.data.table import Dataset, Stamp, is_fresh, load, save_dataset
from tench.errors import TenchError
from tench.files import remove_parts, user_path

_log = logging.getLogger("tench")


def cache_folder() -> Path:
    """The folder for tables: TENCH_CACHE, else `tench` in the user's cache directory."""
    if chosen := os.environ.get("TENCH_CACHE"):
        return user_path(chosen).absolute()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen).absolute() / "tench"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise TenchError(
            "There is no folder for the cache: HOME is not set, and this user has no home folder. Set TENCH_CACHE to a "
            "writable folder."
        ) from error
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tench"


def cached(source: str, choice: str, make: Callable[[Path], Dataset], refresh: bool) -> Dataset:
    """Return the dataset from the cache if it is there and fresh; otherwise make, save and load it.

    source, choice: together they identify the dataset. make: reads the source; its argument is a cache folder for
    unpacked data. refresh: make it even if the cached one is fresh.
    """
    import filelock

    digest = hashlib.sha256(os.fsencode(f"{source}\n{choice}")).hexdigest()[:20]
    cache = cache_folder()
    saved = cache / "tables" / f"{digest}.arrow"
    if not refresh and (found := _load_fresh(saved)):
        return found
    try:
        saved.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(saved.with_suffix(".lock")).acquire()  # another process may be building it: wait
    except OSError as error:
        raise TenchError(
            f"{cache}: the cache folder is not writable ({error.strerror}). Set TENCH_CACHE to a writable folder."
        ) from error
    with lock:
        if not refresh and (found := _load_fresh(saved)):
            return found
        if not refresh and saved.exists() and load(saved, open_indexed) is None:
            _log.info("The saved table of %s is damaged or of another version. Rebuilding it.", source)
        _log.info("Reading %s ...", source)
        spool = cache / "spool" / digest
        remove_parts(spool)  # left by a killed process; one can be as large as the dataset
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
    return TenchError(f"{what} changed while it was being read. Wait until the dataset is complete, then try again.")


def _changed_since(began_ns: int, stamp: Stamp, spool: Path) -> str | None:
    """Return a file or folder of the source that changed while it was read, or None. Spooled files are ignored.

    Times in the future are ignored too: they come from a machine whose clock is ahead.
    """
    now_ns = time.time_ns()
    for path, _, time_ns in stamp:
        if began_ns < time_ns <= now_ns and not Path(path).is_relative_to(spool):
            return str(path)
    return None


def _load_fresh(saved: Path) -> Dataset | None:
    if not saved.exists():
        return None
    loaded = load(saved, open_indexed)
    return loaded if loaded is not None and is_fresh(loaded.stamp) else None
