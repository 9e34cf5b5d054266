"""Images inside Parquet files, as Hugging Face publishes ImageNet-1k: a column of images and one of labels.

A word in the name of a file (train-00000-of-00294.parquet) or its folder determines the split. `formats.columns`
decides which columns are used and what the labels mean; `formats.parquet_images` locates the bytes of the images.
"""

from tench.data.files.tree import Tree
from tench.data.formats.columns import contents_of, image_column
from tench.data.formats.parquet_images import DAMAGE, find_images, open_file
from tench.data.labels.tables import is_parquet_list
from tench.data.table import Contents

NAME = "parquet"
OPTIONS = frozenset({"keys", "label", "split_from"})

_MAGIC = b"PAR1"


def recognise(tree: Tree) -> bool:
    from pyarrow import parquet

    for name in _names(tree)[:1]:
        try:
            with tree.open(name) as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    return _is_single(tree) and name.endswith(".parquet")
                schema = parquet.read_schema(file)
                asked = tree.options.record_keys().image in schema.names
                return asked or image_column(schema) is not None or (_is_single(tree) and not is_parquet_list(file))
        except DAMAGE:
            return True  # it begins like Parquet, and `read` reports what is wrong with it
    return False


def read(tree: Tree) -> Contents:
    """The table of Parquet files. Raises TenchError for a damaged file, and for invalid images or labels."""
    return contents_of(tree, [open_file(tree, name) for name in _names(tree)], find_images)


def _is_single(tree: Tree) -> bool:
    return len(tree) == 1 and tree.root / tree.names[0] == tree.source


def _names(tree: Tree) -> list[str]:
    return list(tree.names) if _is_single(tree) else [name for name in tree.others if name.endswith(".parquet")]
