import functools
import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.data.photos import Pixels, array, dataset, encoded, part, photo

from tench.data.images.encode import Encoding, encode
from tench.data.images.image import decode, decode_damaged, orientation_of, probe
from tench.data.images.orientation import jpeg_orientation
from tench.data.images.picture import Picture, decode_row, open_picture
from tench.data.table import DAMAGED, Classes, Table

PHOTO = part(150, 100)
ORIENTATIONS = range(1, 9)
TAG = 274


def exif(orientation: object, order: str = "<") -> bytes:
    """EXIF data as a camera writes it: make, orientation and resolution."""
    entries = struct.pack(f"{order}HHI4s", 271, 2, 4, b"cam\0")
    entries += struct.pack(f"{order}HHIHH", TAG, 3, 1, orientation, 0)
    entries += struct.pack(f"{order}HHII", 282, 5, 1, 50)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IH", 8, 3) + entries + struct.pack(f"{order}III", 0, 72, 1)


def segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content


def tagged(data: bytes, *contents: bytes) -> bytes:
    """A JPEG with APP1 segments inserted right after its start, as cameras do."""
    return data[:2] + b"".join(map(segment, contents)) + data[2:]


def xmp(orientation: int, form: str = 'tiff:Orientation="{}"') -> bytes:
    return b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + form.format(orientation).encode() + b"</x:xmpmeta>"


def png_with_late_tag(orientation: int) -> bytes:
    """A PNG whose eXIf chunk follows the pixels."""
    data, tags = encoded(PHOTO, "PNG"), exif(orientation)
    chunk = b"eXIf" + tags
    return data[:-12] + struct.pack(">I", len(tags)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[-12:]


@functools.cache
def photographs(orientation: int) -> dict[str, bytes]:
    """The same stored pixels in every format that can have an orientation."""
    tags = b"Exif\0\0" + exif(orientation)
    grey = PHOTO.convert("L")
    return {
        "JPEG": tagged(encoded(PHOTO), tags),
        "JPEG, big endian": tagged(encoded(PHOTO), b"Exif\0\0" + exif(orientation, ">")),
        "JPEG, XMP": tagged(encoded(PHOTO), xmp(orientation)),
        "JPEG, XMP element": tagged(encoded(PHOTO), xmp(orientation, "<tiff:Orientation>{}</tiff:Orientation>")),
        "JPEG, EXIF before XMP": tagged(encoded(PHOTO), tags, xmp(9 - orientation)),
        "JPEG, EXIF in two segments": tagged(encoded(PHOTO), tags[:20], b"Exif\0\0" + tags[20:]),
        "progressive JPEG": tagged(encoded(PHOTO, progressive=True), tags),
        "4:4:4 JPEG": tagged(encoded(PHOTO, subsampling=0), tags),
        "grey JPEG": tagged(encoded(grey), tags),
        "CMYK JPEG": tagged(encoded(PHOTO.convert("CMYK")), tags),
        "addressable JPEG": tagged(encode(array(PHOTO), Encoding()), tags),
        "addressable grey JPEG": tagged(encode(array(grey), Encoding()), tags),
        "PNG": encoded(PHOTO, "PNG", exif=exif(orientation)),
        "grey PNG": encoded(grey, "PNG", exif=exif(orientation)),
        "PNG, tag after the pixels": png_with_late_tag(orientation),
        "WebP": encoded(PHOTO, "WEBP", exif=exif(orientation), lossless=True),
        "TIFF": encoded(PHOTO, "TIFF", tiffinfo={TAG: orientation}),
    }


FORMS = tuple(photographs(1))


def upright(data: bytes, mode: str = "RGB") -> Pixels:
    """The image as rotated by Pillow."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return array(image.convert("RGB").convert(mode))


def table_of(folder: Path, data: bytes) -> Table:
    return dataset(folder, Classes.of(["cat"]), {"train": [("0.jpg", 0, data)]}).splits["train"]


def picture_of(table: Table, channels: int = 3) -> Picture:
    return open_picture(table, 0, table.read(0), channels)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("form", FORMS)
def test_all_eight_orientations_are_rotated_as_by_pillow(form: str, mode: str) -> None:
    for orientation in ORIENTATIONS:
        data = photographs(orientation)[form]
        found = decode(data, len(mode), upright=True)
        assert np.array_equal(found, upright(data, mode))
        assert found.flags.c_contiguous
        assert found.flags.writeable


@pytest.mark.parametrize("form", [form for form in FORMS if form != "TIFF"])
def test_by_default_the_stored_pixels_are_returned(form: str) -> None:
    stored = decode(photographs(1)[form])
    for orientation in ORIENTATIONS:
        assert np.array_equal(decode(photographs(orientation)[form]), stored)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "PNG, tag after the pixels"])
def test_probe_reads_the_orientation_from_the_header_alone(form: str) -> None:
    for orientation in ORIENTATIONS:
        assert probe(photographs(orientation)[form]).orientation == orientation


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_part_of_a_rotated_picture_is_that_part_of_the_rotated_image(
    tmp_path: Path, form: str, channels: int
) -> None:
    for orientation in ORIENTATIONS:
        data = photographs(orientation)[form]
        table = table_of(tmp_path / str(orientation), data).upright()
        picture, whole = picture_of(table, channels), upright(data, "RGB" if channels == 3 else "L")
        assert (picture.height, picture.width) == whole.shape[:2]
        assert np.array_equal(decode_row(table, 0, channels), whole)
        for top, left, height, width in [(0, 0, 40, 30), (20, 31, 1, 1), (55, 60, 40, 37), (3, 0, 90, 99)]:
            found = picture.part(top, left, height, width)
            assert np.array_equal(found, whole[top : top + height, left : left + width])


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("make", [encoded, lambda image: encode(array(image), Encoding())])
def test_a_reduced_part_of_a_rotated_picture_shows_the_same_box(
    tmp_path: Path, make: Callable[[Image.Image], bytes], by: int
) -> None:
    """The oracle is the mean of by x by pixels. A box that is off by one would differ much more at these edges."""
    large = photo().crop((0, 0, 640, 416))
    for orientation in ORIENTATIONS:
        data = tagged(make(large), b"Exif\0\0" + exif(orientation))
        picture = picture_of(table_of(tmp_path / str(orientation), data).upright())
        whole = upright(data).astype(float)
        top, left, side = 64, 96, 256
        found = picture.part(top, left, side, side, enough=side // by)
        assert found.shape == (side // by, side // by, 3)
        box = whole[top : top + side, left : left + side].reshape(side // by, by, side // by, by, 3).mean(axis=(1, 3))
        shifted = np.abs(found[:, 1:].astype(float) - box[:, :-1]).mean()
        assert np.abs(found - box).mean() < min(4.0, shifted / 2)


def test_only_flagged_rows_are_rotated(tmp_path: Path) -> None:
    data = tagged(encoded(PHOTO), b"Exif\0\0" + exif(6))
    table = table_of(tmp_path, data)
    assert decode_row(table, 0, 3).shape == (100, 150, 3)
    assert decode_row(table.upright(), 0, 3).shape == (150, 100, 3)
    assert decode_row(table.upright().subset(np.array([0])), 0, 3).shape == (150, 100, 3)


def test_the_readable_part_of_a_damaged_jpeg_is_rotated_too(tmp_path: Path) -> None:
    whole = tagged(encoded(PHOTO), b"Exif\0\0" + exif(6))
    cut = whole[:-1000]
    stored = decode_damaged(cut)
    assert np.array_equal(decode_damaged(cut, upright=True), np.rot90(stored, -1))
    table = table_of(tmp_path, cut).upright().flagged(np.array([0]), DAMAGED)
    assert np.array_equal(decode_row(table, 0, 3), np.rot90(stored, -1))


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_heic_and_avif_are_rotated_once(kind: str) -> None:
    """Both can store an orientation in two places, the container and EXIF, and only one may apply."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif "AVIF" not in Image.registered_extensions().values():
        pytest.skip("this Pillow cannot read AVIF")
    for orientation in ORIENTATIONS:
        data = encoded(PHOTO, kind, exif=Image.Exif() if orientation == 1 else with_orientation(orientation))
        assert np.array_equal(decode(data, upright=True), upright(data)), orientation


def with_orientation(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[TAG] = orientation
    return tags


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"II",
        b"II*\0",
        b"XX*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0",
        exif(0),
        exif(9),
        exif(65535),
        exif(6)[:20],
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_means_upright_and_is_not_an_error(kind: str, damaged: bytes) -> None:
    plain = encoded(PHOTO, kind)
    data = tagged(plain, b"Exif\0\0" + damaged) if kind == "JPEG" else encoded(PHOTO, kind, exif=damaged)
    assert orientation_of(data) == 1
    assert np.array_equal(decode(data, upright=True), decode(plain))


def test_exif_that_ends_after_the_orientation_is_still_used() -> None:
    data = tagged(encoded(PHOTO), b"Exif\0\0" + exif(6)[:34])
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        expected = upright(data)
    assert np.array_equal(decode(data, upright=True), expected)


def test_the_tag_of_a_thumbnail_or_a_later_directory_is_ignored() -> None:
    tags = bytearray(exif(1))
    at = len(tags)
    struct.pack_into("<I", tags, 8 + 2 + 3 * 12, at)  # the first directory points to a second one, of the thumbnail
    tags += struct.pack("<HHHIHHI", 1, TAG, 3, 1, 6, 0, 0)
    assert jpeg_orientation(tagged(encoded(PHOTO), b"Exif\0\0" + bytes(tags))) == 1


def test_a_jpeg_with_a_fill_byte_between_its_segments_is_rotated() -> None:
    data = encoded(PHOTO)
    filled = data[:2] + b"\xff" + segment(b"Exif\0\0" + exif(8)) + data[2:]
    assert jpeg_orientation(filled) is None
    assert np.array_equal(decode(filled, upright=True), upright(filled))


def test_a_jpeg_truncated_in_its_header_still_has_an_orientation() -> None:
    data = tagged(encoded(PHOTO), b"Exif\0\0" + exif(6))
    assert [orientation_of(data[:stop]) for stop in range(70)] == [1] * 70
    assert {orientation_of(data[:stop]) for stop in range(70, 300, 7)} == {1, 6}


def test_a_jpeg_full_of_exif_is_read_quickly() -> None:
    data = tagged(encoded(PHOTO), *[b"Exif\0\0" + bytes(65_000)] * 1500)
    began = time.monotonic()
    assert jpeg_orientation(data) == 1
    assert time.monotonic() - began < 5
