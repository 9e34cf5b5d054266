"""A validation set from a source that has none: the same images each time, without anything to remember.

Whether an image is held out depends only on the keys and labels of its class, never on the order of rows, on a seed or
on the run: runs are compared on the same images, and an archive and the folder unpacked from it are split alike. The
price: adding or removing images can move a few others across the border.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tench.data.table import IntArray, Table
from tench.errors import UsageError


def hold_out(table: Table, fraction: float) -> tuple[Table, Table]:
    """(the rows that are left, the rows held out) of a table: the same ones for the same keys and labels."""
    out = held_out(table.keys(), table.labels, fraction)
    return table.subset(np.flatnonzero(~out)), table.subset(np.flatnonzero(out))


def held_out(keys: Sequence[str], labels: IntArray, fraction: float) -> npt.NDArray[np.bool_]:
    """Which images are for validation: about `fraction` of each class, those whose key has the smallest SHA-256.

    keys: unique. labels: (N,), one per key. Returns (N,) bool. Of a class with n images, round(fraction * n) are held
    out, but at least one and never all; of a class with a single image none. Raises UsageError unless
    0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise UsageError(
            f"A fraction of {fraction:g} of the images cannot be held out for validation: it must lie between 0 and 1, "
            "both excluded. Say, for example, 0.1 for a tenth of each class."
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
