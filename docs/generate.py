"""Generate the pages and tables in docs/ from the code.

These are docs/commands.md, docs/recipes.md and docs/api.md, the options of other programs in docs/coming-from.md and
docs/prepare.md, and the table of published datasets in docs/data.md, which comes from the tests.

Usage: python docs/generate.py [FOLDER]. A test fails if the pages are out of date.
"""

import dataclasses
import inspect
import itertools
import json
import re
import sys
import typing
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from types import FunctionType
from typing import Any

import tench
from tench.cli.commands import COMMANDS, forms
from tench.cli.help import default_text
from tench.cli.options import Option, field_docs, options_of
from tench.cli.other_programs import programs, table
from tench.training import recipe as recipe_module
from tench.training.bounds import describe
from tench.training.recipe import SECTIONS, Recipe
from tench.training.recipe_file import PACKAGED, packaged_recipes

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py: make docs -->\n\n"

BEGIN, END = "<!-- The options of other programs: make docs -->", "<!-- End of the options of other programs -->"


def main(folder: Path) -> None:
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
    (folder / "recipes.md").write_text(recipes_page(), encoding="utf-8")
    (folder / "data.md").write_text(data_page(), encoding="utf-8")
    (folder / "api.md").write_text(api_page(), encoding="utf-8")
    for page in ("coming-from.md", "prepare.md"):
        (folder / page).write_text(with_other_programs(page), encoding="utf-8")


API = {
    "Data": """
        open_source info check download prepare
        Dataset Table Classes SourceOptions PrepareOptions Encoding Prepared Report
        """,
    "Train": """
        fit TrainOptions EpochEnd StopTraining Run load_recipe list_recipes Recipe preview
        """,
    "Your own training loop": """
        loader BatchLoader Batch TorchDataset create_model list_models model_info ModelInfo
        """,
    "Use": """
        evaluate Evaluation ClassResult load Classifier predict Predictions Prediction Guess convert_weights
        weights_info WeightsInfo export Comparison
        """,
    "Errors": """
        TenchError UsageError PassingError StoppedError
        """,
}
"""The public names by task, in reading order."""


def api_page() -> str:
    """The page of every public name: signature, text, examples, and the members of classes."""
    parts = [
        NOTE + "# Python\n",
        "Every name on this page is imported from `tench` and typed. Arguments have the names and defaults of the "
        "command line. The tests run the examples. An error that a user can fix is a "
        "[`TenchError`](#tenchtencherror): its text names the file, what was found and what to do. Messages are logged "
        "to the logger `tench`.\n",
    ]
    for group, names in API.items():
        links = ", ".join(f"[`{name}`](#tench{name.lower()})" for name in names.split())
        parts.append(f"## {group}\n\n{links}\n")
        parts += [_api_entry(name, getattr(tench, name)) for name in names.split()]
    return "\n".join(parts)


def _api_entry(name: str, found: Any) -> str:
    head = f"### tench.{name}\n"
    if not inspect.isclass(found):
        return "\n".join([head, f"```python\n{_signature(name, found)}\n```\n", _text(found)])
    parts = [head, _text(found)]
    if rows := list(_fields(found)):
        parts.append("| field | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    for member, value in _members(found):
        if isinstance(value, property):
            kind = _annotation(value.fget.__annotations__["return"])
            parts.append(f"`{name}.{member}` (`{kind}`): {_one_line(value.__doc__)}\n")
        else:
            parts.append(f"```python\n{_signature(f'{name}.{member}', value)}\n```\n\n{_text(value)}")
    return "\n".join(parts)


_INTERNAL = {
    "Run": "at lock discard begin with_listener log forget_after write_table write_json save_checkpoint "
    "load_checkpoint",
    "Table": "pieces in_file_order check_size changed_since start joined reopened relabelled flagged boxes_digest",
    "PrepareOptions": "check_for link_used style_used",
    "SourceOptions": "check record_keys to_json from_json",
}
"""Methods that only tench itself calls."""


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself, in the order of its code."""
    for name, value in vars(kind).items():
        is_internal = name.startswith("_") or name in _INTERNAL.get(kind.__name__, "").split()
        if not is_internal and isinstance(value, property | FunctionType | classmethod):
            yield name, getattr(kind, name) if isinstance(value, classmethod) else value


def _fields(kind: type) -> Iterator[str]:
    """A table row for each documented attribute of a class."""
    documented = field_docs(sys.modules[kind.__module__], kind.__name__)
    defaults = {field.name: field for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    for name, text in documented.items():
        if name.startswith("_") or not text:  # the docstring of the class explains the others
            continue
        default = ""
        if name in defaults and defaults[name].default is not dataclasses.MISSING:
            default = f"`{_default_text(defaults[name].default)}`"
        shown = _annotation(kind.__annotations__[name]).replace("|", "\\|")
        yield f"| `{name}` | `{shown}` | {default} | {text.replace('|', chr(92) + '|')} |"


def _signature(name: str, function: Any) -> str:
    """A function with its types; if they do not fit on one line, each parameter is on a separate line."""
    signature = inspect.signature(function)
    parts, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        shown = f"{stars}{parameter.name}: {_annotation(parameter.annotation)}"
        parts.append(shown + (f" = {_default_text(parameter.default)}" if parameter.default is not _EMPTY else ""))
    after = f") -> {_annotation(signature.return_annotation)}"
    line = f"{name}({', '.join(parts)}{after}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + after


_EMPTY = inspect.Parameter.empty


def _annotation(kind: Any) -> str:
    """A type as it is usually written, with aliases expanded: `str | Path`, `Literal["hard", "copy"] | None`."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", text).replace("'", '"').strip('"')


def _default_text(value: Any) -> str:
    if dataclasses.is_dataclass(value) and value == type(value)():  # type: ignore[operator, unused-ignore]
        return f"{type(value).__name__}()"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _text(documented: Any) -> str:
    """A docstring as Markdown: its parameters as a list, its examples as blocks."""
    names = set(getattr(documented, "__annotations__", {}))
    parts = []
    for is_example, lines in itertools.groupby(_marked(inspect.getdoc(documented) or ""), key=lambda line: line[0]):
        block = "\n".join(line for _, line in lines).strip("\n")
        if is_example:
            parts.append(f"```pycon\n{re.sub('  # doctest: .*', '', block)}\n```\n")
        elif block:
            parts += [_with_list(paragraph, names) + "\n" for paragraph in block.split("\n\n")]
    return "\n".join(parts)


def _with_list(paragraph: str, names: set[str]) -> str:
    """A paragraph in which each sentence that begins with `name: ` becomes a list item, up to `Raises ...`."""
    marker = re.compile(r"(?:^|(?<=[.)])\s)((?:\w+,\s)*\w+):\s|(?<=\.)\s(?=Raises )")
    parts, start, item = [], 0, ""
    for found in marker.finditer(paragraph):
        words = re.split(r",\s", found[1]) if found[1] else []
        if not set(words) <= names:
            continue
        parts.append(item + paragraph[start : found.start()])
        item = f"- {', '.join(f'`{word}`' for word in words)}: " if words else "\n"
        start = found.end()
    parts.append(item + paragraph[start:])
    is_list = any(part.startswith("- ") for part in parts)
    if not is_list:
        return paragraph
    return "\n".join(" ".join(part.split()) if part.startswith("- ") else part for part in parts if part)


def _marked(text: str) -> Iterator[tuple[bool, str]]:
    """Yield whether a line belongs to an example (from >>> to the next empty line), and the line."""
    inside = False
    for line in text.splitlines():
        inside = line.startswith(">>> ") or (inside and bool(line))
        yield inside, line


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def commands_page() -> str:
    """The page of every command: what it does, an example, its options."""
    parts = [NOTE + "# Commands\n"]
    for command in COMMANDS:
        for name, kind in forms(command).items():
            about = inspect.getdoc(kind) or ""
            text, _, example = about.partition("\n\n    ")
            parts.append(f"## tench {name}\n\n{text.strip()}\n\n```text\n{_dedent(example)}\n```\n")
            options = options_of(kind)
            rows = [
                f"| `{_flags(option)}` | {'required' if option.default is MISSING else default_text(option)} "
                f"| {_cell(option.text)} |"
                for option in options
                if not option.section
            ]
            parts.append("| option | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n")
            if any(option.section == "reading" for option in options):
                parts.append(
                    "Also the options that say how to read the source: `--label`, ... ([list](recipes.md#source)).\n"
                )
            if command == "train":
                parts.append("Also every setting of a recipe: `--epochs`, `--lr`, ... ([list](recipes.md)).\n")
    return "\n".join(parts)


def recipes_page() -> str:
    """The page of every setting of a recipe, and of the packaged recipes."""
    parts = [
        NOTE + "# Recipes\n",
        inspect.cleandoc(recipe_module.__doc__ or "") + "\n",
        "Each setting is an option of `tench train` (`--lr 0.2`), a key in YAML, and a keyword of `Recipe.replace` in "
        "Python. A YAML file contains only the settings that differ from the defaults or, with `like: NAME`, from that "
        "packaged recipe. [Training](training.md) has examples.\n",
    ]
    for section in dataclasses.fields(Recipe):
        kind = SECTIONS[section.name]
        bounds = {field: describe(hint) for field, hint in typing.get_type_hints(kind, include_extras=True).items()}
        rows = [
            f"| `{option.path[-1]}` | {default_text(option)} | {bounds[option.path[-1]]} | {_cell(option.text)} |"
            for option in options_of(kind)
        ]
        head = "| key | default | bounds | meaning |\n|---|---|---|---|\n"
        parts.append(f"## {section.name}\n\n{head}" + "\n".join(rows) + "\n")
    parts.append("# Packaged recipes\n")
    for name in packaged_recipes():
        text = (PACKAGED / f"{name}.yaml").read_text(encoding="utf-8")
        parts.append(f"## {name}\n\n```yaml\n{text}```\n")
    return "\n".join(parts)


def data_page() -> str:
    """The page with its table of published datasets regenerated."""
    sys.path.insert(0, str(DOCS.parent))  # for the tests, which are not installed
    from tests.data.published.page import filled

    return filled((DOCS / "data.md").read_text(encoding="utf-8"))


def with_other_programs(page: str) -> str:
    """The page with its tables of other programs' options regenerated."""
    text = (DOCS / page).read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = []
    for program in programs():
        if program.page == page:
            intro = f"{program.intro}\n\n" if program.intro else ""
            parts.append(f"### {program.heading}\n\n{intro}{table(program)}")
    return before + BEGIN + "\n\n" + "\n".join(parts) + "\n" + END + after


def _flags(option: Option) -> str:
    return option.name if option.flag.positional else ", ".join(option.names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _dedent(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()).strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
