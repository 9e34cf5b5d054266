"""WebDataset: tar shards in which adjacent members of one name form a sample, `000123.jpg` next to `000123.cls`.

A sample's name is its members' path up to the first dot of the file name. Its label is the number or name in `.cls`, or
a field of `.json`, or the text of another part with the name of a label (`.cls.txt`, `.label`, `.y.txt`). A `.txt`,
`.index` or `.id` is used only if its values are short and repeat, because it may be a caption or a running number.
Other parts are left out; `--keys image=PART,label=PART` chooses among them. Images are addressed in the shards; only
labels are read, each with one small pread in the shard's order. A word in the name of a shard or its folder determines
the split. Classes have ids if a list of them is next to the shards, if the `.json` members name them, or if the names
of all training images begin with WordNet ids; otherwise they are only numbers.
Source: webdataset's group_by_keys and tar_file_expander; names and fields of timm/imagenet-1k-wds.
"""

import collections
import contextlib
import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tench.data.files.beside import text_beside
from tench.data.files.compressed import Pread
from tench.data.files.names import EXTENSIONS, is_image_name
from tench.data.files.tree import Tree, names_unreadable_files
from tench.data.formats.class_files import FILES, ClassFile, agreed, class_files
from tench.data.formats.described import (
    ID_FIELDS,
    Label,
    boxes_in,
    file_in,
    has_number,
    is_text,
    label_in,
    labels_in,
    value_in,
)
from tench.data.formats.wordnet import WNID, names_of
from tench.data.keys import keys_of
from tench.data.limits import LIMITS
from tench.data.splits import group_by_split, splits_in
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError, counted, some

NAME = "webdataset"
OPTIONS = frozenset({"keys", "label", "split_from"})

ARCHIVES = (".tar", ".TAR", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
"""Suffixes of shards. A compressed shard is unpacked once into the cache, or indexed."""

_NO_SHARD = re.compile(r"ILSVRC.*|n\d{8}\.tar.*", re.IGNORECASE)
"""Archives as published by image-net.org, which contain no samples."""
_NUMBERS = re.compile(r"[\d\s.,+-]*(?:[eE][+-]?\d+)?")
"""Text that is not a class but another kind of number: 1.0, -2, "1 2"."""
_SERIES = re.compile(r"(.*?)(\d+)(?:-of-(\d+))?(\D*)")
"""A numbered file name: `imagenet1k-train-0000.tar`, `train-00000-of-00294.tar`. The part before the number may contain
digits."""

_FIRST_MEMBERS, _FIRST_SHARDS = 20, 8
"""Members that are read to recognise the layout."""
_MAX_CLS_BYTES, _MAX_JSON_BYTES = 64, 2**24
_LABEL_PARTS = (
    "cls.txt",
    "label",
    "label.txt",
    "labels.txt",
    "y.txt",
    "y",
    "class",
    "class.txt",
    "target",
    "target.txt",
)
"""Parts of samples that contain a label as text, in addition to .cls and .json."""
_DOUBTFUL_PARTS = ("txt", "index", "id")
"""Parts that contain a label, a caption or a running number."""
_SAMPLED = 512
"""Samples that are read to find the part with the labels."""


def recognise(tree: Tree) -> bool:
    """Whether an image and a label of the same name are among the first members of a tar, or of tars in the tree."""
    try:
        if shards := _shards(tree):
            return any(_begins_with_sample(tree, shard) for shard in shards[:_FIRST_SHARDS])
        if not len(tree) or not tree.source.is_file():
            return False
        with tree.source.open("rb") as file:
            if file.read(2) == b"PK":  # the members of a zip archive have no order
                return False
        first = range(min(_FIRST_MEMBERS, len(tree)))
        members = [(tree.names[at], int(tree.offset[at]), int(tree.length[at])) for at in first]
        with tree.reading(tree.shards[int(tree.shard[0])]) as pread:
            return _has_sample(members, pread)
    except (TenchError, OSError):
        return False


@names_unreadable_files
def read(tree: Tree) -> Contents:
    """The samples of all shards. Raises TenchError if they are ambiguous, or if only some have a label."""
    shards, others = _with_images(tree, _shards(tree))
    by_split, notes = _shards_by_split(tree, shards)
    if others:
        notes.append(f"Left out archives without an image at their beginning: {some(others, at_most=3)}.")
    if shards:
        notes += _images_beside(tree)
    whole, facts = tree.opened(shards) if shards else tree, _Facts()
    parts, more = _parts(whole, [shard for names in by_split.values() for shard in names])
    notes += more
    splits = {}
    for split, names in by_split.items():
        splits[split] = _Split()
        for shard in names:
            _read_shard(whole, shard, parts, splits[split], facts)
    splits = {split: found for split, found in splits.items() if found.positions}
    if not splits:
        raise TenchError(f"{tree.source} contains shards without images. Expected samples of an image and a .cls.")
    notes += facts.notes()
    notes += filter(None, [_check_labelled(whole, split, found, parts) for split, found in splits.items()])
    beside, more = agreed(class_files(lambda file: text_beside(whole, shards, file)))
    classes, note = _classes(whole, beside, splits, facts)
    rows = {split: _rows(whole, split, found, classes) for split, found in splits.items()}
    notes += [*more, note, *_missing_labels(classes, rows)]
    return Contents(classes, rows, stamp=list(tree.stamp), notes=notes)


@dataclasses.dataclass
class _Split:
    """The samples of one split as they are read, one entry per image.

    positions: of the images in the tree. paths: sample and extension, without the shard. files: names of the images in
    the .json; None as soon as one lacks a name. labels: None for a sample without one. several, boxes: from the .json.
    """

    positions: list[int] = dataclasses.field(default_factory=list)
    paths: list[str] = dataclasses.field(default_factory=list)
    files: list[str] | None = dataclasses.field(default_factory=list)
    labels: list[Label] = dataclasses.field(default_factory=list)
    several: list[list[float] | None] = dataclasses.field(default_factory=list)
    boxes: list[list[list[float]] | None] = dataclasses.field(default_factory=list)

    def names(self) -> list[str]:
        """The names of the images: those in the .json if all have one and they are unique."""
        return self.files if self.files is not None and len(set(self.files)) == len(self.files) else self.paths


@dataclasses.dataclass
class _Facts:
    """Facts from all samples together. ids: for each field of .json that may name classes, the names by label."""

    ids: dict[str, dict[int, str]] = dataclasses.field(default_factory=lambda: {name: {} for name in ID_FIELDS})
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    num_without_image: int = 0
    num_differing: int = 0

    def add(self, label: int, described: Mapping[str, Any]) -> None:
        for field in list(self.ids):
            value = described.get(field)
            if not is_text(value) or self.ids[field].setdefault(label, value) != value:
                del self.ids[field]

    def notes(self) -> list[str]:
        notes = []
        if self.num_without_image:
            notes.append(f"Left out {counted(self.num_without_image, 'sample')} without an image.")
        if self.others:
            kinds = ", ".join(f"{suffix} ({count:,})" for suffix, count in sorted(self.others.items()))
            notes.append(f"Left out members that are neither images nor labels: {kinds}.")
        if self.num_differing:
            notes.append(
                f"{counted(self.num_differing, 'sample')} with different labels in .cls and .json; .cls is used."
            )
        return notes


def _shards(tree: Tree) -> list[str]:
    tars = [name for name in tree.others if name.endswith(ARCHIVES)]
    return [name for name in tars if not _NO_SHARD.fullmatch(name.rpartition("/")[2])]


def _with_images(tree: Tree, shards: list[str]) -> tuple[list[str], list[str]]:
    """The shards, and the other archives. If some names contain a split, an archive is no shard if its name contains
    none and no image is among its first members."""
    told = {shard for shard in shards if splits_in(shard)}
    others = [shard for shard in shards if told and shard not in told and not _begins_with_image(tree, shard)]
    return [shard for shard in shards if shard not in others], others


def _begins_with_image(tree: Tree, shard: str) -> bool:
    with tree.beginning(shard, _FIRST_MEMBERS) as (members, _):
        return any(is_image_name(name) for name, _, _ in members)


def _begins_with_sample(tree: Tree, shard: str) -> bool:
    with tree.beginning(shard, _FIRST_MEMBERS) as (members, pread):
        return _has_sample(members, pread)


def _has_sample(members: Iterable[tuple[str, int, int]], pread: Pread) -> bool:
    images, labelled = set(), set()
    for name, offset, size in members:
        sample, suffix = _sample_and_suffix(name)
        part = _part(name)
        if suffix in EXTENSIONS:
            images.add(sample)
        elif suffix == ".cls" or part in _LABEL_PARTS or (suffix == ".json" and _is_labelled(pread, offset, size)):
            labelled.add(sample)
        elif "/" not in name and part in (*_DOUBTFUL_PARTS, "json"):
            labelled.add(
                sample
            )  # `read` reports a missing label; in class folders a text next to an image is not a label
    return not images.isdisjoint(labelled)


def _is_labelled(pread: Pread, offset: int, size: int) -> bool:
    try:
        described = json.loads(pread(min(size, _MAX_JSON_BYTES), offset))
    except (ValueError, RecursionError):
        return False
    return isinstance(described, dict) and label_in(described) is not None


def _sample_and_suffix(name: str) -> tuple[str | None, str]:
    """A member's sample, None if it has no suffix; and the last suffix in lower case, with the dot."""
    dot = name.find(".", name.rfind("/") + 1)
    return (None, "no suffix") if dot < 0 else (name[:dot], name[name.rfind(".") :].lower())


def _part(name: str) -> str:
    """The part of a file name after the first dot, in lower case: "cls.txt"."""
    return name[name.rfind("/") + 1 :].partition(".")[2].lower()


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The parts of samples that are read. image: None for any image. label: in addition to .cls. field: of .json, None
    for the usual ones. seen: all parts of the samples that were examined, with the beginning of a text.
    """

    image: str | None
    label: str
    field: str | None
    seen: Mapping[str, str]

    def listing(self) -> str:
        """The parts for an error message."""
        return ", ".join(f".{part} ({text!r})" if text else f".{part}" for part, text in self.seen.items()) or "none"


def _parts(tree: Tree, shards: Sequence[str]) -> tuple[_Parts, list[str]]:
    """The parts that contain the image and the label, and notes. Raises TenchError if no sample has a part that was
    asked for."""
    asked = tree.options.record_keys()
    seen: dict[str, list[int]] = {}
    for shard in (shards[0], shards[-1]) if len(shards) > 1 else shards:
        span = tree.span(shard) if shard else range(len(tree))
        order = np.argsort(tree.offset[span.start : span.stop], kind="stable") + span.start
        for position in order[: _SAMPLED * 4].tolist():
            seen.setdefault(_part(tree.names[position]), []).append(position)
    texts = {part: _texts_of(tree, part, found) for part, found in seen.items()}
    examples = {part: texts[part][0][:40] if texts[part] else "" for part in sorted(seen) if part}
    image = asked.image.lower().lstrip(".") if asked.image else None
    if image is not None and image not in seen:
        listed = _Parts(None, "", None, examples).listing()
        raise TenchError(f"{tree.source}: no sample has the part .{image}. Their parts are: {listed}.")
    if asked.label is not None:
        part = asked.label.lower().lstrip(".")
        if part in seen:
            return _Parts(image, part, None, examples), [f"The labels come from the part .{part}."]
        if "json" not in seen:
            listed = _Parts(None, "", None, examples).listing()
            raise TenchError(f"{tree.source}: no sample has the part .{part}, or a .json. Their parts are: {listed}.")
        return _Parts(image, "", asked.label, examples), [f"The labels come from the field {asked.label!r} of .json."]
    found = next((part for part in _LABEL_PARTS if part in seen), None)
    if found is None and "cls" not in seen and not _has_labelled_json(tree, seen.get("json", ())):
        found = next((part for part in _DOUBTFUL_PARTS if _repeat(texts.get(part, []))), None)
    if found is None or "cls" in seen:
        return _Parts(image, "cls", None, examples), []
    return _Parts(image, found, None, examples), [f"The labels come from the part .{found}."]


def _texts_of(tree: Tree, part: str, positions: Sequence[int]) -> list[str]:
    """The texts of a part, if they may be labels."""
    if part not in (*_LABEL_PARTS, *_DOUBTFUL_PARTS, "cls"):
        return []
    texts = []
    with tree.reading(tree.shards[int(tree.shard[positions[0]])]) as pread:
        for position in positions[:_SAMPLED]:
            if tree.shard[position] == tree.shard[positions[0]]:
                data = pread(min(int(tree.length[position]), _MAX_CLS_BYTES + 1), int(tree.offset[position]))
                text = data.decode("utf-8", "replace").strip()
                texts.append(text if len(data) <= _MAX_CLS_BYTES else text.ljust(_MAX_CLS_BYTES + 1, "."))
    return texts


def _repeat(texts: Sequence[str]) -> bool:
    """Whether texts look like labels: short, one line, and each used at least twice on average."""
    if len(texts) < 2 or any(not text or len(text) > 64 or not is_text(text) for text in texts):
        return False
    return 2 * len(set(texts)) <= len(texts)


def _has_labelled_json(tree: Tree, positions: Sequence[int]) -> bool:
    if not positions:
        return False
    with tree.reading(tree.shards[int(tree.shard[positions[0]])]) as pread:
        return _is_labelled(pread, int(tree.offset[positions[0]]), int(tree.length[positions[0]]))


def _images_beside(tree: Tree) -> list[str]:
    """A note on images next to the shards. Raises TenchError if they are in several folders, and so a second
    dataset."""
    images = [name for name in tree.names if is_image_name(name)]
    folders = {name.rpartition("/")[0] for name in images}
    if len(folders) > 1:
        raise TenchError(
            f"{tree.source} contains shards, and images in {len(folders)} folders next to them "
            f"({min(folders) or '.'}, ...). Move one of the two away, or pass only the shards, as in "
            "'train-{0000..0127}.tar'."
        )
    return [f"Left out {counted(len(images), 'image')} next to the shards, such as {images[0]}."] if images else []


def _shards_by_split(tree: Tree, shards: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The shards of train, val and test, and notes for the user. If the tree is itself one shard, its name is ""."""
    paths = shards or [tree.root.name]
    above = tree.root if shards else tree.root.parent
    by_split, notes = group_by_split(
        paths, str(tree.source), "shards", split_from=tree.options.split_from, root=above.name
    )
    num_missing, first = _missing_numbers(shards)
    if num_missing:
        listed = ", ".join(first) + (", ..." if num_missing > len(first) else "")
        notes.append(f"{counted(num_missing, 'shard')} missing from a numbered series: {listed}.")
    return (by_split if shards else {split: [""] for split in by_split}), notes


def _missing_numbers(shards: Sequence[str]) -> tuple[int, list[str]]:
    """The number of shards missing from numbered series, and the first of them. "-of-00294" is the length of a
    series."""
    series: dict[tuple[str, str, str], dict[int, str]] = {}
    for shard in shards:
        if found := _SERIES.fullmatch(shard):
            series.setdefault((found[1], found[3] or "", found[4]), {})[int(found[2])] = found[2]
    count, first = 0, list[str]()
    for (before, total, after), there in series.items():
        asked = range(min(there), max(there))
        if total:
            start = int(int(total) in there)  # the first is 0 or 1
            asked = range(start, start + int(total))
        elif len(asked) > 2 * len(there):
            continue  # a selection, or numbers with another meaning
        digits, of = len(next(iter(there.values()))), f"-of-{total}" if total else ""
        missing = (f"{before}{number:0{digits}}{of}{after}" for number in asked if number not in there)
        first += itertools.islice(missing, 5)
        count += len(asked) - sum(number in asked for number in there)
    return count, first[:5]


def _read_shard(tree: Tree, shard: str, parts: _Parts, into: _Split, facts: _Facts) -> None:
    span = tree.span(shard) if shard else range(len(tree))
    if not span:
        return
    cut = len(shard) + 1 if shard else 0
    with tree.reading(tree.shards[int(tree.shard[span.start])]) as pread:
        label: Label
        for image, cls, json_at in _samples(tree, span, parts, facts.others):
            if image is None:
                facts.num_without_image += 1
                continue
            described = {} if json_at is None else _object(tree, json_at, pread)
            if cls is not None:
                label = _label(tree, cls, pread)
            elif parts.field is not None:
                label = value_in(described, parts.field)
            else:
                label = label_in(described)
            if cls is not None and has_number(described):
                facts.num_differing += label_in(described) != label
            if label == -1:
                label = None  # as in test sets
            if isinstance(label, int):
                facts.add(label, described)
            into.positions.append(image)
            into.labels.append(label)
            into.paths.append(tree.names[image][cut:])
            if into.files is not None:
                if (called := file_in(described)) is not None:
                    into.files.append(called)
                else:
                    into.files = None
            into.several.append(labels_in(described))
            into.boxes.append(boxes_in(described))


def _samples(
    tree: Tree, span: range, parts_read: _Parts, others: collections.Counter[str]
) -> Iterator[tuple[int | None, int | None, int | None]]:
    """The positions of each sample's image, label and .json, in the order in which the shard contains them."""
    order = np.argsort(tree.offset[span.start : span.stop], kind="stable") + span.start
    seen: set[str] = set()
    current: str | None = None
    parts: dict[str, int] = {}
    for position in order.tolist():
        sample, suffix = _sample_and_suffix(tree.names[position])
        kind = suffix
        if parts_read.image is None and suffix in EXTENSIONS:
            kind = "image"
        elif parts_read.image is not None or parts_read.label != "cls":
            part = _part(tree.names[position])
            kind = {parts_read.image: "image", parts_read.label: ".cls"}.get(part, suffix)
            kind = "" if part == "cls" and parts_read.label != "cls" else kind
        if sample is None:
            others[suffix] += 1
            continue
        if sample != current:
            if current is not None:
                yield parts.get("image"), parts.get(".cls"), parts.get(".json")
            if sample in seen:
                raise TenchError(
                    f"{_place(tree, position)}: a sample of this name occurs earlier, with others in between. The "
                    "members of a sample must be adjacent, and its name must occur once. Write the shard again."
                )
            seen.add(sample)
            current, parts = sample, {}
        if kind not in ("image", ".cls", ".json"):
            others[suffix] += 1
        elif kind in parts:
            raise TenchError(
                f"{_place(tree, position)}: its sample has a second {kind}; the first is "
                f"{tree.names[parts[kind]].rpartition('/')[2]}. A sample's name ends at the first dot, and each sample "
                "has one image. Choose its part with --keys image=PART, or write the shard again, with names that "
                "differ before the dot."
            )
        else:
            parts[kind] = position
    if current is not None:
        yield parts.get("image"), parts.get(".cls"), parts.get(".json")


def _place(tree: Tree, position: int) -> str:
    """Like Tree.place, but by position, because members may have the same name."""
    shard = tree.shards[int(tree.shard[position])]
    shard = tree.indexes.get(shard, shard)
    return f"{tree.root / tree.names[position]} (in {shard} at byte {int(tree.offset[position]):,})"


def _bytes(tree: Tree, position: int, pread: Pread, limit: int) -> bytes:
    offset, length = int(tree.offset[position]), int(tree.length[position])
    if length > limit:
        raise TenchError(f"{_place(tree, position)} has {length:,} bytes, too many for a label. Write the shard again.")
    data = pread(length, offset)
    if len(data) != length:
        raise TenchError(f"{_place(tree, position)} became shorter while it was being read. Try again.")
    return data


def _label(tree: Tree, position: int, pread: Pread) -> int | str:
    """The number in a .cls, from 0, or the name of a class; -1 means no label."""
    data = _bytes(tree, position, pread, _MAX_CLS_BYTES).strip(b" \t\r\n\0")
    if (data.isdigit() and len(data) < 10) or data == b"-1":
        return int(data)
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        if is_text(text) and not _NUMBERS.fullmatch(text):
            return text
    raise TenchError(
        f"{_place(tree, position)} contains {data[:20]!r}; expected the number or the name of a class. Write the "
        "shard again."
    )


def _object(tree: Tree, position: int, pread: Pread) -> Mapping[str, Any]:
    try:
        found = json.loads(_bytes(tree, position, pread, _MAX_JSON_BYTES))
        if not isinstance(found, dict):
            raise ValueError(f"it is a {type(found).__name__}")
    except (ValueError, RecursionError) as error:
        raise TenchError(f"{_place(tree, position)} is not a JSON object ({error}). Write the shard again.") from error
    return found


def _check_labelled(tree: Tree, split: str, found: _Split, parts: _Parts) -> str | None:
    """Raise TenchError if some samples have a label and others none; a note if none has."""
    num_without = found.labels.count(None)
    if num_without == 0:
        return None
    place = _place(tree, found.positions[found.labels.index(None)])
    expected = "expected a .cls, or a .json with a field 'label'"
    if num_without < len(found.labels):
        raise TenchError(
            f"{place} has no label ({expected}). {num_without:,} of the {len(found.labels):,} samples of {split} have "
            "none. Write the shards again, with a label for each image or without those that have none."
        )
    if split == "train":
        raise TenchError(
            f"{place} has no label ({expected}). The samples have the parts {parts.listing()}. If one of them is the "
            "label, name it with --keys label=PART (or label=FIELD for a field of .json). Otherwise write the shards "
            "again."
        )
    return f"The samples of {split} have no labels."


def _classes(tree: Tree, beside: ClassFile | None, splits: Mapping[str, _Split], facts: _Facts) -> tuple[Classes, str]:
    """The classes, and the source of their ids. Labels that are text become numbers."""
    labels = [label for found in splits.values() for label in found.labels if label is not None]
    texts = {label for label in labels if isinstance(label, str)}
    if not labels:
        raise TenchError(
            f"{tree.source}: no sample has a label, so the classes are unknown. Write the shards again, with .cls."
        )
    if texts and any(isinstance(label, int) for label in labels):
        text = _first(tree, splits, lambda label: isinstance(label, str))
        number = _first(tree, splits, lambda label: isinstance(label, int))
        raise TenchError(
            f"{text} has its class as text, but {number} has a number. Write the shards again with one kind of label."
        )
    if texts:
        if beside:
            classes, source = beside.classes, beside.where
        else:
            classes, source = Classes.of(sorted(texts), names_of(sorted(texts))), "the samples' labels"
        index = {class_id: number for number, class_id in enumerate(classes.ids)}
        if unknown := sorted(texts - index.keys()):
            place = _first(tree, splits, lambda label: label == unknown[0])
            raise TenchError(f"{place} has the label {unknown[0]!r}, which is not a class of {source}. Add it there.")
        for found in splits.values():
            found.labels = [None if label is None else index[str(label)] for label in found.labels]
        return classes, f"The class ids are from {source}."

    numbers = [label for label in labels if isinstance(label, int)]
    highest, lowest = max(numbers), min(numbers)
    limit = len(beside) if beside else LIMITS.classes  # a damaged label would ask for billions of classes
    if lowest < 0 or highest >= limit:
        wrong = lowest if lowest < 0 else highest
        what = f"{beside.where} lists {limit:,} classes" if beside else f"labels must be less than {limit:,}"
        place = _first(tree, splits, lambda label: label == wrong)
        raise TenchError(f"{place} has label {wrong:,}, but labels count from 0 and {what}. Correct one of the two.")
    if beside:
        kind = "ids" if beside.ids else f"names, which are {'not ids' if beside.has_unique_names else 'not unique'},"
        return beside.classes, f"The class {kind} are from {beside.where}."
    for field, of_label in facts.ids.items():
        if len(of_label) == len(set(of_label.values())) == highest + 1:
            ids = [of_label[label] for label in range(highest + 1)]
            return Classes.of(ids, names_of(ids)), f"The class ids come from the field {field!r} of the samples' .json."
    if ids := _ids_from_files(splits.get("train"), highest + 1):
        note = "The class ids are the WordNet ids at the beginning of the names of the training images."
        return Classes.of(ids, names_of(ids)), note
    note = f"The classes are only numbers: no matching class list ({', '.join(FILES)}) is next to the shards."
    return Classes.numbered_to(highest + 1), note


def _first(tree: Tree, splits: Mapping[str, _Split], wanted: Callable[[Label], bool]) -> str:
    """The place of the first sample with this label."""
    pairs = ((found.positions[row], label) for found in splits.values() for row, label in enumerate(found.labels))
    return _place(tree, next(position for position, label in pairs if wanted(label)))


def _ids_from_files(train: _Split | None, num_classes: int) -> list[str]:
    """Class ids from names such as n01440764_10026.JPEG, if all have one and they agree with the labels."""
    ids: dict[Label, str] = {}
    for name, label in zip(train.names(), train.labels, strict=True) if train else ():
        start = name.rfind("/") + 1
        wnid = name[start : start + 9]
        if ids.setdefault(label, wnid) != wnid or name[start + 9 : start + 10] != "_":
            return []
    if not len(ids) == len(set(ids.values())) == num_classes or not all(map(WNID.fullmatch, ids.values())):
        return []
    return [ids[label] for label in range(num_classes)]


def _rows(tree: Tree, split: str, found: _Split, classes: Classes) -> Rows:
    labels = [label if isinstance(label, int) else -1 for label in found.labels]
    named = [None if label < 0 or classes.numbered else classes.ids[label] for label in labels]
    keys = keys_of(found.names(), named)
    if len(set(keys)) < len(keys):
        row_of: dict[str, int] = {}
        row = next(row for row, key in enumerate(keys) if row_of.setdefault(key, row) != row)
        first, second = (_place(tree, found.positions[twin]) for twin in (row_of[keys[row]], row))
        raise TenchError(
            f"{second}: the sample has the same name as {first}. A name must occur once in {split}. Write the "
            "shards again with names that differ, or with a 'filename' that differs in each .json."
        )
    several = found.several if any(found.several) else None
    return tree.rows(found.positions, labels, keys, labels=several, boxes=found.boxes if any(found.boxes) else None)


def _missing_labels(classes: Classes, rows: Mapping[str, Rows]) -> list[str]:
    if "train" not in rows:
        return []
    counts = np.bincount(rows["train"].label, minlength=len(classes))
    empty = [classes.ids[label] for label in np.flatnonzero(counts == 0).tolist()]
    return [f"train has no images of {counted(len(empty), 'class')}: {', '.join(empty[:5])}."] if empty else []
