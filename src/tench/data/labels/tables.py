"""Label tables in their usual forms: text, JSON, Parquet, Excel.

    path label    n01440764/n01440764_10026.JPEG 0          NNabla, Caffe, Kaggle; the path may contain spaces
    path words    1025794 BAE 146-200                       the first word is the image, the rest its label
    columns       cat/1.jpg,cat                             separated by commas, tabs, semicolons, bars or spaces
    header        id_code,diagnosis                         the same, below a line of column names
    JSON lines    {"file_name": "0001.png", "label": 3}
    JSON          a list of such objects, or one of the forms in `_json_sheet`

All become a `Sheet`: named columns of equal length. The content decides the form, never the file's name. Text is UTF-8,
or UTF-16 with or without a byte order mark. `roles` decides which column has which role.
"""

import contextlib
import csv
import dataclasses
import gc
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from tench.data import splits
from tench.data.files.names import is_image_name
from tench.data.labels import annotations
from tench.errors import TenchError
from tench.plain import distinct

PATH_COLUMNS = tuple(
    "path filepath filepaths file_path image_path img_path image_filepath relative_im_path file_name filename fname "
    "file files image images img imagename image_name img_name image_id imageid image_index id_code".split()
)
"""Names of image columns, in lower case; if several columns name images, the first in this order is used."""

KAGGLE_NAME = re.compile(r"n\d{8}/n\d{8}_\d+|ILSVRC2012_(?:val|test)_\d{8}", re.ASCII)
"""An image in Kaggle's lists for ImageNet, which leave out .JPEG."""

DELIMITERS = "\t,;|"
SAMPLED = 40
"""Rows, spread over a table, that decide its form and the roles of its columns."""

_SMALL_NUMBER = re.compile(r"0|[1-9]\d{0,3}", re.ASCII)
_ID_NAME = re.compile(
    r"#|(?:.*[^a-z])?(?:ids?|index|idx|no|nr|num|number|names?|images?|img|files?|filename|path)|.*id"
)

_MOST_COLUMNS = 20_000
_MOST_ROWS = 20_000_000
"""Rows of a Parquet list, in which a few bytes can encode any number of equal rows."""
_HEAD_CHARACTERS = 2**17
"""Length of the beginning of a text that decides its form."""
_SEPARATOR_LINE = re.compile(r"sep=([\t,;|])", re.IGNORECASE)
"""The prefix with which Excel declares the separator."""

IsImage = Callable[[str], bool]
"""Whether a text names an image of the source, with or without its suffix."""


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table: columns of equal length.

    where: the file, for messages. cells: a sequence per column. lines: the position of each row, in `unit`. headed: the
    column names are the file's own. words: the table is a list of `path label` lines. told: class by label, if the
    file itself defines that, in the order of the classes. notes: for the user.
    """

    where: str
    columns: tuple[str, ...]
    cells: tuple[Sequence[Any], ...]
    lines: Sequence[int]
    unit: str = "line"
    headed: bool = True
    words: bool = False
    told: Mapping[Any, str] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """The location of a row, for messages."""
        return f"{self.where}, {self.unit} {self.lines[row]}"

    def column(self, name: str) -> int | None:
        """The position of the column with this name, ignoring case; None if there is none."""
        names = [column.strip().lower() for column in self.columns]
        return names.index(name.strip().lower()) if name.strip().lower() in names else None

    def taken(self, rows: Sequence[int]) -> "Sheet":
        """The table with only these rows."""
        cells = tuple([column[row] for row in rows] for column in self.cells)
        return dataclasses.replace(self, cells=cells, lines=[self.lines[row] for row in rows])


def sample(count: int) -> range:
    """Positions of at most about `SAMPLED` rows, spread over all."""
    return range(0, count, max(1, count // SAMPLED))


def looks_like_image(text: str) -> bool:
    """Whether a text can be the path of an image: it has an image suffix, or the form of Kaggle's ImageNet lists."""
    return is_image_name(text) or KAGGLE_NAME.fullmatch(text) is not None


def decoded(data: bytes, where: str) -> str:
    """The text of a file, with only line feeds between lines. Raises TenchError if it is neither UTF-8 nor UTF-16."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif len(data) > 3 and data[1:4:2] == b"\0\0" and data[0] and data[2]:
        encoding = "utf-16-le"
    elif len(data) > 3 and data[0:3:2] == b"\0\0" and data[1] and data[3]:
        encoding = "utf-16-be"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TenchError(
            f"{where}, line {line}: the byte {data[error.start]:#04x} is not UTF-8 text. Save the file as UTF-8 "
            "(iconv -f WINDOWS-1252 -t UTF-8, if it is from Windows)."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection inside the context: a million rows contain no cycles, but searching for cycles takes
    half the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def text_sheet(text: str, where: str, is_image: IsImage = looks_like_image) -> Sheet | None:
    """The table that a text contains; None if no column of it names images.

    Raises TenchError, with the line number, if a line does not have the form of the others.
    """
    start = text.lstrip()[:1]
    if start in "{[" and start:
        return _json_text_sheet(text, where, is_image)
    lines = _filled(text[:_HEAD_CHARACTERS])
    announced = None
    if lines and (match := _SEPARATOR_LINE.fullmatch(lines[0][1].strip())):
        announced = match[1]
        text, lines = text.replace(lines[0][1], "", 1), lines[1:]
    comments = []
    while lines and lines[0][1].lstrip().startswith("#") and not is_image(lines[0][1].split()[0]):
        comments.append(lines.pop(0)[1].strip().lstrip("#").strip())
    if not lines:
        return None
    if comments:  # blank them, so that lines keep their numbers
        first = lines[0][0]
        text = "\n" * (first - 1) + text.split("\n", first - 1)[-1]
    whole = lines[:-1] if len(lines) > 1 and len(text) > _HEAD_CHARACTERS else lines  # the last one may be truncated
    for delimiter in announced or DELIMITERS:
        head = [_fields(whole[row][1], delimiter) for row in sample(len(whole))]
        if _is_table(head, is_image, sure=announced is not None):
            header = _fields(comments[-1], delimiter) if comments else []
            return _delimited(text, where, delimiter, is_image, header)
    return _words_sheet(_filled(text), comments, where, is_image)


def _filled(text: str) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line and not line.isspace()]


def _is_table(head: Sequence[Sequence[str]], is_image: IsImage, sure: bool) -> bool:
    """Whether the sampled lines, split at a delimiter, are rows of a table with a column of images.

    A single header row, or rows of different lengths, are accepted if the first row has a known column name.
    """
    first = head[0]
    if len(first) < 2:
        return False
    if _known_path(first) is not None or sure:
        return True
    head = [row if "".join(row[len(first) :]).strip() else row[: len(first)] for row in head]
    if Counter(map(len, head)).most_common(1)[0][0] != len(first):
        return False
    return (
        image_column([[row[at] for row in head if len(row) == len(first)] for at in range(len(first))], is_image) >= 0
    )


def image_column(cells: Sequence[Sequence[Any]], is_image: IsImage, names: Sequence[str] = ()) -> int:
    """The column in which the largest share of cells, at least half apart from a header, name images; -1 if none has.

    names: of the columns, if they are not among the cells. Ties go to the column with more distinct cells, then to the
    first. Small numbers can mean anything: they name images only in a column called id or similar.
    """
    best, found = (0.5, 0.0), -1
    for at, column in enumerate(cells):
        texts = [str(cell).strip() for cell in column if isinstance(cell, str | int)]
        if not texts or len(texts[0]) > 4096:
            continue
        name = names[at] if names else texts[0]
        if _ID_NAME.fullmatch(name.strip().lower()) is None and _are_numbers(texts[0 if names else 1 :]):
            continue
        hits = sum(map(is_image, texts))
        share = hits / max(1, len(texts) - (1 if len(texts) > 1 and not is_image(texts[0]) else 0))
        rank = (share, len(set(texts)) / len(texts))
        if hits and rank > best:
            best, found = rank, at
    return found


def _are_numbers(texts: Sequence[str]) -> bool:
    """Whether all texts are small numbers, which could be labels or counts."""
    return bool(texts) and all(_SMALL_NUMBER.fullmatch(text) for text in texts)


def _known_path(names: Sequence[str]) -> int | None:
    lower = [name.strip().lower().lstrip("#") for name in names]
    return next((lower.index(name) for name in PATH_COLUMNS if name in lower), None)


def _delimited(text: str, where: str, delimiter: str, is_image: IsImage, header: Sequence[str]) -> Sheet | None:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row and (row[0] or "".join(row).strip()):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise TenchError(
            f"{where}, line {reader.line_num} cannot be read as columns ({error}). Correct the line."
        ) from None
    width = len(rows[0])
    if len(header) == width:
        rows.insert(0, list(header))
        lines.insert(0, 0)
    for position, row in enumerate(rows if set(map(len, rows)) != {width} else ()):
        if len(row) > width and not "".join(row[width:]).strip():
            rows[position] = row[:width]
        elif len(row) != width:
            shown = "a tab" if delimiter == "\t" else repr(delimiter)
            raise TenchError(
                f"{where}, line {lines[position]} has {len(row)} columns, but line {lines[0]} has {width} (separated "
                f"by {shown}). Quote cells that contain the separator, or correct the line."
            )
    if width > _MOST_COLUMNS:
        raise TenchError(f"{where} has {width:,} columns, but a table of labels may have at most {_MOST_COLUMNS:,}.")
    columns = tuple(zip(*rows, strict=True))
    headed = _known_path(rows[0]) is not None
    if not headed:
        at = image_column([[column[row] for row in sample(len(rows))] for column in columns], is_image)
        if at < 0:
            return None
        headed = not is_image(rows[0][at].strip())
    names = tuple(name.strip() for name in rows[0]) if headed else _column_names(width)
    if headed:
        columns, lines = tuple(column[1:] for column in columns), lines[1:]
    return Sheet(where, names, columns, lines, headed=headed)


def _column_names(width: int) -> tuple[str, ...]:
    return ("path", "label") if width == 2 else tuple(f"column {number}" for number in range(1, width + 1))


def _words_sheet(lines: list[tuple[int, str]], comments: Sequence[str], where: str, is_image: IsImage) -> Sheet | None:
    """Lines of words; the position of the image name decides how they are split."""
    texts = [line.strip() for _, line in lines]
    numbers = [number for number, _ in lines]
    taken = [texts[row] for row in sample(len(texts))]
    heads = [text.rsplit(None, 1)[0] for text in taken]
    several = [text.split() for text in taken]
    pairs = [words for words in several if len(words) > 2 and looks_like_image(words[0])]  # two images a line
    if all(map(looks_like_image, heads)) and not pairs:  # the common case
        return _path_and_label(texts, numbers, where, is_image)
    width = len(several[-1])
    others = sum(len(words) != width for words in several)
    is_table = width >= 3 and len(several) > 1 and others <= max(2, len(several) // 10)
    if is_table and (table := _spaced(texts, numbers, width, comments, where, is_image)) is not None:
        return table
    if _most(taken[len(taken) > 1 :], is_image):
        name = texts[0].lower()
        is_header = not is_image(texts[0]) and (name in PATH_COLUMNS or _ID_NAME.fullmatch(name) is not None)
        start = int(is_header)
        return Sheet(where, ("path",), (texts[start:],), numbers[start:], headed=False, words=True)
    firsts = [words[0] for words in several]
    if _most(heads, is_image) or looks_like_image(heads[0]):
        return _path_and_label(texts, numbers, where, is_image)
    is_prose = len(set(firsts)) == 1 and firsts[0].isalpha()  # a sentence whose first word is an image's name
    if _most(firsts, is_image) and not is_prose and not _are_numbers(firsts):
        pairs = [text.split(None, 1) for text in texts]
        labels = [pair[1] if len(pair) == 2 else None for pair in pairs]
        cells = ([pair[0] for pair in pairs], labels)
        return Sheet(where, ("path", "label"), cells, numbers, headed=False, words=True)
    return None


def _path_and_label(texts: list[str], numbers: list[int], where: str, is_image: IsImage) -> Sheet:
    """Lines of a path, which may contain spaces, and a label after the last space."""
    paths: list[str] = []
    labels: list[str | None] = []
    for row, text in enumerate(texts):
        path, *label = text.rsplit(None, 1)
        if not label and any(sign in path for sign in DELIMITERS) and not is_image(path):
            raise TenchError(
                f"{where}, line {numbers[row]} has columns, but line {numbers[0]} has a path and a label with a space "
                "between them. All lines of a list must have the same form. Correct the line."
            )
        paths.append(path)
        labels.append(label[0] if label else None)
    if all(label is None for label in labels):
        return Sheet(where, ("path",), (paths,), numbers, headed=False, words=True)
    return Sheet(where, ("path", "label"), (paths, labels), numbers, headed=False, words=True)


def _spaced(
    texts: list[str], numbers: list[int], width: int, comments: Sequence[str], where: str, is_image: IsImage
) -> Sheet | None:
    """A table with spaces between its columns; a count and a line of names may precede it."""
    rows = [text.split() for text in texts]
    start = next(row for row, words in enumerate(rows) if len(words) == width)
    above = rows[:start]  # a count, or names
    if start > 2 or any(len(words) != width for words in rows[start:]) or any(is_image(words[0]) for words in above):
        return None
    columns = tuple(zip(*rows[start:], strict=True))
    at = image_column([[column[row] for row in sample(len(rows) - start)] for column in columns], is_image)
    if at < 0:
        return None
    names: Sequence[str] = _column_names(width)
    headed = False
    if not is_image(columns[at][0]):
        names, headed, start = rows[start], True, start + 1
        columns = tuple(column[1:] for column in columns)
    elif start and len(rows[start - 1]) == width - 1:  # CelebA has no name for the first column
        names, headed = ["image", *rows[start - 1]], True
    elif comments and len(comments[-1].split()) == width:
        names, headed = comments[-1].split(), True
    return Sheet(where, tuple(names), columns, numbers[start:], headed=headed)


def _most(texts: Sequence[str], is_image: IsImage) -> bool:
    return bool(texts) and 2 * sum(map(is_image, texts)) > len(texts)


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


# JSON


def _json_text_sheet(text: str, where: str, is_image: IsImage) -> Sheet | None:
    try:
        data = json.loads(text, object_pairs_hook=distinct)
    except RecursionError:
        raise TenchError(f"{where} is damaged JSON (it nests too deeply). Copy or create it again.") from None
    except ValueError as error:
        if text.lstrip().startswith("{") and (lines := _json_lines(text, where)) is not None:
            return lines
        if "," in text.partition("\n")[0] and "\n" in text.strip():  # a table whose first cell begins with a bracket
            return None
        raise TenchError(f"{where} is damaged JSON ({error}). Copy or create it again.") from None
    if isinstance(data, dict) and any(isinstance(data[key], str) for key in data if key.lower() in PATH_COLUMNS):
        return of_objects([data], where, unit="line")  # a single JSON line
    return _json_sheet(data, where, is_image)


def _json_lines(text: str, where: str) -> Sheet | None:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                if not objects:
                    return None
                raise TenchError(
                    f"{where}, line {number} is not a JSON object, but line {lines[0]} is. Correct the line."
                )
            objects.append(found)
            lines.append(number)
    return of_objects(objects, where, lines)


def of_objects(
    objects: Sequence[Mapping[str, Any]], where: str, lines: Sequence[int] | None = None, unit: str = "entry"
) -> Sheet:
    """A table of JSON objects. A missing key is an empty cell. A value that is an object becomes one column per key."""
    names: dict[str, None] = {}
    flat = [_flattened(entry) for entry in objects]
    for entry in flat:
        names.update(dict.fromkeys(entry))
        if len(names) > _MOST_COLUMNS:
            raise TenchError(f"{where} has more than {_MOST_COLUMNS:,} different keys. It is not a table of labels.")
    cells = tuple([entry.get(name) for entry in flat] for name in names)
    return Sheet(
        where,
        tuple(map(str, names)),
        cells,
        lines if lines is not None else range(1, len(flat) + 1),
        unit="line" if lines is not None else unit,
    )


def _flattened(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if not any(isinstance(value, dict) for value in entry.values()):
        return entry
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": one for inner, one in value.items() if not isinstance(one, dict)})
        else:
            flat[key] = value
    return flat


def _json_sheet(data: Any, where: str, is_image: IsImage) -> Sheet | None:
    """A table in one of these forms of JSON; None if it has none of them.

    [{"image": "a.jpg", "label": "cat"}, ...]            {"train": [...], "val": [...]}      [["a.jpg", 3], ...]
    {"a.jpg": "cat", ...}                                {"a.jpg": {"label": "cat"}, ...}    {"labels": [["a.jpg", 3]]}
    {"cat": ["a.jpg", "b.jpg"], ...}                     {"image": ["a.jpg", ...], "label": ["cat", ...]}
    {"images": [...], "annotations": [...]}              and the exports of annotation tools, see `annotations`
    """
    if (found := annotations.entries(data, where)) is not None:
        return dataclasses.replace(of_objects(found.rows, where), told=found.told, notes=found.notes)
    if isinstance(data, list):
        return _json_list(data, where, is_image)
    if not isinstance(data, dict) or not data:
        return None
    by_split = {splits.split_of(key): value for key, value in data.items() if isinstance(value, list)}
    if len(by_split) == len(data) and None not in by_split:
        parts = {key: _json_list(value, where, is_image) for key, value in data.items()}
        rows = [
            dict(zip(part.columns, row, strict=True)) | {"split": key}
            for key, part in parts.items()
            if part is not None
            for row in zip(*part.cells, strict=True)
        ]
        return of_objects(rows, where) if rows else None
    lists = [value for value in data.values() if isinstance(value, list)]
    if len(lists) == 1 and len(data) <= 10 and (inner := _json_list(lists[0], where, is_image)) is not None:
        return inner
    if len(lists) == len(data):
        if _known_path(list(data)) is not None and len(set(map(len, lists))) == 1:
            return Sheet(where, tuple(data), tuple(lists), range(1, len(lists[0]) + 1), unit="entry")
        pairs = [(path, label) for label, paths in data.items() for path in paths if isinstance(path, str)]
        if _most([path for path, _ in _sampled(pairs)], is_image):
            return _pairs_sheet(pairs, where)
    columns = [value for value in data.values() if isinstance(value, dict)]
    if len(columns) == len(data) and _known_path(list(data)) is not None:  # as pandas writes it
        keys = list(columns[0])
        if all(list(column) == keys for column in columns):
            cells = tuple(list(column.values()) for column in columns)
            return Sheet(where, tuple(data), cells, range(1, len(keys) + 1), unit="entry")
    if len(columns) == len(data):
        objects = [{"key": key, **value} for key, value in data.items()]
        return of_objects(objects, where)
    if _most(_sampled(list(data)), is_image):
        return _pairs_sheet(list(data.items()), where)
    return None


def _sampled(values: Sequence[Any]) -> list[Any]:
    return [values[row] for row in sample(len(values))]


def _pairs_sheet(pairs: Sequence[tuple[Any, Any]], where: str) -> Sheet:
    cells = ([path for path, _ in pairs], [label for _, label in pairs])
    return Sheet(where, ("path", "label"), cells, range(1, len(pairs) + 1), unit="entry", headed=False)


def _json_list(data: Sequence[Any], where: str, is_image: IsImage) -> Sheet | None:
    if not data:
        return None
    if all(isinstance(entry, dict) for entry in data):
        return of_objects(data, where)
    if all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in data):
        return _pairs_sheet([(path, label) for path, label in data], where)
    if all(isinstance(entry, str) for entry in data) and _most(_sampled(data), is_image):
        return Sheet(where, ("path",), (data,), range(1, len(data) + 1), unit="entry", headed=False)
    return None


# Parquet


def is_parquet_list(file: BinaryIO) -> bool:
    """Whether a file is Parquet with a column of paths, as text, and further columns, but none of images."""
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return False
    return parquet_path_column(schema) is not None


def parquet_path_column(schema: pa.Schema) -> str | None:
    """The name of the column of paths in a Parquet file that has other columns too."""
    lower = {str(name).strip().lower(): name for name in reversed(schema.names)}
    known = (lower[name] for name in PATH_COLUMNS if name in lower)
    text = next((name for name in known if schema.field(name).type in (pa.string(), pa.large_string())), None)
    holds_images = any(pa.types.is_binary(field.type) or pa.types.is_struct(field.type) for field in schema)
    return None if holds_images or len(schema.names) < 2 else text


def parquet_sheet(file: BinaryIO, where: str) -> Sheet:
    """A Parquet file for which `is_parquet_list` holds. Rows are counted from 0; nested and binary columns are left
    out, except lists.
    """
    from pyarrow import parquet

    try:
        if (num_rows := parquet.read_metadata(file).num_rows) > _MOST_ROWS:
            raise TenchError(
                f"{where} has {num_rows:,} rows, but a list of images may have at most {_MOST_ROWS:,}. The file "
                "is damaged or is something else. Replace it, or leave it out with --exclude."
            )
        names = [
            field.name
            for field in parquet.read_schema(file)
            if not pa.types.is_struct(field.type) and not pa.types.is_binary(field.type)
        ]
        table = parquet.read_table(file, columns=names)
        cells = tuple(table.column(name).to_pylist() for name in names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TenchError(f"{where} cannot be read as Parquet ({error}). Copy or create it again.") from error
    return Sheet(where, tuple(names), cells, range(len(table)), unit="row")


def rows_of(where: str, rows: Iterable[Sequence[Any]], is_image: IsImage, unit: str = "row") -> Sheet | None:
    """A table of rows, counted from 1, as a spreadsheet has them; None if no column names images."""
    filled = [(number, row) for number, row in enumerate(rows, 1) if any(cell not in (None, "") for cell in row)]
    if not filled:
        return None
    width = max(len(row) for _, row in filled)
    padded = [[*row, *[None] * (width - len(row))] for _, row in filled]
    names = ["" if cell is None else str(cell) for cell in padded[0]]
    columns = tuple(zip(*padded, strict=True))
    headed = _known_path(names) is not None
    if not headed:
        at = image_column([[column[row] for row in sample(len(padded))] for column in columns], is_image)
        if at < 0:
            return None
        headed = not is_image(names[at].strip())
    lines = [number for number, _ in filled]
    if headed:
        columns, lines = tuple(column[1:] for column in columns), lines[1:]
    return Sheet(where, tuple(names) if headed else _column_names(width), columns, lines, unit=unit, headed=headed)
