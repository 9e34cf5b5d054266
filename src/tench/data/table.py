"""What a dataset is: a table of byte ranges, and an ordered list of classes.

One row per image says which file contains it, the first byte, the number of bytes, and its label. Layout readers build
this table once; all other code works from the table alone. It is saved as one Arrow IPC file: all splits one after
the other in one record batch, so that loading maps the file and reads nothing, and the classes, the splits' ranges, the
fingerprint and the stamp as JSON in the schema's metadata. A checksum follows it, because mapping a damaged file can
crash the process or silently change labels. Verifying it is cheap even for ten million rows. The trade-off of one flat
file: any change means rewriting it.
"""

import collections
import dataclasses
import hashlib
import json
import os
import stat
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tench.data.limits import LIMITS
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.errors import PassingError, TenchError, counted, some
from tench.files import complete_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from tench.input.torch_dataset import TorchDataset

VERSION = 7
"""Version of the saved form. A file of another version is rebuilt from its source."""

_SEAL = struct.Struct("<8sQI")
_SEAL_MAGIC = b"TENCHTAB"
"""The last bytes of a saved table: magic, length of the Arrow file before it, CRC-32C of that."""

FILE, PIXELS_HWC, PIXELS_CHW = "file", "pixels-hwc", "pixels-chw"
"""How a row's bytes store the image: as an image file of any format, or as raw uint8 pixels in one of two orders."""

SCHEMA = pa.schema(
    [
        ("shard", pa.dictionary(pa.int32(), pa.string())),  # the file that contains the image
        ("offset", pa.int64()),  # first byte of the image in that file
        ("length", pa.int64()),  # bytes
        ("label", pa.int32()),  # class index, 0 <= label < len(classes); -1 if unlabelled
        ("key", pa.string()),  # the image's name for people, unique in its split; rows are sorted by it
        ("encoding", pa.dictionary(pa.int8(), pa.string())),  # one of ENCODINGS
        ("height", pa.int32()),  # pixels; 0 if unknown, never 0 for raw pixels
        ("width", pa.int32()),
        ("channels", pa.int8()),
        ("labels", pa.list_(pa.float32())),  # all labels, if the layout contains several; else null
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),  # xmin, ymin, xmax, ymax in 0..1; null if none were read
        ("flags", pa.int8()),  # 0, or a sum of DAMAGED and UPRIGHT
    ]
)
ENCODINGS = (FILE, PIXELS_HWC, PIXELS_CHW)

DAMAGED = 1
"""Flag of a row: decode its JPEG as far as its data goes and fill the rest with grey. Without it, damage is an
error."""
UPRIGHT = 2
"""Flag of a row: apply the EXIF orientation of its image. Without it, the image is used as stored."""


_MAX_OPEN_FILES = 64
"""Shards to keep open. If there are more, as in a folder with a file per image, each read opens its file."""

PIECE_BYTES = 4 * 2**20
"""Size of a piece of a compressed shard: bytes that are decompressed together to read one image."""

PIECES_AT_ONCE = 256
"""Neighbouring pieces that are shuffled together. A reader that keeps this many in memory reads each piece once an
epoch."""

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: do not wait for a pipe that has replaced the file. It makes no difference for regular files."""

IntArray = npt.NDArray[np.integer[Any]]

Stamp = tuple[tuple[str, int, int], ...]
"""(path, size, time in ns) of files and folders, to tell whether they have changed since."""


class Packed(Protocol):
    """The decompressed bytes of a compressed file."""

    def pread(self, length: int, offset: int) -> bytes: ...

    def close(self) -> None: ...


OpenIndexed = Callable[[Path, Path], Packed]
"""Opens a compressed file (the first path) by its index (the second)."""


@dataclasses.dataclass(frozen=True)
class Classes:
    """The ordered list of classes: the label of an image is an index into it.

    ids: folder names, WordNet ids or numbers as text, unique. names: the names shown to people. numbered: the ids are
    only positions, because the layout contains only numbers.

    >>> classes = tench.open_source("digits").classes
    >>> len(classes), classes.ids[3], classes.names[3]
    (10, '3', '3')
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    numbered: bool = False

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.names):
            raise ValueError(f"{len(self.ids)} class ids but {len(self.names)} class names")
        if len(set(self.ids)) != len(self.ids):
            twice = next(name for name in self.ids if self.ids.count(name) > 1)
            raise ValueError(f"class id {twice!r} appears more than once")

    @classmethod
    def of(cls, ids: Sequence[str], names: Sequence[str] | None = None) -> "Classes":
        """Classes in the given order; without names, people see the ids."""
        return cls(tuple(ids), tuple(names if names is not None else ids))

    @classmethod
    def numbered_to(cls, count: int) -> "Classes":
        """Classes of a layout that contains only numbers: "0", "1", ..."""
        ids = tuple(str(index) for index in range(count))
        return cls(ids, ids, numbered=True)

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """A hash of the ids in order, 16 hexadecimal digits."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()[:16]

    def meets_by_position(self, other: "Classes") -> bool:
        """Whether one list has only numbers and the other has names that are not these numbers."""
        return self.numbered != other.numbered and set(self.ids) != set(other.ids)

    def index_of(self, other: "Classes", *, whose: str, here: str) -> npt.NDArray[np.int32]:
        """For each class of `other`, its index in these classes.

        Classes are matched by id, in any order. If the ids differ, a numbered list matches a named one of the same
        length by position. whose, here: names of the two lists for errors. Raises TenchError on a class of `other` that
        is not here. The reverse is not an error: a validation set may lack a class.
        """
        if self.meets_by_position(other):
            if len(self) != len(other):
                numbered = here if self.numbered else whose
                remedy = " If it is a model, name its classes with --classes." if self.numbered else ""
                raise TenchError(
                    f"{whose} has {counted(len(other), 'class')} and {here} has {len(self)}, but {numbered} has only "
                    f"numbers for its classes, so they can be matched only if the counts are equal.{remedy}"
                )
            return np.arange(len(other), dtype=np.int32)
        position = {name: index for index, name in enumerate(self.ids)}
        unknown = [name for name in other.ids if name not in position]
        if unknown:
            raise TenchError(
                f"{len(unknown)} of the {len(other)} classes of {whose} {'is' if len(unknown) == 1 else 'are'} not in "
                f"{here}: "
                f"{some(unknown)}. {here} has {len(self)} classes: {some(self.ids)}. "
                "Check that both are from the same dataset."
            )
        return np.array([position[name] for name in other.ids], dtype=np.int32)

    def to_json(self) -> dict[str, Any]:
        """The classes as JSON values; `from_json` reads them."""
        return {"ids": list(self.ids), "names": list(self.names), "numbered": self.numbered}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Classes":
        """The classes that `to_json` wrote."""
        return cls(tuple(data["ids"]), tuple(data["names"]), bool(data.get("numbered", False)))


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one split as a layout found them, in any order.

    Arrays have one entry per image; a scalar applies to all rows.

    shards: paths. shard: index into shards. offset, length: bytes. label: class index or -1. key: unique names.
    height, width, channels: pixels, 0 if unknown; required for raw pixels. labels, boxes: one entry per image, as in
    SCHEMA; None if the layout has none.
    """

    shards: Sequence[str]
    shard: IntArray
    offset: IntArray | int
    length: IntArray | int
    label: IntArray
    key: Sequence[str]
    encoding: str = FILE
    height: IntArray | int = 0
    width: IntArray | int = 0
    channels: IntArray | int = 0
    labels: Sequence[Sequence[float] | None] | None = None
    boxes: Sequence[Sequence[Sequence[float]] | None] | None = None


def numbered_keys(count: int) -> list[str]:
    """Keys for images that have only a position: "00000", "00001", ...; sorting keeps their order."""
    digits = max(5, len(str(count - 1)))
    return [f"{index:0{digits}}" for index in range(count)]


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """Files of a source that are not in its table. reason: what they are, a noun phrase. example: one of their
    names."""

    reason: str
    count: int
    example: str

    def __str__(self) -> str:
        number = f"1 file: {self.example}" if self.count == 1 else f"{self.count:,} files, such as {self.example}"
        return f"Left out: {self.reason} ({number})."


Scoring = Literal["any-label", "own-classes"]
"""How a split is scored, if not by plain top-1. any-label: any of an image's labels is right (ReaL). own-classes: a
model chooses only among the dataset's own classes, even if it has more (ImageNet-A and -R)."""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a layout's `read` returns.

    stamp: the files and folders whose size and time tell whether the source has changed since. notes: what a person
    should be told about this source, one sentence each. indexes: for shards that are indexes of gzip files, these
    files. copies: for shards that are copies in the cache, the files of the source they come from. outline: the folders
    that were found, as lines. left_out: files that are not in the table, by reason; each is also a note of the dataset.
    scoring: for the splits that are not scored by plain top-1."""

    classes: Classes
    splits: Mapping[str, Rows]
    stamp: Sequence[str]
    notes: Sequence[str] = ()
    indexes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    copies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outline: Sequence[str] = ()
    left_out: Sequence[LeftOut] = ()
    scoring: Mapping[str, Scoring] = dataclasses.field(default_factory=dict)


class Table:
    """The rows of one split: where each image's bytes lie, and its label.

    Row numbers are positions in the order of keys. Arrays are read-only and have one entry per row: offsets, lengths
    (bytes), labels (class indices, -1 if unlabelled), heights and widths (pixels, 0 if unknown), channels, flags.

    >>> table = tench.open_source("digits").splits["val"]
    >>> len(table), table.key(0), int(table.labels[0]), len(table.read(0))
    (359, '00006', 6, 64)
    """

    def __init__(
        self,
        rows: pa.Table,
        *,
        file_per_row: bool = False,
        indexes: Mapping[str, str] | None = None,
        copies: Mapping[str, str] | None = None,
        open_indexed: OpenIndexed | None = None,
    ) -> None:
        """rows: as in SCHEMA. file_per_row: each image is a whole file, as in a folder; `read` then detects growth.

        indexes: for shards that are indexes of gzip files, those files; offsets then count decompressed bytes.
        open_indexed: opens them; required if there are any. copies: for shards in the cache, the files they came from.
        """
        assert open_indexed is not None or not indexes
        columns = {name: _one_array(rows.column(name)) for name in SCHEMA.names}
        self._shards = columns["shard"].dictionary
        self._shard = columns["shard"].indices.to_numpy()
        self._keep_open = len(self._shards) <= _MAX_OPEN_FILES
        self.file_per_row = file_per_row
        self._encoding = columns["encoding"].indices.to_numpy()
        self._keys = columns["key"]
        self._labels, self._boxes = columns["labels"], columns["boxes"]
        self.offsets: npt.NDArray[np.int64] = columns["offset"].to_numpy()
        self.lengths: npt.NDArray[np.int64] = columns["length"].to_numpy()
        self.labels: npt.NDArray[np.int32] = columns["label"].to_numpy()
        self.heights: npt.NDArray[np.int32] = columns["height"].to_numpy()
        self.widths: npt.NDArray[np.int32] = columns["width"].to_numpy()
        self.channels: npt.NDArray[np.int8] = columns["channels"].to_numpy()
        self.flags: npt.NDArray[np.int8] = columns["flags"].to_numpy()
        self.rows = rows
        self.indexes = dict(indexes or {})
        self.copies = dict(copies or {})
        self._open_indexed = open_indexed
        self._gzips: dict[str, Packed] = {}
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()
        self._digests: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def num_bytes(self) -> int:
        """Total bytes of all images."""
        return int(self.lengths.sum())

    def key(self, row: int) -> str:
        """The image's name, unique in its split."""
        return str(self._keys[int(row)].as_py())

    def keys(self) -> list[str]:
        """All keys as text, for a pass over a whole split."""
        return list(self._keys.to_pylist())

    def shard(self, row: int) -> str:
        """The file that contains the row's bytes."""
        shard = str(self._shards[int(self._shard[row])].as_py())
        return self.indexes.get(shard, shard)

    def file(self, row: int) -> str:
        """The file of the source that the row comes from, even if its bytes are in a copy in the cache."""
        shard = self.shard(row)
        return self.copies.get(shard, shard)

    def encoding(self, row: int) -> str:
        """How the row's bytes store the image: "file", or raw pixels, "pixels-hwc" or "pixels-chw"."""
        return ENCODINGS[self._encoding[row]]

    @property
    def has_several_labels(self) -> bool:
        """Whether rows have labels beyond their class."""
        return bool(self._labels.null_count < len(self))

    @property
    def has_boxes(self) -> bool:
        """Whether boxes were read."""
        return bool(self._boxes.null_count < len(self))

    def boxes_digest(self) -> str:
        """A hash of all boxes, 16 hexadecimal digits; the same for every table without boxes."""
        lengths = pc.fill_null(pc.list_value_length(self._boxes), 0).to_numpy(zero_copy_only=False)
        sides = self._boxes.flatten().flatten().to_numpy(zero_copy_only=False)
        return hashlib.sha256(lengths.tobytes() + sides.tobytes()).hexdigest()[:16]

    def label_sets(self) -> list[list[float]]:
        """All labels of all rows, for a layout with several labels per image."""
        return list(self._labels.to_pylist())

    def boxes(self, row: int) -> list[list[float]] | None:
        """The row's boxes, [xmin, ymin, xmax, ymax] each in 0..1; None if none were read."""
        found: list[list[float]] | None = self._boxes[int(row)].as_py()
        return found

    def place(self, row: int) -> str:
        """The location of a row for an error message: its file and, if that has other content too, byte range and key.

        If the bytes are in a copy in the cache, the location is the file of the source and the key.
        """
        file, offset, length = self.file(row), int(self.offsets[row]), int(self.lengths[row])
        if file != self.shard(row):
            return f"{file} ({self.key(row)})"
        if self.file_per_row:
            return file
        return f"{file}, bytes {offset}-{offset + length} ({self.key(row)})"

    def read(self, row: int) -> bytes:
        """The row's bytes. Raises PassingError if the file cannot be read, TenchError if its size differs from the
        table's or exceeds the limit for one image.

        Reads with pread on descriptors that all threads share, never through a memory map: a file that shrinks while
        mapped kills the process.
        """
        offset, length = int(self.offsets[row]), int(self.lengths[row])
        if reason := self.too_large(row):
            raise TenchError(f"{self.place(row)}: {reason}. Remove it, or convert it.")
        data = self._read(row, offset, length)
        if len(data) != length:
            raise self._changed(row, offset + len(data))
        if self._digests is not None and not self._digests[row]:
            self._digests[row] = content_digest(data)
        return data

    def too_large(self, row: int) -> str:
        """The reason if a row is larger than the limit for one image; else empty."""
        length = int(self.lengths[row])
        most = LIMITS.image_bytes
        return f"too large: {length:,} bytes; the limit for one image is {most:,}" if length > most else ""

    def check_size(self, row: int) -> None:
        """Raise TenchError if the row is a whole file that is gone or has another size."""
        try:
            size = os.stat(self.shard(row)).st_size
        except OSError as error:
            raise self._unreadable(row, error) from error
        if size != self.lengths[row]:
            raise self._changed(row, size)

    def changed_since(self, time_ns: int) -> str | None:
        """A file that was written after `time_ns`, for a table whose rows are whole files; None if there is none."""
        for shard in self._shards.to_pylist():
            if os.stat(shard).st_mtime_ns > time_ns:
                return str(shard)
        return None

    def start(self, row: int, count: int) -> bytes:
        """The first `count` bytes of a row, or all of them if it has fewer."""
        return self._read(row, int(self.offsets[row]), min(count, int(self.lengths[row])))[:count]

    def _read(self, row: int, offset: int, length: int) -> bytes:
        """A range of the row's file; shorter if the file ends, and one byte longer if each row is a file."""
        if self.indexes and (index := str(self._shards[int(self._shard[row])].as_py())) in self.indexes:
            return self._gzip(index).pread(length, offset)
        try:
            if self._keep_open:
                return _pread(self._descriptor(row), length, offset, self.file_per_row)
            descriptor = os.open(self.shard(row), _OPEN)
            try:
                return _pread(descriptor, length, offset, self.file_per_row)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unreadable(row, error) from error

    def _unreadable(self, row: int, error: OSError) -> TenchError:
        shard = self.shard(row)
        place = f"{shard} ({self.key(row)})" if shard in self.copies else self.place(row)
        return PassingError(f"{place}: cannot be read ({error.strerror}). Row {row} needs it.")

    def _changed(self, row: int, end: int) -> TenchError:
        """end: where the row's file ends, or any position after its expected end."""
        offset, length = int(self.offsets[row]), int(self.lengths[row])
        found = f"ends after {end}" if end < offset + length else "is longer"
        return TenchError(
            f"{self.shard(row)}: row {row} ({self.key(row)}) covers bytes {offset}-{offset + length}, but the file "
            f"{found}. It has changed since its table was built, or was truncated while copying. Restore it, or read "
            "and check the dataset again: tench check SOURCE"
        )

    def subset(self, rows: IntArray) -> "Table":
        """A table of these rows only, in the given order."""
        return self._of(self.rows.take(pa.array(rows)))

    def relabelled(self, index: npt.NDArray[np.int32]) -> "Table":
        """The same rows with label i replaced by index[i]; -1 stays."""
        return self._with("label", np.where(self.labels >= 0, index[self.labels], -1).astype(np.int32))

    def digesting(self, digests: npt.NDArray[np.uint64]) -> "Table":
        """The same rows; when `read` first reads a row, it also stores the `content_digest` in `digests`, (N,).

        A row that has not been read keeps its 0. For readers in forked processes the array must be in shared memory.
        """
        table = self._of(self.rows)
        table._digests = digests
        return table

    def flagged(self, rows: IntArray, flag: int) -> "Table":
        """The same rows, with a flag set on some of them."""
        flags = self.flags.copy()
        flags[rows] |= flag
        return self._with("flags", flags)

    def upright(self) -> "Table":
        """The same rows, with the EXIF orientation of their images applied."""
        return self.flagged(np.arange(len(self)), UPRIGHT)

    def _with(self, column: str, values: IntArray) -> "Table":
        return self._of(self.rows.set_column(SCHEMA.get_field_index(column), column, pa.array(values)))

    def _of(self, rows: pa.Table) -> "Table":
        """A table of other rows in the same files."""
        return Table(
            rows,
            file_per_row=self.file_per_row,
            indexes=self.indexes,
            copies=self.copies,
            open_indexed=self._open_indexed,
        )

    @classmethod
    def joined(cls, tables: Sequence["Table"], where: str) -> "Table":
        """The rows of all tables as one, in the order of keys. Raises TenchError on a key that two tables share."""
        rows = pa.concat_tables([table.rows for table in tables]).unify_dictionaries().combine_chunks()
        indexes = {shard: index for table in tables for shard, index in table.indexes.items()}
        copies = {shard: origin for table in tables for shard, origin in table.copies.items()}
        opener = next((table._open_indexed for table in tables if table.indexes), None)
        whole_files = all(table.file_per_row for table in tables)
        return cls(_by_key(rows, where), file_per_row=whole_files, indexes=indexes, copies=copies, open_indexed=opener)

    def reopened(self) -> "Table":
        """A table of the same rows with its own open files and locks. A forked process needs one."""
        return self._of(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rows but no open file. The format is Arrow's stream, which contains only the rows of a slice."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.rows.schema) as writer:
            writer.write_table(self.rows)
        return _unpickled, (sink.getvalue(), self.file_per_row, self.indexes, self.copies, self._open_indexed)

    def close(self) -> None:
        """Close the files that `read` has opened."""
        with self._lock:
            while self._gzips:
                self._gzips.popitem()[1].close()
            while self._open:
                os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        if getattr(self, "_open", None) or getattr(self, "_gzips", None):
            self.close()

    def pieces(self) -> IntArray | None:
        """For each row the number of the compressed piece that it begins in, (N,) int64; None if no shard is
        compressed.

        Neighbouring pieces have neighbouring numbers. Reading piece after piece is much faster than reading at random.
        """
        if not self.indexes:
            return None
        pieces: IntArray = (self._shard.astype(np.int64) << 32) + self.offsets // PIECE_BYTES
        return pieces

    def in_file_order(self) -> IntArray:
        """All row numbers in the order of the images in their files, the fastest reading order, (N,)."""
        return np.lexsort((self.offsets, self._shard))

    def _gzip(self, shard: str) -> Packed:
        assert self._open_indexed is not None
        with self._lock:
            if shard not in self._gzips:
                self._gzips[shard] = self._open_indexed(Path(self.indexes[shard]), Path(shard))
            return self._gzips[shard]

    def _descriptor(self, row: int) -> int:
        shard = int(self._shard[row])
        descriptor = self._open.get(shard)
        if descriptor is None:
            with self._lock:
                if shard not in self._open:
                    self._open[shard] = os.open(self.shard(row), _OPEN)
                descriptor = self._open[shard]
        return descriptor


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The splits of one source, by name ("train", "val", "test"), over one list of classes.

    fingerprint: a hash of every split's keys, labels and lengths; it names the content in runs and checkpoints. stamp:
    the files and folders it was read from, with their sizes and times then (see `stamp_of`). outline, left_out,
    scoring: see `Contents`. parts, options: the sources it was opened from, by path or name, and how they were read;
    `open_source` with both opens it again.

    >>> digits = tench.open_source("digits")
    >>> {name: len(table) for name, table in digits.splits.items()}, digits.classes.ids[:3]
    ({'train': 1438, 'val': 359}, ('0', '1', '2'))
    """

    source: str
    layout: str
    classes: Classes
    splits: Mapping[str, Table]
    fingerprint: str
    notes: tuple[str, ...] = ()
    stamp: Stamp = ()
    outline: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    scoring: Mapping[str, Scoring] = dataclasses.field(default_factory=dict)
    parts: tuple[str, ...] = ()
    options: SourceOptions = NO_OPTIONS

    @property
    def num_images(self) -> int:
        """The number of images of all splits."""
        return sum(len(table) for table in self.splits.values())

    def split(self, *names: str) -> tuple[str, Table]:
        """(name, table) of the first of these splits that the dataset has. Raises TenchError if it has none."""
        for name in names:
            if name in self.splits:
                return name, self.splits[name]
        raise TenchError(
            f"{self.source} has no split {' or '.join(map(repr, names))}; it has {some(list(self.splits))}."
        )

    def as_torch(
        self,
        split: str = "train",
        transform: "Callable[[Image], Any] | None" = None,
        *,
        channels: Literal[1, 3] = 3,
        exif: Literal["auto", "apply", "ignore"] = "auto",
        bad: Literal["fail", "skip", "fix"] = "fail",
    ) -> "TorchDataset":
        """A split as a `torch.utils.data.Dataset` of (image, label), for a DataLoader of your own.

        split: the name of the split; all its images are used, none are held out. transform: a function of the image,
        such as a pipeline of torchvision's transforms; None: images are `PIL.Image`. channels: 3 for RGB images, 1 for
        grey ones. exif: whether to apply the EXIF orientation of images; auto: as in training. bad: what to do about
        images that do not decode. fail: reading one is an error. skip, fix: all images are checked once beforehand;
        skip leaves bad ones out, and fix decodes JPEGs as far as possible.

        A label is an int, the index of the class in `classes`, or -1 if the image has none. The pixels are those that
        training and evaluation decode. The dataset can be pickled and works in DataLoader workers, forked or spawned.
        Raises TenchError if there is no such split; reading a damaged image raises a TenchError that names it.

        >>> digits = tench.open_source("digits").as_torch("val", channels=1)
        >>> image, label = digits[0]
        >>> image.size, image.mode, label, len(digits)
        ((8, 8), 'L', 6, 359)
        """
        import importlib

        # The one place where data needs torch, which is imported only when this is called (tests/test_imports.py).
        made: TorchDataset = importlib.import_module("tench.input.torch_dataset").torch_dataset(
            self, split, transform, channels=channels, orientation=exif, bad=bad
        )
        return made


def made(contents: Contents, *, source: str, layout: str, open_indexed: OpenIndexed | None = None) -> Dataset:
    """Make a dataset from a layout's contents. Raises TenchError if its rows are not valid.

    open_indexed: required if the contents have indexes.
    """
    splits = {}
    for name, rows in contents.splits.items():
        table = _sorted_table(rows, len(contents.classes), f"{source} ({name})")
        whole_files = rows.encoding == FILE and len(rows.shards) == len(rows.key) and not np.any(rows.offset)
        if whole_files and len(rows.shards) == 1:  # or this split has only one image, in an archive
            whole_files = _size(rows.shards[0]) == int(np.broadcast_to(rows.length, 1)[0])
        copies = {shard: contents.copies[shard] for shard in rows.shards if shard in contents.copies}
        splits[name] = Table(
            table, file_per_row=whole_files, indexes=contents.indexes, copies=copies, open_indexed=open_indexed
        )
    return Dataset(
        source=source,
        layout=layout,
        classes=contents.classes,
        splits=splits,
        fingerprint=_fingerprint(splits),
        notes=(*contents.notes, *map(str, contents.left_out)),
        stamp=stamp_of(contents.stamp),
        outline=tuple(contents.outline),
        left_out=tuple(contents.left_out),
        scoring=dict(contents.scoring),
    )


def content_digest(data: bytes) -> int:
    """A 64-bit hash of an image's bytes, never 0. The same bytes have the same digest wherever they are stored."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def _size(path: str) -> int | None:
    """The size of a file; None if it is gone, which the next reader reports."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def save(contents: Contents, path: Path, *, source: str, layout: str) -> None:
    """Write a layout's contents as one Arrow file for `load`. Raises TenchError if its rows are not valid."""
    save_dataset(made(contents, source=source, layout=layout), path)


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write a dataset as one Arrow file for `load`."""
    header = {
        "version": VERSION,
        "source": dataset.source,
        "layout": dataset.layout,
        "classes": dataset.classes.to_json(),
        "splits": {
            name: {"rows": len(table), "file_per_row": table.file_per_row} for name, table in dataset.splits.items()
        },
        "indexes": {shard: index for table in dataset.splits.values() for shard, index in table.indexes.items()},
        "copies": {shard: origin for table in dataset.splits.values() for shard, origin in table.copies.items()},
        "fingerprint": dataset.fingerprint,
        "stamp": dataset.stamp,
        "notes": list(dataset.notes),
        "outline": list(dataset.outline),
        "left_out": [dataclasses.astuple(entry) for entry in dataset.left_out],
        "scoring": dict(dataset.scoring),
    }
    whole = pa.concat_tables([table.rows for table in dataset.splits.values()]).unify_dictionaries().combine_chunks()
    whole = whole.replace_schema_metadata({b"tench": json.dumps(header).encode()})
    with complete_file(path) as part:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, whole.schema) as writer:
            writer.write_table(whole)
        with part.open("ab") as file:
            file.write(_SEAL.pack(_SEAL_MAGIC, part.stat().st_size, _checksum(pa.memory_map(str(part)).read_buffer())))


def _checksum(data: pa.Buffer) -> int:
    return int(google_crc32c.extend(0, data))  # fast, but holds the interpreter lock


def _unsealed(path: Path) -> pa.Buffer | None:
    """The Arrow file in a saved table, mapped; None if it is damaged, truncated or not a table."""
    try:
        mapped = pa.memory_map(str(path)).read_buffer()
    except (pa.ArrowException, OSError):  # empty, a folder, not readable
        return None
    length = len(mapped) - _SEAL.size
    if length < 0 or _SEAL.unpack(mapped[length:])[:2] != (_SEAL_MAGIC, length):
        return None
    data = mapped[:length]
    return data if _SEAL.unpack(mapped[length:])[2] == _checksum(data) else None


def load(path: Path, open_indexed: OpenIndexed | None = None) -> Dataset | None:
    """Map a saved table; None if it is damaged, of another version or not a table.

    open_indexed: required if the table's shards may be indexes of compressed files.
    """
    data = _unsealed(path)
    if data is None:
        return None
    try:
        whole = pa.ipc.open_file(data).read_all()
        header = json.loads((whole.schema.metadata or {})[b"tench"])
    except (pa.ArrowException, KeyError, ValueError):
        return None
    if header["version"] != VERSION:
        return None
    splits, start = {}, 0
    for name, split in header["splits"].items():
        rows = whole.slice(start, split["rows"])
        splits[name] = Table(
            rows,
            file_per_row=split["file_per_row"],
            indexes=header["indexes"],
            copies=header["copies"],
            open_indexed=open_indexed,
        )
        start += split["rows"]
    return Dataset(
        source=header["source"],
        layout=header["layout"],
        classes=Classes.from_json(header["classes"]),
        splits=splits,
        fingerprint=header["fingerprint"],
        notes=tuple(header["notes"]),
        stamp=tuple((path, size, time_ns) for path, size, time_ns in header["stamp"]),
        outline=tuple(header["outline"]),
        left_out=tuple(LeftOut(*entry) for entry in header["left_out"]),
        scoring=header["scoring"],
    )


def unite(parts: Sequence[Dataset]) -> Dataset:
    """Several datasets as one: splits of the same name joined, classes united by id in the order of code points.

    Raises TenchError if two images of a split have the same key, or if a source has only numbers for its classes, which
    cannot be matched with the classes of another source.
    """
    for part in parts:
        if part.classes.numbered:
            raise TenchError(
                f"{part.source} has only numbers for its classes, so it cannot be combined with another source. Put "
                "a file with the class names next to it, one per line (classes.txt)."
            )
    names = {class_id: name for part in reversed(parts) for class_id, name in _named(part.classes)}
    ids = sorted(names)
    classes = Classes.of(ids, [names[class_id] for class_id in ids])
    whole = f"{' + '.join(part.source for part in parts)}"
    splits = {}
    for split in dict.fromkeys(name for part in parts for name in part.splits):
        tables = [
            part.splits[split].relabelled(classes.index_of(part.classes, whose=part.source, here=whole))
            for part in parts
            if split in part.splits
        ]
        splits[split] = Table.joined(tables, f"{whole} ({split})")
    notes = [f"{part.source}: {note}" for part in parts for note in part.notes]
    occurrences = collections.Counter(class_id for part in parts for class_id in part.classes.ids)
    shared = sum(count > 1 for count in occurrences.values())
    notes.append(
        f"{len(parts)} sources are combined into {len(classes)} classes; {shared} of them occur in several sources."
    )
    return Dataset(
        source=whole,
        layout=" + ".join(dict.fromkeys(part.layout for part in parts)),
        classes=classes,
        splits=splits,
        fingerprint=_fingerprint(splits),
        notes=tuple(notes),
        stamp=tuple(dict.fromkeys(entry for part in parts for entry in part.stamp)),
        outline=tuple(line for part in parts for line in (f"{part.source}:", *part.outline) if part.outline),
        left_out=tuple(entry for part in parts for entry in part.left_out),
        scoring=_agreed_scoring(parts),
    )


def _agreed_scoring(parts: Sequence[Dataset]) -> dict[str, Scoring]:
    """The scoring of each split on which all parts that have the split agree."""
    wanted: dict[str, set[Scoring | None]] = {}
    for part in parts:
        for split in part.splits:
            wanted.setdefault(split, set()).add(part.scoring.get(split))
    return {split: found for split, (found, *more) in wanted.items() if found and not more}


def _named(classes: Classes) -> list[tuple[str, str]]:
    return list(zip(classes.ids, classes.names, strict=True))


def _fingerprint(splits: Mapping[str, Table]) -> str:
    """A hash of every split's name, keys, labels and lengths, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, table in splits.items():
        digest.update(f"{name} {len(table)}\n".encode())
        digest.update("\n".join(table.keys()).encode())
        digest.update(table.labels.tobytes())
        digest.update(table.lengths.tobytes())
    return digest.hexdigest()[:16]


def stamp_of(paths: Sequence[str]) -> Stamp:
    """(path, size, time in ns) of each path; for folders only the time, which changes when an entry comes or goes."""
    stamp = []
    for path in paths:
        found = os.stat(path)
        stamp.append((path, 0 if stat.S_ISDIR(found.st_mode) else found.st_size, found.st_mtime_ns))
    return tuple(stamp)


def is_fresh(stamp: Stamp) -> bool:
    """Whether every file and folder of the stamp is unchanged."""
    try:
        return stamp_of([path for path, _, _ in stamp]) == stamp
    except OSError:
        return False


def _sorted_table(rows: Rows, num_classes: int, where: str) -> pa.Table:
    """The rows, checked, as an Arrow table in the order of their keys (by Unicode code point)."""
    count = len(rows.key)
    try:
        keys, shards = pa.array(rows.key, pa.string()), pa.array(rows.shards, pa.string())
    except UnicodeEncodeError as error:
        raise TenchError(f"{where}: the name {error.object!r} is not UTF-8 text. Rename it.") from error
    for name, values in (("offset", rows.offset), ("length", rows.length)):
        if (negative := np.broadcast_to(values, count) < 0).any():
            row = int(negative.argmax())
            raise TenchError(
                f"{where}: {rows.key[row]} has {name} {np.broadcast_to(values, count)[row]}; it must be at least 0."
            )
    labels = np.asarray(rows.label)
    out_of_range = np.flatnonzero((labels < -1) | (labels >= num_classes))
    if len(out_of_range):
        row = int(out_of_range[0])
        raise TenchError(
            f"{where}: {rows.key[row]} has label {labels[row]}, but there are {num_classes} classes "
            f"(labels 0 to {num_classes - 1}); {len(out_of_range)} rows are affected. Check the label file."
        )

    def column(values: IntArray | int, kind: pa.DataType) -> pa.Array:
        return pa.array(np.broadcast_to(np.asarray(values), (count,)).astype(kind.to_pandas_dtype()), kind)

    def nested(values: Sequence[Any] | None, name: str) -> pa.Array:
        kind = SCHEMA.field(name).type
        return pa.nulls(count, kind) if values is None else pa.array(values, kind)

    encoding = np.full(count, ENCODINGS.index(rows.encoding), np.int8)
    table = pa.table(
        [
            pa.DictionaryArray.from_arrays(np.asarray(rows.shard, np.int32), shards),
            column(rows.offset, pa.int64()),
            column(rows.length, pa.int64()),
            column(labels, pa.int32()),
            keys,
            pa.DictionaryArray.from_arrays(encoding, pa.array(ENCODINGS, pa.string())),
            column(rows.height, pa.int32()),
            column(rows.width, pa.int32()),
            column(rows.channels, pa.int8()),
            nested(rows.labels, "labels"),
            nested(rows.boxes, "boxes"),
            column(0, pa.int8()),
        ],
        schema=SCHEMA,
    )
    return _by_key(table, where)


def _by_key(table: pa.Table, where: str) -> pa.Table:
    """The rows in the order of their keys' UTF-8 bytes, which equals code point order. Equal keys are an error."""
    table = table.take(pc.sort_indices(table.column("key"))).combine_chunks()
    keys = table.column("key").combine_chunks()
    twice = keys[1:].filter(pc.equal(keys[1:], keys[:-1]))
    if len(twice):
        raise TenchError(f"{where}: the key {str(twice[0])!r} appears twice. Keys name images and must be unique.")
    return table


def _unpickled(
    rows: pa.Buffer,
    file_per_row: bool,
    indexes: Mapping[str, str],
    copies: Mapping[str, str],
    open_indexed: OpenIndexed | None,
) -> Table:
    table = pa.ipc.open_stream(rows).read_all()
    return Table(table, file_per_row=file_per_row, indexes=indexes, copies=copies, open_indexed=open_indexed)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # combine copies even one chunk


def _pread(descriptor: int, length: int, offset: int, one_more: bool) -> bytes:
    """A range of bytes, shorter if the file ends; with one_more also the next byte, if there is one."""
    data = os.pread(descriptor, length + one_more, offset)
    while len(data) < length:  # one call reads at most 2 GiB, on a network disk possibly less
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data
