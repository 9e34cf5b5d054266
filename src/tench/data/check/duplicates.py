"""Find images that are in a dataset more than once, exactly or nearly.

Images are equal if their files have the same bytes. They are near if they look alike when shrunk to 9 x 9 grey values:
of 128 comparisons between neighbours (64 from left to right and 64 from top to bottom, a difference hash in each
direction) at most MAX_DIFFERENT differ. This finds a photograph that was saved again at another quality, resized,
converted to grey, or brightened, as long as little of it turns white. It does not find one that was mirrored, rotated,
or cropped by more than a few per cent. Different photographs differ in 24 or more comparisons (250 images of ImageNet,
31,125 pairs). Images for which such a grid is meaningless are skipped: those with a side below 32 pixels, and nearly
plain ones.
"""

import dataclasses
import hashlib
import itertools
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tench.data.formats import real
from tench.data.images.image import Pixels
from tench.data.table import Dataset, IntArray

KEPT_BYTES = 16
"""Bytes of an image's digest or hash."""

MAX_DIFFERENT = 10
"""Maximum number of differing comparisons, of 128, between near images."""

_GRID = 9
_MIN_PIXELS = 32
_MIN_CONTRAST = 8.0
"""Minimum difference between the brightest and the darkest cell of the grid, of 255."""
_BANDED_PIXELS = 128

_NUM_BLOCKS = MAX_DIFFERENT + 2
"""With two more blocks than bits that may differ, near images share at least two blocks, so images that do are
compared."""
_MAX_CROWD = 64
"""Each image is compared with at most this many others that share two blocks; only plain drawings exceed it."""
_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)


@dataclasses.dataclass(frozen=True)
class Copy:
    """One of several images that are the same. class_id: "" if it has no label."""

    split: str
    key: str
    class_id: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that are the same, in the order of splits and rows. A near image is near to at least one other, not to
    all."""

    images: tuple[Copy, ...]

    @property
    def across_splits(self) -> bool:
        """Whether they are in several splits, so that validation sees training images."""
        return len({image.split for image in self.images}) > 1

    @property
    def contradicts(self) -> bool:
        """Whether their labels differ."""
        return len({image.class_id for image in self.images} - {""}) > 1

    def to_json(self) -> dict[str, Any]:
        """{"images": [{split, key, class_id}], "across_splits": whether, "contradicts": whether}."""
        return dataclasses.asdict(self) | {"across_splits": self.across_splits, "contradicts": self.contradicts}


def digest(data: bytes) -> bytes:
    """The digest for finding equal images: SHA-1, the fastest hash in OpenSSL here, truncated to 16 bytes."""
    return hashlib.sha1(data, usedforsecurity=False).digest()[:KEPT_BYTES]


def difference_hash(pixels: Pixels) -> bytes | None:
    """The 128-bit hash for finding images near to an image (H, W, 3); None if the image is too small or too plain."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    if min(height, width) < _MIN_PIXELS:
        return None
    if height >= _BANDED_PIXELS:  # rows first, which takes a fifth of the time of areas with fractional borders
        edges = np.linspace(0, height, _GRID + 1).astype(int)
        bands = [
            cv2.reduce(grey[start:stop], 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
            for start, stop in itertools.pairwise(edges.tolist())
        ]
        grey = np.concatenate(bands)
    grid = cv2.resize(grey.astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    if grid.max() - grid.min() < _MIN_CONTRAST:
        return None
    across, down = grid[:-1, 1:] > grid[:-1, :-1], grid[1:, :-1] > grid[:-1, :-1]
    return np.packbits([across, down]).tobytes()


def equal_groups(dataset: Dataset, digests: npt.NDArray[np.uint8], taken: npt.NDArray[np.bool_]) -> tuple[Group, ...]:
    """The groups of images with the same content.

    digests: (N, 16), of all rows, split by split. taken: (N,), which rows to compare.
    """
    lengths = np.concatenate([table.lengths for table in dataset.splits.values()])
    rows = np.flatnonzero(taken)
    first = _first_equal(*_words(digests[rows]).T, lengths[rows])
    return _groups(dataset, rows, first)


def near_groups(
    dataset: Dataset, hashes: npt.NDArray[np.uint8], digests: npt.NDArray[np.uint8], taken: npt.NDArray[np.bool_]
) -> tuple[Group, ...]:
    """The groups of images that look alike but do not all have the same content. Arguments as for `equal_groups`.

    Takes about 10 s for a million images, and 300 bytes of memory for each.
    """
    rows = np.flatnonzero(taken)
    words = _words(hashes[rows])
    first = _first_equal(*words.T)
    distinct, place = np.unique(first, return_inverse=True)
    alike = _first_near(words[distinct])[place]
    content = _first_equal(*_words(digests[rows]).T)
    _, place = np.unique(alike, return_inverse=True)
    lowest, highest = np.full(len(rows), len(rows)), np.full(len(rows), -1)
    np.minimum.at(lowest, place, content)
    np.maximum.at(highest, place, content)
    differ = lowest[place] < highest[place]
    return _groups(dataset, rows[differ], alike[differ])


def _first_equal(*columns: IntArray) -> IntArray:
    """For each row the first row that equals it in all columns."""
    order = np.lexsort(columns)  # stable, so that the first of equal rows leads
    new = np.zeros(len(order), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    first = np.empty_like(order)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def _first_near(words: npt.NDArray[np.uint64]) -> IntArray:
    """For each row, the first row linked to it by a chain of near rows. words: (N, 2), all different."""
    first = np.arange(len(words))
    blocks = _blocks(words)
    for one, other in itertools.combinations(range(_NUM_BLOCKS), 2):
        shared = blocks[one].astype(np.uint32) << 16 | blocks[other]
        order = np.argsort(shared, kind="stable")
        shared = shared[order]
        for step in range(1, _MAX_CROWD + 1):
            at = np.flatnonzero(shared[step:] == shared[:-step])
            if not len(at):
                break
            left, right = order[at], order[at + step]
            apart = first[left] != first[right]
            left, right = left[apart], right[apart]
            differing = _ONES[(words[left] ^ words[right]).view(np.uint8)].sum(1)
            _link(first, left[differing <= MAX_DIFFERENT], right[differing <= MAX_DIFFERENT])
    return first


def _blocks(words: npt.NDArray[np.uint64]) -> list[npt.NDArray[np.uint16]]:
    """The 128 bits of each row, split into blocks of 10 or 11."""
    bits = np.unpackbits(words.view(np.uint8), axis=1)
    edges = np.linspace(0, bits.shape[1], _NUM_BLOCKS + 1).astype(int)
    return [
        bits[:, start:stop] @ (1 << np.arange(stop - start, dtype=np.uint16))
        for start, stop in itertools.pairwise(edges.tolist())
    ]


def _link(first: IntArray, left: IntArray, right: IntArray) -> None:
    """Join the sets that contain `left` and `right`; `first` has the first row of each row's set."""
    while len(left):
        low, high = np.minimum(first[left], first[right]), np.maximum(first[left], first[right])
        np.minimum.at(first, high, low)
        while (first != (shorter := first[first])).any():
            first[:] = shorter
        apart = first[left] != first[right]
        left, right = left[apart], right[apart]


def _groups(dataset: Dataset, rows: IntArray, first: IntArray) -> tuple[Group, ...]:
    """The groups of rows (counted over all splits) with the same `first`. ReaL is left out: its rows repeat val."""
    order = np.argsort(first, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(first[order])) + 1)
    starts = np.cumsum([0, *(len(table) for table in dataset.splits.values())])
    names = list(dataset.splits)

    def copy_at(row: int) -> Copy:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        table, at = dataset.splits[names[number]], row - int(starts[number])
        label = int(table.labels[at])
        return Copy(names[number], table.key(at), dataset.classes.ids[label] if label >= 0 else "")

    copies = ([copy_at(row) for row in rows[run].tolist()] for run in runs if len(run) > 1)
    own = ([copy for copy in group if copy.split != real.SPLIT] for group in copies)
    return tuple(Group(tuple(group)) for group in own if len(group) > 1)


def _words(kept: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(kept).view(np.uint64)
