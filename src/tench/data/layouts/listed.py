"""Image lists: text or Parquet that names images and their labels, beside the images or apart from them.

The source is a list (or a pattern of lists), or a folder or archive with lists at its top: files whose name has a split
in it as a word (train_label, val.txt, caltech101_test.csv, set_train.lst) or is metadata (.csv, .jsonl, .parquet; also
inside the folders train, val and test, as in Hugging Face's image folders), and whose content is a list. The split of
an image is told by a column `split`, else by the list's name, else by the first folder of the paths where that is
train, val or test for all; else it is train.

One rule finds the images: paths are relative to the list's folder, or to a folder in it named after the split, or to
`images` (for Kaggle's lists also to ../../Data/CLS-LOC/SPLIT, where its archive has them). The folder in which most of
a sample of the images are is the one for the whole list. An absolute path is taken as it is, and one may lead up by
`../`, for a person wrote it. Every image must be there; on disk each is asked for its size, which is what is paid.
Where images have several labels, a row's `labels` are class indices, but of a .lst the numbers as they stand there, for
only the first need be a class. Styles: `tench.data.formats.labels`; what labels mean: `tench.data.formats.numbering`.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence

from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.labels import KAGGLE_NAME, first_path, is_parquet_list
from tench.data.formats.listing import Listed, parse, parse_parquet
from tench.data.formats.locate import MISSING, Files
from tench.data.formats.numbering import Meaning, meaning_of
from tench.data.keys import keys_of
from tench.data.layouts.folder import SPLITS
from tench.data.table import Contents, Rows
from tench.errors import TenchError

NAME = "list"
OPTIONS = frozenset[str]()

_SUFFIXES = ("", ".txt", ".csv", ".tsv", ".jsonl", ".lst", ".parquet")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_TABLES = (".csv", ".tsv", ".jsonl", ".lst")
"""A file of such a name is taken for a list whatever it holds, so that the error can say what is wrong with it."""

_CONTAINERS = (".tar", ".tgz", ".gz", ".zip", ".rec", ".parquet")
_PARQUET = b"PAR1"
_HEAD_BYTES = 2**16
_NO_LABEL = -1


def recognise(tree: Tree) -> bool:
    try:
        tree = _below_single_folder(tree)
        if _is_named(tree):
            return all(name.lower().endswith(_TABLES) or _is_list(tree, name) for name in tree.names)
        lists = [name for name in _candidates(tree) if _is_list(tree, name)]
        if any(name.lower().endswith(_CONTAINERS) for name in tree.names if name not in lists):
            # The lists may be of images in these archives, and the archives the data set.
            files = _files(tree)
            paths = {name: _first_path(tree, name) or "" for name in lists}
            return any(files.has(files.below(_bases(name, _split_of(name)), [paths[name]])[0]) for name in lists)
        return bool(lists)
    except (OSError, TenchError):
        return False


def read(tree: Tree) -> Contents:
    """The table of lists. Raises TenchError for a line that is wrong, and for images that are not there."""
    try:
        return _read(_below_single_folder(tree))
    except OSError as error:
        raise TenchError(f"{error.filename or tree.source}: cannot be read ({error.strerror}).") from error


def _read(tree: Tree) -> Contents:
    lists, names, notes = _lists(tree)
    labelled = {split: listed for split, listed in lists.items() if len(listed.unlabelled()) < len(listed)}
    if not labelled:
        where = next(iter(lists.values())).where
        raise TenchError(f"{where}: has no labels, and no other list that has them was given. Give both as one source.")
    first = names[next(iter(labelled))]
    meaning = meaning_of(labelled, _beside(tree, first), _prefix(first))
    if len(meaning.classes) < 2:
        where = next(iter(labelled.values())).where
        raise TenchError(f"{where}: all images are of one class, {meaning.classes.ids[0]!r}; two are needed at least.")
    files = _files(tree)
    splits = {split: _rows(files, tree, names[split], split, listed, meaning) for split, listed in lists.items()}
    notes += [note for listed in lists.values() for note in listed.notes] + meaning.notes
    for split, listed in lists.items():
        if listed.several:
            notes.append(f"{len(listed.several):,} images of {split} have several labels: the first is the class.")
        if num_unlabelled := len(listed.unlabelled()):
            notes.append(f"{num_unlabelled:,} of {len(listed):,} images of {split} have no labels.")
    if num_others := sum(map(is_image_name, files.unused())):
        notes.append(f"{num_others:,} image files that are in no list were left out.")
    return Contents(meaning.classes, splits, stamp=list(tree.stamp), notes=list(dict.fromkeys(notes)))


def _below_single_folder(tree: Tree) -> Tree:
    """Of an archive the tree below its only folder, where it has just one at the top."""
    while tree.source.is_file() and len(top := tree.top()) == 1 and top[0].endswith("/"):
        tree = tree.under(top[0][:-1])
    return tree


def _is_named(tree: Tree) -> bool:
    """Whether the lists themselves were named, as a file or a pattern: then the images are not in the tree."""
    return not tree.source.is_dir() and not _is_archive(tree)


def _is_archive(tree: Tree) -> bool:
    return tree.source.is_file() and tree.root != tree.source.parent


def _files(tree: Tree) -> Files:
    return Files(tree, inside=not _is_named(tree), on_disk=not _is_archive(tree))


def _candidates(tree: Tree) -> list[str]:
    """The files that may be lists, by their names."""
    if _is_named(tree):
        return list(tree.names)
    folders = ["", *(f"{name}/" for name in tree.children("") if name.lower() in SPLITS)]
    found = [folder + name for folder in folders for name in _METADATA if folder + name in tree]
    for name in tree.names:
        if "/" in name:
            continue
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in _SUFFIXES or f"{stem}.rec" in tree:
            continue
        if _split_of(name) or suffix.lower() == ".lst":
            found.append(name)
    return found


def _is_list(tree: Tree, name: str) -> bool:
    path = _first_path(tree, name)
    return path is not None and (path == "" or is_image_name(path))


def _first_path(tree: Tree, name: str) -> str | None:
    """The first image of a list that is text, "" of one that is a table; None for what is no list."""
    with tree.open(name) as file:
        head = file.read(_HEAD_BYTES)
        if head[:4] == _PARQUET:
            return "" if is_parquet_list(file) else None
    path = first_path(head)
    return f"{path}.JPEG" if path and KAGGLE_NAME.fullmatch(path) else path


def _split_of(name: str) -> str | None:
    """The split that a list's name tells, or the folder of metadata.csv; None where it tells none, or two."""
    folder, _, file = name.lower().rpartition("/")
    words = re.findall("[a-z]+", folder if file in _METADATA else os.path.splitext(file)[0])
    splits = {SPLITS[word] for word in words if word in SPLITS}
    return splits.pop() if len(splits) == 1 else None


def _prefix(name: str) -> str:
    """What stands before the split in a list's name: "caltech101_"."""
    file = name.rpartition("/")[2]
    return re.split("|".join(sorted(SPLITS, key=len, reverse=True)), file, maxsplit=1, flags=re.IGNORECASE)[0]


def _lists(tree: Tree) -> tuple[dict[str, Listed], dict[str, str], list[str]]:
    """The lists by split, train first; the files they are from; and what to tell a person."""
    lists: dict[str, Listed] = {}
    names: dict[str, str] = {}
    notes = []
    for name in _candidates(tree):
        if not _is_named(tree) and tree.length[tree.index(name)] and not _is_list(tree, name):
            notes.append(f"{tree.place(name)} is no image list: it was left out.")
            continue
        for split, listed in _by_split(name, _parsed(tree, name)).items():
            if split in lists:
                raise TenchError(
                    f"{tree.root}: {names[split]} and {name} both list images of the split {split!r}. Move one of "
                    "them away, or name the lists to use: one, or several by a pattern such as '{train,val}.txt'."
                )
            names[split] = name
            lists[split] = _checked(split, listed)
    return {split: lists[split] for split in dict.fromkeys(SPLITS.values()) if split in lists}, names, notes


def _parsed(tree: Tree, name: str) -> Listed:
    with tree.open(name) as file:
        if file.read(len(_PARQUET)) == _PARQUET:
            return parse_parquet(file, tree.place(name))
    return parse(tree.read(name), tree.place(name))


def _by_split(name: str, listed: Listed) -> dict[str, Listed]:
    words = listed.splits
    if words is None:
        if split := _split_of(name):
            return {split: listed}
        words = [path.partition("/")[0] for path in listed.paths]
        if not all(word.lower() in SPLITS for word in words):
            note = f"{listed.where}: nothing tells a split, so its images are train."
            return {"train": dataclasses.replace(listed, notes=(*listed.notes, note))}
    by_split: dict[str, list[int]] = {}
    for position, word in enumerate(words):
        if word.lower() not in SPLITS:
            raise TenchError(
                f"{listed.place(position)}: {word!r} is no split. Known are {', '.join(SPLITS)}; rename the column if "
                "it means something else."
            )
        by_split.setdefault(SPLITS[word.lower()], []).append(position)
    return {split: listed.taken(positions) for split, positions in by_split.items()}


def _checked(split: str, listed: Listed) -> Listed:
    """The list, if its images have labels, or are for testing."""
    missing = listed.unlabelled()
    if split == "test":
        if len(missing) < len(listed) and all("ILSVRC2012_test_" in path for path in listed.paths):
            note = f"{listed.where}: no labels of ILSVRC2012's test images are known; those of the list are not used."
            return dataclasses.replace(
                listed, labels=[_NO_LABEL] * len(listed), several={}, notes=(*listed.notes, note)
            )
        return listed
    if listed.line_numbers:
        raise TenchError(
            f"{listed.where}: its numbers are those of lines, not labels: so are Kaggle's val.txt and test.txt. The "
            "labels of the validation images are in LOC_val_solution.csv, beside the folder ILSVRC: give the folder "
            "that holds both."
        )
    if missing:
        columns = f" Its columns are {', '.join(listed.columns)}." if len(missing) == len(listed) else ""
        raise TenchError(
            f"{listed.place(missing[0])}: {listed.paths[missing[0]]!r} has no label; {len(missing):,} of "
            f"{len(listed):,} images have none.{columns} Only images of the split test may lack labels."
        )
    return listed


def _beside(tree: Tree, list_name: str) -> Callable[[str], dict[str, str]]:
    """Gives the text of a file beside a list by its place, nothing where there is none."""
    folder = list_name[: list_name.rfind("/") + 1]

    def read(name: str) -> dict[str, str]:
        if folder + name == list_name:
            return {}
        if folder + name in tree:
            return {tree.place(folder + name): tree.text(folder + name)}
        path = tree.root / folder / name
        if not _is_named(tree) or not path.is_file():
            return {}
        tree.stamp[str(path)] = None
        return {str(path): path.read_text(encoding="utf-8-sig", errors="replace")}

    return read


def _bases(list_name: str, split: str | None) -> list[str]:
    """The folders, seen from the root, to which the paths of a list may be relative."""
    own = list_name[: list_name.rfind("/") + 1]
    folders = [folder for folder, of in SPLITS.items() if of == (split or "train")]
    return [own, *(f"{own}{folder}/" for folder in (*folders, "images", f"../../Data/CLS-LOC/{folders[0]}"))]


def _rows(files: Files, tree: Tree, list_name: str, split: str, listed: Listed, meaning: Meaning) -> Rows:
    names = files.below(_bases(list_name, split), listed.paths)
    found = files.find(names)
    if MISSING in found:
        raise _missing(tree, list_name, split, listed, names, found)
    index, classes = meaning.index.get(split, {}), meaning.classes
    labels = [index.get(label, _NO_LABEL) for label in listed.labels]
    ids = [None if classes.numbered or label == _NO_LABEL else classes.ids[label] for label in labels]
    several = None
    if listed.several:
        several = [
            None if label == _NO_LABEL else [float(one if listed.raw else index.get(one, _NO_LABEL)) for one in every]
            for label, every in zip(labels, map(listed.every, range(len(listed))), strict=True)
        ]
    return files.rows(found, labels, keys_of(_key_paths(tree, names, listed.paths, split), ids), labels=several)


def _missing(
    tree: Tree, list_name: str, split: str, listed: Listed, names: Sequence[str], found: Sequence[int]
) -> TenchError:
    first, number = found.index(MISSING), found.count(MISSING)
    path = os.path.join(tree.root, names[first])
    others = ", ".join(_bases("", split)[1:])
    more = " It is a folder." if os.path.isdir(path) else ""
    rec = f"{os.path.splitext(list_name)[0]}.rec"
    if rec in tree or (tree.root / rec).is_file():
        more += f" Perhaps the images are in {rec}: give that."
    return TenchError(
        f"{listed.place(first)}: there is no image {path}; {number:,} of the {len(listed):,} images of the list are "
        f"missing.{more} Paths are relative to the list's folder, or to one of these seen from there: {others}. Move "
        "the list or the images so that they meet, or take the lines out."
    )


def _key_paths(tree: Tree, names: Sequence[str], paths: Sequence[str], split: str) -> Sequence[str]:
    """Paths for keys: the same wherever the images lie, and whether or not they begin with the split's folder."""
    if any(path.startswith(("/", "../")) for path in paths):
        whole = [os.path.normpath(os.path.join(tree.root, name)) for name in names]
        cut = len(os.path.commonpath([os.path.dirname(name) for name in whole]))
        paths = [name[cut:].lstrip("/") for name in whole]
    folders = {path.partition("/")[0] for path in paths}
    if len(folders) == 1 and "/" in paths[0] and SPLITS.get((folder := folders.pop()).lower()) == split:
        paths = [path[len(folder) + 1 :] for path in paths]
    return paths
