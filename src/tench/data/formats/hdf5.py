"""Datasets of an HDF5 file, read by h5py in a child process.

A dataset in one piece (contiguous, not compressed) is addressed in place. Any other is copied once into the cache as a
NumPy file. External links and virtual datasets are not followed, because they can point to any file of the machine.
"""

import dataclasses
import functools
import importlib.util
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.files.apart import answer_of
from tench.data.files.spool import on_disk, spool_path
from tench.data.files.tree import Tree
from tench.data.formats.arrays import Array
from tench.errors import TenchError
from tench.files import require_space

MAGIC = b"\x89HDF\r\n\x1a\n"

_MAX_INFLATION = 1100
_SMALL_BYTES = 2**28
_SAID_BYTES = 2**20
CHILD = "tench.data.formats.hdf5_child"

_log = logging.getLogger("tench")


def open_file(tree: Tree, name: str) -> list[Array]:
    """The datasets of a file of the tree, gzipped or not. Raises TenchError if h5py is missing or cannot read it."""
    where = tree.place(name)
    require_h5py(where)
    path = on_disk(tree, name)
    arrays = []
    size = path.stat().st_size
    for one in answer_of(CHILD, ["list", str(path)], where):
        shape, dtype = tuple(one["shape"]), np.dtype(one["dtype"])
        num_bytes = math.prod(shape) * dtype.itemsize
        if one["offset"] is not None and one["offset"] + num_bytes > size:
            raise TenchError(
                f"{where}: {one['name']} ends beyond the end of the file. The file was truncated. Copy or download it "
                "again."
            )
        copy = _Copy(
            path=path,
            dataset=one["name"],
            where=f"{where}, dataset {one['name']}",
            target=spool_path(tree, f"{name}/{one['name']}", ".npy"),
            num_bytes=num_bytes,
            stamp=tree.stamp,
        )
        arrays.append(
            Array(
                path=f"{name}/{one['name']}",
                name=one["name"].rpartition("/")[2],
                where=copy.where,
                shape=shape,
                dtype=dtype,
                read=copy.read,
                place=copy.place if one["offset"] is None else functools.partial(_in_place, str(path), one["offset"]),
            )
        )
    return arrays


def require_h5py(where: str) -> None:
    """Raise TenchError if h5py is not installed. where: the file, for the message."""
    if importlib.util.find_spec("h5py") is None:
        raise TenchError(f"{where} is an HDF5 file, which requires h5py: pip install 'tench[interop]'")


def _in_place(path: str, offset: int) -> tuple[str, int]:
    return path, offset


@dataclasses.dataclass
class _Copy:
    """A dataset as a NumPy file in the cache, copied on first use. num_bytes: of its entries."""

    path: Path
    dataset: str
    where: str
    target: Path
    num_bytes: int
    stamp: dict[str, None]
    done: bool = False

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        self._make()
        return np.array(np.load(self.target, mmap_mode="r", allow_pickle=False)[start:stop])

    def place(self) -> tuple[str, int]:
        self._make()
        return str(self.target), self.target.stat().st_size - self.num_bytes

    def _make(self) -> None:
        if self.done:
            return
        size = self.path.stat().st_size
        if self.num_bytes > max(_SMALL_BYTES, _MAX_INFLATION * size):
            raise TenchError(
                f"{self.where} claims {self.num_bytes:,} bytes, more than a file of {size:,} can contain. It is "
                "damaged. Copy or download it again."
            )
        require_space(self.target, self.num_bytes, self.where)
        if self.num_bytes > _SAID_BYTES:
            _log.info("%s: copying %.1f MB once to %s.", self.where, self.num_bytes / 1e6, self.target)
        arguments = ["copy", str(self.path), self.dataset, str(self.target)]
        answer_of(CHILD, arguments, self.where, num_bytes=self.num_bytes)
        self.stamp[str(self.target)] = None
        self.done = True
