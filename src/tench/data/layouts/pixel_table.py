"""Small images as numbers in a text file: one line per image, with its label.

    label,pixel0,pixel1,...        Kaggle's digit recogniser, Fashion-MNIST, sign language; label,1x1,1x2,... likewise
    emotion,pixels,Usage           FER2013: all pixels in one cell, and the split
    7 1:-1 2:-0.93 ...             USPS in LIBSVM's form, values from -1 to 1, labels from 1
    0.0000 1.0000 ... 0 0 1 0      Semeion: 256 pixels of 0 or 1, then a column for each digit

Text cannot be addressed, so the pixels are copied once into the cache. Images are square, and grey or RGB depending on
the number of columns. A file without labels becomes a split without labels.
"""

import array
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tench.data import splits
from tench.data.files.compressed import decompressed, first_bytes, form_of
from tench.data.files.tree import Tree
from tench.data.formats.raw_pixels import spooled_rows
from tench.data.table import Classes, Contents, Rows
from tench.errors import TenchError, UsageError, some

NAME = "pixel-table"
OPTIONS = frozenset({"label"})

_LABELS = ("label", "emotion", "class", "digit", "target", "y")
_PIXEL = re.compile(r"(?:pixel|px|p)?[ _]?\d+|\d+x\d+", re.IGNORECASE)
_FEWEST_PIXELS = 64
_MOST_PIXELS = 3 * 256 * 256
_HEAD_BYTES = 2**21
_MOST_BYTES = 2**31
"""Size limit of a file: its pixels are in memory before they are copied to the cache."""
_MOST_FILES = 100
"""If there are more CSV files than this, they are annotations of images."""
_USPS, _SEMEION = re.compile(r"usps(?:\.t)?(?:\.bz2)?"), "semeion.data"
_SMALL_SIDE, _SMALL_PIXELS, _DIGITS = 16, 256, 10

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class _Form:
    """How to read the lines of a file. parse: returns a line's label (None if missing), split ("" if missing) and
    pixels."""

    parse: Callable[[str], tuple[str | None, str, Sequence[int] | Pixels]]
    num_pixels: int | None
    has_header: bool
    column: str = ""


def recognise(tree: Tree) -> bool:
    """Whether the tree contains a table of pixels, recognised by its name or by the columns in its first line."""
    return bool(_files(tree))


def read(tree: Tree) -> Contents:
    """The images of all files, with keys numbered in the order of lines."""
    files = _files(tree)
    by_split, notes = splits.group_by_split(
        [_naming_split(name) for name in files], str(tree.source), "files of pixels"
    )
    of_name = {_naming_split(name): name for name in files}
    found: dict[str, tuple[str, _Lines]] = {}
    for split, names in by_split.items():
        if len(names) > 1:
            raise TenchError(
                f"{tree.source}: several files of pixels belong to the split {split}: "
                f"{some([of_name[name] for name in names])}. Leave out all but one with --exclude PATTERN."
            )
        name = of_name[names[0]]
        lines = _read(tree, name)
        if lines.usage:
            if len(by_split) > 1:
                raise TenchError(
                    f"{tree.place(name)} has a split column, but other files are splits too. Pass only one of them."
                )
            for used, part in _by_usage(tree, name, lines).items():
                found[used] = name, part
            notes = [f"The splits come from the column Usage of {name}."]
        else:
            found[split] = name, lines
    columns = sorted({lines.column for _, lines in found.values() if lines.column})
    notes += [f"The labels come from column {column}." for column in columns]
    classes, index = _classes([label for _, lines in found.values() for label in lines.labels or ()])
    if not classes:
        raise TenchError(f"{tree.source}: no column of labels in {some(files)}. Name it with --label COLUMN.")
    rows: dict[str, Rows] = {}
    for split, (name, lines) in found.items():
        if lines.labels is None:
            notes.append(f"{name} has no labels.")
        labels = [index[label] for label in lines.labels] if lines.labels is not None else [-1] * len(lines.pixels)
        pixels = lines.pixels
        kept = name if len({file for file, _ in found.values()}) == len(found) else f"{name}.{split}"
        rows[split] = spooled_rows(
            tree, name, iter([pixels]), np.array(labels, np.int32), pixels.shape[1:], target=kept
        )
    shards = [shard for split in rows.values() for shard in split.shards]
    return Contents(classes, rows, [*dict.fromkeys([*tree.stamp, *shards])], notes)


@dataclasses.dataclass(frozen=True)
class _Lines:
    """The contents of a file. pixels: (N, height, width, channels). labels: as text, None if there are none. usage:
    the split of each line, empty if there are none."""

    pixels: Pixels
    labels: list[str] | None
    usage: list[str]
    column: str


def _naming_split(name: str) -> str:
    """A file's name in a form that the rule for splits recognises: usps.t is the test set of usps."""
    folder, _, base = name.rpartition("/")
    return f"{folder}/usps-{'test' if '.t' in base else 'train'}" if _USPS.fullmatch(base) else name


def _files(tree: Tree) -> list[str]:
    tables = [name for name in tree.others if name.endswith((".csv", ".CSV"))]
    found = [name for name in tables if _csv_form(tree, name)] if len(tables) <= _MOST_FILES else []
    for name in tree.others:
        if name.endswith((".bz2", ".data", "usps", ".t")):
            base = name.rpartition("/")[2]
            if base == _SEMEION or _USPS.fullmatch(base):
                found.append(name)
    return found


def _head(tree: Tree, name: str) -> str:
    """The first line of a file."""
    with tree.open(name) as file:
        head = file.read(min(_HEAD_BYTES, int(tree.length[tree.index(name)])))
        if form_of(head):
            head = first_bytes(file, _HEAD_BYTES)
    return head.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()


def _csv_form(tree: Tree, name: str) -> _Form | None:
    """The form of a CSV file with pixels in it; None if it contains something else."""
    try:
        columns = [column.strip().strip('"') for column in _head(tree, name).split(",")]
    except (OSError, TenchError):
        return None
    lower = [column.lower() for column in columns]
    wanted = tree.options.label
    label = next((position for position, column in enumerate(columns) if column == wanted), None)
    if label is None and wanted is None:
        label = next((lower.index(word) for word in _LABELS if word in lower), None)
    if "pixels" in lower:
        pixels = lower.index("pixels")
        usage = lower.index("usage") if "usage" in lower else None

        def one_cell(line: str) -> tuple[str | None, str, Sequence[int]]:
            cells = [cell.strip().strip('"') for cell in line.split(",")]
            values = [int(value) for value in cells[pixels].split()]
            return cells[label] if label is not None else None, cells[usage] if usage is not None else "", values

        return _Form(one_cell, None, True, columns[label] if label is not None else "")
    others = [column for position, column in enumerate(columns) if position != label]
    if len(others) < _FEWEST_PIXELS or not all(map(_PIXEL.fullmatch, others)) or not _shape(len(others)):
        return None

    def a_cell_each(line: str) -> tuple[str | None, str, Sequence[int]]:
        cells = line.split(",")
        text = cells.pop(label).strip().strip('"') if label is not None else None
        return text, "", [int(cell) for cell in cells]

    return _Form(a_cell_each, len(others), True, columns[label] if label is not None else "")


def _form(tree: Tree, name: str) -> _Form:
    base = name.rpartition("/")[2]
    if base == _SEMEION:
        return _Form(_semeion, _SMALL_PIXELS, False)
    if _USPS.fullmatch(base):
        return _Form(_usps, _SMALL_PIXELS, False)
    form = _csv_form(tree, name)
    assert form is not None, f"{name} was recognised as a table of pixels"
    return form


def _semeion(line: str) -> tuple[str, str, Pixels]:
    values = np.array(line.split(), np.float64)
    (digit,) = np.flatnonzero(values[_SMALL_PIXELS:])
    if len(values) != _SMALL_PIXELS + _DIGITS:
        raise ValueError(f"{len(values)} numbers")
    return str(digit), "", _scaled(values[:_SMALL_PIXELS])


def _usps(line: str) -> tuple[str, str, Pixels]:
    label, *cells = line.split()
    values = np.array([cell.partition(":")[2] for cell in cells], np.float64)
    if [cell.partition(":")[0] for cell in cells] != [str(number) for number in range(1, len(cells) + 1)]:
        raise ValueError("a pixel is missing")
    return str(int(label) - 1), "", _scaled(((values.astype(np.float32) + 1) / 2).astype(np.float64))


def _scaled(values: npt.NDArray[np.float64]) -> Pixels:
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a pixel is out of range")
    return (values.astype(np.float32) * 255).astype(np.uint8)


def _shape(num_pixels: int) -> tuple[int, int, int] | None:
    """(height, width, channels) of the square image with this number of values; None if no square has it."""
    for channels in (1, 3):
        side = math.isqrt(num_pixels // channels)
        if side * side * channels == num_pixels <= _MOST_PIXELS:
            return side, side, channels
    return None


def _read(tree: Tree, name: str) -> _Lines:
    """All lines of a file. Raises TenchError for a line that does not have its form."""
    form, where = _form(tree, name), tree.place(name)
    tree.limits.require(int(tree.length[tree.index(name)]), _MOST_BYTES, where, "a table of pixels")
    if tree.options.label and form.column != tree.options.label:
        raise UsageError(f"{where} has no column {tree.options.label!r}.")
    pixels, labels, usage = array.array("B"), list[str](), list[str]()
    count, num_pixels = 0, form.num_pixels
    for number, line in enumerate(_lines(tree, name), start=1):
        if (form.has_header and number == 1) or not line.strip():
            continue
        try:
            label, used, values = form.parse(line)
            num_pixels = num_pixels or len(values)
            if len(values) != num_pixels:
                raise ValueError(f"{len(values)} pixels instead of {num_pixels}")
            pixels.extend(values)
        except (ValueError, OverflowError, IndexError) as error:
            raise TenchError(
                f"{where}: line {number:,} cannot be read ({str(error)[:100]}). Each line must have "
                f"{num_pixels or 'the same number of'} pixels, in a CSV file from 0 to 255. Copy or download it again."
            ) from error
        count += 1
        if label is not None:
            labels.append(label)
        if used:
            usage.append(used)
    shape = _shape(num_pixels or 0)
    if not count or not shape or shape[0] * shape[1] < _FEWEST_PIXELS:
        raise TenchError(
            f"{where} contains {count:,} images of {num_pixels or 0:,} pixels. An image must be a square of at "
            f"least {_FEWEST_PIXELS} pixels. Copy or download the file again."
        )
    return _Lines(
        np.frombuffer(pixels, np.uint8).reshape(count, *shape), labels if labels else None, usage, form.column
    )


def _lines(tree: Tree, name: str) -> Iterator[str]:
    """The lines of a file, decompressed. Raises TenchError for a line that is longer than any image's."""
    most = 4 * _MOST_PIXELS + _HEAD_BYTES
    with tree.open(name) as file:
        compressed = form_of(file.read(6))
        file.seek(0)
        if compressed:
            whole = io.BytesIO()
            for piece, _ in decompressed(file, tree.place(name)):
                whole.write(piece)
                tree.limits.require(
                    whole.tell(), tree.limits.member_bytes, tree.place(name), "a compressed table of pixels"
                )
            file = whole
            file.seek(0)
        while line := file.readline(most):
            if len(line) == most:
                raise TenchError(
                    f"{tree.place(name)} has a line of more than {most:,} bytes. It is not a table of pixels."
                )
            yield line.decode("utf-8-sig", "replace").rstrip("\r\n")


def _by_usage(tree: Tree, name: str, lines: _Lines) -> dict[str, _Lines]:
    """The lines of each split."""
    told = splits.splits_of_values("Usage", lines.usage)
    if told is None or len(lines.usage) != len(lines.pixels):
        raise TenchError(
            f"{tree.place(name)}: the column Usage contains {some(sorted(set(lines.usage)))}, which are not all splits."
        )
    of_line = [told[value.strip()] for value in lines.usage]
    found = {}
    for split in splits.SPLITS:
        rows = [row for row, other in enumerate(of_line) if other == split]
        if rows:
            labels = [lines.labels[row] for row in rows] if lines.labels is not None else None
            found[split] = _Lines(lines.pixels[rows], labels, [], lines.column)
    return found


def _classes(labels: Sequence[str]) -> tuple[Classes | None, dict[str, int]]:
    """The classes, sorted by number or by code point, and the index of each label."""
    ids = set(labels)
    if not ids:
        return None, {}
    if all(text.isascii() and text.isdigit() and str(int(text)) == text for text in ids):
        numbers = sorted(map(int, ids))
        if numbers == list(range(len(numbers))):
            return Classes.numbered_to(len(numbers)), {str(number): number for number in numbers}
        ordered = [str(number) for number in numbers]
    else:
        ordered = sorted(ids)
    return Classes.of(ordered), {text: index for index, text in enumerate(ordered)}
