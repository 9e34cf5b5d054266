"""Read a prepared dataset back and compare it with the plan, image by image."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path

from tench.data.cache import cache_folder
from tench.data.files.tree import open_tree
from tench.data.layouts import folder, listed, recordio, tfrecord, webdataset
from tench.data.prepare.writers import Content
from tench.data.table import Classes, made
from tench.errors import TenchError, counted, some

_READERS = {"webdataset": webdataset, "tfrecord": tfrecord, "recordio": recordio, "folder": folder, "list": listed}


def compare_files(dest: Path, paths: Sequence[str], expected_bytes: int | None = None) -> int:
    """The total size of the files in bytes. Raises TenchError if one is missing or empty, or the total is not
    expected_bytes."""
    num_bytes, missing = 0, []
    for path in paths:
        try:
            size = os.stat(dest / path).st_size
        except FileNotFoundError:
            size = 0
        num_bytes += size
        if not size:
            missing.append(path)
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise _wrong(dest, f"{counted(len(missing), 'file')} {are} missing or empty: {some(missing)}")
    if expected_bytes not in (None, num_bytes):
        raise _wrong(dest, f"its files have {num_bytes:,} bytes, not {expected_bytes:,}")
    return num_bytes


def compare_tables(dest: Path, to: str, content: Content) -> None:
    """Read the destination back, and compare its classes, names and labels with the content.

    Raises TenchError stating the difference: in classes, in the number of images per class, else in names.
    """
    reader = _READERS[to]
    found = made(reader.read(open_tree(dest, cache_folder() / "spool" / "verify")), source=str(dest), layout=to)
    ids, theirs = content.classes.ids, found.classes.ids
    if content.classes.numbered:
        ids, theirs = ids[: len(theirs)], theirs[: len(ids)]
    if ids != theirs:
        raise _wrong(dest, f"the classes are {some(theirs)}; they should be {some(ids)}")
    if differing := [split for split in content.names if split not in found.splits]:
        raise _wrong(dest, f"the split {differing[0]} is missing")
    for split, names in content.names.items():
        table = found.splits[split]
        expected = dict(zip(names, content.labels[split], strict=True))
        there = dict(zip(table.keys(), table.labels.tolist(), strict=True))
        if expected == there:
            continue
        counts = collections.Counter(there.values())
        counts.subtract(expected.values())
        classes = [
            f"{_called(content.classes, label)} has {abs(count):,} {'more' if count > 0 else 'fewer'}"
            for label, count in sorted(counts.items())
            if count
        ]
        if classes:
            images = counted(len(there), "image")
            images += f", not {len(expected):,}" if len(there) != len(expected) else " with other labels"
            raise _wrong(dest, f"{split} has {images}: {some(classes)}")
        names_there = sorted(key for key in expected if there.get(key) != expected[key])
        shown = f"{counted(len(names_there), 'image')} with different names or labels: {some(names_there)}"
        raise _wrong(dest, f"{split} has {shown}")


def _called(classes: Classes, label: int) -> str:
    if label < 0:
        return "(no label)"
    return classes.ids[label] if label < len(classes) else f"class {label}, which should not exist,"


def _wrong(dest: Path, what: str) -> TenchError:
    return TenchError(
        f"{dest}: verification after writing failed: {what}. Something has changed the folder since it was written. "
        f"Remove {dest} and prepare it again."
    )
