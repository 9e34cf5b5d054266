"""Read a command's options from its arguments. An error names the option and the values that it accepts."""

import dataclasses
import difflib
import math
import re
import shlex
import typing
from typing import Any, Literal, TypeVar

from tench.cli.options import Option, options_of, widest
from tench.errors import UsageError, nearest
from tench.plain import shown

Command = TypeVar("Command")

_NUMBER = re.compile(r"-\.?\d|-inf$|-nan$", re.IGNORECASE)
"""A word that begins with a dash but is a value."""


def parse(kind: type[Command], arguments: list[str], default: Command | None = None, *, command: str = "") -> Command:
    """The options of `tench COMMAND`. Raises UsageError.

    default: an instance with the values of omitted options. command: by default the dataclass's name.
    """
    options = options_of(typing.cast(Any, kind))
    command = command or kind.__name__.lower()
    words = sort_words(options, arguments)
    if words.unknown:
        raise UsageError(*_unknown(command, options, words))
    values: dict[tuple[str, ...], Any] = {}
    for option, given in words.given:
        try:
            value = _value(option, given)
        except UsageError as error:
            raise _explained(error, command, options, option, given) from None
        values[option.path] = (*values.get(option.path, ()), value) if option.flag.repeated else value
    values |= _positionals(command, options, words.loose)
    return typing.cast(Command, _filled(kind, default, values))


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """The arguments of a command, sorted by kind.

    given: known options with the words of their values. loose: words that belong to no option. unknown: unknown options
    with the words after them.
    """

    given: list[tuple[Option, list[str]]]
    loose: list[str]
    unknown: list[tuple[str, list[str]]]


def sort_words(options: tuple[Option, ...], arguments: list[str]) -> Words:
    """Sort arguments by the option they belong to, without looking at the values. Raises UsageError if a switch has a
    value."""
    known = {name: option for option in options if not option.flag.positional for name in option.names}
    left, found = list(arguments), Words([], [], [])
    while left:
        word = left.pop(0)
        if word == "--":
            found.loose.extend(left)
            break
        if not is_option(word):
            found.loose.append(word)
            continue
        name, attached = _split(word)
        if (called := "-" + word.partition("=")[0].replace("_", "-")) in known:  # -epochs is no -e
            name, attached = called[1:], word.partition("=")[2] or None
        positive = "--" + name[5:] if name.startswith("--no-") else name
        option = known.get(name) or known.get(positive)
        if option is None or (name not in known and not option.is_switch):
            following = list(_until_option(left)) if attached is None else []
            del left[: len(following)]
            found.unknown.append((name, following if attached is None else [attached]))
        elif not option.is_switch:
            found.given.append((option, _take(option, left) if attached is None else [attached]))
        elif attached is None:
            found.given.append((option, ["yes" if name in known else "no"]))
        else:
            raise UsageError(f"{name} takes no value, got {shown(attached)}. Write {name} alone.")
    return found


def is_option(word: str) -> bool:
    """Whether an argument is an option rather than a value."""
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)


def _split(word: str) -> tuple[str, str | None]:
    """The name of an option and the value attached to it: --lr=1, -b64. Underscores are treated as dashes."""
    if not word.startswith("--"):
        return word[:2], word[2:].removeprefix("=") if len(word) > 2 else None
    name, equals, value = word.partition("=")
    return name.replace("_", "-"), value if equals else None


def _until_option(words: list[str]) -> typing.Iterator[str]:
    for word in words:
        if is_option(word) or word == "--":
            return
        yield word


def _take(option: Option, left: list[str]) -> list[str]:
    """Remove the words of an option's value from the front of the remaining words."""
    available = list(_until_option(left))
    _, most = option.num_words
    if available and available[0] in option.choices and not any(map(_has_choices_inside, option.kinds)):
        most = 1  # a word such as auto is a whole value, and the next word is a source
    taken = available[: len(available) if most == math.inf else int(most)]
    del left[: len(taken)]
    return taken


def _has_choices_inside(kind: Any) -> bool:
    return any(typing.get_origin(inner) is Literal for inner in typing.get_args(kind))


def _value(option: Option, words: list[str]) -> Any:
    """The value given by words on the command line; raises UsageError."""
    if option.is_switch:
        return words == ["yes"]
    if not words:
        raise UsageError(f"{option.name} needs a value: {expected(option)}.")
    if "" in words and option.default != "":  # an empty path would mean the current directory
        raise UsageError(f"{option.name} is empty. If it comes from a shell variable, the variable is not set.")
    for kind in option.kinds:
        value = _as(kind, words, option.flag.repeated)
        if value is not _NOT:
            return value
    got = shown(words[0]) if len(words) == 1 else ", ".join(map(shown, words))
    hint = nearest(words[0], list(option.choices)) or _where_it_ends(option, words)
    raise UsageError(f"{option.name} must be {expected(option)}, got {got}.{hint}")


def _where_it_ends(option: Option, words: list[str]) -> str:
    """How to write several values before a positional, if the first words are a value without the rest."""
    for count in range(len(words) - 1, 0, -1):
        if any(_as(kind, words[:count], False) is not _NOT for kind in option.kinds):
            written = map(shlex.quote, [option.name, *words[:count], "--", *words[count:]])
            return f" If {shown(words[count])} is not one of them, write -- before it: {' '.join(written)}"
    return ""


_NOT = object()
"""Marks words that are not a value of the type."""


def _as(kind: Any, words: list[str], repeated: bool) -> Any:
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if repeated:
            return _as(inner[0], words, False)
        kinds = inner[:1] * len(words) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(words):
            return _NOT
        values = tuple(_as(one, [word], False) for one, word in zip(kinds, words, strict=True))
        return _NOT if any(value is _NOT for value in values) else values
    if len(words) != 1:
        return _NOT
    (word,) = words
    if typing.get_origin(kind) is Literal:
        return next((choice for choice in typing.get_args(kind) if str(choice) == word), _NOT)
    try:
        return kind(word)
    except ValueError:
        return _NOT


def expected(option: Option) -> str:
    """The values that an option accepts, in words: "a whole number or auto"."""
    kinds = widest(option.kinds)
    if option.flag.repeated:
        return option.flag.metavar
    if all(typing.get_origin(kind) is Literal for kind in kinds) and len(option.choices) > 2:
        return f"one of {', '.join(option.choices)}"
    return " or ".join(option.flag.metavar or "text" if kind is str else _expected(kind) for kind in kinds)


def _expected(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if typing.get_origin(inner[0]) is Literal:
            return f"one or more of {', '.join(map(str, typing.get_args(inner[0])))}"
        many = {int: "whole numbers", float: "numbers"}.get(inner[0], "words")
        return f"one or more {many}" if inner[-1] is Ellipsis else f"{len(inner)} {many}"
    return {int: "a whole number", float: "a number"}[kind]


def usage(command: str, options: tuple[Option, ...]) -> str:
    """The usage of a command: "tench evaluate RUN [SOURCE]"."""
    parts = []
    for option in options:
        if option.flag.positional:
            many = " ..." if option.num_words[1] == math.inf else ""
            parts.append(option.name + many if option.default is dataclasses.MISSING else f"[{option.name}{many}]")
    return " ".join(["tench", command, *parts])


def _positionals(command: str, options: tuple[Option, ...], words: list[str]) -> dict[tuple[str, ...], Any]:
    """The values of the positional options, in order."""
    values, left = {}, list(words)
    for option in options:
        if not option.flag.positional:
            continue
        if not left:
            if option.default is dataclasses.MISSING:
                raise UsageError(
                    f"{option.name} is missing. Usage: {usage(command, options)}. See tench {command} --help."
                )
            continue
        taken = left if option.num_words[1] == math.inf else left[:1]
        left = left[len(taken) :]
        values[option.path] = _value(option, taken)
    if left:
        raise UsageError(
            f"unexpected argument {shown(left[0])}. Usage: {usage(command, options)}. See tench {command} --help."
        )
    return values


def _unknown(command: str, options: tuple[Option, ...], words: Words) -> list[str]:
    """The lines of an error about options that the command does not have."""
    from tench.cli.other_programs import equivalents

    known = [name for option in options if not option.flag.positional for name in option.names]
    explained = equivalents(command, known, words)
    lines = []
    for name, _ in words.unknown:
        if name in explained:
            lines += explained[name]
            continue
        lines.append(f"unknown option {name[:100]}.{_hint(name.lower(), known)} See tench {command} --help.")
    return list(dict.fromkeys(lines))


def _hint(name: str, known: list[str]) -> str:
    """A sentence on the option that an unknown one may be; "" if none is close."""
    positive = "--" + name.removeprefix("--no-")
    if name.startswith("--no-") and positive in known:
        return f" {positive} takes a value."
    begun = [other for other in known if len(name) > 3 and other.startswith(name)]
    plain = {other.lstrip("-"): other for other in reversed(known)}
    close = [plain[word] for word in difflib.get_close_matches(name.lstrip("-"), plain, n=1, cutoff=0.6)]
    return f" Did you mean {' or '.join(begun[:3] or close)}?" if begun or close else ""


def _explained(
    error: UsageError, command: str, options: tuple[Option, ...], option: Option, given: list[str]
) -> UsageError:
    """The error about a value, or tench's equivalent if the value is from another program."""
    from tench.cli.other_programs import equivalents

    known = [name for other in options for name in other.names]
    lines = equivalents(command, known, Words([], [], [(option.name, given)]), only=True).get(option.name)
    return UsageError(*lines) if lines else error


def _filled(kind: type, default: Any, values: dict[tuple[str, ...], Any]) -> Any:
    """An instance of the dataclass with the values at their paths, and all others from `default`."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        below = {path[1:]: value for path, value in values.items() if path[0] == field.name}
        if () in below:
            given[field.name] = below[()]
        elif below:
            inside = getattr(default, field.name) if default is not None else _default(field)
            given[field.name] = _filled(type(inside), inside, below)
    return kind(**given) if default is None else dataclasses.replace(default, **given)


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
