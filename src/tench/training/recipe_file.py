"""Recipes by the name of a packaged one, or from a YAML file."""

import contextlib
import dataclasses
import itertools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from tench.errors import UsageError, nearest
from tench.training.recipe import SECTIONS, Recipe
from tench.training.recipe_check import validate

PACKAGED = Path(__file__).parent / "recipes"


_LIKE = "like"
"""The key of a file that names the packaged recipe which it differs from."""


def packaged_recipes() -> list[str]:
    """The names of the recipes that come with tench."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """A recipe by the name of a packaged one or the path of a YAML file; values not in it are the defaults.

    A file that says `like: NAME` holds what differs from that packaged recipe. Raises UsageError on an unknown name, an
    unknown key or a value that cannot be.
    """
    path = _find(name)
    recipe = from_plain(_values(path), str(path))
    validate(recipe, str(path))
    return recipe


def checked(recipe: Recipe, where: str = "recipe") -> Recipe:
    """The same recipe, made in Python. Raises UsageError as for a file: a value has another type, or cannot be."""
    same = from_plain(dataclasses.asdict(recipe), where)
    validate(same, where)
    return same


def recipe_text(name: str) -> str:
    """A packaged recipe as a file that stands alone: its header, and every value that it or one it is like states."""
    path = _find(name)
    header = "".join(
        f"{line}\n" for line in itertools.takewhile(lambda line: line.startswith("#"), _text(path).splitlines())
    )
    return header + yaml.safe_dump(_values(path), sort_keys=False)


def _find(name: str) -> Path:
    path = PACKAGED / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"{name}: no recipe of that name and no such file.{nearest(name, packaged_recipes())} "
            f"Packaged recipes: {', '.join(packaged_recipes())}."
        )
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not YAML: {error}") from error


def _values(path: Path) -> Any:
    """What a file states, over what the recipe states that it is like; sections and keys in the order of the fields."""
    try:
        data = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is not YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or _LIKE not in data:
        return data
    base = data.pop(_LIKE)
    if base not in packaged_recipes() or base == path.stem:
        raise UsageError(
            f"{path}: {_LIKE} is {base!r}, but should name a packaged recipe.{nearest(str(base), packaged_recipes())} "
            f"Known: {', '.join(packaged_recipes())}."
        )
    from_plain(data, str(path))  # so that an error names this file
    below = _values(PACKAGED / f"{base}.yaml")
    merged = {name: {**below.get(name, {}), **(data.get(name) or {})} for name in {**below, **data}}
    return {
        section.name: {field: merged[section.name][field] for field in _fields(section, merged[section.name])}
        for section in dataclasses.fields(Recipe)
        if section.name in merged
    }


def _fields(section: "dataclasses.Field[Any]", among: Mapping[str, Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(SECTIONS[section.name]) if field.name in among]


def from_plain(data: Any, where: str) -> Recipe:
    """A recipe from a mapping of sections, as YAML gives it. Raises UsageError naming the key and the nearest known."""
    sections = {field.name: field for field in dataclasses.fields(Recipe)}
    if not isinstance(data, Mapping):
        raise UsageError(f"{where}: expected the sections {', '.join(sections)}, found {data!r}.")
    parts = {}
    for section, values in data.items():
        if section not in sections:
            raise UsageError(
                f"{where}: unknown section {section!r}.{nearest(str(section), list(sections))} "
                f"Known: {', '.join(sections)}."
            )
        kind = SECTIONS[section]
        hints = typing.get_type_hints(kind)
        if not isinstance(values, Mapping):
            raise UsageError(f"{where}: {section} should hold keys and values, found {values!r}.")
        for key in values:
            if key not in hints:
                raise UsageError(
                    f"{where}: unknown key {key!r} in {section}.{nearest(str(key), list(hints))} "
                    f"Known: {', '.join(hints)}."
                )
        parts[section] = kind(
            **{key: _convert(value, hints[key], f"{where}: {section}.{key}") for key, value in values.items()}
        )
    return Recipe(**parts)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """The value as its field's type has it, or UsageError."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is Literal:
            if value in arguments and type(value) in {type(known) for known in arguments}:
                return value
        elif origin is tuple:
            length = None if arguments[-1] is Ellipsis else len(arguments)
            if isinstance(value, list | tuple) and length in (None, len(value)):
                with contextlib.suppress(UsageError):
                    return tuple(_convert(number, arguments[0], where) for number in value)
        elif option is float:
            if _is_number(value):
                return float(value)
            if isinstance(value, str) and _is_written_float(value):  # YAML 1.1 takes 1e-4 for text
                return float(value)
        elif option is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif isinstance(value, option):
            return value
    raise UsageError(f"{where} is {value!r}, but should be {_expected(options)}.")


def _expected(options: tuple[Any, ...]) -> str:
    words = []
    for option in options:
        if typing.get_origin(option) is Literal:
            words += [str(known) for known in typing.get_args(option)]
        elif typing.get_origin(option) is tuple:
            arguments = typing.get_args(option)
            kind = {int: "whole numbers", float: "numbers", str: "text"}[arguments[0]]
            words.append(f"a list of {kind}" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} {kind}")
        else:
            words.append(_WORDS[option])
    return " or ".join(words)


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_written_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
