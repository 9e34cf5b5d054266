"""Encode pixels: shrink a stored image, or convert it to another format.

Shrinking averages areas (OpenCV's INTER_AREA), which is antialiased; nothing is enlarged unless requested. OpenCV
writes JPEGs with libjpeg-turbo, with colour at half resolution (4:2:0) as cameras do, and with restart markers, so that
they can be decoded in part (`addressable`). Pillow writes PNG and WebP. `pixels` are binary PPM and PGM files: raw
bytes after a header of a dozen bytes, which every program reads. The same pixels and options always produce the same
bytes with the same versions of these libraries.
"""

import dataclasses
import io
from typing import Literal

import numpy as np
from PIL import Image

from tench.arguments import require_fields
from tench.data.images.addressable import interval_of
from tench.data.images.bounds import MAX_PIXELS
from tench.data.images.image import Pixels
from tench.errors import UsageError

Format = Literal["jpeg", "png", "webp", "pixels"]

SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "pixels": ".ppm"}
PILLOW_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "pixels": "PPM"}
_MAX_SIDES = {"jpeg": 65_500, "webp": 16_383}
"""The largest sides that libjpeg and libwebp write; a JPEG header allows 65,535."""


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How images are re-encoded. At most one of the three sizes is given, in pixels; 0 keeps the size.

    >>> tench.Encoding(max_side=512).quality
    90
    """

    format: Format = "jpeg"
    """pixels: uncompressed, as PPM and PGM files."""
    quality: int | None = None
    """Quality of jpeg and webp, 1 to 100; None: 90."""
    short_side: int = 0
    """Shrink images so that the shorter side has at most this many pixels."""
    max_side: int = 0
    """Shrink images so that the longer side has at most this many pixels."""
    square: int = 0
    """Cut the largest centred square and resize it to this side, enlarging if needed."""
    enlarge: bool = False
    """short_side: enlarge smaller images too."""
    grey: bool = False
    """Convert to grey. Otherwise grey images stay grey and all others become RGB."""
    interpolation: Literal["area", "bilinear"] | None = None
    """Filter for a new size. area is antialiased; bilinear uses only the nearest four pixels. None: area."""

    def __post_init__(self) -> None:
        require_fields(self)
        sizes = {"--short-side": self.short_side, "--max-side": self.max_side, "--square": self.square}
        given = [name for name, size in sizes.items() if size]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} both set the size. Give only one of them.")
        for name, size in sizes.items():
            if size and not 8 <= size <= _MAX_SIDES.get(self.format, 65_535):
                raise UsageError(f"{name} must be 8 to {_MAX_SIDES.get(self.format, 65_535):,} pixels, got {size}.")
        if self.format in ("jpeg", "webp"):
            object.__setattr__(self, "quality", 90 if self.quality is None else self.quality)
        elif self.quality is not None:
            raise UsageError(f"--quality has no effect on the format {self.format}; it is for jpeg and webp.")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality must be 1 to 100, got {self.quality}.")
        if self.interpolation is not None and not given:
            raise UsageError("--interpolation has no effect without --short-side, --max-side or --square.")
        if self.enlarge and not self.short_side:
            raise UsageError("--enlarge requires --short-side.")


def size_of(height: int, width: int, how: Encoding) -> tuple[int, int]:
    """(height, width) of the stored image. The other side is rounded down, as im2rec does."""
    if how.square:
        return how.square, how.square
    short, long = min(height, width), max(height, width)
    if how.short_side and (short > how.short_side or how.enlarge):
        new_short, new_long = how.short_side, max(1, long * how.short_side // short)
    elif how.max_side and long > how.max_side:
        new_short, new_long = max(1, short * how.max_side // long), how.max_side
    else:
        return height, width
    return (new_short, new_long) if height <= width else (new_long, new_short)


def encode(pixels: Pixels, how: Encoding) -> bytes:
    """An image file with these pixels, (H, W, 3) RGB or (H, W, 1) grey, uint8, resized first if `how` says so.

    Raises ValueError if the format does not support an image of that size, or the result is too large to decode.
    """
    height, width = size_of(pixels.shape[0], pixels.shape[1], how)
    limit = _MAX_SIDES.get(how.format)
    if limit and max(height, width) > limit:
        raise ValueError(
            f"an image of {height} x {width} pixels is too large for {how.format}, whose sides are at most {limit:,}. "
            "Choose another --format, or a --max-side"
        )
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"an image of {height} x {width} pixels is too large to be decoded again; the limit is "
            f"{MAX_PIXELS:,} in total. Choose a --max-side"
        )
    resized = _resized(pixels, how)
    grey = resized.shape[2] == 1
    if how.format == "jpeg":
        assert how.quality is not None
        return _jpeg(resized, how.quality)
    if how.format == "pixels":
        return b"%s\n%d %d\n255\n" % (b"P5" if grey else b"P6", resized.shape[1], resized.shape[0]) + resized.tobytes()
    sink = io.BytesIO()
    options = {"quality": how.quality} if how.format == "webp" else {}
    Image.fromarray(resized[:, :, 0] if grey else resized).save(sink, PILLOW_NAMES[how.format], **options)
    return sink.getvalue()


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    import cv2

    options = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_RST_INTERVAL: interval_of(pixels.shape[1], 8 if pixels.shape[2] == 1 else 16),
    }
    ordered = pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", ordered, [number for option in options.items() for number in option])
    return bytes(data)


def _resized(pixels: Pixels, how: Encoding) -> Pixels:
    import cv2

    height, width = pixels.shape[:2]
    if how.square:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    size = size_of(height, width, how)
    if size == pixels.shape[:2]:
        return np.ascontiguousarray(pixels)
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    filter_ = cv2.INTER_AREA if shrinks and how.interpolation != "bilinear" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=filter_), np.uint8).reshape(*size, pixels.shape[2])
