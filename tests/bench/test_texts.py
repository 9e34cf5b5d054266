import csv
from pathlib import Path

import pytest

from tench.bench.texts import figures, write_csv
from tench.errors import UsageError


@pytest.mark.parametrize(
    ("number", "text"), [(1114.2, "1,110"), (87.25, "87.2"), (0.5129, "0.513"), (999.6, "1,000"), (2, "2.00"), (0, "0")]
)
def test_numbers_have_three_significant_digits(number: float, text: str) -> None:
    assert figures(number) == text


def test_rows_are_read_back_by_the_csv_module(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "rows.csv", [{"arch": "a,b", "rate": 1.5}, {"arch": "c", "rate": None}])
    with (tmp_path / "new" / "rows.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"arch": "a,b", "rate": "1.5"}, {"arch": "c", "rate": ""}]


def test_a_path_that_is_not_writable_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/rows\.csv cannot be written"):
        write_csv(tmp_path / "file" / "rows.csv", [{"a": 1}])
