"""Which split a file, folder or column value belongs to: one rule for every layout.

A name is split into words at every character that is not a letter and before each capital (`seg_train`, `TrainSet` and
`train.X1` are all train). The words in `_WORDS` name a split; trainval, the union of both, is treated as train. A name
with words of two splits names none. The trade-off of a fixed list: a set in another language, or one that calls its
test images "query", is not recognised.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from tench.data.options import pattern_of
from tench.errors import TenchError, some

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
"""The splits, in listing order."""

_WORDS = {
    TRAIN: "train training trained trainset trainingset traindata trn trainval trainvalid",
    VAL: "val valid validation validate validating valset validset validationset dev devel valdata eval",
    TEST: "test testing tst testset testingset testdata",
}
_SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words.split()}
PLAIN_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Names that everybody reads as a split, in lower case: they need no note."""
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_JOINED = re.compile(r"(?i)(?<![a-z])train(?:ing)?[-_+ &]*(?:and[-_ ]*)?val(?:id|idation)?(?![a-z])")
"""train and val together: trainval, train_val, train+val."""

_VERSION = re.compile(r"\d+(\.\d+)+")

_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0", "")


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: seg and train for `seg_Train2`."""
    return [word.lower() for word in _CAMEL.findall(name)]


@functools.lru_cache(2**14)
def splits_in(name: str) -> frozenset[str]:
    """All splits that the words of a name stand for; a name for train and val together is treated as train alone."""
    rest, joined = _JOINED.subn(" ", name)
    found = {_SPLIT_OF_WORD[word] for word in words_of(rest) if word in _SPLIT_OF_WORD}
    return frozenset(found | {TRAIN} if joined else found)


def without_split(name: str) -> str:
    """The words of a name that name no split, joined in lower case: "images" for train_images, "x" for X_train."""
    return "".join(word for word in words_of(name) if word not in _SPLIT_OF_WORD)


def split_of(name: str) -> str | None:
    """The split that a file or folder name stands for; None if it names no split or several."""
    found = splits_in(name)
    return next(iter(found)) if len(found) == 1 else None


def is_union(name: str) -> bool:
    """Whether a name stands for train and val together."""
    return bool(_JOINED.search(name))


def split_of_path(path: str) -> str | None:
    """The split that a path names: in its file name, else in the nearest folder with a split word in its name."""
    return split_of(_part_with_split(path))


def split_asked(path: str, how: str) -> str | None:
    """The split of a path by --split-from; None if nothing in the path matches.

    how: "folder N" (the N-th folder of the path, from 1) or a regular expression whose first group matches the split.
    Raises UsageError if the expression is invalid or has no group, TenchError if the match names no split.
    """
    if depth := re.fullmatch(r"folder (\d{1,4})", how):
        folders = path.split("/")[:-1]
        word = folders[int(depth[1]) - 1] if 0 < int(depth[1]) <= len(folders) else None
    else:
        found = pattern_of("split_from", how, "split").search(path)
        word = found[1] if found else None
    if word is None:
        return None
    split = split_of(word)
    if split is None:
        raise TenchError(f"{path}: --split-from {how!r} finds {word!r}, which is not a split (train, val or test).")
    return split


def group_by_split(
    paths: Iterable[str], where: str, what: str, *, split_from: str | None = None, root: str = ""
) -> tuple[dict[str, list[str]], list[str]]:
    """Group paths by split, in the order of SPLITS, and return notes for the user.

    what: "shards" or "record files", for messages. split_from: see split_asked. root: the name of the folder that
    contains the paths; if it is a split word, it is the split of all paths that name none. If no path names a split,
    all are train, with a note. Raises TenchError if only some paths name one, if a name has words of two splits, or if
    both trainval and val exist.
    """
    by_split: dict[str, list[str]] = {split: [] for split in SPLITS}
    silent: list[str] = []
    for path in paths:
        if split_from is None:
            _refuse_several(path, where)
            split = split_of_path(path)
        elif (split := split_asked(path, split_from)) is None:
            raise TenchError(
                f"{where}: --split-from {split_from!r} finds no split in {path}. Extend it, or leave the file out with "
                "--exclude PATTERN."
            )
        (by_split[split] if split else silent).append(path)
    named = {split: members for split, members in by_split.items() if members}
    if silent and named:
        known = ", ".join(f"{members[0]} ({split})" for split, members in named.items())
        raise TenchError(
            f"{where}: {len(silent):,} of the {what} without a split in the name (train, val or test): "
            f"{some(silent, at_most=3)}. Others have one: {known}. Leave out those without a split with --exclude "
            "PATTERN, rename them, or pass only the files to use."
        )
    _refuse_configurations({TRAIN: silent}, where, what)
    if silent and (split := _SPLIT_OF_WORD.get(root.lower())):
        return {split: silent}, [f"The folder {root} names the split: all {what} are {split}."] * (split != TRAIN)
    if silent:
        return {TRAIN: silent}, [f"No name contains a split: all {what} are train."]
    _refuse_configurations(named, where, what)
    unions = [path for path in named.get(TRAIN, ()) if is_union(_part_with_split(path))]
    if split_from is None and unions and VAL in named:
        raise trainval_repeats_val(where, unions[0], named[VAL][0], f"--exclude '{unions[0]}'")
    return named, []


def trainval_repeats_val(where: object, union: str, val: str, exclude: str) -> TenchError:
    """The error for a file or folder of train and val together if val also exists by itself."""
    return TenchError(
        f"{where}: {union} contains train and val together, and {val} repeats val, so validation images would be "
        f"trained on. Leave one out, for example with {exclude}."
    )


def _configuration(path: str) -> str:
    """The folders of a path that name no split: "full" for full/train/0.parquet.

    Parts (1, 2, ...) of one dataset are the same configuration; versions such as 3.0.0 and 3.0.1 are different ones.
    """
    folders = [part for part in path.split("/")[:-1] if not splits_in(part)]
    return "/".join(part if _VERSION.fullmatch(part) else re.sub(r"\d+", "#", part) for part in folders)


def _refuse_configurations(by_split: Mapping[str, list[str]], where: str, what: str) -> None:
    """Raise TenchError if a split has files in several folders: builders keep several forms of one dataset like
    this."""
    for split, paths in by_split.items():
        first: dict[str, str] = {}
        for path in paths:
            first.setdefault(_configuration(path), path)
        if len(first) > 1:
            examples = some(list(first.values()), at_most=4)
            folder = next(path for path in first.values() if "/" in path).rpartition("/")[0]
            raise TenchError(
                f"{where}: {what} of {split} are in several folders, possibly several forms of one dataset: "
                f"{examples}. Pass one folder ({where}/{folder}), leave the others out with --exclude PATTERN, "
                "or pass each folder as a separate source to combine them."
            )


def _part_with_split(path: str) -> str:
    """The part of a path that names the split: its file name, else the nearest folder with a split word; else ""."""
    return next((part for part in reversed(path.split("/")) if splits_in(part)), "")


def _refuse_several(path: str, where: str) -> None:
    if len(found := splits_in(_part_with_split(path))) > 1:
        raise TenchError(
            f"{where}: {path} contains words of several splits: {' and '.join(sorted(found))}. "
            "Rename it, or name the split with --split-from REGEX."
        )


def splits_of_values(column: str, values: Sequence[object]) -> Mapping[str, str] | None:
    """The split that each distinct value of a column stands for; None if the column does not name splits.

    A column called is_valid, is_val, valid, is_test, is_train or similar contains yes or no; any other contains split
    names (train, Validation, PublicTest, PrivateTest). Values are compared as stripped lower-case text.
    """
    distinct = {str(value).strip() for value in values}
    lower = {value: value.lower() for value in distinct}
    words = column.lower().replace("is_", " ").replace("_", " ").split()
    asked = split_of(" ".join(words))
    if asked and all(value in (*_TRUE, *_FALSE) for value in lower.values()):
        other = TRAIN if asked != TRAIN else VAL
        return {value: asked if text in _TRUE else other for value, text in lower.items()}
    if {"publictest", "privatetest"} & set(lower.values()):  # FER2013
        public = {"training": TRAIN, "train": TRAIN, "publictest": VAL, "privatetest": TEST}
        return {v: public[t] for v, t in lower.items()} if set(lower.values()) <= public.keys() else None
    told = {value: split_of(value) for value in distinct}
    return {value: split for value, split in told.items() if split} if all(told.values()) else None
