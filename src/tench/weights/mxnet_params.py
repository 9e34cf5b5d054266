"""Read MXNet's `.params` files: arrays by name, as `mx.nd.save`, `Module.save_checkpoint` and Gluon write them.

A file is a header, the arrays one after another, each with its shape and type in front of its values, and then the
names. The format has four versions of an array's head, which a file may mix. Lengths are checked against the size of
the file before anything is allocated. MXNet 2 in its NumPy mode writes an `.npz` archive under the same suffix; it is
recognised by its first bytes. Source: src/ndarray/ndarray.cc and include/mxnet/tuple.h of MXNet.
"""

import collections
import math
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tench.errors import TenchError
from tench.plain import require_file, shown
from tench.weights.files import require_plausible

_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_MAX_DIMENSIONS = 32
_MAX_SIDE = 2**40
_DENSE = 0
_BFLOAT16 = 12
_TYPES: dict[int, type[np.generic]] = {
    0: np.float32,
    1: np.float64,
    2: np.float16,
    3: np.uint8,
    4: np.int32,
    5: np.int8,
    6: np.int64,
    7: np.bool_,
    8: np.int16,
    9: np.uint16,
    10: np.uint32,
    11: np.uint64,
    _BFLOAT16: np.uint16,
}
_ZIP = b"PK\x03\x04"


def read_params(path: Path) -> dict[str, Tensor]:
    """The arrays of a `.params` file under the names in it (`arg:fc1_weight`), in its order; floats as fp32.

    Raises TenchError if the file is damaged, has no names, or has an array that is not dense.
    """
    require_file(path)
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            return _read_npz(path)
        file.seek(0)
        reader = _Reader(file, path)
        if reader.numbers("<QQ") != (_MAGIC, 0):
            raise TenchError(f"{path} is not an MXNet parameter file: it does not start with 0x112.")
        (count,) = reader.numbers("<Q")
        arrays = [reader.array(number) for number in range(reader.at_most(count, 4, "arrays"))]
        (num_names,) = reader.numbers("<Q")
        if num_names != count:
            what = "no names" if num_names == 0 else f"{num_names:,} names"
            raise TenchError(f"{path} has {count:,} arrays and {what}, so they cannot be assigned to a network.")
        names = [reader.name() for _ in range(count)]
        reader.end()
    for name in [name for name, number in collections.Counter(names).items() if number > 1]:
        raise TenchError(f"{path} has two arrays named {shown(name)}. Save the parameters again.")
    return dict(zip(names, arrays, strict=True))


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as members:
            num_bytes = sum(member.file_size for member in members.infolist())
            require_plausible(path, num_bytes)
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            return {name: _tensor(archive[name]) for name in archive.files}
    except TenchError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged archive
        raise TenchError(f"{path} is not a complete .npz archive of arrays ({error}). Copy it again.") from error


class _Reader:
    """Reads numbers and arrays, and reports where the file ends too early."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._size = path.stat().st_size

    def numbers(self, layout: str) -> tuple[int, ...]:
        num_bytes = struct.calcsize(layout)
        self._require(num_bytes, "a header")
        return struct.unpack(layout, self._file.read(num_bytes))

    def at_most(self, count: int, bytes_each: int, what: str) -> int:
        """The count, if the rest of the file has room for that many."""
        if count > self._left() // bytes_each:
            raise TenchError(
                f"{self._path} promises {count:,} {what}, but only {self._left():,} bytes follow. It is damaged; copy "
                "it again."
            )
        return count

    def array(self, number: int) -> Tensor:
        (magic,) = self.numbers("<I")
        if magic in (_V2, _V3):
            (storage,) = self.numbers("<i")
            if storage != _DENSE:
                raise TenchError(
                    f"{self._path}: array {number} is sparse, which is not supported. Save it with tostype('default')."
                )
        shape = self._shape(number) if magic in (_V1, _V2, _V3) else self._sides(number, magic, "I")
        if shape is None or (not shape and magic != _V3):
            return torch.zeros(0)  # an array without values, after which nothing follows
        _context, _device, kind = self.numbers("<iii")
        if kind not in _TYPES:
            raise TenchError(
                f"{self._path}: array {number} has the unknown type {kind}. The file is damaged; copy it again."
            )
        dtype = np.dtype(_TYPES[kind])
        num_values = math.prod(shape)
        self._require(num_values * dtype.itemsize, f"array {number} of shape {shape}")
        values = np.fromfile(self._file, dtype, num_values).reshape(shape)
        return _tensor(values) if kind != _BFLOAT16 else torch.from_numpy(values).view(torch.bfloat16).float()

    def _shape(self, number: int) -> tuple[int, ...] | None:
        """None if the shape is unknown."""
        (ndim,) = self.numbers("<i")
        return self._sides(number, ndim, "q") if ndim >= 0 else None

    def _sides(self, number: int, ndim: int, code: str) -> tuple[int, ...]:
        if ndim > _MAX_DIMENSIONS:
            raise TenchError(
                f"{self._path}: array {number} starts with 0x{ndim:x}, which is no known version of the format. The "
                "file is damaged; copy it again."
            )
        shape = self.numbers(f"<{ndim}{code}")
        if any(not 0 <= side <= _MAX_SIDE for side in shape):
            raise TenchError(f"{self._path}: array {number} has the shape {shape}. The file is damaged; copy it again.")
        return shape

    def name(self) -> str:
        (length,) = self.numbers("<Q")
        self._require(length, "a name")
        try:
            return self._file.read(length).decode()
        except UnicodeDecodeError as error:
            raise TenchError(
                f"{self._path}: a name is not UTF-8 ({error}). The file is damaged; copy it again."
            ) from error

    def end(self) -> None:
        if left := self._left():
            raise TenchError(f"{self._path} has {left:,} bytes after its last name. It is damaged; copy it again.")

    def _left(self) -> int:
        return self._size - self._file.tell()

    def _require(self, num_bytes: int, what: str) -> None:
        if num_bytes > self._left():
            raise TenchError(
                f"{self._path} ends too early: {what} at byte {self._file.tell():,} needs {num_bytes:,} bytes, but "
                f"only {self._left():,} follow. It may have been truncated while copying; copy it again."
            )


def _tensor(values: npt.NDArray[np.generic]) -> Tensor:
    """The values as a tensor; floats as fp32, and integers that torch lacks as int64."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite weights are refused later
            return torch.from_numpy(values.astype(np.float32, copy=False))
    return torch.from_numpy(values.astype(np.int64) if values.dtype.kind == "u" and values.itemsize > 1 else values)
