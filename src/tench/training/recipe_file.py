"""Recipes by the name of a packaged one, or from a YAML file."""

import dataclasses
import itertools
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tench.errors import UsageError, nearest
from tench.plain import PlainError, require_file, shown, typed
from tench.training.recipe import SECTIONS, Recipe, Resolved
from tench.training.recipe_check import validate

PACKAGED = Path(__file__).parent / "recipes"

_MAX_BYTES = 2**20
_MAX_VALUES = 10_000
"""The most values in a recipe file, repetitions by aliases included; a whole recipe has about 90."""

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


def load_resolved(path: Path) -> Resolved:
    """The recipe that a run stores. Raises UsageError as `load_recipe` does, and for a value that is `auto`."""
    stored = load_recipe(str(path))
    try:
        return Resolved.of(stored, str(path))
    except UsageError as error:
        raise UsageError(
            f"{error} It belongs to a run and holds the values the run trains with: restore them, or name a new --run."
        ) from error


def checked(recipe: Recipe, where: str = "recipe") -> Recipe:
    """The same recipe, made in Python. Raises UsageError as for a file: a value has another type, or cannot be."""
    same = from_plain(dataclasses.asdict(recipe), where)
    validate(same, where)
    return same


def recipe_text(name: str) -> str:
    """A packaged recipe as a standalone file: its header, and every value that it or its base states."""
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
            f"{name}: no such recipe or file.{nearest(name, packaged_recipes())} "
            f"Packaged recipes: {', '.join(packaged_recipes())}."
        )
    return path


def _text(path: Path) -> str:
    require_file(path)
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise UsageError(f"{path}: has {size:,} bytes, but a recipe has at most {_MAX_BYTES:,}. Name a recipe.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not YAML: {error}") from error


def _parsed(text: str) -> Any:
    """The value of a YAML text. Raises ValueError or YAMLError if it is not YAML or too large."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if _num_values(node, {}) > _MAX_VALUES:
            raise ValueError(f"its aliases (*name) stand for more than {_MAX_VALUES:,} values")
        return None if node is None else loader.construct_document(node)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    finally:
        loader.dispose()


def _num_values(node: yaml.Node | None, known: dict[int, int]) -> int:
    """The values below a node, each counted as often as an alias repeats it; more than allowed if it holds itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = _MAX_VALUES + 1  # for aliases that lead back here
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_num_values(part, known) for part in parts)
    return known[id(node)]


def _values(path: Path) -> Any:
    """A file's values over those of its base recipe; sections and keys in field order."""
    try:
        data = _parsed(_text(path))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an invalid date or number
        raise UsageError(f"{path}: is not YAML: {str(error)[:500]}") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or _LIKE not in data:
        return data
    base = data.pop(_LIKE)
    if base not in packaged_recipes() or base == path.stem:
        raise UsageError(
            f"{path}: {_LIKE} is {shown(base)}, but should name a packaged recipe.{_hint(base, packaged_recipes())} "
            f"Known: {', '.join(packaged_recipes())}."
        )
    from_plain(data, str(path))  # checked here so that an error names this file
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
        raise UsageError(f"{where}: expected the sections {', '.join(sections)}, found {shown(data)}.")
    parts = {}
    for section, values in data.items():
        if section not in sections:
            raise UsageError(
                f"{where}: unknown section {shown(section)}.{_hint(section, sections)} Known: {', '.join(sections)}."
            )
        kind = SECTIONS[section]
        hints = typing.get_type_hints(kind)
        if not isinstance(values, Mapping):
            raise UsageError(f"{where}: {section} should hold keys and values, found {shown(values)}.")
        for key in values:
            if key not in hints:
                raise UsageError(
                    f"{where}: unknown key {shown(key)} in {section}.{_hint(key, hints)} Known: {', '.join(hints)}."
                )
        try:
            parts[section] = kind(
                **{
                    key: typed(value, hints[key], f"{where}: {section}.{key}", written_numbers=True)
                    for key, value in values.items()
                }
            )
        except PlainError as error:
            raise UsageError(f"{error}.") from error
    return Recipe(**parts)


def _hint(word: object, known: Iterable[str]) -> str:
    return nearest(word[:80] if isinstance(word, str) else shown(word), list(known))
