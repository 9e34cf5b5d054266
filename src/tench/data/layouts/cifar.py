"""CIFAR-10 and CIFAR-100 in their binary and their Python form.

In the binary form a record is its labels and 3072 bytes of pixels (planes of red, green, blue), so a record is
addressed where it is. The Python form is a pickle, read without executing anything. A batch's pixels are one piece of
the pickle as Python 2 wrote it, and are then addressed in place as well; where they are not (a pickle written anew),
they are spooled once. CIFAR-100's 20 coarse labels are not read.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tench.data.files.tree import Tree
from tench.data.formats.pickles import as_array, as_text, read_pickle
from tench.data.table import PIXELS_CHW, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError
from tench.files import complete_file

NAME = "cifar"
OPTIONS = frozenset[str]()

_HEIGHT, _WIDTH, _CHANNELS = 32, 32, 3
_PIXEL_BYTES = _HEIGHT * _WIDTH * _CHANNELS


@dataclasses.dataclass(frozen=True)
class _Form:
    """One of the four ways in which CIFAR is given out. num_images: as issued, per file.

    label_bytes: of a binary record, the last of which is the label; 0 for a pickle, which has it under label_key.
    """

    title: str
    folder: str
    train: tuple[str, ...]
    test: str
    num_images: tuple[int, int]
    names_file: str
    class_names: tuple[str, ...] | None
    num_classes: int
    label_bytes: int = 0
    label_key: str = ""
    names_key: str = ""

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + _PIXEL_BYTES


_CIFAR10_NAMES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
_FORMS = (
    _Form(
        title="CIFAR-10, binary",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        num_images=(10_000, 10_000),
        names_file="batches.meta.txt",
        class_names=_CIFAR10_NAMES,
        num_classes=10,
        label_bytes=1,
    ),
    _Form(
        title="CIFAR-10, Python",
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        num_images=(10_000, 10_000),
        names_file="batches.meta",
        class_names=_CIFAR10_NAMES,
        num_classes=10,
        label_key="labels",
        names_key="label_names",
    ),
    _Form(
        title="CIFAR-100, binary",
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        num_images=(50_000, 10_000),
        names_file="fine_label_names.txt",
        class_names=None,
        num_classes=100,
        label_bytes=2,
    ),
    _Form(
        title="CIFAR-100, Python",
        folder="cifar-100-python",
        train=("train",),
        test="test",
        num_images=(50_000, 10_000),
        names_file="meta",
        class_names=None,
        num_classes=100,
        label_key="fine_labels",
        names_key="fine_label_names",
    ),
)

_log = logging.getLogger("tench")


def recognise(tree: Tree) -> bool:
    """Whether the folder, or one in it of the archive's name, holds a CIFAR batch: by file name and first bytes."""
    return bool(_found(tree.source))


def read(tree: Tree) -> Contents:
    """The images of all batches: splits train and test, keys numbered in the batches' order."""
    found = _found(tree.source)
    if len(found) != 1:
        several = ", ".join(f"{folder} ({form.title})" for form, folder in found) or "none"
        raise TenchError(
            f"{tree.source}: one folder with CIFAR batches is expected, found: {several}. Name one of them."
        )
    form, folder = found[0]
    missing = [name for name in (*form.train, form.test) if not (folder / name).is_file()]
    if missing:
        raise TenchError(
            f"{folder}: {form.title}, lacks {', '.join(missing)}. Without them the set is not whole: "
            "unpack the archive again, or copy them there."
        )
    classes, notes = _classes(form, folder)
    stamp = [str(folder)]
    if (folder / form.names_file).is_file():
        stamp.append(str(folder / form.names_file))
    splits = {}
    for split, names, issued in zip(("train", "test"), (form.train, (form.test,)), form.num_images, strict=True):
        batches = []
        for name in names:
            file = folder / name
            batch = _binary_batch(form, file) if form.label_bytes else _pickled_batch(form, file, tree.spool)
            _check_labels(file, batch.labels, len(classes))
            if len(batch.labels) != issued:
                notes.append(f"{name} holds {len(batch.labels):,} images; as issued it has {issued:,}.")
            stamp += sorted({str(file), batch.shard})
            batches.append(batch)
        splits[split] = _rows(batches)
    if form.num_classes == 100:
        notes.append("The 100 fine labels are used; the 20 coarse ones are not read.")
    return Contents(classes, splits, stamp, notes)


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Where the images of one file are: image i at offset + i * step in shard."""

    shard: str
    offset: int
    step: int
    labels: npt.NDArray[np.int32]


def _found(path: Path) -> list[tuple[_Form, Path]]:
    path = path.absolute()
    return [(form, folder) for form in _FORMS for folder in (path, path / form.folder) if _is(form, folder)]


def _is(form: _Form, folder: Path) -> bool:
    for name in (*form.train, form.test):
        try:
            with (folder / name).open("rb") as stream:
                head = stream.read(2)
            size = (folder / name).stat().st_size
        except OSError:
            continue
        if form.label_bytes == 0:
            if len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5:  # a pickle of one of these protocols
                return True
        elif form.label_bytes == 1:
            if head and head[0] < 10:
                return True
        # train.bin is a common name, so more is asked of it.
        elif (folder / form.names_file).is_file() or (
            size and size % form.record_bytes == 0 and head[0] < 20 and head[1] < 100
        ):
            return True
    return False


def _classes(form: _Form, folder: Path) -> tuple[Classes, list[str]]:
    """The classes in the layout's own order, and what to tell a person about them."""
    file = folder / form.names_file
    if not file.is_file():
        if form.class_names:
            return Classes.of(form.class_names), [f"There is no {file.name}; the class names are those of CIFAR-10."]
        numbered = Classes.numbered_to(form.num_classes)
        return numbered, [f"There is no {file.name}, so the classes are only numbers."]
    if form.label_bytes:
        names = [line.strip() for line in file.read_text("utf-8", "replace").splitlines() if line.strip()]
    else:
        listed = read_pickle(file, file.read_bytes())[0].get(form.names_key)
        names = [as_text(name) or "" for name in listed] if isinstance(listed, list) else []
        if not names or "" in names:
            raise TenchError(f"{file}: holds no list of class names {form.names_key!r}. Unpack the archive again.")
    if len(names) != form.num_classes or len(set(names)) != len(names):
        raise TenchError(
            f"{file}: names {len(names)} classes, {len(set(names))} of them different; {form.title}, has "
            f"{form.num_classes}. Unpack the archive again, or remove this file to do without it."
        )
    return Classes.of(names), []


def _check_labels(file: Path, labels: npt.NDArray[np.int32], num_classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise TenchError(
            f"{file}: image {wrong[0]} (counted from 0) has label {labels[wrong[0]]}, but there are {num_classes} "
            f"classes, 0 to {num_classes - 1}; {len(wrong):,} images are like that. The file is damaged or of another "
            "set: unpack the archive again."
        )


def _rows(batches: Sequence[_Batch]) -> Rows:
    counts = [len(batch.labels) for batch in batches]
    return Rows(
        shards=[batch.shard for batch in batches],
        shard=np.repeat(np.arange(len(batches), dtype=np.int32), counts),
        offset=np.concatenate([batch.offset + batch.step * np.arange(len(batch.labels)) for batch in batches]),
        length=_PIXEL_BYTES,
        label=np.concatenate([batch.labels for batch in batches]),
        key=numbered_keys(sum(counts)),
        encoding=PIXELS_CHW,
        height=_HEIGHT,
        width=_WIDTH,
        channels=_CHANNELS,
    )


def _binary_batch(form: _Form, file: Path) -> _Batch:
    size = file.stat().st_size
    if size == 0 or size % form.record_bytes:
        raise TenchError(
            f"{file}: has {size:,} bytes, which is {size / form.record_bytes:,.2f} records of {form.record_bytes:,} "
            "bytes; a whole number of records is expected. It may have been cut off: unpack the archive again."
        )
    labels = np.fromfile(file, np.uint8).reshape(-1, form.record_bytes)[:, form.label_bytes - 1]
    return _Batch(str(file), form.label_bytes, form.record_bytes, labels.astype(np.int32))


def _pickled_batch(form: _Form, file: Path, spool: Path) -> _Batch:
    data = file.read_bytes()
    batch, ends = read_pickle(file, data)
    pixels, labels = as_array(batch.get("data")), batch.get(form.label_key)
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXEL_BYTES:
        found = (
            f"{pixels.dtype} of shape {pixels.shape}" if pixels is not None else f"{type(batch.get('data')).__name__}"
        )
        raise TenchError(
            f"{file}: 'data' is {found}; uint8 of shape (N, {_PIXEL_BYTES}) is expected. It is no batch of "
            f"{form.title}, or damaged: unpack the archive again."
        )
    if not isinstance(labels, list):
        array = as_array(labels)
        labels = array.ravel().tolist() if array is not None else None
    if labels is None or not all(isinstance(label, int) for label in labels):
        raise TenchError(f"{file}: {form.label_key!r} is no list of numbers. Unpack the archive again.")
    if len(labels) != len(pixels):
        raise TenchError(f"{file}: holds {len(pixels):,} images but {len(labels):,} labels. Unpack the archive again.")
    if not labels:
        raise TenchError(f"{file}: holds no images. Unpack the archive again.")
    limited = np.array([max(min(label, 2**31 - 1), -(2**31)) for label in labels], np.int32)
    raw = pixels.tobytes()
    for end in ends:
        offset = end - len(raw)
        if offset >= 0 and data[offset:end] == raw:
            return _Batch(str(file), offset, _PIXEL_BYTES, limited)
    shard = spool.absolute() / f"{file.name}.pixels"
    _log.info("%s does not hold its pixels in one piece: copying %.1f MB once to %s.", file, len(raw) / 1e6, shard)
    with complete_file(shard) as part:
        part.write_bytes(raw)
    return _Batch(str(shard), 0, _PIXEL_BYTES, limited)
