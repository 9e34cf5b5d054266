"""ILSVRC2012 as published by image-net.org, or partly or fully unpacked.

    ILSVRC2012_img_train.tar     n01440764.tar, ...    each contains n01440764_10026.JPEG, ...
    ILSVRC2012_img_val.tar       ILSVRC2012_val_00000001.JPEG, ...    without labels, in random order
    ILSVRC2012_img_test*.tar     ILSVRC2012_test_00000001.JPEG, ...   labels were never published
    ILSVRC2012_devkit_t12.tar.gz, or another file with the labels of val (formats/devkit.py)

Each split may be the archive or a folder: train with class folders, class archives, or both; val flat, in class
folders, or a mix of both. Nothing needs unpacking: an image is addressed inside the nested archives. If anything exists
twice, an error asks the user to move one copy away. The classes are those of train, sorted.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats import devkit
from tench.data.formats.devkit import Labels
from tench.data.formats.wordnet import WNID, imagenet, names_of
from tench.data.keys import keys_of
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError, counted

NAME = "ilsvrc"
OPTIONS = frozenset[str]()

_ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar",),
    "val": ("ILSVRC2012_img_val.tar",),
    "test": ("ILSVRC2012_img_test_v10102019.tar", "ILSVRC2012_img_test.tar"),
}
_FOLDERS = {
    "train": ("train", "ILSVRC2012_img_train"),
    "val": ("val", "validation", "ILSVRC2012_img_val"),
    "test": ("test", "ILSVRC2012_img_test", "ILSVRC2012_img_test_v10102019"),
}
_PATCH = "ILSVRC2012_img_test_patch_v10102019.tar"
"""Repaired test images, published in 2019 as a patch for the older archive."""
_DOGS = "ILSVRC2012_img_train_t3.tar"
"""The archive of task 3 with 120 classes of dogs: a different set with a similar name."""

_IMAGE = {split: re.compile(rf"ILSVRC2012_{split}_\d{{8}}\.(?!xml$)\w+") for split in ("val", "test")}
"""Any suffix except that of annotations is accepted, because resized copies may have another one."""
_FEW = 1000
"""Files of a folder that are examined to identify its content."""


def recognise(tree: Tree) -> bool:
    tree = _below_single_folders(tree)
    top = tree.top()
    files = [name for name in top if not name.endswith("/")]
    if any(name in files for names in _ARCHIVES.values() for name in names):
        return True
    if len(tree) == 1 and tree.root / tree.names[0] == tree.source:
        return False
    if files and all(_is_ours(name) for name in files) and all(WNID.match(name) for name in top if name not in files):
        classes = {name[:-4] for name in files if _is_class_archive(name)}
        if len(classes) < len(files):
            return True
        named = tree.source.name in _ARCHIVES["train"]
        return not tree.source.is_dir() and (named or classes <= set(imagenet()))
    folders = {split: [name for name in names if f"{name}/" in top] for split, names in _FOLDERS.items()}
    if any(not _is_train(tree, name) for name in folders["train"]):
        return False
    return (
        any(name.startswith("ILSVRC2012_") for names in folders.values() for name in names)
        or any(
            f"{name}/{archive}" in tree for split in folders for name in folders[split] for archive in _ARCHIVES[split]
        )
        or any(_class_archives(tree, name) for name in folders["train"])
        or any(_holds(tree, name, split) for split in ("val", "test") for name in folders[split])
        or (bool(folders["train"]) and any(_is_ours(name) for name in files))
    )


def read(tree: Tree) -> Contents:
    """The table of ILSVRC2012. Raises TenchError if a part is missing, exists twice, or contradicts another."""
    tree = _below_single_folders(tree)
    notes = [f"{name} was left out: it is a different set, the dogs of task 3." for name in (_DOGS,) if name in tree]
    places = _places(tree, notes)
    labels = read_labels(tree, places, devkit.sources(tree))
    archives = [place for place in places.values() if place in tree]
    archives += [name for name in (_PATCH,) if name in tree]
    tree = tree.opened(archives) if archives else tree
    return contents_of(tree, places, labels, notes=notes)


def read_labels(tree: Tree, places: Mapping[str, str], sources: Sequence[devkit.LabelSource]) -> list[Labels]:
    """The labels of val in these sources. Raises TenchError if val needs them and there are none, or if they disagree.

    places: for each split, the folder in the tree, or the archive (not opened yet). If there is no val, only the devkit
    is read, for its information on the classes.
    """
    if "val" not in places:
        return [source.read() for source in sources if source.is_devkit][:1]
    place = places["val"]
    needed = place in tree or any(_class_of(tree.names[position]) is None for position in _images(tree, place, "val"))
    if needed and not sources:
        where = f"Add to {tree.root} one of these" if tree.source.is_dir() else "Pass a folder with it and one of these"
        raise TenchError(
            f"{tree.root / place} contains the images of val, but their labels are in a separate file. "
            f"{where}: {devkit.WOULD_DO}."
        )
    labels = [source.read() for source in sources]
    devkit.refuse_disagreement(labels)
    return labels


def contents_of(
    tree: Tree,
    places: Mapping[str, str],
    labels: Sequence[Labels],
    *,
    names: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Contents:
    """The table of ILSVRC2012's images in a tree in which the archives of whole splits are opened.

    places: the folder of each split in the tree, "" for its root. labels: the labels of val from each source; the first
    is used. names: class names, if the layout provides them.
    """
    notes = list(notes)
    if "train" in places:
        tree, by_class = _train(tree, places["train"], notes)
    val = _images(tree, places["val"], "val") if "val" in places else []
    wnids = _labels_of_val(tree, places["val"], val, labels, notes) if "val" in places else []
    ids = sorted(by_class) if "train" in places else sorted({*wnids, *(labels[0].classes if labels else [])})
    if not ids:
        ids = list(imagenet())
        notes.append("The images have no labels, so the classes are the 1000 of ILSVRC2012.")
    classes = _classes(ids, labels, names)

    index = {class_id: label for label, class_id in enumerate(classes.ids)}
    splits: dict[str, Rows] = {}
    if "train" in places:
        splits["train"] = _train_rows(tree, by_class, index)
        _compare_counts(by_class, labels, notes)
        _note_empty("train", {class_id for class_id, group in by_class.items() if group}, classes, notes)
    if "val" in places:
        _refuse_unknown(tree, val, wnids, index, labels)
        keys = keys_of([tree.names[position] for position in val], wnids)
        splits["val"] = tree.rows(val, [index[wnid] for wnid in wnids], keys)
        _note_empty("val", set(wnids), classes, notes)
    if "test" in places:
        test = _test(tree, places["test"], notes)
        splits["test"] = tree.rows(list(test.values()), [-1] * len(test), list(test))
    for split, missing in (("train", "ILSVRC2012_img_train.tar"), ("val", "ILSVRC2012_img_val.tar")):
        if split not in places:
            notes.append(f"There is no split {split}: neither {missing} nor a folder {split} was found.")
    return Contents(classes, splits, stamp=list(tree.stamp), notes=notes)


def _below_single_folders(tree: Tree) -> Tree:
    """The tree below the only folder at the top of an archive, unless that is a split; else the tree itself."""
    known = {name for names in _FOLDERS.values() for name in names}
    while not tree.source.is_dir() and len(top := tree.top()) == 1 and top[0].endswith("/"):
        if (folder := top[0][:-1]) in known or WNID.fullmatch(folder):
            break
        tree = tree.under(folder)
    return tree


def _is_ours(name: str) -> bool:
    """Whether a file at the top is one of those published with ILSVRC2012."""
    return (
        any(pattern.fullmatch(name) for pattern in _IMAGE.values())
        or any(pattern.fullmatch(name) for pattern, _ in devkit.FORMS.values())
        or name.startswith(("ILSVRC2012_devkit", "ILSVRC2012_bbox", "ILSVRC2012_img", "LOC_"))
        or _is_class_archive(name)
    )


def _is_class_archive(name: str) -> bool:
    return name.endswith(".tar") and WNID.fullmatch(name[:-4]) is not None


def _is_train(tree: Tree, folder: str) -> bool:
    """Whether a folder contains classes by WordNet id, the archive of all of them, or nothing."""
    return (
        len(tree.span(folder)) == 0
        or any(WNID.fullmatch(name) for name in tree.children(folder))
        or any(f"{folder}/{archive}" in tree for archive in _ARCHIVES["train"])
        or bool(_class_archives(tree, folder))
    )


def _holds(tree: Tree, folder: str, split: str) -> bool:
    """Whether the first files of a folder include images of val or test, by their names."""
    span = tree.span(folder)[:_FEW]
    return any(_IMAGE[split].fullmatch(tree.names[position].rpartition("/")[2]) for position in span)


def _places(tree: Tree, notes: list[str]) -> dict[str, str]:
    """The place of each split: a folder, an archive not yet opened, or "" for the root.

    Raises TenchError if a split is in two places, or if there is none.
    """
    places = {}
    top = tree.top()
    for split in ("train", "val", "test"):
        folders = [name for name in _FOLDERS[split] if f"{name}/" in top]
        inside = ("", *(f"{folder}/" for folder in folders))  # unpacking scripts move the archive into the folder
        archives = [f"{start}{name}" for start in inside for name in _ARCHIVES[split] if f"{start}{name}" in tree]
        found = list(archives)
        for folder in folders:
            names = [tree.names[position] for position in tree.span(folder)]
            if any(map(is_image_name, names)) or _class_archives(tree, folder):
                found.append(folder)
            elif not any(name in archives or name.endswith(".xml") for name in names):
                notes.append(f"{folder} contains no images and was left out.")
        if _is_at_root(tree, top, split):
            found.append("")
        if len(found) > 1:
            first, second = (str(tree.root / place) if place else f"{tree.root} itself" for place in found[:2])
            raise TenchError(
                f"{first} and {second} both contain the split {split}. Keep one and move the other away. The archive "
                "needs no unpacking; keep the unpacked images only if they are complete."
            )
        if found:
            places[split] = found[0]
    if not places:
        raise TenchError(
            f"{tree.source} has no images of ILSVRC2012. Pass a folder with ILSVRC2012_img_train.tar and "
            "ILSVRC2012_img_val.tar in it, or with the folders train and val that were unpacked from them."
        )
    return places


def _is_at_root(tree: Tree, top: Sequence[str], split: str) -> bool:
    if split != "train":
        return any(_IMAGE[split].fullmatch(name) for name in top)
    folders = [name[:-1] for name in top if name.endswith("/") and WNID.fullmatch(name[:-1])]
    return any(_is_class_archive(name) for name in top) or any(
        is_image_name(tree.names[position]) for folder in folders for position in tree.span(folder)[:_FEW]
    )


def _class_archives(tree: Tree, place: str) -> list[str]:
    """The class archives directly in a folder, n01440764.tar and so on, by path."""
    cut = len(place) + 1 if place else 0
    start = f"{place}/" if place else ""
    found = [name for name in tree.others if name.endswith(".tar") and name.startswith(start)]
    return [name for name in found if _is_class_archive(name[cut:])]


def _train(tree: Tree, place: str, notes: list[str]) -> tuple[Tree, dict[str, list[int]]]:
    """The tree with class archives opened, and the positions of the images of each class."""
    while (
        place
        and len(inside := tree.children(place)) == 1
        and not WNID.fullmatch(inside[0])
        and not _class_archives(tree, place)
    ):
        place = f"{place}/{inside[0]}"  # the archive was packed with its folder
    archives = _class_archives(tree, place)
    start = f"{place}/" if place else ""
    folders = [name for name in tree.children(place) if WNID.fullmatch(name)]
    for archive in archives:
        folder = archive[:-4]
        if len(tree.span(folder)):
            raise TenchError(
                f"{tree.root / archive} and {tree.root / folder} both contain the class {folder.rpartition('/')[2]}. "
                "The folder may be incomplete if unpacking was interrupted. Move it away; the archive is read without "
                "unpacking."
            )
    tree = tree.opened(archives) if archives else tree
    by_class: dict[str, list[int]] = {}
    for where in sorted([*archives, *(start + name for name in folders if f"{start}{name}.tar" not in archives)]):
        images = [position for position in tree.span(where) if is_image_name(tree.names[position])]
        by_class[where[len(start) :].removesuffix(".tar")] = images
    if not any(by_class.values()):
        raise TenchError(
            f"{tree.root / place} contains no class images. It should contain n01440764.tar and so on, or folders "
            "n01440764 and so on with images in them."
        )
    if place:
        _note_others(tree, place, [position for group in by_class.values() for position in group], notes)
    return tree, by_class


def _train_rows(tree: Tree, by_class: Mapping[str, Sequence[int]], index: Mapping[str, int]) -> Rows:
    positions = [position for group in by_class.values() for position in group]
    ids = [class_id for class_id, group in by_class.items() for _ in group]
    label = np.repeat([index[class_id] for class_id in by_class], [len(group) for group in by_class.values()])
    return tree.rows(positions, label, keys_of([tree.names[position] for position in positions], ids))


def _images(tree: Tree, place: str, split: str) -> list[int]:
    """The positions of the images of val or test below a folder; in the root, only files with their names."""
    if place:
        return [position for position in tree.span(place) if is_image_name(tree.names[position])]
    return [position for position in range(len(tree)) if _IMAGE[split].fullmatch(tree.names[position])]


def _class_of(name: str) -> str | None:
    """The class folder that an image of val is in."""
    folder = name.rpartition("/")[0].rpartition("/")[2]
    return folder if WNID.fullmatch(folder) else None


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _labels_of_val(
    tree: Tree, place: str, images: Sequence[int], labels: Sequence[Labels], notes: list[str]
) -> list[str]:
    """The class of each image of val: from its folder, else from the first source of labels."""
    known = labels[0].wnid if labels else {}
    wnids, unlabelled, num_flat = [], [], 0
    stems = {_stem(name) for name in _by_file_name(tree, place, images)}
    for position in images:
        name = tree.names[position]
        stem, folder_class = _stem(name), _class_of(name)
        said = known.get(stem)
        if folder_class is None:
            num_flat += 1
            if said is None:
                unlabelled.append(name)
        elif said is not None and said != folder_class:
            raise TenchError(
                f"{tree.place(name)} is in the folder of class {folder_class}, but {labels[0].where(stem)} says "
                f"{said}. One of the two is wrong. Unpack val again, or move the file with the labels away."
            )
        wnids.append(folder_class or said or "")
    if num_flat:
        first = labels[0]
        if first.is_list and len(known) != len(images):
            raise TenchError(
                f"{first.place} has {len(known):,} labels, but {tree.root / place} contains {len(images):,} images, "
                "and line k must be the label of image k. One of the two is incomplete. Unpack or download it again."
            )
        if unlabelled:
            raise TenchError(
                f"{tree.place(unlabelled[0])} has no label in {first.place}; {len(unlabelled):,} of {len(images):,} "
                f"images of val are affected. The labels of val may be in one of: {devkit.WOULD_DO}."
            )
        if missing := known.keys() - stems:
            notes.append(
                f"{len(missing):,} of the {len(known):,} images that {first.place} labels are missing, such as "
                f"{min(missing)}."
            )
    others = [source.place for source in labels[1 if num_flat else 0 :]]
    if num_flat:
        notes.append(f"The labels of val are from {labels[0].place}.")
    if others:
        notes.append(f"The labels of val agree with {', '.join(others)}.")
    if place:
        _note_others(tree, place, images, notes)
    return wnids


def _refuse_unknown(
    tree: Tree, images: Sequence[int], wnids: Sequence[str], index: Mapping[str, int], labels: Sequence[Labels]
) -> None:
    if not (unknown := [row for row, wnid in enumerate(wnids) if wnid not in index]):
        return
    name, wnid = tree.names[images[unknown[0]]], wnids[unknown[0]]
    where = labels[0].where(_stem(name)) if _class_of(name) is None else tree.place(name)
    raise TenchError(
        f"{where}: {_stem(name)} has the class {wnid}, which is not one of the {len(index):,} classes of train; "
        f"{len(unknown):,} of {len(images):,} images of val are affected. Either classes of train are missing, or val "
        "belongs to another set."
    )


def _test(tree: Tree, place: str, notes: list[str]) -> dict[str, int]:
    """The positions of the images of test by file name; images from the patch of 2019 replace the older ones."""
    images = _images(tree, place, "test")
    if place:
        _note_others(tree, place, images, notes)
    by_name = _by_file_name(tree, place, images)
    if patched := [position for position in tree.span(_PATCH) if is_image_name(tree.names[position])]:
        repaired = {tree.names[position].rpartition("/")[2]: position for position in patched}
        notes.append(f"{_PATCH} replaces {counted(len(repaired.keys() & by_name.keys()), 'image')} of test.")
        by_name |= repaired
    return by_name


def _by_file_name(tree: Tree, place: str, images: Sequence[int]) -> dict[str, int]:
    """The positions of images by file name. Raises TenchError if two have the same name: the split exists twice."""
    by_name: dict[str, int] = {}
    for position in images:
        name = tree.names[position].rpartition("/")[2]
        if (first := by_name.setdefault(name, position)) != position:
            raise TenchError(
                f"{tree.root / place}: {name} exists twice, as {tree.names[first]} and as {tree.names[position]}. "
                "Images may have been copied into class folders instead of moved. Remove one of the two."
            )
    return by_name


def _classes(ids: Sequence[str], labels: Sequence[Labels], names: Mapping[str, str] | None) -> Classes:
    known = names or next((source.names for source in labels if source.names), {})
    return Classes.of(ids, [known.get(class_id, name) for class_id, name in zip(ids, names_of(ids), strict=True)])


def _compare_counts(by_class: Mapping[str, Sequence[int]], labels: Sequence[Labels], notes: list[str]) -> None:
    """A note on the classes of train whose number of images differs from the devkit's."""
    if not (devkit_labels := next((source for source in labels if source.num_train), None)):
        return
    differ = [
        (class_id, len(by_class.get(class_id, ())), count)
        for class_id, count in sorted(devkit_labels.num_train.items())
        if len(by_class.get(class_id, ())) != count
    ]
    if differ:
        some = [f"{class_id} has {found:,} instead of {count:,}" for class_id, found, count in differ[:5]]
        notes.append(
            f"train has {sum(map(len, by_class.values())):,} images, but the devkit lists "
            f"{sum(devkit_labels.num_train.values()):,}. They differ in {counted(len(differ), 'class')}: "
            f"{', '.join(some)}{', ...' if len(differ) > 5 else ''}."
        )


def _note_empty(split: str, present: set[str], classes: Classes, notes: list[str]) -> None:
    if empty := [class_id for class_id in classes.ids if class_id not in present]:
        more = ", ..." if len(empty) > 5 else ""
        notes.append(f"{split} has no images of {counted(len(empty), 'class')}: {', '.join(empty[:5])}{more}.")


def _note_others(tree: Tree, place: str, images: Sequence[int], notes: list[str]) -> None:
    """A note on the files below a split's folder that are not its images; annotations are expected there."""
    span = tree.span(place)
    if len(span) == len(images):
        return
    is_other = np.ones(len(span), np.bool_)
    is_other[np.asarray(images, np.int64) - span.start] = False
    found = [tree.names[span[position]] for position in np.flatnonzero(is_other).tolist()]
    if others := [name for name in found if not name.endswith(".xml")]:
        notes.append(f"Left out {counted(len(others), 'other file')} in {place}, such as {others[0]}.")
