"""The bytes to store for a row, its own or re-encoded, and the handling of bad images."""

from tench.data.handled import Policy
from tench.data.images.encode import Encoding, encode
from tench.data.images.image import GREY_MODES, ImageError, Pixels, decode_as, decode_damaged, format_of_start, header
from tench.data.images.jpegtran import made_addressable
from tench.data.table import FILE, UPRIGHT, Table
from tench.errors import TenchError

_RAW = Encoding(format="png")
"""Lossless, for raw pixels, which have no file format of their own."""
_FIXED = Encoding(format="jpeg", quality=95)
"""Encoding for the readable part of a damaged JPEG, if images are not re-encoded."""

_WEAK_MAGIC = ("BMP", "PPM")
"""Formats that begin with two letters, as a text file may too; their header is read to be sure."""


def stored(
    table: Table, row: int, how: Encoding | None, bad: Policy, *, addressable: bool = False
) -> tuple[bytes | None, str]:
    """(bytes to store, None if the image is left out; the reason if it is bad, else "")

    how: None keeps the bytes of image files. With the policy `fail` they are not decoded, but must start like an image
    file. addressable: add restart markers to JPEGs that are not re-encoded, without loss. Raises TenchError if the row
    cannot be read, ImageError for a bad image under the policy `fail`.
    """
    if reason := table.too_large(row):
        if bad == "fail":
            raise _bad_image(table, row, ImageError(reason))
        return None, reason
    data = table.read(row)
    untouched = how is None and table.encoding(row) == FILE
    if untouched and bad == "fail":
        refuse_no_image(table, row, data)
        return made_addressable(data) if addressable else data, ""
    channels = 3
    try:
        channels = 1 if (how is not None and how.grey) or _is_grey(table, row, data) else 3
        pixels, _ = decode_as(table, row, data, channels)
    except ImageError as error:
        if bad == "fail":
            raise _bad_image(table, row, error) from error
        if bad == "skip":
            return None, str(error)
        try:
            upright = bool(table.flags[row] & UPRIGHT)
            return _encoded(table, row, decode_damaged(data, channels, upright=upright), how or _FIXED), str(error)
        except ImageError:
            return None, str(error)
    if untouched:
        return made_addressable(data) if addressable else data, ""
    return _encoded(table, row, pixels, how or _RAW), ""


def refuse_no_image(table: Table, row: int, start: bytes) -> None:
    """Raise ImageError unless a row's bytes start like an image file. start: the first 64 kB, or all.

    A link or a list can name any file, and the content of a private file must not end up among the images.
    """
    try:
        if format_of_start(start[:16]) in ("", *_WEAK_MAGIC):
            header(start)
    except ImageError as error:
        raise _bad_image(table, row, error) from error


def _bad_image(table: Table, row: int, error: ImageError) -> ImageError:
    return ImageError(
        f"{table.place(row)}: {error}.",
        "Leave it out with --bad skip, or decode it as far as possible with --bad fix. 'tench check SOURCE' names "
        "every bad image.",
    )


def _is_grey(table: Table, row: int, data: bytes) -> bool:
    return header(data).mode in GREY_MODES if table.encoding(row) == FILE else int(table.channels[row]) == 1


def _encoded(table: Table, row: int, pixels: Pixels, how: Encoding) -> bytes:
    try:
        return encode(pixels, how)
    except ValueError as error:
        raise TenchError(f"{table.place(row)}: {error}.") from error
