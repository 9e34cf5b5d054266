"""CIFAR-10 and CIFAR-100 in their binary and Python forms, unpacked or in the archive as published.

A record of the binary form consists of labels and 3072 bytes of pixels (red, green and blue planes), which are
addressed in place. The Python form is a pickle, read without executing anything. If Python 2 wrote it, the pixels of a
batch are one piece of the pickle and are addressed in place too; otherwise they are copied once into the cache.
CIFAR-100 has two labels per image: the 100 fine labels are used by default, and the 20 coarse ones with --label coarse.
"""

import dataclasses
import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.files.spool import spool_path
from tench.data.files.tree import Tree
from tench.data.formats.pickles import as_array, as_text, read_pickle
from tench.data.table import PIXELS_CHW, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError, UsageError, counted, some
from tench.files import complete_file, require_space

NAME = "cifar"
OPTIONS = frozenset({"label"})

_HEIGHT, _WIDTH, _CHANNELS = 32, 32, 3
_PIXEL_BYTES = _HEIGHT * _WIDTH * _CHANNELS


@dataclasses.dataclass(frozen=True)
class _Form:
    """One of the four forms in which CIFAR is published.

    num_images: the published number of images in each training file and in the test file. label_bytes: the number of
    label bytes in a binary record, of which byte label_place is used; 0 for a pickle, whose labels are under label_key.
    coarse: the fields that differ for CIFAR-100's coarse labels.
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
    label_place: int = 0
    label_key: str = ""
    names_key: str = ""
    coarse: tuple[tuple[str, Any], ...] = ()

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
        label_place=1,
        coarse=(("names_file", "coarse_label_names.txt"), ("label_place", 0)),
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
        coarse=(("label_key", "coarse_labels"), ("names_key", "coarse_label_names")),
    ),
)

_FILES = {name: form for form in _FORMS for name in (*form.train, form.test)}
_ARCHIVE = re.compile(
    r"cifar-?(?:10|100)-(?:python|binary)(?:[-_ ][^/]*)?\.(?:tar|tar\.gz|tgz|tar\.xz|zip)", re.IGNORECASE
)

_FEW_RECORDS = 4096
_MOST_BYTES = 2**30
"""Size limit of a batch; the largest published one is 155 MB."""

_log = logging.getLogger("tench")


def recognise(tree: Tree) -> bool:
    """Whether the tree contains a CIFAR batch, by file name and first bytes, or an archive with the published name."""
    return bool(_found(tree) or _archives(tree))


def read(tree: Tree) -> Contents:
    """The images of all batches: splits train and test, with keys numbered in the order of the batches."""
    found, archives, notes = _found(tree), _archives(tree), list[str]()
    if not found and len(archives) == 1:
        tree = tree.opened(archives)
        found = _found(tree)
    elif found and archives:
        notes.append(f"The unpacked batches are used, not {some(archives)}.")
    if len(found) != 1:
        several = [f"{folder or '.'} ({form.title})" for form, folder in found] or archives
        raise TenchError(
            f"{tree.source} contains {len(several)} sets of CIFAR batches: {', '.join(several)}. Pass one of them, or "
            "leave the others out with --exclude PATTERN."
        )
    form, folder = found[0]
    form = _labelled_by(tree, form)
    missing = [name for name in (*form.train, form.test) if _join(folder, name) not in tree]
    if missing:
        raise TenchError(
            f"{tree.root / folder} is incomplete ({form.title}). Missing: {', '.join(missing)}. "
            "Pass the folder with all batches, or unpack the archive again."
        )
    classes, said = _classes(form, tree, folder)
    splits, shards = {}, list[str]()
    for split, names, published in zip(("train", "test"), (form.train, (form.test,)), form.num_images, strict=True):
        batches = []
        for name in names:
            file = _join(folder, name)
            batch = (_binary_batch if form.label_bytes else _pickled_batch)(form, tree, file)
            _check_labels(tree.place(file), batch.labels, len(classes))
            if len(batch.labels) != published:
                notes.append(
                    f"{name} contains {counted(len(batch.labels), 'image')}; as published it has {published:,}."
                )
            batches.append(batch)
            shards.append(batch.shard)
        splits[split] = _rows(batches)
    if form.num_classes == 100:
        notes.append("The 100 fine labels are used; for the 20 coarse ones: --label coarse.")
    return Contents(classes, splits, [*dict.fromkeys([*tree.stamp, *shards])], [*said, *notes])


@dataclasses.dataclass(frozen=True)
class _Batch:
    """The byte ranges of the images in one file: image i at offset + i * step in shard."""

    shard: str
    offset: int
    step: int
    labels: npt.NDArray[np.int32]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _found(tree: Tree) -> list[tuple[_Form, str]]:
    """The folders with CIFAR batches, and the form of each."""
    found: dict[tuple[str, str], _Form] = {}
    for name in tree.others:
        folder, _, base = name.rpartition("/")
        form = _FILES.get(base)
        if form and (folder, form.title) not in found and _is(form, tree, folder, name):
            found[folder, form.title] = form
    return [(form, folder) for (folder, _), form in sorted(found.items())]


def _archives(tree: Tree) -> list[str]:
    """Archives inside the tree with the name of a published one."""
    if len(tree) == 1 and tree.path(0) == tree.source:  # a file with that name that is not an archive
        return []
    return [name for name in tree.others if "cifar" in name.lower() and _ARCHIVE.fullmatch(name.rpartition("/")[2])]


def _is(form: _Form, tree: Tree, folder: str, name: str) -> bool:
    try:
        with tree.open(name) as stream:
            head = stream.read(2)
    except (OSError, TenchError):
        return False
    if form.label_bytes == 0:  # a pickle of one of these protocols
        return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5
    if form.label_bytes == 1:
        return bool(head) and head[0] < 10
    # train.bin is a common name, so its size is checked too.
    size = int(tree.length[tree.index(name)])
    return _join(folder, form.names_file) in tree or bool(
        size and size % form.record_bytes == 0 and head[0] < 20 and head[1] < 100
    )


def _labelled_by(tree: Tree, form: _Form) -> _Form:
    """The form for the label given by --label."""
    asked = (tree.options.label or "fine").removesuffix("_labels").removesuffix("_label")
    if tree.options.label and (not form.coarse or asked not in ("fine", "coarse")):
        known = "fine (100 classes) and coarse (20)" if form.coarse else "only one label, so leave out --label"
        raise UsageError(f"{tree.source} ({form.title}) has no label {tree.options.label!r}. It has {known}.")
    return dataclasses.replace(form, num_classes=20, **dict(form.coarse)) if asked == "coarse" else form


def _classes(form: _Form, tree: Tree, folder: str) -> tuple[Classes, list[str]]:
    """The classes in the set's own order, and notes about them."""
    file = _join(folder, form.names_file)
    if file not in tree:
        if form.class_names:
            return Classes.of(form.class_names), [
                f"There is no {form.names_file}; the class names are those of CIFAR-10."
            ]
        numbered = Classes.numbered_to(form.num_classes)
        return numbered, [f"There is no {form.names_file}, so the classes are only numbers."]
    where = tree.place(file)
    data = tree.read(file, "a list of classes")
    if form.label_bytes:
        names = [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    else:
        listed = read_pickle(where, data)[0].get(form.names_key)
        names = [as_text(name) or "" for name in listed] if isinstance(listed, list) else []
        if not names or "" in names:
            raise TenchError(f"{where} has no list of class names under {form.names_key!r}. Unpack the archive again.")
    if len(names) != form.num_classes or len(set(names)) != len(names):
        raise TenchError(
            f"{where} lists {len(names)} class names ({len(set(names))} distinct), but {form.title} has "
            f"{form.num_classes} classes. Unpack the archive again, or remove this file, which is optional."
        )
    return Classes.of(names), []


def _check_labels(file: str, labels: npt.NDArray[np.int32], num_classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise TenchError(
            f"{file}: image {wrong[0]} (counted from 0) has label {labels[wrong[0]]}, but there are {num_classes} "
            f"classes, 0 to {num_classes - 1}. This affects {counted(len(wrong), 'image')}. The file is damaged or "
            "belongs to another set. Unpack the archive again."
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


def _binary_batch(form: _Form, tree: Tree, name: str) -> _Batch:
    position = tree.index(name)
    size = int(tree.length[position])
    if size == 0 or size % form.record_bytes:
        raise TenchError(
            f"{tree.place(name)} has {size:,} bytes, which is {size / form.record_bytes:,.2f} records of "
            f"{form.record_bytes:,} bytes, not a whole number. It may have been truncated. Unpack the "
            "archive again."
        )
    tree.limits.require(size, _MOST_BYTES, tree.place(name), "a CIFAR batch")
    labels = []
    with tree.open(name) as file:
        while block := file.read(form.record_bytes * _FEW_RECORDS):
            labels.append(np.frombuffer(block, np.uint8)[form.label_place :: form.record_bytes].astype(np.int32))
    offset = int(tree.offset[position]) + form.label_bytes
    return _Batch(tree.shards[int(tree.shard[position])], offset, form.record_bytes, np.concatenate(labels))


def _pickled_batch(form: _Form, tree: Tree, name: str) -> _Batch:
    where, position = tree.place(name), tree.index(name)
    data = tree.read(name, "a CIFAR batch", _MOST_BYTES)
    batch, ends = read_pickle(where, data)
    pixels, labels = as_array(batch.get("data")), batch.get(form.label_key)
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXEL_BYTES:
        found = (
            f"{pixels.dtype} of shape {pixels.shape}" if pixels is not None else f"{type(batch.get('data')).__name__}"
        )
        raise TenchError(
            f"{where}: 'data' is {found}, but should be uint8 of shape (N, {_PIXEL_BYTES}). The file is damaged, or is "
            f"not a batch of {form.title}. Unpack the archive again."
        )
    if not isinstance(labels, list):
        array = as_array(labels)
        labels = array.ravel().tolist() if array is not None else None
    if labels is None or not all(isinstance(label, int) for label in labels):
        raise TenchError(f"{where}: {form.label_key!r} is not a list of numbers. Unpack the archive again.")
    if len(labels) != len(pixels):
        raise TenchError(
            f"{where} contains {counted(len(pixels), 'image')} but {counted(len(labels), 'label')}. Unpack the "
            "archive again."
        )
    if not labels:
        raise TenchError(f"{where} contains no images. Unpack the archive again.")
    limited = np.array([max(min(label, 2**31 - 1), -(2**31)) for label in labels], np.int32)
    raw = pixels.tobytes()
    for end in ends:
        offset = end - len(raw)
        if offset >= 0 and data[offset:end] == raw:
            start = int(tree.offset[position]) + offset
            return _Batch(tree.shards[int(tree.shard[position])], start, _PIXEL_BYTES, limited)
    shard = spool_path(tree, name, ".pixels")
    require_space(shard, len(raw), where)
    _log.info("The pixels of %s are not contiguous: copying %.1f MB once to %s.", where, len(raw) / 1e6, shard)
    with complete_file(shard) as part:
        part.write_bytes(raw)
    return _Batch(str(shard), 0, _PIXEL_BYTES, limited)
