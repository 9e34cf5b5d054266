"""Bounds of fields: one description is used for the check, its message, the help and the reference page."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from tench.cli.main import main
from tench.training.bounds import Bounds, Length, Positive, Rising, broken, describe

Half = Annotated[float, Bounds(at_least=0, below=0.5)]
CASES: list[tuple[Any, str, list[Any], list[Any]]] = [
    (Half, "at least 0 and below 0.5", [0, 0.0, 0.49], [-0.1, 0.5, 7]),
    (Annotated[int, Bounds(above=0, at_most=2000)], "above 0 and at most 2,000", [1, 2000], [0, 2001]),
    (Half | Literal["auto"], "at least 0 and below 0.5, or auto", [0.1, "auto"], [0.5]),
    (Annotated[Half, "another mark"], "at least 0 and below 0.5", [0.1], [0.5]),
    (tuple[Half, Half], "2 numbers, each at least 0 and below 0.5", [(0, 0.1)], [(0, 0.5), (0.5, 0)]),
    (tuple[Half, ...], "numbers, each at least 0 and below 0.5", [(), (0.1,)], [(0.1, 0.1, 1)]),
    (tuple[Positive, Half], "2 numbers, above 0, the last at least 0 and below 0.5", [(9, 0.1)], [(0, 0.1), (9, 9)]),
    (Annotated[tuple[float, ...], Rising()], "in ascending order", [(), (1, 1, 2)], [(2, 1)]),
    (Annotated[tuple[float, ...], Rising(strictly=True)], "in strictly ascending order", [(1, 2)], [(1, 1)]),
    (
        Annotated[tuple[Positive, ...], Length((1, 3))] | Literal["auto"],
        "1 or 3 numbers, each above 0, or auto",
        [(1,), (1, 1, 1), "auto"],
        [(), (1, 1), (1, 1, 0)],
    ),
    (float | Literal["auto"], "", [-1.0, "auto"], []),
    (tuple[str, ...], "", [("a",)], []),
    (Literal["a", "b"], "", ["a"], []),
]


@pytest.mark.parametrize(("hint", "text", "valid", "invalid"), CASES)
def test_a_type_describes_its_bounds_and_finds_the_values_outside_them(
    hint: Any, text: str, valid: list[Any], invalid: list[Any]
) -> None:
    assert describe(hint) == text
    assert [broken(value, hint) for value in valid] == [False] * len(valid)
    assert [broken(value, hint) for value in invalid] == [True] * len(invalid)


def test_the_help_and_the_reference_page_print_the_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/recipes.md").read_text(encoding="utf-8")
    assert "| `label_smoothing` | 0 | at least 0 and below 1 |" in page
    assert main(["train", "--help-all"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Share of the target that is spread equally over all classes. (at least 0 and below 1; default 0)" in printed
