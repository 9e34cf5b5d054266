"""The layouts a source can have: one module each, with three things.

- `NAME`: what `tench info` calls it.
- `recognise(tree) -> bool`: whether these files are such a source, by names and content; quick, and without error.
- `read(tree) -> Contents`: its table; TenchError when it is one but broken.

A source that is no path has a name instead: its module has `NAME` and `read(text, spool)`, `spool` being a folder of
ours in the cache.
"""

from pathlib import Path
from typing import Protocol

from tench.data.files.tree import Tree
from tench.data.layouts import (
    caltech,
    cifar,
    digits,
    ilsvrc,
    imagenet_eval,
    kaggle,
    listed,
    mnist,
    parquet,
    recordio,
    synsets,
    synthetic,
    tfrecord,
    webdataset,
)
from tench.data.table import Contents


class Layout(Protocol):
    NAME: str

    def recognise(self, tree: Tree) -> bool: ...

    def read(self, tree: Tree) -> Contents: ...


class Named(Protocol):
    NAME: str

    def read(self, text: str, spool: Path) -> Contents: ...


LAYOUTS: tuple[Layout, ...] = (
    mnist,
    cifar,
    ilsvrc,
    kaggle,
    synsets,
    imagenet_eval,
    caltech,
    webdataset,
    tfrecord,
    recordio,
    parquet,
    listed,
)
"""Those that recognise what is theirs. `folder` takes any folder that none of them does."""

NAMED: dict[str, Named] = {digits.NAME: digits, synthetic.NAME: synthetic}
"""Sources that are no path, by the word before any colon."""
