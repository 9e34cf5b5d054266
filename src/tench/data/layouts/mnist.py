"""MNIST and its relatives: images and labels in idx files, plain or compressed, on disk or in an archive.

A plain file is addressed in place. The pixels of a compressed one are copied once into the cache (47 MB for MNIST's
training images). File names decide which files belong together (`emnist-letters-train-images-idx3-ubyte.gz` and
`emnist-letters-train-labels-idx1-ubyte.gz`); their dots, dashes and capitals may vary. If there are several sets, such
as the six of EMNIST, an error asks the user to choose. A single file selects the set to which it belongs.

Class names come only from evidence: a mapping file of EMNIST, or the first labels, which distinguish MNIST from
Fashion-MNIST (both have 10 classes, 60,000 + 10,000 images and the same file names). Otherwise classes are numbers.
Images stay as published: EMNIST's are transposed, as in torchvision, and a note says so.
"""

import dataclasses
import fnmatch
import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tench.data import splits
from tench.data.files.spool import spool_path
from tench.data.files.tree import Tree
from tench.data.formats import idx
from tench.data.table import PIXELS_HWC, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError, counted, some
from tench.files import complete_file, require_space

NAME = "mnist"
OPTIONS = frozenset[str]()

_IMAGES, _LABELS = "images", "labels"
_FILE = re.compile(
    r"(?P<stem>.*?)(?P<role>ima?ge?s|labels?)[-._ ]idx(?P<dims>[1-4])(?:[-._ ](?:u?byte|int))?"
    r"(?P<form>\.(?:gz|xz|bz2|zst))?",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?i)(?<![a-z0-9])(?:t10k|[a-z]+)(?![a-z0-9])")
_STANDARD = {_IMAGES: "images-idx3-ubyte", _LABELS: "labels-idx1-ubyte"}

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
"""Class names, and the first labels of each split. QMNIST begins like MNIST and has the same classes."""
_NUM_FIRST = 20

_Values = npt.NDArray[np.int64]

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True, order=True)
class _Set:
    """Files that belong together: they are in one folder and their names differ only in split and role."""

    folder: str
    title: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.folder, self.title) if part) or "."


@dataclasses.dataclass(frozen=True)
class _File:
    """An idx file by its name. plain: the name without a compression suffix. stem: the part before the role."""

    name: str
    plain: str
    stem: str
    role: str
    belongs: _Set


def recognise(tree: Tree) -> bool:
    """Whether the tree contains an idx file of images or labels: by its name and its magic number."""
    tree = _with_neighbours(tree)
    return any(_is_right(tree, file) for file in _files(tree))


def read(tree: Tree) -> Contents:
    """The images of the idx files, with keys numbered in the order of the files."""
    tree = _with_neighbours(tree)
    files = _files(tree)
    sets = sorted({file.belongs for file in files if _is_right(tree, file)})
    if len(sets) != 1:
        raise TenchError(_several(tree, sets))
    chosen, notes = sets[0], list[str]()
    by_stem: dict[str, dict[str, list[_File]]] = {}
    for file in files:
        if file.belongs == chosen:
            by_stem.setdefault(file.stem, {}).setdefault(file.role, []).append(file)
    stem_of = {(stem or "images").replace("t10k", "test"): stem for stem in by_stem}
    by_split, said = splits.group_by_split(stem_of, str(tree.source), "idx files")
    pairs: dict[str, tuple[idx.Idx, idx.Idx]] = {}
    for split, stems in by_split.items():
        if len(stems) > 1:
            names = [file.name for stem in stems for same in by_stem[stem_of[stem]].values() for file in same]
            raise TenchError(
                f"{tree.source}: several sets of files belong to the split {split}: {some(names)}. Leave out all but "
                "one with --exclude PATTERN."
            )
        stem = stem_of[stems[0]]
        roles = {role: _one_of(tree, same, notes) for role, same in by_stem[stem].items()}
        pairs[split] = _pair(tree, chosen, stem, roles)
    if not said and splits.TRAIN in pairs and splits.TEST not in pairs:
        notes.append("There are no t10k-* or test-* files, so there is no split 'test'.")
    if not said and splits.TRAIN not in pairs:
        notes.append("There are no train-* files, so there is no split 'train'.")
    values = {split: _values(tree, *pair) for split, pair in pairs.items()}
    classes, note, first = _classes(tree, chosen, {split: pairs[split][1] for split in pairs}, values)
    rows = {}
    for split, (images, _) in pairs.items():
        rows[split] = _rows(tree, images, (values[split] - first).astype(np.int32))
    if "emnist" in chosen.title.lower():
        notes.append(
            "EMNIST's images are stored transposed (mirrored along the diagonal) and are read that way, as in "
            "torchvision: transpose your own pictures before you classify them."
        )
    shards = [shard for split in rows.values() for shard in split.shards]
    return Contents(classes, rows, [*dict.fromkeys([*tree.stamp, *shards])], [note, *said, *notes])


def _with_neighbours(tree: Tree) -> Tree:
    """For a single idx file, the tree of its set: the files of the same folder and title. Otherwise the same tree."""
    if len(tree) != 1 or not (file := _parsed(tree.names[0])) or tree.path(0) != tree.source:
        return tree
    beside, hits = [], dict.fromkeys(tree.options.exclude, 0)
    try:
        with os.scandir(tree.root) as entries:
            for entry in entries:
                other = _parsed(entry.name)
                mapping = entry.name == _mapping_name(file.belongs)
                if (mapping or (other and other.belongs == file.belongs)) and entry.is_file():
                    matching = [pattern for pattern in hits if fnmatch.fnmatchcase(entry.name, pattern)]
                    if matching:
                        hits[matching[0]] += 1
                    else:
                        beside.append((entry.name, entry.path, entry.stat().st_size))
    except OSError:
        return tree
    beside.sort()
    tree.excluded.update(hits)
    tree.stamp[str(tree.root)] = None
    return dataclasses.replace(
        tree,
        names=[name for name, _, _ in beside],
        shards=[path for _, path, _ in beside],
        shard=np.arange(len(beside), dtype=np.int32),
        offset=np.zeros(len(beside), np.int64),
        length=np.array([size for _, _, size in beside], np.int64),
    )


def _files(tree: Tree) -> list[_File]:
    """The files with names of idx files, sorted by name."""
    return [file for name in tree.others if "idx" in name.lower() and (file := _parsed(name))]


def _parsed(name: str) -> _File | None:
    folder, _, base = name.rpartition("/")
    found = _FILE.fullmatch(base)
    if not found:
        return None
    plain = base[: len(base) - len(found["form"] or "")]
    above, _, last = folder.rpartition("/")
    if last.lower() == plain.lower():  # Kaggle unpacks each file into a folder of its name
        folder = above
    role = _LABELS if found["role"].lower().startswith("label") else _IMAGES
    title = _WORD.sub(lambda word: "" if _names_split(word[0]) else word[0], found["stem"])
    title = re.sub(r"[-._ ]{2,}", "-", title).strip("-._ ")
    return _File(name, plain, found["stem"].lower().strip("-._ "), role, _Set(folder, title.lower()))


def _names_split(word: str) -> bool:
    return word.lower() == "t10k" or splits.split_of(word) is not None


def _is_right(tree: Tree, file: _File) -> bool:
    number = idx.magic(tree, file.name)
    return idx.is_images(number) if file.role == _IMAGES else idx.is_labels(number)


def _several(tree: Tree, sets: Sequence[_Set]) -> str:
    """The error that asks which of several sets to use."""
    others = [
        f"--exclude '{one.title}-*'" if one.title else f"--exclude '{_own_folder(one, sets[0])}'" for one in sets[1:]
    ]
    return (
        f"{tree.source} contains {len(sets)} sets of idx files: {', '.join(map(str, sets))}. Pass the folder or one "
        f"of the files of the set to use, or leave out the others. To use {sets[0]}: {' '.join(others)}"
    )


def _own_folder(one: _Set, other: _Set) -> str:
    """A folder of the path of one set that is not in the path of the other."""
    theirs = set(other.folder.split("/"))
    return next((part for part in one.folder.split("/") if part not in theirs), one.folder)


def _one_of(tree: Tree, same: Sequence[_File], notes: list[str]) -> str:
    """The name of one of several files of the same split and role, if all have the same content; a plain one if
    possible."""
    plain = [file.name for file in same if file.name.endswith(file.plain)]
    unpacked = {file.plain for file in same if file.name in plain}
    left = plain + [file.name for file in same if file.name not in plain and file.plain not in unpacked]
    if len(left) > 1:
        images = same[0].role == _IMAGES
        if len({_digest(tree, idx.open_idx(tree, name, images=images)) for name in left}) > 1:
            raise TenchError(
                f"{tree.source}: {some(left)} should contain the same {same[0].role}, but they differ. Leave out all "
                "but one with --exclude PATTERN."
            )
        notes.append(f"{left[0]} is read; {some(left[1:])} has the same content.")
    return left[0]


def _digest(tree: Tree, file: idx.Idx) -> bytes:
    digest = hashlib.sha256(str(file.shape).encode())
    for block in idx.data(tree, file):
        digest.update(block)
    return digest.digest()


def _pair(tree: Tree, chosen: _Set, stem: str, roles: Mapping[str, str]) -> tuple[idx.Idx, idx.Idx]:
    """The images and the labels of one split."""
    for role, other in ((_IMAGES, _LABELS), (_LABELS, _IMAGES)):
        if role not in roles:
            expected = "-".join(part for part in (stem, _STANDARD[role]) if part)
            raise TenchError(
                f"{tree.place(roles[other])}: its counterpart {expected} (or .gz) is not in "
                f"{tree.root / chosen.folder}. Copy it there, or leave this one out with --exclude."
            )
    return idx.open_idx(tree, roles[_IMAGES], images=True), idx.open_idx(tree, roles[_LABELS], images=False)


def _values(tree: Tree, images: idx.Idx, labels: idx.Idx) -> _Values:
    if labels.shape[0] != images.shape[0]:
        raise TenchError(
            f"{images.place} contains {images.shape[0]:,} images, but {labels.place} contains {labels.shape[0]:,} "
            "labels. They do not belong together. Copy or download both again."
        )
    return idx.values(tree, labels)


def _classes(
    tree: Tree, chosen: _Set, labels: Mapping[str, idx.Idx], values: Mapping[str, _Values]
) -> tuple[Classes, str, int]:
    """The set's classes, a note about them, and the label of the first class."""
    mapping = f"{chosen.folder}/{_mapping_name(chosen)}".lstrip("/")
    if mapping in tree:
        classes, first = _mapped(tree, mapping)
        note, title = f"The class names are those of {mapping}.", mapping
    elif known := _known(tree, labels, values):
        classes, first = Classes.of(_KNOWN[known][0]), 0
        note, title = f"Recognised as {known} by its first labels.", known
    else:
        defining = next(iter(values))
        lowest, highest = min(int(found.min()) for found in values.values()), int(values[defining].max())
        if highest >= tree.limits.classes:
            raise TenchError(
                f"{labels[defining].place} has the label {highest:,}, so there would be more than "
                f"{tree.limits.classes:,} classes. The file is damaged, or does not contain labels."
            )
        first, title = int(lowest == 1), "this set"
        if first:
            classes = Classes.of([str(number) for number in range(1, highest + 1)])
        else:
            classes = Classes.numbered_to(highest + 1)
        note = "The first labels are neither those of MNIST nor of Fashion-MNIST, so the classes are only numbers."
    last = first + len(classes) - 1
    for split, found in values.items():
        if len(wrong := np.flatnonzero((found < first) | (found > last))):
            raise TenchError(
                f"{labels[split].place}: label {wrong[0]} (counted from 0) is {found[wrong[0]]}, but {title} has "
                f"{len(classes)} classes, {first} to {last}. This affects {counted(len(wrong), 'label')}. Copy or "
                "download the file again."
            )
    return classes, note, first


def _mapping_name(chosen: _Set) -> str:
    """The name of EMNIST's file of classes. Each line has a label and the character codes that it stands for."""
    return f"{chosen.title}-mapping.txt"


def _mapped(tree: Tree, name: str) -> tuple[Classes, int]:
    """The classes of a mapping file, and the first label."""
    characters: dict[int, list[str]] = {}
    try:
        text = tree.read(name, "a list of classes")
        for line in text.decode("ascii").splitlines():
            if line.strip():
                label, *codes = map(int, line.split())
                characters[label] = list(map(chr, codes))
        first = min(characters)
        of_class = [characters[first + position] for position in range(len(characters))]
        return Classes.of([found[0] for found in of_class], ["/".join(found) for found in of_class]), first
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise TenchError(
            f"{tree.place(name)}: each line must contain a label and a character code; no label may be missing and no "
            f"character may occur twice ({error}). Download it again, or leave it out with --exclude."
        ) from error


def _known(tree: Tree, labels: Mapping[str, idx.Idx], values: Mapping[str, _Values]) -> str | None:
    """The known set whose first labels are those of all splits."""
    found = {}
    for split, numbers in values.items():
        beginning = "".join(map(str, numbers[:_NUM_FIRST]))
        found[split] = next((name for name, (_, first) in _KNOWN.items() if first.get(split) == beginning), None)
    if len({name for name in found.values() if name}) > 1:
        raise TenchError(
            f"{tree.source}: by their first labels, the files belong to different sets: "
            + ", ".join(f"{labels[split].name} of {name or 'an unknown set'}" for split, name in found.items())
            + ". Keep the files of each set in a separate folder."
        )
    return None if None in found.values() else next(iter(found.values()))


def _rows(tree: Tree, images: idx.Idx, labels: npt.NDArray[np.int32]) -> Rows:
    count, height, width = images.shape
    position = tree.index(images.name)
    if images.form:
        shard, offset = _spooled(tree, images), 0
    else:
        shard, offset = tree.shards[int(tree.shard[position])], int(tree.offset[position]) + images.header_bytes
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


def _spooled(tree: Tree, images: idx.Idx) -> str:
    """The path of the cache file with all pixels of a compressed file."""
    pixels = spool_path(tree, images.name, ".pixels")
    require_space(pixels, images.data_bytes, images.place)
    _log.info(
        "%s is compressed, so its images cannot be addressed in place: copying %.1f MB of pixels once to %s.",
        *(images.place, images.data_bytes / 1e6, pixels),
    )
    with complete_file(pixels) as part, part.open("wb") as sink:
        for block in idx.data(tree, images):
            sink.write(block)
    return str(pixels)
