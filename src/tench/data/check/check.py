"""Decode every image of a dataset once, and list bad, unusual and duplicate images.

It reads with the same functions as training, so an image that passes here decodes there. A bad image never stops the
check. Memory grows by 24 bytes per image (40 with near duplicates), plus the lists of bad and unusual images.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tench.data.check import containers, duplicates, known
from tench.data.check.containers import Damaged
from tench.data.check.duplicates import KEPT_BYTES, Group
from tench.data.images.image import (
    GREY_MODES,
    ImageInfo,
    decode_as,
    decode_damaged,
    format_of_name,
    num_trailing_bytes,
    probe,
)
from tench.data.table import FILE, Dataset, Table
from tench.errors import PassingError, TenchError
from tench.parallel import in_order

ODD = {
    "rotated": "EXIF asks for rotation or mirroring; --exif decides whether it is applied",
    "grey": "one channel, read as three equal channels",
    "cmyk": "four printing colours, converted to RGB without a profile",
    "misnamed": "the extension does not match the format of the content",
    "tiny": "a side below 8 pixels",
    "huge": "more than 16 million pixels, slow to decode",
    "trailing": "bytes after the end of the image, which decoders ignore",
    "suspect": "a damaged JPEG that still decodes; its pixels may be wrong",
}
"""Oddities of images that decode, and how each is treated. Raw pixels are only checked for size."""

MAX_EXAMPLES = 5
_TINY_PIXELS, _HUGE_PIXELS = 8, 16_000_000
_ROWS_PER_TASK = 32


@dataclasses.dataclass(frozen=True)
class Bad:
    """An image that cannot be decoded. fixable: it is a JPEG that can be decoded in part."""

    split: str
    key: str
    file: str
    reason: str
    fixable: bool


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that could not be read this time (permission, network disk, memory): whether it is bad is unknown."""

    split: str
    key: str
    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class OddImage:
    """An unusual image. kinds: keys of ODD, each with a detail: {"grey": "", "trailing": "12 bytes"}."""

    split: str
    key: str
    file: str
    kinds: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Odd:
    """How many images are unusual in one way, and the first few of them: "train/a.jpg", "train/b.jpg (12 bytes)"."""

    count: int
    examples: tuple[str, ...]


def _example(image: OddImage, kind: str) -> str:
    return f"{image.split}/{image.key}" + (f" ({image.kinds[kind]})" if image.kinds[kind] else "")


@dataclasses.dataclass(frozen=True)
class Sides:
    """Smallest, median and largest height or width, in pixels."""

    min: int
    median: float
    max: int


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of a check, in the order of splits and rows.

    images: number checked, including bad and unreadable ones. height, width: of the images that decode; None if none
    does. duplicates: images with the same content. near: images that look alike; None if the check did not look for
    them. damaged, checksums, unreadable_files: see `containers.verify`. known: see `known.sentences`.

    >>> report = tench.check("digits")
    >>> report.images, len(report.bad), report.height.max, sorted(report.odd)
    (1797, 0, 8, [])
    """

    images: int
    bad: tuple[Bad, ...]
    odd_images: tuple[OddImage, ...]
    height: Sides | None
    width: Sides | None
    duplicates: tuple[Group, ...] = ()
    near: tuple[Group, ...] | None = None
    damaged: tuple[Damaged, ...] = ()
    checksums: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    unreadable_files: tuple[Damaged, ...] = ()

    @property
    def stops_training(self) -> bool:
        """Whether training would stop at an image, or at data that has changed since it was written."""
        return bool(self.bad or self.damaged or self.unreadable or self.unreadable_files)

    @property
    def odd(self) -> dict[str, Odd]:
        """The kinds of ODD that occur."""
        found = {}
        for kind in ODD:
            odd = [image for image in self.odd_images if kind in image.kinds]
            if odd:
                found[kind] = Odd(len(odd), tuple(_example(image, kind) for image in odd[:MAX_EXAMPLES]))
        return found

    def to_json(self) -> dict[str, Any]:
        """What `tench check --json` prints."""
        return {
            "images": self.images,
            "known": list(self.known),
            "checksums": list(self.checksums),
            "damaged": [dataclasses.asdict(damaged) for damaged in self.damaged],
            "bad": [dataclasses.asdict(bad) for bad in self.bad],
            "unreadable": [
                *(dataclasses.asdict(image) for image in self.unreadable),
                *(dataclasses.asdict(file) for file in self.unreadable_files),
            ],
            "odd": {
                kind: {"count": odd.count, "meaning": ODD[kind], "examples": list(odd.examples)}
                for kind, odd in self.odd.items()
            },
            "odd_images": [dataclasses.asdict(image) for image in self.odd_images],
            "duplicates": [group.to_json() for group in self.duplicates],
            "near_duplicates": None if self.near is None else [group.to_json() for group in self.near],
            "height": dataclasses.asdict(self.height) if self.height else None,
            "width": dataclasses.asdict(self.width) if self.width else None,
        }


def check(
    dataset: Dataset, *, threads: int, near: bool = False, progress: Callable[[int], None] | None = None
) -> Report:
    """Verify the dataset's files and decode every image of every split once.

    threads: how many images are decoded at a time. near: also look for near duplicates. progress: called in this thread
    with the number of images checked since the last call; the calls add up to all images. The report does not depend on
    the number of threads.
    """
    files = containers.verify(dataset.stamp, threads=threads)
    num_images = dataset.num_images
    sizes: npt.NDArray[np.int32] = np.zeros((num_images, 2), np.int32)
    digests: npt.NDArray[np.uint8] = np.zeros((num_images, KEPT_BYTES), np.uint8)
    hashes = np.zeros_like(digests[: num_images if near else 0])
    hashed = np.zeros(num_images, bool)
    bad: dict[int, Bad] = {}
    unreadable: dict[int, Unreadable] = {}
    odd: dict[int, OddImage] = {}
    starts = dict(zip(dataset.splits, itertools.accumulate(map(len, dataset.splits.values()), initial=0), strict=False))
    num_done = 0
    with contextlib.closing(_see_all(dataset, threads, near)) as parts:
        for split, seen in parts:
            table = dataset.splits[split]
            for row, image in seen:
                position = starts[split] + row
                if isinstance(image, Bad):
                    bad[position] = image
                    continue
                if isinstance(image, Unreadable):
                    unreadable[position] = image
                    continue
                sizes[position] = image.height, image.width
                digests[position] = np.frombuffer(image.digest, np.uint8)
                if image.hash is not None:
                    hashes[position], hashed[position] = np.frombuffer(image.hash, np.uint8), True
                if image.odd:
                    odd[position] = OddImage(split, table.key(row), table.file(row), image.odd)
            num_done += len(seen)
            if progress is not None:
                progress(len(seen))
    assert num_done == num_images
    good = sizes[:, 0] > 0
    return Report(
        images=num_images,
        bad=tuple(bad[position] for position in sorted(bad)),
        odd_images=tuple(odd[position] for position in sorted(odd)),
        height=_sides(sizes[good, 0]),
        width=_sides(sizes[good, 1]),
        duplicates=duplicates.equal_groups(dataset, digests, good),
        near=duplicates.near_groups(dataset, hashes, digests, hashed) if near else None,
        damaged=files.damaged,
        checksums=files.checksums,
        known=tuple(known.sentences(dataset)),
        unreadable=tuple(unreadable[position] for position in sorted(unreadable)),
        unreadable_files=files.unreadable,
    )


def look_again(dataset: Dataset, unreadable: Sequence[Unreadable]) -> tuple[list[Bad], list[Unreadable]]:
    """Decode again the images that could not be read. Returns those that are bad, and those that still cannot be
    read."""
    bad, still = [], []
    row_of = {split: {key: row for row, key in enumerate(table.keys())} for split, table in dataset.splits.items()}
    for one in unreadable:
        found = _see_one(one.split, dataset.splits[one.split], row_of[one.split][one.key], near=False)
        if isinstance(found, Bad):
            bad.append(found)
        elif isinstance(found, Unreadable):
            still.append(found)
    return bad, still


@dataclasses.dataclass(frozen=True, slots=True)
class _Good:
    height: int
    width: int
    odd: dict[str, str]
    digest: bytes
    hash: bytes | None


_Seen = list[tuple[int, _Good | Bad | Unreadable]]
"""Rows, each with its result."""


def _see_all(dataset: Dataset, threads: int, near: bool) -> Generator[tuple[str, _Seen], None, None]:
    """All rows of all splits, checked in parallel, in the order of their files."""
    cv2.setNumThreads(1)  # our threads are the parallelism

    def tasks() -> Iterator[tuple[str, list[int]]]:
        for split, table in dataset.splits.items():
            rows = table.in_file_order()
            for start in range(0, len(table), _ROWS_PER_TASK):
                yield split, rows[start : start + _ROWS_PER_TASK].tolist()

    def see(task: tuple[str, list[int]]) -> _Seen:
        split, rows = task
        return [(row, _see_one(split, dataset.splits[split], row, near)) for row in rows]

    with contextlib.closing(in_order(see, tasks(), threads=threads, name="check")) as results:
        for (split, _), seen in results:
            yield split, seen


def _see_one(split: str, table: Table, row: int, near: bool) -> _Good | Bad | Unreadable:
    if reason := table.too_large(row):
        return Bad(split, table.key(row), table.file(row), reason, fixable=False)
    data = b""
    try:
        data = table.read(row)
        pixels, remark = decode_as(table, row, data, 3)
        odd = _oddities(probe(data), table.key(row), data) if table.encoding(row) == FILE else {}
    except PassingError as error:
        return Unreadable(split, table.key(row), table.file(row), str(error))
    except TenchError as error:
        fixable = table.encoding(row) == FILE and _decodes_in_part(data)
        return Bad(split, table.key(row), table.file(row), str(error), fixable)
    height, width = pixels.shape[:2]
    if min(height, width) < _TINY_PIXELS:
        odd["tiny"] = f"{width} x {height} pixels"
    if height * width > _HUGE_PIXELS:
        odd["huge"] = f"{width} x {height} pixels"
    if remark:
        odd["suspect"] = remark
    found_near = duplicates.difference_hash(pixels) if near else None
    return _Good(height, width, odd, duplicates.digest(data), found_near)


def _decodes_in_part(data: bytes) -> bool:
    try:
        decode_damaged(data)
    except TenchError:
        return False
    return True


def _oddities(info: ImageInfo, key: str, data: bytes) -> dict[str, str]:
    odd = {}
    if info.orientation != 1 and info.format != "TIFF":  # Pillow turns a TIFF upright itself
        odd["rotated"] = f"orientation {info.orientation}"
    if info.mode in GREY_MODES:
        odd["grey"] = ""
    if info.mode == "CMYK":
        odd["cmyk"] = ""
    if format_of_name(key) not in ("", info.format):
        odd["misnamed"] = f"a {info.format}"
    if behind := num_trailing_bytes(data, info.format):
        odd["trailing"] = f"{behind:,} bytes"
    return odd


def _sides(pixels: npt.NDArray[np.int32]) -> Sides | None:
    if not len(pixels):
        return None
    return Sides(int(pixels.min()), float(np.median(pixels)), int(pixels.max()))
