"""NumPy files: an .npz with images and labels (MedMNIST, Keras' mnist.npz), several of them, or pairs of .npy files.

    train_images (N, 28, 28, 3) uint8   train_labels (N, 1)   val_images ...     MedMNIST
    x_train (60000, 28, 28) uint8       y_train (60000,)      x_test ...         Keras
    images.npy                          labels.npy                               any

Uncompressed members are addressed in place; compressed ones are unpacked once into the cache. Nothing is unpickled.
`tench.data.formats.arrays` decides the role of each array.
"""

import contextlib
import itertools
from collections.abc import Iterator

from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.arrays import contents_of, may_be_images, may_be_labels
from tench.data.formats.npy import MAGIC, open_array
from tench.data.table import Contents
from tench.errors import TenchError

NAME = "npz"
OPTIONS = frozenset({"keys", "label", "split_from"})

_ZIP = b"PK\x03\x04"
_MAX_PAIRED = 64
"""If there are more .npy files than this, they are single images or features, not images and labels of whole splits."""


def recognise(tree: Tree) -> bool:
    """Whether the tree has no image files, but .npz files, or .npy files with the shapes of images and their labels."""
    names = list(itertools.islice(_files(tree), _MAX_PAIRED + 1))
    if not names or any(map(is_image_name, tree.names)):
        return False
    if tree.source.suffix == ".npz":
        return len(names) == len(tree) or len(names) > _MAX_PAIRED
    if packed := next((name for name in names if name.endswith(".npz")), None):
        return _begins(tree, packed, _ZIP)
    return len(names) <= _MAX_PAIRED and _has_pair(tree, names)


def read(tree: Tree) -> Contents:
    """The table of the arrays. Raises TenchError for a damaged array, and if it is unclear which are images and
    labels."""
    packed = [name for name in _files(tree) if name.endswith(".npz")]
    opened = tree.opened(packed) if packed else tree
    arrays = [
        open_array(opened, name, name.removesuffix(".npy"))
        for name in opened.names
        if name.endswith(".npy") and (not packed or any(name.startswith(f"{file}/") for file in packed))
    ]
    return contents_of(opened, arrays)


def _files(tree: Tree) -> Iterator[str]:
    return (name for name in tree.names if name.endswith((".npz", ".npy")))


def _begins(tree: Tree, name: str, magic: bytes) -> bool:
    try:
        with tree.open(name) as file:
            return file.read(len(magic)) == magic
    except (TenchError, OSError):
        return False


def _has_pair(tree: Tree, names: list[str]) -> bool:
    """Whether one file has the shape of images and another that of the same number of labels."""
    arrays = []
    for name in names:
        if _begins(tree, name, MAGIC):
            with contextlib.suppress(TenchError):
                arrays.append(open_array(tree, name, name.removesuffix(".npy")))
    counts = {len(array) for array in arrays if may_be_images(array)}
    return any(len(array) in counts and may_be_labels(array) for array in arrays)
