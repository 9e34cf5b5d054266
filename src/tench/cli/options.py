"""The options of a command, read from its dataclass.

A field is an option: its name is the flag, its type the check, and the string below it the help text. The fields of a
nested dataclass (the sections of a recipe) are options of the same command.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import math
import sys
import types
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Literal

from tench.flags import Flag
from tench.plain import union_members
from tench.training.bounds import describe


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option of a command.

    path: the fields that lead to its value. name: "--lr", or "SOURCE" for a positional. kinds: the types a value may
    have, without None. default: dataclasses.MISSING if the option is required. section: the field of the nested
    dataclass it belongs to, "" for the command's own. bounds: the allowed values, in words.
    """

    path: tuple[str, ...]
    name: str
    kinds: tuple[Any, ...]
    default: Any
    text: str
    flag: Flag
    section: str
    bounds: str

    @property
    def field(self) -> str:
        """The name without dashes, as `GROUPS` of a command lists it: "batch-size"."""
        return self.path[-1].strip("_").replace("_", "-") if self.flag.positional else self.name[2:]

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the option."""
        return (self.name, *self.flag.aliases)

    @property
    def is_switch(self) -> bool:
        return self.kinds == (bool,)

    @property
    def negative(self) -> str:
        """The name that turns a switch off; "" if the option is not a switch, or is off by default."""
        return f"--no-{self.name[2:]}" if self.is_switch and (self.section or self.default is True) else ""

    @property
    def summary(self) -> str:
        """The first sentence of the text, without its full stop."""
        return self.text.split(". ")[0].removesuffix(".")

    @property
    def choices(self) -> tuple[str, ...]:
        """The literal values of the option; it may accept other values too."""
        return tuple(
            str(word)
            for kind in self.kinds
            for inner in (kind, *typing.get_args(kind))
            if typing.get_origin(inner) is Literal
            for word in typing.get_args(inner)
        )

    @property
    def metavar(self) -> str:
        """The placeholder for the value in help texts: "N|auto"."""
        if self.is_switch:
            return ""
        if self.flag.repeated:
            return self.flag.metavar or "TEXT"
        return self.flag.metavar or "|".join(dict.fromkeys(map(_metavar, widest(self.kinds))))

    @property
    def num_words(self) -> tuple[int, float]:
        """Minimum and maximum number of words in a value."""
        if self.is_switch:
            return 0, 0
        if self.flag.repeated:
            return 1, 1
        counts = [_num_words(kind) for kind in self.kinds]
        return min(least for least, _ in counts), max(most for _, most in counts)


@functools.cache
def options_of(kind: Any) -> tuple[Option, ...]:
    """The options of a command, in the order of its fields."""
    return tuple(_options(kind, (), ""))


def _options(kind: type, path: tuple[str, ...], section: str) -> Iterator[Option]:
    texts = field_docs(sys.modules[kind.__module__], kind.__name__)
    hints, plain = typing.get_type_hints(kind, include_extras=True), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        annotated = hints[field.name]
        inner, *marks = typing.get_args(annotated) if hasattr(annotated, "__metadata__") else (annotated,)
        here = (*path, field.name)
        if dataclasses.is_dataclass(inner):
            yield from _options(typing.cast(type, inner), here, field.name)
            continue
        flag = next((mark for mark in marks if isinstance(mark, Flag)), Flag())
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        name = flag.metavar if flag.positional else "--" + (flag.name or field.name).replace("_", "-")
        bounds = describe(annotated)
        kinds = tuple(kind for kind in union_members(plain[field.name]) if kind is not types.NoneType)
        yield Option(here, name, kinds, default, texts[field.name], flag, section, bounds)


def widest(kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """The types without int if float is one of them."""
    return tuple(kind for kind in kinds if kind is not int or float not in kinds)


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "|".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if inner[-1] is Ellipsis:
            return f"{_metavar(inner[0])} ..."
        return " ".join(map(_metavar, inner))
    return {int: "N", float: "X"}.get(kind, "TEXT")


def _num_words(kind: Any) -> tuple[int, float]:
    if typing.get_origin(kind) is not tuple:
        return 1, 1
    inner = typing.get_args(kind)
    return (1, math.inf) if inner[-1] is Ellipsis else (len(inner), len(inner))


@functools.cache
def field_docs(module: ModuleType, class_name: str) -> dict[str, str]:
    """The string below each field of a dataclass, on one line; "" if there is none."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    docs = {
        node.target.id: "" for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node, following in itertools.pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docs[node.target.id] = " ".join(str(following.value.value).split())
    return docs
