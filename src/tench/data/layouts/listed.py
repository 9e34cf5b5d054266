"""Label files: tables that name images and their labels, next to the images or elsewhere.

The source is a label file (or a pattern of them), or a folder or archive with label files next to its images. They may
be text of any form, JSON, Parquet, Excel or MATLAB (`labels.tables` and the modules next to it). In a folder, a file is
used if its table names images that exist. The roles of its columns are decided in `labels.roles`, the location of its
images in `labels.locate`, the meaning of a label in `labels.numbering`, and the choice among several files in
`labels.choosing`.

The split of an image comes from a column, else from the name or folder of the file, else from the folder of the image;
else all images are train. Lists without labels divide the images of a table with labels into splits (Chest X-ray14).
If there is no such table, the folders of their images are the classes (Food-101, DTD). If files disagree about a split
(folds, FGVC-Aircraft's three levels), an error asks the user to choose.

If the images are also in class folders, both must agree. If a file lists only some images, or only one of several
columns agrees, the folders are used and a note says so; if a file contradicts them, an error asks the user to choose.
If images have several labels, a row's `labels` are class indices; for a .lst they are the numbers in the file, because
only the first must be a class.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from tench.data import splits
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree, names_unreadable_files
from tench.data.formats.class_files import CLASSES_JSON, FILES
from tench.data.formats.lst import is_lst, read_lst
from tench.data.keys import keys_of
from tench.data.labels.choosing import (
    LabelFile,
    Placed,
    both_list,
    chosen,
    family_of,
    merged,
    split_expression,
    without_split,
)
from tench.data.labels.class_folders import by_folders, folder_split
from tench.data.labels.label_files import (
    ALSO_BINARY,
    HEAD_BYTES,
    PARQUET,
    SURE_SUFFIXES,
    below_single_folder,
    candidates,
    is_archive,
    is_binary_or_json,
    is_named,
    no_list,
    read_sheet,
    text_of_cell,
)
from tench.data.labels.listing import Listed, listed_lst, listed_of
from tench.data.labels.locate import Files, bases_of
from tench.data.labels.numbering import Meaning, meaning_of, whole_folder
from tench.data.labels.published import published_sheets, whole
from tench.data.labels.roles import roles_of
from tench.data.labels.tables import IsImage, decoded, looks_like_image, sample, uncollected
from tench.data.splits import SPLITS, TEST, TRAIN
from tench.data.table import Contents, Rows
from tench.errors import TenchError, UsageError, counted, some

NAME = "list"
OPTIONS = frozenset({"label", "split_from", "images"})
FOLDER = "folder"
"""The value of `--label` that selects the class folders instead of a label file."""
_CONTAINERS = (".tar", ".tgz", ".gz", ".zip", ".rec", ".parquet", ".arrow")
_NO_LABEL = -1
_MOST_NAMES_BYTES = 2**20
"""The largest JSON file next to a list that is tried as a list of class names."""


def recognise(tree: Tree) -> bool:
    try:
        if tree.options.label == FOLDER:
            return False
        tree = below_single_folder(tree)
        if is_named(tree):
            return all(name.lower().endswith(SURE_SUFFIXES) or _is_list(tree, name) for name in tree.names)
        if not (names := candidates(tree)):
            return False
        files = _files(tree)
        found = [name for name in names if _is_list(tree, name, files)]
        if not found:
            return _is_published(tree, files) or _is_only_damaged(tree)
        if tree.options.label or _are_complete(tree, found):
            return True
    except UsageError:
        return True
    except (OSError, TenchError):
        return False
    try:
        return _verdict(tree, files).folders is None
    except (OSError, TenchError):  # these are lists, and `read` reports what is wrong with them
        return True


@names_unreadable_files
def read(tree: Tree) -> Contents:
    """The table of the lists. Raises TenchError for an invalid line and for missing images."""
    with uncollected():
        return _read(below_single_folder(tree))


def beside_folders(tree: Tree) -> list[str]:
    """Notes on the unused label files of a source that is read by its class folders."""
    if tree.options.label not in (None, FOLDER):
        raise UsageError(
            f"{tree.source}: --label {tree.options.label} names a column, but no file here lists the images with their "
            "labels. Leave out the option to use the class folders, or pass the label file itself."
        )
    try:
        tree = below_single_folder(tree)
        if is_named(tree) or not (names := candidates(tree)):
            return []
        files = _files(tree)
        if tree.options.label == FOLDER:
            lists = [name for name in names if _is_list(tree, name, files)]
            return [f"{tree.place(name)} is not used, because of --label folder." for name in lists]
        found = _verdict(tree, files)
    except (OSError, TenchError):
        return []
    return found.folders or found.notes


def _read(tree: Tree) -> Contents:
    files = _files(tree)
    found = _verdict(tree, files)
    lists, notes = found.lists, list(found.notes)
    if found.folders is not None:  # the folders could not be read either
        notes += found.folders
    listed_by = {split: placed.listed for split, placed in lists.items()}
    labelled = {split: listed for split, listed in listed_by.items() if listed.num_unlabelled < len(listed)}
    if not labelled:
        where = next(iter(listed_by.values())).where
        raise TenchError(f"{where} has no labels. If another file has them, pass both files as one source.")
    first = lists[next(iter(labelled))].source
    meaning = meaning_of(labelled, _beside(tree, first.name), _prefix(first.name))
    if len(meaning.classes) < 2:
        where = next(iter(labelled.values())).where
        raise TenchError(f"{where}: all images have the class {meaning.classes.ids[0]!r}. At least two are needed.")
    rows = {split: _rows(files, tree, split, placed, meaning) for split, placed in lists.items()}
    notes += [note for listed in listed_by.values() for note in listed.notes] + meaning.notes
    for split, listed in listed_by.items():
        if listed.several:
            notes.append(
                f"{counted(len(listed.several), 'image')} of {split} with several labels: the first is the class."
            )
        if num_unlabelled := listed.num_unlabelled:
            notes.append(f"{num_unlabelled:,} of {len(listed):,} images of {split} have no label.")
    others = [name for name in files.unused() if is_image_name(name)]
    if TEST not in rows and (test := [name for name in others if folder_split(name) == TEST]):
        rows[TEST] = files.rows(files.find(test), [_NO_LABEL] * len(test), keys_of(test, [None] * len(test)))
        notes.append(
            f"{test[0].partition('/')[0]}/ contains {counted(len(test), 'image')} that no list names: read as test, "
            "without labels."
        )
        others = [name for name in others if folder_split(name) != TEST]
    if others:
        notes.append(f"Left out {counted(len(others), 'image file')} that no list names, such as {others[0]}.")
    rows = {split: rows[split] for split in SPLITS if split in rows}
    return Contents(meaning.classes, rows, stamp=list(tree.stamp), notes=list(dict.fromkeys(notes)))


def _files(tree: Tree) -> Files:
    named = is_named(tree)
    return Files(tree, inside=not named, on_disk=not is_archive(tree), images=tree.options.images)


def _is_image(tree: Tree, files: Files) -> IsImage:
    return lambda text: looks_like_image(text) or files.knows(text)


def _is_list(tree: Tree, name: str, files: Files | None = None) -> bool:
    """Whether a file contains a list; with `files`, also whether most of a sample of its images are among them.

    Text is judged by its beginning. A list at the top with a split in its name, or a .lst, counts even if its images
    are missing, unless archives next to it may contain them. Reading it then reports what is missing."""
    if is_image_name(name):
        return False
    is_image = looks_like_image if files is None else _is_image(tree, files)
    try:
        sheet = read_sheet(tree, name, is_image, head=True)
    except TenchError:  # a damaged file is an error only if it is certainly a list
        if files is None:
            return name.lower().endswith((*SURE_SUFFIXES, *ALSO_BINARY))
        return "/" not in name and name.lower().endswith(SURE_SUFFIXES) and splits.split_of(name) is not None
    if sheet is None or (not len(sheet) and files is None):
        return sheet is not None
    if files is None:
        return True
    if not len(sheet):
        return "/" not in name and splits.split_of(name) is not None
    try:
        roles = roles_of(sheet, is_image, tree.options)
    except UsageError:
        raise
    except TenchError as error:
        return "none of its columns names images" not in str(error)
    tells = roles.label is not None or roles.hot or roles.question or roles.split is not None
    if not tells and not sheet.words and splits.split_of(name.rpartition("/")[2]) is None:
        return False  # e.g. boxes or landmarks
    paths = [text_of_cell(sheet.cells[roles.path][row]) for row in sample(len(sheet))]
    split = splits.split_of_path(name)
    try:
        located = files.names(bases_of(name, split), paths, split)
    except TenchError:  # images with these names are in several folders; `read` asks which to use
        return True
    if 2 * sum(found is not None for found in located) > len(paths):
        return True
    explicit = "/" not in name and (bool(splits.split_of(name)) or name.endswith(".lst"))
    packed = any(other.lower().endswith(_CONTAINERS) for other in tree.names if other != name)
    return explicit and not packed and _most_look_like_images(paths)


def _is_published(tree: Tree, files: Files) -> bool:
    """Whether the tree has the lists of a published set and also its images, which may instead be in an archive next to
    them."""
    found = published_sheets(tree, candidates(tree))
    if found is None:
        return False
    paths = found[0].cells[0]
    return any(files.knows(text_of_cell(paths[row])) for row in sample(len(paths)))


def _most_look_like_images(paths: Sequence[str]) -> bool:
    return 2 * sum(map(looks_like_image, paths)) > len(paths)


def _are_complete(tree: Tree, found: Sequence[str]) -> bool:
    """Whether all lists are at the top and named after different splits, including train.

    This saves reading them twice; `read` checks their contents.
    """
    named = {name: splits.split_of(name) for name in found}
    plain = all(split and "/" not in name and not is_binary_or_json(name) for name, split in named.items())
    return plain and TRAIN in named.values() and len(set(named.values())) == len(named)


def _source(tree: Tree, name: str, files: Files) -> LabelFile | None:
    """A file with its table and the roles of its columns; None if it is not a list."""
    is_image = looks_like_image if is_named(tree) and tree.options.images is None else _is_image(tree, files)
    split, family, union = splits.split_of_path(name), family_of(name), splits.is_union(name)
    with tree.open(name) as file:
        head = file.read(HEAD_BYTES)
    where = tree.place(name)
    if not head.strip():
        if not is_named(tree) and ("/" in name or not splits.split_of(name)):
            return None
        raise TenchError(f"{where} is empty. A list has one line per image, with its path and its label.")
    if head[:4] != PARQUET and is_lst(head.decode("utf-8-sig", "replace").split("\n", 1)[0].strip()):
        text = decoded(whole(tree, name), where)
        return LabelFile(name, split, family, union, None, None, listed_lst(read_lst(text, where), text, where))
    sheet = read_sheet(tree, name, is_image)
    if sheet is None and is_named(tree) and tree.options.images is None:  # image names may lack suffixes
        sheet = read_sheet(tree, name, _is_image(tree, files))
        is_image = _is_image(tree, files)
    if sheet is None:
        if is_named(tree):
            raise no_list(tree, name, head)
        return None
    if not len(sheet):
        raise TenchError(f"{where} has column names but no rows: {some(sheet.columns, 20)}.")
    return LabelFile(name, split, family, union, sheet, roles_of(sheet, is_image, tree.options))


@dataclasses.dataclass(frozen=True)
class _Verdict:
    """The lists of a source by split. folders: notes on why the class folders are used instead, if they are."""

    lists: Mapping[str, Placed]
    notes: list[str]
    folders: list[str] | None = None


def _verdict(tree: Tree, files: Files) -> _Verdict:
    notes: list[str] = []
    sources = _sources(tree, files, notes)
    if not sources:
        if (error := _damage(tree)) is not None and _is_only_damaged(tree):
            raise error
        return _Verdict({}, notes, folders=notes)
    sources = merged(sources)
    read = chosen(tree, sources, notes)
    _refuse_unknown(tree, read)
    placed = [_placed(tree, files, source, notes) for source in read]
    asked = [one for one in placed if isinstance(one, LabelFile)]
    folders = None
    if asked or not is_named(tree):
        folders = by_folders(tree, files, placed, notes)
    if folders is not None:
        return _Verdict({}, notes, folders)
    for one in asked:
        assert one.roles is not None
        raise TenchError(one.roles.question + ("" if one.roles.question.endswith(".") else "."))
    lists = [one for one in placed if isinstance(one, Placed)]
    if not is_named(tree) and any(None in one.names for one in lists) and len(sources) > 1:
        lists = [one for one in lists if any(one.names)] or lists
    return _Verdict(_by_split(tree, _divided(lists, notes), notes), notes)


def _why(tree: Tree, name: str) -> str:
    """Why a file of labels cannot be read; empty if it can."""
    try:
        read_sheet(tree, name, looks_like_image, head=True)
    except TenchError as error:
        return f"Not used: {error}"
    return ""


def _is_only_damaged(tree: Tree) -> bool:
    """Whether the labels must be in a file that is damaged, because all images are in one folder."""
    if _damage(tree) is None:
        return False
    folders = {name.rpartition("/")[0] for name in tree.names if is_image_name(name)}
    return len([folder for folder in folders if splits.split_of_path(folder) != TEST]) == 1


def _damage(tree: Tree) -> TenchError | None:
    """The error of the first label file that cannot be read."""
    for name in candidates(tree):
        if name.lower().endswith((*SURE_SUFFIXES, *ALSO_BINARY)):
            try:
                read_sheet(tree, name, looks_like_image, head=True)
            except TenchError as error:
                return error
    return None


def _refuse_unknown(tree: Tree, read: Sequence[LabelFile]) -> None:
    """Raise UsageError if --label or --split-from names nothing in the label files."""
    sheets = [source.sheet for source in read if source.sheet is not None]
    columns = dict.fromkeys(column for sheet in sheets for column in sheet.columns if column)
    known = f"The columns are {some(list(map(repr, columns)), 20)}." if columns else "They have no columns."
    for flag, asked in (("--label", tree.options.label), ("--split-from", tree.options.split_from)):
        if asked is None or (flag == "--split-from" and split_expression(tree) is not None):
            continue
        name = asked.partition("=")[0] if flag == "--split-from" else asked
        is_column = any(sheet.column(one) is not None for sheet in sheets for one in (asked, name))
        if not is_column and not any(asked.lstrip("0") in source.family for source in read):
            raise UsageError(
                f"{tree.source}: {flag} {asked} names no column of {some([one.name for one in read])}. {known}"
            )


def _sources(tree: Tree, files: Files, notes: list[str]) -> list[LabelFile]:
    names = candidates(tree)
    if not is_named(tree) and (found := published_sheets(tree, names)) is not None:
        sheet, used = found
        roles = roles_of(sheet, _is_image(tree, files), tree.options)
        if sheet.notes:  # they already say what the notes on columns would
            roles = dataclasses.replace(roles, notes=())
        return [LabelFile(used[0], None, "", False, sheet, roles)]
    sources: list[LabelFile] = []
    for name in names:
        is_used = is_named(tree) or _is_list(tree, name, files)
        if not is_used and tree.length[tree.index(name)] == 0 and "/" not in name and splits.split_of(name):
            is_used = bool(sources)
        source = _source(tree, name, files) if is_used else None
        if source is not None:
            sources.append(source)
        elif name.lower().endswith(SURE_SUFFIXES) or (splits.split_of(name) and "/" not in name):
            notes.append(_why(tree, name) or f"{tree.place(name)} is not used, because it names none of the images.")
    return sources


def _placed(tree: Tree, files: Files, source: LabelFile, notes: list[str]) -> Placed | LabelFile:
    """A list with its images; the source itself if its label column is unclear."""
    if source.listed is not None:
        listed = source.listed
    else:
        assert source.sheet is not None
        assert source.roles is not None
        if source.roles.question:
            return source
        listed = listed_of(source.sheet, source.roles)
    names = files.names(bases_of(source.name, source.split), listed.paths, source.split)
    _refuse_doubles(listed, names)
    return Placed(source, listed, names)


def _refuse_doubles(listed: Listed, names: Sequence[str | None]) -> None:
    if listed.splits is not None or len(set(names)) == len(names):
        return
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if name is not None and seen.setdefault(name, position) != position:
            first = seen[name]
            raise TenchError(
                f"{listed.where}: {listed.paths[first]} ({listed.unit} {listed.lines[first]}) and "
                f"{listed.paths[position]} ({listed.unit} {listed.lines[position]}) both match the image {name}. Name "
                "the folder that contains the images with --images FOLDER, or correct the list."
            )


def _divided(lists: Sequence[Placed], notes: list[str]) -> list[Placed]:
    """Use lists without labels to split the images of a list that has labels."""
    labelled = [one for one in lists if one.listed.num_unlabelled < len(one.listed)]
    bare = [one for one in lists if one not in labelled and one.source.split]
    if len(labelled) != 1 or not bare or labelled[0].source.split or labelled[0].listed.splits is not None:
        return list(lists)
    whole_list = labelled[0]
    at = {name: position for position, name in enumerate(whole_list.names) if name is not None}
    if not all(name in at for one in bare for name in one.names):
        return list(lists)
    divided = []
    for one in bare:
        positions = [at[name] for name in one.names if name is not None]
        listed = dataclasses.replace(whole_list.listed.taken(positions), where=whole_list.listed.where)
        notes.append(f"{one.listed.where} lists the images of {one.source.split}.")
        divided.append(Placed(one.source, listed, [whole_list.names[position] for position in positions]))
    return divided


def _by_split(tree: Tree, lists: Iterable[Placed], notes: list[str]) -> dict[str, Placed]:
    by_split: dict[str, Placed] = {}
    for one in lists:
        one = _by_class_folders(tree, one, notes)
        parts = _parts(tree, one, notes)
        for split, part in parts.items():
            if split in by_split:
                raise both_list(tree, split, by_split[split].source.name, part.source.name)
            by_split[split] = dataclasses.replace(part, listed=_checked(split, part.listed))
    return {split: by_split[split] for split in SPLITS if split in by_split}


def _parts(tree: Tree, one: Placed, notes: list[str]) -> dict[str, Placed]:
    """Divide a list into its splits."""
    words: Sequence[str | None]
    if one.listed.splits is not None:
        words = one.listed.splits
    elif not one.source.asked and (asked := _asked_parts(tree, one)) is not None:
        words = asked
    elif one.source.split:
        return {one.source.split: one}
    else:
        words = [splits.split_of(path.strip("/").partition("/")[0]) for path in one.listed.paths]
        if None in words:
            words = [folder_split(name or "") for name in one.names]
        if None in words:
            notes.append(f"{one.listed.where} names no split, so its images are train.")
            return {TRAIN: one}
        shown = " and ".join(split for split in SPLITS if split in words)
        notes.append(f"{one.listed.where}: the folder of an image names its split ({shown}).")
    positions: dict[str, list[int]] = {}
    for position, word in enumerate(words):
        assert word is not None
        positions.setdefault(word, []).append(position)
    return {
        split: Placed(one.source, one.listed.taken(taken), [one.names[position] for position in taken])
        for split, taken in positions.items()
    }


def _asked_parts(tree: Tree, one: Placed) -> list[str] | None:
    """The split of each image, which the first group of the regular expression in --split-from names; None without
    one."""
    if (compiled := split_expression(tree)) is None:
        return None
    found = []
    for name, path in zip(one.names, one.listed.paths, strict=True):
        match = compiled.search(name or path)
        split = splits.split_of(match[1]) if match and match.groups() and match[1] else None
        if split is None:
            raise UsageError(
                f"--split-from {compiled.pattern} finds no split in {name or path}. The first group must match the "
                "name of a split."
            )
        found.append(split)
    return found


def _by_class_folders(tree: Tree, one: Placed, notes: list[str]) -> Placed:
    """A list without labels, with the folders of its images as labels if they can be classes."""
    if one.listed.num_unlabelled < len(one.listed) or one.listed.line_numbers:
        return one
    sheet, roles = one.source.sheet, one.source.roles
    if sheet is not None and roles is not None and len(sheet.columns) > 1 and not sheet.words and roles.split is None:
        return one
    folders = [whole_folder(_below_split(path)) for path in one.listed.paths]
    if "" in folders or not 1 < len(set(folders)) <= max(2, len(folders) / 2 if len(folders) > 20 else len(folders)):
        return one
    note = f"{one.listed.where} has no labels, so the class of an image is its folder."
    if one.source.split == TEST:
        note = f"{one.listed.where}: the class of an image is its folder."
    listed = dataclasses.replace(one.listed, labels=folders, notes=(*one.listed.notes, note))
    return dataclasses.replace(one, listed=listed)


def _below_split(path: str) -> str:
    first, _, rest = path.strip("/").partition("/")
    while rest and (splits.split_of(first) or first.lower() in ("images", "image", "jpg", "data")):
        first, _, rest = rest.partition("/")
        path = f"{first}/{rest}" if rest else first
    return path


def _checked(split: str, listed: Listed) -> Listed:
    """Check that the images of the list have labels, unless they are the split test."""
    missing = listed.unlabelled() if listed.num_unlabelled else []
    if split == TEST:
        if len(missing) < len(listed) and all("ILSVRC2012_test_" in path for path in listed.paths):
            note = f"{listed.where} is not used for labels, because those of ILSVRC2012's test images are not public."
            return dataclasses.replace(
                listed, labels=[_NO_LABEL] * len(listed), several={}, told=None, notes=(*listed.notes, note)
            )
        return listed
    if listed.line_numbers:
        raise TenchError(
            f"{listed.where}: its numbers are line numbers, not labels, as in Kaggle's val.txt and test.txt. The "
            "labels of the validation images are in LOC_val_solution.csv, next to the folder ILSVRC. Pass the folder "
            "that contains both."
        )
    if missing:
        columns = (
            f" Its columns are {some(listed.columns, 20)}." if len(missing) == len(listed) and listed.columns else ""
        )
        raise TenchError(
            f"{listed.place(missing[0])}: {listed.paths[missing[0]]!r} has no label; {len(missing):,} of "
            f"{len(listed):,} images have none.{columns} Only images of the split test may lack labels."
        )
    return listed


def _prefix(name: str) -> str:
    """The part of a list's name before the split: "caltech101_"."""
    return without_split(name.rpartition("/")[2]).partition("*")[0]


def _beside(tree: Tree, list_name: str) -> Callable[[str], dict[str, str]]:
    """A function that reads a text file next to a list: {path: text}, empty if the file does not exist."""
    folder = list_name[: list_name.rfind("/") + 1]

    def read(name: str) -> dict[str, str]:
        if folder + name == list_name:
            return {}
        if folder + name in tree:
            return {tree.place(folder + name): tree.text(folder + name)}
        path = tree.root / folder / name
        if is_named(tree) and path.is_file():
            tree.stamp[str(path)] = None
            return {str(path): path.read_text(encoding="utf-8-sig", errors="replace")}
        return _numbered_names(tree, folder) if name == CLASSES_JSON else {}

    return read


def _numbered_names(tree: Tree, folder: str) -> dict[str, str]:
    """JSON files with any name that map class numbers from 0 to names, {"0": "healthy", ...}."""
    found = {}
    for position in tree.span(folder[:-1]) if folder else range(len(tree)):
        name = tree.names[position]
        base = name[len(folder) :]
        if not base.endswith(".json") or "/" in base or base in FILES or tree.length[position] > _MOST_NAMES_BYTES:
            continue
        try:
            data = json.loads(tree.text(name))
        except (ValueError, RecursionError):
            continue
        if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
            continue
        for start in (0, 1):
            if data and {str(number + start) for number in range(len(data))} == data.keys():
                names = {str(number): data[str(number + start)] for number in range(len(data))}
                found[tree.place(name)] = json.dumps(names)
    return found


def _rows(files: Files, tree: Tree, split: str, placed: Placed, meaning: Meaning) -> Rows:
    listed = placed.listed
    if None in placed.names:
        raise _missing(tree, split, placed)
    names = [name for name in placed.names if name is not None]
    index, classes = meaning.index.get(split, {}), meaning.classes
    labels = [index.get(label, _NO_LABEL) for label in listed.labels]
    ids = [None if classes.numbered or label == _NO_LABEL else classes.ids[label] for label in labels]
    several = None
    if listed.several:
        several = [
            None if label == _NO_LABEL else [float(one if listed.raw else index.get(one, _NO_LABEL)) for one in every]
            for label, every in zip(labels, map(listed.every, range(len(listed))), strict=True)
        ]
    keys = keys_of(_key_paths(tree, names, listed.paths, split), ids)
    return files.rows(files.find(names), labels, keys, labels=several)


def _missing(tree: Tree, split: str, placed: Placed) -> TenchError:
    listed, names, list_name = placed.listed, placed.names, placed.source.name
    first, number = names.index(None), names.count(None)
    bases = bases_of(list_name, split)
    path = os.path.join(tree.root, bases[0], listed.paths[first])
    more = " This path is a folder." if os.path.isdir(path) else ""
    rec = f"{os.path.splitext(list_name)[0]}.rec"
    if rec in tree or (tree.root / rec).is_file():
        more += f" The images may be in {rec}; if so, pass that file."
    searched = "the folder of the list and below it" if is_named(tree) else "the whole source"
    return TenchError(
        f"{listed.place(first)}: there is no image {path}; {number:,} of the {len(listed):,} images of the list are "
        f"missing.{more} They were searched for in {searched}, with and without their suffix. Add the images, remove "
        "them from the list, or pass their folder with --images FOLDER."
    )


def _key_paths(tree: Tree, names: list[str], paths: Sequence[str], split: str) -> Sequence[str]:
    """Paths for keys, which do not depend on the location of the images or on a split folder in front."""
    if any(path.startswith(("/", "../")) for path in paths):
        full = [os.path.normpath(os.path.join(tree.root, name)) for name in names]
        cut = len(os.path.commonpath([os.path.dirname(name) for name in full]))
        paths = [name[cut:].lstrip("/") for name in full]
    elif list(map(names[0].removesuffix(paths[0]).__add__, paths)) != names:
        paths = names  # the list omits suffixes, or spells names differently
    folders = {path.partition("/")[0] for path in paths}
    if len(folders) == 1 and "/" in paths[0] and splits.split_of(folder := folders.pop()) == split:
        paths = [path[len(folder) + 1 :] for path in paths]
    return paths
