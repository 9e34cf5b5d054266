"""Describe a dataset in numbers."""

import re
from typing import Any

import numpy as np

from tench.arguments import checked_arguments
from tench.data import exif
from tench.data.images.image import ImageError, probe
from tench.data.options import SourceOptions
from tench.data.source import Source, open_source
from tench.data.table import Dataset, Table
from tench.errors import some

_PROBED_IMAGES = 64
_EXAMPLE_CLASSES, _EXAMPLE_KEYS = 5, 3
_PLACE = re.compile(r" \(in .+? at byte [\d,]+\)")
"""The position of a file in an archive: errors need it, notes do not."""


@checked_arguments()
def info(source: Source, options: SourceOptions | None = None) -> dict[str, Any]:
    """Describe a source as `tench info --json` does: layout, splits, counts, classes, sizes, what was left out.

    source: a path or name, several that make one set, or a `Dataset`. options: how to read it. Returns a dict with the
    keys source, layout, classes (their number), splits (for each: images, bytes, unlabelled, images_per_class, sizes),
    exif (of a sample: sampled, rotated; auto: apply or ignore), fingerprint, notes, tree (the folders found, as lines),
    examples (the first images of the first classes) and left_out (files that are not read: reason, files, example).
    Raises UsageError and TenchError as `open_source` does.

    >>> found = tench.info("digits")
    >>> found["classes"], found["splits"]["val"]["images"], found["splits"]["val"]["sizes"]["largest"]
    (10, 359, '8 x 8')
    """
    return describe(open_source(source, options))


def describe(dataset: Dataset) -> dict[str, Any]:
    """Layout, number of classes, and for each split: images, bytes, images per class, and sizes seen in a sample.

    tree: the folders found, as lines. examples: the first keys of the first classes. left_out: files that are not in
    the table, with reason, count and an example. exif: how many of a sample of the first split have an EXIF
    orientation, and what `auto` does with it.
    """
    num_rotated, num_sampled = exif.sampled(next(iter(dataset.splits.values())))
    return {
        "source": dataset.source,
        "layout": dataset.layout,
        "classes": len(dataset.classes),
        "splits": {name: _split(table, len(dataset.classes)) for name, table in dataset.splits.items()},
        "exif": {"sampled": num_sampled, "rotated": num_rotated, "auto": exif.resolved("auto", dataset)},
        "fingerprint": dataset.fingerprint,
        "notes": list(dataset.notes),
        "tree": list(dataset.outline),
        "examples": examples(dataset),
        "left_out": [
            {"reason": entry.reason, "files": entry.count, "example": entry.example} for entry in dataset.left_out
        ],
    }


def brief_notes(dataset: Dataset) -> list[str]:
    """The notes with paths relative to the source; files with the same note share one line."""
    heads: dict[str, list[str]] = {}
    for note in dataset.notes:
        for source in dataset.source.split(" + "):
            note = note.replace(f"{source}/", "")
        head, colon, rest = _PLACE.sub("", note).partition(": ")
        heads.setdefault(colon + rest if colon else head, []).append(head)
    return [some(names, 3) + rest if rest.startswith(": ") else rest for rest, names in heads.items()]


def examples(dataset: Dataset) -> dict[str, list[str]]:
    """The first keys of the first classes, by class id, from the first split that has labels."""
    table = next((table for table in dataset.splits.values() if np.any(table.labels >= 0)), None)
    if table is None:
        return {}
    shown = dataset.classes.ids[:_EXAMPLE_CLASSES]
    rows = {name: np.flatnonzero(table.labels == label)[:_EXAMPLE_KEYS] for label, name in enumerate(shown)}
    return {name: [table.key(row) for row in found] for name, found in rows.items()}


def image_sizes(table: Table) -> list[tuple[int, int]]:
    """(height, width) of up to 64 images spread evenly over the table, without those that cannot be read as images."""
    sizes = []
    for row in np.unique(np.linspace(0, len(table) - 1, min(_PROBED_IMAGES, len(table))).astype(int)):
        if table.heights[row]:
            sizes.append((int(table.heights[row]), int(table.widths[row])))
        else:
            if table.too_large(row):
                continue
            try:
                found = probe(table.read(row))
            except ImageError:
                continue
            sizes.append((found.height, found.width))
    return sizes


def _split(table: Table, num_classes: int) -> dict[str, Any]:
    labelled = table.labels[table.labels >= 0]
    counts = np.bincount(labelled, minlength=num_classes)
    sizes = sorted(image_sizes(table), key=lambda size: size[0] * size[1])
    return {
        "images": len(table),
        "bytes": table.num_bytes,
        "unlabelled": len(table) - len(labelled),
        "images_per_class": {"min": int(counts.min()), "max": int(counts.max())},
        "sizes": {name: "{1} x {0}".format(*size) for name, size in (("smallest", sizes[0]), ("largest", sizes[-1]))}
        if sizes
        else None,
    }
