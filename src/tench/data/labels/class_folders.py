"""Decide whether a source is read by its class folders or by its label files.

The folders are used, with a note about the files, if both agree and the files list only some of the images, or if one
of several columns agrees with the folders. If files contradict the folders, an error asks the user to choose.
"""

import collections
import os
import shlex
from collections.abc import Sequence

from tench.data import splits
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.labels.choosing import LabelFile, Placed
from tench.data.labels.label_files import text_of_cell
from tench.data.labels.locate import Files, bases_of
from tench.data.labels.numbering import whole_folder
from tench.data.splits import TEST, TRAIN, VAL
from tench.errors import TenchError, counted, some

_NEARLY_ALL = 0.9
_FEW, _VERY_FEW = 0.5, 0.1
"""Shares of the images of a source that a label file lists."""
_MANY = 2
"""Images per label above which files and folders do not agree by chance."""
_FEW_LABELS = 3


def by_folders(tree: Tree, files: Files, placed: Sequence[Placed | LabelFile], notes: list[str]) -> list[str] | None:
    """Notes that say why the class folders are used instead of the lists; None if the lists are used.

    Raises TenchError if they contradict each other.
    """
    if tree.options.label is not None or any(_tells_train(one) for one in placed):
        return None
    num_images = sum(is_image_name(name) for name in tree.names if folder_split(name) != TEST)
    agreeing: list[str] = []
    covered = numbers = 0
    for one in placed:
        if isinstance(one, LabelFile):
            if (note := _agreeing_column(tree, files, one)) is not None:
                agreeing.append(note)
            continue
        found = [at for at, name in enumerate(one.names) if name is not None]
        covered += len([at for at in found if folder_split(one.names[at] or "") != TEST])
        labels = [str(one.listed.labels[at]) for at in found]
        if all(label in ("", "-1") for label in labels):
            continue
        place = tree.place(one.source.name) if one.source.name in tree else one.listed.where
        kind, example = _agreement([one.names[at] or "" for at in found], labels)
        if kind == "contradicts":
            at = found[example]
            column = _label_column(one.source)
            raise TenchError(
                f"{one.listed.place(at)} labels {one.names[at]} as {labels[example]!r}, but the folder of the image is "
                f"another class. Choose with --label folder or --label {column}."
            )
        if kind == "coarser":
            notes.append(
                f"{place}: its {len(set(labels)):,} labels are used, not the {example:,} folders of the images, each "
                "of which has one label. To use the folders: --label folder."
            )
        if kind == "agrees":
            agreeing.append(f"{place}: its labels agree with the class folders.")
            numbers += not one.listed.has_names
    if not agreeing:
        if any(isinstance(one, LabelFile) for one in placed) or not placed:
            return None
        return _few(tree, files, placed, covered, num_images)
    if any(isinstance(one, LabelFile) for one in placed):
        return [*notes, *agreeing]
    tells_split = any(one.source.split or one.listed.splits for one in placed if isinstance(one, Placed))
    if covered >= _NEARLY_ALL * num_images or (tells_split and not _has_split_folders(tree)):
        notes += [] if numbers else agreeing  # numbers that match folders get their note when they are read
        return None
    lists = [one for one in placed if isinstance(one, Placed)]
    count = sum(len(one.listed) for one in lists)
    return [
        *notes,
        *(f"{note} It lists {count:,} of {num_images:,} images, so the folders are used." for note in agreeing),
    ]


def _few(
    tree: Tree, files: Files, placed: Sequence[Placed | LabelFile], covered: int, num_images: int
) -> list[str] | None:
    """Notes if lists cover only a few images and do not mention the class folders that contain the others."""
    lists = [one for one in placed if isinstance(one, Placed)]
    if covered >= _FEW * num_images or not lists:
        return None
    _refuse_held_out(tree, lists)
    listed = {name for one in lists for name in one.names}
    rest = [name for name in tree.names if is_image_name(name) and name not in listed and folder_split(name) != TEST]
    folders = collections.Counter(name.rpartition("/")[0] for name in rest)
    if len(folders) < 2 or any(one.source.split == TRAIN for one in lists):
        return None
    first = lists[0]
    if len(set(map(str, first.listed.labels))) < 2 or covered <= _VERY_FEW * num_images:
        return [f"{first.listed.where} lists {covered:,} of {num_images:,} images, so it is not used."]
    together = ""
    if first.source.split is not None and (above := os.path.commonpath(folders)):
        val = tree.place(first.source.name)
        together = f"To train on the folders and validate on the list: tench train {tree.root / above} --val {val}. "
    raise TenchError(
        f"{first.listed.where} lists {covered:,} of {num_images:,} images; the others are in {len(folders):,} folders "
        f"({some(sorted(folders), 3)}). {together}If the folders are the classes, pass --label folder; to read only "
        f"the listed images, pass --label {_label_column(first.source)}."
    )


def _refuse_held_out(tree: Tree, lists: Sequence[Placed]) -> None:
    """Raise TenchError if there are lists of val or test but none of train: if they were ignored, their images would
    become train."""
    held_out = [
        one
        for one in lists
        if one.source.split in (VAL, TEST) and any(name and folder_split(name) is None for name in one.names)
    ]
    if held_out and not any(map(_tells_train, lists)):
        first = held_out[0]
        exclude = " ".join(f"--exclude {shlex.quote(one.source.name)}" for one in held_out)
        raise TenchError(
            f"{first.listed.where} lists {counted(len(first.names), 'image')} as {first.source.split}, but no file "
            "lists the images of train. Put such a list next to it, for example train.txt, or use all images as "
            f"train: {exclude}"
        )


def _label_column(source: LabelFile) -> str:
    if source.sheet is None or source.roles is None or source.roles.label is None:
        return "label"
    name = source.sheet.columns[source.roles.label]
    return f"'{name}'" if " " in name else name


def _agreeing_column(tree: Tree, files: Files, source: LabelFile) -> str | None:
    """A note if one of several candidates for the label agrees with the class folders."""
    assert source.sheet is not None
    assert source.roles is not None
    sheet = source.sheet
    paths = [text_of_cell(cell) for cell in sheet.cells[source.roles.path]]
    names = files.names(bases_of(source.name, source.split), paths, source.split)
    found = [at for at, name in enumerate(names) if name is not None]
    for column in source.roles.candidates:
        labels = [text_of_cell(sheet.cells[column][at]) for at in found]
        if not _named_alike([names[at] or "" for at in found], labels):
            continue
        kind, _ = _agreement([names[at] or "" for at in found], [text_of_cell(sheet.cells[column][at]) for at in found])
        if kind == "agrees":
            others = [repr(sheet.columns[at]) for at in source.roles.candidates if at != column]
            return (
                f"{sheet.where}: column {sheet.columns[column]!r} agrees with the class folders, which are used. For "
                f"the other columns ({some(others)}), use --label COLUMN."
            )
    return None


def _named_alike(names: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether the labels are the folder names, or agree too often to be chance."""
    return len(set(labels)) > _FEW_LABELS or {label.lower() for label in labels} <= {
        part.lower() for name in names for part in name.split("/")[:-1]
    }


def _agreement(names: Sequence[str], labels: Sequence[str]) -> tuple[str, int]:
    """Whether labels agree with the folders of their images, contradict them (and where), or are unrelated.

    "agrees", "contradicts", "coarser" (each folder has one label, and some share it) or "". Folders and labels with
    different names agree if they correspond one to one, for more images than could be chance.
    """
    for folder_of in (_last_folder, _folder_above, whole_folder):
        folders = [folder_of(name) for name in names]
        pairs = set(zip(folders, labels, strict=True))
        num_folders, num_labels = len({folder for folder, _ in pairs}), len({label for _, label in pairs})
        if num_folders < 2 or num_labels < 2 or "" in folders:
            continue
        same = [folder.lower() == label.lower() for folder, label in zip(folders, labels, strict=True)]
        if len(pairs) == num_folders == num_labels and (all(same) or len(names) >= _MANY * num_labels):
            return "agrees", -1
        if len(pairs) == num_folders > num_labels and _MANY * num_folders <= len(names):
            return "coarser", num_folders
        if 2 * sum(same) >= len(same):
            return "contradicts", same.index(False)
        counts = collections.Counter(zip(folders, labels, strict=True))
        major: dict[str, str] = {}
        for (folder, label), _ in counts.most_common():
            major.setdefault(folder, label)
        if len(set(major.values())) == len(major) == num_labels:
            fits = [major[folder] == label for folder, label in zip(folders, labels, strict=True)]
            if 0.8 * len(fits) <= sum(fits) < len(fits):
                return "contradicts", fits.index(False)
    return "", -1


def _last_folder(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


def _folder_above(name: str) -> str:
    return _last_folder(name.rpartition("/")[0])


def _has_split_folders(tree: Tree) -> bool:
    """Whether a folder of train images has class folders."""
    return any(splits.split_of(folder) == TRAIN and len(tree.children(folder)) > 1 for folder in tree.children(""))


def _tells_train(one: Placed | LabelFile) -> bool:
    """Whether a list names the training images, so that folders are not needed for that."""
    if isinstance(one, LabelFile):
        return False
    return one.source.split == TRAIN or (one.listed.splits is not None and TRAIN in one.listed.splits)


def folder_split(name: str) -> str | None:
    """The split named by the folders of an image."""
    return splits.split_of_path(name.rpartition("/")[0])
