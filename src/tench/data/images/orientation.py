"""EXIF orientation: how to rotate or mirror a stored image to make it upright.

A camera stores pixels in the orientation of its sensor, and a tag says how to display them. Reading the tag of a JPEG
takes a few microseconds: only the segments before the pixels and the first directory of EXIF are read. The rules are
those of Pillow's `ImageOps.exif_transpose`: the tag in EXIF, else the one in XMP. Damaged or unknown values mean
upright.
"""

import re
import struct
from typing import Literal

import numpy as np
import numpy.typing as npt

from tench.data.images.jpeg_markers import APP1, MAX_SEGMENTS, SCAN, STANDALONE

Exif = Literal["apply", "ignore"]
"""Whether the EXIF orientation of images is applied."""

ORIENTATION = 274
"""The tag, in EXIF and in TIFF."""

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_XMP_TAG = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_FORMATS = {3: "H", 4: "I"}  # of a value of TIFF's types SHORT and LONG


def jpeg_orientation(data: bytes) -> int | None:
    """The orientation of a JPEG, 1 (upright) to 8; None if its segments cannot be followed up to its pixels."""
    exif, xmp, at = list[bytes](), b"", 2
    for _ in range(MAX_SEGMENTS):  # not `segments`, whose tuples take twice as long
        if at + 4 > len(data) or data[at] != 0xFF or (marker := data[at + 1]) in STANDALONE:
            return None
        is_exif = marker == APP1 and data.startswith(_EXIF, at + 4)
        if exif and not is_exif:
            if (found := _tag(b"".join(exif))) is not None:
                return valid(found)
            exif = []
        if marker == SCAN:
            in_xmp = _XMP_TAG.search(xmp)
            return valid(int(in_xmp[1])) if in_xmp else 1
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if end < at + 4 or end > len(data):
            return None
        if is_exif:
            exif.append(data[at + 4 + len(_EXIF) : end])  # large EXIF continues in the next segment
        elif marker == APP1 and data.startswith(_XMP, at + 4):
            xmp = data[at + 4 + len(_XMP) : end]
        at = end
    return None


def valid(orientation: object) -> int:
    """An orientation from 1 to 8; anything else means 1, upright."""
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _tag(tiff: bytes) -> int | None:
    """The orientation in the first directory of EXIF, from the byte order mark on; None if it has none."""
    order = _BYTE_ORDERS.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    begin = struct.unpack_from(f"{order}I", tiff, 4)[0] + 2
    if begin > len(tiff):
        return None
    num_entries = struct.unpack_from(f"{order}H", tiff, begin - 2)[0]
    there = min(num_entries, (len(tiff) - begin) // 12)  # truncated EXIF is read as far as it goes
    found = None
    for tag, kind, count, value in struct.iter_unpack(f"{order}HHI4s", tiff[begin : begin + 12 * there]):
        if tag == ORIENTATION and count == 1 and kind in _FORMATS:
            found = struct.unpack_from(order + _FORMATS[kind], value)[0]
    return found


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """(height, width) of a stored image once it is upright: 5 to 8 swap the two."""
    return (width, height) if orientation >= 5 else (height, width)


def stored_box(
    top: int, left: int, height: int, width: int, orientation: int, *, upright: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) in the stored image of a box in the upright one. upright: its height and width."""
    bottom, right = upright[0] - top - height, upright[1] - left - width  # distances to the other two edges
    top, left = {
        1: (top, left),
        2: (top, right),
        3: (bottom, right),
        4: (bottom, left),
        5: (left, top),
        6: (right, top),
        7: (right, bottom),
        8: (left, bottom),
    }[orientation]
    return top, left, *((width, height) if orientation >= 5 else (height, width))


def turned(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Stored pixels (H, W, C) turned upright, contiguous: (W, H, C) for orientations 5 to 8; the same array for 1."""
    if orientation == 1:
        return pixels
    import cv2

    if orientation in (2, 3, 4):
        found = cv2.flip(pixels, {2: 1, 3: -1, 4: 0}[orientation])
    elif orientation == 5:
        found = cv2.transpose(pixels)
    elif orientation == 7:
        found = cv2.flip(cv2.transpose(pixels), -1)
    else:
        found = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE if orientation == 6 else cv2.ROTATE_90_COUNTERCLOCKWISE)
    height, width = upright_size(pixels.shape[0], pixels.shape[1], orientation)
    return np.asarray(found, np.uint8).reshape(height, width, pixels.shape[2])  # OpenCV drops an axis of length 1
