"""Files that may contain labels among the files of a source, and the table in one of them."""

import dataclasses
import os
import re
from typing import Any

from tench.data import splits
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree
from tench.data.formats.class_files import FILES
from tench.data.formats.lst import is_lst, read_lst
from tench.data.formats.mat import read_mat
from tench.data.labels import annotations
from tench.data.labels.mat_sheet import class_names, mat_sheet
from tench.data.labels.published import whole
from tench.data.labels.spreadsheet import is_spreadsheet, read_spreadsheet
from tench.data.labels.tables import (
    IsImage,
    Sheet,
    decoded,
    is_parquet_list,
    of_objects,
    parquet_sheet,
    rows_of,
    text_sheet,
)
from tench.errors import TenchError

_TABLES = tuple(".csv .tsv .tab .jsonl .ndjson .lst .xlsx .xls .parquet .json .mat .txt .xml".split())
SURE_SUFFIXES = tuple(".csv .tsv .tab .jsonl .ndjson .lst .xlsx .xls .parquet".split())
"""A file with one of these suffixes that the user passes by itself is read as a list whatever it contains, so that the
error says what is wrong with it. Next to images, a note names it if it is not used."""

ALSO_BINARY = (".json", ".xml", ".mat")
"""Suffixes of files that may contain labels or many other things; a damaged one is an error if it was opened itself."""

_NOT_LABELS = re.compile(
    r"sample_?submission.*|submission.*|.*_submission|loc_.*|ilsvrc2012_.*|imagenet_.*|val_annotations|wnids|words|"
    r"readme.*|licen[cs]e.*|citation.*|requirements.*|dataset_infos?|state|prepared|parts?|attributes|"
    r"bounding_boxes|lists",
    re.IGNORECASE,
)
"""Names, without suffix, of files with other contents or with the labels of other layouts."""
_CARS = "cars_meta.mat"
"""The class names of Stanford Cars; its other files have only class numbers."""

PARQUET = b"PAR1"
HEAD_BYTES = 2**16
_MOST_CANDIDATES = 2_000
"""Label files to examine, the nearest to the top first. GTSRB has 43; a file per image is not a label file."""


def below_single_folder(tree: Tree) -> Tree:
    """For an archive with a single folder at the top, the tree below it."""
    while tree.source.is_file() and len(top := tree.top()) == 1 and top[0].endswith("/"):
        tree = tree.under(top[0][:-1])
    return tree


def is_named(tree: Tree) -> bool:
    """Whether the lists themselves were opened, as a file or a pattern: then the images are not in the tree."""
    return not tree.source.is_dir() and not is_archive(tree)


def is_archive(tree: Tree) -> bool:
    return tree.source.is_file() and tree.root != tree.source.parent


_NEAR = 4
"""Number of files with the same name and other suffixes that may sort between a file and its image."""


def candidates(tree: Tree) -> list[str]:
    """The files that may be lists by their names, those near the top first."""
    if is_named(tree):
        return list(tree.names)
    found = []
    for name in tree.others:
        file = name.lower().rpartition("/")[2]
        stem, suffix = os.path.splitext(file)
        if suffix not in _TABLES and not (not suffix and splits.split_of(file)):
            continue
        if _NOT_LABELS.fullmatch(stem) or (file in FILES and not splits.split_of(stem) and suffix != ".csv"):
            continue
        if f"{name[: -len(suffix)] if suffix else name}.rec" in tree:
            continue
        if not _is_of_one_image(tree, tree.index(name)):
            found.append(name)
    return sorted(found, key=lambda name: (name.count("/"), name))[:_MOST_CANDIDATES]


def _is_of_one_image(tree: Tree, position: int) -> bool:
    """Whether a file belongs to one image with the same name, as `00001.cls.txt` to `00001.jpg`.

    Their names are neighbours in the tree.
    """
    name = tree.names[position]
    start = name[: name.find(".", name.rfind("/") + 1) + 1]
    near = tree.names[max(0, position - _NEAR) : position + _NEAR + 1]
    return bool(start) and any(other.startswith(start) and is_image_name(other) for other in near)


def is_binary_or_json(name: str) -> bool:
    return name.lower().endswith((".json", ".mat", ".xml", ".xlsx", ".parquet"))


def text_of_cell(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()


def read_sheet(tree: Tree, name: str, is_image: IsImage, *, head: bool = False) -> Sheet | None:
    """The table in a file; None if it has none. Of a .lst only the paths are read.

    head: if the file is text, read only its beginning.
    """
    where = tree.place(name)
    with tree.open(name) as file:
        start = file.read(8)
        if start[:4] == PARQUET:
            return parquet_sheet(file, where) if is_parquet_list(file) else None
        if is_spreadsheet(start):
            if not name.lower().endswith(".xlsx"):
                return None
            rows, sheets = read_spreadsheet(file, where)
            sheet = rows_of(where, rows, is_image)
            if sheet is None or len(sheets) < 2:
                return sheet
            note = f"{where}: only the first of its {len(sheets)} sheets, {sheets[0]!r}, is read."
            return dataclasses.replace(sheet, notes=(*sheet.notes, note))
        if start[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            raise TenchError(f"{where} is an Excel file in the old format (.xls). Save it as .xlsx or .csv.")
        first = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if first == b"<" and not name.lower().endswith(".xml"):
            first = b""
        if first in (b"{", b"[", b"<") or start.startswith(b"MATLAB"):
            head = False
        file.seek(0)
        data = file.read(HEAD_BYTES) if head else None
    if data is None:
        data = whole(tree, name)
    if start.startswith(b"MATLAB"):
        return _mat(tree, name, data, is_image)
    if first == b"<":
        found = annotations.cvat_entries(data, where)
        return None if found is None else dataclasses.replace(of_objects(found.rows, where), notes=found.notes)
    if head and len(data) == HEAD_BYTES:
        data = _whole_lines(data)
    text = decoded(data, where)
    if "\0" in text:
        return None
    if is_lst(text[: HEAD_BYTES * 4].split("\n", 1)[0]):
        lst = read_lst(text, where)
        return Sheet(where, ("path",), (lst.paths,), range(1, len(lst.paths) + 1), headed=False, words=True)
    return text_sheet(text, where, is_image)


def _whole_lines(data: bytes) -> bytes:
    """The beginning of a text file without the last line, which may be truncated."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        return data[: len(data) // 2 * 2 - 2]
    return data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1] or data


def _mat(tree: Tree, name: str, data: bytes, is_image: IsImage) -> Sheet | None:
    """The table of a MATLAB file; the classes of Stanford Cars are named in another file."""
    sheet = mat_sheet(read_mat(data, tree.place(name)), tree.place(name), is_image)
    meta = next((other for other in tree.names if other.rpartition("/")[2] == _CARS), None)
    if sheet is not None and sheet.told is None and sheet.column("label") is not None and meta is not None:
        names = class_names(read_mat(whole(tree, meta), tree.place(meta)))
        sheet = dataclasses.replace(sheet, told=dict(enumerate(names, 1)) if names else None)
    return sheet


def no_list(tree: Tree, name: str, head: bytes) -> TenchError:
    line = next((line for line in head.decode("utf-8-sig", "replace").splitlines() if line.strip()), "")
    shown = line.strip() if len(line.strip()) <= 80 else f"{line.strip()[:77]}..."
    pixels = len(re.findall(r"pixel_?\d+", line)) > 10 or "pixels" in line.split(",")
    more = (
        "It contains the pixels themselves. Save them as image files."
        if pixels
        else "A list has lines of a path and a label, or a header with a column of paths (path, file_name, image, ...) "
        "above rows that name images next to it. If the images are elsewhere, pass --images FOLDER."
    )
    return TenchError(f"{tree.place(name)}: none of its columns names images; it begins with {shown!r}. {more}")
