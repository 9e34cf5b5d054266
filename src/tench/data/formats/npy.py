"""The header of a NumPy array file (.npy), standalone or as a member of an .npz, and the entries after it."""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.files.tree import Tree
from tench.data.formats.arrays import Array
from tench.errors import TenchError

MAGIC = b"\x93NUMPY"


@dataclasses.dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    num_bytes: int


def open_array(tree: Tree, file: str, path: str) -> Array:
    """An array file of the tree. path: the array's name. Raises TenchError if it is damaged or contains Python
    objects."""
    where = tree.place(file)
    position = tree.index(file)
    with tree.open(file) as stream:
        try:
            major, _ = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            header = _Header(tuple(map(int, shape)), dtype, fortran, stream.tell())
        except Exception as error:  # NumPy parses the header as Python and raises errors of many kinds
            raise TenchError(
                f"{where}: its header is not that of a NumPy array ({str(error)[:120]}). Copy or save it again."
            ) from error
    if header.dtype.hasobject:
        raise TenchError(
            f"{where} contains Python objects, which are pickled: reading them could run code. Save its arrays as "
            "numbers or text, and images of the same size as (N, H, W, C) uint8."
        )
    if any(size < 0 for size in header.shape):
        raise TenchError(f"{where}: its header has the invalid shape {header.shape}. Copy or save it again.")
    needed = math.prod(header.shape) * header.dtype.itemsize
    there = int(tree.length[position]) - header.num_bytes
    if needed != there:
        raise TenchError(
            f"{where}: its header promises {needed:,} bytes ({header.dtype} {header.shape}), but {there:,} follow. It "
            "was truncated or changed. Copy or save it again."
        )
    start = int(tree.offset[position]) + header.num_bytes  # offset of the pixels on disk
    return Array(
        path=path,
        name=path.rpartition("/")[2],
        where=where,
        shape=header.shape,
        dtype=header.dtype,
        read=lambda first, last: _entries(tree, file, header, first, last),
        place=None if header.fortran else lambda: (tree.shards[int(tree.shard[position])], start),
    )


def _entries(tree: Tree, file: str, header: _Header, first: int, last: int) -> npt.NDArray[Any]:
    each = math.prod(header.shape[1:])
    with tree.open(file) as stream:
        if header.fortran and len(header.shape) > 1:  # entries are not contiguous, so all of them are read
            stream.seek(header.num_bytes)
            whole = np.frombuffer(stream.read(), header.dtype).reshape(header.shape, order="F")
            return whole[first:last]
        stream.seek(header.num_bytes + first * each * header.dtype.itemsize)
        data = stream.read((last - first) * each * header.dtype.itemsize)
    return np.frombuffer(data, header.dtype).reshape(last - first, *header.shape[1:])
