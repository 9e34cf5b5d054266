"""MXNet's image lists: `id<TAB>label[<TAB>label ...]<TAB>path`, one image per line.

Labels are numbers, written `3.000000` or `3`; the path is relative to a folder that the list does not name. MXNet's own
programs warn and skip a line that they cannot read; here it is an error, because an image would be lost.
Source: read_list in tools/im2rec.py of MXNet 1.9.
"""

import dataclasses
import math
from array import array

import numpy as np
import numpy.typing as npt

from tench.errors import TenchError


@dataclasses.dataclass(frozen=True)
class Lst:
    """The lines of a list, in its order. ids: (N,), 0 or more. labels: one or more per image. paths: as written."""

    ids: npt.NDArray[np.int64]
    labels: list[tuple[float, ...]]
    paths: list[str]

    def __len__(self) -> int:
        return len(self.paths)


def is_lst(head: str) -> bool:
    """Whether a text file with this beginning is such a list; its last line may be truncated and is ignored.

    A path must not be a number: `1<TAB>0.5<TAB>0.7` is a table of numbers.
    """
    lines = head.split("\n")
    lines = [line.strip() for line in lines[: max(1, len(lines) - 1)] if line.strip()]
    return bool(lines) and all(_is_line(line.split("\t")) for line in lines)


def read_lst(text: str, where: str) -> Lst:
    """The images of a list, ignoring empty lines. where: the file's name for errors.

    Raises TenchError with the line's number for a line that is malformed.
    """
    ids, labels, paths = array("q"), list[tuple[float, ...]](), list[str]()
    known: dict[str, tuple[float, ...]] = {}  # a million lines have about a thousand different labels
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        first, _, rest = stripped.partition("\t")
        columns, _, path = rest.rpartition("\t")
        try:
            if columns not in known:
                known[columns] = tuple(_finite(column) for column in columns.split("\t"))
            ids.append(_whole(first))
        except (ValueError, OverflowError):
            shown = stripped if len(stripped) <= 80 else f"{stripped[:77]}..."
            raise TenchError(
                f"{where}, line {number} must be an id (a whole number), one or more labels (numbers) and a path, "
                f"separated by TABs, got {shown!r}. Correct or remove the line."
            ) from None
        labels.append(known[columns])
        paths.append(path.strip())
    return Lst(np.array(ids, np.int64), labels, paths)


def _is_line(fields: list[str]) -> bool:
    try:
        _whole(fields[0])
        labels = [_finite(field) for field in fields[1:-1]]
    except ValueError:
        return False
    try:
        float(fields[-1])
    except ValueError:
        return bool(labels)
    return False


def _whole(field: str) -> int:
    value = int(field)
    if value < 0:
        raise ValueError(field)
    return value


def _finite(field: str) -> float:
    value = float(field)
    if not math.isfinite(value):
        raise ValueError(field)
    return value
