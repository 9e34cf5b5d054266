"""Write the pages and tables of docs/ that follow from the code.

These are docs/commands.md and docs/recipes.md, the options of other programs in docs/training.md and docs/prepare.md,
and from the tests the table of published datasets in docs/data.md.

Usage: python docs/generate.py [FOLDER]. A test compares the pages with what this writes.
"""

import dataclasses
import inspect
import sys
import typing
from dataclasses import MISSING
from pathlib import Path

from tench.cli.commands import COMMANDS, forms
from tench.cli.help import default_text
from tench.cli.options import Option, options_of
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
    for page in ("training.md", "prepare.md"):
        (folder / page).write_text(with_other_programs(page), encoding="utf-8")


def commands_page() -> str:
    """Every command: what it does, an example, its options."""
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
                parts.append("And how to read the source: `--label`, `--exclude`, ... ([values](recipes.md#source)).\n")
            if command == "train":
                parts.append("And every value of a recipe: `--epochs`, `--lr`, ... ([recipes](recipes.md)).\n")
    return "\n".join(parts)


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
    """The page as it is, with a new table of published data sets."""
    sys.path.insert(0, str(DOCS.parent))  # for the tests, which are not installed
    from tests.data.published.page import filled

    return filled((DOCS / "data.md").read_text(encoding="utf-8"))


def with_other_programs(page: str) -> str:
    """The page with new tables of the options of other programs, below the headings of those programs."""
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
