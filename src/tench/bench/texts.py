"""Format numbers with three significant figures, and write rows as CSV."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tench.errors import UsageError
from tench.files import spreadsheet_cell, user_path, write_text


def figures(number: float) -> str:
    """A number with three significant figures: 1,110, 87.2, 0.513."""
    digits = max(0, 2 - math.floor(math.log10(number))) if 0 < number < 100 else 0
    rounded = round(number, 2 - math.floor(math.log10(number))) if number >= 1000 else number
    return f"{rounded:,.{digits}f}"


class _Row(Protocol):
    def to_json(self) -> dict[str, Any]: ...


Measured = TypeVar("Measured", bound=_Row)


def kept(
    rows: list[Measured], csv_file: str | None, show: Callable[[Measured, bool], None] | None
) -> Callable[[Measured], None]:
    """A function to call with each measured row: it shows the row, adds it to `rows`, and writes all rows as CSV.

    show: called with a row and whether it is the first.
    """

    def found(row: Measured) -> None:
        if show is not None:
            show(row, not rows)
        rows.append(row)
        if csv_file:
            write_csv(csv_file, [one.to_json() for one in rows])

    return found


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV, completely or not at all; None becomes an empty cell.

    Raises UsageError if the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: spreadsheet_cell(value) for name, value in row.items()} for row in rows)
    try:
        write_text(user_path(path), text.getvalue())
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror or error}). Name another file.") from error
