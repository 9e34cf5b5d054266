import io
import struct

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from tench.data.images.addressable import cut, frame_of, interval_of, is_addressable, without_bottom
from tench.data.images.image import Pixels

PHOTO: Pixels = load_sample_image("flower.jpg")  # 427 x 640


def photo(height: int, width: int, channels: int = 3) -> Image.Image:
    """A part of the photograph, which is tiled if it is too small."""
    lines, columns = np.arange(height) % 427, (100 + np.arange(width)) % 640
    image = Image.fromarray(PHOTO[lines[:, None], columns])
    return image if channels == 3 else image.convert("L")


def written(image: Image.Image, interval: int, **options: object) -> bytes:
    """A JPEG by Pillow with a restart marker after every `interval` units."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", restart_marker_blocks=interval, **options)
    return sink.getvalue()


def pixels_of(data: bytes | bytearray) -> Pixels:
    """The pixels that Pillow decodes. simplejpeg runs first, because it turns libjpeg's warnings into errors."""
    simplejpeg.decode_jpeg(data, "GRAY" if Image.open(io.BytesIO(data)).mode == "L" else "RGB")
    return np.asarray(Image.open(io.BytesIO(data)))


SUBSAMPLING = {"4:4:4": (8, 8), "4:2:2": (8, 16), "4:2:0": (16, 16)}


@settings(max_examples=150, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 150), st.integers(1, 330)),
    subsampling=st.sampled_from(list(SUBSAMPLING)),
    channels=st.sampled_from([1, 3]),
    segments=st.integers(1, 6),
    box=st.tuples(*[st.floats(0, 1)] * 4),
    progressive=st.booleans(),
    optimize=st.booleans(),
)
def test_the_pixels_of_a_box_equal_those_of_the_whole_image(
    sides: tuple[int, int],
    subsampling: str,
    channels: int,
    segments: int,
    box: tuple[float, float, float, float],
    progressive: bool,
    optimize: bool,
) -> None:
    height, width = sides
    unit = SUBSAMPLING[subsampling][1] if channels == 3 else 8
    line = -(-width // unit)
    interval = max(count for count in range(1, line + 1) if line % count == 0 and count <= max(line // segments, 1))
    data = written(
        photo(height, width, channels), interval, subsampling=subsampling, progressive=progressive, optimize=optimize
    )
    frame = frame_of(data)
    if progressive:
        assert frame is None
        return
    assert frame is not None
    assert (frame.height, frame.width, frame.interval) == (height, width, interval)
    top, left = int(box[0] * (height - 1)), int(box[1] * (width - 1))
    h, w = 1 + int(box[2] * (height - top - 1)), 1 + int(box[3] * (width - left - 1))
    part = cut(data, frame, top, left, h, w)
    assert part is not None
    found = pixels_of(part.data)
    assert found.shape[:2] == (part.height, part.width)
    inside = found[top - part.top :, left - part.left :][:h, :w]
    assert np.array_equal(inside, pixels_of(data)[top : top + h, left : left + w])


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 90),
    subsampling=st.sampled_from(list(SUBSAMPLING)),
    channels=st.sampled_from([1, 3]),
    place=st.floats(0, 1),
)
def test_pixels_above_a_line_do_not_need_the_data_below(
    height: int, width: int, subsampling: str, channels: int, place: float
) -> None:
    sink = io.BytesIO()
    photo(height, width, channels).save(sink, "JPEG", subsampling=subsampling)
    data = sink.getvalue()
    frame = frame_of(data)
    assert frame is not None
    end = 1 + int(place * (height - 1))
    part = without_bottom(data, frame, end)
    assert end <= part.height <= min(end + 1 + frame.unit_height, height)
    assert part.goes_on == (part.height < height)
    found = np.asarray(Image.open(io.BytesIO(part.data)))
    assert np.array_equal(found[:end], np.asarray(Image.open(io.BytesIO(data)))[:end])


def test_a_small_box_needs_a_small_part_of_the_data() -> None:
    data = written(photo(384, 512), interval_of(512, 16), quality=90)
    frame = frame_of(data)
    assert frame is not None
    part = cut(data, frame, 100, 200, 60, 60)
    assert part is not None
    assert (part.height, part.width) == (80, 128)
    assert len(part.data) < len(data) / 8


def test_opencvs_restart_interval_is_read_too() -> None:
    bgr = cv2.cvtColor(np.asarray(photo(200, 320)), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])
    frame = frame_of(bytes(data))
    assert frame is not None
    assert (frame.interval, frame.unit_height, frame.unit_width) == (4, 16, 16)


@pytest.mark.parametrize(
    ("width", "unit_width", "interval"),
    [(512, 16, 4), (500, 16, 4), (400, 16, 5), (336, 16, 3), (352, 16, 2), (464, 16, 29), (512, 8, 8), (500, 8, 9)],
)
def test_a_segment_is_about_64_pixels_or_a_whole_line(width: int, unit_width: int, interval: int) -> None:
    assert interval_of(width, unit_width) == interval


def test_a_jpeg_without_restart_markers_or_with_segments_that_cross_lines_is_not_addressable() -> None:
    plain = io.BytesIO()
    photo(100, 160).save(plain, "JPEG")
    frame = frame_of(plain.getvalue())
    assert frame is not None
    assert (frame.height, frame.width, frame.interval) == (100, 160, 0)
    assert not is_addressable(plain.getvalue())
    assert frame_of(written(photo(100, 160), 3)) is None
    assert frame_of(written(photo(100, 160), 20)) is None


def test_a_thumbnail_in_the_exif_data_is_not_taken_for_the_image() -> None:
    thumbnail = written(photo(32, 64), 2)
    exif = Image.Exif()
    exif[0x010E] = thumbnail.decode("latin-1")
    data = written(photo(100, 160), 5, exif=exif)
    frame = frame_of(data)
    assert frame is not None
    assert (frame.height, frame.width, frame.interval) == (100, 160, 5)


def test_data_with_missing_segments_is_not_cut() -> None:
    data = written(photo(100, 160), 5)
    frame = frame_of(data)
    assert frame is not None
    marker = data.index(b"\xff\xd3", frame.data_at)
    without = data[:marker] + data[marker + 2 :]
    assert cut(data[: len(data) // 2], frame, 0, 0, 10, 10) is None
    assert cut(without, frame, 0, 0, 10, 10) is None
    assert cut(data, frame, 0, 0, 10, 10) is not None


@settings(max_examples=300, deadline=None)
@given(at=st.integers(2, 640), byte=st.integers(0, 255), end=st.integers(2, 640))
def test_a_damaged_header_is_read_without_an_error(at: int, byte: int, end: int) -> None:
    data = bytearray(written(photo(40, 64), 2))
    data[at % len(data)] = byte
    for damaged in (bytes(data), bytes(data[:end])):
        frame = frame_of(damaged)
        if frame and frame.interval and frame.height > 20 and frame.width > 20:
            cut(damaged, frame, 0, 0, 20, 20)


def test_a_frame_of_twelve_bits_is_not_addressable() -> None:
    data = bytearray(written(photo(40, 64), 2))
    frame = frame_of(bytes(data))
    assert frame is not None
    struct.pack_into(">B", data, frame.size_at - 1, 12)
    assert frame_of(bytes(data)) is None
