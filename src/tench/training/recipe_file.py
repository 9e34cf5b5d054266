"""Recipes by the name of a packaged one, or from a YAML file."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from tench.errors import UsageError, nearest
from tench.training.recipe import Recipe
from tench.training.recipe_check import validate

PACKAGED = Path(__file__).parent / "recipes"


def packaged_recipes() -> list[str]:
    """The names of the recipes that come with tench."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """A recipe by the name of a packaged one or the path of a YAML file; values not in it are the defaults.

    Raises UsageError on an unknown name, an unknown key or a value that cannot be.
    """
    path = PACKAGED / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"{name}: no recipe of that name and no such file.{nearest(name, packaged_recipes())} "
            f"Packaged recipes: {', '.join(packaged_recipes())}."
        )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not YAML: {error}") from error
    recipe = from_plain({} if data is None else data, str(path))
    validate(recipe, str(path))
    return recipe


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
        kind = typing.cast(Any, sections[section].type)
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
            numbers = value if isinstance(value, list | tuple) else ()
            if numbers and length in (None, len(numbers)) and all(_is_number(number) for number in numbers):
                return tuple(float(number) for number in numbers)
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
            words.append("a list of numbers" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} numbers")
        else:
            words.append({int: "a whole number", float: "a number", bool: "true or false", str: "text"}[option])
    return " or ".join(words)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_written_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
