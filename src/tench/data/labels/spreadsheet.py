"""The first sheet of an Excel workbook (`.xlsx`), as rows of text and numbers.

An `.xlsx` file is a zip archive of XML, and a label table needs only cell values. They are read here, with a bound on
the unpacked size and without XML entities; openpyxl has neither protection and would be one more dependency.
Dates, formulas and styles are not interpreted: for a formula the value that was stored with it is used.
Source: ECMA-376, part 1, sections 18.3 (worksheets) and 18.4 (shared strings).
"""

import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

from tench.data.labels.markup import parse_xml
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

_BOOK, _LINKS, _STRINGS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml"
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_MOST_COLUMNS, _MOST_ROWS = 16_384, 1_048_576
"""The limits of an Excel sheet."""

Cell = str | int | float | None


def is_spreadsheet(head: bytes) -> bool:
    """Whether a file with this beginning can be a workbook, that is, a zip archive."""
    return head[:4] == b"PK\x03\x04"


def read_spreadsheet(file: BinaryIO, where: str, limits: Limits = LIMITS) -> tuple[list[list[Cell]], list[str]]:
    """The rows of the first sheet, including empty ones, and the names of all sheets. Raises TenchError if damaged."""
    try:
        with zipfile.ZipFile(file) as book:
            members = {name: book.getinfo(name) for name in book.namelist()}
            if _BOOK not in members:
                raise TenchError(f"{where} is a zip archive but not an Excel workbook. Save it as .xlsx or .csv.")
            if sum(info.file_size for name, info in members.items() if name.startswith("xl/")) > limits.member_bytes:
                raise TenchError(
                    f"{where} unpacks to more than {limits.member_bytes:,} bytes. Save the sheet of labels as CSV."
                )

            def text(name: str) -> bytes:
                with book.open(name) as member:
                    return member.read(limits.member_bytes)

            sheets = _sheets(text(_BOOK), text(_LINKS) if _LINKS in members else b"<x/>", where)
            strings = _strings(text(_STRINGS), where) if _STRINGS in members else []
            path = next((path for _, path in sheets if path in members), "xl/worksheets/sheet1.xml")
            if path not in members:
                raise TenchError(f"{where} has no worksheet. Save the table of labels as .xlsx or .csv.")
            return _rows(text(path), strings, where), [name for name, _ in sheets]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise TenchError(f"{where} is a damaged Excel workbook ({error}). Copy or save it again.") from error


def _sheets(book: bytes, links: bytes, where: str) -> list[tuple[str, str]]:
    """(name, member) of each worksheet, in the order of the workbook."""
    target: dict[str, str] = {}
    found: list[tuple[str, str]] = []

    def link(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "Relationship":
            target[attributes.get("Id", "")] = attributes.get("Target", "")

    def sheet(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "sheet":
            number = next((value for key, value in attributes.items() if key.rpartition(":")[2] == "id"), "")
            path = target.get(number, "")
            found.append((attributes.get("name", ""), path[1:] if path.startswith("/") else f"xl/{path}"))

    parse_xml(links, where, link)
    parse_xml(book, where, sheet)
    return found


def _strings(data: bytes, where: str) -> list[str]:
    """The shared strings: each `si` is the text of its `t` elements, apart from phonetic hints."""
    found: list[str] = []
    parts: list[str] = []
    hints = 0

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal hints
        hints += tag == "rPh"
        if tag == "si":
            parts.clear()

    def end(tag: str, text: str) -> None:
        nonlocal hints
        hints -= tag == "rPh"
        if tag == "t" and not hints:
            parts.append(text)
        elif tag == "si":
            found.append("".join(parts))

    parse_xml(data, where, start, end)
    return found


def _rows(data: bytes, strings: list[str], where: str) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    kind, at, values = "n", (0, 0), list[str]()

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal kind, at
        if tag == "row":
            number = attributes.get("r", "")
            row = int(number) - 1 if number.isdecimal() and len(number) < 8 else len(rows)
            if not len(rows) <= row < _MOST_ROWS:
                raise ValueError(f"row {number} is out of order or too large")
            rows.extend([] for _ in range(row + 1 - len(rows)))
        elif tag == "c":
            if not rows:
                raise ValueError("a cell is outside a row")
            kind, column = attributes.get("t", "n"), len(rows[-1])
            if match := _REFERENCE.fullmatch(attributes.get("r", "")):
                column = _column(match[1])
            if not len(rows[-1]) <= column < _MOST_COLUMNS:
                raise ValueError(f"the cell {attributes.get('r')} is out of order")
            at = (len(rows) - 1, column)
            values.clear()

    def end(tag: str, text: str) -> None:
        if tag in ("v", "t"):
            values.append(text)
        elif tag == "c":
            row = rows[at[0]]
            row.extend([None] * (at[1] - len(row)))
            row.append(_value("".join(values), kind, strings))

    parse_xml(data, where, start, end)
    return rows


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(text: str, kind: str, strings: list[str]) -> Cell:
    if not text:
        return None
    if kind == "s":
        return strings[int(text)]  # an index out of range is damage: LookupError
    if kind == "n":
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return {"1": "true", "0": "false"}.get(text, text) if kind == "b" else text
