"""How image lists are written: one image a line with its label, in every style that is known.

    path label    n01440764/n01440764_10026.JPEG 0                    NNabla, Caffe, Apm5, Kaggle, gen_imglbl
    columns       cat/1.jpg,cat      or with a TAB or a semicolon; no header
    header        file_name,label    or other names that PATH_COLUMNS and LABEL_COLUMNS have: CSV, TSV
    JSON lines    {"file_name": "0001.png", "label": 3}
    .lst          10<TAB>2.000000<TAB>n02085620/n02085620_102.JPEG    MXNet's im2rec
    Parquet       a column of paths and one of labels

The first line that is not empty tells the style, never the file's name, and all lines must keep to it. What a list then
says is the matter of `listing`, and what a number in it means that of `numbering`.
"""

import csv
import dataclasses
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from tench.data.formats.lst import is_lst, read_lst
from tench.errors import TenchError

PATH_COLUMNS = ("path", "filepath", "image_path", "file_name", "filename", "file", "image")
LABEL_COLUMNS = ("wnid", "synset", "label", "labels", "class", "category", "target", "class_id")
SPLIT_COLUMNS = ("split", "subset")
"""Names of columns, in lower case; of several that a table has, the first in this order is used."""

KAGGLE_NAME = re.compile(r"n\d{8}/n\d{8}_\d+|ILSVRC2012_(?:val|test)_\d{8}", re.ASCII)
"""An image in Kaggle's lists, which leave out .JPEG."""

WORDS, COLUMNS, HEADER, JSON, LST, PARQUET = "`path label`", "columns", "a header", "JSON lines", ".lst", "Parquet"

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}", re.ASCII)

Row = tuple[int, Any, Any, Any]
"""Line, path, label and split as they stand there, still of any type; the last two None where the list has none."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How a list is written. number: of the line that tells. columns: their names, with `delimiter` between them."""

    name: str
    number: int = 0
    delimiter: str = ""
    columns: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str | None, str | None, str | None]:
        """The columns that have the path, the label and the split, None where there is none."""
        return columns_used(self.columns)

    def rows(self, text: str, where: str) -> Iterable[Row]:
        """The lines of a list of this style. Raises TenchError for one that is of another; where: the list, for it."""
        if self.name == LST:
            listed = read_lst(text, where)
            filled = (number for number, line in enumerate(text.split("\n"), 1) if line.strip())
            return zip(filled, listed.paths, listed.labels, [None] * len(listed), strict=True)
        return {WORDS: self._words, JSON: self._objects}.get(self.name, self._table)(text, where)

    def _words(self, text: str, where: str) -> Iterator[Row]:
        for number, line in enumerate(text.split("\n"), 1):
            parts = line.strip().rsplit(None, 1)  # a path may hold spaces
            if len(parts) == 2:
                yield number, parts[0], parts[1], None
            elif parts:
                other = style_of(line, number)
                if other is not None and other.name != WORDS:
                    raise self._differs(where, number, other.name)
                yield number, parts[0], None, None

    def _table(self, text: str, where: str) -> Iterator[Row]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        path, label, split = (None if name is None else self.columns.index(name) for name in self.used)
        assert path is not None
        headed = self.name == HEADER
        try:
            for row in rows:
                if not "".join(row).strip():
                    continue
                if len(row) != len(self.columns):
                    raise self._differs(where, rows.line_num, f"{len(row)} columns")
                if headed:
                    headed = False
                    continue
                told = None if split is None else row[split]
                yield rows.line_num, row[path].strip(), None if label is None else row[label], told
        except csv.Error as error:
            raise TenchError(
                f"{where}, line {rows.line_num}: cannot be read as columns ({error}). Correct it."
            ) from None

    def _objects(self, text: str, where: str) -> Iterator[Row]:
        path, label, split = self.used
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                entry = _json_object(line)
                if entry is None:
                    raise self._differs(where, number, "no JSON object")
                yield number, entry.get(path), entry.get(label), entry.get(split)

    def _differs(self, where: str, number: int, found: str) -> TenchError:
        first = f"{len(self.columns)} columns ({self.delimiter!r} between them)" if self.delimiter else self.name
        return TenchError(
            f"{where}, line {number}: has {found}, but line {self.number} has {first}. A list has one style and the "
            "same columns in all lines: correct it."
        )


def columns_used(columns: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Which of a table's columns have the path, the label and the split, None where there is none."""
    lower = {str(name).strip().lower(): name for name in reversed(columns)}
    path, label, split = (
        next((lower[name] for name in known if name in lower), None)
        for known in (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
    )
    return path, label, split


def first_line(text: str) -> tuple[str, int]:
    """The first line that is not empty, and its number; ("", 0) where there is none."""
    return next(((line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()), ("", 0))


def first_path(head: bytes) -> str | None:
    """The first image of a text file that begins so, "" where it has only a header; None where it is no image list."""
    text = head.decode("utf-8-sig", "replace")
    text = text[: text.rfind("\n") + 1] or text  # the last line may be cut off
    style = style_of(*first_line(text))
    if style is None:
        return None
    try:
        return next((str(path) for _, path, _, _ in style.rows(text, "")), "")
    except TenchError:
        return None


def style_of(line: str, number: int) -> Style | None:
    """The style of a list by one of its lines; None for what is no line of a list."""
    if (entry := _json_object(line)) is not None:
        return Style(JSON, number, columns=tuple(entry)) if columns_used(list(entry))[0] else None
    if is_lst(line):
        return Style(LST, number)
    fields = {delimiter: _fields(line, delimiter) for delimiter in "\t,; "}
    for delimiter, found in fields.items():
        if columns_used(found)[0]:
            return Style(HEADER, number, delimiter, tuple(found))
    if "\t" not in line and _is_path(line.strip().rsplit(None, 1)[0] if line.strip() else ""):
        return Style(WORDS, number)
    for delimiter in "\t,;":
        if len(fields[delimiter]) == 2 and _is_path(fields[delimiter][0].strip()):
            return Style(COLUMNS, number, delimiter, ("path", "label"))
    return None


def is_parquet_list(file: BinaryIO) -> bool:
    """Whether a file is Parquet with a column of paths, as text, and one of labels."""
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
    except (pa.ArrowException, OSError):
        return False
    path, label, _ = columns_used(schema.names)
    return label is not None and path is not None and schema.field(path).type in (pa.string(), pa.large_string())


def parquet_rows(file: BinaryIO, where: str) -> tuple[Style, Iterable[Row]]:
    """A list for which `is_parquet_list` holds. Its rows are counted from 0."""
    from pyarrow import parquet

    try:
        style = Style(PARQUET, columns=tuple(parquet.read_schema(file).names))
        table = parquet.read_table(file, columns=[name for name in style.used if name is not None])
    except (pa.ArrowException, OSError) as error:
        raise TenchError(f"{where}: cannot be read as Parquet ({error}). Copy or make it again.") from error
    columns = [[None] * len(table) if name is None else table.column(name).to_pylist() for name in style.used]
    return style, zip(range(len(table)), *columns, strict=True)


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.strip("\r")], delimiter=delimiter), [])
    except csv.Error:
        return []


def _json_object(line: str) -> dict[Any, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        found: dict[Any, Any] = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found


def _is_path(text: str) -> bool:
    return bool(_SUFFIX.fullmatch(os.path.splitext(text)[1]) or KAGGLE_NAME.fullmatch(text))
