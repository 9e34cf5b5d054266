"""Plan what `prepare` will write and estimate its cost, before anything is written.

Names, record order and shard boundaries depend only on the dataset's content and the options. The size of the result
and the time needed are estimated from a sample of the images.
"""

import dataclasses
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import tench
from tench.arguments import require_fields
from tench.data import exif
from tench.data.handled import POLICIES, Policy
from tench.data.hold_out import hold_out
from tench.data.images import jpegtran
from tench.data.images.encode import Encoding
from tench.data.images.image import ImageError
from tench.data.images.orientation import Exif
from tench.data.prepare import staging as staged
from tench.data.prepare.naming import check_names, names_of
from tench.data.prepare.refusals import check_labels, check_paths, refuse_empty, refuse_inside
from tench.data.prepare.writers import Content, Shards, Trees
from tench.data.prepare.writers.folder import FolderWriter
from tench.data.prepare.writers.lists import STYLES, ListsWriter
from tench.data.prepare.writers.recordio import RecordIO
from tench.data.prepare.writers.tfrecord import TFRecord
from tench.data.prepare.writers.webdataset import WebDataset
from tench.data.prepare.writing import Images, ShardFile, can_link, outside
from tench.data.table import PIECES_AT_ONCE, Dataset, IntArray, Table
from tench.errors import UsageError, counted, nearest
from tench.files import user_path
from tench.machine import num_threads
from tench.parallel import in_order

LayoutName = Literal["webdataset", "folder", "list", "tfrecord", "recordio"]
LAYOUTS = get_args(LayoutName)
TREES = ("folder", "list")
"""The layouts with one file per image; the others put many images into one file (a shard)."""
Link = Literal["hard", "symbolic", "copy"]
Style = Literal["plain", "caffe", "nnabla", "mxnet", "apm5", "tensorflow", "kaggle"]

SHARD_BYTES = 256 * 10**6
SHARDS: Mapping[str, Callable[[Content], Shards]] = {
    "webdataset": WebDataset,
    "tfrecord": TFRecord,
    "recordio": RecordIO,
}
_SPLITS = ("train", "val", "test")
_SAMPLE_ROWS = 16
"""Number of images encoded to estimate the size of the result and the time."""
_FRAME_BYTES = {"webdataset": 2048, "tfrecord": 640, "recordio": 64, "folder": 2048, "list": 2048}
"""Approximate overhead per image, bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How `prepare` writes a dataset. An option that has no effect on the chosen layout is refused.

    >>> tench.PrepareOptions(shards=(2, 1), bad="skip").shuffle
    True
    >>> small = tench.Encoding(max_side=64, quality=90)
    >>> tench.prepare("digits", "small", "recordio", options=tench.PrepareOptions(encoding=small)).images
    {'train': 1438, 'val': 359}
    """

    encoding: Encoding | None = None
    """How images are re-encoded; None keeps the bytes of image files unchanged. (Raw pixels become PNG.)"""
    addressable: bool = False
    """Add restart markers to JPEGs that are not re-encoded, so that training decodes only the part of an image it uses.
    No pixel changes. Needs the program jpegtran. (Re-encoded JPEGs always have them.)"""
    shards: tuple[int, ...] | None = None
    """Number of files for train, then for each other split; one number applies to all. webdataset, tfrecord,
    recordio."""
    shard_bytes: int | None = None
    """Approximate size of a file, bytes; None: 256 MB, or for recordio one file per split. Not together with shards."""
    shuffle: bool = True
    """Store the training images in shards in random order (by a hash of their names) instead of sorted by name."""
    link: Link | None = None
    """folder, list: how to place images that are already files and keep their bytes. hard: a hard link, or a copy if
    the destination is on another disk; symbolic: a symbolic link; copy. None: hard."""
    style: Style | None = None
    """list: the program that will read the lists. None: plain."""
    bad: Policy = "fail"
    """Images that do not decode. fail: stop (images that keep their bytes are not decoded); skip: leave them out; fix:
    decode JPEGs as far as possible and leave out the rest."""
    exif: Exif | Literal["auto"] = "auto"
    """EXIF orientation of re-encoded images. apply: turn images upright; ignore: drop the orientation; auto: as in
    training. Images that keep their bytes keep their orientation."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--style", self.style_used, STYLES),
            ("--link", self.link_used, get_args(Link)),
            ("--bad", self.bad, POLICIES),
            ("--exif", self.exif, ("auto", *get_args(Exif))),
        ):
            _require_known(name, value, known)
        require_fields(self)
        if self.shards is not None and not (1 <= len(self.shards) <= 2 and min(self.shards) >= 1):
            raise UsageError("--shards must be one or two numbers of at least 1, for train and for each other split.")
        if self.shard_bytes is not None and self.shard_bytes < 1:
            raise UsageError("--shard-size must be more than 0.")
        if self.shards is not None and self.shard_bytes is not None:
            raise UsageError("--shards and --shard-size both set the number of files. Give only one of them.")
        if self.addressable and self.encoding is not None:
            raise UsageError(
                "--addressable only affects images that are not re-encoded; re-encoded JPEGs are always addressable."
            )
        if self.exif != "auto" and not self.reencodes:
            raise UsageError(
                "--exif only affects re-encoded images; all others keep their EXIF orientation, for readers to apply "
                "or ignore. Leave it out, or re-encode: --max-side 512."
            )

    @property
    def link_used(self) -> Link:
        """link, or its default."""
        return self.link or "hard"

    @property
    def style_used(self) -> Style:
        """style, or its default."""
        return self.style or "plain"

    @property
    def reencodes(self) -> bool:
        """Whether image files are re-encoded: all of them, or with the policy `fix` the damaged ones."""
        return self.encoding is not None or self.bad == "fix"

    def check_for(self, to: LayoutName) -> None:
        """Raise UsageError for an unknown layout, or an option that has no effect on it or that it cannot store."""
        _require_known("--to", to, LAYOUTS)
        is_tree = to in TREES
        given: tuple[tuple[str, bool, bool, str], ...] = (
            ("--shards", self.shards is not None, not is_tree, "layouts of shards"),
            ("--shard-size", self.shard_bytes is not None, not is_tree, "layouts of shards"),
            ("--no-shuffle", not self.shuffle, not is_tree, "layouts of shards"),
            ("--link", self.link is not None, is_tree, "the layouts folder and list"),
            ("--style", self.style is not None, to == "list", "the layout list"),
        )
        for name, is_given, has_effect, where in given:
            if is_given and not has_effect:
                raise UsageError(f"{name} has no effect on the layout {to}; it is for {where}. Leave it out.")
        if self.link not in (None, "copy") and (self.encoding is not None or self.addressable or self.bad != "fail"):
            option = "re-encoding" if self.encoding else "--addressable" if self.addressable else f"--bad {self.bad}"
            raise UsageError(f"--link {self.link} has no effect with {option}, which copies images. Leave one out.")
        if to == "tfrecord" and self.encoding is not None and self.encoding.format in ("webp", "pixels"):
            raise UsageError(f"--format {self.encoding.format}: TensorFlow does not decode it. Choose jpeg or png.")


def _require_known(option: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise UsageError(f"Unknown {option} {value!r}.{nearest(str(value), list(known))} Known: {', '.join(known)}.")


DEFAULTS = PrepareOptions()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `write` will write, with an estimate of the cost.

    num_bytes: estimated size of the result. num_linked: images that become links. free_bytes: at the destination.
    seconds: estimated. notes: one sentence each, for the user. began_ns: when the source was first read.
    """

    dataset: Dataset
    dest: Path
    to: LayoutName
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
    def exif(self) -> Exif:
        """What happens to the EXIF orientation of re-encoded images."""
        return "apply" if all(map(exif.is_upright, self.images.tables.values())) else "ignore"

    @property
    def num_files(self) -> int:
        return self.num_images if self.is_tree else sum(self.content.shards.values())

    @property
    def is_tree(self) -> bool:
        return self.to in TREES

    @property
    def tree(self) -> Trees:
        return tree_of(self.to, self.options, self.content)

    def files(self, writer: Shards) -> list[ShardFile]:
        """The shards with their rows. The row counts of a split's shards differ by at most one."""
        found = []
        for split, table in self.images.tables.items():
            rows, count = _order(table, self.options.shuffle and split == "train"), self.content.shards[split]
            for number in range(count):
                part = rows[number * len(rows) // count : (number + 1) * len(rows) // count]
                found.append(ShardFile(writer.file_name(split, number), split, part))
        return found

    def identity(self) -> dict[str, Any]:
        """Everything that determines the bytes written."""
        dataset, how = self.dataset, self.options.encoding
        of_layout: dict[str, Any] = {"shuffle": self.options.shuffle}
        if self.is_tree:
            of_layout = {"link": self.options.link_used, "style": self.options.style_used}
        return {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "files of the source": hashlib.sha256(repr(dataset.stamp).encode()).hexdigest()[:16],
            "splits": {split: len(table) for split, table in self.images.tables.items()},
            "boxes": {split: table.boxes_digest() for split, table in self.images.tables.items() if table.has_boxes},
            "to": self.to,
            "encoding": None if how is None else dataclasses.asdict(how),
            "shards": dict(self.content.shards),
            "bad": self.options.bad,
            **of_layout,
            **({"exif": self.exif} if self.options.reencodes else {}),
            "addressable": jpegtran.version() if self.options.addressable else None,
            "versions": _versions() if how is not None else {"tench": tench.__version__},
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.dataset.source,
            "dest": str(self.dest),
            "to": self.to,
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
    to: LayoutName = "webdataset",
    options: PrepareOptions = DEFAULTS,
    *,
    splits: Sequence[str] = (),
    val_fraction: float = 0.0,
    test_fraction: float = 0.0,
    threads: int = 0,
) -> Plan:
    """Plan what `prepare` would write, without writing it. The arguments and errors are those of `prepare`."""
    options.check_for(to)
    began_ns = time.time_ns()
    path = Path(os.path.abspath(user_path(dest)))
    staged.check_destination(path)
    refuse_inside(path, dataset)
    tables, notes = _chosen(dataset, splits, val_fraction, test_fraction)
    if options.reencodes:
        how = exif.resolved(options.exif, dataset)
        if options.encoding is not None:
            notes += _orientation_note(tables, how)
        tables = {split: exif.oriented(table, how) for split, table in tables.items()}
    if options.addressable:
        jpegtran.program()  # raises UsageError if it is not installed
    images = Images(tables, options.encoding, options.bad, options.addressable)
    in_folders = to in TREES
    names = {
        split: names_of(table, dataset.classes, options.encoding, in_folders=in_folders)
        for split, table in tables.items()
    }
    check_labels(tables, to)
    if options.bad == "fail":
        refuse_empty(tables)
    ratio, rate, sample = _sample(images, num_threads(threads))
    sizes = {split: int(table.num_bytes * ratio) + len(table) * _FRAME_BYTES[to] for split, table in tables.items()}
    several = {split: _several(table) for split, table in tables.items() if table.has_several_labels}
    if several and to in ("tfrecord", "folder"):
        notes.append(f"Images have several labels; {to} stores only the first, the class.")
    has_boxes = any(table.has_boxes for table in tables.values())
    if has_boxes and to not in ("tfrecord", "webdataset"):
        notes.append(f"The boxes are not written: {to} cannot store them. tfrecord and webdataset can.")
    content = Content(
        classes=dataset.classes,
        names=names,
        labels={split: table.labels.tolist() for split, table in tables.items()},
        several=several,
        shards={} if in_folders else _num_shards(tables, sizes, to, options),
        has_boxes=has_boxes,
    )
    num_linked = 0
    link = options.link_used
    if in_folders:
        every = [file for paths in paths_of(tree_of(to, options, content), content).values() for file in paths]
        check_paths(every, dataset.classes, path, to)
        linkable = [split for split in tables if link != "copy" and can_link(images, split)]
        if linkable and link == "hard" and not _on_one_disk(tables, linkable, path):
            notes.append(
                f"{path} and the images are on different disks, so images are copied. --link symbolic avoids this."
            )
            linkable = []
        if linkable and link == "hard":
            roots = _roots(dataset.source)
            images = dataclasses.replace(images, outside={split: outside(tables[split], roots) for split in linkable})
        copied = {split: sorted(images.outside.get(split, ())) for split in linkable}
        if num_copied := sum(map(len, copied.values())):
            notes.append(f"{counted(num_copied, 'image')} outside the source, reached through links, will be copied.")
        num_linked = sum(len(tables[split]) for split in linkable) - num_copied
        sizes |= {split: int(tables[split].lengths[rows].sum()) for split, rows in copied.items()}
    else:
        separators = "\t" if to == "recordio" else ""
        kind: Literal["member", "text"] = "member" if to == "webdataset" else "text"
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
        to=to,
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


def tree_of(to: LayoutName, options: PrepareOptions, content: Content) -> Trees:
    return FolderWriter(content) if to == "folder" else ListsWriter(content, options.style_used)


def paths_of(tree: Trees, content: Content) -> dict[str, list[str]]:
    return {split: [tree.path(split, name) for name in names] for split, names in content.names.items()}


def _chosen(
    dataset: Dataset, splits: Sequence[str], val_fraction: float, test_fraction: float
) -> tuple[dict[str, Table], list[str]]:
    """(the tables to write, train first; notes for the user)"""
    if unknown := [split for split in splits if split not in _SPLITS or split not in dataset.splits]:
        raise UsageError(
            f"--splits {unknown[0]}: not a split that can be written. {dataset.source} has "
            f"{', '.join(dataset.splits)}. Splits that can be written: {', '.join(_SPLITS)}."
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
            raise UsageError(
                f"--{split}-fraction takes images from train, but "
                + (f"there is a split {split} already." if split in tables else "there is no train.")
            )
        left = 1 - test_fraction if split == "val" else 1
        tables["train"], tables[split] = hold_out(tables["train"], fraction / left)
    tables = {split: tables[split] for split in _SPLITS if split in tables and len(tables[split])}
    if not tables:
        raise UsageError(f"{dataset.source} has none of the splits that can be written: {', '.join(_SPLITS)}.")
    return tables, notes


def _orientation_note(tables: Mapping[str, Table], how: Exif) -> list[str]:
    """What happens to the EXIF orientation of re-encoded images; empty if no image in a sample of each split has
    one."""
    counts = [exif.sampled(table) for table in tables.values()]
    num_rotated, num_sampled = map(sum, zip(*counts, strict=True))
    if not num_rotated:
        return []
    result = "turned upright" if how == "apply" else "stored without it and not rotated"
    of = f"{num_rotated:,} of a sample of {counted(num_sampled, 'image')}"
    return [f"{of} {'has' if num_rotated == 1 else 'have'} an EXIF orientation; images are {result}."]


def _several(table: Table) -> list[Sequence[float]]:
    """All labels of each row; for a row without a list, its class."""
    pairs = zip(table.label_sets(), table.labels.tolist(), strict=True)
    return [labels if labels is not None else [label] for labels, label in pairs]


def _order(table: Table, shuffle: bool) -> IntArray:
    """The rows in writing order: sorted by key or, if shuffled, by a hash of the key."""
    if not shuffle:
        return np.arange(len(table))
    keys = table.keys()
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    mixed, pieces = np.frombuffer(digests, ">u8"), table.pieces()
    if pieces is None:
        return np.argsort(mixed, kind="stable")
    _, number = np.unique(pieces, return_inverse=True)
    return np.lexsort((mixed, number // PIECES_AT_ONCE))


def _num_shards(
    tables: Mapping[str, Table], sizes: Mapping[str, int], to: LayoutName, options: PrepareOptions
) -> dict[str, int]:
    shards = {}
    for split, table in tables.items():
        if options.shards is not None:
            count = options.shards[0 if split == "train" else -1]
        elif to == "recordio" and options.shard_bytes is None:
            count = 1
        else:
            count = round(sizes[split] / (options.shard_bytes or SHARD_BYTES))
        shards[split] = min(max(count, 1), len(table))
    return shards


def _sample(images: Images, threads: int) -> tuple[float, float, bytes]:
    """(bytes stored per byte of the source, images per second, the stored bytes of some images).

    Always from the same images, because the number of shards depends on the first value.
    """

    def stored(place: tuple[str, int]) -> bytes:
        try:
            return images.image(*place)[0] or b""
        except ImageError:
            return b""  # reported when the image is written

    longest = max(images.tables, key=lambda split: len(images.tables[split]))
    table = images.tables[longest]
    rows = np.unique(np.linspace(0, len(table) - 1, _SAMPLE_ROWS).astype(np.int64))
    places = [(longest, row) for row in rows.tolist()]
    stored(places[0])  # loads the libraries before the clock starts
    began = time.perf_counter()
    made = [data for _, data in in_order(stored, places, threads=threads, name="sample")]
    rate = len(rows) / (time.perf_counter() - began)
    before = sum(int(table.lengths[row]) for row, data in zip(rows, made, strict=True) if data)
    return sum(map(len, made)) / before if before else 1.0, rate, b"".join(made)


def _disk_rate(folder: Path, sample: bytes) -> float:
    """Bytes per second that reach the disk, measured with a temporary file."""
    began = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(sample)
        file.flush()
        os.fsync(file.fileno())
    return max(len(sample), 1) / (time.perf_counter() - began)


def existing(path: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _roots(source: str) -> list[str]:
    """The folders of a source of one or several paths, as real paths."""
    found = []
    for text in source.split(" + "):
        path = Path(text)
        while not path.is_dir():  # a file or a pattern
            path = path.parent
        found.append(os.path.realpath(path))
    return found


def _on_one_disk(tables: Mapping[str, Table], splits: Sequence[str], dest: Path) -> bool:
    there = existing(dest).stat().st_dev
    return all(os.stat(tables[split].shard(0)).st_dev == there for split in splits)


def _versions() -> dict[str, str]:
    """The versions that the bytes of a re-encoded image depend on."""
    names = ("simplejpeg", "opencv-python-headless", "pillow")
    return {"tench": tench.__version__} | {name: importlib.metadata.version(name) for name in names}
