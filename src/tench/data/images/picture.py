"""An image that is decoded only as needed: one part of it, no larger than it will be used.

A caller can choose a part only when it knows the size, which is in the header. So the header is read first, and the
pixels on request. In a JPEG with segments (`addressable`) only those under the part are decoded, in others everything
above its lower edge. Either is decoded at 1/2, 1/4 or 1/8 of its size if that is enough.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import simplejpeg

from tench.data.images import addressable
from tench.data.images.bounds import jpeg_bytes, out_of_memory, taking
from tench.data.images.image import (
    JPEG_START,
    ImageError,
    Pixels,
    decode,
    decode_as,
    jpeg_header,
    orientation_of,
    raw_pixels,
    with_channels,
)
from tench.data.images.orientation import stored_box, turned, upright_size
from tench.data.table import DAMAGED, FILE, UPRIGHT, Table
from tench.errors import PassingError

_REDUCTIONS = (8, 4, 2)
"""Scales at which libjpeg-turbo can decode with SIMD."""


class Picture(Protocol):
    """An image of height x width pixels."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        """The pixels of a box within the image, (H, W, C) uint8; possibly a view that must not be written to.

        enough: if both sides of the box are at least twice this, it may be decoded at 1/2, 1/4 or 1/8 of its size, with
        sides of about `enough` or more; its edges then lie within half a pixel of the box's. 0: never. fast: a JPEG may
        be decoded with less exact arithmetic. Raises ImageError for damaged data.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Decoded:
    """An image that is already decoded, (H, W, C) uint8."""

    pixels: Pixels

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        return self.pixels[top : top + height, left : left + width]


@dataclasses.dataclass(frozen=True, slots=True)
class Jpeg:
    """A grey or YCbCr JPEG whose header has been read."""

    data: bytes
    height: int
    width: int
    channels: int
    is_grey: bool

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        there = self._part_with(top, left, height, width)
        by = next((by for by in _REDUCTIONS if enough and min(height, width) >= by * enough), 1)
        # A grey JPEG needs no luma; for a colour one, libjpeg's own grey differs from Pillow's by rounding.
        channels = 1 if self.is_grey and self.channels == 1 else 3
        shape = -(-there.height // by), -(-there.width // by), channels
        try:
            with taking(jpeg_bytes(self.data, there.height, there.width)):
                pixels = np.empty(shape, np.uint8)
                simplejpeg.decode_jpeg(
                    there.data,
                    "GRAY" if channels == 1 else "RGB",
                    min_height=shape[0],
                    min_width=shape[1],
                    fastdct=fast,
                    fastupsample=fast,
                    buffer=pixels,
                )
        except ValueError as error:  # a libjpeg warning; it has decoded the image anyway
            if not (there.goes_on and "extraneous bytes before marker" in str(error)):
                # Damage is handled in one place.
                return decode(self.data, self.channels)[top : top + height, left : left + width]
        except MemoryError as error:
            raise out_of_memory() from error
        top, left = top - there.top, left - there.left
        y, x = round(top / by), round(left / by)
        return with_channels(pixels[y : round((top + height) / by), x : round((left + width) / by)], self.channels)

    def _part_with(self, top: int, left: int, height: int, width: int) -> addressable.Part:
        """The smallest JPEG that contains the pixels of the box."""
        if (height < self.height or width < self.width) and (frame := addressable.frame_of(self.data)):
            if not frame.interval:
                return addressable.without_bottom(self.data, frame, top + height)
            if found := addressable.cut(self.data, frame, top, left, height, width):
                return found
        return addressable.Part(self.data, 0, 0, self.height, self.width)


@dataclasses.dataclass(frozen=True, slots=True)
class Turned:
    """A picture made upright; only the requested part is rotated. orientation: EXIF's, 2 to 8."""

    stored: Picture
    orientation: int

    @property
    def height(self) -> int:
        return upright_size(self.stored.height, self.stored.width, self.orientation)[0]

    @property
    def width(self) -> int:
        return upright_size(self.stored.height, self.stored.width, self.orientation)[1]

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        box = stored_box(top, left, height, width, self.orientation, upright=(self.height, self.width))
        return turned(self.stored.part(*box, enough=enough, fast=fast), self.orientation)


def decode_row(table: Table, row: int, channels: int) -> Pixels:
    """Read and decode one whole image of a table: (H, W, channels) uint8, possibly read-only.

    Raises TenchError that names file, row and reason: ImageError if the bytes are not an image.
    """
    data = table.read(row)
    with errors_name(table, row):
        picture = open_picture(table, row, data, channels)
        return picture.part(0, 0, picture.height, picture.width)


def open_picture(table: Table, row: int, data: bytes, channels: int) -> Picture:
    """The image in the bytes that were read from a row. Raises ImageError."""
    if table.encoding(row) == FILE and not table.flags[row] & DAMAGED:
        if data.startswith(JPEG_START) and (header := jpeg_header(data)) and header.mode in ("L", "RGB"):
            picture = Jpeg(data, header.height, header.width, channels, header.mode == "L")
            if table.flags[row] & UPRIGHT and (orientation := orientation_of(data)) != 1:
                return Turned(picture, orientation)
            return picture
        if (pixels := raw_pixels(data)) is not None:
            return Decoded(pixels if pixels.shape[2] == channels else with_channels(pixels, channels))
    return Decoded(decode_as(table, row, data, channels)[0])


@contextlib.contextmanager
def errors_name(table: Table, row: int) -> Iterator[None]:
    """Add the image's name, and what to do, to an ImageError or PassingError raised in this block."""
    try:
        yield
    except ImageError as error:
        raise ImageError(
            f"{table.place(row)}: {error}.",
            f"This is row {row}, stage decode. 'tench check SOURCE' names every such image of the dataset.",
        ) from error
    except PassingError as error:
        raise PassingError(f"{table.place(row)}: {error}. This is row {row}, stage decode.") from error
