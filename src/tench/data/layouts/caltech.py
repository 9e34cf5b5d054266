"""Caltech-101 and Caltech-256: one folder for each category, unpacked or in the archive.

    101_ObjectCategories/<name>/image_0001.jpg
    256_ObjectCategories/<ccc>.<name>/<ccc>_0001.jpg

Each contains a folder of pictures without a category (BACKGROUND_Google, 257.clutter), which is left out because it is
not a class. Some lists, such as NNabla's, include BACKGROUND_Google as a class and drop Faces_easy, which has cropped
images of Faces; here Faces_easy is a class. Images are the files directly in a category's folder; a note lists stray
files such as 056.dog/greg and 198.spider/RENAME2. The only split is train, because the sets define no splits."""

import dataclasses
import re
from collections.abc import Sequence

from tench.data.evidence.folders import outermost, wrappers
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.keys import keys_of
from tench.data.table import Classes, Contents
from tench.errors import TenchError, counted, some

NAME = "caltech"
OPTIONS = frozenset[str]()


@dataclasses.dataclass(frozen=True)
class _Set:
    """One of the sets.

    known_by: the folders, or the number of category folders, that identify the set if the folder above has another
    name.
    """

    title: str
    folder: str
    category: re.Pattern[str]
    no_class: str
    num_classes: int
    known_by: frozenset[str] | int


_SETS = (
    _Set(
        title="Caltech-101",
        folder="101_ObjectCategories",
        category=re.compile(r".+"),
        no_class="BACKGROUND_Google",
        num_classes=101,
        known_by=frozenset({"BACKGROUND_Google", "Faces_easy"}),
    ),
    _Set(
        title="Caltech-256",
        folder="256_ObjectCategories",
        category=re.compile(r"\d{3}\..+"),
        no_class="257.clutter",
        num_classes=256,
        known_by=256,
    ),
)


def recognise(tree: Tree) -> bool:
    """Whether the tree has a folder of categories, recognised by its name or its subfolders, or an archive of one."""
    return bool(_found(tree) or _archives(tree))


def read(tree: Tree) -> Contents:
    """The images of all categories as the split train.

    Raises TenchError if the tree contains both sets, or fewer than two categories with images.
    """
    found = _found(tree)
    if not found:  # Caltech-101 is published as an archive inside a zip
        archives = _archives(tree)
        if len(archives) > 1:
            raise TenchError(f"{tree.source} contains {' and '.join(archives)}. Pass one of them.")
        tree = tree.opened(archives).under(archives[0])
        found = _found(tree)
    if not found:
        raise TenchError(f"{tree.root} has no category folders. Download it again.")
    if len(found) > 1:
        several = " and ".join(f"{tree.root / folder} ({which.title})" for which, folder in found)
        raise TenchError(f"{tree.source} contains {several}. Pass one of them.")
    which, folder = found[0]
    where, inside = tree.root / folder, f"{folder}/" if folder else ""
    by_class: dict[str, list[int]] = {
        name: [] for name in tree.children(folder) if which.category.fullmatch(name) and name != which.no_class
    }
    num_no_class = 0
    strays: list[str] = []
    for position in tree.span(folder) if folder else range(len(tree)):
        name = tree.names[position][len(inside) :]
        category, _, file = name.partition("/")
        if category == which.no_class and is_image_name(file):
            num_no_class += 1
        elif category in by_class and "/" not in file and is_image_name(file):
            by_class[category].append(position)
        else:
            strays.append(name)
    ids = [category for category, positions in by_class.items() if positions]
    if len(ids) < 2:
        raise TenchError(
            f"{where}: {len(ids)} of its folders contain images; {which.title} has {which.num_classes} categories, "
            "each a folder of images. Unpack the archive again."
        )
    notes = []
    if len(ids) != which.num_classes:
        notes.append(f"{which.title} has {which.num_classes} categories; {len(ids)} were found.")
    if empty := [category for category, positions in by_class.items() if not positions]:
        notes.append(f"Left out folders without images: {some(empty)}.")
    if num_no_class:
        notes.append(f"Left out {counted(num_no_class, 'image')} of {which.no_class}, which is not a class.")
    if strays:
        notes.append(f"Left out {counted(len(strays), 'stray file')}: {some(strays)}.")
    if outside := [name for name in tree.names if not name.startswith(inside) and is_image_name(name)]:
        notes.append(f"Left out {counted(len(outside), 'image')} outside {folder}.")
    positions = [position for category in ids for position in by_class[category]]
    of_class = [category for category in ids for _ in by_class[category]]
    label_of = {category: label for label, category in enumerate(ids)}
    keys = keys_of([tree.names[position] for position in positions], of_class)
    rows = tree.rows(positions, [label_of[category] for category in of_class], keys)
    names = [_name(category) for category in ids]
    return Contents(Classes.of(ids, names), {"train": rows}, stamp=list(tree.stamp), notes=notes)


def _found(tree: Tree) -> list[tuple[_Set, str]]:
    """The sets in the tree with their folders, recognised by the folder's name, else by the categories in it."""
    found = [
        (which, folder)
        for folder, name in outermost(tree)
        for which in _SETS
        if name == which.folder and tree.children(folder)
    ]
    for folder in () if found else wrappers(tree):
        there = tree.children(folder)
        found += [(which, folder) for which in _SETS if _is_known(which, there)]
    return found


def _archives(tree: Tree) -> list[str]:
    """Archives inside the tree that are named after a folder of categories."""
    known = {f"{which.folder}.{suffix}" for which in _SETS for suffix in ("tar", "tar.gz")}
    return [name for name in tree.others if name.endswith((".tar", ".gz")) and name.rpartition("/")[2] in known]


def _is_known(which: _Set, folders: Sequence[str]) -> bool:
    if isinstance(which.known_by, int):
        return sum(bool(which.category.fullmatch(name)) for name in folders) >= which.known_by
    return which.known_by <= set(folders)


def _name(category: str) -> str:
    """`dog` from `056.dog`, `motorbikes` from `145.motorbikes-101`, `car side` from `car_side`."""
    name = re.sub(r"^\d{3}\.|-101$", "", category)
    return re.sub(r"[-_]+", " ", name).strip() or category
