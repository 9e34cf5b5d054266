"""Restart markers out of order: if a JPEG decodes, any part of it equals that part of the whole image."""

from random import Random

import numpy as np
import pytest
from tests.data.photos import array, encoded, photo

from tench.data.images.addressable import cut, frame_of
from tench.data.images.encode import Encoding, encode
from tench.data.images.image import ImageError, decode, jpeg_header
from tench.data.images.picture import Jpeg

SIZES = [(120, 200), (64, 256), (200, 64), (97, 131)]
PHOTOS = [photo().crop((10 * n, 10 * n, 10 * n + width, 10 * n + height)) for n, (height, width) in enumerate(SIZES)]
JPEGS = [
    *(encode(array(image), Encoding()) for image in PHOTOS),
    *(encode(array(image.convert("L")), Encoding()) for image in PHOTOS),
    *(encoded(image, restart_marker_rows=1) for image in PHOTOS),
    *(encoded(image, restart_marker_blocks=3, subsampling=0) for image in PHOTOS),
    *(encoded(image) for image in PHOTOS),
]
OTHERS = [0x01, 0xC4, 0xD0, 0xD3, 0xD7, 0xD9, 0xDA, 0xDD, 0xFE, 0xFF]


def start_of(data: bytes | bytearray) -> int:
    """The position of the coded data, after the scan header."""
    return data.index(b"\xff\xda") + 14


def restarts(data: bytes | bytearray) -> list[int]:
    return [at for at in range(start_of(data), len(data) - 1) if data[at] == 0xFF and data[at + 1] & 0xF8 == 0xD0]


def mutated(data: bytes, random: Random) -> bytes:
    """A JPEG with markers renumbered, swapped, removed or inserted, or with damaged data."""
    new = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        places, anywhere = restarts(new), random.randrange(start_of(new), len(new) - 2)
        place = random.choice(places) if places else anywhere
        kind = random.randrange(9)
        if kind < 2 and places:
            new[place + 1] = 0xD0 + random.randrange(8)
        elif kind == 2 and places:
            other = random.choice(places)
            new[place + 1], new[other + 1] = new[other + 1], new[place + 1]
        elif kind == 3 and places:
            del new[place : place + 2]
        elif kind == 4:
            new[place:place] = bytes([0xFF, 0xD0 + random.randrange(8)])
        elif kind == 5:
            new[anywhere:anywhere] = bytes([0xFF, random.choice(OTHERS)])
        elif kind == 6:
            new[anywhere] ^= 1 << random.randrange(8)
        elif kind == 7:
            del new[anywhere : anywhere + random.randrange(30)]
        else:
            new += random.randbytes(random.randrange(40))
    return bytes(new)


def parts_match_the_whole(data: bytes, random: Random, channels: int = 3) -> bool:
    """Compare ten parts with the whole; False if the JPEG does not decode."""
    header = jpeg_header(data)
    if header is None:
        return False
    try:
        whole = decode(data, channels)
    except ImageError:
        return False
    picture = Jpeg(data, header.height, header.width, channels, header.mode == "L")
    for _ in range(10):
        height, width = random.randint(1, header.height), random.randint(1, header.width)
        top, left = random.randint(0, header.height - height), random.randint(0, header.width - width)
        part = picture.part(top, left, height, width)
        assert np.array_equal(part, whole[top : top + height, left : left + width])
    return True


@pytest.mark.parametrize("seed", range(8))
def test_a_part_of_a_mutated_jpeg_equals_that_part_of_the_whole(seed: int) -> None:
    random = Random(seed)
    num_decoded = 0
    for _ in range(100):
        data = mutated(random.choice(JPEGS), random)
        num_decoded += parts_match_the_whole(data, random, random.choice([1, 3]))
    assert num_decoded > 50


def test_segments_are_cut_out_only_if_their_markers_are_in_order() -> None:
    data = JPEGS[0]
    frame, places = frame_of(data), restarts(data)
    assert frame is not None
    assert len(places) == 7
    assert cut(data, frame, 0, 0, 10, 10) is not None
    for place in places:
        other = bytearray(data)
        other[place + 1] = 0xD0 + (data[place + 1] + 1) % 8
        assert cut(bytes(other), frame, 0, 0, 10, 10) is None
        assert parts_match_the_whole(bytes(other), Random(place))
    for marker in (0x01, 0xC4, 0xDA, 0xFE, 0xD9):
        other = bytearray(data)
        other[places[3] + 40 : places[3] + 40] = bytes([0xFF, marker])
        assert cut(bytes(other), frame, 0, 0, 10, 10) is None


def test_fill_bytes_before_a_marker_do_no_harm() -> None:
    data = JPEGS[0]
    place = restarts(data)[4]
    filled = data[:place] + b"\xff\xff" + data[place:]
    frame = frame_of(filled)
    assert frame is not None
    assert cut(filled, frame, 0, 0, 10, 10) is not None
    assert parts_match_the_whole(filled, Random(0))


def test_a_header_is_not_read_past_a_marker_without_a_length() -> None:
    """libjpeg skips the marker and reads the frame after it. Read as a length, it would lead to another frame."""
    data = JPEGS[0]
    for junk in (b"\xff\xd3", b"\xff\x01", b"\xff\xff"):
        assert frame_of(data[:2] + junk + data[2:]) is None
        assert parts_match_the_whole(data[:2] + junk + data[2:], Random(0))
