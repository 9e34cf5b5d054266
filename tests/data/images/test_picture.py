import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photos import array, dataset, encoded, photo

from tench.data.images.encode import Encoding, encode
from tench.data.images.image import ImageError, decode
from tench.data.images.picture import Decoded, Jpeg, Picture, decode_row, open_picture
from tench.data.table import Classes, Table

PHOTO = photo()
BOXES = [(0, 0, 50, 60), (13, 27, 1, 1), (40, 100, 90, 77), (5, 0, 100, 120)]
FORMS = {
    "JPEG": encoded(PHOTO),
    "addressable": encode(array(PHOTO), Encoding()),
    "addressable grey": encode(array(PHOTO.convert("L")), Encoding()),
    "progressive": encoded(PHOTO, progressive=True),
    "grey": encoded(PHOTO.convert("L")),
    "CMYK": encoded(PHOTO.convert("CMYK")),
    "PNG": encoded(PHOTO, "PNG"),
    "PPM": encode(array(PHOTO), Encoding("pixels")),
    "PGM": encode(array(PHOTO.convert("L")), Encoding("pixels")),
}


def table_of(folder: Path, data: bytes) -> Table:
    return dataset(folder, Classes.of(["cat"]), {"train": [("cat/0.jpg", 0, data)]}).splits["train"]


def picture_of(folder: Path, data: bytes, channels: int) -> Picture:
    table = table_of(folder, data)
    return open_picture(table, 0, table.read(0), channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_part_equals_that_part_of_pillows_image(tmp_path: Path, form: str, channels: int) -> None:
    data = FORMS[form]
    picture = picture_of(tmp_path, data, channels)
    whole = array(Image.open(io.BytesIO(data)).convert("RGB").convert("RGB" if channels == 3 else "L"))
    assert (picture.height, picture.width) == whole.shape[:2]
    for top, left, height, width in [*BOXES, (0, 0, picture.height, picture.width)]:
        found = picture.part(top, left, height, width)
        assert np.array_equal(found, whole[top : top + height, left : left + width])


def test_a_jpeg_with_damage_below_the_requested_part_is_refused(tmp_path: Path) -> None:
    """libjpeg's warning about data that continues can be told from its warning about a truncated file."""
    for form in ("JPEG", "grey", "addressable"):
        for cut_off in (2, 20, 3000, 20000):
            picture = picture_of(tmp_path / f"{form} {cut_off}", FORMS[form][:-cut_off], 3)
            with pytest.raises(ImageError, match="truncated JPEG"):
                picture.part(0, 0, 40, 40)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    for form in ("JPEG", "addressable"):
        whole = picture_of(tmp_path / form, FORMS[form], 3).part(0, 0, 60, 70)
        for behind in (b"more", FORMS["grey"], b"\xff" * 100):
            picture = picture_of(tmp_path / f"{form} {len(behind)}", FORMS[form] + behind, 3)
            assert np.array_equal(picture.part(0, 0, 60, 70), whole)


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("form", ["JPEG", "addressable", "addressable grey", "progressive"])
def test_a_part_is_decoded_smaller_if_that_is_enough(tmp_path: Path, form: str, by: int) -> None:
    picture = picture_of(tmp_path, FORMS[form], 3)
    top, left, side = 8, 16, 96
    found = picture.part(top, left, side, side, enough=side // by)
    assert found.shape == (side // by, side // by, 3)
    whole = picture.part(top, left, side, side)
    averaged = whole.reshape(side // by, by, side // by, by, 3).mean(axis=(1, 3))
    assert np.abs(found - averaged).mean() < 4
    assert picture.part(top, left, side, side, enough=side // by + 1).shape[0] == side // (by // 2 or 1)


def test_a_part_less_than_twice_as_large_as_enough_is_decoded_at_full_size(tmp_path: Path) -> None:
    picture = picture_of(tmp_path, FORMS["JPEG"], 3)
    assert picture.part(0, 0, 99, 120, enough=50).shape == (99, 120, 3)


def test_fast_arithmetic_gives_nearly_the_same_pixels(tmp_path: Path) -> None:
    picture = picture_of(tmp_path, FORMS["JPEG"], 3)
    exact, fast = (picture.part(0, 0, 100, 100, fast=fast).astype(int) for fast in (False, True))
    assert 0 < np.abs(exact - fast).mean() < 2


def test_the_pixels_of_a_ppm_are_not_copied(tmp_path: Path) -> None:
    picture = picture_of(tmp_path, FORMS["PPM"], 3)
    assert isinstance(picture, Decoded)
    assert not picture.pixels.flags.owndata
    assert not picture.pixels.flags.writeable


def test_a_ppm_with_trailing_data_or_a_comment_is_left_to_pillow() -> None:
    data = FORMS["PPM"]
    assert np.array_equal(decode(data.replace(b"P6\n", b"P6\n# by hand\n", 1)), decode(data))
    assert np.array_equal(decode(data + b"more"), decode(data))
    with pytest.raises(ImageError, match="truncated"):
        decode(data[:-1])


@pytest.mark.parametrize("form", ["JPEG", "addressable"])
def test_a_damaged_jpeg_is_an_error_when_its_pixels_are_read(tmp_path: Path, form: str) -> None:
    cut_off = FORMS[form][: len(FORMS[form]) * 2 // 3]
    picture = picture_of(tmp_path, cut_off, 3)
    assert isinstance(picture, Jpeg)
    for top, left, height, width in BOXES:
        with pytest.raises(ImageError, match="truncated JPEG"):
            picture.part(top, left, height, width)


def test_the_error_of_a_row_names_its_file_and_the_next_step(tmp_path: Path) -> None:
    table = table_of(tmp_path, FORMS["JPEG"][:-300])
    with pytest.raises(ImageError) as error:
        decode_row(table, 0, 3)
    assert str(error.value).startswith(f"{table.place(0)}: truncated JPEG")
    assert "This is row 0, stage decode. 'tench check SOURCE'" in str(error.value)


def test_a_jpeg_of_twelve_bits_is_refused_with_the_reason(tmp_path: Path) -> None:
    data = bytearray(FORMS["JPEG"])
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="JPEG with 12 bits per sample, which Pillow does not decode"):
        decode_row(table_of(tmp_path, bytes(data)), 0, 3)
