"""SVHN's cropped digits: `train_32x32.mat`, `test_32x32.mat` and `extra_32x32.mat` as published.

A file contains `X`, 32 x 32 x 3 x N numbers with the image as the last dimension, so the pixels are copied once into
the cache. `y` has labels from 1 to 10, and 10 is the digit 0. The extra images are a second, easier training set, so
an error asks the user whether to train on them."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data import splits
from tench.data.files.tree import Tree
from tench.data.formats.mat import read_mat
from tench.data.formats.raw_pixels import spooled_rows
from tench.data.table import Classes, Contents
from tench.errors import TenchError, counted, some

NAME = "svhn"
OPTIONS = frozenset[str]()

_FILE = re.compile(r"(?:train|test|extra)_32x32\.mat")
_SHAPE = (32, 32, 3)
_MOST_FILE_BYTES = 2**31 - 1
"""extra_32x32.mat is 1.3 GB. The format cannot store more than 2 GiB."""
_IMAGES_PER_BLOCK = 4096


def recognise(tree: Tree) -> bool:
    """Whether the tree contains a file with a published name."""
    return bool(_files(tree))


def read(tree: Tree) -> Contents:
    """The digits of each file, with keys numbered in its order."""
    by_split, notes = splits.group_by_split(_files(tree), str(tree.source), "files of digits")
    rows = {}
    for split, names in by_split.items():
        if len(names) > 1:
            raise TenchError(
                f"{tree.source}: several files belong to the split {split}: {some(names)}. Pass the folder of one."
            )
        images, labels = _arrays(tree, names[0])
        rows[split] = spooled_rows(tree, names[0], _blocks(images), labels, _SHAPE)
    notes.append("Label 10 of SVHN is the digit 0.")
    shards = [shard for split in rows.values() for shard in split.shards]
    return Contents(Classes.of(list("0123456789")), rows, [*dict.fromkeys([*tree.stamp, *shards])], notes)


def _files(tree: Tree) -> list[str]:
    return [name for name in tree.others if name.endswith("_32x32.mat") and _FILE.fullmatch(name.rpartition("/")[2])]


def _arrays(tree: Tree, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The images, (32, 32, 3, N), and the digits, (N,)."""
    where = tree.place(name)
    data = tree.read(name, "an SVHN file", _MOST_FILE_BYTES)
    found = read_mat(data, where)
    images, labels = found.get("X"), found.get("y")
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.shape[:3] != _SHAPE
        or images.ndim not in (3, 4)
    ):
        raise TenchError(
            f"{where}: X is {_described(images)}, but should be uint8 of shape (32, 32, 3, N). Download it again."
        )
    images = images.reshape(*_SHAPE, -1, order="F")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "uif" or labels.size != images.shape[3]:
        raise TenchError(
            f"{where}: y is {_described(labels)}, but should have a number for each of the {images.shape[3]:,} images. "
            "Download it again."
        )
    values = labels.reshape(-1)
    wrong = np.flatnonzero(~((values >= 1) & (values <= 10) & (values == np.floor(values))))
    if len(wrong):
        raise TenchError(
            f"{where}: label {wrong[0]} (counted from 0) is {values[wrong[0]]}, but labels are from 1 to 10. "
            f"This affects {counted(len(wrong), 'label')}. Download it again."
        )
    return images, (values.astype(np.int32) % 10).astype(np.int32)


def _described(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _blocks(images: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, images.shape[3], _IMAGES_PER_BLOCK):
        yield images[..., start : start + _IMAGES_PER_BLOCK].transpose(3, 0, 1, 2)
