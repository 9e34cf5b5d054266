"""Read a MATLAB file (`.mat`, format 5), as devkits and datasets use it for labels and for raw pixels.

scipy's reader trusts the file: one damaged byte can end the process with SIGSEGV, and a child process for every label
file would cost seconds and still use unlimited memory. The part of the format that datasets use is small, so it is
read here, with every length checked against the bytes present. Numbers keep their stored type, and are views of the
file's bytes unless it is compressed.

Source: "MAT-File Format", MathWorks, R2024, chapter 1 (level 5). Files of level 4 and 7.3 are refused; the error says
how to convert them.
"""

import dataclasses
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)
_OTHERS = {3: "an object", 5: "a sparse matrix", 16: "a function handle", 17: "an object"}
_COMPLEX = 0x800
_HEADER_BYTES = 128
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_DIMENSIONS = 32
_MOST_GROWTH = 8
"""Raw pixels and label columns compress little; a higher ratio, beyond the size of any label file, means a bomb."""
_SAVE_AGAIN = "Load it and save it again: in MATLAB with save('NAME.mat', '-v7'), in Python with scipy.io.savemat."


class _DamageError(Exception):
    """The file is damaged; the text says how."""


class _UnsupportedError(Exception):
    """A variable of a kind that no dataset needs; the rest of the file is readable."""


@dataclasses.dataclass(frozen=True)
class _Element:
    kind: int
    data: memoryview


def read_mat(data: bytes, where: str, limits: Limits = LIMITS) -> dict[str, Any]:
    """The variables of a MATLAB file by name.

    A numeric matrix is an array of its shape (at least two dimensions) and stored type. A line of text is a str;
    several lines are an array of str, one dimension less. A cell array is an array of objects, and a structure array is
    an array of records (`found["annotations"]["fname"]`); their entries are such values again. Variables that are or
    contain anything else (sparse, complex, objects, function handles) are left out.

    where: the file, for messages. Raises TenchError if the file is damaged, is of another level, or unpacks to more
    than the limit of a member and eight times its size.
    """
    if data[:8] == _HDF5 or data[512:520] == _HDF5 or data[:10] == b"MATLAB 7.3":
        raise TenchError(f"{where} is a MATLAB 7.3 file (HDF5), which is not supported. {_SAVE_AGAIN}")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        level_4 = len(data) >= 20 and 0 in data[:4]
        what = "is a MATLAB 4 file, which is not supported" if level_4 else "is not a MATLAB file"
        raise TenchError(f"{where} {what}. {_SAVE_AGAIN if level_4 else 'Copy or download it again.'}")
    try:
        return _Reader(order, limits, max(limits.member_bytes, _MOST_GROWTH * len(data))).variables(data)
    except (_DamageError, ValueError) as error:  # numpy refuses shapes and field names with ValueError
        raise TenchError(f"{where} is a damaged MATLAB file ({error}). Copy or download it again.") from error


class _Reader:
    def __init__(self, order: str, limits: Limits, most_bytes: int) -> None:
        self._order: str = order
        self._byte_order: Any = "little" if order == "<" else "big"
        self._limits, self._room = limits, most_bytes

    def variables(self, data: bytes) -> dict[str, Any]:
        found = {}
        for element in self._elements(memoryview(data)[_HEADER_BYTES:]):
            if element.kind == _COMPRESSED:
                (element,) = self._elements(self._unpacked(element.data))
            if element.kind != _MATRIX:
                raise _DamageError(f"a variable has the type {element.kind}")
            try:
                name, value = self._matrix(element.data, 0)
            except _UnsupportedError:
                continue
            found[name] = value
        return found

    def _unpacked(self, data: memoryview) -> memoryview:
        decompressor = zlib.decompressobj()
        try:
            unpacked = decompressor.decompress(data, self._room + 1)
        except zlib.error as error:
            raise _DamageError(str(error)) from error
        if len(unpacked) > self._room:
            raise _DamageError("it unpacks to more bytes than a label file or a set of pixels has")
        if not decompressor.eof:
            raise _DamageError("a compressed variable is truncated")
        self._room -= len(unpacked)
        if len(unpacked) < 8 or len(unpacked) != 8 + self._uint(memoryview(unpacked), 4):
            raise _DamageError("a compressed variable differs from its stated size")
        return memoryview(unpacked)

    def _uint(self, data: memoryview, position: int) -> int:
        return int.from_bytes(data[position : position + 4], self._byte_order)

    def _elements(self, data: memoryview) -> Iterator[_Element]:
        """The data elements in order; each starts with its type and size."""
        position = 0
        while position < len(data):
            if position + 8 > len(data):
                raise _DamageError("it ends within the tag of an element")
            kind, size = self._uint(data, position), self._uint(data, position + 4)
            if kind >> 16:  # up to four bytes are in the tag itself
                size, kind, start, following = kind >> 16, kind & 0xFFFF, position + 4, position + 8
                if size > 4:
                    raise _DamageError(f"a small element has {size:,} bytes")
            else:
                start = position + 8
                # Compressed variables follow one another without padding.
                following = start + (size if kind == _COMPRESSED else (size + 7) // 8 * 8)
            if start + size > len(data):
                raise _DamageError(f"an element of {size:,} bytes is truncated after {len(data) - start:,}")
            yield _Element(kind, data[start : start + size])
            position = following

    def _matrix(self, data: memoryview, depth: int) -> tuple[str, Any]:
        """(name, value) of a variable, a cell, or a field."""
        if not data:  # an empty cell or field
            return "", np.zeros((0, 0))
        if depth > self._limits.nesting:
            raise _DamageError(f"its cells and structures are nested more than {self._limits.nesting} deep")
        parts = self._elements(data)
        flags = self._uint(self._next(parts).data, 0)
        kind = flags & 0xFF
        if kind in _OTHERS or flags & _COMPLEX:
            raise _UnsupportedError(_OTHERS.get(kind, "complex numbers"))
        shape = tuple(int(side) for side in self._numbers(self._next(parts)))
        if not 2 <= len(shape) <= _MOST_DIMENSIONS or min(shape) < 0:
            raise _DamageError(f"a variable has the shape {shape[:_MOST_DIMENSIONS]}")
        name = self._text(self._next(parts))
        count = math.prod(shape)
        if kind == _CELL:
            return name, self._cells(parts, shape, count, len(data), depth)
        if kind == _STRUCT:
            return name, self._records(parts, shape, count, len(data), depth)
        if kind == _CHAR:
            return name, self._lines(parts, shape, count)
        if kind not in _NUMERIC:
            raise _DamageError(f"a variable is of the unknown class {kind}")
        values = self._numbers(self._next(parts))
        if len(values) != count:
            raise _DamageError(f"the variable {name!r} has {len(values):,} numbers, but the shape {shape}")
        return name, values.reshape(shape, order="F")

    def _cells(self, parts: Iterator[_Element], shape: tuple[int, ...], count: int, room: int, depth: int) -> Any:
        if count > room // 8:  # each needs at least a tag
            raise _DamageError(f"{count:,} cells in {room:,} bytes")
        cells = np.empty(count, object)
        for position in range(count):
            cells[position] = self._inner(parts, depth)
        return cells.reshape(shape, order="F")

    def _records(self, parts: Iterator[_Element], shape: tuple[int, ...], count: int, room: int, depth: int) -> Any:
        width = self._numbers(self._next(parts))
        names = bytes(self._next(parts).data)
        if len(width) != 1 or not 0 < width[0] <= max(1, len(names)) or len(names) % int(width[0]):
            raise _DamageError("the names of a structure's fields have no length")
        step = int(width[0])
        fields = [names[start : start + step].split(b"\0", 1)[0].decode() for start in range(0, len(names), step)]
        if count * max(1, len(fields)) > max(1, room // 8):
            raise _DamageError(f"{count:,} structures of {len(fields):,} fields in {room:,} bytes")
        records = np.empty(count, [(field, object) for field in fields])
        for position in range(count):
            records[position] = tuple(self._inner(parts, depth) for _ in fields)
        return records.reshape(shape, order="F")

    def _inner(self, parts: Iterator[_Element], depth: int) -> Any:
        element = self._next(parts)
        if element.kind != _MATRIX:
            raise _DamageError(f"a cell or field has the type {element.kind}")
        return self._matrix(element.data, depth + 1)[1]

    def _lines(self, parts: Iterator[_Element], shape: tuple[int, ...], count: int) -> Any:
        if count == 0:
            return ""
        text = self._text(self._next(parts))
        if math.prod(shape[:-1]) == 1:
            return text
        if len(text) != count:
            raise _DamageError(f"a text has {len(text):,} characters, but the shape {shape}")
        letters = np.array(list(text)).reshape(shape, order="F")
        lines = ["".join(line) for line in letters.reshape(-1, shape[-1])]
        return np.array(lines).reshape(shape[:-1])

    def _numbers(self, element: _Element) -> Any:
        if element.kind not in _NUMBERS:
            raise _DamageError(f"numbers have the type {element.kind}")
        stored = np.dtype(self._order + _NUMBERS[element.kind])
        if len(element.data) % stored.itemsize:
            raise _DamageError(f"{len(element.data):,} bytes are not a whole number of {stored.itemsize}-byte values")
        return np.frombuffer(element.data, stored).astype(stored.newbyteorder("="), copy=False)

    def _text(self, element: _Element) -> str:
        coding = _TEXTS.get(element.kind)
        if coding is None:
            raise _DamageError(f"a text has the type {element.kind}")
        if coding != "utf-8":
            coding += "-le" if self._order == "<" else "-be"
        try:
            return bytes(element.data).decode(coding)
        except UnicodeDecodeError:
            if element.kind in (1, 2):  # written by programs that use one byte per character
                return bytes(element.data).decode("latin-1")
            raise _DamageError("a text is not Unicode") from None

    @staticmethod
    def _next(parts: Iterator[_Element]) -> _Element:
        found = next(parts, None)
        if found is None:
            raise _DamageError("a variable ends before all its parts")
        return found
