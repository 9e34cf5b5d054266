"""Find images that are in a dataset more than once, exactly or nearly.

Equal are images whose files have the same bytes. Near are images that look alike when shrunk to 9 x 9 grey values: of
128 comparisons between neighbours (64 each from left to right and from top to bottom: a difference hash, twice) at most
MAX_DIFFERENT come out otherwise. That finds a photograph that was saved anew at another quality, resized, made grey, or
brightened as long as little of it turns white; not one that was mirrored, turned, or cropped by more than a few per
cent. Different photographs differ in 24 and more (250 of ImageNet, 31,125 pairs). Not looked at is what such a grid
says nothing of: images with a side of less than 32 pixels, and nearly plain ones.
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
"""The value of an image in either kind of comparison."""

MAX_DIFFERENT = 10
"""Comparisons of 128 that differ between near images."""

_GRID = 9
_MIN_PIXELS = 32
_MIN_CONTRAST = 8.0
"""Between the brightest and the darkest field of the grid, of 255."""
_BANDED_PIXELS = 128

_NUM_BLOCKS = MAX_DIFFERENT + 2
"""With two blocks of bits more than can differ, two blocks of near images are equal: whoever shares two is compared."""
_MAX_CROWD = 64
"""Of images that share two blocks, each is compared with so many that follow; only plain drawings are such crowds."""
_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)


@dataclasses.dataclass(frozen=True)
class Copy:
    """One of several images that are the same. class_id: "" where it has no label."""

    split: str
    key: str
    class_id: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that are the same, in the order of splits and rows. Of near images each is near to another, not to all."""

    images: tuple[Copy, ...]

    @property
    def across_splits(self) -> bool:
        """Whether they are in several splits, so that training images are also validated on."""
        return len({image.split for image in self.images}) > 1

    @property
    def contradicts(self) -> bool:
        """Whether their labels differ."""
        return len({image.class_id for image in self.images} - {""}) > 1

    def to_json(self) -> dict[str, Any]:
        """{"images": [{split, key, class_id}], "across_splits": whether, "contradicts": whether}."""
        return dataclasses.asdict(self) | {"across_splits": self.across_splits, "contradicts": self.contradicts}


def digest(data: bytes) -> bytes:
    """What is kept of an image to find its equals: SHA-1, which is the fastest in OpenSSL here, cut to 16 bytes."""
    return hashlib.sha1(data, usedforsecurity=False).digest()[:KEPT_BYTES]


def difference_hash(pixels: Pixels) -> bytes | None:
    """What is kept of an image (H, W, 3) to find those near to it, 128 bits; None where it has too little in it."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    if min(height, width) < _MIN_PIXELS:
        return None
    if height >= _BANDED_PIXELS:  # row by row first, which takes a fifth of the time of areas with broken borders
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
    """The images of the same content.

    digests: (N, 16), of all rows, split after split. taken: (N,), which of them to look at.
    """
    lengths = np.concatenate([table.lengths for table in dataset.splits.values()])
    rows = np.flatnonzero(taken)
    first = _first_equal(*_words(digests[rows]).T, lengths[rows])
    return _groups(dataset, rows, first)


def near_groups(
    dataset: Dataset, hashes: npt.NDArray[np.uint8], digests: npt.NDArray[np.uint8], taken: npt.NDArray[np.bool_]
) -> tuple[Group, ...]:
    """The images that look alike, and are not all of the same content. Arguments as of `equal_groups`.

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
    order = np.lexsort(columns)  # stable, so that of equal rows the first leads
    new = np.zeros(len(order), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    first = np.empty_like(order)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def _first_near(words: npt.NDArray[np.uint64]) -> IntArray:
    """For each row, all of them different, the first row that is linked to it by rows near to each other. (N, 2)"""
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
    """The 128 bits of each row cut into blocks of 10 or 11."""
    bits = np.unpackbits(words.view(np.uint8), axis=1)
    edges = np.linspace(0, bits.shape[1], _NUM_BLOCKS + 1).astype(int)
    return [
        bits[:, start:stop] @ (1 << np.arange(stop - start, dtype=np.uint16))
        for start, stop in itertools.pairwise(edges.tolist())
    ]


def _link(first: IntArray, left: IntArray, right: IntArray) -> None:
    """Join the sets of rows in which `left` and `right` are; `first` holds the first row of each row's set."""
    while len(left):
        low, high = np.minimum(first[left], first[right]), np.maximum(first[left], first[right])
        np.minimum.at(first, high, low)
        while (first != (shorter := first[first])).any():
            first[:] = shorter
        apart = first[left] != first[right]
        left, right = left[apart], right[apart]


def _groups(dataset: Dataset, rows: IntArray, first: IntArray) -> tuple[Group, ...]:
    """Rows (counted over all splits) with the same `first`, where they are several; those of ReaL are val's again."""
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
