"""Open trees and datasets as layouts do, and read out their contents."""

import tempfile
from pathlib import Path

from tench.data import table
from tench.data.files.tree import Tree, open_pattern, open_tree
from tench.data.table import Contents, Dataset

Truth = dict[str, dict[str, tuple[str | None, bytes]]]
"""By split and key: the class (None for an unlabelled image) and the bytes of the image."""


def tree_of(path: Path, spool: Path | None = None) -> Tree:
    """The tree of a path or pattern. spool: the folder for unpacked members, by default next to the path."""
    spool = spool or path.parent / "spool"
    return open_tree(path, spool) if path.exists() else open_pattern(path, spool)


def reloaded(contents: Contents, layout: str = "made", source: object = "made") -> Dataset:
    """The dataset after a round trip through a saved table, whose file is then deleted."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved.table"
        table.save(contents, saved, source=str(source), layout=layout)
        loaded = table.load(saved)
    assert loaded is not None
    return loaded


def class_of_each_key(dataset: Dataset, split: str = "train") -> dict[str, str | None]:
    """The class of each key, None for an unlabelled image."""
    rows = dataset.splits[split]
    ids = dataset.classes.ids
    return {key: ids[label] if label >= 0 else None for key, label in zip(rows.keys(), rows.labels, strict=True)}


def images_of(dataset: Dataset) -> Truth:
    """The class and the bytes of every image, by split and key."""
    return {
        split: {
            key: (class_id, rows.read(row))
            for row, (key, class_id) in enumerate(class_of_each_key(dataset, split).items())
        }
        for split, rows in dataset.splits.items()
    }
