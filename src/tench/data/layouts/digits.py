"""scikit-learn's digits: 1,797 real images of handwritten digits, 8x8 pixels, that come with a dependency.

A first run uses them, because they need no download. scikit-learn stores them as numbers in a compressed text file, so
they are copied once into the cache as raw pixels (115 KB). They have no splits, so a fifth of each class, always the
same images, is held out as val.
"""

import logging
from pathlib import Path

import numpy as np

from tench.data.hold_out import held_out
from tench.data.table import PIXELS_HWC, Classes, Contents, Rows, numbered_keys
from tench.errors import UsageError
from tench.files import complete_file

NAME = "digits"

_VAL_FRACTION = 0.2
_MAX_VALUE = 16
"""Each value of an image is the number of dark pixels in a 4x4 square of the original scan."""

_log = logging.getLogger("tench")


def read(text: str, spool: Path) -> Contents:
    """The digits as splits train and val, with keys numbered in scikit-learn's order and values scaled to 0..255."""
    if text != NAME:
        raise UsageError(f"{text}: digits has no settings. Write {NAME}.")
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / _MAX_VALUE)).astype(np.uint8)  # (N, 8, 8)
    labels = digits.target.astype(np.int32)
    count, height, width = pixels.shape
    shard = spool.absolute() / "digits.pixels"
    _log.info("scikit-learn's %d digits: writing %.1f KB once to %s.", count, pixels.nbytes / 1e3, shard)
    with complete_file(shard) as part:
        part.write_bytes(pixels.tobytes())

    keys = numbered_keys(count)
    held = held_out(keys, labels, _VAL_FRACTION)
    splits = {}
    for name, rows in {"train": np.flatnonzero(~held), "val": np.flatnonzero(held)}.items():
        splits[name] = Rows(
            shards=[str(shard)],
            shard=np.zeros(len(rows), np.int32),
            offset=rows * (height * width),
            length=height * width,
            label=labels[rows],
            key=[keys[row] for row in rows],
            encoding=PIXELS_HWC,
            height=height,
            width=width,
            channels=1,
        )
    note = "scikit-learn's digits have no splits, so a fifth of each class is val."
    return Contents(Classes.of(list("0123456789")), splits, [str(shard)], [note])
