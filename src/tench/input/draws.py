"""Random numbers that are a pure function of (seed, epoch, row).

A counter-based generator has no state to keep, share or save: an image's augmentation in an epoch is the same in any
thread, in any order, and after any resume. It works on arrays, so a batch costs one call.

Source: Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

import enum
import statistics
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_NORMAL = statistics.NormalDist()

UintArray = npt.NDArray[np.uint64]


class Stream(enum.IntEnum):
    """The purpose of random numbers: those of each purpose are independent of the others. Never renumber these."""

    VIEW = 0
    ERASING = 1
    MIX_OF_IMAGE = 2
    MIX_OF_BATCH = 3
    """Drawn for the step instead of a row."""


def philox(counter: tuple[UintArray, UintArray, UintArray, UintArray], key: tuple[int, int]) -> UintArray:
    """Philox4x32-10. counter: four arrays of one shape (32-bit values). Returns shape + (4,), 32-bit values."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]  # 32 x 32 bits fit in 64
        c0, c1, c2, c3 = (
            (second >> _HIGH) ^ c1 ^ np.uint64(k0),
            second & _LOW,
            (first >> _HIGH) ^ c3 ^ np.uint64(k1),
            first & _LOW,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


def uniforms(
    seed: int, epoch: int, rows: npt.NDArray[np.integer[Any]], count: int, stream: Stream = Stream.VIEW
) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1) for each row: (len(rows), count) float64.

    The first numbers of a row do not depend on the count, up to 2**26.
    """
    blocks = -(-count // 4)
    row = np.asarray(rows, dtype=np.uint64)[:, None]
    block = np.arange(blocks, dtype=np.uint64)[None, :] + np.uint64(stream << 24)
    shape = np.broadcast_shapes(row.shape, block.shape)
    counter = (
        np.broadcast_to(row & _LOW, shape),
        np.broadcast_to(row >> _HIGH, shape),
        np.broadcast_to(block, shape),
        np.full(shape, seed >> 32 & 0xFFFFFFFF, dtype=np.uint64),
    )
    bits = philox(counter, (seed & 0xFFFFFFFF, epoch & 0xFFFFFFFF))
    return bits.reshape(len(rows), blocks * 4)[:, :count].astype(np.float64) * 2.0**-32


def normal(uniform: float) -> float:
    """The quantile of the standard normal distribution for a uniform number in [0, 1).

    uniform: a multiple of 2^-32, as from `uniforms`; the middle of its step is used, so 0 has a quantile too.
    """
    return _NORMAL.inv_cdf(uniform + 2.0**-33)
