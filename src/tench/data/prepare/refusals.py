"""Reject unusable destinations, labels, images and names before anything is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tench.data.prepare.naming import check_class_folders, check_names
from tench.data.table import Classes, Dataset, Table
from tench.errors import TenchError, UsageError


def refuse_inside(dest: Path, dataset: Dataset) -> None:
    """Raise UsageError for a destination inside the source: the result would become part of the source."""
    real = dest.resolve()
    for part in (dataset.source, *dataset.source.split(" + ")):  # a single path may contain " + " too
        root = Path(part)
        if root.is_dir() and (real == root.resolve() or real.is_relative_to(root.resolve())):
            raise UsageError(f"{dest} is inside the source {part}, which is never changed. Choose a folder outside it.")


def check_labels(tables: Mapping[str, Table], to: str) -> None:
    """Raise UsageError if no image has a label, or only some of a split have one and the layout cannot store that."""
    if all((table.labels < 0).all() for table in tables.values()):
        raise UsageError(
            "None of the images has a label, so the result would have no classes. Write a labelled split too "
            "(--splits)."
        )
    if to in ("tfrecord", "recordio"):
        return
    for split, table in tables.items():
        num_without = int((table.labels < 0).sum())
        if num_without and (num_without < len(table) or split != "test"):
            raise UsageError(
                f"{num_without:,} of the {len(table):,} images of {split} have no label. {to} cannot "
                "store that. Write --to tfrecord or recordio, or leave the split out (--splits)."
            )


def refuse_empty(tables: Mapping[str, Table]) -> None:
    """Raise TenchError for empty images, which are bad whether or not they are decoded."""
    empty = [table.place(row) for table in tables.values() for row in np.flatnonzero(table.lengths == 0).tolist()]
    if empty:
        others = len(empty) - 1
        more = f", and so {'is' if others == 1 else 'are'} {others:,} more" if others else ""
        raise TenchError(
            f"{empty[0]} is empty (0 bytes){more}. Leave empty images out with --bad skip. 'tench check SOURCE' names "
            "every bad image."
        )


def check_paths(paths: Sequence[str], classes: Classes, dest: Path, to: str) -> None:
    """Raise UsageError for a class or an image whose name is not valid in the layout, and for two images with the same
    path."""
    check_class_folders(classes)
    check_names(paths, dest, "file", " \t" if to == "list" else "")
    if len(set(paths)) < len(paths):
        twice = next(path for path, before in zip(sorted(paths)[1:], sorted(paths), strict=False) if path == before)
        raise UsageError(f"Two images would be called {twice}, because this layout has no class folders. Rename one.")
