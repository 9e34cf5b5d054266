"""Take parts of a source: the classes with enough images, and a validation set with the same number from each class.

MXNet made ImageNet-11K from ImageNet-21K by these two rules: it dropped classes with fewer than 500 images, and held
out 50 random images of each class for validation. The draw depends only on the seed and the keys, so that it is the
same for an archive and the folder unpacked from it.
Source: apache/mxnet, example/image-classification/README.md.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.table import Classes, Contents, IntArray, Rows
from tench.errors import TenchError, UsageError, counted

_PART = 1_000_000
"""Digests that exist as Python objects at the same time."""


def keep_classes(contents: Contents, min_images: int) -> Contents:
    """Remove the classes that have fewer than `min_images` images in train from all splits.

    The remaining labels are renumbered; images without a label stay. Raises UsageError if there is no train, if images
    have several labels (which need not be classes), or if fewer than two classes are left.
    """
    train = _train(contents, "--min-images")
    if any(rows.labels is not None for rows in contents.splits.values()):
        raise UsageError("--min-images: this source has several labels per image, so classes cannot be dropped.")
    num_classes = len(contents.classes)
    counts = np.bincount(train.label[train.label >= 0], minlength=num_classes)
    kept = np.flatnonzero(counts >= min_images)
    if len(kept) < 2:
        raise UsageError(
            f"--min-images {min_images}: only {len(kept)} of the {num_classes:,} classes have that many images in "
            f"train; the largest has {counts.max():,}. A classifier needs at least two classes. Use a smaller number."
        )
    if len(kept) == num_classes:
        note = f"All {num_classes:,} classes have at least {min_images:,} images in train; none was dropped."
        return dataclasses.replace(contents, notes=[*contents.notes, note])
    new_label = np.full(num_classes + 1, -2, np.int32)  # -2: dropped; the last entry, at -1, is for unlabelled images
    new_label[kept], new_label[-1] = np.arange(len(kept)), -1
    splits, num_dropped = {}, 0
    for split, rows in contents.splits.items():
        label = new_label[rows.label]
        index = np.flatnonzero(label != -2)
        splits[split] = dataclasses.replace(rows_at(rows, index), label=label[index])
        num_dropped += len(label) - len(index)
    ids, names = contents.classes.ids, contents.classes.names
    classes = Classes.of([ids[label] for label in kept.tolist()], [names[label] for label in kept.tolist()])
    note = (
        f"Dropped {num_classes - len(kept):,} of {num_classes:,} classes with fewer than {min_images:,} images in "
        f"train, and their {num_dropped:,} images."
    )
    return dataclasses.replace(contents, classes=classes, splits=splits, notes=[*contents.notes, note])


def val_per_class(contents: Contents, count: int, seed: int) -> Contents:
    """Move `count` images of each class from train to a new split val.

    They are the ones with the smallest SHA-256 of "SEED\\nKEY", so the order of rows does not matter. Raises UsageError
    if the source already has a val, or if a class would have no image left for training.
    """
    train = _train(contents, "--val-per-class")
    if "val" in contents.splits:
        raise UsageError("--val-per-class: this source already has a split val. Leave out the option to use that.")
    label = np.asarray(train.label)
    counts = np.bincount(label[label >= 0], minlength=len(contents.classes))
    if len(small := np.flatnonzero(counts <= count)):
        smallest = ", ".join(f"{contents.classes.ids[at]} ({counts[at]:,})" for at in small[:5].tolist())
        raise UsageError(
            f"--val-per-class {count}: {len(small):,} of the {len(contents.classes):,} classes have at most "
            f"{counted(count, 'image')} in train, so none would be left for training: {smallest}. Use a smaller "
            "number, or leave out small classes with --min-images."
        )
    held = np.zeros(len(label), np.bool_)
    labelled = np.flatnonzero(label >= 0)
    order = labelled[np.lexsort((*_digests(train.key, labelled, seed), label[labelled]))]  # by class, then by digest
    starts = np.cumsum(counts) - counts
    held[order[(starts[:, None] + np.arange(count)).ravel()]] = True
    splits = {"train": rows_at(train, np.flatnonzero(~held)), "val": rows_at(train, np.flatnonzero(held))}
    note = f"The split val is {counted(count, 'image')} per class, drawn from train with seed {seed}."
    others = {split: rows for split, rows in contents.splits.items() if split != "train"}
    return dataclasses.replace(contents, splits=splits | others, notes=[*contents.notes, note])


def rows_at(rows: Rows, index: IntArray) -> Rows:
    """These rows only, in the given order."""
    used, shard = np.unique(np.asarray(rows.shard)[index], return_inverse=True)
    positions = index.tolist()

    def taken(values: Any) -> Any:
        if values is None or isinstance(values, int):
            return values
        return values[index] if isinstance(values, np.ndarray) else [values[position] for position in positions]

    return dataclasses.replace(
        rows,
        shards=[rows.shards[number] for number in used.tolist()],
        shard=shard.astype(np.int32),
        offset=taken(rows.offset),
        length=taken(rows.length),
        label=np.asarray(rows.label)[index],
        key=taken(rows.key),
        height=taken(rows.height),
        width=taken(rows.width),
        channels=taken(rows.channels),
        labels=taken(rows.labels),
        boxes=taken(rows.boxes),
    )


def _train(contents: Contents, asked: str) -> Rows:
    """The split train. Raises UsageError if there is none, TenchError if a label in any split is out of range."""
    for split, rows in contents.splits.items():
        if len(wrong := np.flatnonzero((rows.label < -1) | (rows.label >= len(contents.classes)))):
            key, label = rows.key[int(wrong[0])], rows.label[wrong[0]]
            raise TenchError(f"{split}: {key} has label {label}, but there are {len(contents.classes)} classes.")
    if "train" not in contents.splits:
        raise UsageError(f"{asked}: this source has no split train, only {', '.join(contents.splits)}.")
    return contents.splits["train"]


def _digests(keys: Sequence[str], rows: IntArray, seed: int) -> npt.NDArray[np.uint64]:
    """The SHA-256 of "SEED\nKEY" of each row as 64-bit words, (4, N), the most significant last, for np.lexsort."""
    words = np.empty((4, len(rows)), np.uint64)
    start = f"{seed}\n".encode()
    for first in range(0, len(rows), _PART):
        part = (keys[row].encode("utf-8", "surrogateescape") for row in rows[first : first + _PART].tolist())
        digests = b"".join(hashlib.sha256(start + key).digest() for key in part)
        words[:, first : first + _PART] = np.frombuffer(digests, ">u8").reshape(-1, 4).T[::-1]
    return words
