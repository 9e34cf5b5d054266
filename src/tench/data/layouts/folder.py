"""Class folders: `train/CLASS/*.jpg` beside `val/CLASS/*.jpg`, or the class folders alone; on disk or in an archive.

Splits are the folders train (or training), val (validation, valid) and test (testing), in any case of letters; without
a folder train, class folders at the top are one split, train. Images may lie in folders inside a class folder.
Tiny-ImageNet's form is read too: `images/` inside each class, a flat `val/images/` whose labels are in
`val_annotations.txt`, an unlabelled `test/images/`, names in `words.txt`. Classes are the folders of train sorted by
code point, as torchvision's ImageFolder has them, unless `classes.txt`, which we write, lists just these. Entries whose
names begin with a dot, and files that are no images by their extension, are left out; the latter are counted in a note.
"""

import contextlib
from collections.abc import Sequence

from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.class_files import CLASSES_JSON, CLASSES_TXT, parse
from tench.data.formats.wordnet import names_of
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError

NAME = "folder"
OPTIONS = frozenset({"label"})

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

_ANNOTATIONS = "val_annotations.txt"
_NESTED = "images"
_WORDS = "words.txt"

_ByClass = dict[str, list[int]]
"""The positions in the tree of the images below each class folder; those in no class folder under the name ""."""


def recognise(tree: Tree) -> bool:
    return tree.source.is_dir() or not (len(tree) == 1 and tree.root / tree.names[0] == tree.source)


def read(tree: Tree) -> Contents:
    """The table of a folder. Raises TenchError where it has no images, no classes, or only one."""
    tree = _below_single_folders(tree)
    split_folders = _split_folders(tree)
    notes = []
    if split_folders:
        if ignored := [name for name in tree.children("") if name.lower() not in SPLITS]:
            notes.append(f"Folders that are no splits were left out: {', '.join(ignored)}.")
    else:
        split_folders = {"train": ""}
        notes.append("There is no folder train: all class folders together are the split train.")

    by_split = {split: _by_class(tree, folder) for split, folder in split_folders.items()}
    defining = "train" if "train" in by_split else next(iter(by_split))
    if defining != "train" and f"{split_folders[defining]}/{_ANNOTATIONS}" in tree:
        raise TenchError(f"{tree.root}: has {split_folders[defining]} but no folder train, which names the classes.")
    classes = _classes(tree, split_folders[defining], by_split[defining])

    splits = {}
    for split, folder in split_folders.items():
        by_class, annotations = by_split[split], f"{folder}/{_ANNOTATIONS}"
        if split != defining and annotations in tree:
            splits[split] = _annotated_rows(tree, by_class, annotations, classes)
        elif not any(by_class.values()):
            notes.append(f"{folder} holds no images: it is left out.")
        elif split != defining and set(by_class) <= {_NESTED, ""}:
            found = [position for group in by_class.values() for position in group]
            splits[split] = tree.rows(found, [-1] * len(found), [_base_name(tree, position) for position in found])
            notes.append(f"{folder} has no class folders: its images have no labels.")
        else:
            splits[split] = _labelled_rows(tree, folder, by_class, classes, split_folders[defining])
            if empty := [name for name in classes.ids if not by_class.get(name)]:
                where = folder or "the folder"
                notes.append(f"{where} has no images of {len(empty)} classes: {', '.join(empty[:5])}.")
    if num_others := sum(_num_others(tree, folder) for folder in split_folders.values()):
        notes.append(f"{num_others} files that are no images by their extension were left out.")
    return Contents(classes, splits, stamp=list(tree.stamp), notes=notes)


def _below_single_folders(tree: Tree) -> Tree:
    """Of an archive the tree below its only folder, where it has just one at the top, as archives have."""
    while not tree.source.is_dir() and len(top := tree.top()) == 1 and top[0].endswith("/"):
        tree = tree.under(top[0][:-1])
    return tree


def _split_folders(tree: Tree) -> dict[str, str]:
    """The folders of splits by split; none where the folders are classes.

    They are splits if one is called train and holds folders, or if all have names of splits: otherwise a class may be
    called "test", or "train" as in CIFAR-100.
    """
    folders = tree.children("")
    named = [name for name in folders if name.lower() in SPLITS]
    holds_classes = any(SPLITS[name.lower()] == "train" and tree.children(name) for name in named)
    if not named or (len(named) < len(folders) and not holds_classes):
        return {}
    splits: dict[str, str] = {}
    for name in sorted(named, key=lambda name: list(SPLITS).index(name.lower())):
        split = SPLITS[name.lower()]
        if split in splits:
            raise TenchError(
                f"{tree.root}: has both {splits[split]} and {name}, and each would be the split {split!r}. "
                "Move one of them away, or give the folder of each split by itself (SOURCE and --val)."
            )
        splits[split] = name
    return splits


def _by_class(tree: Tree, folder: str) -> _ByClass:
    inside = f"{folder}/" if folder else ""
    groups = {
        name: [position for position in tree.span(inside + name) if is_image_name(tree.names[position])]
        for name in tree.children(folder)
    }
    direct = [position for position in _direct(tree, folder) if is_image_name(tree.names[position])]
    return groups | {"": direct} if direct else groups


def _direct(tree: Tree, folder: str) -> list[int]:
    """The positions of the files that lie in a folder itself ("" is the root)."""
    positions, cut = (tree.span(folder), len(folder) + 1) if folder else (range(len(tree)), 0)
    return [position for position in positions if tree.names[position].find("/", cut) < 0]


def _num_others(tree: Tree, folder: str) -> int:
    """Files inside class folders that are no images by their names."""
    inside = f"{folder}/" if folder else ""
    spans = [tree.span(inside + name) for name in tree.children(folder)]
    return sum(not is_image_name(tree.names[position]) for span in spans for position in span)


def _classes(tree: Tree, folder: str, by_class: _ByClass) -> Classes:
    ids = sorted(name for name in by_class if name)
    num_images = sum(len(group) for group in by_class.values())
    where = tree.root / folder
    if num_images == 0:
        raise TenchError(f"{where}: holds no images. A folder of class folders with images in them is expected.")
    _refuse_direct(tree, folder, by_class)
    filled = [name for name in ids if by_class[name]]
    if len(filled) == 1:
        raise TenchError(
            f"{where}: holds one class folder only, {filled[0]!r} with {num_images} images. A classifier needs "
            "at least two classes, each a folder of images. "
            "If this is a single class of a larger set, give the folder above it."
        )
    if in_order := _listed_classes(tree, ids):
        return in_order
    listed = _listed_names(tree)
    return Classes.of(ids, [listed.get(class_id, name) for class_id, name in zip(ids, names_of(ids), strict=True)])


def _listed_classes(tree: Tree, ids: Sequence[str]) -> Classes | None:
    """The classes of a file that lists just these ids; other programs' files of that name may hold anything."""
    for name in (CLASSES_TXT, CLASSES_JSON):
        if name in tree:
            with contextlib.suppress(TenchError):
                named = parse(tree.text(name), tree.place(name), name)
                if set(named.ids or ()) == set(ids):
                    return named.classes
    return None


def _refuse_direct(tree: Tree, folder: str, by_class: _ByClass) -> None:
    if direct := by_class.get(""):
        raise TenchError(
            f"{tree.root / folder}: {len(direct)} images lie in it directly, the first is "
            f"{_base_name(tree, direct[0])}. "
            "Their class is unknown: put each image into a folder named after its class. "
            "(To classify them with a trained model: tench predict RUN FOLDER.)"
        )


def _listed_names(tree: Tree) -> dict[str, str]:
    """Names by WordNet id from a words.txt (`wnid<TAB>names`), empty where there is none."""
    if _WORDS not in tree:
        return {}
    pairs = (line.split("\t", 1) for line in tree.text(_WORDS).splitlines() if "\t" in line)
    return {wnid.strip(): names.strip() for wnid, names in pairs}


def _labelled_rows(tree: Tree, folder: str, by_class: _ByClass, classes: Classes, defining: str) -> Rows:
    _refuse_direct(tree, folder, by_class)
    index = {name: label for label, name in enumerate(classes.ids)}
    if unknown := sorted(name for name in by_class if name not in index):
        raise TenchError(
            f"{tree.root / folder}: {len(unknown)} of its {len(by_class)} folders are no classes of "
            f"{tree.root / defining}: {', '.join(repr(name) for name in unknown[:5])}. "
            "Both must have the same class folders."
        )
    cut = len(folder) + 1 if folder else 0
    positions: list[int] = []
    labels: list[int] = []
    keys: list[str] = []
    for name, group in by_class.items():
        nested = f"{name}/{_NESTED}/"  # Tiny-ImageNet: CLASS/images/FILE
        of_class = [tree.names[position][cut:] for position in group]
        if all(key.startswith(nested) for key in of_class):
            of_class = [f"{name}/{key[len(nested) :]}" for key in of_class]
        positions += group
        labels += [index[name]] * len(group)
        keys += of_class
    return tree.rows(positions, labels, keys)


def _annotated_rows(tree: Tree, by_class: _ByClass, annotations: str, classes: Classes) -> Rows:
    """Rows of Tiny-ImageNet's val: `val_annotations.txt` has `file<TAB>wnid<TAB>box` lines."""
    index = {name: label for label, name in enumerate(classes.ids)}
    where = tree.place(annotations)
    line_of: dict[str, tuple[int, str]] = {}  # by file name: the line's number and its class
    for number, line in enumerate(tree.text(annotations).splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in index:
            there = repr(fields[1]) if len(fields) > 1 else "no second column"
            raise TenchError(
                f"{where}, line {number}: the second column should be one of the {len(classes)} classes of "
                f"train, found {there}."
            )
        first, wnid = line_of.setdefault(fields[0], (number, fields[1]))
        if wnid != fields[1]:
            raise TenchError(
                f"{where}, line {number}: {fields[0]} has class {fields[1]!r}, but {wnid!r} in line {first}."
            )
    positions = [position for group in by_class.values() for position in group]
    names = [_base_name(tree, position) for position in positions]
    for position, name in zip(positions, names, strict=True):
        if name not in line_of:
            raise TenchError(f"{tree.place(tree.names[position])}: has no line in {where}, so its class is unknown.")
    if missing := line_of.keys() - set(names):
        number, name = min((line_of[name][0], name) for name in missing)
        raise TenchError(
            f"{where}, line {number}: there is no image {name}; {len(missing)} of the {len(line_of)} images that "
            "it names are missing. Perhaps not all was unpacked."
        )
    wnids = [line_of[name][1] for name in names]
    keys = [f"{wnid}/{name}" for wnid, name in zip(wnids, names, strict=True)]
    return tree.rows(positions, [index[wnid] for wnid in wnids], keys)


def _base_name(tree: Tree, position: int) -> str:
    return tree.names[position].rpartition("/")[2]
