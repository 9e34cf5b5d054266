"""HDF5 files: PatchCamelyon as published, and any file with a dataset of images and one of labels.

    camelyonpatch_level_2_split_train_x.h5[.gz]  x (262144, 96, 96, 3) uint8
    camelyonpatch_level_2_split_train_y.h5[.gz]  y (262144, 1, 1, 1)
    any.h5                                       images, labels

Contiguous datasets are addressed in place; chunked and compressed ones are copied once into the cache.
`tench.data.formats.arrays` decides the role of each dataset. h5py comes with the extra `interop`.
"""

from tench.data.files.compressed import first_bytes, form_of
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.arrays import contents_of
from tench.data.formats.hdf5 import MAGIC, open_file
from tench.data.table import Contents
from tench.errors import TenchError, counted

NAME = "hdf5"
OPTIONS = frozenset({"keys", "label", "split_from"})

_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
_FIRST_FILES = 8


def recognise(tree: Tree) -> bool:
    """Whether there are HDF5 files and no image files, or whether the source is an HDF5 file."""
    names = _files(tree)
    if not names or any(map(is_image_name, tree.names)):
        return False
    return any(_is_hdf5(tree, name) for name in names[:_FIRST_FILES])


def read(tree: Tree) -> Contents:
    """The table of the datasets. Raises TenchError for a damaged file, and if it is unclear which are images and
    labels."""
    files = [name for name in _files(tree) if _is_hdf5(tree, name)]
    contents = contents_of(tree, [array for name in files for array in open_file(tree, name)])
    if others := [name for name in tree.names if name not in files]:
        note = f"Left out {counted(len(others), 'non-HDF5 file')}, such as {others[0]}."
        return Contents(contents.classes, contents.splits, list(tree.stamp), [*contents.notes, note])
    return contents


def _files(tree: Tree) -> list[str]:
    if len(tree) == 1 and tree.source.is_file():
        return list(tree.names)
    return [name for name in tree.others if name.lower().removesuffix(".gz").endswith(_SUFFIXES)]


def _is_hdf5(tree: Tree, name: str) -> bool:
    try:
        with tree.open(name) as file:
            head = file.read(len(MAGIC))
            return (first_bytes(file, len(MAGIC)) if form_of(head) else head) == MAGIC
    except (TenchError, OSError):
        return False
