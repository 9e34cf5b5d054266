"""Decode images: one rule for each format and each oddity.

JPEG is decoded by libjpeg-turbo through simplejpeg, with the accurate transform and smooth colour upsampling, so that
its pixels equal Pillow's. Pillow decodes everything else, and every JPEG that libjpeg-turbo warns about. Pixels equal
those of torchvision's ImageFolder, `Image.open(file).convert("RGB")`, except for 16-bit grey, which Pillow clips. The
price of strictness: an image whose data ends early is an error here, while some loaders fill the rest with grey. (A
program that sets Pillow's LOAD_TRUNCATED_IMAGES undoes this for images that Pillow decodes.)
"""

import dataclasses
import functools
import io
import re
import threading
import warnings

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from tench.data.files.names import reads_heif
from tench.data.images.bounds import (
    MAX_PIXELS,
    check_parts,
    check_scans,
    check_size,
    decode_bytes,
    exif_amplifies,
    jpeg_bytes,
    out_of_memory,
    taking,
)
from tench.data.images.bounds import ImageError as ImageError  # re-exported
from tench.data.images.jpeg_markers import bits_of
from tench.data.images.orientation import ORIENTATION, jpeg_orientation, turned, valid
from tench.data.table import DAMAGED, FILE, PIXELS_CHW, UPRIGHT, Table

Pixels = npt.NDArray[np.uint8]
"""(H, W, C), contiguous and writable."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are read. Pillow supports more, among them EPS, for which it would run the program Ghostscript."""

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
"""Pillow's names of grey colour modes."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

JPEG_START = b"\xff\xd8\xff"
_GIT_LFS = b"version https://git-lfs"
_STRIP_PIXELS = 2**20
_RAW_HEADER = re.compile(rb"P([56])\s+(\d{1,9})\s+(\d{1,9})\s+255\s")
"""A PGM or PPM with 8 bits and without comments, as `prepare --format pixels` writes them."""
_MODES = {"Gray": "L", "YCbCr": "RGB", "RGB": "RGB", "CMYK": "CMYK", "YCCK": "CMYK"}
"""Pillow's names of a JPEG's colours, by libjpeg-turbo's names."""
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""The last bytes of an image, for formats with an end marker."""
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_BLACK_IS_ZERO = 1
_TURNED_BY_READER = ("TIFF", "HEIF")
"""Formats that their readers, Pillow and pillow-heif, always turn upright."""

_PILLOW_IS_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """The header of an image.

    height, width: as stored, so before the image is turned upright.
    format: Pillow's name ("JPEG", "PNG", ...). mode: Pillow's name of the colours ("RGB", "L", "CMYK", ...).
    orientation: EXIF's, 1 (upright) to 8; 1 if it has none.
    """

    format: str
    height: int
    width: int
    mode: str
    orientation: int = 1


def decode(data: bytes, channels: int = 3, *, upright: bool = False) -> Pixels:
    """Decode an image file of any format.

    channels: 3 for RGB, 1 for grey. upright: apply the EXIF orientation. Returns (H, W, channels) uint8. The rules:

    - grey and 1-bit images: the value in each of R, G and B; palettes: their colours
    - CMYK and YCCK: as Pillow converts them, without a colour profile (profiles are ignored everywhere)
    - alpha is dropped, not blended: the colour under a transparent pixel shows
    - 16-bit grey is scaled to 8 bits, value / 257 rounded; 16-bit colour keeps the high byte, as in Pillow
    - animations and files with several pages: the first
    - EXIF orientation is applied with `upright`, as in Pillow's `ImageOps.exif_transpose`, and otherwise ignored, as in
      torchvision, timm and TensorFlow; the readers of TIFF and HEIC always apply it
    - channels=1: the luma 0.299 R + 0.587 G + 0.114 B of the above (ITU-R 601), as in Pillow's convert("L")

    Raises ImageError for images without such a rule (32-bit and float grey, CIE Lab), for data that is empty,
    truncated, damaged or not an image, and for images that exceed `bounds`; PassingError if memory runs out. A JPEG
    with trailing bytes, or with damage that libjpeg can skip, decodes as in Pillow; see `decode_and_remark`. May be
    called from any number of threads.
    """
    return decode_and_remark(data, channels, upright=upright)[0]


def decode_and_remark(data: bytes, channels: int = 3, *, upright: bool = False) -> tuple[Pixels, str]:
    """Like `decode`, plus libjpeg's warning about a JPEG that it decoded nevertheless; usually ""."""
    _check_channels(channels)
    try:
        pixels, orientation, remark = _decode_as_stored(data, channels, upright)
        return turned(pixels, orientation), remark
    except MemoryError as error:
        raise out_of_memory() from error


def _decode_as_stored(data: bytes, channels: int, upright: bool) -> tuple[Pixels, int, str]:
    """(pixels, the orientation still to be applied, remark). upright: whether to find the orientation."""
    if (raw := raw_pixels(data)) is not None:
        return with_channels(np.array(raw), channels), 1, ""
    remark, found = "", jpeg_header(data) if data.startswith(JPEG_START) else None
    if found and found.mode in ("L", "RGB"):
        try:
            # A grey JPEG needs no luma; for a colour one, libjpeg's own grey differs from Pillow's by rounding.
            with taking(jpeg_bytes(data, found.height, found.width)):
                pixels = simplejpeg.decode_jpeg(data, "GRAY" if (found.mode, channels) == ("L", 1) else "RGB")
            return with_channels(pixels, channels), orientation_of(data) if upright else 1, ""
        except ValueError as error:
            remark = str(error)
        # Rejected here, because Pillow fills the gap with grey if a marker follows it. Pillow judges other warnings.
        if "Premature end of JPEG file" in remark:
            raise ImageError(f"truncated JPEG: {remark}")
        if "premature end of data segment" in remark:
            raise ImageError(f"damaged JPEG: {remark}")
    pixels, orientation = _decode_with_pillow(data, channels)
    return pixels, orientation if upright else 1, remark


def decode_damaged(data: bytes, channels: int = 3, *, upright: bool = False) -> Pixels:
    """Like `decode`, but decode a JPEG as far as possible; libjpeg fills the rest with grey.

    Raises ImageError if it is not a JPEG, or its header cannot be read.
    """
    _check_channels(channels)
    try:
        height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
        check_size(height, width)
        check_scans(data, height, width)
        with taking(jpeg_bytes(data, height, width)):
            pixels = with_channels(simplejpeg.decode_jpeg(data, "RGB", strict=False), channels)
        return turned(pixels, orientation_of(data) if upright else 1)
    except MemoryError as error:
        raise out_of_memory() from error
    except KeyError as error:
        raise ImageError("damaged, and cannot be decoded in part: its colours have a rare subsampling") from error
    except ValueError as error:
        raise ImageError(f"damaged, and cannot be decoded in part: {error}") from error


def from_pixels(data: bytes, encoding: str, height: int, width: int, channels: int, want: int) -> Pixels:
    """Raw uint8 pixels as an image with `want` (3 or 1) channels, converted as by `decode`.

    encoding: PIXELS_HWC or PIXELS_CHW, the order of the planes. Raises ImageError if the data has another size.
    """
    _check_channels(want)
    if channels not in (1, 3) or height < 1 or width < 1:
        raise ImageError(
            f"raw pixels of {height} x {width} x {channels}: expected sides of at least 1 and 1 or 3 channels"
        )
    if len(data) != height * width * channels:
        raise ImageError(
            f"raw pixels: {len(data)} bytes, expected {height} x {width} x {channels} = {height * width * channels}"
        )
    flat = np.frombuffer(data, np.uint8)
    if encoding == PIXELS_CHW:
        pixels = flat.reshape(channels, height, width).transpose(1, 2, 0)
    else:
        pixels = flat.reshape(height, width, channels)
    return with_channels(np.array(pixels, order="C"), want)


def from_pillow(image: Image.Image, channels: int = 3, *, upright: bool = False) -> Pixels:
    """The pixels of an image that Pillow has opened or made, converted as by `decode`.

    upright: apply the EXIF orientation. Raises ImageError for modes without a rule, images that are too large or have
    no pixels, and damaged files.
    """
    _check_channels(channels)
    if 0 in image.size:
        raise ImageError(f"{image.height} x {image.width} pixels: the image is empty")
    check_size(image.height, image.width)
    _refuse_unclear(image)
    try:
        return turned(_as_pixels(image, channels), _orientation(image) if upright else 1)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow decodes a file only now, and raises any kind of error for damaged bytes
        raise _damaged(_format(image), error) from error


def decode_as(table: Table, row: int, data: bytes, channels: int) -> tuple[Pixels, str]:
    """Decode the bytes that were read from a row, by the row's encoding and flags; returns what `decode_and_remark`
    does."""
    encoding = table.encoding(row)
    if encoding == FILE:
        upright = bool(table.flags[row] & UPRIGHT)
        if table.flags[row] & DAMAGED:
            return decode_damaged(data, channels, upright=upright), ""
        return decode_and_remark(data, channels, upright=upright)
    height, width = int(table.heights[row]), int(table.widths[row])
    return from_pixels(data, encoding, height, width, int(table.channels[row]), channels), ""


def probe(data: bytes) -> ImageInfo:
    """Format, size, colours and orientation of an image, from its header alone. Raises ImageError like `decode`."""
    found = jpeg_header(data) if data.startswith(JPEG_START) else None
    if found and found.mode in ("L", "RGB"):  # CMYK is decoded by Pillow, which may reject its tags
        return dataclasses.replace(found, orientation=orientation_of(data))
    image = _open(data)
    return ImageInfo(_format(image), image.height, image.width, image.mode, _orientation(image))


def orientation_of(data: bytes) -> int:
    """The EXIF orientation of an image, 1 (upright) to 8, from its header alone; 1 if the header cannot be read."""
    if data.startswith(JPEG_START) and (found := jpeg_orientation(data)) is not None:
        return found
    try:
        return _orientation(_open(data))
    except ImageError:
        return 1


def header(data: bytes) -> ImageInfo:
    """Like `probe`, but without the orientation.

    For a JPEG it is faster than Pillow, which also holds the interpreter lock.
    """
    if data.startswith(JPEG_START) and (found := jpeg_header(data)):
        return found
    image = _open(data)
    return ImageInfo(_format(image), image.height, image.width, image.mode)


def jpeg_header(data: bytes) -> ImageInfo | None:
    """Like `header`, for a JPEG; None if libjpeg-turbo's simple interface cannot read it; Pillow may."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        mode = _MODES[colours]
    except (ValueError, KeyError):  # KeyError: simplejpeg has no name for 4:4:1
        return None
    height, width = int(height), int(width)
    check_size(height, width)
    check_scans(data, height, width)
    return ImageInfo("JPEG", height, width, mode)


def raw_pixels(data: bytes) -> Pixels | None:
    """The pixels of a binary 8-bit PPM or PGM: (H, W, 3 or 1), a view of the data; None for any other format."""
    found = _RAW_HEADER.match(data)
    if found is None:
        return None
    channels, width, height = (3 if found[1] == b"6" else 1), int(found[2]), int(found[3])
    if height * width == 0 or height * width > MAX_PIXELS or len(data) - found.end() != height * width * channels:
        return None  # Pillow decides, and reports what is wrong
    return np.frombuffer(data, np.uint8, offset=found.end()).reshape(height, width, channels)


def num_trailing_bytes(data: bytes, name: str) -> int:
    """How many bytes follow the end of a JPEG (its last end marker) or PNG (its first); 0 for other formats.

    name: the format. A JPEG may contain others: a thumbnail, or in an MPO more pictures.
    """
    if name not in _ENDS:
        return 0
    at = data.rfind(_ENDS[name]) if name == "JPEG" else data.find(_ENDS[name])
    return len(data) - at - len(_ENDS[name]) if at >= 0 else 0


def format_of_name(name: str) -> str:
    """The format that a file name implies ("JPEG" for "a.jpg"); "" if it has no image extension."""
    dot = name.rfind(".")
    return _format_of_suffix(name[dot:]) if dot > name.rfind("/") + 1 else ""


@functools.cache
def _format_of_suffix(suffix: str) -> str:
    Image.init()
    named = Image.registered_extensions().get(suffix.lower(), "")
    return named if named in _FORMATS else ""


def _decode_with_pillow(data: bytes, channels: int) -> tuple[Pixels, int]:
    """(pixels, orientation that Pillow has not applied)"""
    image = _open(data)
    _refuse_unclear(image)
    try:
        with taking(decode_bytes(image, data)):
            image.load()
            applied = _format(image) in _TURNED_BY_READER
            return _as_pixels(image, channels), 1 if applied else _orientation(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise errors of any kind on damaged bytes
        raise _damaged(_format(image), error) from error


def _refuse_unclear(image: Image.Image) -> None:
    """Raise ImageError for an opened image without a rule for mapping its values to 8-bit colours."""
    name = _format(image)
    if image.mode in ("F", "I") and not (image.mode == "I" and name in ("PNG", "PPM")):
        kind = "float" if image.mode == "F" else "32-bit or signed"
        raise ImageError(f"{kind} grey {name}: the value of white is unknown. Save it with 8 or 16 bits unsigned")
    if image.mode == "LAB":
        raise ImageError(f"{name} in CIE Lab, which only some versions of Pillow convert. Save it as RGB")
    if image.mode.startswith("I") and name == "TIFF" and _tiff_scale(image) != (16, _BLACK_IS_ZERO):
        raise ImageError("grey TIFF of 12 bits, or of 16 bits with white as 0. Save it with 16 bits and black as 0")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; older versions of Pillow open PNG and PPM as "I"
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    return image.convert("RGB")


def _as_pixels(image: Image.Image, channels: int) -> Pixels:
    """The pixels of a decoded image. Large images are converted in strips, which halves the memory."""
    rows = _STRIP_PIXELS // image.width
    if not 0 < rows < image.height:
        return _as_array(_as_rgb(image), channels)
    pixels = np.empty((image.height, image.width, channels), np.uint8)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = _as_array(_as_rgb(strip), channels)
    return pixels


def _as_array(rgb: Image.Image, channels: int) -> Pixels:
    return np.array(rgb) if channels == 3 else np.array(rgb.convert("L"))[..., None]


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """An image (H, W, 1 or 3) with 1 or 3 channels, converted as by `decode`."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        pixels = pixels[:, :, 0]
    return _as_array(Image.fromarray(pixels).convert("RGB"), channels)


def is_heif(start: bytes) -> bool:
    """Whether a file that begins with these 12 bytes or more is HEIC or HEIF, the format of phone cameras."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


@functools.cache
def _with_heif() -> tuple[str, ...]:
    """The formats including HEIF, whose reader is imported and registered with Pillow only when needed."""
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # our threads already decode one image each
    pillow_heif.register_heif_opener()
    return (*_formats(), "HEIF")


def _open(data: bytes) -> Image.Image:
    """The image with its header read. Raises ImageError if that fails or the header has too many pixels."""
    if not data:
        raise ImageError("empty (0 bytes)")
    _silence_pillow()
    start = format_of_start(data[:16])
    check_parts(data, start)
    try:
        formats = _with_heif() if is_heif(data) and reads_heif() else _formats()
        image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from error
    except Exception as error:  # Pillow's readers raise errors of any kind on damaged bytes
        if isinstance(error, MemoryError):
            raise
        name = start
        if is_heif(data) and not name:
            raise ImageError("HEIC, which requires pillow-heif: pip install 'tench[interop]', or convert it") from error
        if not name:
            if data.startswith(_GIT_LFS):
                raise ImageError("not an image but a Git LFS pointer to one; 'git lfs pull' fetches it") from error
            raise ImageError(f"not an image: starts with bytes {data[:16]!r}, no known image format") from error
        if name == "JPEG" and bits_of(data) > 8:
            raise ImageError(
                f"JPEG with {bits_of(data)} bits per sample, which Pillow does not decode. Save it with 8"
            ) from error
        if isinstance(error, UnidentifiedImageError):
            raise ImageError(f"damaged {name}: its header cannot be read; starts with bytes {data[:16]!r}") from error
        raise _damaged(name, error) from error
    check_size(image.height, image.width)
    if start == "JPEG":
        check_scans(data, image.height, image.width)
    return image


def _silence_pillow() -> None:
    """Keep Pillow's warnings (corrupt EXIF, palette with transparency, many pixels) out of the log of a run.

    They do not affect pixels. The filter applies to the whole process and stays: other threads would undo
    warnings.catch_warnings. It is checked each time because code that saves and restores filters (pytest does for each
    test) removes it.
    """
    if _PILLOW_IS_QUIET not in warnings.filters:
        with _lock:
            if _PILLOW_IS_QUIET not in warnings.filters:
                warnings.filterwarnings("ignore", module=r"PIL\.")


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF came with Pillow 11.3


def format_of_start(start: bytes) -> str:
    """The format of an image file that begins with these 16 bytes or more; "" if that format is not read."""
    for name in _formats():
        accept = Image.OPEN[name][1]
        accepted = accept(start) if accept else False
        if accepted and not isinstance(accepted, str):  # text: the reason why Pillow cannot read it
            return name
    return "HEIF" if is_heif(start) and reads_heif() else ""


def _format(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else image.format or "image"  # MPO: several JPEGs in one


def _orientation(image: Image.Image) -> int:
    try:
        hexadecimal = "".join(image.info.get("Raw profile type exif", "").split("\n")[3:])  # ImageMagick's, in a PNG
        tags = image.info.get("exif") or bytes.fromhex(hexadecimal)
        if exif_amplifies(tags.removeprefix(b"Exif\0\0")):
            return 1
        # The base class's method, because a PNG's own would decode the pixels to look for EXIF after them.
        found = Image.Image.getexif(image).get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises errors of any kind, and is no reason to refuse the image
        return 1
    return valid(found)


def _tiff_scale(image: Image.Image) -> tuple[int, int]:
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_BITS_PER_SAMPLE, (1,))[0]), int(tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO))


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise ValueError(f"channels must be 3 (RGB) or 1 (grey), got {channels}")


def _damaged(name: str, error: Exception) -> ImageError:
    kind = "truncated" if "truncated" in str(error).lower() else "damaged"
    return ImageError(f"{kind} {name}: {error or type(error).__name__}")
