"""Limits on decoding one image: small files that claim huge content are refused, large photographs are not."""

import io
import os
import struct
import subprocess
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tests.data.photos import by_pillow, encoded, part
from tests.support.processes import run_python

from tench.data.images import bounds, image
from tench.data.images.bounds import MAX_SCANS, check_scans, decode_bytes, exif_amplifies
from tench.data.images.image import ImageError, ImageInfo, decode, decode_damaged, header, probe
from tench.data.images.jpegtran import made_addressable
from tench.data.images.picture import Jpeg
from tench.errors import PassingError

SIDE = 2048
"""Side of the images with many scans, large enough that their scans are counted."""


# JPEGs of many scans


def frame(marker: int, height: int, width: int, components: int) -> bytes:
    tables = b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    for kind, values in ((0x00, [0]), (0x10, [0xE0, 0])):  # 0xE0: a run of blocks without coefficients
        codes = bytes([len(values)] + [0] * 15) if len(values) < 2 else bytes([1, 1] + [0] * 14)
        tables += b"\xff\xc4" + struct.pack(">HB", 19 + len(values), kind) + codes + bytes(values)
    parts = b"".join(bytes([number, 0x11, 0]) for number in range(1, components + 1))
    return (
        tables + bytes([0xFF, marker]) + struct.pack(">HBHHB", 8 + 3 * components, 8, height, width, components) + parts
    )


def scan(component: int, first: int, last: int, data: bytes = b"") -> bytes:
    return b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, component, 0, first, last, 0) + data


def progressive(scans: int, side: int = SIDE) -> bytes:
    """A grey image in which only the first scan adds anything."""
    blocks = (side // 8) ** 2
    count, nothing = blocks, ""
    while count:
        run = min(count, 32767) if count >= 16384 else 1
        nothing += "0" + format(run - 16384, "014b") if run > 1 else "10"
        count -= run
    nothing += "1" * (-len(nothing) % 8)
    empty = int(nothing, 2).to_bytes(len(nothing) // 8, "big").replace(b"\xff", b"\xff\0")
    more = b"".join(scan(1, 1 + number % 63, 1 + number % 63, empty) for number in range(scans - 1))
    return frame(0xC2, side, side, 1) + scan(1, 0, 0, bytes(blocks // 8)) + more + b"\xff\xd9"


def sequential(scans: int, side: int = SIDE) -> bytes:
    """A colour image with one component per scan."""
    body = b"".join(scan(1 + number % 3, 0, 63) for number in range(scans))
    return frame(0xC0, side, side, 3) + body + b"\xff\xd9"


def reason(scans: str = "101") -> str:
    return (
        f"JPEG with {scans} scans or more: each is a pass over all 2048 x 2048 pixels, and the limit is 100. Save it "
        "again as an ordinary JPEG"
    )


@pytest.mark.parametrize("make", [progressive, sequential])
@pytest.mark.parametrize("scans", [MAX_SCANS + 1, 20_000])
def test_a_jpeg_of_too_many_scans_is_refused_wherever_it_is_decoded(make: Callable[[int], bytes], scans: int) -> None:
    data = make(scans)
    for read in (decode, decode_damaged, header, probe):
        with pytest.raises(ImageError) as refused:
            read(data)
        assert str(refused.value) == reason()


def test_a_progressive_jpeg_of_100_scans_decodes() -> None:
    data = progressive(MAX_SCANS)
    assert data.count(b"\xff\xda") == 100
    assert header(data) == ImageInfo("JPEG", SIDE, SIDE, "L")
    assert np.array_equal(decode(data, 1), by_pillow(data))


def test_scans_in_a_thumbnail_and_after_the_end_are_not_counted() -> None:
    photo = encoded(part(600, 400).resize((2400, 1600)), progressive=True)
    thumbnails = b"".join(b"\xff\xe1\x0f\xa2" + b"\xff\xda" * 2000 for _ in range(3))
    data = photo[:2] + thumbnails + photo[2:] + b"\xff\xda\0\x02" * 1000
    assert np.array_equal(decode(data), by_pillow(photo))


@pytest.mark.parametrize("junk", [b"\xff\xd0", b"\xff\x01", b"\xff\xff", b"\xff\xd8", b"\0"], ids=repr)
def test_scans_are_counted_even_if_decoders_disagree_on_the_header(junk: bytes) -> None:
    """libjpeg skips these markers. Read as a segment, they would lead to a fake frame with one scan."""
    bomb = progressive(300)
    fake = frame(0xC0, SIDE, SIDE, 1)[2:] + b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    jump = struct.pack(">H", len(bomb) + 20)
    data = bomb[:2] + junk + jump + bomb[2:] + bytes(20) + fake
    with pytest.raises(ImageError) as refused:
        check_scans(data, SIDE, SIDE)
    assert str(refused.value) == reason()


def test_scans_of_small_and_sequential_images_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    class Bytes(bytes):
        def count(self, *_: Any) -> int:
            counted.append(1)
            return 0

    check_scans(Bytes(encoded(part(64, 64), progressive=True)), 64, 64)
    check_scans(Bytes(encoded(part(600, 400).resize((2400, 1600)))), 1600, 2400)
    assert counted == []
    check_scans(Bytes(encoded(part(600, 400).resize((2400, 1600)), progressive=True)), 1600, 2400)
    assert counted == [1]


def test_jpegtran_is_not_given_a_jpeg_of_too_many_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    data = progressive(MAX_SCANS + 1)
    assert made_addressable(data) == data


# Memory.


def png(width: int, height: int, colours: int, bits: int, more: bytes = b"") -> bytes:
    """A PNG with this header and without data."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("colours", [2, 4, 6])
def test_sixteen_bit_colours_of_the_largest_size_are_refused_before_they_are_decoded(colours: int) -> None:
    size = {2: "2.2", 4: "2.5", 6: "2.5"}[colours]
    with pytest.raises(ImageError) as refused:
        decode(png(13376, 13376, colours, 16))
    assert str(refused.value) == (
        f"too large: decoding PNG of 13376 x 13376 pixels takes about {size} GiB; the limit for one image is 2 GiB. "
        "Save it with 8 bits per channel, or smaller"
    )


def test_an_image_of_one_column_and_many_million_rows_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^too large: decoding PNG of 178000000 x 1 pixels takes about"):
        decode(png(1, 178_000_000, 0, 1))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("TIFF", "RGBA", {}),
        ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("JPEG2000", "RGB", {}),
        ("AVIF", "RGBA", {}),
        ("BMP", "RGB", {}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("GIF", "P", {}),
    ],
)
def test_eight_bit_photographs_of_100_million_pixels_may_be_decoded(kind: str, mode: str, options: Any) -> None:
    data = bytearray(encoded(Image.new(mode, (1000, 1050)), kind, **options))
    opened = Image.open(io.BytesIO(data))
    assert 100 * decode_bytes(opened, bytes(data)) <= 2 * 2**30


def test_a_jpeg_2000_whose_data_differs_in_size_from_its_header_is_refused() -> None:
    data = bytearray(encoded(Image.new("RGB", (64, 64)), "JPEG2000"))
    at = data.index(b"\xff\x51")
    struct.pack_into(">II", data, at + 6, 60_000, 60_000)
    with pytest.raises(ImageError) as refused:
        decode(bytes(data))
    assert str(refused.value) == "damaged JPEG2000: its header and its data differ in size or components"


@pytest.mark.parametrize(("at", "number"), [(22, 0), (22, 1), (38, 16384)])
def test_a_jpeg_2000_of_too_many_tiles_or_components_is_refused(at: int, number: int) -> None:
    data = bytearray(encoded(Image.new("RGB", (4096, 4096)), "JPEG2000", no_jp2=True))
    assert data[:4] == b"\xff\x4f\xff\x51"
    struct.pack_into(">H" if number > 1 else ">II", data, at + 2, *([number] if number > 1 else [number, number]))
    with pytest.raises(ImageError):
        decode(bytes(data))


PEAK = """
import sys
from tench.data.images.image import decode
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
data = open(sys.argv[1], "rb").read()
open("/proc/self/clear_refs", "w").write("5")
before = peak()
pixels = decode(data)
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux's /proc to measure a peak")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG2000"])
def test_decoding_needs_no_more_memory_than_estimated(tmp_path: Path, kind: str) -> None:
    data = encoded(Image.new("RGB", (3000, 3000), (1, 2, 3)), kind)
    (tmp_path / "image").write_bytes(data)
    estimate = decode_bytes(Image.open(io.BytesIO(data)), data)
    result = run_python(PEAK, tmp_path / "image")
    imports = 20e6
    assert 0.7 * estimate < float(result.stdout) < estimate + imports, result.stderr


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_converted_in_strips_is_the_image_converted_at_once(
    monkeypatch: pytest.MonkeyPatch, mode: str, channels: int
) -> None:
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(part(53, 41, mode="L")).astype(np.uint16) * 251)
    else:
        photo = part(53, 41).convert(mode)
    data = encoded(photo, "TIFF" if mode == "CMYK" else "PNG")
    whole = decode(data, channels)
    for pixels in (53, 54, 53 * 7 + 1, 53 * 40, 53 * 41):
        monkeypatch.setattr(image, "_STRIP_PIXELS", pixels)
        assert np.array_equal(decode(data, channels), whole)


def test_large_images_are_decoded_one_at_a_time_alongside_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_LARGE_BYTES", 50_000)
    large, small = encoded(part(100, 100), "PNG"), encoded(part(20, 20), "PNG")
    running, most, lock = 0, 0, threading.Lock()
    convert = image._as_pixels

    def watched(opened: Image.Image, channels: int) -> Any:
        nonlocal running, most
        if opened.width == 100:
            with lock:
                running += 1
                most = max(most, running)
            assert decode(small).shape == (20, 20, 3)
            with lock:
                running -= 1
        return convert(opened, channels)

    monkeypatch.setattr(image, "_as_pixels", watched)
    with ThreadPoolExecutor(4) as pool:
        shapes = [pixels.shape for pixels in pool.map(decode, [large] * 40)]
    assert shapes == [(100, 100, 3)] * 40
    assert most == 1


def test_a_process_forked_while_a_large_image_is_decoded_can_decode_another() -> None:
    code = """
import os, sys
from tench.data.images import bounds
with bounds.taking(2**40):
    child = os.fork()
    if child == 0:
        with bounds.taking(2**40):
            os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    result = run_python(code)
    assert result.stdout == "7\n", result.stderr


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_running_out_of_memory_is_a_temporary_error(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    data = encoded(part(40, 30), kind)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)
    monkeypatch.setattr(Image.Image, "convert", refuse)
    reads: list[Callable[[], Any]] = [lambda: decode(data)]
    if kind == "JPEG":
        reads += [lambda: decode_damaged(data), lambda: Jpeg(data, 30, 40, 3, False).part(0, 0, 9, 9)]
    for read in reads:
        with pytest.raises(PassingError) as caught:
            read()
        assert str(caught.value) == "not decoded: this machine does not have enough free memory"
        assert not isinstance(caught.value, ImageError)


# Tags, chunks and frames.


def tags(count: int, size: int) -> bytes:
    """EXIF data whose entries all point at the same bytes."""
    entries = b"".join(struct.pack("<HHII", 1000 + number, 7, size, 8) for number in range(count))
    return b"II*\0" + struct.pack("<I", 8 + size) + bytes(size) + struct.pack("<H", count) + entries + bytes(4)


def exif_segments(exif: bytes) -> bytes:
    parts = [exif[at : at + 60_000] for at in range(0, len(exif), 60_000)]
    return b"".join(b"\xff\xe1" + struct.pack(">H", 8 + len(one)) + b"Exif\0\0" + one for one in parts)


def test_tags_that_multiply_the_bytes_of_a_file_are_detected() -> None:
    assert not exif_amplifies(tags(20, 50_000))
    assert exif_amplifies(tags(5000, 50_000))
    big = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 4000)
    entries = b"".join(struct.pack("<HHQQ", 1000 + number, 16, 2**61 + 5, 0) for number in range(4000))
    assert exif_amplifies(big + entries)
    photo = Image.Exif()
    photo[274] = 6
    assert not exif_amplifies(photo.tobytes().removeprefix(b"Exif\0\0"))
    for broken in (b"", b"II", b"II*\0\xff\xff\xff\xff" + bytes(9), b"MM\0*\0\0\0\x08\xff\xff" + bytes(9)):
        assert not exif_amplifies(broken)


def test_a_jpeg_with_such_tags_decodes_if_pillow_is_not_needed_and_is_refused_if_it_is() -> None:
    bomb = exif_segments(tags(5000, 50_000))
    colours = encoded(part(40, 30))
    data = colours[:2] + bomb + colours[2:]
    assert np.array_equal(decode(data), by_pillow(colours))
    assert probe(data) == ImageInfo("JPEG", 30, 40, "RGB")
    cmyk = encoded(part(40, 30).convert("CMYK"))
    for read in (decode, probe):
        with pytest.raises(ImageError) as refused:
            read(cmyk[:2] + bomb + cmyk[2:])
        assert str(refused.value) == "damaged JPEG: its tags repeatedly point at the same bytes"


def test_a_tiff_with_such_tags_is_refused() -> None:
    data = encoded(part(8, 8), "TIFF")
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    more = b"".join(struct.pack("<HHII", 40_000 + number, 7, 100_000, 8) for number in range(3000))
    whole = data + bytes(100_000)
    entries = struct.pack("<H", count + 3000) + data[at + 2 : at + 2 + 12 * count] + more + bytes(4)
    with pytest.raises(ImageError) as refused:
        decode(data[:4] + struct.pack("<I", len(whole)) + whole[8:] + entries)
    assert str(refused.value) == "damaged TIFF: its tags repeatedly point at the same bytes"


@pytest.mark.parametrize("form", ["eXIf", "text"])
def test_a_png_with_such_tags_decodes_and_its_orientation_is_not_searched_for(form: str) -> None:
    exif = tags(2000, 40_000)
    if form == "eXIf":
        more = chunk(b"eXIf", exif)
    else:
        text = b"\nexif\n   0\n" + (b"Exif\0\0" + exif).hex().encode()
        more = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    plain = encoded(part(8, 8), "PNG")
    data = plain[:33] + more + plain[33:]
    assert np.array_equal(decode(data), by_pillow(plain))
    assert probe(data) == ImageInfo("PNG", 8, 8, "RGB", 1)


def test_an_orientation_in_a_text_chunk_of_a_png_is_found() -> None:
    exif = Image.Exif()
    exif[274] = 6
    text = b"\nexif\n   0\n" + exif.tobytes().hex().encode()
    plain = encoded(part(8, 8), "PNG")
    more = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    assert probe(plain[:33] + more + plain[33:]).orientation == 6


def test_segments_and_chunks_without_end_are_refused_and_the_data_of_a_png_is_not_counted() -> None:
    cmyk = encoded(part(8, 8).convert("CMYK"))
    with pytest.raises(ImageError) as refused:
        decode(cmyk[:2] + b"\xff\xe5\0\2" * 20_000 + cmyk[2:])
    assert str(refused.value) == "damaged JPEG: it has 10,000 or more segments before its image"
    plain = encoded(Image.fromarray(np.asarray(part(8, 8))), "PNG")
    with pytest.raises(ImageError) as refused:
        decode(plain[:33] + chunk(b"tEXt", b"a\0b") * 20_000 + plain[33:])
    assert str(refused.value) == "damaged PNG: more than 10,000 chunks other than its data"
    length = int.from_bytes(plain[33:37], "big")
    assert plain[37:41] == b"IDAT"
    data = plain[41 : 41 + length]
    pieces = b"".join(chunk(b"IDAT", data[number : number + 1]) for number in range(length))
    pieces += chunk(b"IDAT", b"") * 20_000
    assert np.array_equal(decode(plain[:33] + pieces + plain[45 + length :]), by_pillow(plain))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_chunk_that_inflates_to_too_much_is_refused(kind: bytes) -> None:
    plain = encoded(part(8, 8), "PNG")
    head = b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0"
    bomb = chunk(kind, head + zlib.compress(bytes(2**26)))
    with pytest.raises(ImageError, match=r"^damaged PNG: Decompressed data too large for"):
        decode(plain[:33] + bomb + plain[33:])


@pytest.mark.parametrize("blocks", [[255] * 5000, [1] * 600_000])
def test_a_gif_whose_image_never_starts_is_refused(blocks: list[int]) -> None:
    data = encoded(part(8, 8).convert("L"), "GIF")
    start = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    long = b"\x21\xfe" + b"".join(bytes([count]) + b"c" * count for count in blocks) + b"\0"
    with pytest.raises(ImageError) as refused:
        decode(data[:start] + long + data[start:])
    assert str(refused.value) == "damaged GIF: no image within its first 1,048,576 bytes"
    short = b"\x21\xfe" + (b"\xff" + b"c" * 255) * 100 + b"\0"
    assert decode(data[:start] + short + data[start:] + bytes(2**20)).shape == (8, 8, 3)


def test_only_the_first_of_100000_frames_of_an_animation_is_read() -> None:
    first = encoded(Image.new("L", (8, 8), 7), "GIF")
    start = 13 + 3 * 2 ** ((first[10] & 7) + 1)
    data = first[:-1] + first[start:-1] * 100_000 + b";"
    assert probe(data) == ImageInfo("GIF", 8, 8, probe(first).mode)
    assert (decode(data) == 7).all()


def test_a_tiff_with_a_cycle_of_pages_decodes() -> None:
    data = bytearray(encoded(part(8, 8), "TIFF"))
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    assert np.array_equal(decode(bytes(data)), np.asarray(part(8, 8)))


@pytest.mark.parametrize("tag", [273, 278, 279])
@pytest.mark.parametrize("number", [0, 1, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate"])
def test_a_tiff_with_a_wrong_strip_tag_is_an_error_or_decodes(tag: int, number: int, compression: str) -> None:
    data = bytearray(encoded(part(40, 30), "TIFF", compression=compression))
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            for offset, value in ((4, number), (8, number)):
                lying = bytearray(data)
                struct.pack_into("<HI", lying, entry + 2, 4, 1)
                struct.pack_into("<I", lying, entry + offset, value)
                try:
                    assert decode(bytes(lying)).shape == (30, 40, 3)
                except ImageError as error:
                    assert str(error)  # noqa: PT017
