import io
import random
import struct
import tarfile
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from tests.data.photos import encoded, photo_file
from tests.support.datasets import reloaded
from tests.support.processes import DEADLINE_SECONDS

from tench.data.images.bounds import MAX_PIXELS
from tench.data.images.image import (
    ImageError,
    ImageInfo,
    decode,
    decode_and_remark,
    decode_damaged,
    format_of_name,
    format_of_start,
    from_pixels,
    header,
    num_trailing_bytes,
    probe,
)
from tench.data.images.picture import decode_row
from tench.data.table import DAMAGED, PIXELS_CHW, PIXELS_HWC, Classes, Contents, Rows, Table
from tench.errors import TenchError

SHARED = Path(__file__).parents[4] / "shared"
ORIENTATION = 274


PHOTOS = {name: photo_file(name).read_bytes() for name in ("china.jpg", "flower.jpg")}
with Image.open(io.BytesIO(PHOTOS["china.jpg"])) as _china:
    CHINA = _china.crop((100, 100, 131, 123))
    """Part of a photograph, 31 wide and 23 high, so that neither side is a multiple of a JPEG block."""


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def with_pillow(data: bytes, *modes: str) -> npt.NDArray[np.uint8]:
    """The pixels that torchvision's ImageFolder and transforms get."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(io.BytesIO(data))
        for mode in modes or ("RGB",):
            image = image.convert(mode)
        return np.atleast_3d(np.array(image))


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def png_of_size(width: int, height: int) -> bytes:
    """A 1-bit PNG whose header states this size, with almost no data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_of_size(width: int, height: int) -> bytes:
    """A photograph whose header states this wrong size."""
    data = PHOTOS["china.jpg"]
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


GREY_16 = np.arange(0, 65536, 17, dtype=np.uint16)[:3840].reshape(60, 64)

ALIKE: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: encoded(CHINA, "PNG"),
    "PNG grey": lambda: encoded(CHINA.convert("L"), "PNG"),
    "PNG 1-bit": lambda: encoded(CHINA.convert("1"), "PNG"),
    "PNG grey and alpha": lambda: encoded(with_alpha(CHINA).convert("LA"), "PNG"),
    "PNG with alpha": lambda: encoded(with_alpha(CHINA), "PNG"),
    "PNG palette": lambda: encoded(CHINA.quantize(9), "PNG"),
    "PNG palette with transparency": lambda: encoded(CHINA.quantize(9), "PNG", transparency=b"\0\x80\xff"),
    "GIF": lambda: encoded(CHINA, "GIF"),
    "WebP": lambda: encoded(CHINA, "WEBP"),
    "WebP lossless with alpha": lambda: encoded(with_alpha(CHINA), "WEBP", lossless=True),
    "BMP": lambda: encoded(CHINA, "BMP"),
    "TIFF": lambda: encoded(CHINA, "TIFF"),
    "TIFF LZW": lambda: encoded(CHINA, "TIFF", compression="tiff_lzw"),
    "TIFF JPEG": lambda: encoded(CHINA, "TIFF", compression="jpeg"),
    "TIFF CMYK": lambda: encoded(CHINA.convert("CMYK"), "TIFF"),
    "TIFF YCbCr": lambda: encoded(CHINA.convert("YCbCr"), "TIFF"),
    "TIFF to be turned": lambda: encoded(CHINA, "TIFF", tiffinfo={ORIENTATION: 6}),
    "PPM": lambda: encoded(CHINA, "PPM"),
    "PGM": lambda: encoded(CHINA.convert("L"), "PPM"),
    "PBM": lambda: encoded(CHINA.convert("1"), "PPM"),
    "JPEG": lambda: encoded(CHINA, "JPEG"),
    "JPEG progressive": lambda: encoded(CHINA, "JPEG", progressive=True),
    "JPEG of quality 20": lambda: encoded(CHINA, "JPEG", quality=20),
    "JPEG with restart markers": lambda: encoded(CHINA, "JPEG", restart_marker_rows=1),
    "JPEG grey": lambda: encoded(CHINA.convert("L"), "JPEG"),
    "JPEG of RGB planes": lambda: encoded(CHINA, "JPEG", keep_rgb=True),
    "JPEG CMYK": lambda: encoded(CHINA.convert("CMYK"), "JPEG"),
    "JPEG YCCK": lambda: bytes(simplejpeg.encode_jpeg(np.array(CHINA.convert("CMYK")), colorspace="CMYK")),
    "JPEG of several": lambda: encoded(CHINA, "MPO", save_all=True, append_images=[CHINA.rotate(90)]),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photograph_decodes_to_pillows_pixels(name: str) -> None:
    pixels = decode(PHOTOS[name])
    assert pixels.shape == (427, 640, 3)
    assert np.array_equal(pixels, with_pillow(PHOTOS[name]))


def test_the_photographs_of_the_reference_records_decode_to_pillows_pixels() -> None:
    files = sorted((SHARED / "golden" / "records" / "images").glob("*/*.JPEG"))
    if not files:
        pytest.skip(f"needs the photographs in {SHARED}/golden/records/images")
    for file in files:
        assert np.array_equal(decode(file.read_bytes()), with_pillow(file.read_bytes())), file


def test_photographs_from_a_tar_decode_to_pillows_pixels() -> None:
    path = SHARED / "data" / "photos.tar"
    if not path.exists():
        pytest.skip(f"needs {path}")
    with tarfile.open(path) as tar:
        streams = [tar.extractfile(member) for member in tar.getmembers() if member.isfile()]
        photos = [stream.read() for stream in streams[::10] if stream]
    assert len(photos) == 25
    for data in photos:
        assert np.array_equal(decode(data), with_pillow(data))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpegs_of_every_small_size_decode_to_pillows_pixels(subsampling: str) -> None:
    for width in range(1, 19):
        for height in (1, 2, 7, 8, 9, 15, 16, 17):
            data = encoded(CHINA.crop((3, 4, 3 + width, 4 + height)), "JPEG", subsampling=subsampling)
            assert np.array_equal(decode(data), with_pillow(data)), (width, height)


@pytest.mark.parametrize("kind", ALIKE)
def test_every_kind_of_image_decodes_to_the_pixels_of_torchvisions_loader(kind: str) -> None:
    data = ALIKE[kind]()
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, with_pillow(data))


@pytest.mark.parametrize("kind", ALIKE)
def test_converting_to_grey_takes_the_luma(kind: str) -> None:
    data = ALIKE[kind]()
    grey = decode(data, channels=1)
    assert grey.flags.writeable
    assert grey.flags.c_contiguous
    assert np.array_equal(grey, with_pillow(data, "RGB", "L"))
    luma = decode(data) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[:, :, 0] - luma).max() <= 0.51  # Pillow uses fixed-point weights


def test_grey_becomes_three_equal_channels() -> None:
    for kind in ("JPEG", "PNG"):
        data = encoded(CHINA.convert("L"), kind)
        colours, grey = decode(data), decode(data, channels=1)
        assert grey.shape == (23, 31, 1)
        assert np.array_equal(colours, np.concatenate([grey] * 3, axis=2))


def test_one_bit_images_become_black_and_white() -> None:
    bits = np.random.default_rng(0).random((9, 13)) < 0.5
    assert np.array_equal(decode(encoded(Image.fromarray(bits), "PNG"), 1)[:, :, 0], bits * 255)


def test_a_white_cmyk_jpeg_is_white_and_not_inverted() -> None:
    assert decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")).min() == 255


def test_the_colour_of_transparent_pixels_is_kept() -> None:
    hidden = Image.new("RGBA", (5, 4), (10, 20, 30, 0))
    assert np.array_equal(decode(encoded(hidden, "PNG")), np.full((4, 5, 3), (10, 20, 30)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "JPEG2000", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_rounded_not_clipped(kind: str) -> None:
    values = GREY_16.astype(">u2") if kind == "big-endian TIFF" else GREY_16
    if kind == "PPM":
        data = b"P5 64 60 65535\n" + GREY_16.astype(">u2").tobytes()
    else:
        data = encoded(Image.fromarray(values), kind.removeprefix("big-endian "))
    expected = np.rint(GREY_16 / 257)
    assert np.array_equal(decode(data, 1)[:, :, 0], expected)
    assert np.array_equal(decode(data)[:, :, 2], expected)


def test_grey_with_an_unknown_white_level_is_refused() -> None:
    for mode, kind in (("F", "float"), ("I", "32-bit or signed")):
        with pytest.raises(ImageError) as caught:
            decode(encoded(CHINA.convert("L").convert(mode), "TIFF"))
        expected = f"{kind} grey TIFF: the value of white is unknown. Save it with 8 or 16 bits unsigned"
        assert str(caught.value) == expected


def test_a_sixteen_bit_tiff_with_white_as_zero_is_refused() -> None:
    data = encoded(Image.fromarray(GREY_16), "TIFF", tiffinfo={262: 0})
    with Image.open(io.BytesIO(data)) as image:
        assert image.tag_v2[262] == 0  # type: ignore[attr-defined]
    with pytest.raises(ImageError, match=r"16 bits with white as 0. Save it with 16 bits and black as 0"):
        decode(data)


def test_cie_lab_is_refused() -> None:
    with pytest.raises(ImageError, match="TIFF in CIE Lab, which only some versions of Pillow convert"):
        decode(encoded(Image.new("LAB", (4, 4)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("#ff0000", "#0000ff")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    assert np.array_equal(decode(data), np.full((10, 12, 3), (255, 0, 0)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_reported_and_ignored(kind: str) -> None:
    turned, upright = encoded(CHINA, kind, exif=oriented(6)), encoded(CHINA, kind)
    assert np.array_equal(decode(turned), decode(upright))
    assert (probe(turned).orientation, probe(upright).orientation) == (6, 1)


def test_a_jpeg_with_trailing_bytes_decodes() -> None:
    data = PHOTOS["flower.jpg"]
    assert np.array_equal(decode(data + b"trailing" * 100), with_pillow(data))
    assert np.array_equal(decode(data + data[:1000]), with_pillow(data))


def test_a_jpeg_with_corrupt_exif_decodes_without_a_warning() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"  # claims that 65535 entries follow
    data = encoded(CHINA, "JPEG", exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        Image.open(io.BytesIO(data)).getexif()
    assert np.array_equal(decode(data), decode(encoded(CHINA, "JPEG")))
    assert probe(data) == ImageInfo("JPEG", 23, 31, "RGB", 1)


def damaged_jpeg() -> bytes:
    """A photograph with some bytes of its compressed data lost, which libjpeg notices at the end."""
    data = encoded(CHINA.resize((200, 160)), "JPEG")
    for position in range(800, len(data) - 100):
        damaged = data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
        try:
            simplejpeg.decode_jpeg(damaged)
        except ValueError as error:
            if "extraneous" in str(error):
                return damaged
    raise AssertionError("no such damage found")


def test_a_jpeg_with_damage_that_libjpeg_skips_decodes_as_in_pillow_with_a_warning() -> None:
    pixels, remark = decode_and_remark(damaged_jpeg())
    assert np.array_equal(pixels, with_pillow(damaged_jpeg()))
    assert remark.startswith("Corrupt JPEG data:")
    assert decode_and_remark(PHOTOS["china.jpg"])[1] == ""


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_truncated_anywhere_is_an_error(progressive: bool) -> None:
    data = encoded(CHINA, "JPEG", progressive=progressive)
    start_of_scan = data.index(b"\xff\xda")
    for length in range(len(data)):
        with pytest.raises(ImageError) as caught:
            decode(data[:length])
        if length > start_of_scan + 14:
            assert str(caught.value).startswith("truncated JPEG: ")


def test_a_jpeg_cut_in_the_middle_with_an_end_marker_added_is_an_error() -> None:
    data = PHOTOS["china.jpg"]
    with pytest.raises(ImageError, match=r"^damaged JPEG: Corrupt JPEG data: premature end of data segment$"):
        decode(data[: len(data) // 2] + b"\xff\xd9")


def test_a_truncated_cmyk_jpeg_is_an_error() -> None:
    data = encoded(CHINA.convert("CMYK"), "JPEG")
    with pytest.raises(ImageError, match=r"^truncated JPEG: image file is truncated"):
        decode(data[:-50])


CUT = {"PNG": {}, "GIF": {}, "WEBP": {}, "BMP": {}, "TIFF": {"compression": "tiff_deflate"}, "PPM": {}}


@pytest.mark.parametrize("kind", CUT)
def test_a_truncated_image_is_an_error_or_complete_but_never_partly_filled(kind: str) -> None:
    image = CHINA.crop((0, 0, 17, 13))
    image.info.clear()  # drop the colour profile: truncating a TIFF only within it is harmless
    data = encoded(image, kind, **CUT[kind])
    whole = decode(data)
    num_errors = 0
    for length in range(0, len(data), 3):
        try:
            pixels = decode(data[:length])
        except ImageError:
            num_errors += 1
        else:
            assert np.array_equal(pixels, whole), length
    assert num_errors > 0.9 * len(data) / 3


def test_the_error_for_a_truncated_png_says_so() -> None:
    with pytest.raises(ImageError, match=r"^truncated PNG: "):
        decode(encoded(CHINA, "PNG")[:-200])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM"])
def test_any_damage_raises_our_own_error(kind: str) -> None:
    data = encoded(CHINA, kind)
    rng = random.Random(0)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 10))):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        try:
            pixels = decode(bytes(damaged))
            info = probe(bytes(damaged))
        except ImageError:
            continue
        assert pixels.shape == (info.height, info.width, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty (0 bytes)"),
        (b"<!DOCTYPE html>\n", "not an image: starts with bytes b'<!DOCTYPE html>\\n', no known image format"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "not an image but a Git LFS pointer to one; 'git lfs pull' fetches it",
        ),
        (b"\x1f\x8b\x08", "not an image: starts with bytes b'\\x1f\\x8b\\x08', no known image format"),
        (b"\0" * 99, f"not an image: starts with bytes {bytes(16)!r}, no known image format"),
        (
            b"\x89PNG\r\n\x1a\n",
            "damaged PNG: its header cannot be read; starts with bytes b'\\x89PNG\\r\\n\\x1a\\n'",
        ),
    ],
)
def test_a_file_that_is_not_an_image_is_described_by_its_first_bytes(data: bytes, reason: str) -> None:
    for function in (decode, probe, header):
        with pytest.raises(ImageError) as caught:
            function(data)
        assert str(caught.value) == reason


def test_postscript_is_not_passed_to_an_interpreter() -> None:
    with pytest.raises(ImageError, match="not an image: starts with bytes b'%!PS-Adobe"):
        decode(encoded(CHINA, "EPS"))


def test_a_header_that_states_too_many_pixels_is_refused_before_decoding() -> None:
    with pytest.raises(ImageError) as caught:
        decode(jpeg_of_size(65000, 64000))
    assert str(caught.value) == f"too large: 64000 x 65000 pixels; the limit is {MAX_PIXELS:,} in total"
    for function in (decode, probe, header):
        with pytest.raises(ImageError, match=rf"^too large: Image size \(3600000000 pixels\) .* {MAX_PIXELS} pixels"):
            function(png_of_size(60000, 60000))


def test_the_limit_applies_even_if_pillows_limit_was_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError, match=r"^too large: 60000 x 50000 pixels"):
        decode(png_of_size(50000, 60000))


def test_an_image_within_the_limit_gives_no_warning() -> None:
    data = png_of_size(10000, 9000)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(data))
    assert probe(data) == ImageInfo("PNG", 9000, 10000, "1")


def test_a_side_of_zero_pixels_is_an_error() -> None:
    for data in (png_of_size(0, 5), jpeg_of_size(5, 0), jpeg_of_size(0, 5)):
        with pytest.raises(ImageError, match=r"^damaged (PNG|JPEG): "):
            decode(data)


def test_two_or_four_channels_cannot_be_requested() -> None:
    with pytest.raises(ValueError, match=r"channels must be 3 \(RGB\) or 1 \(grey\), got 2"):
        decode(PHOTOS["china.jpg"], 2)
    with pytest.raises(ValueError, match=r"channels must be 3 \(RGB\) or 1 \(grey\), got 4"):
        from_pixels(b"1", PIXELS_HWC, 1, 1, 1, want=4)


def test_four_threads_decode_the_same_as_one_without_warnings() -> None:
    images = [make() for make in ALIKE.values()] * 4
    expected = [with_pillow(data) for data in images]
    warnings.resetwarnings()
    warnings.simplefilter("error")  # without the filter for Pillow's warnings, which the first threads must install
    start = threading.Barrier(4, timeout=DEADLINE_SECONDS)

    def decode_all(_: int) -> list[npt.NDArray[np.uint8]]:
        start.wait()
        return [decode(data) for data in images]

    with ThreadPoolExecutor(4) as pool:
        for decoded in pool.map(decode_all, range(4)):
            assert all(np.array_equal(*pair) for pair in zip(decoded, expected, strict=True))


@pytest.mark.parametrize("kind", ALIKE)
def test_probe_agrees_with_pillow_from_the_header_alone(kind: str) -> None:
    data = ALIKE[kind]()
    image = Image.open(io.BytesIO(data))
    info = probe(data)
    assert (info.height, info.width, info.mode) == (image.height, image.width, image.mode)
    assert info.format == str(image.format).replace("MPO", "JPEG")
    assert decode(data).shape[:2] == (info.height, info.width)
    assert info.orientation == (6 if "turned" in kind else 1)


@pytest.mark.parametrize("kind", ALIKE)
def test_header_agrees_with_pillow(kind: str) -> None:
    data = ALIKE[kind]()
    image = Image.open(io.BytesIO(data))
    found = header(data)
    assert found == ImageInfo(str(image.format).replace("MPO", "JPEG"), image.height, image.width, image.mode)
    assert found == header(data + b"trailing")


def test_header_agrees_with_pillow_for_every_photograph(photo_folder: Path) -> None:
    files = [path for path in photo_folder.rglob("*") if path.is_file()]
    modes = set()
    for file in files:
        with Image.open(file) as image:
            assert header(file.read_bytes()) == ImageInfo(str(image.format), image.height, image.width, image.mode)
            modes.add((image.format, image.mode))
    assert modes == {("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB")}


def jpeg_with_rare_subsampling(factors: int) -> bytes:
    """A part of a photograph with these luma sampling factors (high four bits: horizontal, low four bits: vertical)."""
    data = bytearray(encoded(CHINA, "JPEG", subsampling="4:4:4"))
    data[data.index(b"\xff\xc0") + 11] = factors
    return bytes(data)


@pytest.mark.parametrize("factors", [0x14, 0x31, 0x13])  # 4:4:1, 3:1 and 1:3
def test_a_jpeg_of_a_rare_subsampling_is_left_to_pillow(factors: int) -> None:
    data = jpeg_with_rare_subsampling(factors)
    with pytest.raises((KeyError, ValueError)):
        simplejpeg.decode_jpeg_header(data)
    image = Image.open(io.BytesIO(data))
    assert header(data) == ImageInfo("JPEG", image.height, image.width, image.mode)
    assert np.array_equal(decode(data), with_pillow(data))
    with pytest.raises(ImageError, match="damaged, and cannot be decoded in part: "):
        decode_damaged(data)


def test_the_header_can_be_read_without_the_pixels() -> None:
    for kind in ("PNG", "JPEG", "TIFF"):
        assert header(encoded(CHINA.resize((300, 200)), kind)[:-1000]) == ImageInfo(kind, 200, 300, "RGB")


def test_header_does_not_search_for_the_orientation() -> None:
    assert header(encoded(CHINA, "JPEG", exif=oriented(6))).orientation == 1
    assert header(encoded(CHINA, "PNG", exif=oriented(6))).orientation == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_the_format_is_recognised_by_the_first_bytes(kind: str) -> None:
    assert format_of_start(encoded(CHINA, kind)[:16]) == kind


@pytest.mark.parametrize("start", [b"", b"\xff", b"<!DOCTYPE html>\n", bytes(16), b"%!PS-Adobe-3.0 E"])
def test_other_first_bytes_have_no_format(start: bytes) -> None:
    assert format_of_start(start) == ""


def test_probe_does_not_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", loaded.append)
    assert probe(encoded(CHINA, "PNG")) == ImageInfo("PNG", 23, 31, "RGB")
    assert loaded == []


def test_probe_works_without_the_pixels() -> None:
    for kind in ("PNG", "JPEG", "TIFF"):
        data = encoded(CHINA.resize((300, 200)), kind)
        cut = data[:-1000]
        assert probe(cut) == ImageInfo(kind, 200, 300, "RGB")


def test_probe_agrees_with_pillow_for_photographs(shared_data: Path) -> None:
    with tarfile.open(shared_data / "photos.tar") as archive:
        photographs = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    assert len(photographs) == 250
    for data in photographs:
        image = Image.open(io.BytesIO(data))
        expected = ImageInfo("JPEG", image.height, image.width, image.mode, image.getexif().get(ORIENTATION) or 1)
        assert probe(data) == expected


def test_an_orientation_is_found_after_other_segments_and_fill_bytes() -> None:
    data = encoded(CHINA, "JPEG", exif=oriented(5))
    exif = data.index(b"\xff\xe1")
    stop = exif + 2 + int.from_bytes(data[exif + 2 : exif + 4], "big")
    colours = data.index(b"\xff\xc0")
    without = data[:exif] + data[stop:colours]
    late = without + data[exif:stop] + data[colours:]
    filled = without + b"\xff" + data[exif:stop] + data[colours:]
    for moved in (late, filled):
        assert Image.open(io.BytesIO(moved)).getexif()[ORIENTATION] == 5
        assert probe(moved) == ImageInfo("JPEG", 23, 31, "RGB", 5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@given(behind=st.binary(max_size=40).filter(lambda data: b"\xff\xd9" not in data))
def test_bytes_after_the_end_of_an_image_are_counted(kind: str, behind: bytes) -> None:
    assert num_trailing_bytes(encoded(CHINA, kind) + behind, kind) == len(behind)


def test_an_image_after_a_png_is_trailing_data_but_the_second_picture_of_an_mpo_is_not() -> None:
    png = encoded(CHINA, "PNG")
    assert num_trailing_bytes(png + png, "PNG") == len(png)
    assert num_trailing_bytes(encoded(CHINA, "MPO", save_all=True, append_images=[CHINA]), "JPEG") == 0


def test_formats_without_an_end_marker_and_images_that_lack_it_have_no_trailing_bytes() -> None:
    assert num_trailing_bytes(encoded(CHINA, "BMP") + b"more", "BMP") == 0
    assert num_trailing_bytes(encoded(CHINA, "JPEG")[:-2], "JPEG") == 0
    assert num_trailing_bytes(b"", "PNG") == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [("n0/a.JPEG", "JPEG"), ("a.b.png", "PNG"), ("a.TIF", "TIFF"), ("x.pgm", "PPM"), ("a.eps", ""), ("v1.5", "")],
)
def test_a_file_suffix_implies_a_format(name: str, kind: str) -> None:
    assert format_of_name(name) == kind


def test_raw_pixels_are_reordered_and_converted() -> None:
    image = np.array(CHINA)  # (H, W, 3)
    planes = image.transpose(2, 0, 1).tobytes()
    grey = with_pillow(encoded(CHINA, "PNG"), "L")
    assert np.array_equal(from_pixels(image.tobytes(), PIXELS_HWC, 23, 31, 3, want=3), image)
    assert np.array_equal(from_pixels(planes, PIXELS_CHW, 23, 31, 3, want=3), image)
    assert np.array_equal(from_pixels(planes, PIXELS_CHW, 23, 31, 3, want=1), grey)
    for encoding in (PIXELS_HWC, PIXELS_CHW):
        assert np.array_equal(from_pixels(grey.tobytes(), encoding, 23, 31, 1, want=1), grey)
        replicated = from_pixels(grey.tobytes(), encoding, 23, 31, 1, want=3)
        assert np.array_equal(replicated, np.concatenate([grey] * 3, axis=2))
        assert replicated.flags.writeable
        assert replicated.flags.c_contiguous


def test_raw_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(ImageError, match=r"^raw pixels: 3000 bytes, expected 32 x 32 x 3 = 3072$"):
        from_pixels(bytes(3000), PIXELS_HWC, 32, 32, 3, want=3)
    with pytest.raises(
        ImageError, match=r"^raw pixels of 2 x 2 x 4: expected sides of at least 1 and 1 or 3 channels$"
    ):
        from_pixels(bytes(16), PIXELS_HWC, 2, 2, 4, want=3)
    with pytest.raises(ImageError, match=r"^raw pixels of 0 x 2 x 1: "):
        from_pixels(b"", PIXELS_HWC, 0, 2, 1, want=3)


def table_of(folder: Path, images: dict[str, bytes], **columns: Any) -> Table:
    """A split whose images lie one after the other in one file."""
    shard = folder / "photos.bin"
    shard.write_bytes(b"".join(images.values()))
    lengths = np.array([len(data) for data in images.values()])
    rows = Rows(
        shards=[str(shard)],
        shard=np.zeros(len(images), int),
        offset=np.cumsum(lengths) - lengths,
        length=lengths,
        label=np.zeros(len(images), int),
        key=list(images),
        **columns,
    )
    return reloaded(Contents(Classes.of(["a"]), {"train": rows}, [])).splits["train"]


def test_a_row_is_read_and_decoded(tmp_path: Path) -> None:
    table = table_of(tmp_path, PHOTOS)
    for row, name in enumerate(sorted(PHOTOS)):
        assert np.array_equal(decode_row(table, row, 3), with_pillow(PHOTOS[name]))
        assert np.array_equal(decode_row(table, row, 1), with_pillow(PHOTOS[name], "L"))


def test_a_row_of_raw_pixels_is_decoded(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4), np.uint8)
    images = {"0": pixels[0].tobytes(), "1": pixels[1].tobytes()}
    table = table_of(tmp_path, images, encoding=PIXELS_CHW, height=5, width=4, channels=3)
    assert np.array_equal(decode_row(table, 1, 3), pixels[1].transpose(1, 2, 0))


def test_a_row_that_does_not_decode_names_file_row_stage_reason_and_remedy(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"a.jpg": PHOTOS["china.jpg"], "b.jpg": PHOTOS["flower.jpg"][:90000]})
    with pytest.raises(ImageError) as caught:
        decode_row(table, 1, 3)
    end = len(PHOTOS["china.jpg"])
    assert str(caught.value) == (
        f"{tmp_path}/photos.bin, bytes {end}-{end + 90000} (b.jpg): truncated JPEG: Premature end of JPEG file.\n"
        "This is row 1, stage decode. 'tench check SOURCE' names every such image of the dataset."
    )


def test_a_row_that_cannot_be_read_is_not_called_a_bad_image(tmp_path: Path) -> None:
    table = table_of(tmp_path, PHOTOS)
    (tmp_path / "photos.bin").unlink()
    with pytest.raises(TenchError, match="cannot be read") as caught:
        decode_row(table, 0, 3)
    assert not isinstance(caught.value, ImageError)


# Damaged images that are used all the same.


def test_a_truncated_jpeg_is_decoded_as_far_as_possible_if_its_row_is_flagged(tmp_path: Path) -> None:
    whole = PHOTOS["china.jpg"]
    cut = whole[: len(whole) // 2]
    with pytest.raises(ImageError, match="truncated JPEG"):
        decode(cut)
    pixels = decode_damaged(cut)
    same = (pixels == decode(whole)).all(axis=(1, 2))
    assert same[:100].all()
    assert not same[-100:].any()
    (tmp_path / "cut.jpg").write_bytes(cut)
    rows = Rows([str(tmp_path / "cut.jpg")], np.zeros(1, np.int32), 0, len(cut), np.zeros(1, np.int32), ["cut.jpg"])
    table = reloaded(Contents(Classes.of(["a"]), {"train": rows}, stamp=[])).splits["train"]
    with pytest.raises(ImageError, match="truncated JPEG"):
        decode_row(table, 0, 3)
    np.testing.assert_array_equal(decode_row(table.flagged(np.array([0]), DAMAGED), 0, 3), pixels)


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff\xe0 too little"])
def test_data_without_a_header_cannot_be_decoded_in_part(data: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be decoded in part"):
        decode_damaged(data)
