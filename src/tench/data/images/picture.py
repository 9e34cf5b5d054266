"""An image of which only what is wanted is decoded: a part of it, no larger than it will be used.

Whoever asks for a part knows where it lies only when the size is known, and the size stands in the header. So the
header is read first, and the pixels when they are asked for. Of a JPEG with segments (`addressable`) those
under the part are decoded, of others what lies above its lower edge, and either at 1/2, 1/4 or 1/8 of its size where
that is enough.
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
    raw_pixels,
    with_channels,
)
from tench.data.table import DAMAGED, FILE, Table
from tench.errors import PassingError

_REDUCTIONS = (8, 4, 2)
"""What libjpeg-turbo can shrink by while it decodes, with SIMD."""


class Picture(Protocol):
    """An image of height x width pixels."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        """The pixels of a box within the image, (H, W, C) uint8; perhaps a view, not to be written to.

        enough: where both sides of the box are at least twice as long, it may come at 1/2, 1/4 or 1/8 of its size, with
        sides of about `enough` or more; its edges then lie within half a pixel of the box's. 0: never. fast: a JPEG may
        be decoded with less exact arithmetic. Raises ImageError for damaged data.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Decoded:
    """An image whose pixels are there already, (H, W, C) uint8."""

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
    """A JPEG of grey or of YCbCr colours, whose header has been read."""

    data: bytes
    height: int
    width: int
    channels: int
    is_grey: bool

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        there = self._part_with(top, left, height, width)
        by = next((by for by in _REDUCTIONS if enough and min(height, width) >= by * enough), 1)
        # A grey JPEG has no luma to compute; of a colour one, libjpeg's own grey differs from Pillow's by rounding.
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
        except ValueError as error:  # libjpeg remarks on something; it has decoded all the same
            if not (there.goes_on and "extraneous bytes before marker" in str(error)):
                # Damaged: what is done about it is decided in one place.
                return decode(self.data, self.channels)[top : top + height, left : left + width]
        except MemoryError as error:
            raise out_of_memory() from error
        top, left = top - there.top, left - there.left
        y, x = round(top / by), round(left / by)
        return with_channels(pixels[y : round((top + height) / by), x : round((left + width) / by)], self.channels)

    def _part_with(self, top: int, left: int, height: int, width: int) -> addressable.Part:
        """The smallest JPEG that has the pixels of the box."""
        if (height < self.height or width < self.width) and (frame := addressable.frame_of(self.data)):
            if not frame.interval:
                return addressable.without_bottom(self.data, frame, top + height)
            if found := addressable.cut(self.data, frame, top, left, height, width):
                return found
        return addressable.Part(self.data, 0, 0, self.height, self.width)


def decode_row(table: Table, row: int, channels: int) -> Pixels:
    """Read and decode one image of a table whole: (H, W, channels) uint8, perhaps not to be written to.

    Raises TenchError that names file, row and reason: ImageError where the bytes are no image.
    """
    data = table.read(row)
    with errors_name(table, row):
        picture = open_picture(table, row, data, channels)
        return picture.part(0, 0, picture.height, picture.width)


def open_picture(table: Table, row: int, data: bytes, channels: int) -> Picture:
    """The image in the bytes that were read from a row. Raises ImageError."""
    if table.encoding(row) == FILE and not table.flags[row] & DAMAGED:
        if data.startswith(JPEG_START) and (header := jpeg_header(data)) and header.mode in ("L", "RGB"):
            return Jpeg(data, header.height, header.width, channels, header.mode == "L")
        if (pixels := raw_pixels(data)) is not None:
            return Decoded(pixels if pixels.shape[2] == channels else with_channels(pixels, channels))
    return Decoded(decode_as(table, row, data, channels)[0])


@contextlib.contextmanager
def errors_name(table: Table, row: int) -> Iterator[None]:
    """An ImageError or PassingError inside says which image it is, and what to do."""
    try:
        yield
    except ImageError as error:
        raise ImageError(
            f"{table.place(row)}: {error}.",
            f"This is row {row}, stage decode. 'tench check SOURCE' names every such image of the data set.",
        ) from error
    except PassingError as error:
        raise PassingError(f"{table.place(row)}: {error}. This is row {row}, stage decode.") from error
