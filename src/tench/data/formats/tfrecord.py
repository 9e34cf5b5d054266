"""TFRecord files and the tf.train.Example messages in them, without TensorFlow or protobuf.

A file is a sequence of records: the payload's length (8 bytes, little-endian), the masked CRC32C of these 8 bytes, the
payload, its masked CRC32C. There is no header, index or count. Only the requested parts of a payload are read, and
images are skipped: a few kilobytes per record. The price is that the checksum of a payload, which covers the image, is
verified only by `verify`.

Sources: tensorflow/core/lib/io/record_writer.h, lib/hash/crc32c.h, example/{example,feature}.proto; the wire format of
Protocol Buffers. As in TensorFlow's own parser, groups (wire types 3 and 4) are not part of an Example.
"""

import functools
import itertools
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO

import google_crc32c

from tench.errors import TenchError

HEADER_BYTES = 12
"""Bytes of a record before its payload: the length and its checksum."""
Span = tuple[int, int]
"""(start, stop) in a file."""

Features = dict[str, Sequence[Any]]
"""The values of features by key: int, float or bytes; for keys wanted in place, (start, stop) of each value."""

_BYTES, _FLOATS, _INTS = 1, 2, 3  # the kinds of list in a Feature, by field number
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_VARINT_BYTES = 10
_SMALL_BYTES = 1024
"""Entries up to this size are read whole and cached."""
_SLICED_BYTES, _BLOCK_BYTES = 2**12, 2**20
_ENTRY_HEAD_BYTES = 2 + 127 + 2 * (1 + _MAX_VARINT_BYTES)
"""Bytes before the list of an entry with a short key."""


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord files store it: CRC32C, rotated right by 15 bits, plus a constant."""
    return masked(google_crc32c.value(data))


def is_record(head: bytes) -> bool:
    """Whether these 12 bytes begin a record, by the checksum of its length."""
    return len(head) == HEADER_BYTES and masked_crc32c(head[:8]) == int.from_bytes(head[8:], "little")


def is_compressed(head: bytes) -> bool:
    """Whether a file with this beginning (a few kilobytes) is compressed as a whole, with gzip or zlib."""
    return not is_record(head[:HEADER_BYTES]) and (head.startswith(b"\x1f\x8b") or begins_with_record(head))


def begins_with_record(head: bytes) -> bool:
    """Whether a file with this beginning (a few kilobytes) is a TFRecord file, plain or compressed as a whole."""
    if is_record(head[:HEADER_BYTES]):
        return True
    try:
        return is_record(_decompressor().decompress(head, HEADER_BYTES))
    except zlib.error:
        return False


def inflated(file: BinaryIO, where: str) -> Iterator[bytes]:
    """The content of a gzip or zlib file, in blocks of up to a megabyte.

    where: the file's name for errors. Raises TenchError, with the byte, if it is damaged or truncated.
    """
    file.seek(0)
    stream, num_read, data, ended = _decompressor(), 0, b"", False
    while True:
        if not data:
            data = file.read(_BLOCK_BYTES)
            num_read += len(data)
            ended = not data
        if stream.eof:
            if ended:
                return
            data = data.lstrip(b"\0")  # zeros may pad the last block; otherwise another gzip member follows
            stream = _decompressor() if data else stream
            continue
        at = num_read - len(data)
        try:
            block = stream.decompress(data, _BLOCK_BYTES)
        except zlib.error as error:
            raise TenchError(
                f"{where}: its compressed data is damaged at byte {at:,} or after ({error}). Copy or download it again."
            ) from error
        data = stream.unused_data if stream.eof else stream.unconsumed_tail
        if block:
            yield block
        elif ended:
            raise TenchError(
                f"{where} ends at byte {num_read:,} in the middle of its compressed data. It was probably truncated. "
                "Copy or download it again."
            )


def place(where: str, number: int, start: int) -> str:
    """A record for an error message. number: counted from 0. start: of its payload."""
    return f"{where}: record {number:,} (counted from 0, at byte {start - HEADER_BYTES:,})"


def records(file: BinaryIO, where: str) -> Iterator[Span]:
    """(start, stop) of the payload of each record, from the lengths alone, whose checksums are verified.

    where: the file's name for errors. Raises TenchError if the file is damaged or truncated.
    """
    size = file.seek(0, os.SEEK_END)
    start = number = 0
    while start < size:
        file.seek(start)
        header = file.read(HEADER_BYTES)
        payload = start + HEADER_BYTES
        if len(header) < HEADER_BYTES:
            raise TenchError(
                f"{place(where, number, payload)} has {len(header)} bytes, less than the {HEADER_BYTES} of its header: "
                "the file was probably truncated. Copy, download or convert it again."
            )
        if not is_record(header):
            raise TenchError(
                f"{place(where, number, payload)}: the checksum of its length does not match, so the file is damaged "
                "there or before, or is not a TFRecord file. Copy, download or convert it again."
            )
        stop = payload + int.from_bytes(header[:8], "little")
        if stop + 4 > size:
            raise TenchError(
                f"{place(where, number, payload)} needs bytes {payload:,}-{stop + 4:,}, but the file ends at {size:,}. "
                "It was probably truncated. Copy, download or convert it again."
            )
        yield payload, stop
        start, number = stop + 4, number + 1


def verify(file: BinaryIO, where: str) -> None:
    """Read a whole file and verify both checksums of every record. Raises TenchError at the first mismatch."""
    for fault in faults(file, where):
        raise TenchError(fault)


def faults(file: BinaryIO, where: str) -> Iterator[str]:
    """The faults that `verify` finds, in record order, as text. Raises TenchError if no more can be read."""
    for number, (start, stop) in enumerate(records(file, where)):
        file.seek(start)
        crc = 0
        for left in range(stop - start, 0, -_BLOCK_BYTES):
            crc = google_crc32c.extend(crc, file.read(min(left, _BLOCK_BYTES)))
        if masked(crc) != int.from_bytes(file.read(4), "little"):
            yield (
                f"{place(where, number, start)}: the checksum of its {stop - start:,} bytes of data does not match, so "
                "some of them have changed since they were written. Copy or download the file again, or convert it "
                "again."
            )


def examples(
    file: BinaryIO, where: str, wanted: Collection[str], in_place: Collection[str] = ()
) -> Iterator[tuple[Span, Features]]:
    """((start, stop) of the payload, features) of each record of a file of Examples.

    wanted: the keys to read; a key that a record lacks is not in its features, one with an empty list has an empty
    list. in_place: those keys whose byte values are not read but returned as (start, stop) in the file.
    Raises TenchError like `records`, and for a payload that is not an Example.
    """
    source = _Slices(file)
    for number, (start, stop) in enumerate(records(file, where)):
        try:
            features: Features = {}
            for entry_start, entry_stop in _entries(source, start, stop):
                if entry_stop - entry_start <= _SMALL_BYTES:
                    entry: bytes | _Slices = source[entry_start:entry_stop]
                    base = entry_start
                    key, kind, values = _small_entry(entry)
                    if key not in wanted:
                        continue
                else:
                    entry, base = source, 0
                    key, kind, parts = _entry(source, entry_start, entry_stop)
                    if key not in wanted:
                        continue
                    values = _values(source, kind, parts)
                if kind == 0:
                    features.pop(key, None)
                elif kind != _BYTES:
                    features[key] = values
                elif key in in_place:
                    features[key] = [(base + first, base + last) for first, last in values]
                else:
                    features[key] = [entry[first:last] for first, last in values]
        except ValueError as error:
            raise TenchError(_no_example(where, number, start, error)) from error
        yield (start, stop), features


def _no_example(where: str, number: int, start: int, error: ValueError) -> str:
    return (
        f"{place(where, number, start)} is not a readable tf.train.Example: {error}. Other kinds of "
        "records are not supported. If these are Examples, the file is damaged. Check whether its checksums "
        "match, and copy or convert it again."
    )


def keys(file: BinaryIO, start: int, stop: int) -> list[str]:
    """The keys of the Example in a payload, sorted."""
    source = _Slices(file)
    return sorted({_entry(source, *span)[0] for span in _entries(source, start, stop)})


def samples(file: BinaryIO, where: str, count: int) -> Iterator[dict[str, tuple[type, int, Any]]]:
    """All features of the first records, by key: (int, float or bytes; number of values; first value).

    For bytes the first value is (its first 64 bytes, its length). Raises TenchError like `examples`.
    """
    source = _Slices(file)
    for number, (start, stop) in enumerate(itertools.islice(records(file, where), count)):
        found: dict[str, tuple[type, int, Any]] = {}
        try:
            for entry_start, entry_stop in _entries(source, start, stop):
                key, kind, parts = _entry(source, entry_start, entry_stop)
                values = _values(source, kind, parts)
                if values and kind == _BYTES:
                    first, last = values[0]
                    found[key] = bytes, len(values), (source[first : min(last, first + 64)], last - first)
                elif values:
                    found[key] = type(values[0]), len(values), values[0]
        except ValueError as error:
            raise TenchError(_no_example(where, number, start, error)) from error
        yield found


class _Slices:
    """A file that can be sliced; reads blocks of a few kilobytes from the start of a slice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._block, self._start, self._stop = b"", 0, 0

    def __getitem__(self, part: slice) -> bytes:
        start, stop = part.start, part.stop
        if start < self._start or stop > self._stop:
            self._file.seek(start)
            self._block = self._file.read(max(stop - start, _SLICED_BYTES))
            self._start, self._stop = start, start + len(self._block)
        return self._block[start - self._start : stop - self._start]


_Source = bytes | _Slices


def _decompressor() -> "zlib._Decompress":
    return zlib.decompressobj(32 + zlib.MAX_WBITS)  # 32: gzip or zlib, by the first bytes


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, end) of a varint."""
    if at < len(data) and data[at] < 0x80:  # the usual case
        return data[at], at + 1
    value = shift = 0
    for position in range(at, min(len(data), at + _MAX_VARINT_BYTES)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + 1
        shift += 7
    raise ValueError("a number has no end")


def _fields(data: _Source, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, start of its value, end) of each field of the message in data[start:end]."""
    while start < end:
        head = data[start : min(start + 2 * _MAX_VARINT_BYTES, end)]
        tag, used = _varint(head, 0)
        wire = tag & 7
        at = start + used
        if wire == _DELIMITED:
            length, used = _varint(head, used)
            at = start + used
            stop = at + length
        elif wire == _VARINT:
            stop = start + _varint(head, used)[1]
        elif wire in (_FIXED64, _FIXED32):
            stop = at + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"a field has the unknown wire type {wire}")
        if not 8 <= tag < 2**32:
            raise ValueError(f"a field has the invalid number {tag >> 3:,}")
        if stop > end:
            raise ValueError(f"a field ends {stop - end:,} bytes after the message that contains it")
        yield tag >> 3, wire, at, stop
        start = stop


def fields(message: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """(number, wire type, start, stop, value if it is a varint) of each field of a Protocol Buffers message.

    Raises ValueError if it is not one.
    """
    for number, wire, start, stop in _fields(message, 0, len(message)):
        yield number, wire, start, stop, _varint(message, start)[0] if wire == _VARINT else 0


def _entries(data: _Source, start: int, end: int) -> Iterator[Span]:
    """The spans of the entries of the Example's map of features."""
    for number, wire, at, last in _fields(data, start, end):
        while (number, wire) == (1, _DELIMITED) and at < last:
            head = data[at : min(at + 3, last)]
            if (
                len(head) == 3 and head[0] == 0x0A and (head[1] < 0x80 or head[2] < 0x80)
            ):  # the common case, without a generator
                begin, length = (at + 2, head[1]) if head[1] < 0x80 else (at + 3, head[1] & 0x7F | head[2] << 7)
                if begin + length <= last:
                    at = begin + length
                    yield begin, at
                    continue
            inner, inner_wire, begin, at = next(_fields(data, at, last))
            if (inner, inner_wire) == (1, _DELIMITED):
                yield begin, at


def _entry(data: _Source, start: int, end: int) -> tuple[str, int, list[Span]]:
    """(key, kind of list or 0 if none is set, spans of the list's parts) of an entry of the map.

    The parts of a message are joined, and the last of several kinds is used, as Protocol Buffers specify.
    """
    if (usual := _usual_entry(data, start, end)) is not None:
        return usual
    key, kind = "", 0
    parts: list[Span] = []
    for number, wire, first, last in _fields(data, start, end):
        if (number, wire) == (1, _DELIMITED):
            key = data[first:last].decode()
        elif (number, wire) == (2, _DELIMITED):
            for found, found_wire, part_start, part_stop in _fields(data, first, last):
                if found_wire == _DELIMITED and found in (_BYTES, _FLOATS, _INTS):
                    parts = [*parts, (part_start, part_stop)] if found == kind else [(part_start, part_stop)]
                    kind = found
    return key, kind, parts


def _usual_entry(data: _Source, start: int, end: int) -> tuple[str, int, list[Span]] | None:
    """Like `_entry`, for an entry in the usual form: a short key, and a list in one part. None for any other.

    These entries differ between the records, so `_small_entry` cannot cache them.
    """
    head = data[start : min(start + _ENTRY_HEAD_BYTES, end)]
    try:
        if head[0] != 0x0A or head[1] >= 0x80 or head[at := 2 + head[1]] != 0x12:
            return None
        length, value = _varint(head, at + 1)
        kind = head[value] >> 3
        if start + value + length != end or head[value] & 7 != _DELIMITED or kind not in (_BYTES, _FLOATS, _INTS):
            return None
        length, first = _varint(head, value + 1)
    except (IndexError, ValueError):
        return None
    return (head[2:at].decode(), kind, [(start + first, end)]) if start + first + length == end else None


def _values(data: _Source, kind: int, parts: list[Span]) -> tuple[Any, ...]:
    """The values of a list; for bytes, the span of each."""
    values: list[Any] = []
    for start, end in parts:
        for number, wire, first, last in _fields(data, start, end):
            if number != 1:
                continue
            if kind == _BYTES and wire == _DELIMITED:
                values.append((first, last))
            elif kind == _FLOATS and wire in (_DELIMITED, _FIXED32):
                if (last - first) % 4:
                    raise ValueError(f"a list of floats has {last - first} bytes, which is not a multiple of 4")
                values += struct.unpack(f"<{(last - first) // 4}f", data[first:last])
            elif kind == _INTS and wire in (_DELIMITED, _VARINT):
                packed, at = data[first:last], 0
                while at < len(packed):
                    value, at = _varint(packed, at)
                    values.append(value - 2**64 if value >= 2**63 else value)
    return tuple(values)


@functools.lru_cache(2**14)
def _small_entry(entry: bytes) -> tuple[str, int, tuple[Any, ...]]:
    """Key, kind and values of an entry, cached because most entries are the same in many records."""
    key, kind, parts = _entry(entry, 0, len(entry))
    return key, kind, _values(entry, kind, parts)
