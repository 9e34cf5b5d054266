"""Plan what `prepare` will write, and its cost, before anything is written.

Names, the order of records and the borders between shards are functions of the dataset's content and the options.
The size of the result and the time it takes are estimated from a sample of the images.
"""

import dataclasses
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import tench
from tench.data.handled import POLICIES, Policy
from tench.data.hold_out import hold_out
from tench.data.images import jpegtran
from tench.data.images.encode import Encoding
from tench.data.images.image import ImageError
from tench.data.prepare import staging as staged
from tench.data.prepare.naming import check_names, names_of
from tench.data.prepare.refusals import check_labels, check_paths, refuse_empty, refuse_inside
from tench.data.prepare.writers import Content, Shards, Trees
from tench.data.prepare.writers.folder import Folder
from tench.data.prepare.writers.lists import STYLES, Lists
from tench.data.prepare.writers.recordio import RecordIO
from tench.data.prepare.writers.tfrecord import TFRecord
from tench.data.prepare.writers.webdataset import WebDataset
from tench.data.prepare.writing import Images, ShardFile, can_link, outside
from tench.data.table import PIECES_AT_ONCE, Dataset, IntArray, Table
from tench.errors import UsageError, nearest
from tench.files import user_path
from tench.machine import num_threads
from tench.parallel import in_order

Layout = Literal["webdataset", "folder", "list", "tfrecord", "recordio"]
LAYOUTS = get_args(Layout)
Link = Literal["hard", "symbolic", "copy"]

SHARD_BYTES = 256 * 10**6
SHARDS: Mapping[str, Callable[[Content], Shards]] = {
    "webdataset": WebDataset,
    "tfrecord": TFRecord,
    "recordio": RecordIO,
}
_SPLITS = ("train", "val", "test")
_SAMPLE_ROWS = 16
"""Images that are encoded to estimate the size of the result and the time."""
_FRAME_BYTES = {"webdataset": 2048, "tfrecord": 640, "recordio": 64, "folder": 2048, "list": 2048}
"""Approximate bytes per image besides its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How a dataset is written.

    how: None leaves the bytes of image files untouched. addressable: JPEGs among these get restart markers, so that
    parts of them can be decoded alone; their pixels stay the same. (Re-encoded ones have markers anyway.) shards:
    files for train, then for each other split; None: as many as shard_bytes asks for, of RecordIO one. shuffle:
    training images in shards lie in another order than that of keys. link: how a folder gets images that are files
    already and stay as they are. style: of a list. bad: what is done about images that do not decode; with `fail`,
    images whose bytes stay untouched are not decoded.
    """

    to: Layout = "webdataset"
    how: Encoding | None = None
    addressable: bool = False
    shards: tuple[int, ...] | None = None
    shard_bytes: int = SHARD_BYTES
    shuffle: bool = True
    link: Link = "hard"
    style: str = "plain"
    bad: Policy = "fail"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--to", self.to, LAYOUTS),
            ("--style", self.style, STYLES),
            ("--link", self.link, get_args(Link)),
            ("--bad", self.bad, POLICIES),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: unknown.{nearest(value, list(known))} Known: {', '.join(known)}.")
        if self.shards is not None and not (1 <= len(self.shards) <= 2 and min(self.shards) >= 1):
            raise UsageError("--shards: expected one or two numbers of at least 1, for train and for each other split.")
        if self.shard_bytes < 1:
            raise UsageError("--shard-size must be more than 0.")
        if self.addressable and self.how is not None:
            raise UsageError(
                "--addressable is for images that are not re-encoded; re-encoded JPEGs are always addressable."
            )
        if self.to == "tfrecord" and self.how is not None and self.how.format in ("webp", "pixels"):
            raise UsageError(f"--format {self.how.format}: TensorFlow does not decode it. Choose jpeg or png.")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be written.

    num_bytes: of the result, about. num_linked: images that only get another name. free_bytes: at the destination.
    seconds: about. notes: what a person should know before. began_ns: when the source was looked at.
    """

    dataset: Dataset
    dest: Path
    options: PrepareOptions
    images: Images
    content: Content
    num_bytes: int
    num_linked: int
    free_bytes: int
    seconds: float
    notes: Sequence[str]
    began_ns: int

    @property
    def num_images(self) -> int:
        return sum(map(len, self.images.tables.values()))

    @property
    def num_files(self) -> int:
        return self.num_images if self.is_tree else sum(self.content.shards.values())

    @property
    def is_tree(self) -> bool:
        return self.options.to in ("folder", "list")

    def files(self, writer: Shards) -> list[ShardFile]:
        """The shards, each with its rows; all shards of a split have as many rows, or one more."""
        found = []
        for split, table in self.images.tables.items():
            rows, count = _order(table, self.options.shuffle and split == "train"), self.content.shards[split]
            for number in range(count):
                part = rows[number * len(rows) // count : (number + 1) * len(rows) // count]
                found.append(ShardFile(writer.file_name(split, number), split, part))
        return found

    def identity(self) -> dict[str, Any]:
        """All that decides the bytes that are written."""
        dataset, how = self.dataset, self.options.how
        of_tree = ("link", "style") if self.is_tree else ()
        of_shards = () if self.is_tree else ("shuffle",)
        return {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "files of the source": hashlib.sha256(repr(dataset.stamp).encode()).hexdigest()[:16],
            "splits": {split: len(table) for split, table in self.images.tables.items()},
            "boxes": {split: table.boxes_digest() for split, table in self.images.tables.items() if table.has_boxes},
            "to": self.options.to,
            "encoding": None if how is None else dataclasses.asdict(how),
            "shards": dict(self.content.shards),
            "bad": self.options.bad,
            **{name: getattr(self.options, name) for name in (*of_tree, *of_shards)},
            "addressable": jpegtran.version() if self.options.addressable else None,
            "versions": _versions() if how is not None else {"tench": tench.__version__},
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.dataset.source,
            "dest": str(self.dest),
            "to": self.options.to,
            "images": self.num_images,
            "classes": len(self.dataset.classes),
            "splits": {split: len(table) for split, table in self.images.tables.items()},
            "files": self.num_files,
            "linked": self.num_linked,
            "bytes": self.num_bytes,
            "free_bytes": self.free_bytes,
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
        }


def plan(
    dataset: Dataset,
    dest: str | Path,
    options: PrepareOptions,
    *,
    splits: Sequence[str] = (),
    val_fraction: float = 0.0,
    test_fraction: float = 0.0,
    threads: int = 0,
) -> Plan:
    """Look at all that is to be written, without writing it. Raises UsageError and TenchError as `prepare`.

    splits: which of train, val and test; none: all there are. val_fraction, test_fraction: parts of each class of train
    that become these splits, drawn by a hash of the keys.
    """
    began_ns = time.time_ns()
    path = Path(os.path.abspath(user_path(dest)))
    staged.check_destination(path)
    refuse_inside(path, dataset)
    tables, notes = _chosen(dataset, splits, val_fraction, test_fraction)
    if options.addressable:
        jpegtran.program()  # refuses where it is missing
    images = Images(tables, options.how, options.bad, options.addressable)
    in_folders = options.to in ("folder", "list")
    names = {
        split: names_of(table, dataset.classes, options.how, in_folders=in_folders) for split, table in tables.items()
    }
    check_labels(tables, options.to)
    if options.bad == "fail":
        refuse_empty(tables)
    ratio, rate, sample = _sample(images, num_threads(threads))
    sizes = {
        split: int(table.num_bytes * ratio) + len(table) * _FRAME_BYTES[options.to] for split, table in tables.items()
    }
    several = {split: _several(table) for split, table in tables.items() if table.has_several_labels}
    if several and options.to in ("tfrecord", "folder"):
        notes.append(f"Images have several labels; {options.to} holds only the first, their class.")
    content = Content(
        classes=dataset.classes,
        names=names,
        labels={split: table.labels.tolist() for split, table in tables.items()},
        several=several,
        shards={} if in_folders else _num_shards(tables, sizes, options),
        has_boxes=any(table.has_boxes for table in tables.values()),
    )
    num_linked = 0
    if in_folders:
        every = [file for paths in paths_of(tree_of(options, content), content).values() for file in paths]
        check_paths(every, dataset.classes, path, options.to)
        linkable = [split for split in tables if options.link != "copy" and can_link(images, split)]
        if linkable and options.link == "hard" and not _on_one_disk(tables, linkable, path):
            notes.append(
                f"{path} and the images are on different disks, so they are copied. To avoid this, use --link symbolic."
            )
            linkable = []
        if linkable and options.link == "hard":
            roots = _roots(dataset.source)
            images = dataclasses.replace(images, outside={split: outside(tables[split], roots) for split in linkable})
        copied = {split: sorted(images.outside.get(split, ())) for split in linkable}
        if num_copied := sum(map(len, copied.values())):
            notes.append(f"{num_copied:,} images lie outside the source, behind links, and are copied.")
        num_linked = sum(len(tables[split]) for split in linkable) - num_copied
        sizes |= {split: int(tables[split].lengths[rows].sum()) for split, rows in copied.items()}
    else:
        separators = "\t" if options.to == "recordio" else ""
        kind: Literal["member", "text"] = "member" if options.to == "webdataset" else "text"
        check_names([name for of in names.values() for name in of], path, kind, separators)
        if options.shuffle and "train" in tables and tables["train"].pieces() is not None:
            notes.append("The source is compressed: training images are shuffled within windows of neighbouring bytes.")
    num_bytes = sum(sizes.values())
    num_images = sum(map(len, tables.values())) - num_linked
    there = existing(path)
    seconds = num_images / rate
    if num_bytes:
        seconds = max(seconds, num_bytes / _disk_rate(there, sample))
    return Plan(
        dataset=dataset,
        dest=path,
        options=options,
        images=images,
        content=content,
        num_bytes=num_bytes,
        num_linked=num_linked,
        free_bytes=shutil.disk_usage(there).free,
        seconds=seconds,
        notes=notes,
        began_ns=began_ns,
    )


def tree_of(options: PrepareOptions, content: Content) -> Trees:
    return Folder(content) if options.to == "folder" else Lists(content, options.style)


def paths_of(tree: Trees, content: Content) -> dict[str, list[str]]:
    return {split: [tree.path(split, name) for name in names] for split, names in content.names.items()}


def _chosen(
    dataset: Dataset, splits: Sequence[str], val_fraction: float, test_fraction: float
) -> tuple[dict[str, Table], list[str]]:
    """The tables to write, train first, and what to tell a person."""
    if unknown := [split for split in splits if split not in _SPLITS or split not in dataset.splits]:
        raise UsageError(
            f"--splits {unknown[0]}: {dataset.source} has {', '.join(dataset.splits)}, of which are written: "
            f"{', '.join(_SPLITS)}."
        )
    tables = {split: dataset.splits[split] for split in splits or _SPLITS if split in dataset.splits}
    notes = [f"The split {split} is not written." for split in dataset.splits if split not in tables and not splits]
    if 0 < val_fraction < 1 and 0 < test_fraction < 1 <= val_fraction + test_fraction:
        raise UsageError(
            f"--val-fraction {val_fraction:g} and --test-fraction {test_fraction:g} leave nothing for train. Together "
            "they must be less than 1."
        )
    for split, fraction in (("test", test_fraction), ("val", val_fraction)):
        if not fraction:
            continue
        if split in tables or "train" not in tables:
            raise UsageError(f"--{split}-fraction: there is already a split {split}, or no train to take it from.")
        left = 1 - test_fraction if split == "val" else 1
        tables["train"], tables[split] = hold_out(tables["train"], fraction / left)
    tables = {split: tables[split] for split in _SPLITS if split in tables and len(tables[split])}
    if not tables:
        raise UsageError(f"{dataset.source}: has none of the splits that are written: {', '.join(_SPLITS)}.")
    return tables, notes


def _several(table: Table) -> list[Sequence[float]]:
    """All labels of each row; of a row that has no list its class."""
    pairs = zip(table.label_sets(), table.labels.tolist(), strict=True)
    return [labels if labels is not None else [label] for labels, label in pairs]


def _order(table: Table, shuffle: bool) -> IntArray:
    """The rows in the order in which they are written; shuffled, in the order of a hash of their keys."""
    if not shuffle:
        return np.arange(len(table))
    keys = table.keys()
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    mixed, pieces = np.frombuffer(digests, ">u8"), table.pieces()
    if pieces is None:
        return np.argsort(mixed, kind="stable")
    _, number = np.unique(pieces, return_inverse=True)
    return np.lexsort((mixed, number // PIECES_AT_ONCE))


def _num_shards(tables: Mapping[str, Table], sizes: Mapping[str, int], options: PrepareOptions) -> dict[str, int]:
    shards = {}
    for split, table in tables.items():
        if options.shards is not None:
            count = options.shards[0 if split == "train" else -1]
        elif options.to == "recordio":
            count = 1
        else:
            count = round(sizes[split] / options.shard_bytes)
        shards[split] = min(max(count, 1), len(table))
    return shards


def _sample(images: Images, threads: int) -> tuple[float, float, bytes]:
    """(bytes stored for each byte of the source, images per second, what some images become).

    The same images each time: the number of shards depends on the first.
    """

    def stored(place: tuple[str, int]) -> bytes:
        try:
            return images.image(*place)[0] or b""
        except ImageError:
            return b""  # told in its turn

    longest = max(images.tables, key=lambda split: len(images.tables[split]))
    table = images.tables[longest]
    rows = np.unique(np.linspace(0, len(table) - 1, _SAMPLE_ROWS).astype(np.int64))
    places = [(longest, row) for row in rows.tolist()]
    stored(places[0])  # which loads libraries
    began = time.perf_counter()
    made = [data for _, data in in_order(stored, places, threads=threads, name="sample")]
    rate = len(rows) / (time.perf_counter() - began)
    before = sum(int(table.lengths[row]) for row, data in zip(rows, made, strict=True) if data)
    return sum(map(len, made)) / before if before else 1.0, rate, b"".join(made)


def _disk_rate(folder: Path, sample: bytes) -> float:
    """Bytes per second that get to the disk, measured with a file that is gone again."""
    began = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(sample)
        file.flush()
        os.fsync(file.fileno())
    return max(len(sample), 1) / (time.perf_counter() - began)


def existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _roots(source: str) -> list[str]:
    """The folders of a source of one or several paths, as real paths."""
    found = []
    for text in source.split(" + "):
        path = Path(text)
        while not path.is_dir():  # a list, or a pattern
            path = path.parent
        found.append(os.path.realpath(path))
    return found


def _on_one_disk(tables: Mapping[str, Table], splits: Sequence[str], dest: Path) -> bool:
    there = existing(dest).stat().st_dev
    return all(os.stat(tables[split].shard(0)).st_dev == there for split in splits)


def _versions() -> dict[str, str]:
    """Versions of the libraries that decide the bytes of a re-encoded image."""
    names = ("simplejpeg", "opencv-python-headless", "pillow")
    return {"tench": tench.__version__} | {name: importlib.metadata.version(name) for name in names}
