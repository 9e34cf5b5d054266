"""Pixels to bytes. The oracles: Pillow decodes what was stored, and simplejpeg reads the headers."""

import io
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.data.photos import Pixels, array, by_pillow, part

from tench.data.images.encode import Encoding, Format, encode, size_of
from tench.errors import UsageError

PHOTO = array(part(61, 40))
GREY = array(part(61, 40, mode="L"))
FORMATS: tuple[Format, ...] = get_args(Format)
SIDES = st.integers(1, 5000)
SIZES = st.integers(8, 1000)

Kind = Literal["short_side", "max_side", "square"]


def with_size(kind: Kind, size: int, **more: Any) -> Encoding:
    return Encoding(**{kind: size, **more})


def mean_distance(one: Pixels, other: Pixels) -> float:
    """The mean absolute difference of the pixel values, 0 to 255."""
    assert one.shape == other.shape
    distances: npt.NDArray[np.int16] = np.abs(one.astype(np.int16) - other.astype(np.int16))
    return float(distances.mean())


@given(height=SIDES, width=SIDES)
def test_without_a_size_option_an_image_keeps_its_size(height: int, width: int) -> None:
    assert size_of(height, width, Encoding()) == (height, width)


@given(height=SIDES, width=SIDES, size=SIZES)
def test_an_enlarged_short_side_gives_the_size_that_im2rec_gives(height: int, width: int, size: int) -> None:
    """MXNet's tools/im2rec.py: newsize = (resize, img.shape[0] * resize // img.shape[1]), as (width, height)."""
    theirs = (size, height * size // width) if height > width else (width * size // height, size)
    assert size_of(height, width, Encoding(short_side=size, enlarge=True)) == theirs[::-1]


@given(height=SIDES, width=SIDES, size=SIZES)
def test_a_short_side_is_shrunk_as_by_im2rec_and_never_enlarged(height: int, width: int, size: int) -> None:
    found = size_of(height, width, Encoding(short_side=size))
    if min(height, width) <= size:
        assert found == (height, width)
    else:
        assert found == size_of(height, width, Encoding(short_side=size, enlarge=True))
        assert min(found) == size


@given(height=SIDES, width=SIDES, size=SIZES)
def test_a_longer_side_is_shrunk_and_never_enlarged(height: int, width: int, size: int) -> None:
    found = size_of(height, width, Encoding(max_side=size))
    if max(height, width) <= size:
        assert found == (height, width)
    else:
        assert max(found) == size
        assert min(found) == max(1, min(height, width) * size // max(height, width))
        assert (found[0] <= found[1]) == (height <= width) or found[0] == found[1]


@pytest.mark.parametrize(
    ("height", "width", "how", "expected"),
    [
        (375, 500, Encoding(short_side=256), (256, 341)),
        (500, 375, Encoding(short_side=256), (341, 256)),
        (375, 500, Encoding(max_side=256), (192, 256)),
        (500, 333, Encoding(max_side=256), (256, 170)),
        (200, 100, Encoding(short_side=256), (200, 100)),
        (200, 100, Encoding(short_side=256, enlarge=True), (512, 256)),
        (200, 100, Encoding(max_side=256), (200, 100)),
        (20, 100, Encoding(square=64), (64, 64)),
        (1, 4000, Encoding(max_side=8), (1, 8)),
        (256, 256, Encoding(short_side=256), (256, 256)),
    ],
)
def test_common_images_have_the_expected_sizes(
    height: int, width: int, how: Encoding, expected: tuple[int, int]
) -> None:
    assert size_of(height, width, how) == expected


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(8, 50), enlarge=st.booleans())
def test_a_stored_image_has_the_size_that_size_of_returns(height: int, width: int, size: int, enlarge: bool) -> None:
    pixels = array(part(width, height))
    hows = [Encoding("pixels", square=size), Encoding("pixels", short_side=size, enlarge=enlarge)]
    for how in [*hows, Encoding("pixels", max_side=size)]:
        stored = by_pillow(encode(pixels, how))
        assert stored.shape == (*size_of(height, width, how), 3)


@pytest.mark.parametrize("kind", ["short_side", "max_side", "square"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_halving_the_size_averages_each_block_of_four_pixels(kind: Kind, mode: str) -> None:
    pixels = array(part(48, 48, mode=mode))
    stored = by_pillow(encode(pixels, with_size(kind, 24, format="png")))
    means = pixels.reshape(24, 2, 24, 2, -1).mean(axis=(1, 3))
    assert np.abs(stored - means).max() <= 0.5


@pytest.mark.parametrize("shape", [(1, 60), (60, 1)])
def test_an_image_of_one_row_is_averaged_too(shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels.reshape(60, 3)[::6] = 240
    stored = by_pillow(encode(pixels, Encoding("png", max_side=10)))
    assert stored.reshape(10, 3).tolist() == [[40, 40, 40]] * 10


def test_bilinear_uses_only_the_nearest_pixels() -> None:
    pixels = np.zeros((80, 80, 1), np.uint8)
    pixels[::8] = 255  # bilinear uses the fourth and fifth of every eight rows
    assert by_pillow(encode(pixels, Encoding("png", square=10, interpolation="bilinear"))).max() == 0
    assert by_pillow(encode(pixels, Encoding("png", square=10))).min() == 32


def test_an_enlarged_image_is_interpolated_bilinearly() -> None:
    stored = by_pillow(encode(PHOTO, Encoding("png", short_side=80, enlarge=True)))
    theirs = array(part(61, 40).resize((122, 80), Image.Resampling.BILINEAR))
    assert mean_distance(stored, theirs) < 0.3


@pytest.mark.parametrize(("width", "height"), [(61, 40), (40, 61), (40, 40), (9, 8)])
def test_a_square_is_the_centre_that_pillow_cuts(width: int, height: int) -> None:
    image, side = part(width, height), min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    centre = array(image.crop((left, top, left + side, top + side)))
    stored = by_pillow(encode(array(image), Encoding("png", square=side)))
    np.testing.assert_array_equal(stored, centre)


@pytest.mark.parametrize("pixels", [PHOTO, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize(("format_", "theirs"), [("png", "PNG"), ("pixels", "PPM")])
def test_png_and_raw_pixels_are_lossless(format_: Format, theirs: str, pixels: Pixels) -> None:
    data = encode(pixels, Encoding(format_))
    assert Image.open(io.BytesIO(data)).format == theirs
    np.testing.assert_array_equal(by_pillow(data), pixels)


@pytest.mark.parametrize(("format_", "theirs"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_jpeg_and_webp_are_close_to_the_original_and_closer_at_higher_quality(format_: Format, theirs: str) -> None:
    stored = {quality: encode(PHOTO, Encoding(format_, quality)) for quality in (10, 90, 100)}
    assert {Image.open(io.BytesIO(data)).format for data in stored.values()} == {theirs}
    distance = {quality: mean_distance(by_pillow(data), PHOTO) for quality, data in stored.items()}
    assert distance[10] > distance[90] > distance[100]
    assert distance[90] < 1
    assert distance[10] < 5
    assert len(stored[10]) < len(stored[90]) < len(stored[100])


def test_a_jpeg_matches_pillows_at_the_same_quality() -> None:
    theirs = io.BytesIO()
    Image.fromarray(PHOTO).save(theirs, "JPEG", quality=75, subsampling="4:2:0")
    assert mean_distance(by_pillow(encode(PHOTO, Encoding(quality=75))), by_pillow(theirs.getvalue())) < 0.5


def test_a_jpeg_has_colour_at_half_resolution_and_a_grey_jpeg_has_none() -> None:
    assert simplejpeg.decode_jpeg_header(encode(PHOTO, Encoding())) == (40, 61, "YCbCr", "420")
    assert simplejpeg.decode_jpeg_header(encode(GREY, Encoding())) == (40, 61, "Gray", "Gray")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [0, 16])
def test_grey_stays_grey(format_: Format, size: int) -> None:
    image = Image.open(io.BytesIO(encode(GREY, Encoding(format_, max_side=size))))
    if format_ == "webp":  # WebP has no grey mode: three channels, equal up to compression loss
        channels = array(image).astype(int)
        assert np.ptp(channels, axis=2).max() <= 2
    else:
        assert image.mode == "L"


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_pixels_give_the_same_bytes_for_any_memory_layout(format_: Format) -> None:
    how = Encoding(format_, square=24)
    turned = np.asfortranarray(PHOTO)
    padded = np.zeros((40, 80, 3), np.uint8)[:, :61]
    padded[:] = PHOTO
    assert encode(PHOTO, how) == encode(PHOTO.copy(), how) == encode(turned, how) == encode(padded, how)
    assert encode(PHOTO, Encoding(format_)) == encode(turned, Encoding(format_)) == encode(padded, Encoding(format_))


@pytest.mark.parametrize(
    ("format_", "limit", "side"), [("jpeg", "65,500", 65_501), ("webp", "16,383", 16_384), ("webp", "16,383", 30_000)]
)
def test_an_image_that_a_format_cannot_hold_is_an_error(format_: Format, limit: str, side: int) -> None:
    for shape, told in (((1, side, 3), f"1 x {side}"), ((side, 1, 3), f"{side} x 1")):
        with pytest.raises(ValueError, match="too large") as caught:
            encode(np.zeros(shape, np.uint8), Encoding(format_))
        assert str(caught.value) == (
            f"an image of {told} pixels is too large for {format_}, whose sides are at most {limit}. Choose another "
            "--format, or a --max-side"
        )
    assert encode(np.zeros((1, side, 3), np.uint8), Encoding(format_, max_side=8))
    assert encode(np.zeros((1, side, 3), np.uint8), Encoding("png"))


@pytest.mark.parametrize("format_", ["png", "pixels"])
def test_an_image_that_would_be_too_large_to_decode_is_an_error_before_it_is_resized(format_: Format) -> None:
    with pytest.raises(ValueError, match="too large") as caught:
        encode(np.zeros((1, 60_000, 1), np.uint8), Encoding(format_, short_side=16_000, enlarge=True))
    assert str(caught.value) == (
        "an image of 16000 x 960000000 pixels is too large to be decoded again; the limit is 178,956,970 in total. "
        "Choose a --max-side"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"short_side": 256, "square": 224}, "--short-side and --square both set the size. Give only one of them."),
        (
            {"short_side": 256, "max_side": 512, "square": 9},
            "--short-side and --max-side and --square both set the size. Give only one of them.",
        ),
        ({"short_side": 7}, "--short-side must be 8 to 65,500 pixels, got 7."),
        ({"max_side": -1}, "--max-side must be 8 to 65,500 pixels, got -1."),
        ({"square": 65_501}, "--square must be 8 to 65,500 pixels, got 65501."),
        ({"square": 16_384, "format": "webp"}, "--square must be 8 to 16,383 pixels, got 16384."),
        ({"max_side": 65_536, "format": "png"}, "--max-side must be 8 to 65,535 pixels, got 65536."),
        ({"quality": 0}, "--quality must be 1 to 100, got 0."),
        ({"quality": 101}, "--quality must be 1 to 100, got 101."),
        ({"enlarge": True}, "--enlarge requires --short-side."),
        ({"enlarge": True, "max_side": 100}, "--enlarge requires --short-side."),
    ],
)
def test_invalid_options_are_named_with_their_values(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Encoding(**options)
    assert str(caught.value) == text


def test_limits_of_options_are_inclusive() -> None:
    for options in (
        {"quality": 1},
        {"quality": 100},
        {"square": 8},
        {"short_side": 65_500, "format": "jpeg"},
        {"short_side": 65_535, "format": "png"},
    ):
        assert Encoding(**options)
    assert Encoding("webp", max_side=16_383)


@pytest.mark.parametrize(("format_", "side"), [("jpeg", 65_500), ("webp", 16_383)])
def test_an_image_of_the_largest_side_is_stored(format_: Format, side: int) -> None:
    assert by_pillow(encode(np.zeros((1, side, 3), np.uint8), Encoding(format_))).shape == (1, side, 3)
