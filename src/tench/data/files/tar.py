"""The members of a tar archive and their byte ranges, read from the headers alone.

Forms: ustar, the old form, GNU's (long names, sizes above 8 GiB) and pax. Only files and folders are accepted: nothing
is unpacked, so a link would have no target, and an archive of images needs none. Each header's checksum is verified,
and no size leads backwards, so the walk through the headers always ends.
Source: POSIX.1-2008, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

import zlib
from collections.abc import Callable, Iterator
from typing import NoReturn

from tench.data.files.names import inside, shown
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

BLOCK = 512

Pread = Callable[[int, int], bytes]
"""(length, offset) -> the bytes there, fewer only at the end, for example functools.partial(os.pread, descriptor)."""

_ZEROS = bytes(BLOCK)
_FILE_TYPES = b"0\x007"
_EXTENSIONS = b"LKxg"
"""Headers that describe the next member; g: all following members."""
_KINDS = {
    ord("1"): "a hard link",
    ord("2"): "a symbolic link",
    ord("3"): "a character device",
    ord("4"): "a block device",
    ord("6"): "a named pipe",
    ord("S"): "a sparse file",
    ord("M"): "the rest of a file that began in another volume",
    ord("V"): "a volume label",
}
_CLOSING_BYTES = 64 * 1024
"""Bytes after an archive's end that are searched for a second archive; programs pad to 10 KiB, some to more."""
_AGAIN = "The archive is damaged. Copy or download it again."


def is_tar(head: bytes) -> bool:
    """Whether 512 bytes are the header of a tar archive, by its checksum."""
    return len(head) == BLOCK and head != _ZEROS and _checksum_fits(head)


def members(
    pread: Pread, start: int, end: int | None, where: str, limits: Limits = LIMITS
) -> Iterator[tuple[str, int, int]]:
    """(name, offset, bytes) of each member of the archive in bytes start to end of what `pread` reads.

    end: None if unknown until it is reached, as in a compressed archive. Reads go forwards, except that the archive's
    last block is read twice.

    Names of folders end in "/"; a leading "./" is removed. Bytes of a name that are not UTF-8 become surrogates. A name
    may occur twice; as in tar itself, the later member is used. where: the archive's name for errors. Raises TenchError
    if the archive is damaged or truncated, or has a link, a device or a name that leads outside.
    """
    position = start
    long_name: str | None = None
    defaults: dict[str, str] = {}  # from a global pax header
    attributes = defaults
    while True:
        header = pread(BLOCK, position) if end is None or position + BLOCK <= end else b""
        if len(header) < BLOCK:
            ends = f"before byte {position - start + BLOCK:,}" if end is None else f"at byte {end - start:,}"
            raise TenchError(
                f"{where} ends {ends} without the empty blocks that close a tar archive. It was "
                "probably truncated: compare its size with the original's, and copy or download it again."
            )
        if header == _ZEROS:
            length = _CLOSING_BYTES if end is None else min(_CLOSING_BYTES, end - position)
            _refuse_more(pread(length, position), position - start, where)
            return
        if not _checksum_fits(header):
            raise TenchError(
                f"{where}: byte {position - start:,} should begin the header of the next member, but its checksum does "
                "not match. The archive is damaged there or before. Copy or download it again."
            )
        size = _number(header[124:136], where, position - start)
        kind = header[156]
        if attributes and kind not in _EXTENSIONS and "size" in attributes:
            size = int(attributes["size"])
        if size < 0:  # it would lead back to an earlier header
            name = shown(_name(header, long_name, attributes))
            raise TenchError(f"{where}: {name} (byte {position - start:,}) has a size of {size:,} bytes. {_AGAIN}")
        data = position + BLOCK
        if end is not None and data + size > end:
            name = shown(_name(header, long_name, attributes))
            raise TenchError(
                f"{where}: {name} needs bytes {data - start:,}-{data - start + size:,}, but the archive ends at "
                f"{end - start:,}. It was probably truncated: copy or download it again."
            )
        following = data + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind in _EXTENSIONS:
            if kind == ord("L"):
                long_name = _long_name(pread, data, size, where, position - start, limits)
            elif kind != ord("K"):  # K: the target of a long link
                found = _attributes(pread, data, size, where, position - start, limits)
                if kind == ord("g"):
                    defaults = attributes = defaults | found
                else:
                    attributes = defaults | found
            position = following
            continue
        name = _name(header, long_name, attributes)
        if attributes and kind in _FILE_TYPES and any(key.startswith("GNU.sparse") for key in attributes):
            kind = ord("S")
        if kind == ord("5") or (kind in _FILE_TYPES and name.endswith("/")):  # "/": folders as before 1988
            if folder := inside(name, where):
                yield folder + "/", data, 0
        elif kind in _FILE_TYPES:
            yield inside(name, where) or _nameless(where, position - start), data, size
        else:
            what = _KINDS.get(kind, f"of the unknown type {chr(kind)!r}")
            raise TenchError(
                f"{where}: {shown(name)} (byte {position - start:,}) is {what}. Only files and folders are read from "
                "archives. If you trust this one, unpack it and pass the folder."
            )
        position, long_name, attributes = following, None, defaults


def _nameless(where: str, position: int) -> NoReturn:
    raise TenchError(f"{where}: the file at byte {position:,} has no name. {_AGAIN}")


def _checksum_fits(header: bytes) -> bool:
    """Whether the header's checksum is the sum of all its bytes, with the checksum's own eight counted as spaces.

    The sum comes from Adler-32, whose lower half is the sum plus one modulo 65521: faster than `sum`.
    """
    field = header[148:156]
    try:
        total = int(field.strip(b" \0"), 8) + sum(field) - 8 * ord(" ")
    except ValueError:
        return False
    return zlib.adler32(header) & 0xFFFF == (total + 1) % 65521


def _number(field: bytes, where: str, position: int) -> int:
    """A size: octal digits, or if the first bit is set, a big-endian number in two's complement."""
    try:
        if field[0] & 0x80:
            value = int.from_bytes(field[1:], "big")
            return value - (1 << 88) if field[0] == 0xFF else value + ((field[0] & 0x7F) << 88)
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise TenchError(
            f"{where}: the size of the member at byte {position:,} is {field!r}, which is not a number. {_AGAIN}"
        ) from None


def _name(header: bytes, long_name: str | None, attributes: dict[str, str]) -> str:
    if attributes and "path" in attributes:
        return attributes["path"]
    if long_name is not None:
        return long_name
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _long_name(pread: Pread, data: int, size: int, where: str, position: int, limits: Limits) -> str:
    _refuse_long(size - 1, where, position, limits)  # a zero closes it
    return _whole_name(pread(size, data).rstrip(b"\0"), where, position)


def _whole_name(name: bytes, where: str, position: int) -> str:
    if b"\0" in name:
        raise TenchError(f"{where}: the name at byte {position:,} has a zero byte in it. {_AGAIN}")
    return name.decode("utf-8", "surrogateescape")


def _refuse_long(size: int, where: str, position: int, limits: Limits) -> None:
    if size > limits.name_bytes:
        raise TenchError(
            f"{where}: the name at byte {position:,} has {size:,} bytes; at most {limits.name_bytes:,} are read. The "
            "archive is damaged or was not made from files. Pack it again from a folder."
        )


def _attributes(pread: Pread, data: int, size: int, where: str, position: int, limits: Limits) -> dict[str, str]:
    """A pax header: lines of "LENGTH KEY=VALUE"; the length counts the whole line."""
    if size > limits.header_bytes:
        raise TenchError(
            f"{where}: the extended header at byte {position:,} has {size:,} bytes; at most {limits.header_bytes:,} "
            f"are read. {_AGAIN}"
        )
    text, found, start = pread(size, data).rstrip(b"\0"), {}, 0
    try:
        while start < len(text):
            blank = text.index(b" ", start, start + 8)
            end = start + int(text[start:blank])
            key, value = text[blank + 1 : end - 1].split(b"=", 1)
            if end < start + 5 or text[end - 1 : end] != b"\n":
                raise ValueError
            if key == b"path":
                _refuse_long(len(value), where, position, limits)
                found["path"] = _whole_name(value, where, position)
            else:
                found[key.decode()] = value.decode("utf-8", "surrogateescape")
            start = end
        int(found.get("size", 0))
    except ValueError:
        raise TenchError(f"{where}: the extended header at byte {position:,} cannot be read. {_AGAIN}") from None
    return found


def _refuse_more(rest: bytes, closed: int, where: str) -> None:
    if rest.strip(b"\0"):
        raise TenchError(
            f"{where} closes at byte {closed:,}, but more data follows, as when archives are joined with cat. Readers "
            "would ignore it silently. Unpack the archive (tar --ignore-zeros) and pack it again."
        )
