"""Load recipes: packaged ones by name, others from a YAML file."""

import dataclasses
import itertools
import logging
import re
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from tench.arguments import checked_arguments
from tench.errors import UsageError, nearest
from tench.files import user_path
from tench.plain import PlainError, require_file, shown, typed
from tench.training.recipe import SECTIONS, Recipe, Resolved
from tench.training.recipe_check import validate

PACKAGED = Path(__file__).parent / "recipes"

_log = logging.getLogger("tench")

_MAX_BYTES = 2**20
_MAX_VALUES = 10_000
"""Largest number of values in a recipe file, counting repetition by aliases; a whole recipe has about 90."""

_LIKE = "like"
"""The key that names the packaged recipe that a file is based on."""


def packaged_recipes() -> list[str]:
    """List the names of the recipes that come with tench.

    >>> "cifar-resnet" in tench.list_recipes()
    True
    """
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


@checked_arguments()
def load_recipe(name: str | Path) -> Recipe:
    """Load a recipe.

    name: the name of a packaged recipe, or the path of a YAML file. Values that the file does not set have their
    defaults or, if the file has `like: NAME`, the values of that packaged recipe. Raises UsageError for an unknown
    name, an unknown key, or a value out of range.

    >>> recipe = tench.load_recipe("cifar-resnet")
    >>> recipe.training.epochs, recipe.optimizer.optimizer
    (30, 'sgd')
    """
    path = _find(str(name))
    recipe = from_plain(_values(path), str(path))
    validate(recipe, str(path))
    return recipe


def as_recipe(value: Recipe | str | Path) -> Recipe:
    """A recipe, or the one that `load_recipe` finds by its name or path. Raises UsageError for any other type."""
    if isinstance(value, Recipe):
        return value
    if isinstance(value, str | Path):
        return load_recipe(str(value))
    raise UsageError(
        f"recipe must be a tench.Recipe, the name of a packaged recipe or the path of a YAML file, got {shown(value)}."
    )


def load_resolved(path: Path) -> Resolved:
    """The recipe that a run stores. Raises UsageError as `load_recipe` does, and for a value that is `auto`."""
    stored = load_recipe(str(path))
    if stored.input.exif == "auto":  # begun before recipes had this value, when every training ignored the orientation
        stored = stored.replace(exif="ignore")
    try:
        return Resolved.of(stored, str(path))
    except UsageError as error:
        raise UsageError(
            f"{error} This file stores the values that a run trains with. Restore it, or name a new --run."
        ) from error


def with_sizes_in_proportion(recipe: Recipe, base: Recipe, given: Collection[str]) -> Recipe:
    """A recipe that overrides values of `base`, with other sizes in the same ratio to image_size as in `base`.

    Otherwise `--recipe pytorch-examples --image-size 64` would still resize to 256 in evaluation and use a sixteenth of
    each image. given: values that were set explicitly and are kept. Changes are logged.
    """
    before = {field.name: getattr(base.input, field.name) for field in dataclasses.fields(base.input)}
    after = {**before, "image_size": recipe.input.image_size}
    scaled = _in_proportion(before, after, {"image_size", *given})
    return recipe.replace(**scaled) if scaled else recipe


def _in_proportion(before: Mapping[str, Any], after: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The sizes of an input section that change with its image_size, which was `before` and is `after`."""
    old, new = before.get("image_size"), after.get("image_size")
    if "image_size" not in given or type(old) is not int or type(new) is not int or old == new:
        return {}
    names = [
        "eval_resize",
        "train_size",
        "ramp_from",
        *(["short_side"] if after.get("train_view") == "resize-crop" else []),
    ]
    scaled: dict[str, Any] = {}
    for name in names:
        size = before.get(name)
        if name not in given and type(size) is int:
            scaled[name] = max(1, round(size * new / old))
        elif name not in given and isinstance(size, list | tuple):
            scaled[name] = tuple(max(1, round(side * new / old)) for side in size)
    if scaled:
        changes = (f"{name} {shown(before[name])} becomes {shown(value)}" for name, value in scaled.items())
        _log.info("Note: image_size is %d instead of %d: %s.", new, old, ", ".join(changes))
    return scaled


def checked(recipe: Recipe, where: str = "recipe") -> Recipe:
    """The same recipe, made in Python. Raises UsageError for a value of a wrong type or out of bounds, as in a file."""
    same = from_plain(dataclasses.asdict(recipe), where)
    validate(same, where)
    return same


def recipe_text(name: str) -> str:
    """A packaged recipe as a standalone file: its header, and every value that it or its base sets."""
    path = _find(name)
    header = "".join(
        f"{line}\n" for line in itertools.takewhile(lambda line: line.startswith("#"), _text(path).splitlines())
    )
    return header + yaml.safe_dump(_values(path), sort_keys=False)


def _find(name: str) -> Path:
    path = PACKAGED / f"{name}.yaml"
    if not path.exists():
        path = user_path(name)
    if not path.is_file():
        raise UsageError(
            f"{name}: no such recipe or file.{nearest(name, packaged_recipes())} "
            f"Packaged recipes: {', '.join(packaged_recipes())}."
        )
    return path


def _text(path: Path) -> str:
    require_file(path)
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise UsageError(f"{path} has {size:,} bytes, but a recipe has at most {_MAX_BYTES:,}. Name a recipe file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not YAML: {error}.") from error


class _Loader(yaml.SafeLoader):
    """Reads yes, no, on and off as text, which `_as_written` makes true or false if the field is a boolean.

    YAML 1.1 reads them as booleans, so `compile: off` would be False.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # as in its base class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))

_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}


def _parsed(text: str, where: str) -> Any:
    """The value of a YAML text.

    Raises ValueError or YAMLError if it is not YAML or too large, UsageError for a repeated key.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if _num_values(node, {}) > _MAX_VALUES:
            raise ValueError(f"its aliases (*name) expand to more than {_MAX_VALUES:,} values")
        _refuse_repeated_keys(node, where)
        return None if node is None else loader.construct_document(node)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    finally:
        loader.dispose()


def _refuse_repeated_keys(node: yaml.Node | None, where: str) -> None:
    """Raise UsageError for a key that is repeated in a mapping, at any level; YAML would use the last one."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise UsageError(
                    f"{where}, line {line}: the key {shown(key.value)} is repeated; it is also in line {lines[name]}. "
                    "Remove one of them."
                )
            lines[name] = line
    if isinstance(node, yaml.CollectionNode):
        for part in itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value:
            _refuse_repeated_keys(part, where)


def _num_values(node: yaml.Node | None, known: dict[int, int]) -> int:
    """The number of values below a node, counting repetition by aliases; above the limit if a node contains itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = _MAX_VALUES + 1  # for an alias that leads back here
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_num_values(part, known) for part in parts)
    return known[id(node)]


def _values(path: Path) -> Any:
    """A file's values merged over those of its base recipe, sections and keys in field order."""
    try:
        data = _parsed(_text(path), str(path))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an invalid date or number
        first, *others = str(error)[:500].splitlines()
        raise UsageError(f"{path} is not YAML: {first}", *others) from error
    if data is None:
        return {}
    if not isinstance(data, dict) or _LIKE not in data:
        return data
    base = data.pop(_LIKE)
    if base not in packaged_recipes() or base == path.stem:
        raise UsageError(
            f"{path}: {_LIKE} must name a packaged recipe, got {shown(base)}.{_hint(base, packaged_recipes())} "
            f"Known: {', '.join(packaged_recipes())}."
        )
    from_plain(data, str(path))  # checked here, so that an error names this file
    below = _values(PACKAGED / f"{base}.yaml")
    merged = {name: {**below.get(name, {}), **(data.get(name) or {})} for name in {**below, **data}}
    if "input" in merged:
        merged["input"] |= _in_proportion(below.get("input", {}), merged["input"], (data.get("input") or {}).keys())
    return {
        section.name: {field: merged[section.name][field] for field in _fields(section, merged[section.name])}
        for section in dataclasses.fields(Recipe)
        if section.name in merged
    }


def _fields(section: "dataclasses.Field[Any]", among: Mapping[str, Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(SECTIONS[section.name]) if field.name in among]


def from_plain(data: Any, where: str) -> Recipe:
    """A recipe from a mapping of sections, as YAML returns it. A UsageError about a key names the nearest one."""
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
            raise UsageError(f"{where}: {section} must contain keys and values, got {shown(values)}.")
        for key in values:
            if key not in hints:
                raise UsageError(
                    f"{where}: unknown key {shown(key)} in {section}.{_hint(key, hints)} Known: {', '.join(hints)}."
                )
        try:
            parts[section] = kind(
                **{
                    key: typed(
                        _as_written(value, hints[key]), hints[key], f"{where}: {section}.{key}", written_numbers=True
                    )
                    for key, value in values.items()
                }
            )
        except PlainError as error:
            raise UsageError(f"{error}.") from error
    return Recipe(**parts)


def _as_written(value: Any, hint: Any) -> Any:
    """The value that was meant: true for `yes` if the field is a boolean, "1" for 1 if only the word "1" is allowed."""
    if hint is bool and isinstance(value, str):
        return _BOOLEANS.get(value.lower(), value)
    if typing.get_origin(hint) is Literal and type(value) is int and str(value) in typing.get_args(hint):
        return str(value)
    return value


def _hint(word: object, known: Iterable[str]) -> str:
    return nearest(word[:80] if isinstance(word, str) else shown(word), list(known))
