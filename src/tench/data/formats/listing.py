"""What an image list says: which images, each once, and their labels, all of which are numbers or all names.

Several labels of an image (a JSON list, a column `labels`, lines that repeat its path, a .lst with more columns) are
all kept, and the first is its class.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from tench.data.formats.labels import (
    COLUMNS,
    KAGGLE_NAME,
    LST,
    PARQUET,
    PATH_COLUMNS,
    WORDS,
    Row,
    Style,
    columns_used,
    first_line,
    parquet_rows,
    style_of,
)
from tench.errors import TenchError

_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.0*)?", re.ASCII)
_FRACTION = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Listed:
    """The images of a list, in its order.

    where: the list, for errors. paths: as written, but with the .JPEG that Kaggle leaves out. lines: where each image
    stands, in `unit`. labels: the first of each image, all numbers (-1 where there is none) or all names ("" where
    there is none). several: by position all labels of the images that have more than one; raw: they are those of a
    .lst, of which all but the first may be any numbers. splits: of each image, where a column tells them. columns: of
    a table. line_numbers: the list is one of Kaggle's that has numbers but no labels.
    """

    where: str
    paths: list[str]
    lines: list[int]
    labels: list[int] | list[str]
    several: dict[int, Sequence[Any]]
    splits: list[str] | None = None
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
        none: int | str = "" if self.has_names else -1
        return [position for position, label in enumerate(self.labels) if label == none]

    def taken(self, positions: Sequence[int]) -> "Listed":
        """The list with only these images."""

        def of(values: Sequence[Any]) -> list[Any]:
            return [values[position] for position in positions]

        several = {new: self.several[old] for new, old in enumerate(positions) if old in self.several}
        return dataclasses.replace(
            self, paths=of(self.paths), lines=of(self.lines), labels=of(self.labels), several=several, splits=None
        )


def parse(data: bytes, where: str) -> Listed:
    """The images of a list that is text, of any style. Raises TenchError naming the line that does not fit."""
    text = _decoded(data, where)
    line, number = first_line(text)
    if not number:
        raise TenchError(f"{where}: is empty. An image list has a line for each image: its path and its label.")
    style = style_of(line, number)
    if style is None:
        raise TenchError(
            f"{where}, line {number}: {_shown(line.strip())} is neither an image with its label nor a header with a "
            f"column of paths ({', '.join(PATH_COLUMNS)}). Known are `path label`, CSV, TSV, JSON lines and .lst."
        )
    cells = _gathered(style, style.rows(text, where), where)
    return _kaggle(cells) if style.name == WORDS and KAGGLE_NAME.fullmatch(cells.paths[0]) else _typed(cells)


def parse_parquet(file: BinaryIO, where: str) -> Listed:
    """The images of a list that is Parquet, for which `labels.is_parquet_list` holds."""
    return _typed(_gathered(*parquet_rows(file, where), where))


@dataclasses.dataclass
class _Cells:
    """The images of a list, each once; labels are still text, "" where there is none."""

    style: Style
    where: str
    paths: list[str] = dataclasses.field(default_factory=list)
    lines: list[int] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    splits: list[str] = dataclasses.field(default_factory=list)
    several: dict[int, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def unit(self) -> str:
        return "row" if self.style.name == PARQUET else "line"

    def first_of(self, group: set[str]) -> tuple[int, str]:
        """The first line that has a label of a group, and this label."""
        every = (self.several.get(position, [label]) for position, label in enumerate(self.labels))
        return next(
            (line, label) for line, labels in zip(self.lines, every, strict=True) for label in labels if label in group
        )

    def listed(self, labels: list[int] | list[str], notes: Sequence[str] = (), **more: Any) -> Listed:
        columns = () if self.style.name == COLUMNS else self.style.columns
        others = [repr(name) for name in columns if name not in self.style.used and columns_used([name])[1]]
        if others:
            notes = [*notes, f"{self.where}: the labels are those of {self.style.used[1]!r}, not {', '.join(others)}."]
        return Listed(
            where=self.where,
            paths=self.paths,
            lines=self.lines,
            labels=labels,
            several=more.pop("several", {}),
            splits=self.splits if self.style.used[2] else None,
            columns=columns,
            unit=self.unit,
            notes=tuple(notes),
            **more,
        )


def _gathered(style: Style, rows: Iterable[Row], where: str) -> _Cells:
    """The images of all rows. Raises TenchError for a row without a path, or one that repeats what another says."""
    cells = _Cells(style, where)
    plural = (style.used[1] or "").strip().lower() == "labels"
    seen = dict[Any, int]()
    read = dict[Any, list[str] | None]()  # a million lines have a thousand different labels
    for number, path, label, split in rows:
        if not isinstance(path, str) or not path:
            raise TenchError(f"{where}, {cells.unit} {number}: has no path of an image. Correct it, or take it out.")
        if path.startswith("./") or "//" in path:
            path = re.sub("/+", "/", path).removeprefix("./")
        token = str(label) if isinstance(label, list | dict) else (type(label), label)  # True, 1 and 1.0 are equal
        if token not in read:
            read[token] = _every(label, plural)
        every = read[token]
        if every is None:
            raise TenchError(
                f"{where}, {cells.unit} {number}: {_shown(label)} is no label. A number, a name or a list of them is: "
                "correct it."
            )
        position = seen.setdefault(path if split is None else (path, split), len(seen))
        if position == len(cells.paths):
            cells.paths.append(path)
            cells.lines.append(number)
            cells.labels.append(every[0])
            cells.splits.append(str(split).strip())
        else:
            known = cells.several.get(position) or [cells.labels[position]]
            if not set(known).isdisjoint(every):
                raise TenchError(
                    f"{where}: {cells.unit}s {cells.lines[position]} and {number} both name {path}, with the same "
                    "label. Take one of them out: each image counts once."
                )
            every = [*known, *every]
        if len(every) > 1:
            cells.several[position] = every
    if not cells.paths:
        raise TenchError(f"{where}: names no images, only columns: {', '.join(style.columns)}.")
    return cells


def _every(label: Any, plural: bool) -> list[str] | None:
    """All labels of an image as text, [""] where there is none; None where they are no labels.

    plural: text may hold several, with ";" or "|" between them, and where all are numbers also "," or spaces.
    """
    if label is None or label != label:  # NaN, with which pandas fills an empty cell
        return [""]
    if isinstance(label, str):
        text = label.strip()
        if not text.startswith("["):
            parts = re.split("[;|]", text) if plural else [text]
            words = re.split(r"[\s,;|]+", text) if plural else [""]
            parts = words if all(_NUMBER.fullmatch(word) for word in words) else parts
            return [part.strip() for part in parts if part.strip()] or [""]
        try:
            label = json.loads(text)
        except (ValueError, RecursionError):
            return None
    found = label if isinstance(label, list | tuple) else [label]
    if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in found):
        return None
    return [str(one).strip() for one in found] or [""]


def _kaggle(cells: _Cells) -> Listed:
    """A list in Kaggle's form. Its numbers count lines if all differ, or are those in the names of the images."""
    for position, path in enumerate(cells.paths):
        if not KAGGLE_NAME.fullmatch(path):
            raise TenchError(
                f"{cells.where}, line {cells.lines[position]}: {path!r} is not written as {cells.paths[0]!r} in line "
                f"{cells.lines[0]}, which leaves out .JPEG as Kaggle's lists do. A list has one style: correct it."
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
    note = f"{cells.where}: its numbers are those of lines, as in Kaggle's lists; "
    if folders[0]:
        return cells.listed(folders, [f"{note}the class of an image is its folder."])
    return cells.listed([-1] * len(folders), [f"{note}it has no labels."], line_numbers=True)


def _typed(cells: _Cells) -> Listed:
    """The list with labels that are all numbers or all names. Raises TenchError for others, and numbers below -1."""
    raw = cells.style.name == LST
    distinct = set(cells.labels) if raw else set(cells.labels).union(*cells.several.values())
    numbers = {label: int(label.partition(".")[0]) for label in distinct if _NUMBER.fullmatch(label)}
    names = distinct - numbers.keys() - {""}
    wrong = {label for label in names if _FRACTION.fullmatch(label)}
    wrong |= {label for label, number in numbers.items() if number < -1}
    if wrong:
        line, label = cells.first_of(wrong)
        raise TenchError(
            f"{cells.where}, {cells.unit} {line}: the label {label} is no class. Classes are whole numbers from 0, or "
            f"names; {len(wrong)} different labels are neither."
        )
    if names and numbers:
        (at_name, name), (at_number, number) = cells.first_of(names), cells.first_of(set(numbers))
        raise TenchError(
            f"{cells.where}: labels are either all numbers or all names, but {cells.unit} {at_number} has {number} and "
            f"{cells.unit} {at_name} has {name!r}. Correct one of them."
        )
    if names:
        return cells.listed(cells.labels, several=cells.several)
    numbers[""] = -1
    kept = {at: [float(label) if raw else numbers[label] for label in every] for at, every in cells.several.items()}
    return cells.listed([numbers[label] for label in cells.labels], several=kept, raw=raw)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TenchError(
            f"{where}, line {line}: the byte {data[error.start]:#04x} is no UTF-8 text. Save the list as UTF-8 "
            "(iconv -t UTF-8)."
        ) from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
