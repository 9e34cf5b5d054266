"""ImageNet as published on Kaggle ("imagenet-object-localization-challenge"), packed or unpacked.

    LOC_synset_mapping.txt          one class per line: "n01440764 tench, Tinca tinca"
    LOC_val_solution.csv            labels and boxes of val
    ILSVRC/Data/CLS-LOC/            train/n01440764/*.JPEG, val/*.JPEG (flat), test/*.JPEG
    ILSVRC/Annotations/CLS-LOC/     the boxes as XML; they contain the labels of val if there is no CSV
    ILSVRC/ImageSets/CLS-LOC/       lists whose numbers are line numbers, not labels: never read

The source may be the folder that contains ILSVRC, ILSVRC itself, a folder in it (the files above it are then looked up
on disk), the .tar.gz that contains ILSVRC, or the .zip that contains the .tar.gz. If the archive is next to the files
unpacked from it, the unpacked files are read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tench.data.files.tree import Tree, open_tree
from tench.data.formats import devkit
from tench.data.formats.boxes import package_opened, packages
from tench.data.formats.wordnet import WNID
from tench.data.layouts import ilsvrc
from tench.data.table import Contents
from tench.errors import TenchError

NAME = "kaggle"
OPTIONS = frozenset[str]()

_SPLITS = ("train", "val", "test")
_MAPPING = "LOC_synset_mapping.txt"
_SOLUTION = "LOC_val_solution.csv"


def recognise(tree: Tree) -> bool:
    return bool(_data_folders(tree) or packages(tree))


def read(tree: Tree) -> Contents:
    """The table of Kaggle's ImageNet. Raises TenchError if a part is missing or damaged."""
    archives = packages(tree)
    tree = package_opened(tree, lambda tree: bool(_data_folders(tree)))
    folders = _data_folders(tree)
    if len(folders) != 1:
        found = " and ".join(str(tree.root / folder) for folder in folders) or "none"
        raise TenchError(
            f"{tree.source} must contain one folder ILSVRC/Data/CLS-LOC, found {found}. Pass the folder that contains "
            "ILSVRC."
        )
    start = f"{folders[0]}/" if folders[0] else ""
    places = {split: f"{start}{split}" for split in _SPLITS if len(tree.span(f"{start}{split}"))}
    if not places:
        raise TenchError(
            f"{tree.root / folders[0]} contains no images in train, val or test. The archive may not be fully unpacked."
        )
    notes = []
    if unopened := [name for name in archives if not tree.span(name)]:
        notes.append(f"{', '.join(unopened)} was not read, because the unpacked files are next to it.")
    if others := [name for name in tree.children(folders[0]) if name not in _SPLITS]:
        notes.append(f"Left out folders in {folders[0] or 'CLS-LOC'} that are not splits: {', '.join(others)}.")
    around = _around(tree)
    labels = ilsvrc.read_labels(tree, places, _sources(tree, around))
    names = _names([tree, *around])
    for other in around:
        tree.stamp.update(other.stamp)
    return ilsvrc.contents_of(tree, places, labels, names=names, notes=notes)


def _around(tree: Tree) -> list[Tree]:
    """Kaggle's text files above the opened folder, each as a separate tree."""
    root = _package_root(tree)
    files = [folder / name for folder in (root, root.parent) for name in (_SOLUTION, _MAPPING)] if root else []
    return [open_tree(file, tree.spool) for file in files if file.is_file() and not file.is_relative_to(tree.source)]


def _sources(tree: Tree, around: Sequence[Tree]) -> list[devkit.LabelSource]:
    """The labels of val: from a text file, else from 50,000 annotations, which take far longer to read."""
    found = [source for part in (tree, *around) for source in devkit.sources(part)]
    if texts := [source for source in found if source.form != "annotations"]:
        return texts
    root = _package_root(tree)
    if not found and root and (outside := root / "Annotations/CLS-LOC/val").is_dir():
        annotations = open_tree(outside, tree.spool)
        tree.stamp.update(annotations.stamp)
        found = devkit.sources(annotations)
    return found


def _names(trees: Sequence[Tree]) -> Mapping[str, str]:
    """The names of classes by WordNet id, from the first of the trees that has the mapping."""
    for tree in trees:
        for name in tree.names:
            if name.endswith(_MAPPING) and name.rpartition("/")[2] == _MAPPING:
                return _mapping(tree, name)
    return {}


def _mapping(tree: Tree, name: str) -> dict[str, str]:
    names = {}
    for number, line in enumerate(tree.text(name).rstrip().splitlines(), start=1):
        wnid, _, words = line.partition(" ")
        if not WNID.fullmatch(wnid):
            raise TenchError(
                f"{tree.place(name)}, line {number:,}: expected a WordNet id and the names of its class, such as "
                f"'n01440764 tench, Tinca tinca', found {line[:80]!r}. Download the file again."
            )
        names[wnid] = words.strip()
    return names


def _data_folders(tree: Tree) -> list[str]:
    """Folders `Data/CLS-LOC` of a Kaggle tree, the shortest path first; "" if the tree's root is one."""
    above = (tree.root.parent.name, tree.root.name)
    if tree.source.is_dir() and above == ("Data", "CLS-LOC"):
        return [""]
    if tree.source.is_dir() and above[1] == "Data" and "CLS-LOC" in tree.folders:
        return ["CLS-LOC"]
    return sorted((path for path in tree.folders if f"/{path}".endswith("/Data/CLS-LOC")), key=lambda path: len(path))


def _package_root(tree: Tree) -> Path | None:
    """The folder ILSVRC that is the source or contains it; None if the source is not a folder of Kaggle's tree."""
    if not tree.source.is_dir():
        return None
    near = (tree.source, tree.source.parent, tree.source.parent.parent)
    return next((folder for folder in near if (folder / "Data/CLS-LOC").is_dir()), None)
