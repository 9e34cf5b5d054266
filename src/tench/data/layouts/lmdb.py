"""LMDB environments: one for each class and split (LSUN), a label in each record (Caffe), or folders in the keys.

    church_outdoor_train_lmdb/data.mdb  church_outdoor_val_lmdb/data.mdb  tower_train_lmdb/data.mdb     LSUN
    mnist_train_lmdb/data.mdb  mnist_test_lmdb/data.mdb                                                  Caffe
    train.lmdb with keys such as cat/0001.jpg                                                            any

A word in an environment's name determines its split. The class is the label of a Datum; else the folder in the key;
else the rest of the environment's name. All images are copied once into the cache. lmdb comes with the extra `interop`.
"""

import re

import numpy as np

from tench.data.files.beside import text_beside
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.class_files import agreed, class_files
from tench.data.formats.lmdb import LmdbImages, is_environment, open_environment
from tench.data.formats.wordnet import names_of
from tench.data.keys import keys_of
from tench.data.limits import LIMITS
from tench.data.splits import TEST, group_by_split, splits_in
from tench.data.table import FILE, PIXELS_CHW, Classes, Contents, Rows, numbered_keys
from tench.errors import TenchError, some

NAME = "lmdb"
OPTIONS = frozenset({"split_from"})

_SUFFIX = re.compile(r"[-_.]?lmdb$", re.IGNORECASE)
_FIRST_FILES = 8


def recognise(tree: Tree) -> bool:
    """Whether the tree has the data file of an LMDB environment, and no image files."""
    names = _files(tree)
    if not names or any(map(is_image_name, tree.names)):
        return False
    return any(_is_environment(tree, name) for name in names[:_FIRST_FILES])


def read(tree: Tree) -> Contents:
    """The table of all environments. Raises TenchError if one is damaged, or if classes are unknown."""
    of_name = {_name(tree, file): file for file in _files(tree) if _is_environment(tree, file)}
    # A class may have the name of a split. Environments are identified by their names, not by their folders.
    by_split, notes = group_by_split(
        of_name, str(tree.source), "environments", split_from=tree.options.split_from, root=tree.root.name
    )
    opened = {name: open_environment(tree, file) for name, file in of_name.items()}
    labels = {name: _labels(name, environment) for name, environment in opened.items()}
    classes, more = _classes(tree, by_split, opened, labels)
    index = {class_id: number for number, class_id in enumerate(classes.ids)}
    splits = {}
    for split, names in by_split.items():
        splits[split] = _rows(tree, split, [(opened[name], labels[name]) for name in names], classes, index)
    if any(environment.shape and environment.shape[2] == 3 for environment in opened.values()):
        notes.append("The pixels are read as BGR, as Caffe's convert_imageset writes them.")
    return Contents(classes, splits, stamp=list(tree.stamp), notes=[*more, *notes])


def _files(tree: Tree) -> list[str]:
    if len(tree) == 1 and tree.source.is_file():
        return list(tree.names)
    return [name for name in tree.others if name.endswith((".mdb", ".lmdb")) and not name.endswith("lock.mdb")]


def _is_environment(tree: Tree, name: str) -> bool:
    try:
        with tree.open(name) as file:
            return is_environment(file.read(20))
    except (TenchError, OSError):
        return False


def _name(tree: Tree, file: str) -> str:
    """The name of an environment: that of its folder or its file."""
    folder, _, base = file.rpartition("/")
    if base == "data.mdb":
        return folder or tree.root.name if tree.root.is_dir() else folder or tree.root.parent.name
    return file


def _labels(name: str, environment: LmdbImages) -> list[str] | list[int]:
    """The class of each record: a number for a Datum, else text; -1 or "" if there is none."""
    if environment.label is not None:
        return environment.label
    if all("/" in key for key in environment.keys):
        return [key.rpartition("/")[0].rpartition("/")[2] for key in environment.keys]
    return [_class_of(name)] * len(environment.keys)


def _class_of(name: str) -> str:
    """The class in an environment's name: church_outdoor for church_outdoor_train_lmdb, "" for train_lmdb."""
    words = re.split(r"[-_.]", _SUFFIX.sub("", name.rpartition("/")[2]))
    return "_".join(word for word in words if word and not splits_in(word))


def _classes(
    tree: Tree,
    by_split: dict[str, list[str]],
    opened: dict[str, LmdbImages],
    labels: dict[str, list[str] | list[int]],
) -> tuple[Classes, list[str]]:
    numbered = {environment.label is not None for environment in opened.values()}
    if len(numbered) > 1:
        raise TenchError(
            f"{tree.source}: some environments have labels in their records, others do not. Pass each kind separately."
        )
    for split, names in by_split.items():
        for name in names:
            wrong = [row for row, label in enumerate(labels[name]) if label in ("", -1)]
            if wrong and split != TEST:
                keys = some([repr(opened[name].keys[row]) for row in wrong], at_most=3)
                raise TenchError(
                    f"{opened[name].where}: the class of {len(wrong):,} images is unknown, because their records have "
                    f"no label. Their keys are {keys}. Expected names such as church_outdoor_train_lmdb, keys such as "
                    "church/001.jpg, or Caffe's Datum records."
                )
    defining = [name for split, names in by_split.items() if split != TEST or len(by_split) == 1 for name in names]
    every = {label for name in defining for label in labels[name]} - {"", -1}
    if numbered == {True}:
        numbers = [int(label) for name in opened for label in labels[name]]
        if not 0 <= max(numbers) < LIMITS.classes or min(numbers) < -1:
            raise TenchError(
                f"{tree.source}: the labels range from {min(numbers):,} to {max(numbers):,}; a class is a number from "
                f"0 to {LIMITS.classes - 1:,}. The records are for another task."
            )
        count = max(numbers) + 1
        listed, notes = agreed(
            [one for one in class_files(lambda file: text_beside(tree, _files(tree), file)) if len(one) >= count]
        )
        classes = listed.classes if listed else Classes.numbered_to(count)
        told = f"from {listed.where}" if listed else "only numbers: there is no class list next to the environments"
        notes.append(f"The classes are {told}.")
    else:
        ids = sorted(map(str, every))
        classes, notes = Classes.of(ids, names_of(ids)), ["The classes are the names of environments or their keys."]
    if len(classes) < 2:
        found = ", ".join(classes.ids) or "none"
        raise TenchError(
            f"{tree.source}: at least two classes are needed. Found: {found}. Pass the folder that contains the "
            "environments of all classes."
        )
    return classes, notes


def _rows(
    tree: Tree,
    split: str,
    parts: list[tuple[LmdbImages, list[str] | list[int]]],
    classes: Classes,
    index: dict[str, int],
) -> Rows:
    shapes = {environment.shape for environment, _ in parts}
    if len(shapes) > 1:
        raise TenchError(f"{tree.source}: the environments of {split} contain images of different kinds or sizes.")
    label = []
    for environment, labels in parts:
        for one in labels:
            if isinstance(one, str) and one not in index and one:
                raise TenchError(f"{environment.where}: the class {one!r} of {split} is not a class of train.")
            label.append(index.get(one, -1) if isinstance(one, str) else one)
    paths = [key for environment, _ in parts for key in environment.keys]
    ids = [None if number < 0 or classes.numbered else classes.ids[number] for number in label]
    keys = keys_of(paths, ids)
    if len(set(keys)) < len(keys) or any(key.startswith(("/", ".")) or "/.." in key or "//" in key for key in keys):
        keys = numbered_keys(len(paths))
    height, width, channels = shapes.pop() or (0, 0, 0)
    return Rows(
        shards=[str(environment.path) for environment, _ in parts],
        shard=np.repeat(np.arange(len(parts), dtype=np.int32), [len(environment.keys) for environment, _ in parts]),
        offset=np.concatenate([np.array(environment.offset, np.int64) for environment, _ in parts]),
        length=np.concatenate([np.array(environment.length, np.int64) for environment, _ in parts]),
        label=np.array(label, np.int32),
        key=keys,
        encoding=PIXELS_CHW if channels else FILE,
        height=height,
        width=width,
        channels=channels,
    )
