"""Generated images in any number and size, to measure speed and to try things without data.

A few hundred different images are generated and cached; rows share them, so a million rows take no more disk space than
a thousand. Each class has its own picture, a few large patches of colour; an image is that picture with different
brightness and noise. A network can learn them, but its accuracy says nothing about real images. The noise is equally
strong at all scales, as in photographs, so a JPEG (quality 90) of at least 200x200 pixels has about half a byte per
pixel. That matters because the time to decode it depends on its bytes as well as on its pixels.
"""

import dataclasses
import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tench.data.table import FILE, PIXELS_HWC, Classes, Contents, Rows, numbered_keys
from tench.errors import UsageError, nearest
from tench.files import complete_file

NAME = "synthetic"

_MAX_DIFFERENT = 256
"""Images generated for each split. With more classes than that, several classes share the same image."""
_MAX_SIDE = 8192
"""Pixels. Generating a larger image would take gigabytes of memory."""
_MAX_IMAGES = 10**8
_MAX_CLASSES = 10**6

_QUALITY = 90
"""JPEG quality."""
_NOISE = 11
"""Noise at each scale, out of 255, chosen for JPEGs of ordinary size."""

Pixels = npt.NDArray[np.uint8]

_log = logging.getLogger("tench")


def read(spec: str, spool: Path) -> Contents:
    """The images described by a text such as "synthetic:images=1000,size=224x160", as splits train and val.

    Defaults: images=1000, size=224, classes=10, val=100, format=jpeg, channels=3. val=0: no split val. Row i of a split
    has label i % classes. The same text gives the same images. Raises UsageError for anything else in the text.
    """
    wanted = _parse(spec)
    splits: dict[str, Rows] = {}
    stamp: list[str] = []
    for split, num_rows in {"train": wanted.images, "val": wanted.val}.items():
        if num_rows:
            splits[split] = _rows(wanted, split, num_rows, spool)
            stamp += splits[split].shards
    notes = ["These images are generated, so accuracies on them mean nothing."]
    if wanted.classes > _MAX_DIFFERENT:
        notes.append(
            f"Only {_MAX_DIFFERENT} different images exist, so the {wanted.classes:,} classes cannot be learned."
        )
    return Contents(Classes.numbered_to(wanted.classes), splits, stamp, notes)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    images: int = 1000
    size: tuple[int, int] = (224, 224)
    classes: int = 10
    val: int = 100
    format: str = "jpeg"
    channels: int = 3


def _parse(spec: str) -> _Wanted:
    name, _, rest = spec.partition(":")
    if name != NAME:
        raise ValueError(f"{spec!r} does not begin with {NAME!r}")
    known = [field.name for field in dataclasses.fields(_Wanted)]
    given: dict[str, str] = {}
    for part in rest.split(",") if rest else []:
        key, equals, value = (text.strip() for text in part.partition("="))
        if key not in known:
            raise UsageError(
                f"{spec}: there is no setting {key!r}.{nearest(key, known)} Known: {', '.join(known)}, as in "
                "synthetic:images=1000,size=224."
            )
        if not equals or not value:
            raise UsageError(f"{spec}: {key} has no value; write {key}={_example(key)}.")
        if key in given:
            raise UsageError(f"{spec}: {key} is given twice, as {given[key]} and {value}. Keep one of them.")
        given[key] = value

    def number(key: str, least: int, most: int) -> int:
        return _number(spec, key, given[key], least, most) if key in given else int(getattr(_Wanted, key))

    size = _Wanted.size
    if "size" in given:
        sides = [_number(spec, "size", side, 1, _MAX_SIDE) for side in given["size"].lower().split("x")]
        if len(sides) > 2:
            raise UsageError(f"{spec}: size={given['size']} has {len(sides)} sides; write size=224 or size=224x160.")
        size = (sides[0], sides[-1])
    for key, choices in {"format": ("jpeg", "pixels"), "channels": ("1", "3")}.items():
        if key in given and given[key] not in choices:
            raise UsageError(f"{spec}: {key} must be {' or '.join(choices)}, got {given[key]!r}.")
    return _Wanted(
        images=number("images", 1, _MAX_IMAGES),
        size=size,
        classes=number("classes", 1, _MAX_CLASSES),
        val=number("val", 0, _MAX_IMAGES),
        format=given.get("format", _Wanted.format),
        channels=number("channels", 1, 3),
    )


def _number(spec: str, key: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19 and least <= int(value) <= most):
        raise UsageError(f"{spec}: {key} must be a whole number from {least} to {most:,}, got {value!r}.")
    return int(value)


def _example(key: str) -> str:
    value = getattr(_Wanted, key)
    return str(value[0]) if key == "size" else str(value)


def _rows(wanted: _Wanted, split: str, num_rows: int, spool: Path) -> Rows:
    """Write the different images of a split to one file in the cache; row i has image i modulo their number."""
    # A multiple of the number of classes if possible, so that all rows with the same image have the same label.
    num_different = max(_MAX_DIFFERENT // wanted.classes, 1) * wanted.classes
    num_different = min(num_different, num_rows, _MAX_DIFFERENT)
    height, width = wanted.size
    encode: Callable[[Pixels], bytes] = _jpeg if wanted.format == "jpeg" else np.ndarray.tobytes
    bytes_per_image = height * width * (0.5 if wanted.format == "jpeg" else wanted.channels)
    shard = spool.absolute() / f"{split}.{wanted.format}"
    size = f"about {num_different * bytes_per_image / 1e6:,.1f} MB"
    _log.info("Generating %d images for split %s: writing %s once to %s.", num_different, split, size, shard)
    lengths = np.zeros(num_different, np.int64)
    with complete_file(shard) as part, part.open("wb") as sink:
        for index in range(num_different):
            image = _image(wanted, index % wanted.classes, (0 if split == "train" else 1, index))
            lengths[index] = sink.write(encode(image))
    which = np.arange(num_rows) % num_different
    return Rows(
        shards=[str(shard)],
        shard=np.zeros(num_rows, np.int32),
        offset=(np.cumsum(lengths) - lengths)[which],
        length=lengths[which],
        label=(np.arange(num_rows) % wanted.classes).astype(np.int32),
        key=numbered_keys(num_rows),
        encoding=FILE if wanted.format == "jpeg" else PIXELS_HWC,
        height=height,
        width=width,
        channels=wanted.channels,
    )


def _image(wanted: _Wanted, label: int, seed: tuple[int, int]) -> Pixels:
    """(height, width, channels): the class's picture with this image's own brightness, contrast and noise."""
    picture = np.random.default_rng([0, label]).uniform(-1, 1, (4, 4, wanted.channels))
    random = np.random.default_rng([1, *seed])
    image = 50 * random.uniform(0.6, 1.2) * _enlarged(picture, wanted.size) + random.uniform(-20, 20) + 128
    cells = 8
    while cells < 2 * max(wanted.size):  # grey noise, from large blots to single pixels
        grid = random.standard_normal((*(min(cells, side) for side in wanted.size), 1))
        image += _NOISE * _enlarged(grid, wanted.size)
        cells *= 2
    return image.clip(0, 255).astype(np.uint8)


def _enlarged(grid: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(h, w, channels), smoothly enlarged to (height, width, channels)."""
    import cv2

    height, width = size
    enlarged = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.float32).reshape(height, width, grid.shape[2])


def _jpeg(image: Pixels) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
