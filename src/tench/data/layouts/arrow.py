"""Images inside Arrow files: a folder that Hugging Face's `save_to_disk` wrote, or any Arrow stream or file.

    dataset_dict.json  train/state.json  train/dataset_info.json  train/data-00000-of-00002.arrow  test/...

A word in the name of a file or its folder determines the split. `formats.columns` decides which columns are used and
what the labels mean; `formats.arrow_images` locates the bytes of the images.
"""

import pyarrow as pa

from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.arrow_images import begins_as_arrow, found_already, open_file, schema_of
from tench.data.formats.columns import contents_of, image_column
from tench.data.table import Contents
from tench.errors import TenchError

NAME = "arrow"
OPTIONS = frozenset({"keys", "label", "split_from"})

_SUFFIXES = (".arrow", ".feather", ".ipc")
_FIRST_FILES = 4


def recognise(tree: Tree) -> bool:
    """Whether there are Arrow files with images in them and no image files, or whether the source is an Arrow file."""
    names = _files(tree)
    if not names or any(map(is_image_name, tree.names)):
        return False
    if not any(_is_arrow(tree, name) for name in names[:_FIRST_FILES]):
        return False
    try:
        schema = schema_of(tree, names[0])
        return tree.source.is_file() or tree.options.keys is not None or image_column(schema) is not None
    except (pa.ArrowException, OSError):
        return True  # `read` reports what is wrong with it


def read(tree: Tree) -> Contents:
    """The table of Arrow files. Raises TenchError for a damaged file, and for invalid images or labels."""
    return contents_of(tree, [open_file(tree, name) for name in _files(tree)], found_already)


def _files(tree: Tree) -> list[str]:
    """The Arrow files, except those that cache the results of `map` in a folder written by save_to_disk."""
    found = [name for name in tree.names if name.endswith(_SUFFIXES)]
    if not found and len(tree) == 1 and tree.source.is_file() and _is_arrow(tree, tree.names[0]):
        return list(tree.names)
    return [name for name in found if not name.rpartition("/")[2].startswith("cache-")]


def _is_arrow(tree: Tree, name: str) -> bool:
    try:
        with tree.open(name) as file:
            return begins_as_arrow(file.read(6))
    except (TenchError, OSError):
        return False
