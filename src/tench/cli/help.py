"""Help texts: `--help` shows the options people use first, one line each; `--help-all` shows all options in full.

Each command's dataclass declares its groups: `GROUPS = {"Data": "source val | with"}`. `--help` shows the options
before the bar. A name may also be that of a recipe setting.
"""

import dataclasses
import importlib
import inspect
import textwrap
from collections.abc import Iterator

from tench.cli.commands import GROUPS, forms
from tench.cli.options import Option, options_of
from tench.cli.parse import usage
from tench.printable import terminal_width

_MAX_WIDTH = 120
_MAX_LEFT = 30
"""Columns for the option's name and value; a longer one gets its own line."""

SECTIONS = {
    "": "Other options",
    "reading": "How to read the source",
    "source": "Recipe: source (how to read it)",
    "model": "Recipe: model",
    "input": "Recipe: input (size, crops and colours)",
    "augment": "Recipe: augment",
    "mix": "Recipe: mix",
    "optimizer": "Recipe: optimizer",
    "schedule": "Recipe: schedule",
    "average": "Recipe: average",
    "training": "Recipe: training",
}
"""The headings of options that have their own dataclass."""


def overview() -> Iterator[str]:
    """The lines of `tench --help`."""
    yield "usage: tench COMMAND ..."
    yield ""
    yield from _wrapped("Train and check an image classifier on the images you have.", "")
    width = max(len(command) for group in GROUPS.values() for command in group)
    for heading, commands in GROUPS.items():
        yield ""
        yield f"{heading}:"
        for command, text in commands.items():
            yield from _entry(f"  {command}", text, width + 4)
    yield ""
    yield from _wrapped(
        "See `tench COMMAND --help` for examples and the most used options, `tench COMMAND --help-all` for all of "
        "them. Every command accepts --traceback (print where in the code an error occurred). First steps: tench "
        "train, then tench evaluate RUN and tench predict RUN IMAGE.",
        "",
    )


def command_help(command: str, *, everything: bool = False) -> Iterator[str]:
    """The lines of `tench COMMAND --help`, or of `--help-all` if `everything` is set. command: "train", "bench
    input"."""
    kind = forms(command.split()[0])[command]
    options = options_of(kind)
    yield f"usage: {usage(command, options)} [options]"
    yield ""
    yield from _docstring(inspect.getdoc(kind) or "")
    listed = _all_by_group(kind) if everything else {heading: first for heading, (first, _) in groups(kind).items()}
    shown = [option for group in listed.values() for option in group]
    left = min(max(len(_label(option, everything)) for option in shown) + 2, _MAX_LEFT)
    for heading, group in listed.items():
        if group:
            yield ""
            yield f"{heading}:"
        for option in group:
            text = _described(option) if everything else option.summary
            is_off = option.default == 0 and "0" not in text
            default = "" if is_off and not everything else _default(option)
            notes = "; ".join(filter(None, [option.bounds if everything else "", default]))
            yield from _entry(_label(option, everything), f"{text} ({notes})" if notes else text, left)
    if not everything:
        what = f"All {len(options)} options, explained in full" if len(shown) < len(options) else "Explained in full"
        yield ""
        yield f"{what}: tench {command} --help-all"


def forms_help(command: str) -> Iterator[str]:
    """The lines of the help of a command with several forms."""
    yield f"usage: tench {command} WHAT ..."
    yield ""
    yield from _docstring(inspect.getdoc(importlib.import_module(f"tench.cli.{command}")) or "")
    yield ""
    kinds = forms(command)
    for name, kind in kinds.items():
        yield from _entry(f"  tench {name}", (inspect.getdoc(kind) or "").split("\n\n")[0], _MAX_LEFT)
    yield ""
    yield from _wrapped(f"See `tench {command} WHAT --help` for the options of each. Example:", "")
    yield ""
    yield next(line for line in (inspect.getdoc(next(iter(kinds.values()))) or "").splitlines() if line[:1] == " ")


def groups(kind: type) -> dict[str, tuple[list[Option], list[Option]]]:
    """The options of each group of a command: those shown first, and the rest."""
    by_name = {option.field: option for option in options_of(kind)}
    found = {}
    for heading, names in kind.GROUPS.items():  # type: ignore[attr-defined]
        first, _, more = names.partition("|")
        found[heading] = ([by_name[name] for name in first.split()], [by_name[name] for name in more.split()])
    return found


def _all_by_group(kind: type) -> dict[str, list[Option]]:
    """All options of a command: its own by group, then those of each section."""
    found = {
        heading: [option for option in first + more if not option.section]
        for heading, (first, more) in groups(kind).items()
    }
    grouped = {option for group in found.values() for option in group}
    for option in options_of(kind):
        if option not in grouped:
            found.setdefault(SECTIONS[option.section], []).append(option)
    return found


def _label(option: Option, everything: bool) -> str:
    """An option with its value: "  -b, --batch-size N"."""
    if option.flag.positional:
        return f"  {option.name}"
    aliases = [alias for alias in option.flag.aliases if everything or not alias.startswith("--")]
    name = f"--[no-]{option.name[2:]}" if option.negative else option.name
    names = ", ".join([*(alias for alias in aliases if alias[1] != "-"), name, *(a for a in aliases if a[1] == "-")])
    metavar = option.metavar
    if len(metavar) > 2 * _MAX_LEFT // 3 and "|" in metavar:
        metavar = "NAME"
    return f"  {names} {metavar}".rstrip()


def _described(option: Option) -> str:
    """The full text, with the choices if the label does not list them."""
    listed = option.metavar in _label(option, True) or "|" not in option.metavar
    return option.text if listed else f"{option.text} One of {', '.join(option.choices)}."


def _default(option: Option) -> str:
    """The default, if it is informative."""
    text = "" if option.default is False else default_text(option)
    return f"default {text}" if text else ""


def default_text(option: Option) -> str:
    """The value of an omitted option; "" if it is required or empty."""
    value = option.default
    if value is None or value is dataclasses.MISSING:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    parts = value if isinstance(value, tuple) else (value,)
    return " ".join(f"{part:.4g}" if isinstance(part, float) else str(part) for part in parts)


def _docstring(text: str) -> Iterator[str]:
    """A docstring with its paragraphs filled; indented lines are unchanged."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith("    "):
            yield from paragraph.splitlines()
        else:
            yield from _wrapped(" ".join(paragraph.split()), "")


def _entry(label: str, text: str, left: int) -> Iterator[str]:
    """An option with its text next to it, or below it if the label is wide or the terminal narrow."""
    indent = " " * min(left, _width() // 3)
    if len(label) + 2 > len(indent):
        yield label
        yield from _wrapped(text, indent)
    else:
        first, *more = [*_wrapped(text, indent)] or [""]
        yield (label.ljust(len(indent)) + first.removeprefix(indent)).rstrip()
        yield from more


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, _width(), initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _width() -> int:
    return min(terminal_width(), _MAX_WIDTH)
