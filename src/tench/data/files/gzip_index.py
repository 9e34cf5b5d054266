"""Big gzip files, read in place through an index of points where decompression can begin.

The file is read once to make the index, with about one point for each MiB; after that, reading any byte means
decompressing a MiB or two. The trade-off: every epoch decompresses every image again, and reading one image alone costs
about ten times as much as reading it with its neighbours.

The package rapidgzip makes the index, on many cores. It accepts some truncated files as complete, so its output is
compared with the checksum and size at the end of the file. Reading by the index uses the standard library's zlib:
rapidgzip needs 2 kB of memory per point and reader, and serves one thread at a time.
"""

import bisect
import contextlib
import io
import json
import logging
import os
import struct
import threading
import weakref
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from tench.data.files.compressed import Pread, decompressed, megabytes, refuse_bomb
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError
from tench.files import complete_file
from tench.machine import num_cores

HELD_BYTES = 3 * 2**29
"""Decompressed bytes that a reader keeps in memory: 256 pieces of 4 MiB, plus what the points of the index add to
them."""
_INDEX_VERSION = 1
_STEP_BYTES = 2**20
"""Compressed bytes between two points of the index. A point takes about 350 bytes: 52 MB for a 155 GB file."""
_PASS_BYTES = 4 * 2**20
_MAX_THREADS = 16
"""Threads of the pass that makes the index; each takes about 20 MB."""
_UNPACK = "unpack it (tar -xzf) and pass the folder."
_WITH_HEADER = 16 + zlib.MAX_WBITS
"""For zlib: a gzip member with its header and checksum."""
_INPUT_BYTES = 64 * 1024

_log = logging.getLogger("tench")
_Found = TypeVar("_Found")


def build_index(path: Path, index_path: Path, read: Callable[[Pread], _Found], limits: Limits = LIMITS) -> _Found:
    """Read a whole gzip file once, save an index for `open_indexed`, and return the result of `read`.

    read: gets a function like os.pread on the decompressed bytes and may only read forwards (back within the last
    megabytes), so an archive's members are listed in the same pass. Its errors end the pass at once. Decompression uses
    all cores, is announced first and shows progress. The CRC-32 and size at the end of the file are verified; for that,
    a file of several gzip members is decompressed a second time.

    Raises TenchError if the file is truncated, damaged or followed by other data, or if rapidgzip is missing.
    """
    try:
        import rapidgzip  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise TenchError(
            f"{path}: a gzip file of this size is read with the package rapidgzip, which is not installed: "
            f"pip install 'tench[interop]', or {_UNPACK}"
        ) from error
    status, threads = path.stat(), min(num_cores(), _MAX_THREADS)
    try:
        opened = rapidgzip.RapidgzipFile(os.fsencode(path), parallelization=threads, chunk_size=_STEP_BYTES)
    except Exception as error:  # rapidgzip raises many kinds: RuntimeError, ValueError, IndexError
        raise TenchError(f"{path}: cannot be opened as a gzip file ({_first_line(error)}).") from error
    with contextlib.closing(opened) as file:  # the process aborts if it ends while the file is open
        _log.info(
            "%s: gzip data (%.1f GB) can only be read from the start. Reading it once with %d threads, to index it in "
            "%s.",
            *(path, status.st_size / 1e9, threads, index_path),
        )
        with megabytes("Indexing", status.st_size) as reached:
            content = _Pass(file, path, status.st_size, reached, limits)
            found = read(content.pread)
            while content.advance():
                pass
        _verify(path, content)
        points = io.BytesIO()
        try:  # gztool's form keeps only the referenced part of the 32 KiB before each point
            file.export_index(points, rapidgzip.IndexFormat.GZTOOL)
            _try_out(path, points.getvalue(), content.end, file)
        except Exception as error:
            raise TenchError(f"{path}: cannot be indexed ({_first_line(error)}): {_UNPACK}") from error
    header = {
        "version": _INDEX_VERSION,
        "packed_bytes": status.st_size,
        "time_ns": status.st_mtime_ns,
        "bytes": content.end,
        "crc32": zlib.crc32(points.getbuffer()),
    }
    try:
        with complete_file(index_path) as part:
            part.write_bytes(json.dumps(header).encode() + b"\n" + points.getbuffer())
    except OSError as error:
        raise TenchError(f"{index_path}: the index of {path} cannot be written ({error.strerror}).") from error
    return found


def open_indexed(path: Path, index_path: Path, held_bytes: int = HELD_BYTES) -> "IndexedGzip":
    """Open a gzip file for reading at any offset, with the index that `build_index` saved.

    held_bytes: the most decompressed bytes to keep. Raises TenchError if the index is missing, damaged or of another
    version, or if the file's size or time has changed since it was indexed.
    """
    try:
        with index_path.open("rb") as saved:
            header, points = json.loads(saved.readline(4096)), saved.read()
        usable = header["version"] == _INDEX_VERSION and header["crc32"] == zlib.crc32(points)
    except (OSError, ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise TenchError(f"{index_path} is not the index of {path}, or is damaged. Remove it to rebuild the index.")
    try:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) != (header["packed_bytes"], header["time_ns"]):
            raise TenchError(
                f"{path} has changed since its index {index_path} was made (then {header['packed_bytes']:,} bytes, "
                f"now {status.st_size:,}, or another modification time). Restore it, or remove the index to rebuild it."
            )
        return IndexedGzip(path, points, header["bytes"], held_bytes)
    except OSError as error:
        raise TenchError(f"{path}: cannot be read ({error.strerror}).") from error


class IndexedGzip:
    """The decompressed bytes of a gzip file by offset, for any number of threads; made by `open_indexed`.

    Decompresses from one point of the index to the next and keeps the most recently used pieces, so that neighbouring
    images cost one decompression. Threads wait for a piece that another has begun.
    """

    def __init__(self, path: Path, points: bytes, num_bytes: int, held_bytes: int) -> None:
        """points: an index in gztool's form."""
        self.num_bytes = num_bytes
        self._path = path
        self._points = _Points(points)
        self._held: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._held_bytes, self._max_held_bytes = 0, held_bytes
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._close.atexit = False  # a thread may still be reading

    def pread(self, length: int, offset: int) -> bytes:
        """`length` bytes from `offset`, fewer only at the end. Raises TenchError if the file has been damaged since."""
        if length < 0 or offset < 0:
            raise ValueError(f"offset and length must be at least 0, got {offset} and {length}")
        if not self._close.alive:
            raise ValueError(f"{self._path} is closed")
        starts, parts, end = self._points.starts, [], min(offset + length, self.num_bytes)
        while offset < end:
            number = bisect.bisect_right(starts, offset) - 1
            parts.append(self._stretch(number)[offset - starts[number] : end - starts[number]])
            offset += len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        """Close the file and free the pieces. No other thread may be reading."""
        self._close()
        self._held.clear()

    def __enter__(self) -> "IndexedGzip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stretch(self, number: int) -> bytes:
        """The piece between two points of the index: cached, or decompressed by the first thread that asks."""
        with self._lock:
            held = self._held.get(number)
            if begun := held is not None:
                self._held.move_to_end(number)
            else:
                held = self._held[number] = Future()
                self._held_bytes += self._points.size(number)
                while self._held_bytes > self._max_held_bytes and len(self._held) > 1:
                    self._held_bytes -= self._points.size(self._held.popitem(last=False)[0])
        if not begun:
            try:
                held.set_result(self._inflate(number))
            except BaseException as error:
                with self._lock:
                    if self._held.pop(number, None):
                        self._held_bytes -= self._points.size(number)
                held.set_exception(error)
        return held.result()

    def _inflate(self, number: int) -> bytes:
        begin, bit = divmod(self._points.bits[number], 8)
        missing, found = self._points.size(number), list[bytes]()
        packed = self._packed(begin)
        try:
            data, footer_bytes = _from_bit(bit, next(packed)), 8
            inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=self._points.window(number))
            while True:
                found.append(inflater.decompress(data, missing))
                missing -= len(found[-1])
                if not missing:
                    return b"".join(found)
                data = inflater.unused_data
                if inflater.eof:  # the end of this member; the rest is in the next
                    while len(data) < footer_bytes:
                        data += next(packed)
                    data, inflater, footer_bytes = data[footer_bytes:], zlib.decompressobj(_WITH_HEADER), 0
                data = data or next(packed)
        except (zlib.error, OSError, EOFError) as error:
            raise TenchError(
                f"{self._path}: the gzip data from byte {begin:,} on can no longer be read ({error}). The file has "
                "been damaged or changed since its index was made: copy or download it again."
            ) from error

    def _packed(self, position: int) -> Iterator[bytes]:
        while data := os.pread(self._descriptor, _INPUT_BYTES, position):
            yield data
            position += len(data)
        raise EOFError("the file ends before them")


class _Points:
    """The points of a gzip file where decompression can begin, as stored in a gztool index.

    starts: decompressed bytes before each point, and the total. bits: compressed bits before each.
    Source: github.com/circulosmeos/gztool, gztool.c, "index file format", version "x".
    """

    def __init__(self, saved: bytes) -> None:
        self.starts, self.bits, self._windows = array("q"), array("q"), array("q")
        self._saved = saved
        magic, count = struct.unpack_from(">16sQ8x", saved)
        if magic != bytes(8) + b"gzipindx":
            raise ValueError("the index is not in gztool's form")
        position = 32
        for _ in range(count):
            start, byte, bits_back, window_bytes = struct.unpack_from(">QQII", saved, position)
            self.starts.append(start)
            self.bits.append(8 * byte - bits_back)
            self._windows.append(position + 24)
            position += 24 + window_bytes
        self.starts.append(struct.unpack_from(">Q", saved, position)[0])
        self._windows.append(position + 24)

    def size(self, number: int) -> int:
        """Decompressed bytes from a point to the next."""
        return self.starts[number + 1] - self.starts[number]

    def window(self, number: int) -> bytes:
        """The 32 KiB before a point, which the following data may refer to; empty at the start of a member."""
        packed = self._saved[self._windows[number] : self._windows[number + 1] - 24]
        return zlib.decompress(packed) if packed else b""


def _from_bit(bit: int, data: bytes) -> bytes:
    """Deflate data that begin at a bit of the first byte, realigned to a byte by empty blocks in front.

    zlib can start at any bit, but Python's zlib module cannot. An empty block with fixed codes has 10 bits; odd
    positions need one empty block with dynamic codes, 93 bits long.
    """
    front, length = (_ODD_BLOCK, 93) if bit % 2 else (0, 0)
    while length % 8 != bit:
        front, length = front | 0b10 << length, length + 10  # not last, type 1, and the end-of-block code: 7 zeros
    if bit == 0:
        return data
    front |= (data[0] >> bit) << length
    return front.to_bytes(length // 8 + 1, "little") + data[1:]


def _bits(*fields: tuple[int, int]) -> int:
    """Pack (number, bits) fields one after the other, from the lowest bit."""
    number = length = 0
    for value, bits in fields:
        number, length = number | value << length, length + bits
    return number


_ODD_BLOCK = _bits(
    *((0, 1), (2, 2), (0, 5), (0, 5), (14, 4)),  # not last, type 2, with 257, 1 and 18 code lengths
    *((bits, 3) for bits in (0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)),  # for 18, 0 and 1: 2, 1, 2 bits
    *((3, 2), (127, 7), (3, 2), (107, 7), (1, 2), (0, 1)),  # 18: 138 + 118 zeros; 1: end of block; 0: no distance
    (0, 1),  # end of block
)
"""Source: RFC 1951, section 3.2.7."""


class _Pass:
    """The decompressed bytes of a file from start to end, a piece at a time, with their CRC-32."""

    def __init__(self, file: Any, path: Path, packed: int, reached: Callable[[int], None], limits: Limits) -> None:
        self._limits = limits
        self._file, self._path, self._packed, self._reached = file, path, packed, reached
        self._start, self._piece = 0, b""
        self.end = self.crc32 = 0

    def pread(self, length: int, offset: int) -> bytes:
        assert offset >= self._start, f"byte {offset} is gone: the pass is at {self._start}"
        while offset >= self.end and self.advance():
            pass
        data = self._piece[offset - self._start :][:length]
        while len(data) < length and self.advance():
            data += self._piece[: length - len(data)]
        return data

    def advance(self) -> bool:
        """Read the next piece; False at the end."""
        packed = self._file.tell_compressed() // 8
        try:
            piece = self._file.read(_PASS_BYTES)
        except Exception as error:
            raise TenchError(
                f"{self._path}: the gzip data are damaged, truncated, or followed by other data at about byte "
                f"{packed:,} of {self._packed:,} or before it ({_first_line(error)}). Copy or "
                "download it again."
            ) from error
        if piece:
            self._start, self._piece = self.end, piece
            self.end += len(piece)
            self.crc32 = zlib.crc32(piece, self.crc32)
            refuse_bomb(min(packed + _PASS_BYTES, self._packed), self.end, str(self._path), self._limits)
            self._reached(packed)
        return bool(piece)


def _verify(path: Path, content: _Pass) -> None:
    """Compare rapidgzip's output with the checksum and size at the end: it accepts some truncated files as complete.

    If they differ, the file is truncated or has several members, each with its own checksum. The standard library reads
    it again to find out which.
    """
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        if struct.unpack("<II", file.read(8)) == (content.crc32, content.end % 2**32):
            return
        _log.info("%s is truncated, or joined from several gzip members. Reading it again to find out.", path)
        with megabytes("Verifying", path.stat().st_size) as reached:
            num_bytes = 0
            for piece, position in decompressed(file, str(path)):
                num_bytes += len(piece)
                reached(position)
    if num_bytes != content.end:
        raise TenchError(f"{path}: rapidgzip unpacks it to {content.end:,} bytes, but zlib to {num_bytes:,}: {_UNPACK}")


def _try_out(path: Path, points: bytes, num_bytes: int, file: Any) -> None:
    """Raise ValueError unless reading from the first, a middle and the last point matches rapidgzip's output."""
    with IndexedGzip(path, points, num_bytes, _PASS_BYTES) as reader:
        starts = reader._points.starts
        for offset in (starts[0], starts[len(starts) // 2], starts[max(0, len(starts) - 2)]):
            file.seek(offset)
            if reader.pread(100_000, offset) != file.read(100_000):
                raise ValueError(f"reading through the index returns other data at byte {offset:,}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
