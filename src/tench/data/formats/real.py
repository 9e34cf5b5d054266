"""ReaL: the labels of ILSVRC2012's validation images as reassessed by people, several or none for an image.

`real.json` (google-research/reassessed-imagenet) is a list of 50,000 lists of sorted ImageNet indices; entry i is for
ILSVRC2012_val_<i + 1>. A prediction is correct if it is one of the image's labels. Images without a label are left out,
as by the set's authors.
Source: Beyer et al. 2020, arXiv:2006.07159.
"""

import dataclasses
import json
import re

import numpy as np

from tench.data.files.tree import Tree
from tench.data.formats.wordnet import imagenet, position_of
from tench.data.subset import rows_at
from tench.data.table import Classes, Contents
from tench.errors import TenchError

FILE = "real.json"
SPLIT = "real"

_NUM_IMAGES, _NUM_CLASSES = 50_000, 1000
_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)[^/]*", re.ASCII)


def real_labels(text: str, where: str) -> list[list[int]]:
    """The labels of each image, 0 to 999, in the order of the images' numbers. Raises TenchError for other JSON.

    where: the file's name for errors. Fewer than 50,000 entries are accepted; `attach` checks those that it needs.
    """
    again = (
        "Download real.json from google-research/reassessed-imagenet again, or remove it to read the set without it."
    )
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TenchError(f"{where} is not JSON ({error}). {again}") from error
    if not isinstance(entries, list):
        raise TenchError(f"{where} contains a {type(entries).__name__}; expected a list of {_NUM_IMAGES:,}. {again}")
    if len(entries) > _NUM_IMAGES:
        raise TenchError(f"{where} has {len(entries):,} entries; expected {_NUM_IMAGES:,}, one per image. {again}")
    for number, labels in enumerate(entries):
        place = f"{where}: entry {number} (counted from 0)"
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise TenchError(f"{place} is {str(labels)[:40]}; expected a list of whole numbers. {again}")
        if wrong := [label for label in labels if not 0 <= label < _NUM_CLASSES]:
            raise TenchError(f"{place} has label {wrong[0]}; expected 0 to {_NUM_CLASSES - 1}. {again}")
    return entries


def attach(contents: Contents, tree: Tree) -> Contents:
    """The contents with a split `real`, if val is ILSVRC2012's and the tree has a real.json: its images with labels.

    A row's label is the first, and Rows.labels has all of them, as indices into the contents' classes. Raises
    TenchError if an image of val has no entry, or if the classes are not ImageNet's.
    """
    files = [name for name in tree.others if name.rpartition("/")[2] == FILE]
    if not files or "val" not in contents.splits:
        return contents
    val = contents.splits["val"]
    images = [_IMAGE.fullmatch(key.rpartition("/")[2]) for key in val.key]
    if not any(images):
        return contents
    if len(files) > 1:
        raise TenchError(f"{tree.root} has {' and '.join(files)}. Keep one of them.")
    where = tree.place(files[0])
    entries = real_labels(tree.text(files[0]), where)
    class_of = _class_of(contents.classes, where)
    rows: list[int] = []
    labels: list[list[int]] = []
    num_foreign = 0
    for row, (key, found) in enumerate(zip(val.key, images, strict=True)):
        if found is None or not 1 <= int(found[1]) <= len(entries):
            what = (
                "is not called ILSVRC2012_val_########"
                if found is None
                else f"has no entry: there are {len(entries):,}"
            )
            raise TenchError(
                f"{where}: {key} of val {what}. real.json is for the {_NUM_IMAGES:,} validation images of ILSVRC2012: "
                "download it again, or remove it to read the set without it."
            )
        entry = entries[int(found[1]) - 1]
        of_image = [class_of[label] for label in dict.fromkeys(entry) if label in class_of]
        num_foreign += bool(entry) and not of_image
        if of_image:
            rows.append(row)
            labels.append(of_image)
    if not rows:
        note = f"{FILE} has no labels for the {len(val.key):,} images of val, so there is no split {SPLIT}."
        return dataclasses.replace(contents, notes=[*contents.notes, note])
    num_empty = len(val.key) - len(rows) - num_foreign
    note = f"{FILE} has labels for {len(rows):,} of the {len(val.key):,} images of val, and none for {num_empty:,}"
    if num_foreign:
        note += f"; the labels of {num_foreign:,} are classes that are not here"
    real = dataclasses.replace(
        rows_at(val, np.array(rows, np.int64)),
        label=np.array([of_image[0] for of_image in labels], np.int32),
        labels=labels,
    )
    return dataclasses.replace(
        contents,
        splits={**contents.splits, SPLIT: real},
        scoring={**contents.scoring, SPLIT: "any-label"},
        stamp=list(dict.fromkeys([*contents.stamp, *tree.stamp])),
        notes=[*contents.notes, f"{note}. The split {SPLIT} has those with labels."],
    )


def _class_of(classes: Classes, where: str) -> dict[int, int]:
    """The index of each ImageNet class in the contents."""
    if classes.numbered and len(classes) == _NUM_CLASSES:
        return {label: label for label in range(_NUM_CLASSES)}
    position = position_of(classes.ids)
    found = {label: position[wnid] for label, wnid in enumerate(imagenet()) if wnid in position}
    if not found:
        some = ", ".join(classes.ids[:3])
        raise TenchError(
            f"{where}: its labels are ImageNet's classes, but this dataset has other classes ({some}, ...). Remove it "
            "to read the set without it."
        )
    return found
