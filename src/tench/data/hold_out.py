"""Hold out a validation set from a source that has none: the same images each time, without storing anything.

Whether an image is held out depends only on the keys and labels of its class, not on the order of rows, a seed or the
run. So runs are compared on the same images, and an archive and the folder unpacked from it are split alike. The price:
adding or removing images can move a few others from one side to the other. A run therefore also records which images it
held out (`tench.weights.images`).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tench.data.table import IntArray, Table
from tench.errors import UsageError


def hold_out(table: Table, fraction: float) -> tuple[Table, Table]:
    """Split a table into (rows to train on, rows held out); the same keys and labels give the same split."""
    out = held_out(table.keys(), table.labels, fraction)
    return table.subset(np.flatnonzero(~out)), table.subset(np.flatnonzero(out))


def held_out(keys: Sequence[str], labels: IntArray, fraction: float) -> npt.NDArray[np.bool_]:
    """Choose the images for validation: about `fraction` of each class, those whose keys have the smallest SHA-256.

    keys: unique. labels: (N,), one per key. Returns (N,) bool. In a class with n images, round(fraction * n) are held
    out, but at least one and never all; a class with a single image keeps it. Raises UsageError unless
    0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise UsageError(
            f"The fraction to hold out must be greater than 0 and less than 1, got {fraction:g}. For a tenth of each "
            "class, use 0.1."
        )
    labels = np.asarray(labels)
    if len(keys) != len(labels):
        raise ValueError(f"{len(keys)} keys but {len(labels)} labels")
    digests = b"".join(hashlib.sha256(key.encode()).digest() for key in keys)
    words = np.frombuffer(digests, ">u8").reshape(-1, 4)
    order = np.lexsort((*words.T[::-1], labels))  # by label, and within a label by digest
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    held = np.zeros(len(keys), np.bool_)
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        num_held = min(max(round(fraction * count), 1), count - 1)
        held[order[start : start + num_held]] = True
    return held
