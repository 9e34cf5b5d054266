"""Bounds of a field, written with its type: `lr: Annotated[float, Bounds(above=0)]`.

One walk over the type serves the check, its message, `--help` and the reference page. A rule says whether a value
satisfies it (`holds`) and describes itself (`str`) so that it reads well after "must be".
"""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Protocol

from tench.own_code import names_code
from tench.plain import union_members


class Rule(Protocol):
    """What a value of a field must satisfy in addition to its type."""

    def holds(self, value: Any) -> bool: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The range of a number: at_least and at_most include the limit, above and below exclude it."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: Any) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        limits = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return " and ".join(f"{name.replace('_', ' ')} {limit:,}" for name, limit in limits if limit is not None)


@dataclasses.dataclass(frozen=True, slots=True)
class Rising:
    """Numbers in ascending order. strictly: no two are equal."""

    strictly: bool = False

    def holds(self, value: Any) -> bool:
        return list(value) == sorted(set(value) if self.strictly else value)

    def __str__(self) -> str:
        return f"in {'strictly ' if self.strictly else ''}ascending order"


@dataclasses.dataclass(frozen=True, slots=True)
class Length:
    """The number of values in a tuple must be one of those allowed."""

    allowed: tuple[int, ...]

    def holds(self, value: Any) -> bool:
        return len(value) in self.allowed

    def __str__(self) -> str:
        return f"{' or '.join(map(str, self.allowed))} numbers"


@dataclasses.dataclass(frozen=True, slots=True)
class WordOrCode:
    """One of the given words, or the name of the user's code."""

    words: tuple[str, ...]

    def holds(self, value: str) -> bool:
        return value in self.words or names_code(value)

    def __str__(self) -> str:
        return f"{', '.join(self.words)} or package.module:function"


Positive = Annotated[float, Bounds(above=0)]
NotNegative = Annotated[float, Bounds(at_least=0)]
Share = Annotated[float, Bounds(at_least=0, at_most=1)]
ShareBelow1 = Annotated[float, Bounds(at_least=0, below=1)]
Count = Annotated[int, Bounds(at_least=1, at_most=1_000_000)]
Pixels = Annotated[int, Bounds(at_least=1, at_most=16_384)]  # the largest side in a model.json


def broken(value: Any, hint: Any) -> bool:
    """Whether a value breaks a rule of its type. A word, such as auto, breaks none."""
    return any(not rule.holds(part) for part, rule in _applied(value, hint))


def describe(hint: Any) -> str:
    """The rules of a type in words: "at least 0 and below 1, or auto"; empty if it has none."""
    if _is_annotated(hint):
        kind, rules = _parts(hint)
        lengths = [str(rule) for rule in rules if isinstance(rule, Length)]
        others = [str(rule) for rule in rules if not isinstance(rule, Length)]
        inner = describe(kind).removeprefix("numbers, ") if lengths else describe(kind)
        return ", ".join(text for text in (*lengths, inner, *others) if text)
    if len(members := union_members(hint)) > 1:
        texts = [text for text in map(describe, members) if text]
        words = [str(word) for kind in members if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
        return ", or ".join(texts + words) if texts else ""
    if typing.get_origin(hint) is tuple:
        arguments = typing.get_args(hint)
        kinds = list(dict.fromkeys(describe(kind) for kind in arguments if kind is not Ellipsis))
        if kinds == [""]:
            return ""
        each = f"each {kinds[0]}" if len(kinds) == 1 else f"{kinds[0]}, the last {kinds[-1]}"
        return f"numbers, {each}" if arguments[-1] is Ellipsis else f"{len(arguments)} numbers, {each}"
    return ""


def _applied(value: Any, hint: Any) -> Iterator[tuple[Any, Rule]]:
    """The parts of a value that have rules, each with a rule."""
    if _is_annotated(hint):
        kind, rules = _parts(hint)
        yield from _applied(value, kind)
        yield from ((value, rule) for rule in rules)
    elif len(members := union_members(hint)) > 1:
        for kind in members if not isinstance(value, str) else ():
            if typing.get_origin(kind) is not Literal:
                yield from _applied(value, kind)
    elif typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        for number, part in enumerate(value):
            yield from _applied(part, kinds[0] if kinds[-1] is Ellipsis else kinds[number])


def _parts(hint: Any) -> tuple[Any, list[Rule]]:
    """(the type itself, its rules)"""
    kind, *marks = typing.get_args(hint)
    return kind, [mark for mark in marks if hasattr(mark, "holds")]


def _is_annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is Annotated
