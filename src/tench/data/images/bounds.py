"""Limits on decoding one image: pixels, memory and passes over the data. All are checked before decoding.

    pixels  178,956,970 (Pillow's own limit)
    memory  2 GiB. Most 8-bit images reach the pixel limit first; WebP and AVIF reach 2 GiB at about 120 million
            pixels, RGB JPEG 2000 in one tile at 113 million, 16-bit RGBA at 143 million. Images that need more than
            512 MiB are decoded one at a time, whatever the number of threads
    scans   100, for a JPEG. Real progressive JPEGs have about 10; each is a pass over all pixels
    tags    1 MiB more than the file's size, for EXIF and TIFF, whose entries may all point at the same bytes
    parts   10,000 segments of a JPEG or chunks of a PNG besides its data, 1 MiB before the image of a GIF

Decoders trust the header; these limits keep a small file from taking minutes or all the memory.
"""

import contextlib
import os
import re
import struct
import threading

from PIL import Image

from tench.data.images.jpeg_markers import APP1, APP2, END, FRAMES, MAX_SEGMENTS, SCAN, SEQUENTIAL, STANDALONE, segments
from tench.data.limits import LIMITS
from tench.errors import PassingError, TenchError

MAX_PIXELS, MAX_DECODE_BYTES, MAX_SCANS = LIMITS.pixels, LIMITS.decode_bytes, LIMITS.jpeg_scans
_LARGE_BYTES = LIMITS.large_decode_bytes

_MAX_EXTRA_TAG_BYTES = 2**20

_MAX_CHUNKS = 10_000
"""Chunks of a PNG other than its data. Pillow reads each in Python; real files have a few dozen."""

_MAX_GIF_START = 2**20
"""Bytes of a GIF before its first image. Pillow's time for a long comment grows quadratically."""

_SCAN_WORK = 2**32
"""Pixels times bytes of a JPEG below which any number of scans decodes in a second, so they are not counted."""

_PILLOW_BYTES, _RESULT_BYTES = 4, 3
"""Bytes per pixel: Pillow's image and the result made from it."""
_WORK_BYTES = {"WEBP": 6, "AVIF": 7, "PPM": 6}
"""Bytes per pixel that decoders need beyond the stored samples: previous and next frames, planes, Python objects.
Measured (peak of the process)."""
_TILE_BYTES = 8192
"""Bytes that openjpeg allocates per component of each tile for its settings."""
_ROW_BYTES = 64
"""Bytes per row, which matter for images with few columns and many millions of rows."""
_BANDS = {"I;16": 2, "I;16B": 2, "I;16L": 2, "I": 4, "F": 4}
_BITS_PER_SAMPLE = 258  # a TIFF tag
_TAG_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes per value of a TIFF tag, by type number."""

_CODED = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""The next marker after a JPEG's coded data."""

_large = threading.Lock()
_UNBOUNDED = contextlib.nullcontext()


def _after_fork() -> None:
    global _large
    _large = threading.Lock()  # a thread that does not exist in the child may hold the old lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class ImageError(TenchError):
    """These bytes cannot be decoded as an image. The text is the reason; callers that know the file and row add
    those."""


def taking(num_bytes: int) -> contextlib.AbstractContextManager[object]:
    """Decode in this block. Images that need much memory are decoded one at a time."""
    return _large if num_bytes > _LARGE_BYTES else _UNBOUNDED


def out_of_memory() -> PassingError:
    """The error for a decode that ran out of memory."""
    return PassingError("not decoded: this machine does not have enough free memory")


def check_size(height: int, width: int) -> None:
    """Raise ImageError for more than MAX_PIXELS."""
    if height * width > MAX_PIXELS:
        raise ImageError(f"too large: {height} x {width} pixels; the limit is {MAX_PIXELS:,} in total")


def check_scans(data: bytes, height: int, width: int) -> None:
    """Raise ImageError for a JPEG of more than MAX_SCANS scans.

    Costs nothing for small images, and almost nothing for others without several scans.
    """
    if height * width * len(data) < _SCAN_WORK or _has_one_scan(data):
        return
    # Counting two bytes is fast and never too low. Only a file with too many is parsed.
    if data.count(b"\xff\xda") > MAX_SCANS and (found := _num_scans(data)) > MAX_SCANS:
        raise ImageError(
            f"JPEG with {found:,} scans or more: each is a pass over all {height} x {width} pixels, and the limit is "
            f"{MAX_SCANS}. Save it again as an ordinary JPEG"
        )


def jpeg_bytes(data: bytes, height: int, width: int) -> int:
    """Memory that libjpeg needs for a JPEG and the result; with several scans it keeps all coefficients."""
    result = 3 * height * width
    if result + 8 * height * width <= _LARGE_BYTES or _has_one_scan(data):
        return result
    return result + 8 * height * width


def decode_bytes(image: Image.Image, data: bytes) -> int:
    """Memory that Pillow needs for an opened image and the result. Raises ImageError if that is too much."""
    pixels = image.height * image.width
    if image.format == "JPEG2000":
        # openjpeg frees its samples before the result is made.
        num_bytes = _PILLOW_BYTES * pixels + _jpeg_2000_bytes(data, image.height, image.width)
    elif image.format in ("JPEG", "MPO"):
        coefficients = 0 if _has_one_scan(data) else 2 * len(image.getbands())
        num_bytes = (_PILLOW_BYTES + _RESULT_BYTES + coefficients) * pixels
    else:
        stored = sum(_BANDS.get(image.mode, 1) for _ in image.getbands()) * _sample_bytes(image, data)
        work = _WORK_BYTES.get(image.format or "", 0)
        num_bytes = (_PILLOW_BYTES + _RESULT_BYTES + stored + work) * pixels + _ROW_BYTES * image.height
    if num_bytes > MAX_DECODE_BYTES:
        raise ImageError(
            f"too large: decoding {image.format} of {image.height} x {image.width} pixels takes about "
            f"{num_bytes / 2**30:.1f} GiB; the limit for one image is {MAX_DECODE_BYTES / 2**30:.0f} GiB. Save it with "
            "8 bits per channel, or smaller"
        )
    return num_bytes


def check_parts(data: bytes, name: str) -> None:
    """Raise ImageError if Pillow would need too much time or memory before it reaches the pixels.

    name: the format.
    """
    if name == "TIFF":
        _check_tags(data, name)
    elif name == "JPEG":
        found = list(segments(data))
        if len(found) >= MAX_SEGMENTS:
            raise ImageError(f"damaged JPEG: it has {MAX_SEGMENTS:,} or more segments before its image")
        parts = [data[one.begin : one.end] for one in found if one.marker in (APP1, APP2)]
        _check_tags(b"".join(part[6:] for part in parts if part.startswith(b"Exif\0\0")), name)
        for part in parts:
            if part.startswith(b"MPF\0"):  # the index of an MPO's pictures
                _check_tags(part[4:], name)
    elif name == "PNG":
        _check_chunks(data)
    elif name == "GIF" and len(data) > _MAX_GIF_START:
        _check_gif(data)


def _check_chunks(data: bytes) -> None:
    at, others = 8, 0
    while at + 12 <= len(data):
        others += data[at + 4 : at + 8] != b"IDAT"
        if others > _MAX_CHUNKS:
            raise ImageError(f"damaged PNG: more than {_MAX_CHUNKS:,} chunks other than its data")
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _check_gif(data: bytes) -> None:
    flags = data[10]
    at = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    while at < _MAX_GIF_START and data[at] == 0x21:  # an extension: its kind, then blocks up to an empty one
        at += 2
        while at < _MAX_GIF_START and data[at]:
            at += 1 + data[at]
        at += 1
    if at >= _MAX_GIF_START:
        raise ImageError(f"damaged GIF: no image within its first {_MAX_GIF_START:,} bytes")


def _check_tags(tags: bytes, name: str) -> None:
    if exif_amplifies(tags):
        raise ImageError(f"damaged {name}: its tags repeatedly point at the same bytes")


def exif_amplifies(tags: bytes) -> bool:
    """Whether reading the tags (EXIF or TIFF, from the byte order mark on) takes far more memory than their size."""
    order = {b"II": "<", b"MM": ">"}.get(tags[:2])
    if order is None or len(tags) < 16:
        return False
    is_big = struct.unpack_from(order + "H", tags, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if is_big else "I"), tags, 8 if is_big else 4)[0]
    count_form, entry = ("Q", struct.Struct(order + "HHQ8x")) if is_big else ("H", struct.Struct(order + "HHI4x"))
    head = struct.calcsize("=" + count_form)
    if at + head > len(tags):
        return False
    count = struct.unpack_from(order + count_form, tags, at)[0]
    count = min(count, (len(tags) - at - head) // entry.size)
    entries = entry.iter_unpack(tags[at + head : at + head + count * entry.size])
    # A value that extends beyond the file is truncated or rejected.
    sizes = (num * _TAG_BYTES[kind] for _, kind, num in entries if kind < len(_TAG_BYTES))
    return int(sum(min(size, len(tags)) for size in sizes)) > len(tags) + _MAX_EXTRA_TAG_BYTES


def _has_one_scan(data: bytes) -> bool:
    """Whether a JPEG is sequential and its first scan has all components; libjpeg then stops after that scan."""
    at, last, components = 2, len(data) - 10, 0
    for _ in range(MAX_SEGMENTS):
        if at >= last or data[at] != 0xFF or (marker := data[at + 1]) in STANDALONE:
            return False
        if marker == SCAN:
            return components > 0 and data[at + 4] == components
        if marker in FRAMES:
            if marker not in SEQUENTIAL or components:
                return False
            components = data[at + 9]
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


def _num_scans(data: bytes) -> int:
    """The number of scans of a JPEG; counting stops after MAX_SCANS."""
    found = list(segments(data))
    if not found or found[-1].marker != SCAN:
        return min(data.count(b"\xff\xda"), MAX_SCANS + 1)  # libjpeg skips more than this parser can, so count all
    scans, at = 1, found[-1].end
    while scans <= MAX_SCANS and (marker := _CODED.search(data, at)):
        kind, begin = data[marker.start() + 1], marker.end()
        if kind == END:
            break
        scans += kind == SCAN
        at = begin if kind in STANDALONE else begin + int.from_bytes(data[begin : begin + 2], "big")
    return scans


def _sample_bytes(image: Image.Image, data: bytes) -> int:
    """Bytes per sample in the file if Pillow reduces its colours to 8 bits; else 1."""
    if image.format == "PNG":
        return 2 if data[24:25] == b"\x10" and image.mode[0] != "I" else 1
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
        return max(1, max(bits) // 8) if image.mode[0] not in "IF" else 1
    return 1


def _jpeg_2000_bytes(data: bytes, height: int, width: int) -> int:
    """Memory that openjpeg needs for the largest tile and the tile list: 4 bytes per sample, and a copy."""
    at = 0
    while data[at : at + 2] != b"\xff\x4f":  # the boxes of a JP2 file; the codestream is in one of them
        length, kind = struct.unpack_from(">I4s", data, at) if at + 16 <= len(data) else (0, b"")
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        if kind == b"jp2c":
            at += head
            if data[at : at + 2] != b"\xff\x4f":
                raise ImageError("damaged JPEG2000: its data cannot be found")
        elif length < head:
            raise ImageError("damaged JPEG2000: its data cannot be found")
        else:
            at += length
    if data[at + 2 : at + 4] != b"\xff\x51" or at + 42 > len(data):
        raise ImageError("damaged JPEG2000: its data begins without a size")
    numbers: tuple[int, ...] = struct.unpack_from(">8IH", data, at + 8)
    x_end, y_end, x_begin, y_begin, tile_width, tile_height, tile_x, tile_y, components = numbers
    if (x_end - x_begin, y_end - y_begin) != (width, height) or not 0 < components <= 4:
        raise ImageError("damaged JPEG2000: its header and its data differ in size or components")
    if not (tile_width and tile_height):
        raise ImageError("damaged JPEG2000: its tiles have no size")
    tiles = -(-(x_end - tile_x) // tile_width) * -(-(y_end - tile_y) // tile_height)
    in_a_tile = min(tile_width, width) * min(tile_height, height)
    return components * (5 * in_a_tile + _TILE_BYTES * tiles)
