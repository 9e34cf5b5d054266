"""Arrays as a dataset: images (N, H, W[, C]) and labels (N,), as in the files of Keras, MedMNIST and PatchCamelyon.

Shapes decide which array contains the images and which the labels; if several fit, names decide. A word in the name of
an array or its file names the split. uint8 arrays in one piece are addressed in place as raw pixels. Other arrays are
copied once if their values are exactly whole numbers from 0 to 255, or steps of 1/255 from 0 to 1; anything else is
refused rather than rounded.
"""

import dataclasses
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.files.beside import text_beside
from tench.data.files.spool import spool_path
from tench.data.files.tree import Tree
from tench.data.formats.class_files import agreed, class_files
from tench.data.formats.wordnet import names_of
from tench.data.limits import LIMITS
from tench.data.splits import TEST, TRAIN, group_by_split, without_split
from tench.data.table import PIXELS_CHW, PIXELS_HWC, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError
from tench.files import complete_file, require_space

IMAGE_NAMES = ("images", "image", "imgs", "img", "x", "data")
LABEL_NAMES = ("labels", "label", "y", "targets", "target", "classes", "class")
_CLASS_NAMES = ("class_names", "label_names", "classes", "names", "target_names", "list_classes", "categories")

_BLOCK_BYTES = 2**24
_MAX_LABEL_BYTES = 2**31
_STEP = 1e-3
"""How far a pixel in 0 to 1 may be from a step of 1/255: about the precision of float16."""

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of a file.

    path: in the tree, "set.npz/train_images". name: "train_images". where: for messages. read: entries from start to
    stop. place: the file on disk and the offset of its bytes in C order, after copying them there if needed; None if
    they can only be read.
    """

    path: str
    name: str
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int, int], npt.NDArray[Any]]
    place: Callable[[], tuple[str, int]] | None = None

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def container(self) -> str:
        return self.path[: -len(self.name)].rstrip("/")

    @property
    def word(self) -> str:
        """The array's name without its split: "images" for train_images, "x" for X_train."""
        return without_split(self.name)

    def __str__(self) -> str:
        return f"{self.path} {self.dtype} {self.shape}"


def may_be_images(array: Array) -> bool:
    """Whether an array has the shape and number type of images."""
    if len(array.shape) not in (3, 4) or array.dtype.kind not in "uifb" or min(array.shape) == 0:
        return False
    return math.prod(array.shape[1:]) > 1  # PCam's labels are (N, 1, 1, 1)


def contents_of(tree: Tree, arrays: Sequence[Array]) -> Contents:
    """The dataset of these arrays. Raises TenchError if there is none, or if the images or labels are ambiguous."""
    keys = tree.options.record_keys()
    able = [array for array in arrays if may_be_images(array)]
    images = _chosen(able, keys.image, arrays, tree, "image")
    if not images:
        raise TenchError(
            f"{tree.source}: no array has the shape of images: (N, H, W), (N, H, W, C) or (N, C, H, W). "
            f"{_listing(arrays)} Save flattened images with their height and width."
        )
    counts = {len(array) for array in images}
    rest = [array for array in arrays if array not in able and len(array) in counts and may_be_labels(array)]
    labels = _chosen(rest, keys.label, arrays, tree, "label")
    pairs, notes = _pairs(tree, images, labels, arrays)
    values = {split: [(image, _values(label) if label else None) for image, label in of] for split, of in pairs.items()}
    classes, index, more = _classes(tree, values, arrays)
    if len(classes) < 2:
        label = next(label for of in pairs.values() for _, label in of if label)
        raise TenchError(
            f"{label.where}: all labels are {label.read(0, 1).ravel()[0]!s}. At least two classes are needed."
        )
    splits = {split: _rows(tree, split, of, index) for split, of in values.items()}
    used = {id(array) for of in pairs.values() for pair in of for array in pair}
    if others := [array.path for array in arrays if id(array) not in used and array.word not in ("classnames",)]:
        notes.append(f"Left out arrays that are neither images nor labels: {', '.join(others[:5])}.")
    first = next(iter(pairs.values()))[0]
    told = f"Images: {first[0].path}; labels: {first[1].path if first[1] else 'none'}."
    return Contents(classes, splits, stamp=list(tree.stamp), notes=[told, *more, *notes])


def _listing(arrays: Sequence[Array]) -> str:
    shown = ", ".join(map(str, arrays[:12])) + (f", ... ({len(arrays):,} in all)" if len(arrays) > 12 else "")
    return f"Its arrays are: {shown or 'none'}."


def may_be_labels(array: Array) -> bool:
    """Whether an array has one entry per image, or one column per class."""
    if array.dtype.kind in "US":
        return len(array.shape) == 1
    return array.dtype.kind in "uifb" and (len(array.shape) <= 2 or math.prod(array.shape[1:]) == 1)


def _chosen(able: list[Array], asked: str | None, arrays: Sequence[Array], tree: Tree, what: str) -> list[Array]:
    """The arrays given by --keys; else those with a usual name, or all candidates if there is none."""
    if asked is None:
        names = IMAGE_NAMES if what == "image" else LABEL_NAMES
        return [array for array in able if array.word in names] or able
    found = [array for array in able if asked in (array.path, array.name)]
    found = found or [array for array in able if asked.lower() == array.word]
    if not found:
        raise TenchError(f"{tree.source}: no array {asked!r} with the shape of {what}s. {_listing(arrays)}")
    return found


_Pair = tuple[Array, Array | None]


def _pairs(
    tree: Tree, images: list[Array], labels: list[Array], arrays: Sequence[Array]
) -> tuple[dict[str, list[_Pair]], list[str]]:
    """The matching images and labels of each split, and notes."""
    of_path = {array.path: array for array in (*images, *labels)}
    by_split, notes = group_by_split(
        of_path, str(tree.source), "arrays", split_from=tree.options.split_from, root=tree.root.name
    )
    pairs: dict[str, list[_Pair]] = {}
    for split, paths in by_split.items():
        group = [of_path[path] for path in paths]
        these_images, these_labels = ([array for array in group if array in of] for of in (images, labels))
        if not these_images:
            notes.append(f"Left out {these_labels[0].path}: it has labels of {split}, but no array has the images.")
            continue
        pairs[split] = _paired(tree, split, these_images, these_labels, arrays)
    if not any(label for of in pairs.values() for _, label in of):
        raise TenchError(
            f"{tree.source}: {images[0].path} has images, but no array has the labels. {_listing(arrays)} Name them "
            "with --keys image=NAME,label=NAME."
        )
    return pairs, notes


def _paired(tree: Tree, split: str, images: list[Array], labels: list[Array], arrays: Sequence[Array]) -> list[_Pair]:
    """The pairs of one split: one pair, or one for each file of a numbered series."""
    images = _by_name(images, IMAGE_NAMES)
    labels = _by_name([label for label in labels if len(label) in set(map(len, images))], LABEL_NAMES)
    if len(images) == 1 and len(labels) == 1:
        return [(images[0], labels[0])]
    if len(images) == 1 and not labels and split == TEST:
        return [(images[0], None)]
    series = {re.sub(r"\d+", "", image.path) for image in images}
    of_container = {label.container: label for label in labels}
    if len(series) == 1 and len(of_container) == len(labels) == len(images) > 1:
        pairs = [(image, of_container.get(image.container)) for image in images]
        if all(label is not None and len(label) == len(image) for image, label in pairs):
            return pairs
    found = "; ".join(
        f"{what}: {', '.join(map(str, some)) or 'none'}" for what, some in (("images", images), ("labels", labels))
    )
    everything = "" if images and labels else f" {_listing(arrays)}"
    raise TenchError(
        f"{tree.source}: it is unclear which arrays contain the images and labels of {split}. Possible "
        f"{found}.{everything} Name them with --keys image=NAME,label=NAME, or leave files out with --exclude PATTERN."
    )


def _by_name(arrays: list[Array], names: Sequence[str]) -> list[Array]:
    """The arrays; if there are several, only those with the first of these names that occurs."""
    if len(arrays) < 2:
        return arrays
    for name in names:
        if found := [array for array in arrays if array.word == name]:
            return found
    return arrays


def _values(array: Array) -> npt.NDArray[Any]:
    """The labels of an array, (N,) int64 or text; -1 or "" means none. Raises TenchError for a value that is not a
    class."""
    if array.dtype.itemsize * math.prod(array.shape) > _MAX_LABEL_BYTES:
        raise TenchError(
            f"{array.where} has labels of shape {array.shape}, too many to read. Name another array with --keys "
            "label=NAME."
        )
    values = array.read(0, len(array))
    if values.size == len(array):
        values = values.reshape(-1)
    if values.dtype.kind in "US":
        return np.char.strip(values.astype(str))
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise TenchError(
            f"{array.where}: the labels are fractions (the first is {values.ravel()[0]!s}). A class is a whole number "
            "or text. Name another array with --keys label=NAME."
        )
    if values.ndim == 2:
        values = _from_columns(array, values)
    whole: npt.NDArray[np.int64] = values.astype(np.int64)
    most = max(LIMITS.classes, 1)
    if (wrong := np.flatnonzero((whole < -1) | (whole >= most))).size:
        row = int(wrong[0])
        raise TenchError(
            f"{array.where}: entry {row:,} is {whole[row]:,}; a class is a whole number from 0 to {most - 1:,}, or -1 "
            f"for none. {wrong.size:,} of the {len(whole):,} entries are affected."
        )
    return whole


def _from_columns(array: Array, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The class of each row from one column per class. Raises TenchError if a row has several, or none."""
    wrong = np.flatnonzero(((values != 0) & (values != 1)).any(1) | (values.sum(1) != 1))
    if wrong.size:
        raise TenchError(
            f"{array.where} has {values.shape[1]} columns, and row {int(wrong[0]):,} is "
            f"{values[wrong[0]].tolist()[:20]}: exactly one column of a row should be 1. {wrong.size:,} of the "
            f"{len(values):,} rows are affected. Images with several labels or none cannot be read from arrays. Name "
            "another array with --keys label=NAME."
        )
    return np.asarray(values.argmax(1), np.int64)


_Labelled = list[tuple[Array, npt.NDArray[Any] | None]]


def _classes(
    tree: Tree, splits: dict[str, _Labelled], arrays: Sequence[Array]
) -> tuple[Classes, dict[str, int] | None, list[str]]:
    """The classes, the index of labels that are text (None for numbers), and notes."""
    values = {split: [found for _, found in of if found is not None] for split, of in splits.items()}
    every = [found for of in values.values() for found in of]
    kinds = {found.dtype.kind for found in every}
    if "U" in kinds:
        if kinds != {"U"}:
            raise TenchError(f"{tree.source}: some arrays have labels as text, others as numbers. Use one form.")
        first = TRAIN if values.get(TRAIN) else next(split for split, of in values.items() if of)
        ids = sorted({str(text) for found in values[first] for text in np.unique(found)} - {""})
        index = {text: number for number, text in enumerate(ids)} | {"": -1}
        for split, of in values.items():
            if unknown := sorted({str(text) for found in of for text in np.unique(found)} - index.keys()):
                raise TenchError(f"{tree.source}: {split} has the label {unknown[0]!r}, which {first} does not have.")
        return Classes.of(ids, names_of(ids)), index, []
    count = max(int(found.max(initial=-1)) for found in every) + 1
    listed = [array for array in arrays if array.name.lower() in _CLASS_NAMES and array.dtype.kind in "US"]
    for array in listed:
        names = [str(name) for name in np.char.strip(array.read(0, len(array)).astype(str)).reshape(-1)]
        if count <= len(names) == len(set(names)) and all(names):
            return Classes.of(names, names_of(names)), None, [f"The class names are from {array.path}."]
    files = list(dict.fromkeys(image.container for of in splits.values() for image, _ in of))
    beside, notes = agreed(
        [file for file in class_files(lambda name: text_beside(tree, files, name)) if len(file) >= count]
    )
    if beside:
        return beside.classes, None, [*notes, f"The class names are from {beside.where}."]
    notes.append("The classes are only numbers. To name them, put a classes.txt next to the file.")
    return Classes.numbered_to(count), None, notes


def _rows(tree: Tree, split: str, pairs: _Labelled, index: dict[str, int] | None) -> Rows:
    shards: dict[str, int] = {}
    columns: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("shard", "offset", "length", "label", "height", "width", "channels")
    }
    encodings = set()
    for image, values in pairs:
        height, width, channels, encoding = _geometry(image)
        path, start, stored = _addressed(tree, image, channels, encoding)
        encodings.add(encoding)
        count, length = len(image), height * width * stored
        label = np.full(count, -1) if values is None else values
        if index is not None and values is not None:
            label = np.array([index[str(text)] for text in values], np.int32)
        found = {
            "shard": np.full(count, shards.setdefault(path, len(shards))),
            "offset": start + np.arange(count, dtype=np.int64) * length,
            "length": np.full(count, length, np.int64),
            "label": label.astype(np.int32),
            "height": np.full(count, height, np.int32),
            "width": np.full(count, width, np.int32),
            "channels": np.full(count, stored, np.int8),
        }
        for name, column in found.items():
            columns[name].append(column)
    if len(encodings) > 1:
        raise TenchError(
            f"{tree.source}: some arrays of {split} have their channels first, others last. Use one order."
        )
    joined: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    keys = numbered_keys(len(joined["label"]))
    return Rows(shards=list(shards), key=keys, encoding=encodings.pop(), **joined)


def _geometry(array: Array) -> tuple[int, int, int, str]:
    """(height, width, channels, encoding) of the images of an array."""
    if len(array.shape) == 3:
        return array.shape[1], array.shape[2], 1, PIXELS_HWC
    if array.shape[3] in (1, 3, 4):
        return array.shape[1], array.shape[2], array.shape[3], PIXELS_HWC
    if array.shape[1] in (1, 3):
        return array.shape[2], array.shape[3], array.shape[1], PIXELS_CHW
    raise TenchError(
        f"{array.where}: its shape {array.shape} is not that of images: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 "
        "or 3 channels C. Volumes and other arrays are not read. Save slices of them as images."
    )


def _addressed(tree: Tree, array: Array, channels: int, encoding: str) -> tuple[str, int, int]:
    """(file on disk, offset, channels) of an array's pixels as uint8: in place, else copied. Alpha is dropped."""
    if array.dtype == np.uint8 and channels != 4 and array.place is not None:
        return *array.place(), channels
    stored = min(channels, 3)
    target = spool_path(tree, array.path, ".pixels")
    num_bytes = math.prod(array.shape) // channels * stored
    scale = _scale(array)
    require_space(target, num_bytes, array.where)
    _log.info("%s: copying %.1f MB of pixels once to %s.", array.where, num_bytes / 1e6, target)
    with complete_file(target) as part, part.open("wb") as sink:
        for block in _blocks(array):
            if scale != 1:
                block = np.rint(block.astype(np.float64) * scale)
            pixels = block.astype(np.uint8)
            sink.write(np.ascontiguousarray(pixels[..., :3] if channels == 4 else pixels).tobytes())
    tree.stamp[str(target)] = None
    return str(target), 0, stored


def _blocks(array: Array) -> Iterator[npt.NDArray[Any]]:
    each = max(1, array.dtype.itemsize * math.prod(array.shape[1:]))
    step = max(1, _BLOCK_BYTES // each)
    for start in range(0, len(array), step):
        yield array.read(start, min(start + step, len(array)))


def _scale(array: Array) -> int:
    """The factor that turns the values of an array into pixels: 1 or 255. Raises TenchError if they are not pixels."""
    if array.dtype == np.uint8:
        return 1
    if array.dtype.kind == "b":
        return 255
    low, high, whole, steps = np.inf, -np.inf, True, True
    for block in _blocks(array):
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        if not (np.isfinite(low) and np.isfinite(high)):
            break
        if block.dtype.kind == "f":
            exact = block.astype(np.float64)
            whole = whole and bool((exact == np.floor(exact)).all())
            steps = steps and bool((np.abs(exact * 255 - np.rint(exact * 255)) < 255 * _STEP).all())
    if low >= 0 and high <= 1 and array.dtype.kind == "f" and steps:
        return 255
    if low >= 0 and high <= 255 and whole:
        return 1
    raise TenchError(
        f"{array.where}: its values ({array.dtype}) range from {low:.6g} to {high:.6g}. Pixels are whole numbers from "
        "0 to 255, or steps of 1/255 from 0 to 1. Save the images as uint8."
    )
