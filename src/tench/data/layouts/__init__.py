"""The layouts of a source: one module each, with four names.

- `NAME`: its name in `tench info`.
- `OPTIONS`: the fields of `SourceOptions` that it uses, read from `tree.options`.
- `recognise(tree) -> bool`: whether these files have this layout, by names and content. It is fast and never raises.
- `read(tree) -> Contents`: the table. Raises TenchError if the source is damaged or ambiguous.

A source without a path has a name instead: its module has `NAME` and `read(text, spool)`, where `spool` is a folder in
the cache.
"""

from pathlib import Path
from typing import Protocol

from tench.data.files.tree import Tree
from tench.data.layouts import (
    arrow,
    caltech,
    cifar,
    digits,
    hdf5,
    ilsvrc,
    imagenet_eval,
    kaggle,
    listed,
    lmdb,
    mnist,
    npz,
    parquet,
    pixel_table,
    recordio,
    stl10,
    svhn,
    synsets,
    synthetic,
    tfrecord,
    webdataset,
)
from tench.data.table import Contents


class Layout(Protocol):
    NAME: str
    OPTIONS: frozenset[str]

    def recognise(self, tree: Tree) -> bool: ...

    def read(self, tree: Tree) -> Contents: ...


class Named(Protocol):
    NAME: str

    def read(self, text: str, spool: Path) -> Contents: ...


LAYOUTS: tuple[Layout, ...] = (
    mnist,
    cifar,
    stl10,
    svhn,
    pixel_table,
    ilsvrc,
    kaggle,
    synsets,
    imagenet_eval,
    caltech,
    webdataset,
    tfrecord,
    recordio,
    parquet,
    arrow,
    npz,
    hdf5,
    lmdb,
    listed,
)
"""The layouts that recognise their files. `folder` reads any folder that none of them recognises."""

NAMED: dict[str, Named] = {digits.NAME: digits, synthetic.NAME: synthetic}
"""Sources that are not paths, by the word before any colon."""
