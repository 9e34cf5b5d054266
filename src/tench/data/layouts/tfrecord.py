"""TFRecord files of tf.train.Example with one image each, with the keys of imagenet_to_gcs, Slim, TFDS or others.

    image/encoded  image/class/label  image/class/synset, text  image/filename  image/object/bbox/*    official, Slim
    image          label                                        file_name                              TFDS

Images are addressed in place; files compressed as a whole are unpacked once into the cache. A word in the name of a
file or its folder determines the split, and `-of-N` the number of files. If records name their class (synset), that
name is used, and the label numbers, which begin at 0 or 1, are only checked. Otherwise the numbers are the classes, and
a note says whether they begin at 0 or 1, and why. Heights and widths of image files are ignored, because some
converters store those of the original. Other keys are recognised by their values: `tench.data.formats.record_keys`.
Sources: tensorflow/tpu, tools/datasets/imagenet_to_gcs.py; tensorflow/models, research/slim/datasets;
tensorflow/datasets, core/features/class_label_feature.py.
"""

import contextlib
import dataclasses
import logging
import re
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from tench.data.files.beside import text_beside
from tench.data.files.compressed import refuse_bomb
from tench.data.files.tree import Tree
from tench.data.formats import tfrecord
from tench.data.formats.class_files import CLASSES_JSON, CLASSES_TXT, ClassFile, parse
from tench.data.formats.record_keys import BOX, LABEL, SYNSET, TEXT, Keys, Sample, keys_of_records
from tench.data.formats.tfrecord import Features
from tench.data.formats.wordnet import WNID, names_of
from tench.data.keys import keys_of
from tench.data.limits import LIMITS
from tench.data.splits import group_by_split
from tench.data.table import PIXELS_HWC, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError, counted, some
from tench.files import complete_file, require_space
from tench.progress import progress

NAME = "tfrecord"
OPTIONS = frozenset({"keys", "label", "split_from"})

_FILE_NAME = re.compile(
    r"(?P<stem>.+?)(?:[-_.](?P<number>\d+)-of-(?P<count>\d+))?"
    r"(?P<suffix>(?P<known>\.tfrec(?:ords?)?)?(?:\.(?:gz|gzip|zlib|zz|z))?)",
    re.ASCII,
)
"""`train-00000-of-01024`, `imagenet2012-train.tfrecord-00000-of-01024`, `flowers_train_00000-of-00005.tfrecord`."""

_TFDS_NAMES, _SLIM_NAMES, *_OUR_NAMES = _LISTS = ("label.labels.txt", "labels.txt", CLASSES_TXT, CLASSES_JSON)
"""Lists of classes next to the files: one name per line, from 0; `<number>:<name>` lines, in which 0 may be background;
ids with names, as tench writes them."""
_SLIM_LINE = re.compile(r"(\d{1,9}):(.*)")

_FIRST_FILES = 8
"""Records that are read to recognise the layout."""
_HEAD_BYTES = 4096
_SAMPLED_FILES, _SAMPLED_RECORDS = 8, 64
"""Records that are read to find the keys of images and labels."""
_VERIFIED_BYTES = 2**30
"""Up to this total size, files are read whole and all checksums verified, which takes a second or two."""

_BACKGROUND = "background"
_KINDS = {int: "whole numbers", float: "floats", bytes: "bytes", tuple: "bytes"}

_Value = TypeVar("_Value")
_Boxes = list[list[float]] | None
_NO_BOXES: _Boxes = []

_log = logging.getLogger("tench")


def recognise(tree: Tree) -> bool:
    """Whether a file with the name of a TFRecord file begins like one: the checksum of its first length is right."""
    try:
        return any(tfrecord.begins_with_record(_head(tree, name)) for name in islice(_candidates(tree), _FIRST_FILES))
    except (TenchError, OSError):
        return False


def read(tree: Tree) -> Contents:
    """The images of all files. Raises TenchError if one is damaged or missing, or if labels contradict each other."""
    files, notes = _files_by_split(tree)
    names = [name for group in files.values() for name in group]
    unpacked = _unpack(tree, names)
    if sum(int(tree.length[tree.index(name)]) for name in names) <= _VERIFIED_BYTES:
        for name in names:
            with _open(tree, name, unpacked) as file:
                tfrecord.verify(file, tree.place(name))
    keys = keys_of_records(_samples(tree, names, unpacked), tree.options.record_keys(), str(tree.source))
    notes += keys.note()
    seen, splits = _Seen(tfds=not keys.found), dict[str, _Split]()
    with progress("Reading TFRecord files", len(names), "files") as advance:
        for split, group in files.items():
            found = _Split()
            for name in group:
                _read_file(tree, name, unpacked, keys, found, seen)
                advance(1, "")
            if found.length:
                splits[split] = found
            else:
                notes.append(f"The files of {split} contain no records, so the split is left out.")
    if not splits:
        raise TenchError(f"{tree.source}: the {len(names)} TFRecord files contain no records. Convert them again.")
    listed = _listed(tree, names)
    if seen.number_of or seen.without_number:
        known = _known_by_id(seen, listed, _ours(tree, names), keys.synset[0])
    else:
        known = _known_by_number(tree, seen, listed)
    notes = [*known.notes, *notes]
    if seen.differing:
        notes.append(
            f"{TEXT} differs within {counted(len(seen.differing), 'class')}; the first is used as the class's name."
        )
    rows = {split: _rows(split, found, known, notes) for split, found in splits.items()}
    if seen.num_bad_boxes:
        notes.append(f"Left out {counted(seen.num_bad_boxes, 'box')} with corners outside 0 to 1.")
    stamp = dict.fromkeys([*tree.stamp, *(str(path) for path in unpacked.values())])
    return Contents(known.classes, rows, stamp=list(stamp), notes=notes)


@dataclasses.dataclass
class _Split:
    """The images of one split as they are read, one entry per image.

    files: each shard's path on disk. places: (first row, name for errors) of each TFRecord file. start: of the record's
    payload in its file. number: -1 if missing. class_id, path: None if missing. sides: height, width,
    channels, only of raw pixels.
    """

    files: dict[str, int] = dataclasses.field(default_factory=dict)
    places: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    shard: "array[int]" = dataclasses.field(default_factory=lambda: array("i"))
    start: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    offset: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    length: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    number: "array[int]" = dataclasses.field(default_factory=lambda: array("q"))
    class_id: list[str | None] = dataclasses.field(default_factory=list)
    path: list[str | None] = dataclasses.field(default_factory=list)
    boxes: list[_Boxes] = dataclasses.field(default_factory=list)
    sides: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)

    def place(self, row: int) -> str:
        first, where = next(place for place in reversed(self.places) if place[0] <= row)
        return tfrecord.place(where, row - first, self.start[row])


@dataclasses.dataclass
class _Seen:
    """Facts about the classes from the records of all splits.

    number_of, id_of: label number by class id, and the reverse. without_number: class ids. without_id: label numbers.
    text_of: names for people by class id, or by number if there is none; differing: of those that have several.
    tfds: all label numbers are under TFDS's key.
    """

    number_of: dict[str, int] = dataclasses.field(default_factory=dict)
    id_of: dict[int, str] = dataclasses.field(default_factory=dict)
    without_number: set[str] = dataclasses.field(default_factory=set)
    without_id: set[int] = dataclasses.field(default_factory=set)
    text_of: dict[str | int, str] = dataclasses.field(default_factory=dict)
    differing: set[str | int] = dataclasses.field(default_factory=set)
    tfds: bool = True
    num_bad_boxes: int = 0

    def add(self, class_id: str | None, number: int, text: str | None) -> None:
        """Add one record's class. Raises ValueError if it contradicts an earlier one."""
        if class_id is None:
            self.without_id.add(number)
        elif number < 0:
            self.without_number.add(class_id)
        else:
            known = self.number_of.setdefault(class_id, number)
            other = self.id_of.setdefault(number, class_id)
            if (known, other) != (number, class_id):
                before = f"{class_id} has label {known}" if known != number else f"label {number} is {other}"
                raise ValueError(
                    f"its class is {class_id} and its label {number}, but in earlier records {before}. One of the "
                    "two is wrong. Convert the images again"
                )
        if text and self.text_of.setdefault(class_id or number, text) != text:
            self.differing.add(class_id or number)


@dataclasses.dataclass(frozen=True)
class _Listed:
    """Classes by label number from a file next to the records. are_ids: these are ids, not only names for people."""

    where: str
    names: Mapping[int, str]
    are_ids: bool


@dataclasses.dataclass(frozen=True)
class _Known:
    """The classes, the class of each label number, the reason if a number has none, and notes for the user."""

    classes: Classes
    label_of: Mapping[int, int]
    unknown: str
    notes: Sequence[str]


def _candidates(tree: Tree) -> Iterator[str]:
    """The files with the names of TFRecord files."""
    for name in tree.names:
        if "-of-" in name or ".tfrec" in name:  # a quick test for up to a million other files
            parts = _FILE_NAME.fullmatch(name.rpartition("/")[2])
            if parts and (parts["count"] or parts["known"]):
                yield name


def _head(tree: Tree, name: str) -> bytes:
    with tree.open(name) as file:
        return file.read(_HEAD_BYTES)


def _files_by_split(tree: Tree) -> tuple[dict[str, list[str]], list[str]]:
    """The files of each split, and notes. Raises TenchError if some are missing, or a split has two sets."""
    candidates = list(_candidates(tree))
    in_order, notes = group_by_split(
        candidates, str(tree.source), "TFRecord files", split_from=tree.options.split_from, root=tree.root.name
    )
    # Files that were named one by one, or by a pattern, may be only a part of a set.
    chosen = tree.root.is_dir() and not tree.source.is_dir()
    for split, names in in_order.items():
        if (promised := _check_set(tree, split, names, chosen)) > len(names):
            notes.append(f"These are {len(names):,} of the {promised:,} files of {split}.")
    others = sorted({*tree.names} - {*candidates, *_list_names(candidates, *_LISTS)})
    if others:
        notes.append(f"Left out files without a TFRecord name: {some(others, at_most=3)}.")
    return in_order, notes


def _check_set(tree: Tree, split: str, names: list[str], chosen: bool) -> int:
    """Raise TenchError if a split has more than one set of files, or lacks some; return how many a set should have.

    chosen: the user named these files one by one or by a pattern.
    """
    sets: dict[tuple[str, ...], dict[int, str]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        parts = _FILE_NAME.fullmatch(base)
        assert parts is not None
        if parts["count"]:
            group = sets.setdefault((folder, parts["stem"], parts["count"], parts["suffix"]), {})
            first = group.setdefault(int(parts["number"]), name)
            if first != name:
                raise TenchError(f"{tree.root}: {first} and {name} have the same number. Keep one of them.")
        else:
            group = sets.setdefault((), {})
            group[len(group)] = name
    if len(sets) > 1:
        firsts = [f"{group[min(group)]} ({len(group)} in all)" for group in sets.values()]
        raise TenchError(
            f"{tree.root} contains {len(sets)} sets of files of the split {split!r}: {'; '.join(firsts)}. A split "
            "must be one set. Move the others away, or pass the folder of one."
        )
    (key, group), *_ = sets.items()
    if not key:
        return len(group)
    count = int(key[2])
    if max(group) >= count:
        raise TenchError(f"{tree.root / group[max(group)]}: its number must be less than {count:,}. Rename the file.")
    if len(group) < count and not chosen:
        example = group[min(group)]
        parts = _FILE_NAME.fullmatch(example)
        assert parts is not None
        before, after, width = example[: parts.start("number")], example[parts.end("number") :], len(parts["number"])
        missing = (f"{before}{number:0{width}}{after}" for number in range(count) if number not in group)
        shown = ", ".join(name for name, _ in zip(missing, range(5), strict=False))
        raise TenchError(
            f"{tree.root}: {count - len(group):,} of the {count:,} files of {split} are missing: {shown}"
            f"{', ...' if count - len(group) > 5 else ''}. Copy or convert them; to use a part of the set, name its "
            "files by a pattern (in quotes), or move them to a folder and remove the -of- from their names."
        )
    return count


def _unpack(tree: Tree, names: Sequence[str]) -> dict[str, Path]:
    """Unpack the files that are compressed as a whole into the cache; returns the path of each."""
    packed = [name for name in names if tfrecord.is_compressed(_head(tree, name))]
    if not packed:
        return {}
    num_bytes = sum(int(tree.length[tree.index(name)]) for name in packed)
    require_space(tree.spool / packed[0], num_bytes, str(tree.source))
    _log.info(
        "%s: %d files are compressed and cannot be read in place. Unpacking them (%.1f MB compressed, more when "
        "unpacked) once to %s.",
        tree.source,
        len(packed),
        num_bytes / 1e6,
        tree.spool,
    )
    return {name: _unpack_file(tree, name) for name in packed}


def _unpack_file(tree: Tree, name: str) -> Path:
    where, path = tree.place(name), tree.record_copy(tree.spool / name, name)
    packed_bytes, num_bytes = int(tree.length[tree.index(name)]), 0
    try:
        with complete_file(path) as part, part.open("wb") as sink, tree.open(name) as file:
            for block in tfrecord.inflated(file, where):
                num_bytes += len(block)
                refuse_bomb(packed_bytes, num_bytes, where, tree.limits)
                sink.write(block)
    except OSError as error:
        raise TenchError(
            f"{where} cannot be unpacked to {path} ({error.strerror}). Make room there, or set TENCH_CACHE to a "
            "folder on a larger disk."
        ) from error
    return path


def _open(tree: Tree, name: str, unpacked: Mapping[str, Path]) -> BinaryIO:
    return unpacked[name].open("rb") if name in unpacked else tree.open(name)


def _samples(tree: Tree, names: Sequence[str], unpacked: Mapping[str, Path]) -> list[Sample]:
    """The first records of a sample of the files."""
    found: list[Sample] = []
    for name in names[:: -(-len(names) // _SAMPLED_FILES)]:
        with _open(tree, name, unpacked) as file:
            found += tfrecord.samples(file, tree.place(name), _SAMPLED_RECORDS)
    return found


def _read_file(tree: Tree, name: str, unpacked: Mapping[str, Path], keys: Keys, found: _Split, seen: _Seen) -> None:
    where, position = tree.place(name), tree.index(name)
    path = str(unpacked[name]) if name in unpacked else tree.shards[int(tree.shard[position])]
    base = 0 if name in unpacked else int(tree.offset[position])
    shard = found.files.setdefault(path, len(found.files))
    found.places.append((len(found.length), where))
    with _open(tree, name, unpacked) as file:
        for (start, stop), features in tfrecord.examples(file, where, keys.wanted, keys.image):
            found.shard.append(shard)
            found.start.append(start)
            try:
                image = _only(features, keys.image, tuple, "an image file (JPEG, PNG)")
                if image is None:
                    has = ", ".join(tfrecord.keys(file, start, stop)) or "none"
                    raise ValueError(f"it has no {' or '.join(keys.image)} for the image. Its keys are: {has}")
                if keys.raw:
                    found.sides.append(_sides(features, keys.raw, image[1] - image[0]))
                found.offset.append(base + image[0])
                found.length.append(image[1] - image[0])
                _read_record(features, keys, found, seen)
            except ValueError as error:
                raise TenchError(f"{found.place(len(found.shard) - 1)}: {error}.") from error


def _sides(features: Features, keys: Sequence[str], num_bytes: int) -> tuple[int, int, int]:
    """Height, width and channels of raw pixels. Raises ValueError if they do not match the number of bytes."""
    sides = [_only(features, (key,), int, "a whole number") or 0 for key in keys]
    height, width, *more = sides
    channels = more[0] if more else num_bytes // max(1, height * width)
    if min(height, width) < 1 or channels not in (1, 3) or height * width * channels != num_bytes:
        raise ValueError(f"{', '.join(keys)} are {sides}, which is not the size of an image of {num_bytes:,} bytes")
    return height, width, channels


def _read_record(features: Features, keys: Keys, found: _Split, seen: _Seen) -> None:
    """Add everything but the image of a record. Raises ValueError with the reason if a value is invalid."""
    number = _only(features, keys.label, int, "a whole number")
    class_id = _text(features, keys.synset)
    if number is None:
        number = -1
    elif number < -1:
        raise ValueError(f"its label is {number:,}; labels are numbers from 0, or -1 for no label")
    elif LABEL[0] in features:
        seen.tfds = False
    if class_id is not None or number >= 0:
        seen.add(class_id, number, _text(features, (TEXT,)))
    found.number.append(number)
    found.class_id.append(class_id)
    found.path.append(_file_name(features, keys.file))
    found.boxes.append(_boxes(features, seen))


def _only(features: Features, keys: Sequence[str], kind: type[_Value], expected: str) -> _Value | None:
    """The value of the first of these keys that has one. Raises ValueError if there are several."""
    for key in keys:
        if values := features.get(key):
            if len(values) > 1:
                raise ValueError(f"{key} has {len(values):,} values; expected one, {expected}")
            if not isinstance(values[0], kind):
                raise ValueError(f"{key} contains {_KINDS[type(values[0])]}; expected {expected}")
            return values[0]
    return None


def _text(features: Features, keys: Sequence[str]) -> str | None:
    value = _only(features, keys, bytes, "text")
    try:
        return sys.intern(value.decode()) if value else None  # saves memory: a million records have a thousand classes
    except UnicodeDecodeError:
        raise ValueError(f"{' or '.join(keys)} is {value!r}, which is not UTF-8 text") from None


def _file_name(features: Features, keys: Sequence[str]) -> str | None:
    """The image's name; it may be a number, as some writers store it."""
    value = next((features[key][0] for key in keys if features.get(key)), None)
    return str(value) if isinstance(value, int) else _text(features, keys)


def _boxes(features: Features, seen: _Seen) -> _Boxes:
    """The record's boxes, None if it has no such keys."""
    sides = [features.get(key) for key in BOX]
    if not any(sides):
        return None if None in sides else _NO_BOXES
    lengths = [len(side or ()) for side in sides]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"{', '.join(BOX)} have {', '.join(map(str, lengths))} values, but should have the same number"
        )
    boxes = [list(box) for box in zip(*(side or () for side in sides), strict=True)]
    good = [box for box in boxes if 0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1]
    seen.num_bad_boxes += len(boxes) - len(good)
    return good


def _list_names(names: Sequence[str], *files: str) -> list[str]:
    """The paths at which these lists of classes may be: in the root and in the folders of the files."""
    folders = ["", *sorted({f"{name.rpartition('/')[0]}/" for name in names} - {"/"})]
    return [folder + file for file in files for folder in folders]


def _listed(tree: Tree, names: Sequence[str]) -> _Listed | None:
    """The class list next to the files; None if there is none."""
    if not (found := text_beside(tree, names, _TFDS_NAMES, _SLIM_NAMES)):
        return None
    where, text = next(iter(found.items()))
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    pairs = [_SLIM_LINE.fullmatch(line) for line in lines]
    numbered = {int(pair[1]): pair[2].strip() for pair in pairs if pair}
    listed = numbered if all(pairs) else dict(enumerate(lines))
    classes = [name for name in listed.values() if name.lower() != _BACKGROUND]
    are_ids = bool(classes) and (where.endswith(_TFDS_NAMES) or all(map(WNID.fullmatch, classes)))
    return _Listed(where, listed, are_ids and len(set(classes)) == len(classes))


def _ours(tree: Tree, names: Sequence[str]) -> ClassFile | None:
    """The list of classes in their order, in the form that tench writes; None for other files of that name."""
    for name in _OUR_NAMES:
        for where, text in text_beside(tree, names, name).items():
            with contextlib.suppress(TenchError):
                return parse(text, where, name)
    return None


def _known_by_id(seen: _Seen, listed: _Listed | None, ours: ClassFile | None, synset: str) -> _Known:
    """The classes that the records name, in the order of `ours` if it has them all."""
    ids = sorted({*seen.number_of, *seen.without_number})
    if ours and ours.ids and set(ids) <= set(ours.ids):
        ids = list(ours.ids)
    index = {class_id: position for position, class_id in enumerate(ids)}
    label_of = {number: index[class_id] for number, class_id in seen.id_of.items()}
    by_number = listed.names if listed else {}
    names = [
        seen.text_of.get(class_id) or by_number.get(seen.number_of.get(class_id, -1)) or known
        for class_id, known in zip(ids, names_of(ids), strict=True)
    ]
    offsets = {number - position for number, position in label_of.items()}
    if len(offsets) == 1:
        offset = next(iter(offsets))
        why = ", as 0 is reserved for a background class" if offset == 1 else ""
        note = f"Classes are those of {synset}; the label numbers begin at {offset}{why}."
    elif offsets:
        note = (
            f"Classes are those of {synset}; the label numbers, from {min(label_of):,} to {max(label_of):,}, have gaps "
            "or another order, so they are not used."
        )
    else:
        note = f"Classes are those of {synset}; there are no label numbers."
    return _Known(Classes.of(ids, names), label_of, f"no record with that label has {synset}", [note])


def _known_by_number(tree: Tree, seen: _Seen, listed: _Listed | None) -> _Known:
    """The classes if there are only label numbers."""
    if not seen.without_id:
        raise TenchError(
            f"{tree.source}: no record has a label. Expected {', '.join(LABEL)} or {SYNSET}. Convert the images again "
            "with their classes, or choose the key of the label with --keys label=KEY."
        )
    lowest = min(seen.without_id)
    highest = max((number for number in seen.without_id if number < LIMITS.classes), default=0)
    unknown = f"labels must be less than {LIMITS.classes:,}"
    if listed:
        highest, unknown = max(listed.names), f"{listed.where} lists no class with that number"
        offset = int(lowest > 0 and listed.names.get(0, _BACKGROUND).lower() == _BACKGROUND)
        why = f"{listed.where} " + ("reserves 0 for a background class" if offset else "lists the classes from 0")
    elif seen.tfds:
        offset, why = 0, "the keys are those of TFDS, which counts from 0"
    elif lowest == 1:
        offset, why = 1, "the lowest is 1, so 0 was reserved for a background class"
    else:
        offset, why = 0, f"the lowest is {lowest:,}" + (", and nothing shows that they begin at 1" if lowest else "")
    numbers = range(offset, highest + 1)
    label_of = {number: label for label, number in enumerate(numbers)}
    given = listed.names if listed else {}
    if listed and listed.are_ids and all(number in given for number in numbers):
        ids = [given[number] for number in numbers]
        names = [seen.text_of.get(number) or known for number, known in zip(numbers, names_of(ids), strict=True)]
        return _Known(Classes.of(ids, names), label_of, unknown, [f"Label {offset} is class {ids[0]}: {why}."])
    plain = Classes.numbered_to(len(numbers))
    names = [
        seen.text_of.get(number) or given.get(number) or known for number, known in zip(numbers, plain.ids, strict=True)
    ]
    notes = [f"Classes are only numbers, as there is no {SYNSET}. Label {offset} is class 0: {why}."]
    if len(numbers) == 1000:
        notes.append(
            "There are 1000 classes, as in ImageNet, but nothing shows that they are ImageNet's, or in which order."
        )
    return _Known(Classes(plain.ids, tuple(names), numbered=True), label_of, unknown, notes)


def _rows(split: str, found: _Split, known: _Known, notes: list[str]) -> Rows:
    """The rows of a split; adds to the notes."""
    classes, count = known.classes, len(found.length)
    index = {class_id: label for label, class_id in enumerate(classes.ids)}
    labels = array("i")
    for row, (class_id, number) in enumerate(zip(found.class_id, found.number, strict=True)):
        label = index[class_id] if class_id else known.label_of.get(number) if number >= 0 else -1
        if label is None:
            what = f"its label is {number:,}, but {known.unknown}"
            raise TenchError(f"{found.place(row)}: {what}. Correct one of the two.")
        labels.append(label)
    if num_without := labels.count(-1):
        notes.append(f"{num_without:,} of the {count:,} images of {split} have no label.")
    if num_nameless := found.path.count(None):
        notes.append(
            f"{num_nameless:,} of the {count:,} images of {split} have no file name, so they are named by number."
        )
    numbers = numbered_keys(count)
    paths = [path or number for path, number in zip(found.path, numbers, strict=True)]
    keys = keys_of(paths, [None if label < 0 or classes.numbered else classes.ids[label] for label in labels])
    if len(set(keys)) < count:
        _refuse_twins(found, paths, labels)
        notes.append(f"Images of {split} in different classes have the same file name, so they are named by number.")
        keys = numbers
    return Rows(
        shards=list(found.files),
        shard=np.array(found.shard, np.int32),
        offset=np.array(found.offset, np.int64),
        length=np.array(found.length, np.int64),
        label=np.array(labels, np.int32),
        key=keys,
        boxes=found.boxes if any(found.boxes) else None,
        **_pixels(found),
    )


def _pixels(found: _Split) -> dict[str, Any]:
    """The columns of raw pixels; nothing for image files."""
    if not found.sides:
        return {}
    height, width, channels = np.array(found.sides, np.int32).T
    return {"encoding": PIXELS_HWC, "height": height, "width": width, "channels": channels}


def _refuse_twins(found: _Split, paths: Sequence[str], labels: Sequence[int]) -> None:
    """Raise TenchError if two images have the same file name and class."""
    first: dict[tuple[str, int], int] = {}
    for row, image in enumerate(zip(paths, labels, strict=True)):
        if first.setdefault(image, row) != row:
            raise TenchError(
                f"{found.place(row)}: its image has the name {image[0]!r}, like another of the same class "
                f"({found.place(first[image])}). Names must differ. Remove the duplicate, or convert the images "
                "again with their paths as names."
            )
