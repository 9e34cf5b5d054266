"""Decode every image of a dataset once, and name what is bad or unusual.

It reads through the same functions as training, so what passes here decodes there. A bad image never stops it; memory
does not grow with the number of images, but for eight bytes each and the list of the bad ones.
"""

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.image import ImageInfo, decode_as, format_of_name, probe
from tench.data.table import FILE, Dataset, Table
from tench.errors import TenchError

ODD = {
    "rotated": "EXIF asks for a turn or mirroring; it is ignored, as the reference loaders do",
    "grey": "one channel, read as three equal ones",
    "cmyk": "four printing colours, converted to RGB without a profile",
    "misnamed": "the extension names another format than the content has",
    "tiny": "a side of less than 8 pixels",
    "suspect": "a JPEG with damage that the decoder stepped over; its pixels may be wrong",
}
"""What is unusual about an image that decodes, and what is done about it. Raw pixels are only looked at for size."""

MAX_EXAMPLES = 5
_TINY_PIXELS = 8
_ROWS_PER_TASK = 32
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


@dataclasses.dataclass(frozen=True)
class Bad:
    """An image that cannot be read or decoded."""

    split: str
    key: str
    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Odd:
    """How many images are unusual in one way, and the first of them, as "SPLIT/KEY"."""

    count: int
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Sides:
    """Smallest, median and largest height or width, in pixels."""

    min: int
    median: float
    max: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found. In the order of splits and rows; odd has the kinds of ODD that occur.

    images: number checked, bad ones among them. height, width: of those that decode; None where none does.
    """

    images: int
    bad: tuple[Bad, ...]
    odd: dict[str, Odd]
    height: Sides | None
    width: Sides | None

    def to_json(self) -> dict[str, Any]:
        """{"images": n, "bad": [{split, key, file, reason}], "odd": {kind: {count, meaning, examples}}, sizes}."""
        return {
            "images": self.images,
            "bad": [dataclasses.asdict(bad) for bad in self.bad],
            "odd": {
                kind: {"count": odd.count, "meaning": ODD[kind], "examples": list(odd.examples)}
                for kind, odd in self.odd.items()
            },
            "height": dataclasses.asdict(self.height) if self.height else None,
            "width": dataclasses.asdict(self.width) if self.width else None,
        }


def check(dataset: Dataset, *, threads: int, progress: Callable[[int], None] | None = None) -> Report:
    """Decode every image of every split once.

    threads: how many images are decoded at a time. progress: called in this thread with the number of images checked
    since the last call; the calls add up to all images. The report does not depend on the number of threads.
    """
    num_images = sum(len(table) for table in dataset.splits.values())
    sizes: npt.NDArray[np.int32] = np.zeros((num_images, 2), np.int32)
    bad: list[Bad] = []
    examples: dict[str, list[str]] = {kind: [] for kind in ODD}
    counts = dict.fromkeys(ODD, 0)
    num_done = num_good = 0
    with contextlib.closing(_see_all(dataset, threads)) as parts:
        for split, seen in parts:
            for row, image in seen:
                key = dataset.splits[split].key(row)
                if isinstance(image, str):
                    bad.append(Bad(split, key, dataset.splits[split].shard(row), image))
                    continue
                sizes[num_good] = image.height, image.width
                num_good += 1
                for kind in image.odd:
                    counts[kind] += 1
                    if len(examples[kind]) < MAX_EXAMPLES:
                        examples[kind].append(f"{split}/{key}")
            num_done += len(seen)
            if progress is not None:
                progress(len(seen))
    assert num_done == num_images
    return Report(
        images=num_images,
        bad=tuple(bad),
        odd={kind: Odd(count, tuple(examples[kind])) for kind, count in counts.items() if count},
        height=_sides(sizes[:num_good, 0]),
        width=_sides(sizes[:num_good, 1]),
    )


@dataclasses.dataclass(frozen=True)
class _Good:
    height: int
    width: int
    odd: tuple[str, ...]


_Seen = list[tuple[int, _Good | str]]
"""Rows, each with what was found or with the reason why it is bad."""


def _see_all(dataset: Dataset, threads: int) -> Generator[tuple[str, _Seen], None, None]:
    """All rows of all splits, seen in parallel and given in order, with at most a few tasks waiting per thread."""
    waiting: deque[tuple[str, Future[_Seen]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="check") as pool:
        try:
            for split, table in dataset.splits.items():
                for start in range(0, len(table), _ROWS_PER_TASK):
                    rows = range(start, min(start + _ROWS_PER_TASK, len(table)))
                    waiting.append((split, pool.submit(_see, table, rows)))
                    if len(waiting) > 4 * threads:
                        yield _result(waiting)
            while waiting:
                yield _result(waiting)
        finally:  # stopped by the caller or an error of ours: do not decode what nobody waits for
            pool.shutdown(wait=False, cancel_futures=True)


def _result(waiting: deque[tuple[str, Future[_Seen]]]) -> tuple[str, _Seen]:
    split, future = waiting.popleft()
    return split, future.result()


def _see(table: Table, rows: range) -> _Seen:
    seen: _Seen = []
    for row in rows:
        try:
            data = table.read(row)
            pixels, remark = decode_as(table, row, data, 3)
            odd = _oddities(probe(data), table.key(row)) if table.encoding(row) == FILE else []
        except TenchError as error:
            seen.append((row, str(error)))
            continue
        height, width = pixels.shape[:2]
        if min(height, width) < _TINY_PIXELS:
            odd.append("tiny")
        if remark:
            odd.append("suspect")
        seen.append((row, _Good(height, width, tuple(odd))))
    return seen


def _oddities(info: ImageInfo, key: str) -> list[str]:
    odd = []
    if info.orientation != 1 and info.format != "TIFF":  # a TIFF is turned as it asks
        odd.append("rotated")
    if info.mode in _GREY_MODES:
        odd.append("grey")
    if info.mode == "CMYK":
        odd.append("cmyk")
    if format_of_name(key) not in ("", info.format):
        odd.append("misnamed")
    return odd


def _sides(pixels: npt.NDArray[np.int32]) -> Sides | None:
    if not len(pixels):
        return None
    return Sides(int(pixels.min()), float(np.median(pixels)), int(pixels.max()))
