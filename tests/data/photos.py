"""The two photographs that come with scikit-learn, and small datasets made of parts of them."""

import functools
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tench.data.table import Classes, Contents, Dataset, Rows, made

Pixels = npt.NDArray[np.uint8]


def photo_file(name: str = "china.jpg") -> Path:
    """The file of one of the photographs: china.jpg or flower.jpg."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets/images" / name


@functools.cache
def photo(name: str = "china.jpg") -> Image.Image:
    """One of the photographs, 640 x 427 pixels."""
    return Image.open(photo_file(name)).convert("RGB")


def part(width: int, height: int, number: int = 0, mode: str = "RGB") -> Image.Image:
    """A part of a photograph; each number gives a different part."""
    left, top = 7 * number % (640 - width), (60 + 5 * number) % (427 - height)
    return photo(("china.jpg", "flower.jpg")[number % 2]).crop((left, top, left + width, top + height)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def array(image: Image.Image) -> Pixels:
    """The pixels of an image: (H, W, 3) or (H, W, 1)."""
    return np.atleast_3d(np.asarray(image))


def by_pillow(data: bytes) -> Pixels:
    return array(Image.open(io.BytesIO(data)))


def dataset(
    folder: Path,
    classes: Classes,
    splits: Mapping[str, Sequence[tuple[str, int, bytes]]],
    **columns: Any,
) -> Dataset:
    """A dataset of (key, label, bytes) rows, with one file per split that contains their bytes back to back."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for split, images in splits.items():
        shard = folder / f"{split}.bin"
        shard.write_bytes(b"".join(data for _, _, data in images))
        lengths = np.array([len(data) for _, _, data in images], np.int64)
        rows[split] = Rows(
            shards=[str(shard)],
            shard=np.zeros(len(images), np.int32),
            offset=np.cumsum(lengths) - lengths,
            length=lengths,
            label=np.array([label for _, label, _ in images], np.int32),
            key=[key for key, _, _ in images],
            **columns,
        )
    return made(Contents(classes, rows, stamp=[]), source=str(folder), layout="made")
