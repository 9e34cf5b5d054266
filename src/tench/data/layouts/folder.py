"""Class folders: `train/CLASS/*.jpg` beside `val/CLASS/*.jpg`, or the class folders alone.

Splits are the folders train (or training), val (validation, valid) and test (testing), in any case of letters; without
a folder train, class folders at the top are one split, train. Images may lie in folders inside a class folder.
Tiny-ImageNet's form is read too: `images/` inside each class, a flat `val/images/` whose labels are in
`val_annotations.txt`, an unlabelled `test/images/`, names in `words.txt`. Classes are the folders of train sorted by
code point, as torchvision's ImageFolder has them. Entries whose names begin with a dot, and files that are no images by
their extension, are left out; the latter are counted in a note.
"""

import dataclasses
import os
import stat
from pathlib import Path

import numpy as np

from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError

NAME = "folder"

EXTENSIONS = frozenset(".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .jp2 .avif".split())
"""What an image file's name ends in, compared in lower case."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "valid": "val",
    "test": "test",
    "testing": "test",
}
"""The split that a folder of this name holds; names are compared in lower case."""

_JUNK = ("__MACOSX", "@eaDir", "lost+found")
"""Folders that archivers and file servers leave behind."""
_ANNOTATIONS = "val_annotations.txt"
_NESTED = "images"


@dataclasses.dataclass(frozen=True)
class Found:
    """An image file: its path, its path from the folder that was searched, its size."""

    path: str
    name: str
    size_bytes: int


@dataclasses.dataclass
class _Walk:
    """What has been seen while walking: folders, for the stamp, and the number of files that are no images."""

    folders: list[str] = dataclasses.field(default_factory=list)
    num_other_files: int = 0

    def images(self, folder: Path) -> list[Found]:
        """All images below a folder, links followed (once: a folder inside itself is not entered again)."""
        found: list[Found] = []
        above = os.stat(folder.parent)  # a link to there would bring the other classes into this one
        self._walk(str(folder), "", found, {(above.st_dev, above.st_ino)})
        return found

    def _walk(self, folder: str, prefix: str, found: list[Found], inside: set[tuple[int, int]]) -> None:
        this = os.stat(folder)
        if (this.st_dev, this.st_ino) in inside:
            return
        inside = inside | {(this.st_dev, this.st_ino)}
        self.folders.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    self._walk(entry.path, f"{prefix}{entry.name}/", found, inside)
                elif _is_image_name(entry.name) and stat.S_ISREG((status := entry.stat()).st_mode):
                    found.append(Found(entry.path, prefix + entry.name, status.st_size))
                else:
                    self.num_other_files += 1


def recognise(path: Path) -> bool:
    return path.is_dir()


def read(path: Path, spool: Path) -> Contents:
    """The table of a folder. Raises TenchError where it has no images, no classes, or only one."""
    try:
        return _read(path)
    except OSError as error:
        link = " It is a link: restore what it leads to, or remove it." if os.path.islink(error.filename or "") else ""
        raise TenchError(f"{error.filename}: cannot be read ({error.strerror}).{link}") from error


def _read(path: Path) -> Contents:
    walk = _Walk(folders=[str(path)])
    folders = _subfolders(path)
    split_folders = _split_folders(path, folders)
    notes = []
    if split_folders:
        if ignored := [name for name in folders if name.lower() not in SPLITS]:
            notes.append(f"Folders that are no splits were left out: {', '.join(sorted(ignored))}.")
    else:
        split_folders = {"train": path}
        notes.append("There is no folder train: all class folders together are the split train.")
    walk.folders += [str(folder) for folder in split_folders.values() if folder != path]

    by_split = {split: _by_class(walk, folder) for split, folder in split_folders.items()}
    defining = "train" if "train" in by_split else next(iter(by_split))
    if defining != "train" and (split_folders[defining] / _ANNOTATIONS).exists():
        raise TenchError(f"{path}: has {split_folders[defining].name} but no folder train, which names the classes.")
    classes = _classes(path, split_folders[defining], by_split[defining])

    splits, stamp_files = {}, []
    for split, folder in split_folders.items():
        annotations = folder / _ANNOTATIONS
        if split != defining and annotations.exists():
            splits[split] = _annotated_rows(by_split[split], annotations, classes)
            stamp_files.append(str(annotations))
        elif not any(by_split[split].values()):
            notes.append(f"{folder.name} holds no images: it is left out.")
        elif split != defining and set(by_split[split]) <= {_NESTED, ""}:
            splits[split] = _rows(
                [(found, -1, _base_name(found)) for group in by_split[split].values() for found in group]
            )
            notes.append(f"{folder.name} has no class folders: its images have no labels.")
        else:
            splits[split] = _labelled_rows(folder, by_split[split], classes, split_folders[defining])
            if empty := [name for name in classes.ids if not by_split[split].get(name)]:
                notes.append(f"{folder.name} has no images of {len(empty)} classes: {', '.join(empty[:5])}.")
    if (path / "words.txt").exists():
        stamp_files.append(str(path / "words.txt"))
    if walk.num_other_files:
        notes.append(f"{walk.num_other_files} files that are no images by their extension were left out.")
    return Contents(classes, splits, stamp=[*dict.fromkeys(walk.folders), *stamp_files], notes=notes)


def _split_folders(path: Path, folders: list[str]) -> dict[str, Path]:
    """The folders of splits by split; none where the folders are classes.

    They are splits if one is called train and holds folders, or if all have names of splits: otherwise a class may be
    called "test", or "train" as in CIFAR-100.
    """
    named = [name for name in folders if name.lower() in SPLITS]
    holds_classes = any(SPLITS[name.lower()] == "train" and _subfolders(path / name) for name in named)
    if not named or (len(named) < len(folders) and not holds_classes):
        return {}
    splits: dict[str, Path] = {}
    for name in sorted(named, key=lambda name: list(SPLITS).index(name.lower())):
        split = SPLITS[name.lower()]
        if split in splits:
            raise TenchError(
                f"{path}: has both {splits[split].name} and {name}, and each would be the split {split!r}. "
                "Move one of them away, or give the folder of each split by itself (SOURCE and --val)."
            )
        splits[split] = path / name
    return splits


def _by_class(walk: _Walk, folder: Path) -> dict[str, list[Found]]:
    """The images below each folder in `folder`; those that lie in it directly under the name ""."""
    groups = {name: walk.images(folder / name) for name in _subfolders(folder)}
    with os.scandir(folder) as entries:
        direct = [
            Found(entry.path, entry.name, entry.stat().st_size)
            for entry in entries
            if not entry.name.startswith(".") and _is_image_name(entry.name) and entry.is_file()
        ]
    return groups | {"": direct} if direct else groups


def _classes(path: Path, folder: Path, by_class: dict[str, list[Found]]) -> Classes:
    ids = sorted(name for name in by_class if name)
    num_images = sum(len(group) for group in by_class.values())
    if num_images == 0:
        raise TenchError(f"{folder}: holds no images. A folder of class folders with images in them is expected.")
    _refuse_direct(folder, by_class)
    filled = [name for name in ids if by_class[name]]
    if len(filled) == 1:
        raise TenchError(
            f"{folder}: holds one class folder only, {filled[0]!r} with {num_images} images. A classifier needs "
            "at least two classes, each a folder of images. "
            "If this is a single class of a larger set, give the folder above it."
        )
    names = _names(path / "words.txt")
    return Classes.of(ids, [names.get(name, name) for name in ids])


def _refuse_direct(folder: Path, by_class: dict[str, list[Found]]) -> None:
    if direct := by_class.get(""):
        raise TenchError(
            f"{folder}: {len(direct)} images lie in it directly, the first is {min(found.name for found in direct)}. "
            "Their class is unknown: put each image into a folder named after its class. "
            "(To classify them with a trained model: tench predict RUN FOLDER.)"
        )


def _names(words: Path) -> dict[str, str]:
    """Names by WordNet id from a words.txt (`wnid<TAB>names`), empty where there is none."""
    if not words.exists():
        return {}
    pairs = (
        line.split("\t", 1) for line in words.read_text(encoding="utf-8", errors="replace").splitlines() if "\t" in line
    )
    return {wnid.strip(): names.strip() for wnid, names in pairs}


def _labelled_rows(folder: Path, by_class: dict[str, list[Found]], classes: Classes, defining: Path) -> Rows:
    _refuse_direct(folder, by_class)
    index = {name: label for label, name in enumerate(classes.ids)}
    if unknown := sorted(name for name in by_class if name not in index):
        raise TenchError(
            f"{folder}: {len(unknown)} of its {len(by_class)} folders are no classes of {defining}: "
            f"{', '.join(repr(name) for name in unknown[:5])}. Both must have the same class folders."
        )
    images = []
    for name, group in by_class.items():
        nested = all(found.name.startswith(f"{_NESTED}/") for found in group)  # Tiny-ImageNet: CLASS/images/FILE
        for found in group:
            relative = found.name.removeprefix(f"{_NESTED}/") if nested else found.name
            images.append((found, index[name], f"{name}/{relative}"))
    return _rows(images)


def _annotated_rows(by_class: dict[str, list[Found]], annotations: Path, classes: Classes) -> Rows:
    """Rows of Tiny-ImageNet's val: `val_annotations.txt` has `file<TAB>wnid<TAB>box` lines."""
    index = {name: label for label, name in enumerate(classes.ids)}
    line_of: dict[str, tuple[int, str]] = {}  # by file name: the line's number and its class
    for number, line in enumerate(annotations.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in index:
            there = repr(fields[1]) if len(fields) > 1 else "no second column"
            raise TenchError(
                f"{annotations}, line {number}: the second column should be one of the {len(classes)} classes of "
                f"train, found {there}."
            )
        first, wnid = line_of.setdefault(fields[0], (number, fields[1]))
        if wnid != fields[1]:
            raise TenchError(
                f"{annotations}, line {number}: {fields[0]} has class {fields[1]!r}, but {wnid!r} in line {first}."
            )
    images = []
    for group in by_class.values():
        for found in group:
            name = _base_name(found)
            if name not in line_of:
                raise TenchError(f"{found.path}: has no line in {annotations}, so its class is unknown.")
            wnid = line_of[name][1]
            images.append((found, index[wnid], f"{wnid}/{name}"))
    missing = line_of.keys() - {_base_name(found) for found, _, _ in images}
    if missing:
        number, name = min((line_of[name][0], name) for name in missing)
        raise TenchError(
            f"{annotations}, line {number}: there is no image {name}; {len(missing)} of the {len(line_of)} images that "
            "it names are missing. Perhaps not all was unpacked."
        )
    return _rows(images)


def _rows(images: list[tuple[Found, int, str]]) -> Rows:
    return Rows(
        shards=[found.path for found, _, _ in images],
        shard=np.arange(len(images), dtype=np.int32),
        offset=0,
        length=np.array([found.size_bytes for found, _, _ in images], dtype=np.int64),
        label=np.array([label for _, label, _ in images], dtype=np.int32),
        key=[key for _, _, key in images],
    )


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _base_name(found: Found) -> str:
    return found.name.rsplit("/", 1)[-1]


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.name not in _JUNK and entry.is_dir()
        )
