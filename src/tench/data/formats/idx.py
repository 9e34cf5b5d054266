"""The idx form of MNIST and its relatives: a header of a few big-endian numbers, then the raw values.

A plain file is addressed in place. A compressed one is a stream that is read once, and no further than its header
promises. Source: yann.lecun.com/exdb/mnist, "The IDX file format".
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tench.data.files.compressed import decompressed, form_of
from tench.data.files.tree import Tree
from tench.errors import TenchError

_UBYTE = 8
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4"}
_MAX_DEFLATE_RATIO = 1032
"""Deflate cannot shrink data by more than this factor, so a header that promises more is wrong."""
_FEW_IMAGES = 100_000
"""More images than this must have at least one byte each in a compressed file (real ones have about 100), and at
least _MIN_PIXELS pixels, because a row takes about 150 bytes of memory while a table is built."""
_MIN_PIXELS = 16
_MOST_IMAGES = 10_000_000
"""Infinite MNIST has 8,100,000 images."""


@dataclasses.dataclass(frozen=True)
class Idx:
    """An idx file of a tree whose header has been checked. shape: (N,) or (N, M) of labels, (N, H, W) of images.

    form: how the file is compressed, None if it is plain.
    """

    name: str
    place: str
    dtype: np.dtype[np.integer]
    shape: tuple[int, ...]
    form: str | None

    @property
    def header_bytes(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def data_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def promise(self) -> str:
        """The contents of the header, for an error message."""
        what = {1: "labels", 2: "rows of {1} numbers", 3: "images of {1}x{2} pixels"}[len(self.shape)]
        return f"its header promises {{0:,}} {what}".format(*self.shape) + f" = {self.data_bytes:,} bytes"


def magic(tree: Tree, name: str) -> int | None:
    """The first four bytes of a file, decompressed, as a number; None if it has fewer or cannot be read."""
    try:
        head = _head(tree, name, 6)[0][:4]
    except (OSError, TenchError):
        return None
    return int.from_bytes(head, "big") if len(head) == 4 else None


def is_images(number: int | None) -> bool:
    """Whether a magic number means images: unsigned bytes in three dimensions."""
    return number == _UBYTE << 8 | 3


def is_labels(number: int | None) -> bool:
    """Whether a magic number means labels: whole numbers in one dimension, or QMNIST's rows of eight."""
    return number is not None and (number == 12 << 8 | 2 or (number >> 8 in _TYPES and number & 0xFF == 1))


def open_idx(tree: Tree, name: str, *, images: bool) -> Idx:
    """A file of images or of labels. Raises TenchError if the header is invalid or belongs to another kind of file."""
    place = tree.place(name)
    head, form = _head(tree, name, 16)
    number = int.from_bytes(head[:4], "big")
    if len(head) >= 4 and not (is_images(number) if images else is_labels(number)):
        raise TenchError(
            f"{place} begins with the number {number}{_meaning(number)}; an idx file of "
            f"{'images begins with 2051' if images else 'labels begins with 2049'}. Check that the file has the right "
            "name, or download it again."
        )
    dimensions = number & 0xFF
    if len(head) < 4 or len(head) < 4 + 4 * dimensions:
        needed = 4 + 4 * (dimensions or 1)
        raise TenchError(
            f"{place} has {len(head)} bytes, fewer than the {needed} of an idx header. Copy or download it again."
        )
    shape = tuple(np.frombuffer(head, ">u4", dimensions, offset=4).tolist())
    idx = Idx(name, place, np.dtype(_TYPES[number >> 8]), shape, form)
    _check_size(idx, int(tree.length[tree.index(name)]))
    return idx


def data(tree: Tree, idx: Idx) -> Iterator[bytes]:
    """The data after the header, in blocks. Raises TenchError at the end if its length does not match the header."""
    to_skip, left = idx.header_bytes, idx.data_bytes
    with tree.open(idx.name) as file:
        blocks = (piece for piece, _ in decompressed(file, idx.place)) if idx.form else _blocks(file)
        for block in blocks:
            block, to_skip = block[to_skip:], max(0, to_skip - len(block))
            if len(block) > left:
                raise TenchError(f"{idx.place}: {idx.promise}, but the file has more. Copy or download it again.")
            left -= len(block)
            yield block
    if left:
        raise TenchError(
            f"{idx.place}: {idx.promise}, but the file has {idx.data_bytes - left:,}. Copy or download it again."
        )


def values(tree: Tree, idx: Idx) -> npt.NDArray[np.int64]:
    """The labels of a file, (N,); if an image has several numbers, the first."""
    found = np.frombuffer(b"".join(data(tree, idx)), idx.dtype).reshape(idx.shape)
    return (found if found.ndim == 1 else found[:, 0]).astype(np.int64)


def _head(tree: Tree, name: str, length: int) -> tuple[bytes, str | None]:
    with tree.open(name) as file:
        head = file.read(length)
        form = form_of(head)
        if form:
            head = b""
            for piece, _ in decompressed(file, tree.place(name)):
                head += piece[: length - len(head)]
                if len(head) == length:
                    break
        return head, form


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _meaning(number: int) -> str:
    if is_images(number):
        return ", which means images"
    return ", which means labels" if is_labels(number) else ""


def _check_size(idx: Idx, file_bytes: int) -> None:
    """Raise TenchError if the header cannot be true for a file of this size."""
    if not idx.data_bytes:
        raise TenchError(f"{idx.place}: {idx.promise}, so it is empty. Copy or download it again.")
    if idx.form is None and (found := file_bytes - idx.header_bytes) != idx.data_bytes:
        raise TenchError(
            f"{idx.place}: {idx.promise} after the first {idx.header_bytes}, but the file has {found:,}. "
            "Copy or download it again."
        )
    if idx.form == "gzip" and idx.data_bytes > file_bytes * _MAX_DEFLATE_RATIO:
        raise TenchError(
            f"{idx.place}: {idx.promise}, more than a gzip file of {file_bytes:,} bytes can contain. It may have been "
            "truncated while copying. Copy or download it again."
        )
    if len(idx.shape) != 3:
        return
    count, height, width = idx.shape
    if count > _MOST_IMAGES:
        raise TenchError(
            f"{idx.place}: {idx.promise}. A file may have at most {_MOST_IMAGES:,} images. It is damaged, or is "
            "something else."
        )
    if height * width < _MIN_PIXELS and count > _FEW_IMAGES:
        raise TenchError(
            f"{idx.place}: {idx.promise}. This many images of fewer than {_MIN_PIXELS} pixels are not a dataset. The "
            "file is damaged, or is something else."
        )
    if idx.form and count > max(_FEW_IMAGES, file_bytes):
        raise TenchError(
            f"{idx.place}: {idx.promise}, but the compressed file has only {file_bytes:,}, less than one per "
            "image. Real images do not compress this well, so it is not unpacked."
        )
