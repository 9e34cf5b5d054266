"""Which images a model was trained on and which were held out: `images.safetensors`, next to the weights.

The data may be moved, renamed, repacked or merged with other data after the training, so an image is recognised by its
content, not by its location. For each image the run keeps three 64-bit hashes: of its name and label, of its length and
label, and of its bytes. The first two follow from the table, without reading the image. The bytes are hashed while the
training reads them anyway. The file for ImageNet takes 32 MB.

The images of a table are looked up by name, length and label, and a sample of the matches must also have the right
bytes. The others are read only if an image of the run has the same length and label. Evaluating 50,000 images therefore
reads at most those images, and never the training set. The price: a copy that was re-encoded, resized or relabelled is
not recognised; `alike` counts images that may be such copies.
"""

import concurrent.futures
import dataclasses
import hashlib
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.table import IntArray, Table, content_digest
from tench.errors import PassingError, TenchError
from tench.files import is_there
from tench.machine import num_threads
from tench.plain import require_file
from tench.progress import progress
from tench.weights.files import complete_safetensors, require_readable
from tench.weights.recognise import IMAGES

OTHER, HELD_OUT, TRAINED_ON = 0, 1, 2
"""How a run used an image: not at all, for validation, or for training."""

_VERSION = "1"
_SAMPLE = 64
"""Images whose bytes are compared before their keys are trusted."""
_AT_ONCE = 1024
"""Number of images that threads read between two updates of the progress line."""
_KEY, _SIZE, _CONTENT = "key", "size", "content"
_TRAINED, _HELD = "trained_on", "held_out"

_Hashes = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, eq=False)
class SplitImages:
    """The images of one split of a run, one entry each: (N,) uint64.

    key: hash of the name and the label; the name is the last part of the key, without its suffix. size: hash of length
    and label. content: hash of the bytes; 0 until the training has read them.
    """

    key: _Hashes
    size: _Hashes
    content: _Hashes

    @classmethod
    def of(cls, table: Table) -> "SplitImages":
        """The images of a table that is about to be read; `content` is in memory shared by forked processes."""
        content = np.frombuffer(mmap.mmap(-1, max(8 * len(table), 1)), np.uint64, len(table))
        return cls(*_keys_and_sizes(table), content)

    @property
    def name(self) -> _Hashes:
        """Name, length and label as one hash."""
        return self.key ^ self.size


@dataclasses.dataclass(frozen=True, eq=False)
class RunImages:
    """The images of a run. fingerprint: of the dataset that the run was trained on."""

    trained_on: SplitImages
    held_out: SplitImages
    fingerprint: str

    @property
    def num_leaked(self) -> int:
        """How many held-out images are identical to a training image."""
        read = self.held_out.content[self.held_out.content != 0]
        return int(np.isin(read, self.trained_on.content).sum())

    def standing(self, table: Table, *, is_held_out: bool = False, threads: int = 0) -> npt.NDArray[np.int8]:
        """How the run used each image of a table: (N,) of OTHER, HELD_OUT and TRAINED_ON.

        table: labelled with the model's classes. is_held_out: the table is the split that the run validated on, so if
        both parts have an image's key, the image is the held-out one. Reads a sample of the images, and those that the
        run may have under another name. If one copy of an image was held out and another was trained on, it counts as
        trained on, unless its key shows which copy it is.
        """
        keys, sizes = _keys_and_sizes(table)
        names = keys ^ sizes
        is_trained, is_held = np.isin(names, self.trained_on.name), np.isin(names, self.held_out.name)
        is_trained &= ~(is_held & is_held_out)
        settled = is_trained != is_held
        unread = is_trained & np.isin(names, self.trained_on.name[self.trained_on.content == 0])  # known only by key
        if not self._names_hold(table, names, settled):
            settled[:] = unread[:] = False
        found = np.where(settled & is_trained, TRAINED_ON, np.where(settled, HELD_OUT, OTHER)).astype(np.int8)
        known_sizes = np.concatenate([self.trained_on.size, self.held_out.size])
        if len(unsettled := np.flatnonzero(~settled & np.isin(sizes, known_sizes))):
            contents = _contents(table, unsettled, threads)
            trained, held = (np.isin(contents, part.content) for part in (self.trained_on, self.held_out))
            found[unsettled] = np.where(trained | unread[unsettled], TRAINED_ON, np.where(held, HELD_OUT, OTHER))
        return found

    def alike(self, table: Table) -> int:
        """How many images of a table have the name and label of a training image of the run."""
        return int(np.isin(_keys_and_sizes(table)[0], self.trained_on.key).sum())

    def _names_hold(self, table: Table, names: _Hashes, settled: npt.NDArray[np.bool_]) -> bool:
        """Whether a sample of the images found by name have the bytes that the run read under those names.

        If the keys are just numbers and all images have the same length, a name identifies nothing.
        """
        rows = np.flatnonzero(settled)
        content_of = {
            name: content
            for part in (self.trained_on, self.held_out)
            for name, content in zip(*_chosen(part, names[_evenly(rows)]), strict=True)
        }
        expected = [(row, content_of[int(names[row])]) for row in _evenly(rows).tolist()]
        return all(content_digest(table.read(row)) == content for row, content in expected if content)


def _chosen(part: SplitImages, names: _Hashes) -> tuple[list[int], list[int]]:
    """(names, contents) of the images of a part that have one of these names."""
    taken = np.isin(part.name, names)
    return part.name[taken].tolist(), part.content[taken].tolist()


def _evenly(rows: IntArray) -> IntArray:
    """At most _SAMPLE of the rows, spread evenly."""
    return rows[:: -(-len(rows) // _SAMPLE)] if len(rows) else rows


def _keys_and_sizes(table: Table) -> tuple[_Hashes, _Hashes]:
    labels = table.labels.tolist()
    keys = (f"{_stem(key)}/{label}" for key, label in zip(table.keys(), labels, strict=True))
    sizes = (f"{length} {label}" for length, label in zip(table.lengths.tolist(), labels, strict=True))
    return _hashes(keys), _hashes(sizes)


def _stem(key: str) -> str:
    """The last part of a key without its suffix: "n01440764_1" of "train/n01440764/n01440764_1.JPEG"."""
    base = key.rpartition("/")[2]
    return base.rpartition(".")[0] or base


def _hashes(texts: Iterable[str]) -> _Hashes:
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _contents(table: Table, rows: IntArray, threads: int) -> _Hashes:
    """The content digests of rows, (len(rows),), read in the order of their positions on disk."""
    place = np.empty(len(table), np.int64)
    place[table.in_file_order()] = np.arange(len(table))
    order = np.argsort(place[rows])
    found = np.empty(len(rows), np.uint64)
    with (
        concurrent.futures.ThreadPoolExecutor(num_threads(threads)) as pool,
        progress("compare", len(rows), "images") as advance,
    ):
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            found[some] = list(pool.map(lambda row: content_digest(table.read(row)), rows[some].tolist()))
            advance(len(some), "")
    return found


class Recorder:
    """Records the images of a run while it trains.

    trained_on, held_out: the tables to read the images from, so that their bytes are hashed as they are read.
    """

    def __init__(self, folder: Path, train: Table, val: Table, fingerprint: str) -> None:
        """Continue the record in the folder if it describes the same data; otherwise start with no image read."""
        self._path = folder / IMAGES
        self._images = RunImages(SplitImages.of(train), SplitImages.of(val), fingerprint)
        self._num_saved = -1
        if is_there(self._path):
            self._take_over(read_images(self._path))
        self.trained_on = train.digesting(self._images.trained_on.content)
        self.held_out = val.digesting(self._images.held_out.content)

    def _take_over(self, saved: RunImages) -> None:
        for ours, theirs in zip(self._parts(), (saved.trained_on, saved.held_out), strict=True):
            if np.array_equal(ours.key, theirs.key) and np.array_equal(ours.size, theirs.size):
                ours.content[:] = theirs.content

    def _parts(self) -> tuple[SplitImages, SplitImages]:
        return self._images.trained_on, self._images.held_out

    def save(self) -> None:
        """Write the file, unless no new image was read since the last save."""
        num_read = sum(int(np.count_nonzero(part.content)) for part in self._parts())
        if num_read != self._num_saved:
            write_images(self._path, self._images)
            self._num_saved = num_read


def write_images(path: Path, images: RunImages) -> None:
    """Write the file completely or not at all. Raises TenchError if the disk is full."""
    from safetensors.numpy import save_file

    arrays = {
        f"{where}.{field}": np.ascontiguousarray(getattr(part, field))
        for where, part in ((_TRAINED, images.trained_on), (_HELD, images.held_out))
        for field in (_KEY, _SIZE, _CONTENT)
    }
    with complete_safetensors(path) as part_file:
        save_file(arrays, part_file, metadata={"version": _VERSION, "fingerprint": images.fingerprint})


def read_images(path: Path) -> RunImages:
    """The images of a run. Raises PassingError if the file cannot be read, TenchError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        require_file(path)
        require_readable(path)
        with safe_open(path, framework="numpy") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise PassingError(f"{path}: cannot be read ({error.strerror}).") from error
    except (SafetensorError, MemoryError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.get("version") != _VERSION:
        raise _damaged(path, f"its version is {metadata.get('version')!r}, expected {_VERSION!r}")
    trained_on, held_out = (_part(arrays, where, path) for where in (_TRAINED, _HELD))
    return RunImages(trained_on, held_out, metadata.get("fingerprint", ""))


def _part(arrays: Mapping[str, Any], where: str, path: Path) -> SplitImages:
    columns = [arrays.get(f"{where}.{field}", np.zeros(())) for field in (_KEY, _SIZE, _CONTENT)]
    if {(column.dtype.name, column.ndim, column.size) for column in columns} != {("uint64", 1, columns[0].size)}:
        raise _damaged(path, f"{where} is not three lists of equal length")
    return SplitImages(*columns)


def _damaged(path: Path, reason: str) -> TenchError:
    return TenchError(
        f"{path} does not list the images of a run ({reason}). Restore a copy or delete it. Without it, tench "
        "evaluate cannot tell which images the model was trained on."
    )


def images_of(source: str, fingerprint: str | None) -> RunImages | None:
    """The images of the run that a model comes from; None if the file is missing.

    source: the run directory or weights file. fingerprint: of the data in the model's card; a file from another run is
    ignored.
    """
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if fingerprint is None or not path.exists() or not is_there(folder / IMAGES):
        return None
    images = read_images(folder / IMAGES)
    return images if images.fingerprint == fingerprint else None
