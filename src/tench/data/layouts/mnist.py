"""MNIST and its kin: images and labels in idx files, plain or gzipped.

An idx file is a short header and then raw bytes, image after image, so a plain file is addressed where it is. A gzipped
one cannot be: it is unpacked once into the spool (47 MB for MNIST's training images). Any set of this form is read;
MNIST and Fashion-MNIST are told apart by the first labels of their files, since both have 10 classes, 60,000 + 10,000
images and the same file names. Of others (KMNIST, ...) the classes are only numbers.
"""

import dataclasses
import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tench.data.files.tree import Tree
from tench.data.table import PIXELS_HWC, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError
from tench.files import complete_file

NAME = "mnist"
OPTIONS = frozenset[str]()

_FOLDERS = (".", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw")
"""Where the files are under the given folder: in it, or where torchvision puts them."""

_PREFIXES = {"train": "train", "test": "t10k"}
_LABELS, _IMAGES = 0x801, 0x803
"""Magic numbers: unsigned bytes (8) in 1 and 3 dimensions."""
_KINDS = {_LABELS: "labels-idx1-ubyte", _IMAGES: "images-idx3-ubyte"}

_KNOWN = {
    "MNIST": (
        tuple("0123456789"),
        {"train": "50419213143536172869", "test": "72104149590690159734"},
    ),
    "Fashion-MNIST": (
        tuple("T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")),
        {"train": "90030272550955791064", "test": "92116146574573412480"},
    ),
}
"""Class names, and the first labels of each split."""
_NUM_FIRST = 20

_MAX_DEFLATE_RATIO = 1032
"""gzip makes nothing smaller than by this factor, so a header that promises more is lying."""

_GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)

_log = logging.getLogger("tench")


def recognise(tree: Tree) -> bool:
    """Whether the folder holds an idx file of images or labels: by its name and its magic number."""
    return bool(_folders(tree.source))


def read(tree: Tree) -> Contents:
    """The images of the idx files in the folder: splits train and test, keys numbered in the files' order."""
    folders = _folders(tree.source)
    if len(folders) != 1:
        names = ", ".join(str(folder) for folder in folders) or "none"
        raise TenchError(f"{tree.source}: one folder with idx files is expected, found: {names}. Name one of them.")
    folder = folders[0]
    pairs: dict[str, tuple[_Idx, _Idx]] = {}
    stamp, notes = [str(folder)], []
    for split, prefix in _PREFIXES.items():
        images, labels = _find(folder, prefix, _IMAGES), _find(folder, prefix, _LABELS)
        if images is None and labels is None:
            notes.append(f"There are no {prefix}-* files, so there is no split {split!r}.")
        elif images is None or labels is None:
            missing = _IMAGES if images is None else _LABELS
            raise TenchError(
                f"{images or labels}: the file that belongs to it, {prefix}-{_KINDS[missing]} (or .gz), is not in "
                f"{folder}. Copy it there, or move this one away to do without the split {split!r}."
            )
        else:
            pairs[split] = _open_idx(images, _IMAGES), _open_idx(labels, _LABELS)
            stamp += [str(images), str(labels)]
    values = {split: _label_values(*pair) for split, pair in pairs.items()}
    classes, note = _classes(folder, {split: (pairs[split][1].path, values[split]) for split in pairs})
    splits = {}
    for split, (idx, _) in pairs.items():
        shard, offset = idx.path, idx.header_bytes
        if idx.gzipped:
            shard, offset = _spool(idx, tree.spool), 0
            stamp.append(str(shard))
        splits[split] = _rows(idx.shape, str(shard), offset, values[split])
    return Contents(classes, splits, stamp, [*note, *notes])


@dataclasses.dataclass(frozen=True)
class _Idx:
    """An idx file whose header has been read. shape: (N,) of labels, (N, height, width) of images."""

    path: Path
    shape: tuple[int, ...]
    gzipped: bool

    @property
    def header_bytes(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def data_bytes(self) -> int:
        return math.prod(self.shape)

    @property
    def promise(self) -> str:
        """What the header says, for an error message."""
        what = "images of {1}x{2} pixels" if len(self.shape) == 3 else "labels"
        return f"its header promises {{0:,}} {what}".format(*self.shape) + f" = {self.data_bytes:,} bytes"


def _folders(path: Path) -> list[Path]:
    places = [path.absolute() / place for place in _FOLDERS]
    return [
        place
        for place in places
        if any(_magic(_find(place, prefix, kind)) == kind for prefix in _PREFIXES.values() for kind in _KINDS)
    ]


def _find(folder: Path, prefix: str, kind: int) -> Path | None:
    """The file of images or labels in any of its spellings; the plain one where a gzipped one is beside it."""
    name = f"{prefix}-{_KINDS[kind]}"
    dotted = name.replace("-idx", ".idx")
    spellings = [folder / spelling for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz")]
    return next((file for file in spellings if file.is_file()), None)


def _magic(file: Path | None) -> int | None:
    if file is None:
        return None
    try:
        with _stream(file) as stream:
            return int.from_bytes(stream.read(4), "big")
    except (OSError, *_GZIP_ERRORS):
        return None


def _is_gzipped(file: Path) -> bool:
    # By content: browsers and tools unpack a file and leave its name, or the other way round.
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _stream(file: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.GzipFile(file) if _is_gzipped(file) else file.open("rb")


def _open_idx(file: Path, kind: int) -> _Idx:
    dimensions = kind & 0xFF
    try:
        with _stream(file) as stream:
            header = stream.read(4 + 4 * dimensions)
    except _GZIP_ERRORS as error:
        raise _damaged(file, "within its header", error) from error
    magic = int.from_bytes(header[:4], "big")
    if len(header) >= 4 and magic != kind:
        what = {_LABELS: "labels (bytes in 1 dimension)", _IMAGES: "grey images (bytes in 3 dimensions)"}
        found = f", the number of {what[magic]}" if magic in what else ""
        raise TenchError(
            f"{file}: begins with the number {magic}{found}; an idx file of {what[kind]} begins with {kind}. "
            "Check that the file has the right name, or download it again."
        )
    if len(header) < 4 + 4 * dimensions:
        raise TenchError(
            f"{file}: has {len(header)} bytes, less than the {4 + 4 * dimensions} of an idx header. "
            "Copy or download it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    idx = _Idx(file, shape, _is_gzipped(file))
    if not idx.data_bytes:
        raise TenchError(f"{file}: {idx.promise}, so it holds nothing. Copy or download it again.")
    size = file.stat().st_size
    found_bytes = size - idx.header_bytes
    if not idx.gzipped and found_bytes != idx.data_bytes:
        raise TenchError(
            f"{file}: {idx.promise} after the first {idx.header_bytes}, but the file has {found_bytes:,}. "
            "Copy or download it again."
        )
    if idx.gzipped and idx.data_bytes > size * _MAX_DEFLATE_RATIO:
        raise TenchError(
            f"{file}: {idx.promise}, more than a gzipped file of {size:,} bytes can hold. It may have been cut off "
            "while copying. Copy or download it again."
        )
    return idx


def _data(idx: _Idx) -> Iterator[bytes]:
    """What follows the header, in blocks; TenchError at the end when it is not as much as the header promises."""
    left = idx.data_bytes
    try:
        with _stream(idx.path) as stream:
            stream.read(idx.header_bytes)
            while left and (block := stream.read(min(left, 1 << 20))):
                left -= len(block)
                yield block
            more = stream.read(1)  # at its end a gzip stream also compares its checksum
    except _GZIP_ERRORS as error:
        raise _damaged(idx.path, f"{idx.promise}, but after {idx.data_bytes - left:,}", error) from error
    if left or more:
        found = "more" if more else f"{idx.data_bytes - left:,}"
        raise TenchError(f"{idx.path}: {idx.promise}, but the file has {found}. Copy or download it again.")


def _label_values(images: _Idx, labels: _Idx) -> npt.NDArray[np.int32]:
    if labels.shape[0] != images.shape[0]:
        raise TenchError(
            f"{images.path} holds {images.shape[0]:,} images, but {labels.path} holds {labels.shape[0]:,} labels. "
            "They are not of one set: copy or download both again."
        )
    return np.frombuffer(b"".join(_data(labels)), np.uint8).astype(np.int32)


def _classes(folder: Path, labels: dict[str, tuple[Path, npt.NDArray[np.int32]]]) -> tuple[Classes, list[str]]:
    """The set's classes by the first labels of its files, or numbers; and what to tell a person."""
    beginnings = {split: "".join(map(str, values[:_NUM_FIRST])) for split, (_, values) in labels.items()}
    sets = {
        split: next((name for name, (_, first) in _KNOWN.items() if first[split] == beginning), None)
        for split, beginning in beginnings.items()
    }
    known = sorted({name for name in sets.values() if name})
    if len(known) > 1:
        raise TenchError(
            f"{folder}: by their first labels, the files are of different sets: "
            + ", ".join(f"{labels[split][0].name} of {name}" for split, name in sets.items())
            + ". Keep the files of each set in a folder of their own."
        )
    if known and None not in sets.values():
        name, classes = known[0], Classes.of(_KNOWN[known[0]][0])
        note = f"By its first labels this is {name}."
    else:
        _, values = next(iter(labels.values()))
        name, classes = "this set", Classes.numbered_to(int(values.max()) + 1)
        note = "This is neither MNIST nor Fashion-MNIST by its first labels, so the classes are only numbers."
    for file, values in labels.values():
        wrong = np.flatnonzero(values >= len(classes))
        if len(wrong):
            raise TenchError(
                f"{file}: label {wrong[0]} (counted from 0) is {values[wrong[0]]}, but {name} has {len(classes)} "
                f"classes, 0 to {len(classes) - 1}; {len(wrong):,} labels are like that. Copy or download it again."
            )
    return classes, [note]


def _spool(images: _Idx, spool: Path) -> Path:
    pixels = spool.absolute() / f"{images.path.name.removesuffix('.gz')}.pixels"
    size = f"{images.data_bytes / 1e6:,.1f} MB"
    _log.info("%s is gzipped, so no place in it can be read: unpacking %s once to %s.", images.path, size, pixels)
    with complete_file(pixels) as part, part.open("wb") as sink:
        for block in _data(images):
            sink.write(block)
    return pixels


def _rows(shape: tuple[int, ...], shard: str, offset: int, labels: npt.NDArray[np.int32]) -> Rows:
    count, height, width = shape
    return Rows(
        shards=[shard],
        shard=np.zeros(count, np.int32),
        offset=offset + np.arange(count) * (height * width),
        length=height * width,
        label=labels,
        key=numbered_keys(count),
        encoding=PIXELS_HWC,
        height=height,
        width=width,
        channels=1,
    )


def _damaged(file: Path, what: str, error: Exception) -> TenchError:
    return TenchError(
        f"{file}: {what} the gzip data is damaged ({str(error).rstrip('.')}). It may have been cut off while copying. "
        "Copy or download it again."
    )
