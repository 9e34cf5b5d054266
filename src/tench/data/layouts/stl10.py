"""STL-10 in its binary form, in the archive as published or unpacked.

`train_X.bin` and `test_X.bin` contain 96 x 96 pixels per image, as three planes stored by columns, and `train_y.bin`
and `test_y.bin` one byte from 1 to 10 per image. Images are read by rows, so the pixels are copied once into the cache
in that order. The 100,000 images of `unlabeled_X.bin`, for unsupervised learning, are left out. So are the ten folds of
`fold_indices.txt`, which are a test protocol and not a split."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tench.data.files.tree import Tree
from tench.data.formats.raw_pixels import spooled_rows
from tench.data.table import Classes, Contents
from tench.errors import TenchError, counted

NAME = "stl10"
OPTIONS = frozenset[str]()

_SIDE, _CHANNELS = 96, 3
_IMAGE_BYTES = _SIDE * _SIDE * _CHANNELS
_NUM_CLASSES = 10
_PUBLISHED = {"train": 5000, "test": 8000}
_NAMES, _FOLDS, _UNLABELLED = "class_names.txt", "fold_indices.txt", "unlabeled_X.bin"
_IMAGES_PER_BLOCK = 500
_MOST_BYTES = 2**30
"""Size limit of a split's images; the published test_X.bin is 221 MB."""


def recognise(tree: Tree) -> bool:
    """Whether the tree contains a file of images under its published name, with whole images or next to its labels."""
    return bool(_folders(tree))


def read(tree: Tree) -> Contents:
    """The images of train and test, with keys numbered in the order of the files."""
    folders = _folders(tree)
    if len(folders) > 1:
        raise TenchError(
            f"{tree.source} contains STL-10 in several folders: {', '.join(folder or '.' for folder in folders)}. "
            "Pass one of them."
        )
    inside = f"{folders[0]}/" if folders[0] else ""
    classes, notes = _classes(tree, inside)
    splits = {}
    for split, published in _PUBLISHED.items():
        images, labels = f"{inside}{split}_X.bin", f"{inside}{split}_y.bin"
        if images not in tree and labels not in tree:
            notes.append(f"There is no {split}_X.bin, so there is no split {split!r}.")
            continue
        for there, other in ((images, labels), (labels, images)):
            if other not in tree:
                raise TenchError(
                    f"{tree.place(there)}: its counterpart {other.removeprefix(inside)} is missing. Pass "
                    "the folder that contains both, or unpack the archive again."
                )
        values = _labels(tree, images, labels)
        if len(values) != published:
            notes.append(f"{split}_X.bin contains {counted(len(values), 'image')}; as published it has {published:,}.")
        splits[split] = spooled_rows(tree, images, _blocks(tree, images), values, (_SIDE, _SIDE, _CHANNELS))
    if f"{inside}{_UNLABELLED}" in tree:
        count = int(tree.length[tree.index(f"{inside}{_UNLABELLED}")]) // _IMAGE_BYTES
        notes.append(f"Left out the {count:,} images of {_UNLABELLED}, which have no labels.")
    if f"{inside}{_FOLDS}" in tree:
        notes.append(f"The folds of {_FOLDS} are not used; all of train_X.bin is the split train.")
    shards = [shard for rows in splits.values() for shard in rows.shards]
    return Contents(classes, splits, [*dict.fromkeys([*tree.stamp, *shards])], notes)


def _folders(tree: Tree) -> list[str]:
    found = set()
    for name in tree.others:
        if name.endswith(("train_X.bin", "test_X.bin")):
            folder, _, base = name.rpartition("/")
            size = int(tree.length[tree.index(name)])
            if base in ("train_X.bin", "test_X.bin") and (
                (size and size % _IMAGE_BYTES == 0) or f"{name[:-5]}y.bin" in tree
            ):
                found.add(folder)
    return sorted(found)


def _classes(tree: Tree, inside: str) -> tuple[Classes, list[str]]:
    file = f"{inside}{_NAMES}"
    if file not in tree:
        numbers = [str(number) for number in range(1, _NUM_CLASSES + 1)]
        return Classes.of(numbers), [f"There is no {_NAMES}, so the classes are only numbers."]
    text = tree.read(file, "a list of classes")
    names = text.decode("utf-8", "replace").split()
    if len(set(names)) != _NUM_CLASSES or len(names) != _NUM_CLASSES:
        raise TenchError(
            f"{tree.place(file)} lists {len(names)} class names ({len(set(names))} distinct), but STL-10 has "
            f"{_NUM_CLASSES} classes. Unpack the archive again, or leave the file out with --exclude {_NAMES}."
        )
    return Classes.of(names), []


def _labels(tree: Tree, images: str, labels: str) -> npt.NDArray[np.int32]:
    """The labels, counted from 0. Raises TenchError if the sizes of the two files do not match."""
    image_bytes, count = int(tree.length[tree.index(images)]), int(tree.length[tree.index(labels)])
    if not image_bytes or image_bytes % _IMAGE_BYTES:
        raise TenchError(
            f"{tree.place(images)} has {image_bytes:,} bytes, which is {image_bytes / _IMAGE_BYTES:,.2f} images of "
            f"{_IMAGE_BYTES:,} bytes. It may have been truncated. Unpack the archive again."
        )
    tree.limits.require(image_bytes, _MOST_BYTES, tree.place(images), "a file of STL-10's images")
    if count != image_bytes // _IMAGE_BYTES:
        raise TenchError(
            f"{tree.place(images)} contains {counted(image_bytes // _IMAGE_BYTES, 'image')}, but {tree.place(labels)} "
            f"contains {counted(count, 'label')}. Unpack the archive again."
        )
    values = np.frombuffer(tree.read(labels), np.uint8).astype(np.int32)
    if len(wrong := np.flatnonzero((values < 1) | (values > _NUM_CLASSES))):
        raise TenchError(
            f"{tree.place(labels)}: label {wrong[0]} (counted from 0) is {values[wrong[0]]}, but labels are from 1 to "
            f"{_NUM_CLASSES}. This affects {counted(len(wrong), 'label')}. Unpack the archive again."
        )
    return values - 1


def _blocks(tree: Tree, name: str) -> Iterator[npt.NDArray[np.uint8]]:
    with tree.open(name) as file:
        while block := file.read(_IMAGE_BYTES * _IMAGES_PER_BLOCK):
            planes = np.frombuffer(block, np.uint8).reshape(-1, _CHANNELS, _SIDE, _SIDE)  # (N, C, W, H)
            yield planes.transpose(0, 3, 2, 1)
