"""The bytes stored for a row, and the handling of bad images."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photos import array, by_pillow, dataset, encoded, photo

from tench.data.handled import POLICIES, Policy
from tench.data.images.encode import Encoding
from tench.data.images.image import ImageError, decode, decode_damaged
from tench.data.prepare.produce import stored
from tench.data.source import open_source
from tench.data.table import DAMAGED, PIXELS_CHW, PIXELS_HWC, Classes, Table
from tench.errors import TenchError

PHOTO = photo().resize((64, 48))
JPEG = encoded(PHOTO, quality=90)
CUT = JPEG[: len(JPEG) * 2 // 3]
PNG = encoded(PHOTO, "PNG")
SMALL = Encoding("png", max_side=32)
NO_IMAGE = b"<html>404 Not Found</html>"
CLASSES = Classes.of(["cat", "dog"])


def table(folder: Path, *images: bytes, **columns: int | str) -> Table:
    rows = [(f"cat/{number}.jpg", 0, data) for number, data in enumerate(images)]
    return dataset(folder, CLASSES, {"train": rows}, **columns).splits["train"]


def remedy(rows: Table, row: int, reason: str) -> str:
    return (
        f"{rows.place(row)}: {reason}.\nLeave it out with --bad skip, or decode it as far as possible with --bad fix. "
        f"'tench check SOURCE' names every bad image."
    )


@pytest.mark.parametrize("bad", POLICIES)
@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        PNG,
        encoded(PHOTO.convert("L")),
        encoded(PHOTO.convert("CMYK")),
        encoded(PHOTO, "GIF"),
        encoded(PHOTO, progressive=True) + b"trailing",
    ],
    ids=["JPEG", "PNG", "grey", "CMYK", "GIF", "progressive"],
)
def test_an_intact_image_keeps_its_bytes(tmp_path: Path, data: bytes, bad: Policy) -> None:
    assert stored(table(tmp_path, JPEG, data), 1, None, bad) == (data, "")


@pytest.mark.parametrize("data", [CUT, PNG[:-100]])
def test_fail_does_not_decode_images_that_keep_their_bytes(tmp_path: Path, data: bytes) -> None:
    assert stored(table(tmp_path, data), 0, None, "fail") == (data, "")


@pytest.mark.parametrize("data", [NO_IMAGE, b"root:x:0:0:root", b"Python", b"BM of a car", b"P5 is a road", b""])
def test_content_that_is_not_an_image_is_not_stored(tmp_path: Path, data: bytes) -> None:
    rows = table(tmp_path, JPEG, data)
    with pytest.raises(ImageError) as error:
        stored(rows, 1, None, "fail")
    assert str(error.value).startswith(f"{rows.place(1)}: ")
    assert str(error.value).endswith("'tench check SOURCE' names every bad image.")


@pytest.mark.parametrize("bad", POLICIES)
def test_an_image_is_re_encoded_from_the_pixels_that_pillow_decodes(tmp_path: Path, bad: Policy) -> None:
    for data in (JPEG, PNG, encoded(PHOTO.convert("CMYK"))):
        new, reason = stored(table(tmp_path, data), 0, Encoding("png"), bad)
        assert new is not None
        assert reason == ""
        np.testing.assert_array_equal(by_pillow(new), array(Image.open(io.BytesIO(data)).convert("RGB")))


BAD: dict[str, tuple[bytes, str]] = {
    "truncated JPEG": (CUT, "truncated JPEG: Premature end of JPEG file"),
    "empty": (b"", "empty (0 bytes)"),
    "no image": (NO_IMAGE, "not an image: starts with bytes b'<html>404 Not Fo', no known image format"),
    "truncated PNG": (PNG[:-500], "truncated PNG: image file is truncated"),
}


@pytest.mark.parametrize("kind", BAD)
def test_re_encoding_a_bad_image_is_an_error_with_file_and_remedy(tmp_path: Path, kind: str) -> None:
    data, reason = BAD[kind]
    rows = table(tmp_path, JPEG, data)
    with pytest.raises(ImageError) as caught:
        stored(rows, 1, SMALL, "fail")
    assert rows.place(1) == f"{tmp_path}/train.bin, bytes {len(JPEG)}-{len(JPEG) + len(data)} (cat/1.jpg)"
    assert str(caught.value) == remedy(rows, 1, reason)


@pytest.mark.parametrize("how", [None, SMALL], ids=["untouched", "re-encoded"])
@pytest.mark.parametrize("kind", BAD)
def test_skip_leaves_a_bad_image_out_with_its_reason(tmp_path: Path, kind: str, how: Encoding | None) -> None:
    data, reason = BAD[kind]
    new, told = stored(table(tmp_path, JPEG, data), 1, how, "skip")
    assert new is None
    assert told.startswith(reason)


@pytest.mark.parametrize("bad", ["skip", "fix"])
def test_a_file_above_the_size_limit_is_a_bad_image(tmp_path: Path, bad: Policy) -> None:
    (tmp_path / "cat").mkdir()
    with (tmp_path / "cat/huge.jpg").open("wb") as file:
        file.truncate(40 * 10**9)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/0.jpg").write_bytes(JPEG)
    made = open_source(tmp_path).splits["train"]
    reason = "too large: 40,000,000,000 bytes; the limit for one image is 1,073,741,824"
    assert stored(made, 0, None, bad) == (None, reason)
    with pytest.raises(ImageError) as error:
        stored(made, 0, None, "fail")
    assert error.value.args[0] == f"{made.place(0)}: {reason}."


@pytest.mark.parametrize("how", [None, SMALL], ids=["untouched", "re-encoded"])
@pytest.mark.parametrize("kind", ["empty", "no image", "truncated PNG"])
def test_only_jpegs_are_fixed_and_others_are_left_out(tmp_path: Path, kind: str, how: Encoding | None) -> None:
    data, reason = BAD[kind]
    new, told = stored(table(tmp_path, JPEG, data), 1, how, "fix")
    assert new is None
    assert told.startswith(reason)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_truncated_jpeg_is_fixed_with_its_remaining_pixels(tmp_path: Path, mode: str) -> None:
    whole = encoded(PHOTO.convert(mode), quality=90)
    cut = whole[: len(whole) * 2 // 3]
    channels = {"RGB": 3, "L": 1}[mode]
    new, reason = stored(table(tmp_path, cut), 0, Encoding("png"), "fix")
    assert new is not None
    assert reason == "truncated JPEG: Premature end of JPEG file"
    np.testing.assert_array_equal(by_pillow(new), decode_damaged(cut, channels))
    np.testing.assert_array_equal(by_pillow(new)[:15], by_pillow(whole)[:15])
    untouched, reason = stored(table(tmp_path, cut), 0, None, "fix")
    assert untouched is not None
    assert reason == "truncated JPEG: Premature end of JPEG file"
    image = Image.open(io.BytesIO(untouched))
    assert (image.format, image.mode, image.size) == ("JPEG", mode, (64, 48))
    assert np.abs(array(image).astype(int) - decode_damaged(cut, channels)).mean() < 2  # quality 95


def test_a_jpeg_whose_header_states_too_many_pixels_is_left_out(tmp_path: Path) -> None:
    frame = JPEG.index(b"\xff\xc0")
    huge = JPEG[: frame + 5] + struct.pack(">HH", 65000, 64000) + JPEG[frame + 9 :]
    new, reason = stored(table(tmp_path, huge), 0, None, "fix")
    assert new is None
    assert reason.startswith("too large: 65000 x 64000 pixels")


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO.convert("L")),
        encoded(PHOTO.convert("L"), "PNG"),
        encoded(PHOTO.convert("1"), "PNG"),
        encoded(PHOTO.convert("LA"), "PNG"),
        encoded(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16), "PNG"),
    ],
    ids=["JPEG", "PNG", "1 bit", "alpha", "16 bits"],
)
def test_grey_images_stay_grey_when_re_encoded(tmp_path: Path, data: bytes) -> None:
    new, _ = stored(table(tmp_path, data), 0, Encoding("png"), "fail")
    assert new is not None
    assert Image.open(io.BytesIO(new)).mode == "L"
    np.testing.assert_array_equal(by_pillow(new), decode(data, 1))


def test_colour_images_become_grey_on_request(tmp_path: Path) -> None:
    new, _ = stored(table(tmp_path, JPEG), 0, Encoding("png", grey=True), "fail")
    assert new is not None
    np.testing.assert_array_equal(by_pillow(new), array(Image.open(io.BytesIO(JPEG)).convert("L")))


@pytest.mark.parametrize("bad", POLICIES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("encoding", [PIXELS_HWC, PIXELS_CHW])
def test_raw_pixels_become_png_files_without_loss(tmp_path: Path, encoding: str, mode: str, bad: Policy) -> None:
    pixels = array(PHOTO.convert(mode))
    raw = (pixels if encoding == PIXELS_HWC else pixels.transpose(2, 0, 1)).tobytes()
    rows = table(tmp_path, raw, encoding=encoding, height=48, width=64, channels=pixels.shape[2])
    new, reason = stored(rows, 0, None, bad)
    assert new is not None
    assert reason == ""
    image = Image.open(io.BytesIO(new))
    assert (image.format, image.mode) == ("PNG", mode)
    np.testing.assert_array_equal(by_pillow(new), pixels)


def test_raw_pixels_of_the_wrong_size_are_an_error_or_left_out(tmp_path: Path) -> None:
    rows = table(tmp_path, bytes(99), encoding=PIXELS_HWC, height=4, width=8, channels=3)
    reason = "raw pixels: 99 bytes, expected 4 x 8 x 3 = 96"
    with pytest.raises(ImageError) as caught:
        stored(rows, 0, None, "fail")
    assert str(caught.value) == remedy(rows, 0, reason)
    assert stored(rows, 0, None, "skip") == (None, reason)
    assert stored(rows, 0, None, "fix") == (None, reason)


@pytest.mark.parametrize("bad", POLICIES)
def test_a_row_flagged_as_damaged_is_not_a_bad_image(tmp_path: Path, bad: Policy) -> None:
    rows = table(tmp_path, CUT).flagged(np.array([0]), DAMAGED)
    assert stored(rows, 0, None, bad) == (CUT, "")
    new, reason = stored(rows, 0, Encoding("png"), bad)
    assert new is not None
    assert reason == ""
    np.testing.assert_array_equal(by_pillow(new), decode_damaged(CUT))


@pytest.mark.parametrize("bad", POLICIES)
def test_an_image_that_the_format_cannot_hold_is_an_error_that_names_it(tmp_path: Path, bad: Policy) -> None:
    rows = table(tmp_path, encoded(Image.new("RGB", (16_384, 1)), "PNG"))
    with pytest.raises(TenchError) as caught:
        stored(rows, 0, Encoding("webp"), bad)
    assert str(caught.value) == (
        f"{rows.place(0)}: an image of 1 x 16384 pixels is too large for webp, whose sides are at most 16,383. Choose "
        "another --format, or a --max-side."
    )


@pytest.mark.parametrize("bad", POLICIES)
@pytest.mark.parametrize(
    ("damage", "told"), [(Path.unlink, "cannot be read"), (lambda path: path.write_bytes(JPEG[:99]), "ends after 99")]
)
def test_a_row_that_cannot_be_read_is_an_error_not_a_bad_image(
    tmp_path: Path, bad: Policy, damage: Callable[[Path], object], told: str
) -> None:
    rows = table(tmp_path, JPEG)
    damage(tmp_path / "train.bin")
    with pytest.raises(TenchError, match=told) as caught:
        stored(rows, 0, SMALL, bad)
    assert not isinstance(caught.value, ImageError)
