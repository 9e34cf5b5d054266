"""The sets for evaluating models of ImageNet's 1000 classes: ImageNet-V2, -A, -R and -Sketch; as folders or archives.

    ImageNet-V2      imagenetv2-matched-frequency-format-val/0/*.jpeg    the folder is the index among the sorted 1000
    ImageNet-A, -R   imagenet-a/n01498041/*.jpg, imagenet-r/...          200 of the classes
    ImageNet-Sketch  sketch/n01440764/*.JPEG

If V2's folders were sorted as text (0, 1, 10, 100, ...), nearly every image would have a wrong label, so they are read
as numbers. The classes are always those of the published set, even if some folders are missing: ImageNet-A and -R are
scored among their 200 classes. The split is called test.
Source: tensorflow/datasets, imagenet_v2, imagenet_a, imagenet_r; the WordNet ids are those in timm.
"""

import dataclasses
import re
from collections.abc import Callable

from tench.data.evidence.folders import outermost, wrappers
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.wordnet import imagenet, names_of, subset
from tench.data.keys import keys_of
from tench.data.table import Classes, Contents
from tench.errors import TenchError, counted, some

NAME = "imagenet-eval"
OPTIONS = frozenset[str]()


@dataclasses.dataclass(frozen=True)
class _Set:
    """One of the sets. folder: name of the folder that contains the classes. numbered: classes are named by index, not
    by WordNet id."""

    title: str
    folder: re.Pattern[str]
    ids: Callable[[], tuple[str, ...]]
    num_images: int
    numbered: bool = False


_SETS = (
    _Set("ImageNet-V2", re.compile(r"imagenetv2-.+-format-val"), imagenet, 10_000, numbered=True),
    _Set("ImageNet-A", re.compile(r"imagenet-a"), lambda: subset("a"), 7_500),
    _Set("ImageNet-R", re.compile(r"imagenet-r"), lambda: subset("r"), 30_000),
    _Set("ImageNet-Sketch", re.compile(r"(imagenet-)?sketch"), imagenet, 50_889),
)


def recognise(tree: Tree) -> bool:
    """Whether a folder with a set's name contains class folders, or the folders are the 200 classes of A or R."""
    return bool(_found(tree))


def read(tree: Tree) -> Contents:
    """The images as the split test. Raises TenchError for a folder that is not a class of the set, or for several
    sets."""
    found = _found(tree)
    if len(found) > 1:
        several = " and ".join(f"{tree.root / folder} ({which.title})" for which, folder in found)
        raise TenchError(f"{tree.source} contains {several}. Pass one of them.")
    which, folder = found[0]
    where, set_folder = tree.root / folder, f"{folder}/" if folder else ""
    ids = which.ids()
    label_of = {str(label) if which.numbered else class_id: label for label, class_id in enumerate(ids)}
    positions: list[int] = []
    labels: list[int] = []
    others: list[str] = []
    for position in tree.span(folder) if folder else range(len(tree)):
        inside = tree.names[position][len(set_folder) :]
        class_folder, _, file = inside.partition("/")
        if not is_image_name(inside):
            others.append(inside)
            continue
        if not file:
            raise TenchError(f"{where / inside} is not in a class folder, so its class is unknown. Move it away.")
        if class_folder not in label_of:
            kind = (
                f"the numbers 0 to {len(ids) - 1}" if which.numbered else f"the WordNet ids of its {len(ids)} classes"
            )
            raise TenchError(
                f"{where / class_folder} is not a class of {which.title}, whose folders are {kind}. Unpack the "
                "archive again, or move this folder away."
            )
        positions.append(position)
        labels.append(label_of[class_folder])
    if not positions:
        raise TenchError(f"{where} contains no images. Unpack the archive again.")
    notes = [f"{which.title}: {counted(len(positions), 'image')} found, {which.num_images:,} expected."]
    if len(there := set(labels)) < len(ids):
        missing = [class_id for class_id, label in label_of.items() if label not in there]
        notes.append(f"{len(missing)} of the {len(ids):,} classes have no images: {some(missing)}.")
    if len(ids) < len(imagenet()):
        notes.append(
            f"The {len(ids)} classes are a subset of ImageNet's {len(imagenet()):,}. A model's logits are restricted "
            "to them before the largest is chosen."
        )
    if others:
        notes.append(f"Left out files that are not images: {some(others)}.")
    if outside := [name for name in tree.names if not name.startswith(set_folder) and is_image_name(name)]:
        notes.append(f"Left out {counted(len(outside), 'image')} outside {folder}.")
    keys = keys_of([tree.names[position] for position in positions], [ids[label] for label in labels])
    rows = tree.rows(positions, labels, keys)
    return Contents(
        Classes.of(ids, names_of(ids)),
        {"test": rows},
        stamp=list(tree.stamp),
        notes=notes,
        scoring={"test": "own-classes"} if len(ids) < len(imagenet()) else {},
    )


def _found(tree: Tree) -> list[tuple[_Set, str]]:
    """The sets in the tree with their folders, recognised by the folder's name, else by the classes in it."""
    found = [
        (which, folder)
        for folder, name in outermost(tree)
        for which in _SETS
        if which.folder.fullmatch(name.lower()) and _holds_classes(tree, which, folder)
    ]
    for folder in () if found else wrappers(tree):
        there = set(tree.children(folder))
        found += [(which, folder) for which in _SETS if len(which.ids()) < len(imagenet()) and there == {*which.ids()}]
    return found


def _holds_classes(tree: Tree, which: _Set, folder: str) -> bool:
    there = tree.children(folder)
    return any(name.isdecimal() for name in there) if which.numbered else not {*which.ids()}.isdisjoint(there)
