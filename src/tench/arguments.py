"""Check the arguments of a public function against its type hints, before anything is read.

Without it, a wrong type surfaces far inside as an error about something else, or not at all: a string where a list is
expected would be read letter by letter.
"""

import collections.abc
import functools
import inspect
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar

from tench.errors import UsageError, listed
from tench.plain import shown, union_members

P = ParamSpec("P")
R = TypeVar("R")

_SEVERAL = (collections.abc.Sequence, collections.abc.Iterable, tuple)


def checked_arguments(*but: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function raise UsageError for an argument of another type than its hint, and for an empty path.

    but: the parameters that the function checks itself, to say more than their types.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                if name not in but and name in _hints(function):
                    require_type(value, _hints(function)[name], name)
            return function(*args, **kwargs)

        return call

    return decorate


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the named parameters. (The return type may exist for type checkers only.)"""
    parameters = inspect.signature(function).parameters.values()
    hints = {one.name: one.annotation for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD}
    hints = {name: hint for name, hint in hints.items() if hint is not inspect.Parameter.empty}
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=hints), vars(sys.modules[function.__module__]))


def require_type(value: object, kind: Any, name: str) -> None:
    """Raise UsageError if a value is not of the type, or is an empty string instead of a path. name: for messages."""
    kinds = union_members(kind)
    if not any(_fits(value, one) for one in kinds):
        raise UsageError(f"{name} must be {_listed(kinds)}, got {shown(value)}.")
    if value == "" and isinstance(value, str) and any(one is Path or _origin(one) is os.PathLike for one in kinds):
        raise UsageError(f"{name} is an empty string. Pass {_listed(kinds)}.")


def require_fields(options: Any) -> None:
    """Raise UsageError for a field of a dataclass whose value is not of the field's type."""
    for name, kind in typing.get_type_hints(type(options)).items():
        if typing.get_origin(kind) is not ClassVar:
            require_type(getattr(options, name), kind, name)


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _fits(value: object, kind: Any) -> bool:
    """Whether a value has the type, which is not a union; for a list, whether each item does."""
    origin = _origin(kind)
    if kind is Any:
        return True
    if kind is None or kind is types.NoneType:
        return value is None
    if origin is Literal:
        return any(value == word and type(value) is type(word) for word in typing.get_args(kind))
    if origin is collections.abc.Callable:
        return callable(value)
    if kind is int:  # numpy's numbers too
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if origin in _SEVERAL:
        given = list if origin is tuple and isinstance(value, list) else origin
        if isinstance(value, str | bytes | collections.abc.Mapping) or not isinstance(value, given):
            return False
        inner = union_members(typing.get_args(kind)[0])
        return not isinstance(value, list | tuple) or all(any(_fits(one, item) for item in inner) for one in value)
    return isinstance(value, origin)


def _listed(kinds: Sequence[Any]) -> str:
    return listed(list(dict.fromkeys(map(_words, kinds))), "or")


def _words(kind: Any) -> str:
    origin = _origin(kind)
    if origin in _SEVERAL:
        inner = union_members(typing.get_args(kind)[0])
        return "a list" + (" of paths" if Path in inner else " of strings" if str in inner else "")
    if origin is os.PathLike:
        return "a path"
    if origin is Literal:
        return listed([repr(word) for word in typing.get_args(kind)], "or")
    known: dict[Any, str] = {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "a string",
        Path: "a path",
        types.NoneType: "None",
        collections.abc.Callable: "a function",
    }
    name = getattr(origin, "__name__", str(origin))
    return known.get(origin, f"a tench.{name}" if origin.__module__.startswith("tench.") else f"a {name}")
