"""The segments before a JPEG's coded data. Source: ITU-T T.81, annex B."""

from collections.abc import Iterator
from typing import NamedTuple

APP1, APP2, SCAN, INTERVAL, END = 0xE1, 0xE2, 0xDA, 0xDD, 0xD9
"""Markers: EXIF or XMP; a profile or an MPO's list; the header of coded data; the restart interval; EOI."""
STANDALONE = {0x01, 0xFF, *range(0xD0, 0xDA)}
"""Markers without a length: TEM, RST0 to RST7, SOI, EOI; and the fill byte, which is not a marker."""
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header, which contains size and coding: all from SOF0 on, except DHT, JPG and DAC."""
SEQUENTIAL = {0xC0, 0xC1}
"""Frames of sequential Huffman coding, in which a restart marker corresponds to a position in the image."""


MAX_SEGMENTS = 10_000
"""The most segments to read. Real files have a dozen; with a profile and extended EXIF or XMP several hundred."""


class Segment(NamedTuple):
    """marker: its second byte. begin: of its content, after the length. end: where the next one begins."""

    marker: int
    begin: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """The segments of a JPEG in order, the scan header last; stops early if they are malformed or too many."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] in STANDALONE:
            return
        length = data[at + 2] << 8 | data[at + 3]
        found = Segment(data[at + 1], at + 4, at + 2 + length)
        if length < 2 or found.end > len(data):
            return
        yield found
        if found.marker == SCAN:
            return
        at = found.end


def bits_of(data: bytes) -> int:
    """Bits per sample, usually 8; 0 if there is no frame header."""
    frames = (found for found in segments(data) if found.marker in FRAMES and found.begin < found.end)
    return next((data[found.begin] for found in frames), 0)
