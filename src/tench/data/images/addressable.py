"""JPEGs that can be decoded in part.

In every sequential JPEG the lines below a part can be skipped: a header with a smaller height makes the decoder stop. A
restart marker ends a segment of a JPEG's data; after it the decoder starts from scratch at a byte boundary. If segments
line up in columns, those that cover a box form a smaller JPEG that every decoder can read. For other programs the file
is an ordinary JPEG. The markers cost about 1 % more bytes, and save a random crop about a quarter of the remaining
decoding (benchmarks/input/addressable.json).

Source: ITU-T T.81, annex B (markers, frame and scan headers) and E.1.4 (restart intervals).
"""

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tench.data.images.jpeg_markers import FRAMES, INTERVAL, SCAN, SEQUENTIAL, segments

_RESTART_0, _END = 0xD0, 0xD9  # the first of eight markers that cycle; the image's last marker

_SEEN_BEYOND = 1
"""Extra pixels around a box, because colour at half resolution is interpolated between two samples."""

_SEGMENT_PIXELS = 64
"""Target width of a segment. Smaller segments cost bytes (a marker and padding each); larger ones make a crop decode
more pixels outside its box."""


class Frame(NamedTuple):
    """The header of a sequential JPEG with a single scan.

    height, width: pixels. size_at: their offset in the file. data_at: end of the header. unit_height, unit_width:
    pixels of the unit of coding (MCU). interval: units in a segment; a whole number of segments make up a line; 0: no
    segments.
    """

    height: int
    width: int
    size_at: int
    data_at: int
    unit_height: int
    unit_width: int
    interval: int


class Part(NamedTuple):
    """A JPEG of a part of an image: height x width pixels, starting at the pixel (top, left) of the image.

    goes_on: the data continue after the last line, which makes libjpeg warn.
    """

    data: bytes | bytearray
    top: int
    left: int
    height: int
    width: int
    goes_on: bool = False


def interval_of(width: int, unit_width: int) -> int:
    """The restart interval for writing an image, in units of coding: about 64 pixels, with a whole number of intervals
    per line.

    width, unit_width: pixels. If no nearby number divides a line, it is a whole line.
    """
    line, wanted = -(-width // unit_width), _SEGMENT_PIXELS // unit_width
    fitting = [count for count in range(wanted // 2, 2 * wanted + 1) if line % count == 0]
    return min(fitting, key=lambda count: max(count / wanted, wanted / count), default=line)


def frame_of(data: bytes) -> Frame | None:
    """The frame of a JPEG; None if it is progressive, has another coding, several scans or other segments."""
    interval = height = width = size_at = components = 0
    factors = b""
    for marker, begin, end in segments(data):
        if marker in SEQUENTIAL and end - begin >= 6:
            precision, height, width, components = struct.unpack_from(">BHHB", data, begin)
            size_at, factors = begin + 1, data[begin + 7 : end : 3]
            if precision != 8 or len(factors) != components:
                return None
        elif marker in FRAMES:  # progressive, lossless or arithmetic
            return None
        elif marker == INTERVAL:
            interval = int.from_bytes(data[begin : begin + 2], "big")
        elif marker == SCAN:
            if not (height and width) or begin == end or data[begin] != components:
                return None
            # A single component is not interleaved: its unit is one block, whatever its factors say.
            unit_height = 8 * max(factor & 15 for factor in factors) if components > 1 else 8
            unit_width = 8 * max(factor >> 4 for factor in factors) if components > 1 else 8
            if not (unit_height and unit_width) or (interval and -(-width // unit_width) % interval):
                return None
            return Frame(height, width, size_at, end, unit_height, unit_width, interval)
    return None


def is_addressable(data: bytes) -> bool:
    """Whether a JPEG has segments that line up."""
    frame = frame_of(data)
    return frame is not None and frame.interval > 0


def without_bottom(data: bytes, frame: Frame, end: int) -> Part:
    """A JPEG that ends with the first line of units after which the pixels above `end` equal those of the whole image.

    frame: of a JPEG without segments. Restart markers that the header does not announce would hide libjpeg's warning
    about a truncated file.
    """
    lines = -(-(end + _SEEN_BEYOND) // frame.unit_height)
    height = min(lines * frame.unit_height, frame.height)
    if height == frame.height:
        return Part(data, 0, 0, frame.height, frame.width)
    part = bytearray(data)
    struct.pack_into(">H", part, frame.size_at, height)
    return Part(part, 0, 0, height, frame.width, goes_on=True)


def cut(data: bytes, frame: Frame, top: int, left: int, height: int, width: int) -> Part | None:
    """The smallest JPEG made of whole segments in which the pixels of a box equal those of the whole image.

    frame: of an addressable JPEG. top, left, height, width: the box, pixels, within the image. None if the segments and
    their markers do not match the header: the image is damaged, or has more than one scan.
    """
    columns = -(-frame.width // frame.unit_width) // frame.interval
    lines = -(-frame.height // frame.unit_height)
    segment_width = frame.interval * frame.unit_width
    first_line = max(top - _SEEN_BEYOND, 0) // frame.unit_height
    end_line = min(-(-(top + height + _SEEN_BEYOND) // frame.unit_height), lines)
    first_column = max(left - _SEEN_BEYOND, 0) // segment_width
    end_column = min(-(-(left + width + _SEEN_BEYOND) // segment_width), columns)

    ends = _segment_ends(data, frame.data_at)
    if ends is None or len(ends) != lines * columns:
        return None
    begins = np.empty_like(ends)
    begins[0], begins[1:] = frame.data_at, ends[:-1]
    of_lines = np.arange(first_line, end_line) * columns
    pieces = zip(begins[of_lines + first_column].tolist(), ends[of_lines + end_column - 1].tolist(), strict=True)
    part = bytearray().join([data[: frame.data_at], *[data[begin:end] for begin, end in pieces]])

    x, y = first_column * segment_width, first_line * frame.unit_height
    new_width = min(end_column * segment_width, frame.width) - x
    new_height = min(end_line * frame.unit_height, frame.height) - y
    struct.pack_into(">HH", part, frame.size_at, new_height, new_width)
    # Segments keep their markers: renumber them from 0 to 7 cyclically; the last marker ends the image.
    lengths = (ends - begins).reshape(lines, columns)[first_line:end_line, first_column:end_column].ravel()
    markers = frame.data_at + np.cumsum(lengths) - 1
    pixels = np.frombuffer(part, np.uint8)
    pixels[markers] = _RESTART_0 + np.arange(len(markers)) % 8
    pixels[markers[-1]] = _END
    return Part(part, y, x, new_height, new_width)


def _segment_ends(data: bytes, start: int) -> npt.NDArray[np.int64] | None:
    """The end of each segment of the coded data, after its marker: a restart marker or the end of the image.

    None unless the restart markers cycle from 0 to 7 and the end of the image is the only other marker. At any other
    marker, libjpeg's recovery depends on the number it expects, and a part has different numbers from the whole.
    """
    coded = np.frombuffer(data, np.uint8)[start:]
    escapes = np.flatnonzero(coded[:-1] == 0xFF)
    kinds = coded[escapes + 1]
    is_marker = (kinds != 0) & (kinds != 0xFF)  # not an escaped 0xFF or a fill byte
    markers = kinds[is_marker]
    if not len(markers) or markers[-1] != _END:
        return None
    if not np.array_equal(markers[:-1], _RESTART_0 + np.arange(len(markers) - 1) % 8):
        return None
    ends: npt.NDArray[np.int64] = escapes[is_marker] + (start + 2)
    return ends
