"""The images of a label table, each once, and their labels: all numbers or all names.

If an image has several labels (a list, columns of 0 and 1, lines that repeat its path, a .lst with more columns, a cell
with separators), all are stored and the first is its class. A cell is split at spaces or commas only if its parts are
labels by themselves in other rows: "golden retriever" stays one label.
"""

import ast
import collections
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tench.data.formats.lst import Lst
from tench.data.labels.roles import Roles, is_one
from tench.data.labels.tables import KAGGLE_NAME, Sheet
from tench.errors import TenchError, counted, some

_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.0*)?", re.ASCII)
_FRACTION = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_UNTIDY = ("//", "\n./", "\n ", " \n", "\n\t", "\t\n", "\r")
_PADDED = re.compile(r"0\d+", re.ASCII)
_SEPARATORS = {"|": r"\s*\|\s*", ";": r"\s*;\s*", ",": r"\s*,\s*", "space": r"\s+"}
_ALONE = 0.6
"""Share of cell parts that must occur alone as labels for a comma or a space to count as a separator."""
_LONGEST_LIST = 10_000
"""Characters of a cell that contains a list."""


@dataclasses.dataclass(frozen=True)
class Listed:
    """The images of a list, in its order.

    where: the list, for errors. paths: as written, but with the .JPEG that Kaggle leaves out. lines: the position of
    each image in the list, in `unit`. labels: the first of each image, all numbers (-1 if missing) or all names ("" if
    missing). several: by position, all labels of the images that have more than one; raw: they come from a .lst, where
    all but the first may be any numbers. splits: of each image, if a column has them. told: class by label, if the list
    itself defines that, in the order of the classes. columns: of a table. line_numbers: the list is one of Kaggle's,
    with numbers but no labels.
    """

    where: str
    paths: list[str]
    lines: Sequence[int]
    labels: list[int] | list[str]
    several: dict[int, Sequence[Any]]
    splits: list[str] | None = None
    told: Mapping[Any, str] | None = None
    columns: tuple[str, ...] = ()
    unit: str = "line"
    raw: bool = False
    line_numbers: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def place(self, position: int) -> str:
        """An image's line, for an error message."""
        return f"{self.where}, {self.unit} {self.lines[position]}"

    @property
    def has_names(self) -> bool:
        return isinstance(self.labels[0], str)

    def every(self, position: int) -> Sequence[Any]:
        """All labels of an image, the first of them its class."""
        return self.several.get(position) or self.labels[position : position + 1]

    def unlabelled(self) -> list[int]:
        """The positions of the images without a label."""
        return [position for position, label in enumerate(self.labels) if label == self._none]

    @property
    def num_unlabelled(self) -> int:
        labels: list[Any] = self.labels
        return labels.count(self._none)

    @property
    def _none(self) -> int | str:
        return "" if self.has_names else -1

    def taken(self, positions: Sequence[int]) -> "Listed":
        """The part of the list with these images."""

        def of(values: Sequence[Any]) -> list[Any]:
            return [values[position] for position in positions]

        several = {new: self.several[old] for new, old in enumerate(positions) if old in self.several}
        return dataclasses.replace(
            self, paths=of(self.paths), lines=of(self.lines), labels=of(self.labels), several=several, splits=None
        )


@dataclasses.dataclass
class _Cells:
    """The images of a list, each once; labels are still text, "" if there is none."""

    sheet: Sheet
    notes: list[str]
    paths: list[str] = dataclasses.field(default_factory=list)
    lines: list[int] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    splits: list[str] | None = None
    several: dict[int, list[str]] = dataclasses.field(default_factory=dict)
    told: Mapping[Any, str] | None = None

    def first_of(self, group: set[str]) -> tuple[int, str]:
        """The first line that has a label of a group, and this label."""
        every = (self.several.get(position, [label]) for position, label in enumerate(self.labels))
        return next(
            (line, label) for line, labels in zip(self.lines, every, strict=True) for label in labels if label in group
        )

    def place(self, line: int) -> str:
        return f"{self.sheet.where}, {self.sheet.unit} {line}"

    def listed(self, labels: list[int] | list[str], **more: Any) -> Listed:
        return Listed(
            where=self.sheet.where,
            paths=self.paths,
            lines=self.lines,
            labels=labels,
            several=more.pop("several", {}),
            splits=self.splits,
            told=more.pop("told", self.told),
            columns=self.sheet.columns if self.sheet.headed else (),
            unit=self.sheet.unit,
            notes=tuple(self.notes),
            **more,
        )


def listed_of(sheet: Sheet, roles: Roles) -> Listed:
    """The images of a table. Raises TenchError, with the line, for an invalid path or label."""
    cells = _gathered(sheet, roles)
    return _kaggle(cells) if sheet.words and KAGGLE_NAME.fullmatch(cells.paths[0]) else _typed(cells)


def listed_lst(lst: Lst, text: str, where: str) -> Listed:
    """The images of an MXNet list with this text."""
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    firsts = [labels[0] for labels in lst.labels]
    for row, label in enumerate(firsts):
        if not label.is_integer() or not -1 <= label < 2**53:
            raise _no_class(f"{where}, line {lines[row]}", f"{label:g}" if abs(label) < 1e15 else str(label), 1)
    sheet = Sheet(where, ("path",), (lst.paths,), lines, headed=False)
    cells = _Cells(sheet, [])
    seen: dict[str, int] = {}
    labels: list[int] = []
    several: dict[int, Sequence[float]] = {}
    for path, every, line in zip(lst.paths, lst.labels, lines, strict=True):
        path = _tidy(path)
        position = seen.setdefault(path, len(seen))
        if position == len(cells.paths):
            cells.paths.append(path)
            cells.lines.append(line)
            labels.append(int(every[0]))
        else:
            known = several.get(position) or [float(labels[position])]
            if not set(known).isdisjoint(every):
                raise _twice(sheet, cells.lines[position], line, path)
            every = (*known, *every)
        if len(every) > 1:
            several[position] = [float(one) for one in every]
    return cells.listed(labels, several=several, raw=True)


def _gathered(sheet: Sheet, roles: Roles) -> _Cells:
    """The images of all rows. Raises TenchError for a row without a path, or one that repeats another."""
    cells = _Cells(sheet, [*sheet.notes, *roles.notes])
    if sheet.told is not None and roles.label is not None and sheet.columns[roles.label] == "label":
        cells.told = sheet.told
    if not len(sheet):
        raise TenchError(f"{sheet.where} has column names but no rows: {some(sheet.columns, 20)}.")
    paths, labels = _tidied(sheet.cells[roles.path]), _labels(sheet, roles)
    splits = None if roles.split is None else [str(cell).strip() for cell in sheet.cells[roles.split]]
    read = _Reader(sheet, roles, labels, cells.notes)
    if roles.hot:
        cells.told = {name: name for name in sorted(sheet.columns[at] for at in roles.hot)}
    elif sheet.headed and not sheet.words and _is_signed(labels):
        cells.told = {"-1": "-1", "1": "1"}
    if roles.order is not None and roles.label is not None:
        cells.told = _in_order(sheet.cells[roles.label], sheet.cells[roles.order])
    if splits is None and len(set(paths)) == len(paths) and all(paths) and set(map(type, labels)) == {str}:
        first_row = dict(zip(reversed(labels), range(len(labels) - 1, -1, -1), strict=True))
        every_of = {label: read.every(label, row) for label, row in first_row.items()}
        if all(len(every) == 1 for every in every_of.values()):  # the common case, made fast
            cells.paths, cells.lines = list(paths), list(sheet.lines)
            cells.labels = [every_of[label][0] for label in labels]
            return cells
    seen = dict[Any, int]()
    repeated = 0
    kept_splits: list[str] = []
    for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
        if not path:
            raise TenchError(f"{sheet.place(row)} has no image path. Correct or remove the {sheet.unit}.")
        every = read.every(label, row)
        key = path if splits is None else (path, roles.split_of[splits[row]])
        position = seen.setdefault(key, len(seen))
        if position == len(cells.paths):
            cells.paths.append(path)
            cells.lines.append(sheet.lines[row])
            cells.labels.append(every[0])
            if splits is not None:
                kept_splits.append(roles.split_of[splits[row]])
        else:
            known = cells.several.get(position) or [cells.labels[position]]
            if roles.boxes:
                repeated += 1
                every = [label for label in every if label not in known]
            elif not set(known).isdisjoint(every):
                raise _twice(sheet, cells.lines[position], sheet.lines[row], path)
            every = [*known, *every]
        if len(every) > 1:
            cells.several[position] = every
    if repeated:
        cells.notes.append(f"{sheet.where}: merged {counted(repeated, 'row')} for further boxes of the same images.")
    cells.splits = kept_splits if splits is not None else None
    return cells


def _labels(sheet: Sheet, roles: Roles) -> Sequence[Any]:
    """The label of each row; for 0/1 columns, the names of those with 1."""
    if roles.hot:
        names = [sheet.columns[at] for at in roles.hot]
        rows = zip(*([is_one(cell) for cell in sheet.cells[at]] for at in roles.hot), strict=True)
        return [[name for name, yes in zip(names, row, strict=True) if yes] or None for row in rows]
    return [None] * len(sheet) if roles.label is None else sheet.cells[roles.label]


class _Reader:
    """The labels of a cell as text, computed once per different cell: a million lines have about a thousand."""

    def __init__(self, sheet: Sheet, roles: Roles, labels: Sequence[Any], notes: list[str]) -> None:
        self._sheet, self._read = sheet, dict[Any, list[str] | None]()
        name = "" if roles.label is None else sheet.columns[roles.label].strip().lower()
        self._split_at = None
        if not roles.hot and roles.label is not None:
            self._split_at = _separator(labels, name, sheet, notes)

    def every(self, label: Any, row: int) -> list[str]:
        if label is None:
            return [""]
        if isinstance(label, list | dict):
            token: Any = str(label)
        else:
            token = label if type(label) is str else (type(label), label)  # True, 1 and 1.0 are equal
        if token in self._read:
            every = self._read[token]
        else:
            every = self._read[token] = _every(label, self._split_at)
        if every is None:
            raise TenchError(
                f"{self._sheet.place(row)}: {_shown(label)} is not a label. Write a number, a name or a list."
            )
        return every


def _is_signed(labels: Sequence[Any]) -> bool:
    """Whether labels are -1 and 1, meaning no and yes."""
    distinct = {label if isinstance(label, str | int | float) else None for label in labels}
    return {str(label).strip() for label in distinct} == {"-1", "1"}


_PLURALS = (" labels", "_labels", "tags", "_ids")
"""Endings of column names that suggest several labels per cell."""


def _separator(labels: Sequence[Any], name: str, sheet: Sheet, notes: list[str]) -> str | None:
    """The separator, a pattern, of several labels in one cell; None if each cell is one label. Adds a note."""
    counts = collections.Counter(label for label in labels if isinstance(label, str))
    distinct = {text.strip() for text in counts}
    plural = name in ("labels", "tags", "classes", "categories") or name.endswith(_PLURALS)
    for title, pattern in _SEPARATORS.items():
        parted = {text: re.split(pattern, text) for text in distinct if not text.startswith("[")}
        parted = {text: [part for part in parts if part] for text, parts in parted.items() if len(parts) > 1}
        parted = {text: parts for text, parts in parted.items() if len(parts) > 1}
        if not parted:
            continue
        alone = distinct - parted.keys()
        parts = set().union(*parted.values())
        numbers = all(_NUMBER.fullmatch(part) for part in parts)
        tested = all(not alone.isdisjoint(parts_of) for parts_of in parted.values())
        share = len(parts & alone) / len(parts)
        if not (
            (title in "|;" and (plural or share > 0))
            or (title == "|" and len(parts) < sum(map(len, parted.values())))
            or (numbers and plural)
            or (tested and share >= _ALONE)
            or (plural and tested and share >= 0.5)
        ):
            if tested and share:
                sign = "a space" if title == "space" else repr(title)
                notes.append(
                    f"{sheet.where}: {counted(len(parted), 'label')} with {sign} inside, for example "
                    f"{min(parted)!r}. Each is read as one label."
                )
            continue
        num_images = sum(count for text, count in counts.items() if text.strip() in parted)
        between = "spaces" if title == "space" else repr(title)
        notes.append(
            f"{sheet.where}: {num_images:,} of {len(labels):,} cells of column {name or 'label'!r} contain several "
            f"labels, separated by {between}, for example {min(parted)!r}."
        )
        return r"[\s,;|]+" if numbers else r"\s*[;|]\s*" if title == "|" and plural else pattern
    return None


def _in_order(labels: Sequence[Any], numbers: Sequence[Any]) -> dict[Any, str]:
    """Each label as its own class, in the order of the labels' numbers."""
    number_of = {
        str(label).strip(): float(number) for label, number in zip(labels, numbers, strict=True) if number != ""
    }
    return {label: label for label in sorted(number_of, key=number_of.__getitem__)}


def _every(label: Any, separator: str | None) -> list[str] | None:
    """All labels of an image as text, [""] if it has none; None if they are not labels."""
    if label is None or label != label:  # NaN, with which pandas fills an empty cell
        return [""]
    if isinstance(label, str):
        text = label.strip()
        if not text.startswith("["):
            parts = re.split(separator, text) if separator else [text]
            return [part for part in dict.fromkeys(part.strip() for part in parts) if part] or [""]
        label = _list_in(text)
    found = label if isinstance(label, list | tuple) else [label]
    if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in found):
        return None
    return [str(one).strip() for one in found] or [""]


def _list_in(text: str) -> Any:
    """The list that a cell contains as JSON or Python writes it; None if it is damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text) if len(text) <= _LONGEST_LIST else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _tidied(paths: Sequence[Any]) -> Sequence[str]:
    """Paths as `_tidy` returns them; checked all at once, because most lists need no change."""
    if set(map(type, paths)) == {str}:
        together = "\n".join(("", *paths, ""))
        if not any(sign in together for sign in _UNTIDY):
            return paths
    return [_tidy(path) for path in paths]


def _tidy(path: Any) -> str:
    """A path without spaces around it, `./` before it, or double slashes; a whole number is a path too."""
    if isinstance(path, float) and path.is_integer():
        path = int(path)
    text = str(path).strip() if isinstance(path, str | int) and not isinstance(path, bool) else ""
    return re.sub("/+", "/", text).removeprefix("./")


def _twice(sheet: Sheet, first: int, second: int, path: str) -> TenchError:
    return TenchError(
        f"{sheet.where}: {sheet.unit}s {first} and {second} both name {path} with the same label. Each image may be "
        "listed once. Remove one."
    )


def _kaggle(cells: _Cells) -> Listed:
    """A list in Kaggle's form. Its numbers are line numbers if all differ or if they equal the numbers in the image
    names."""
    where = cells.sheet.where
    for position, path in enumerate(cells.paths):
        if not KAGGLE_NAME.fullmatch(path):
            raise TenchError(
                f"{where}, line {cells.lines[position]}: {path!r} is not written as {cells.paths[0]!r} in line "
                f"{cells.lines[0]}, which omits .JPEG as Kaggle's lists do. Write all lines in the same form."
            )
    folders = [path.rpartition("/")[0] for path in cells.paths]
    if folders[0]:
        counts_lines = len(set(cells.labels)) == len(cells.labels)
    else:
        pairs = zip(cells.paths, cells.labels, strict=True)
        counts_lines = all(path[-8:].lstrip("0") == label.lstrip("0") for path, label in pairs)
    cells.paths = [f"{path}.JPEG" for path in cells.paths]
    if not counts_lines:
        return _typed(cells)
    note = f"{where}: its numbers are line numbers, as in Kaggle's lists; "
    if folders[0]:
        cells.notes.append(f"{note}the class of an image is its folder.")
        return cells.listed(folders)
    cells.notes.append(f"{note}it has no labels.")
    return cells.listed([-1] * len(folders), line_numbers=True)


def _typed(cells: _Cells) -> Listed:
    """The list with labels that are all numbers or all names. Raises TenchError for others, and numbers below -1."""
    distinct = set(cells.labels).union(*cells.several.values())
    numbers = {label: int(label.partition(".")[0]) for label in distinct if _NUMBER.fullmatch(label)}
    names = distinct - numbers.keys() - {""}
    if cells.told is not None:
        return _as_told(cells)
    wrong = {label for label in names if _FRACTION.fullmatch(label)}
    wrong |= {label for label, number in numbers.items() if number < -1}
    if wrong and not names - wrong:
        line, label = cells.first_of(wrong)
        raise _no_class(cells.place(line), label, len(wrong))
    padded = [label for label in numbers if _PADDED.fullmatch(label)]
    if padded and not names:
        widths = {len(label) for label in numbers}
        if len(widths) > 1 and any(str(int(label)) in numbers for label in padded):
            shown = next(label for label in sorted(padded) if str(int(label)) in numbers)
            line, _ = cells.first_of({shown})
            raise TenchError(
                f"{cells.place(line)}: the label {shown} also occurs as {int(shown)}. Write each class in one form."
            )
        cells.notes.append(
            f"{cells.sheet.where}: labels have leading zeros ({min(padded)}), so they are names and not numbers."
        )
        return cells.listed(cells.labels, several=cells.several)
    if names and numbers:
        if _one_stray(cells, names) or _one_stray(cells, set(numbers)):
            (at_name, name), (at_number, number) = cells.first_of(names), cells.first_of(set(numbers))
            raise TenchError(
                f"{cells.sheet.where}: labels must be all numbers or all names, but {cells.sheet.unit} {at_number} has "
                f"{number} and {cells.sheet.unit} {at_name} has {name!r}. One kind occurs only once. Correct it."
            )
        cells.notes.append(
            f"{cells.sheet.where}: {len(numbers):,} of the {len(numbers) + len(names):,} labels are numbers "
            f"({min(numbers)}) and the rest names ({min(names)}). All are read as names."
        )
        return cells.listed(cells.labels, several=cells.several)
    if names:
        return cells.listed(cells.labels, several=cells.several)
    numbers[""] = -1
    kept = {at: [numbers[label] for label in every] for at, every in cells.several.items()}
    return cells.listed([numbers[label] for label in cells.labels], several=kept)


def _one_stray(cells: _Cells, kind: set[str]) -> bool:
    """Whether only one image has a label of this kind, so that it may be a typo."""
    count = 0
    for position, label in enumerate(cells.labels):
        count += not kind.isdisjoint(cells.several.get(position, [label]))
        if count > 1:
            return False
    return count == 1


def _as_told(cells: _Cells) -> Listed:
    """The list with the classes that the file defines for its labels. Raises TenchError for a label without a class."""
    assert cells.told is not None
    told = {str(label): class_id for label, class_id in cells.told.items()} | {"": ""}
    if unknown := set(cells.labels).union(*cells.several.values()) - told.keys():
        line, label = cells.first_of(unknown)
        raise TenchError(
            f"{cells.place(line)}: the label {label!r} is not one of the {len(told) - 1} classes of the file."
        )
    several = {at: [told[label] for label in every] for at, every in cells.several.items()}
    ids = {class_id: class_id for class_id in told.values() if class_id}
    return cells.listed([told[label] for label in cells.labels], several=several, told=ids)


def _no_class(place: str, label: str, count: int) -> TenchError:
    more = f" This affects {counted(count, 'distinct label')}."
    if count > 20:
        more += " To predict a quantity you need regression, not a classifier."
    return TenchError(
        f"{place}: the label {label} is not a class. Classes are whole numbers from 0, or names.{more} If another "
        "column is the label, choose it with --label COLUMN."
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
