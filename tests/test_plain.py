"""Values from files are checked against types once, and errors are short whatever the file contains."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

import pytest

from tench.errors import TenchError
from tench.plain import PlainError, parse_json, read_json, shown, typed


@dataclasses.dataclass(frozen=True)
class Box:
    side: int
    colour: Literal["red", "blue"] = "red"
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.side < 0:
            raise ValueError("side is less than 0")


class Card(TypedDict, total=False):
    box: Required[Box]
    rate: float | None
    pair: tuple[int, str]
    by_name: dict[str, float]


def test_values_are_converted_to_their_types() -> None:
    card = typed({"box": {"side": 3, "names": ["a"]}, "rate": 2, "pair": [1, "x"], "more": [1]}, Card, "")
    assert card == {"box": Box(3, names=("a",)), "rate": 2.0, "pair": (1, "x"), "more": [1]}
    assert typed(None, float | None, "x") is None
    assert typed("1e-4", float, "x", written_numbers=True) == 1e-4


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "it is 5, but should be keys and values"),
        (None, "it is None, but should be keys and values"),
        ({}, "box is missing"),
        ({"box": []}, "box is [], but should be keys and values"),
        ({"box": {"side": "3"}}, "box.side is '3', but should be a whole number"),
        ({"box": {"side": True}}, "box.side is True, but should be a whole number"),
        ({"box": {"side": 1.5}}, "box.side is 1.5, but should be a whole number"),
        ({"box": {"side": -1}}, "box is not valid: side is less than 0"),
        ({"box": {"side": 1, "colour": "green"}}, "box.colour is 'green', but should be red or blue"),
        ({"box": {"side": 1, "colour": [1]}}, "box.colour is [1], but should be red or blue"),
        ({"box": {"side": 1, "colours": 1}}, "box.'colours' is not known. Did you mean 'colour'? Known: side, "),
        ({"box": {"side": 1, "names": ["a", 5]}}, "box.names is ['a', 5], but should be a list of texts"),
        ({"box": {"side": 1}, "rate": float("nan")}, "rate is nan, but should be a number or null"),
        ({"box": {"side": 1}, "rate": 10**400}, "rate is 1000000"),
        ({"box": {"side": 1}, "pair": [1]}, "pair is [1], but should be a list of 2 "),
        ({"box": {"side": 1}, "by_name": {"a": "b"}}, "by_name is {'a': 'b'}, but should be keys and values"),
        ({"box": {"side": 1}, "by_name": {5: 1.0}}, "by_name is {5: 1.0}, but should be keys and values"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key_and_the_expected_type(value: Any, message: str) -> None:
    with pytest.raises(PlainError) as refused:
        typed(value, Card, "")
    assert str(refused.value).startswith(message)
    assert len(str(refused.value)) < 400


def test_a_value_is_shown_in_a_few_words_however_large_it_is() -> None:
    bomb: list[Any] = ["x"] * 9
    for _ in range(40):
        bomb = [bomb] * 9
    circle: list[Any] = []
    circle.append(circle)
    for value in (bomb, circle, "a" * 10**6, {str(number): bomb for number in range(1000)}, 10**4000, b"\0" * 10**6):
        assert len(shown(value)) <= 200


@pytest.mark.parametrize("text", ["[" * 20_000, '{"a":' * 20_000, "", "{", b"\xff\xfe", "1" * 5000, "nul"])
def test_invalid_or_very_deeply_nested_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_json(text)


def test_a_repeated_key_in_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="the key 'a' is repeated"):
        parse_json('[{"b": {"a": 1, "c": 2, "a": 1}}]')


def test_a_pipe_and_a_folder_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(TenchError) as refused:
            read_json(path, dict[str, Any])
        assert str(refused.value) == f"{path}: not a regular file. Name a file."
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(20 * 10**9)
    with pytest.raises(ValueError, match="has 20,000,000,000 bytes, more than"):
        read_json(tmp_path / "huge.json", dict[str, Any])
