"""Changes to a valid file that keep its structure, so that they reach code that random bit flips never reach.

A change is a pure function of its random numbers, so a seed's name and a number are enough to reproduce it.
"""

import random
import re
from collections.abc import Callable, Sequence

_NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
_TEXTS = (
    b"0",
    b"-1",
    b"99999999999",
    b"777777777777",
    b"1e308",
    b"nan",
    b"",
    b"18446744073709551616",
    b"../../x",
    b"\0",
)
_DIGITS = re.compile(rb"\d+")
_NEAR = 24
"""Length and offset fields are within this distance after a border."""


def mutated(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    """The data after one to four changes. borders: where the parts of its structure begin."""
    for _ in range(random_.choice((1, 1, 1, 2, 3, 4))):
        data = random_.choice(_CHANGES)(random_, data, borders)
    return data


def _place(random_: random.Random, data: bytes, borders: Sequence[int]) -> int:
    """A random position, most often shortly after a border."""
    if borders and random_.random() < 0.7:
        return min(random_.choice(borders) + random_.randrange(_NEAR), max(len(data) - 1, 0))
    return random_.randrange(max(len(data), 1))


def _piece(random_: random.Random, data: bytes, borders: Sequence[int]) -> tuple[int, int]:
    """Start and end of a random part: from border to border, or anywhere."""
    places = [place for place in (0, *borders, len(data)) if place <= len(data)]
    if len(places) > 2 and random_.random() < 0.6:
        first, second = sorted(random_.sample(range(len(places)), 2))
        return places[first], places[second]
    begin = random_.randrange(len(data) + 1)
    return begin, min(len(data), begin + random_.choice((1, 4, 16, 64, 512, 4096)))


def _flip(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 8))):
        if changed:
            changed[_place(random_, data, borders)] ^= 1 << random_.randrange(8)
    return bytes(changed)


def _run(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    begin, length = _place(random_, data, borders), random_.choice((1, 2, 4, 8, 32, 256))
    length = min(length, len(data) - begin)
    filling: bytes = random_.choice((b"\0" * length, b"\xff" * length, random_.randbytes(length)))
    return data[:begin] + filling + data[begin + length :]


def _number(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    """Replace a number of 1 to 8 bytes by an extreme one, or by one near the length of the data."""
    begin, width = _place(random_, data, borders), random_.choice((1, 2, 2, 4, 4, 4, 8))
    value: int = random_.choice((*_NUMBERS, len(data), len(data) - 1, len(data) + 1, len(data) - begin))
    field: bytes = (value % 256**width).to_bytes(width, random_.choice(("little", "big")))
    return data[:begin] + field + data[begin + width :]


def _text(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    """Replace a number written in digits by another text, of the same or a different length."""
    found = list(_DIGITS.finditer(data[: 2**16]))
    if not found:
        return _number(random_, data, borders)
    digits, text = random_.choice(found), random_.choice(_TEXTS)
    if random_.random() < 0.5:
        text = text[: len(digits[0])].rjust(len(digits[0]), b"0")
    return data[: digits.start()] + text + data[digits.end() :]


def _truncated(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    return data[: _place(random_, data, borders)]


def _without(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    begin, end = _piece(random_, data, borders)
    return data[:begin] + data[end:]


def _repeated(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    begin, end = _piece(random_, data, borders)
    return data[:end] + data[begin:end] * random_.choice((1, 1, 2, 50)) + data[end:]


def _spliced(random_: random.Random, data: bytes, borders: Sequence[int]) -> bytes:
    """Copy a part to another place."""
    begin, end = _piece(random_, data, borders)
    to, _ = _piece(random_, data, borders)
    return data[:to] + data[begin:end] + data[to:]


_CHANGES: tuple[Callable[[random.Random, bytes, Sequence[int]], bytes], ...] = (
    _flip,
    _flip,
    _run,
    _number,
    _number,
    _number,
    _text,
    _truncated,
    _without,
    _repeated,
    _spliced,
)
