"""Write docs/commands.md and docs/recipes.md from the code, and from its tests the table of published data sets in
docs/data.md, so that they cannot say something else.

Usage: python docs/generate.py [FOLDER]. A test compares the pages with what this writes.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tench.cli.main import COMMANDS
from tench.data.options import SourceOptions
from tench.training import recipe as recipe_module
from tench.training.bounds import describe
from tench.training.recipe import SECTIONS, Recipe
from tench.training.recipe_file import PACKAGED, packaged_recipes

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py: make docs -->\n\n"


def main(folder: Path) -> None:
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
    (folder / "recipes.md").write_text(recipes_page(), encoding="utf-8")
    (folder / "data.md").write_text(data_page(), encoding="utf-8")


def commands_page() -> str:
    """Every command: what it does, an example, its options."""
    parts = [NOTE + "# Commands\n"]
    for command, module, options in _commands():
        about = inspect.getdoc(options) or ""
        text, _, example = about.partition("\n\n    ")
        parts.append(f"## tench {command}\n\n{text.strip()}\n\n```text\n{_dedent(example)}\n```\n")
        rows = [
            f"| `{_flag(field)}` | {_default(field)} | {documented[field.name]} |"
            for documented in [_field_docs(module, options.__name__)]
            for field in dataclasses.fields(options)
            if field.name in documented
        ]
        parts.append("| option | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n")
        if SourceOptions in typing.get_type_hints(options).values():
            parts.append("And how to read the source: `--label`, `--exclude`, ... ([values](recipes.md#source)).\n")
        if command == "train":
            parts.append("And every value of a recipe: `--epochs`, `--lr`, ... ([recipes](recipes.md)).\n")
    return "\n".join(parts)


def _commands() -> Iterator[tuple[str, ModuleType, type]]:
    """Each command, the module of its options and these; of one with several forms, each form."""
    for command in COMMANDS:
        module = importlib.import_module(f"tench.cli.{command}")
        forms = getattr(module, "FORMS", None)
        if forms is None:
            yield command, module, getattr(module, command.capitalize())
        else:
            yield from ((f"{command} {form}", sys.modules[kind.__module__], kind) for form, kind in forms.items())


def recipes_page() -> str:
    """Every value of a recipe, and the packaged ones in full."""
    parts = [
        NOTE + "# Recipes\n",
        inspect.cleandoc(recipe_module.__doc__ or "") + "\n",
        "Each value is a flag of `tench train` (`--lr 0.2`), a key in YAML, and a word of `Recipe.replace` in Python. "
        "A YAML file needs only what differs from the defaults, or, with `like: NAME` in it, from that packaged "
        "recipe. [Training](training.md) shows them at work.\n",
    ]
    for section in dataclasses.fields(Recipe):
        kind = SECTIONS[section.name]
        documented = _field_docs(sys.modules[kind.__module__], kind.__name__)
        hints = typing.get_type_hints(kind, include_extras=True)
        rows = [
            f"| `{field.name}` | {_default(field)} | {describe(hints[field.name])} | {documented[field.name]} |"
            for field in dataclasses.fields(kind)
        ]
        head = "| key | default | bounds | meaning |\n|---|---|---|---|\n"
        parts.append(f"## {section.name}\n\n{head}" + "\n".join(rows) + "\n")
    parts.append("# Packaged recipes\n")
    for name in packaged_recipes():
        text = (PACKAGED / f"{name}.yaml").read_text(encoding="utf-8")
        parts.append(f"## {name}\n\n```yaml\n{text}```\n")
    return "\n".join(parts)


def data_page() -> str:
    """The page as it is, with a new table of published data sets."""
    sys.path.insert(0, str(DOCS.parent))  # for the tests, which are not installed
    from tests.data.published.page import filled

    return filled((DOCS / "data.md").read_text(encoding="utf-8"))


def _field_docs(module: ModuleType, class_name: str) -> dict[str, str]:
    """The string below each field of a dataclass."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    return {
        node.target.id: " ".join(str(following.value.value).split()).replace("|", "\\|")
        for node, following in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    }


def _flag(field: "dataclasses.Field[Any]") -> str:
    marks = getattr(field.type, "__metadata__", ())
    settings = [mark for mark in marks if hasattr(mark, "aliases")]
    if len(marks) > len(settings) and any("Positional" in str(mark) for mark in marks):
        return str(next(mark.metavar for mark in settings)).strip("[]")
    aliases = [alias for mark in settings for alias in mark.aliases or ()]
    name = next((mark.name for mark in settings if mark.name), field.name)
    return ", ".join([f"--{name.replace('_', '-')}", *aliases])


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default is False:
        return "" if field.default is None else "off"
    value = field.default
    return " ".join(f"{part:.4g}" for part in value) if isinstance(value, tuple) else str(value)


def _dedent(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()).strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
