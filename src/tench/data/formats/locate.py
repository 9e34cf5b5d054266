"""Where the images are that a list names: in the tree that was opened, or elsewhere on disk.

A file elsewhere is asked for its size, one call for each: 1.28 million of them take some seconds on a local disk. Its
folder then joins the stamp, so that files which come or go there are noticed.
"""

import dataclasses
import os
import stat
from collections.abc import Sequence
from typing import Any

import numpy as np

from tench.data.files.names import composed
from tench.data.files.tree import Tree
from tench.data.table import Rows

MISSING = -1
_NUM_PROBES = 50


class Files:
    """The files of a tree (none where `inside` is False), and those around it if the tree is on disk."""

    def __init__(self, tree: Tree, *, inside: bool, on_disk: bool) -> None:
        self._tree, self._on_disk = tree, on_disk
        self._position = {name: position for position, name in enumerate(tree.names)} if inside else {}
        self._used = np.zeros(len(tree), np.bool_)
        self._paths: list[str] = []
        self._sizes: list[int] = []

    def has(self, name: str) -> bool:
        """Whether there is a file, by its name from the tree's root or its absolute path."""
        return composed(name) in self._position or self._size(name) is not None

    def below(self, folders: Sequence[str], paths: Sequence[str]) -> list[str]:
        """Names of images for their paths in a list: below that one of the folders where most of a sample are.

        folders: "" or with a "/" at the end; the first counts where none has more. An absolute path is its own name.
        """
        sample = paths[:: max(1, len(paths) // _NUM_PROBES)]
        counts = [sum(self.has(name) for name in _names_below(folder, sample)) for folder in folders]
        return _names_below(folders[counts.index(max(counts))], paths)

    def find(self, names: Sequence[str]) -> list[int]:
        """A number for each file, named as for `has`, by which `rows` knows it; MISSING where there is none."""
        return [self._find(name) for name in names]

    def rows(self, found: Sequence[int], label: Sequence[int], key: Sequence[str], **more: Any) -> Rows:
        """Files that were found, none MISSING, as rows of a table, each an image."""
        tree, numbers = self._tree, np.array(found, np.int64)
        self._used[numbers[numbers < len(tree)]] = True
        tree.stamp.update(dict.fromkeys(sorted({os.path.dirname(path) for path in self._paths})))
        both = dataclasses.replace(  # for its rows only: the files elsewhere have no names in it
            tree,
            shards=[*tree.shards, *self._paths],
            shard=np.concatenate([tree.shard, np.arange(len(self._paths)) + len(tree.shards)]),
            offset=np.concatenate([tree.offset, np.zeros(len(self._paths), np.int64)]),
            length=np.concatenate([tree.length, np.array(self._sizes, np.int64)]),
        )
        return both.rows(numbers, label, key, **more)

    def unused(self) -> list[str]:
        """The files of the tree of which no rows were made."""
        return [name for name, position in self._position.items() if not self._used[position]]

    def _find(self, name: str) -> int:
        position = self._position.get(composed(name))
        if position is not None:
            return position
        size = self._size(name)
        if size is None:
            return MISSING
        self._paths.append(os.path.join(self._tree.root, name))
        self._sizes.append(size)
        return len(self._tree) + len(self._paths) - 1

    def _size(self, name: str) -> int | None:
        """Of a file on disk, None where there is none."""
        if not self._on_disk:
            return None
        try:
            status = os.stat(os.path.join(self._tree.root, name))
        except (OSError, ValueError):  # ValueError: a zero byte in the path
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None


def _names_below(folder: str, paths: Sequence[str]) -> list[str]:
    return [path if path.startswith("/") else folder + path for path in paths]
