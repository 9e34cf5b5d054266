"""Datasets of an HDF5 file, read by h5py in a process of its own.

Of a dataset in one piece (contiguous, not compressed) only the place is asked for. Any other is copied once into the
cache as a NumPy file. External links and virtual datasets, which can lead to any file of the machine, are not followed.

As a program (`python -m tench.data.formats.hdf5 list FILE`, or `copy FILE DATASET TARGET`) this is the child.
"""

import dataclasses
import functools
import importlib.util
import logging
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.apart import answer_of, reply
from tench.data.files.tree import Tree
from tench.data.formats.arrays import Array
from tench.data.spool import on_disk, spool_path
from tench.errors import TenchError
from tench.files import complete_file, require_space

MAGIC = b"\x89HDF\r\n\x1a\n"

_MAX_DATASETS = 10_000
_MAX_DEPTH = 16
_MAX_INFLATION = 1100
_SMALL_BYTES = 2**28
_BLOCK_BYTES = 2**24
_SAID_BYTES = 2**20

_log = logging.getLogger("tench")


def open_file(tree: Tree, name: str) -> list[Array]:
    """The datasets of a file of the tree, gzipped or not. Raises TenchError if h5py is missing or cannot read it."""
    where = tree.place(name)
    if importlib.util.find_spec("h5py") is None:
        raise TenchError(f"{where}: is an HDF5 file; reading it takes h5py: pip install 'tench[interop]'")
    path = on_disk(tree, name)
    arrays = []
    size = path.stat().st_size
    for one in answer_of(__name__, ["list", str(path)], where):
        shape, dtype = tuple(one["shape"]), np.dtype(one["dtype"])
        num_bytes = math.prod(shape) * dtype.itemsize
        if one["offset"] is not None and one["offset"] + num_bytes > size:
            raise TenchError(f"{where}: {one['name']} ends beyond the file. It was cut off: copy or download it again.")
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


def _in_place(path: str, offset: int) -> tuple[str, int]:
    return path, offset


@dataclasses.dataclass
class _Copy:
    """A dataset as a NumPy file in the cache, copied when it is first asked for. num_bytes: of its entries."""

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
            raise TenchError(f"{self.where}: claims {self.num_bytes:,} bytes, more than a file of {size:,} can hold.")
        require_space(self.target, self.num_bytes, self.where)
        if self.num_bytes > _SAID_BYTES:
            _log.info("%s: copying %.1f MB once to %s.", self.where, self.num_bytes / 1e6, self.target)
        arguments = ["copy", str(self.path), self.dataset, str(self.target)]
        answer_of(__name__, arguments, self.where, num_bytes=self.num_bytes)
        self.stamp[str(self.target)] = None
        self.done = True


def _listed(path: str) -> list[dict[str, Any]]:
    """Name, shape, dtype and place of each dataset of numbers or fixed text in a file."""
    import h5py

    found: list[dict[str, Any]] = []

    def enter(group: Any, prefix: str, depth: int) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink) or len(found) >= _MAX_DATASETS:
                continue  # a link can lead to another file
            entry = group[name]
            if isinstance(entry, h5py.Group) and depth < _MAX_DEPTH:
                enter(entry, f"{prefix}{name}/", depth + 1)
            elif isinstance(entry, h5py.Dataset) and entry.shape and not entry.is_virtual and not entry.external:
                dtype = _plain_dtype(entry)
                if dtype is not None:
                    offset = entry.id.get_offset() if entry.chunks is None else None
                    found.append(
                        {
                            "name": prefix + name,
                            "shape": [int(size) for size in entry.shape],
                            "dtype": dtype,
                            "offset": None if offset is None else int(offset),
                        }
                    )

    with h5py.File(path, "r") as file:
        enter(file, "", 0)
    return found


def _plain_dtype(dataset: Any) -> str | None:
    """NumPy's name of a dataset's numbers or text; None for compounds, references and lists of varying length."""
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        return f"U{_text_length(dataset)}"
    return dataset.dtype.str if dataset.dtype.kind in "uifb" and dataset.dtype.shape == () else None


def _text_length(dataset: Any) -> int:
    return max((len(str(text)) for text in dataset.asstr()[:].ravel()), default=1) or 1 if dataset.size < 10**7 else 256


def _copy(path: str, dataset: str, target: str) -> int:
    """Write a dataset as a .npy file, a few entries at a time."""
    import h5py

    with h5py.File(path, "r") as file, complete_file(Path(target)) as part:
        source = file[dataset]
        dtype = np.dtype(_plain_dtype(source))
        text = dtype.kind == "U"
        with part.open("wb") as sink:
            header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(map(int, source.shape))}
            np.lib.format.write_array_header_2_0(sink, header)
            each = max(1, math.prod(source.shape[1:]) * dtype.itemsize)
            step = max(1, _BLOCK_BYTES // each)
            for start in range(0, source.shape[0], step):
                block = (source.asstr() if text else source)[start : start + step]
                sink.write(np.ascontiguousarray(block.astype(dtype) if text else block).tobytes())
    return int(source.shape[0]) if source else 0


def _main(arguments: list[str]) -> None:
    try:
        answer: Any = _listed(arguments[1]) if arguments[0] == "list" else _copy(*arguments[1:])
    except Exception as error:  # h5py raises errors of any kind on damaged files
        first = str(error).partition("\n")[0].rstrip(".")
        reply(error=f"cannot be read as HDF5 ({first}). It is damaged or cut off: copy or download it again.")
    else:
        reply(answer)


if __name__ == "__main__":
    _main(sys.argv[1:])
