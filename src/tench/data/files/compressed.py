"""Small compressed archives: unpacked once, whole, into the cache.

A compressed stream can only be read from its start, so a gzip, xz, bzip2 or zstd file is decompressed once into the
cache. The price is disk space; for gzip files of INDEXED_BYTES or more see gzip_index.
"""

import bz2
import contextlib
import errno
import logging
import lzma
import math
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError
from tench.files import complete_file, require_space
from tench.progress import progress

INDEXED_BYTES = 4 * 2**30
"""From this compressed size on, a gzip file is indexed instead of unpacked."""

Pread = Callable[[int, int], bytes]
"""(length, offset) -> the bytes there, fewer only at the end of the data; like os.pread on a descriptor."""

_MAGIC = {"gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\0", "bzip2": b"BZh", "zstd": b"\x28\xb5\x2f\xfd"}
_INPUT_BYTES = 64 * 1024
"""Compressed bytes read at a time; damage is located to within this many bytes."""
_OUTPUT_BYTES = 2**20
_NO_MEMORY = "Memory usage limit exceeded"
"""lzma's message for this error, which has no type of its own."""

_log = logging.getLogger("tench")


def form_of(head: bytes) -> str | None:
    """The compression of a file with this beginning (6 bytes suffice): "gzip", "xz", "bzip2", "zstd", or None."""
    return next((form for form, magic in _MAGIC.items() if head.startswith(magic)), None)


def first_bytes(file: BinaryIO, length: int) -> bytes:
    """The decompressed beginning of a file, to see what it contains; shorter if the file is short or damaged there."""
    found = b""
    with contextlib.suppress(TenchError):
        for piece, _ in decompressed(file, ""):
            found += piece
            if len(found) >= length:
                break
    return found[:length]


def spool_compressed(file: BinaryIO, where: str, target: Path, limits: Limits = LIMITS) -> int:
    """Decompress a whole file into `target`, which appears complete or not at all, and return its size in bytes.

    where: the file's name for messages. Consecutive gzip members, xz streams, bzip2 streams and zstd frames are joined,
    as gzip, xz, bzip2 and zstd do; zeros after the last are ignored. All checksums in the file are verified (zstd has
    none unless its writer asked for it). Raises TenchError if the file is truncated, damaged, followed by other data,
    or grows beyond the limit, and if the disk is full."""
    packed = file.seek(0, os.SEEK_END)
    about = _least_size(file, packed, where)
    require_space(target, about, where)
    _log.info(
        "%s is compressed (%.1f MB). Unpacking it once, to about %.1f MB or more, in %s.",
        *(where, packed / 1e6, about / 1e6, target),
    )
    written = position = 0
    try:
        with complete_file(target) as part:
            try:
                with part.open("wb") as sink, megabytes("Unpacking", packed) as reached:
                    for piece, position in decompressed(file, where, limits):
                        written += len(piece)
                        sink.write(piece)
                        refuse_bomb(position, written, where, limits)
                        reached(position)
            except OSError as error:  # complete_file does not know how much room is needed
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                needed = written * packed / max(position, 1)
                raise TenchError(
                    f"{where}: {target.parent} is full ({error.strerror}) after {written / 1e6:,.1f} MB were unpacked "
                    f"there; about {needed / 1e6:,.1f} MB are needed. Make room there, or set TENCH_CACHE to a folder "
                    "on a larger disk."
                ) from error
    except OSError as error:
        raise TenchError(f"{target}: cannot be written ({error.strerror}) while unpacking {where}.") from error
    return written


class Decompressor(Protocol):
    """The interface of bz2 and lzma decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class Inflater:
    """zlib with the interface of bz2 and lzma."""

    def __init__(self, window_bits: int) -> None:
        """window_bits: zlib's wbits, which also selects the wrapper of the deflate data."""
        self._zlib = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


_DECOMPRESSORS: dict[str, Callable[[Limits], Decompressor]] = {
    "gzip": lambda limits: Inflater(16 + zlib.MAX_WBITS),  # 16: with gzip's header and checksum
    "bzip2": lambda limits: bz2.BZ2Decompressor(),
    "xz": lambda limits: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.dictionary_bytes),
}


def decompressed(file: BinaryIO, where: str, limits: Limits = LIMITS) -> Iterator[tuple[bytes, int]]:
    """The content of a compressed file in pieces of at most 1 MiB, each with the position in the file after it."""
    file.seek(0)
    form = form_of(_read(file, where, 6))
    if form is None:
        raise TenchError(f"{where} is not compressed with any of {', '.join(_MAGIC)}.")
    file.seek(0)
    yield from _zstd(file, where) if form == "zstd" else _members(file, form, where, limits)


class Forward:
    """Decompressed bytes by offset, for forward reads: the bytes before the last read are dropped."""

    def __init__(self, file: BinaryIO, where: str, limits: Limits = LIMITS) -> None:
        self._pieces = _bounded(file, where, limits)
        self._start, self._held = 0, b""

    def pread(self, length: int, offset: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end. Offsets must not decrease."""
        assert offset >= self._start, f"byte {offset} has already been dropped"
        pieces, end = [self._held[offset - self._start :]], self._start + len(self._held)
        self._held = b""
        while end < offset + length and (piece := next(self._pieces, b"")):
            pieces.append(piece[max(0, offset - end) :])
            end += len(piece)
        self._held = b"".join(pieces)
        self._start = end - len(self._held)
        return self._held[:length] if self._start == offset else b""

    def finish(self) -> None:
        """Read to the end, where the checksums are."""
        for _ in self._pieces:
            pass


def _bounded(file: BinaryIO, where: str, limits: Limits) -> Iterator[bytes]:
    unpacked = 0
    for piece, position in decompressed(file, where, limits):
        unpacked += len(piece)
        refuse_bomb(position, unpacked, where, limits)
        yield piece


def _members(file: BinaryIO, form: str, where: str, limits: Limits) -> Iterator[tuple[bytes, int]]:
    """Pieces of one compressed member after another."""
    begin = before = position = 0  # positions in the file: start of this member, start and end of the current bytes
    data = b""
    decompressor: Decompressor | None = None
    while True:
        if not data and (decompressor is None or decompressor.needs_input):
            before, data = position, _read(file, where, _INPUT_BYTES)
            position += len(data)
            if not data and decompressor is None:
                return
            if not data:
                raise TenchError(
                    f"{where} ends at byte {position:,} in the middle of the {form} data that begin at {begin:,}. It "
                    "was truncated: compare its size with the original's, and copy or download it again."
                )
        if decompressor is None:
            data = data.lstrip(b"\0")  # tapes and disks pad with zeros, and xz allows them
            if not data:
                continue
            begin, decompressor = position - len(data), _DECOMPRESSORS[form](limits)
        try:
            piece = decompressor.decompress(data, _OUTPUT_BYTES)
        except (zlib.error, lzma.LZMAError, OSError) as error:
            if str(error) == _NO_MEMORY:
                raise TenchError(
                    f"{where} needs more than {limits.dictionary_bytes:,} bytes of memory to be unpacked. Unpack it "
                    "yourself (xz -d), and pass what it contains."
                ) from error
            other = f" Everything before byte {begin:,} is intact, so this may be appended data." if begin else ""
            raise TenchError(
                f"{where}: the {form} data are damaged between bytes {max(before, begin):,} and {position:,} "
                f"({error}).{other} Copy or download it again."
            ) from error
        data = b""
        if piece:
            yield piece, position
        if decompressor.eof:
            data, decompressor = decompressor.unused_data, None


def _zstd(file: BinaryIO, where: str) -> Iterator[tuple[bytes, int]]:
    import pyarrow as pa

    class Source:
        """The file with a close method that does nothing, because pyarrow would close the file."""

        closed = False

        def read(self, length: int) -> bytes:
            return _read(file, where, length)

        def close(self) -> None:
            pass

    stream = pa.CompressedInputStream(pa.PythonFile(Source(), mode="r"), "zstd")
    try:
        while piece := stream.read(_OUTPUT_BYTES):
            yield piece, file.tell()
    except OSError as error:
        raise TenchError(
            f"{where}: the zstd data are damaged or truncated at or before byte {file.tell():,} ({error}). Copy or "
            "download it again."
        ) from error


def _read(file: BinaryIO, where: str, length: int) -> bytes:
    try:
        return file.read(length)
    except OSError as error:
        raise TenchError(f"{where}: cannot be read ({error.strerror}).") from error


def _least_size(file: BinaryIO, packed: int, where: str) -> int:
    """A lower bound for the unpacked size: the file's own size, because images hardly compress, or the size that gzip
    stores modulo 4 GiB."""
    file.seek(0)
    if form_of(_read(file, where, 6)) != "gzip" or packed < 18:
        return packed
    file.seek(-4, os.SEEK_END)
    told = int.from_bytes(_read(file, where, 4), "little")
    return max(packed, min(told, 1032 * packed))  # 1032: deflate's highest ratio


def refuse_bomb(packed: int, unpacked: int, where: str, limits: Limits = LIMITS) -> None:
    """Raise TenchError if the first `packed` bytes of a file unpack to more bytes than images can."""
    if unpacked > max(limits.inflated_bytes, limits.inflation * packed):
        raise TenchError(
            f"{where}: the first {packed:,} bytes unpack to {unpacked:,}, more than {limits.inflation} "
            "times as many. Images do not compress this well, so the file is not unpacked."
        )


@contextlib.contextmanager
def megabytes(what: str, num_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show progress in whole megabytes. Call the yielded function with the position reached, in bytes."""
    done = 0
    with progress(what, math.ceil(num_bytes / 1e6), "MB") as advance:

        def reached(position: int) -> None:
            nonlocal done
            advance(position // 10**6 - done, "")
            done = position // 10**6

        yield reached
