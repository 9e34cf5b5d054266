"""The members of a zip archive: the offsets of stored ones, and how compressed ones are unpacked.

Python's zipfile is not used: it reads a name in an unknown code page as code page 437, loads a central directory of any
size into memory, and on damage raises whatever error its parts raise. Here every length is checked against the
bytes present, the directory must agree with the header before each member, and names that are not UTF-8 are read by
`code_pages`. Backslashes are separators in an archive made on Windows, and in one without any other separator. The
price: no split archives, no encryption, and only the compression methods of Python's standard library.
Source: PKWARE, APPNOTE.TXT 6.3.10; Info-ZIP, extrafld.txt (0x7075, the Unicode path).
"""

import bz2
import dataclasses
import lzma
import operator
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence

from tench.data.files.code_pages import chosen_page
from tench.data.files.compressed import Decompressor, Inflater, Pread
from tench.data.files.names import inside, shown
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError, counted

STORED = 0

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END_64, _LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
_ENTRY = struct.Struct("<4s4xHH4x3L3H4xLL")  # flags, method, CRC-32, sizes, lengths, attributes, header
_HOST_BYTE = 5
_END_BYTES, _MOST_COMMENT_BYTES = 22, 2**16 - 1
_LOCATOR_BYTES, _END_64_BYTES = 20, 56
_ENCRYPTED, _UTF_8 = 0x0001, 0x0800
_WINDOWS_HOSTS = (0, 6, 10, 11, 14)
"""FAT, HPFS, NTFS, NTFS by other programs, VFAT: on these systems a name cannot contain a backslash."""
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_FULL_32 = 2**32 - 1
_PIECE_BYTES = 2**18
_DEFLATE, _BZIP2, _LZMA = 8, 12, 14
_LZMA_HEADER_BYTES = 9
_METHODS = {1: "shrink", 6: "implode", 9: "Deflate64", 93: "zstd", 95: "xz", 96: "JPEG", 97: "WavPack", 98: "PPMd"}
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A file or folder of a zip archive.

    name: relative to the archive, with "/", in composed form; a folder's ends in "/". packed_bytes, num_bytes:
    compressed and uncompressed size. header: offset of its local header in the archive. raw: the name's original bytes.
    """

    name: str
    method: int
    crc32: int
    packed_bytes: int
    num_bytes: int
    header: int
    raw: bytes


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip archive for reading: bytes `base` to `base + size` of what `pread` reads. where: its name for messages."""

    pread: Pread
    base: int
    size: int
    where: str
    limits: Limits = LIMITS

    def read(self, position: int, length: int) -> bytes:
        """The bytes at this position; fewer if the archive ends."""
        return self.pread(max(0, min(length, self.size - position)), self.base + position) if position >= 0 else b""


class _DamageError(Exception):
    """The archive is damaged; the text says how."""


def is_zip(head: bytes) -> bool:
    """Whether a file that begins with these four bytes is a zip archive, possibly an empty one."""
    return head in (_LOCAL, _END)


def members(archive: Archive, notes: list[str]) -> list[Member]:
    """The members of a zip archive, in directory order.

    notes: notes about the names are added to it. A name may occur twice; as in a tar, the later member is used.
    Raises TenchError if the archive is damaged, truncated, encrypted or split, or has a link, a device or a name that
    leads outside.
    """
    try:
        return _named(list(_entries(archive)), archive.where, notes)
    except _DamageError as error:
        raise _damaged(archive.where, error) from error


def start(archive: Archive, member: Member) -> int:
    """Offset of a member's data in the archive. Raises TenchError if its header is damaged."""
    try:
        return _start(archive, member)
    except _DamageError as error:
        raise _damaged(archive.where, error, shown(member.name)) from error


def unpacked(archive: Archive, member: Member) -> Iterator[bytes]:
    """The content of a compressed member in pieces; size and CRC-32 are checked against the directory's.

    Raises TenchError if it is damaged or its compression method is not supported.
    """
    try:
        yield from _unpacked(archive, member)
    except (_DamageError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise _damaged(archive.where, error, shown(member.name)) from error


def _damaged(where: str, error: Exception, name: str = "") -> TenchError:
    about = f"{name}: " if name else ""
    return TenchError(f"{where}: the zip archive is damaged or truncated ({about}{error}). Copy or download it again.")


@dataclasses.dataclass(slots=True)
class _Entry:
    """A directory entry. name: its bytes; text: the name, None while its code page is unknown."""

    name: bytes
    text: str | None
    host: int
    method: int
    crc32: int
    packed_bytes: int
    num_bytes: int
    header: int


def _directory(archive: Archive) -> tuple[bytes, int, int]:
    """The central directory, the number of its entries (modulo 65,536), and the bytes before the archive."""
    where = archive.where
    tail_start = max(0, archive.size - _END_BYTES - _MOST_COMMENT_BYTES)
    tail = archive.read(tail_start, _END_BYTES + _MOST_COMMENT_BYTES)
    at = tail.rfind(_END, 0, max(0, len(tail) - _END_BYTES + len(_END)))
    if at < 0:
        raise _DamageError("its end record is missing")
    disk, first_disk, _, count, num_bytes, offset = struct.unpack_from("<4H2L", tail, at + 4)
    here = tail_start + at
    locator = archive.read(here - _LOCATOR_BYTES, _LOCATOR_BYTES)
    if locator[:4] == _LOCATOR_64:
        record = here - _LOCATOR_BYTES - _END_64_BYTES
        data = archive.read(record, _END_64_BYTES)
        if data[:4] != _END_64:  # the record has an extension, or is elsewhere
            record = struct.unpack_from("<8xQ", locator)[0]
            data = archive.read(record, _END_64_BYTES) if record < here else b""
        if len(data) < _END_64_BYTES or data[:4] != _END_64:
            raise _DamageError("its zip64 end record is missing")
        disk, first_disk, _, count, num_bytes, offset = struct.unpack_from("<2L4Q", data, 16)
        here = record
    if disk or first_disk:
        raise TenchError(f"{where} is one part of a split zip archive. Join its parts (zip -s 0) and pass the result.")
    before = here - num_bytes - offset
    if before < 0:
        raise _DamageError("its directory is outside the archive")
    most = archive.limits.listing_bytes
    if num_bytes > most:
        raise TenchError(
            f"{where}: the directory of the zip archive has {num_bytes:,} bytes; at most {most:,} are read. Unpack "
            "the archive and pass the folder."
        )
    return archive.read(before + offset, num_bytes), count, before


def _entries(archive: Archive) -> Iterator[_Entry]:
    (directory, count, before), where, limits = _directory(archive), archive.where, archive.limits
    position = number = 0
    while position < len(directory):
        if number == limits.members:
            raise TenchError(f"{where} has more than {limits.members:,} members. Unpack it and pass a part.")
        if position + _ENTRY.size > len(directory):
            raise _DamageError("its directory is truncated")
        (signature, flags, method, crc32, packed, size, name_bytes, extra_bytes, comment_bytes, attributes, header) = (
            _ENTRY.unpack_from(directory, position)
        )
        if signature != _CENTRAL:
            raise _DamageError(f"entry {number + 1:,} of its directory has no valid start")
        begin = position + _ENTRY.size
        name = directory[begin : begin + name_bytes]
        extra = directory[begin + name_bytes : begin + name_bytes + extra_bytes]
        following = begin + name_bytes + extra_bytes + comment_bytes
        if following > len(directory):
            raise _DamageError("its directory is truncated")
        host = directory[position + _HOST_BYTE]
        if _FULL_32 in (packed, size, header):
            size, packed, header = _zip64(extra, size, packed, header)
        if name_bytes > limits.name_bytes:
            raise TenchError(
                f"{where}: member {number + 1:,} has a name of {name_bytes:,} bytes; at most {limits.name_bytes:,} are "
                "read. Unpack the archive and pass the folder."
            )
        text = _text(name, flags, extra)
        if flags & _ENCRYPTED:
            found = shown(text or name.decode("latin-1"))
            raise TenchError(f"{where}: {found} is encrypted. Unpack the archive and pass the folder.")
        if kind := _KINDS.get(stat.S_IFMT(attributes >> 16)):
            raise TenchError(
                f"{where}: {shown(text or name.decode('latin-1'))} is {kind}. Only files and folders are read from "
                "archives. If you trust this one, unpack it and pass the folder."
            )
        yield _Entry(name, text, host, method, crc32, packed, size, before + header)
        position, number = following, number + 1
    if (number - count) % 65536:
        raise _DamageError(f"its directory has {number:,} entries, but should have {count:,}")


def _text(name: bytes, flags: int, extra: bytes) -> str | None:
    """A name whose encoding the archive states; None if it does not."""
    if name.isascii():
        return name.decode()
    if flags & _UTF_8:
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise _DamageError(f"the name {name[:40]!r} should be UTF-8") from None
    for data in _fields(extra, _UNICODE_PATH):  # version 1, the CRC-32 of the name it is for, the name
        if data[:1] == b"\x01" and data[1:5] == zlib.crc32(name).to_bytes(4, "little"):
            try:
                return data[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def _fields(extra: bytes, wanted: int) -> Iterator[bytes]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == wanted:
            yield extra[position + 4 : position + 4 + length]
        position += 4 + length


def _zip64(extra: bytes, *fields: int) -> list[int]:
    """Sizes and offset of a member; those that do not fit into 32 bits are read from the extra field."""
    data, position, found = next(_fields(extra, _ZIP64), b""), 0, []
    for field in fields:
        if field == _FULL_32 and position + 8 <= len(data):
            field, position = struct.unpack_from("<Q", data, position)[0], position + 8
        found.append(field)
    return found


def _named(entries: Sequence[_Entry], where: str, notes: list[str]) -> list[Member]:
    """The members with their names: decoded in one code page, with "/" between folders."""
    undecided = [entry.name for entry in entries if entry.text is None]
    page = chosen_page(undecided, where, notes) if undecided else ""
    texts = [entry.name.decode(page) if entry.text is None else entry.text for entry in entries]
    if any("\\" in text for text in texts):
        everywhere = not any("/" in text for text in texts)
        turned = [
            text.replace("\\", "/") if everywhere or entry.host in _WINDOWS_HOSTS else text
            for text, entry in zip(texts, entries, strict=True)
        ]
        if turned != texts:
            changed = sum(map(operator.ne, turned, texts))
            notes.append(f"{where}: {counted(changed, 'name')} with backslashes, which are read as folder separators.")
        texts = turned
    made = []
    for entry, text in zip(entries, texts, strict=True):
        if "\0" in text:
            raise _DamageError(f"the name {shown(text)} has a zero character in it")
        name = inside(text, where)
        if text.endswith("/"):
            name += "/"
        elif not name:
            raise _DamageError("a file has no name")
        at = entry.method, entry.crc32, entry.packed_bytes, entry.num_bytes, entry.header
        made.append(Member(name, *at, entry.name))
    return made


def _start(archive: Archive, member: Member) -> int:
    data = archive.read(member.header, 30 + len(member.raw))
    if len(data) < 30 or data[:4] != _LOCAL:
        raise _DamageError("its header is not at the offset in the directory")
    name_bytes, extra_bytes = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    if name_bytes != len(member.raw) or data[30:] != member.raw:
        raise _DamageError("its name in the header differs from that in the directory")
    begin = member.header + 30 + name_bytes + extra_bytes
    if begin + member.packed_bytes > archive.size:
        raise _DamageError("its data extend beyond the end of the archive")
    if member.method == STORED and member.packed_bytes != member.num_bytes:
        raise _DamageError("it is not compressed, but its two sizes differ")
    return begin


def _unpacked(archive: Archive, member: Member) -> Iterator[bytes]:
    position = _start(archive, member)
    end = position + member.packed_bytes
    if member.method == _DEFLATE:
        decompressor: Decompressor = Inflater(-zlib.MAX_WBITS)
    elif member.method == _BZIP2:
        decompressor = bz2.BZ2Decompressor()
    elif member.method == _LZMA:
        decompressor = _lzma_decompressor(archive, member, archive.read(position, _LZMA_HEADER_BYTES))
        position += _LZMA_HEADER_BYTES
    else:
        name = _METHODS.get(member.method, f"method {member.method}")
        raise TenchError(
            f"{archive.where}: {shown(member.name)} is compressed with {name}, which is not supported. Unpack the "
            "archive (7-Zip reads most methods) and pass the folder."
        )
    left, crc32 = member.num_bytes, 0
    while left > 0 and not decompressor.eof:
        data = b""
        if decompressor.needs_input:
            data = archive.read(position, min(_PIECE_BYTES, end - position))
            position += len(data)
            if not data:
                break
        piece = decompressor.decompress(data, min(_PIECE_BYTES, left + 1))  # one more byte shows that it is too long
        left -= len(piece)
        crc32 = zlib.crc32(piece, crc32)
        yield piece
    if left:
        raise _DamageError("its unpacked size differs from that in the directory")
    if crc32 != member.crc32:
        raise _DamageError("its checksum differs from that in the directory")


def _lzma_decompressor(archive: Archive, member: Member, header: bytes) -> Decompressor:
    if len(header) < _LZMA_HEADER_BYTES or header[2:4] != b"\5\0" or header[4] >= 9 * 5 * 5:
        raise _DamageError("its LZMA header is invalid")
    rest, lc = divmod(header[4], 9)
    pb, lp = divmod(rest, 5)
    if lc + lp > 4:
        raise _DamageError("its LZMA header is invalid")
    dictionary_bytes = int.from_bytes(header[5:9], "little")
    if dictionary_bytes > archive.limits.dictionary_bytes:
        raise TenchError(
            f"{archive.where}: {shown(member.name)} needs {dictionary_bytes:,} bytes of memory to unpack; at most "
            f"{archive.limits.dictionary_bytes:,} are used. Unpack the archive and pass the folder."
        )
    properties = {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, dictionary_bytes), "lc": lc, "lp": lp, "pb": pb}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[properties])
