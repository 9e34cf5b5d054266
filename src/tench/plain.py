"""Convert plain values from files (JSON, YAML, a checkpoint) to typed ones.

A run directory or a recipe may come from anyone, so a file's values are checked once, on loading, against the type that
the code uses: a dataclass, a TypedDict, or a built-in type. An error names the key, the value found and what was
expected, and stays short even if the value is long.
"""

import dataclasses
import json
import math
import os
import reprlib
import stat
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from tench.errors import TenchError, nearest

T = TypeVar("T")

_MAX_JSON_BYTES = 256 * 2**20

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 2, 80, 80, 40
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = _short.maxdeque = 8


class PlainError(ValueError):
    """A value has the wrong type. The text names the key, the value found and what was expected."""


def shown(value: object) -> str:
    """A value for a message, in a few words; a list or mapping is truncated."""
    text = _short.repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


def typed(value: Any, kind: Any, where: str, *, written_numbers: bool = False) -> Any:
    """The value as the type `kind`; raises PlainError.

    kind: a dataclass, a TypedDict, Literal, a union, tuple, list, dict, int, float, str, bool, None, Any or another
    class. Lists become tuples if `kind` is a tuple. Numbers must be finite, and true is not a number. where: the key,
    for messages. written_numbers: accept "1e-4" as a number, which YAML 1.1 reads as text.
    """
    options = union_members(kind)
    inside: PlainError | None = None
    for option in options:
        try:
            found = _as_one(value, option, where, written_numbers)
        except PlainError as error:
            inside = error
            continue
        if found is not _NOT:
            return found
    if inside is not None and any(map(_is_record, options)):
        raise inside  # it names the key inside the record
    raise PlainError(f"{where or 'it'} is {shown(value)}, but should be {_expected(options)}")


def union_members(kind: Any) -> tuple[Any, ...]:
    """The types that a union names, also inside unions; any other type alone."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(member for part in typing.get_args(kind) for member in union_members(part))
    return (kind,)


def _is_record(kind: Any) -> bool:
    holds_records = any(_is_record(argument) for argument in typing.get_args(kind))
    return bool(typing.is_typeddict(kind) or dataclasses.is_dataclass(kind) or holds_records)


_NOT = object()
"""Marks a value of the wrong type."""


def _as_one(value: Any, kind: Any, where: str, written_numbers: bool) -> Any:
    """The value as a non-union type; _NOT if it has another type. Nested values may raise PlainError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)

    def inside(one: Any, kind: Any, key: object) -> Any:
        return typed(one, kind, f"{where}[{shown(key)}]", written_numbers=written_numbers)

    if kind is Any:
        return value
    if origin is Literal:
        fits = isinstance(value, str | int) and value in arguments and type(value) in {type(one) for one in arguments}
        return value if fits else _NOT
    if origin in (tuple, list):
        length = None if origin is list or arguments[-1] is Ellipsis else len(arguments)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            return _NOT
        kinds = arguments if length is not None else arguments[:1] * len(value)
        return origin(inside(one, kinds[number], number) for number, one in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            return _NOT
        return {key: inside(one, arguments[1], key) for key, one in value.items()}
    if typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return _record(value, kind, where, written_numbers) if isinstance(value, Mapping) else _NOT
    if kind is float:
        return _number(value, written_numbers)
    if kind is int:
        return value if isinstance(value, int) and not isinstance(value, bool) else _NOT
    if kind is None or kind is types.NoneType:
        return None if value is None else _NOT
    return value if isinstance(value, kind) else _NOT


def _number(value: Any, written_numbers: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _NOT
    if isinstance(value, str) and not written_numbers:
        return _NOT
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return _NOT
    return number if math.isfinite(number) or written_numbers else _NOT


def _record(value: Mapping[Any, Any], kind: Any, where: str, written_numbers: bool) -> Any:
    """A dataclass, which rejects unknown keys, or a TypedDict, which keeps them."""
    hints = typing.get_type_hints(kind)
    before = f"{where}." if where else ""
    if typing.is_typeddict(kind):
        required = kind.__required_keys__
    else:
        required = {
            field.name
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        for key in value:
            if key not in hints:
                raise PlainError(
                    f"{before}{shown(key)} is not known.{nearest(str(key)[:80], list(hints))} Known: {', '.join(hints)}"
                )
    for key in hints:
        if key not in value and key in required:
            raise PlainError(f"{before}{key} is missing")
    known = {
        key: typed(one, hints[key], f"{before}{key}", written_numbers=written_numbers)
        for key, one in value.items()
        if key in hints
    }
    if typing.is_typeddict(kind):
        return {**value, **known}
    try:
        return kind(**known)
    except PlainError:
        raise
    except ValueError as error:  # from the class's own checks
        raise PlainError(f"{where or 'it'} is not valid: {error}") from error


def _expected(options: tuple[Any, ...]) -> str:
    return " or ".join(word for option in options for word in _words(option))


def _words(kind: Any) -> list[str]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return [str(known) for known in arguments]
    if origin in (tuple, list):
        inner = {int: "whole numbers", float: "numbers", str: "texts"}.get(arguments[0], "values")
        is_any = origin is list or arguments[-1] is Ellipsis
        return [f"a list of {inner}" if is_any else f"a list of {len(arguments)} {inner}"]
    if origin in (dict, Mapping) or typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return ["keys and values"]
    names: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return [names.get(kind, "null" if kind in (None, types.NoneType) else getattr(kind, "__name__", str(kind)))]


def require_file(path: Path) -> None:
    """Raise TenchError unless the path is a regular file: reading a pipe or device may never end. May raise OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise TenchError(f"{path}: not a regular file. Name a file.")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is not JSON, nests too deeply or repeats a key of an object."""
    try:
        return json.loads(text, object_pairs_hook=distinct)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text, for json.loads(object_pairs_hook=distinct). Raises ValueError for a repeated key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in found if keys.count(key) > 1))} is repeated")
    return found


def read_json(path: Path, kind: Any) -> Any:
    """The value of a JSON file as the type `kind`. Raises ValueError with the reason, or OSError."""
    require_file(path)
    if (size := path.stat().st_size) > _MAX_JSON_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than {_MAX_JSON_BYTES:,}")
    return typed(parse_json(path.read_bytes()), kind, "")
