"""The equivalents of other programs' options, from other_programs.yaml, for error messages and the docs."""

import dataclasses
import functools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

import yaml

from tench.cli.parse import Words
from tench.errors import listed


@dataclasses.dataclass(frozen=True, slots=True)
class OptionRow:
    """An option of another program, or several with the same equivalent. The YAML file explains the fields."""

    there: str
    here: str = ""
    word: str = ""
    note: str = ""
    only: bool = False
    same: bool = False

    @property
    def examples(self) -> dict[str, str]:
        """The option's names, each with an example value; "" for a switch."""
        found: dict[str, str] = {}
        for part in reversed(self.there.split(", ")):
            name, _, value = part.partition(" ")
            found[_key(name)] = value or next(reversed(found.values()), "")
        return {name: value for name, value in found.items() if name.startswith("-")}

    def spelled(self, name: str) -> str:
        """The name as the other program writes it; with the value if the equivalent is only for this value."""
        parts = self.there.split(", ")
        return next(part if self.only else part.split()[0] for part in parts if _key(part.split()[0]) == name)


def _key(name: str) -> str:
    return name.replace("_", "-")


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """A program with its options. command: tench's equivalent. page: the documentation page with its table."""

    program: str
    command: str
    options: tuple[OptionRow, ...]
    heading: str = ""
    page: str = ""
    intro: str = ""

    @property
    def whose(self) -> str:
        return f"{self.program}'" if self.program.endswith("s") else f"{self.program}'s"


@functools.cache
def programs() -> tuple[Program, ...]:
    """The programs of the file, in its order."""
    entries = yaml.safe_load((Path(__file__).parent / "other_programs.yaml").read_text(encoding="utf-8"))
    return tuple(
        Program(**entry | {"options": tuple(OptionRow(**row) for row in entry["options"])}) for entry in entries
    )


def equivalents(command: str, known: Sequence[str], words: Words, *, only: bool = False) -> dict[str, list[str]]:
    """For each unknown option of a command that another program has, the lines of an error with its equivalent.

    known: the options of the command. only: consider only rows for a single value.
    """
    found = {name: _candidates(command, name, values, only) for name, values in words.unknown}
    # A program that has all the unknown options is more likely than one that has only some of them.
    shared = {
        program: sum(any(program is other for other, _ in rows) for rows in found.values()) for program in programs()
    }
    for name, rows in found.items():
        most = max((shared[program] for program, _ in rows), default=0)
        found[name] = [(program, row) for program, row in rows if shared[program] == most]
    given = _given(words, found)
    names_of: dict[tuple[Program, Answer], list[tuple[str, str]]] = {}
    for name, rows in found.items():
        for program, row in rows:
            answer = _answer(program, row, name, given, command, known)
            names_of.setdefault((program, answer), []).append((name, row.spelled(name)))
    programs_of: dict[tuple[Answer, tuple[tuple[str, str], ...]], list[str]] = {}
    for (program, answer), called in names_of.items():
        programs_of.setdefault((answer, tuple(called)), []).append(program.whose)
    lines: dict[str, list[str]] = {}
    for (answer, both), whose in programs_of.items():
        line = f"{listed(whose, 'and')} {listed([spelled for _, spelled in both], 'and')} {answer.text(len(both))}"
        for name, _ in both:
            lines.setdefault(name, []).append(line)
    return lines


def _candidates(command: str, name: str, values: list[str], only: bool) -> list[tuple[Program, OptionRow]]:
    """The rows that may match an option with these words, preferably of programs that do what the command does."""
    rows = [
        (program, row)
        for program in programs()
        for row in program.options
        if name in row.examples and not row.same and (row.only or not only)
        if not row.only or values[:1] == [row.examples[name]]
    ]
    rows = [(program, row) for program, row in rows if _fits(row.examples[name], values)] or rows
    rows = [(program, row) for program, row in rows if row.only] or rows
    rows = [(program, row) for program, row in rows if program.command == command] or rows
    if values[:1] and _is_number(values[0]):  # -e 90 is not a switch
        rows = [(program, row) for program, row in rows if row.examples[name]] or rows
    return rows


def _fits(example: str, values: Sequence[str]) -> bool:
    """Whether these words can be a value like the example."""
    return not example or (bool(values) and (not _is_number(example) or _is_number(values[0])))


def _is_number(text: str) -> bool:
    return bool(re.match(r"[\d.,]+(\s|$)", text))


def _given(words: Words, found: Mapping[str, list[tuple[Program, OptionRow]]]) -> dict[str, list[str]]:
    """The words of each option, known or not, and as SOURCE the first word that belongs to no option."""
    given = {name: list(values) for option, values in words.given for name in option.names}
    loose = list(words.loose)
    for name, values in words.unknown:
        most = max((len(row.examples[name].split()) for _, row in found[name]), default=len(values))
        aliases = [alias for _, row in found[name] for alias in row.examples if _are_aliases(row, name, alias)]
        given |= dict.fromkeys([name, *aliases], values[:most])
        loose += values[most:]
    return given | {"SOURCE": loose[:1]}


def _are_aliases(row: OptionRow, name: str, other: str) -> bool:
    """Whether two options of a row are the short and the long name of the same option."""
    return len(row.examples) == 2 and name.startswith("--") != other.startswith("--")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """word: our option. here: our option with its value; "" if there is no equivalent. note: a sentence."""

    word: str
    here: str
    note: str

    def text(self, count: int) -> str:
        if not self.here:
            return f"{'has' if count == 1 else 'have'} no equivalent in tench. {self.note}"
        text = f"{'is' if count == 1 else 'are'} {self.word} in tench" + (
            f": {self.here}" if self.here != self.word else ""
        )
        return f"{text} ({self.note})" if self.note else text


def _answer(
    program: Program, row: OptionRow, name: str, given: Mapping[str, list[str]], command: str, known: Sequence[str]
) -> Answer:
    note = re.sub(r"\[(\w+)\]\([^)]*\)", r"\1 in the documentation", row.note)
    if not row.here:
        return Answer("", "", note)
    example = row.examples[name]
    here = filled(row.here, given[name] if example and _fits(example, given[name]) else example.split(), given)
    first = here.split()[0]
    if first == "tench":
        return Answer(row.word or "another command", here, note)
    # Options of prepare and train may share a name but differ in meaning.
    if program.command == command or (first in known and "prepare" not in (command, program.command)):
        return Answer(here if row.only else first, here, note)
    return Answer(f"{first} of the command {program.command}", f"tench {program.command} ... {here}", note)


def filled(template: str, value: Sequence[str], given: Mapping[str, Sequence[str]]) -> str:
    """A template of the file, filled with the value and other arguments of the command."""
    text = " ".join(map(shlex.quote, value))

    def one(found: re.Match[str]) -> str:
        name = found[1]
        if name in CONVERSIONS:
            try:
                return CONVERSIONS[name](text, given)
            except (ValueError, ZeroDivisionError, IndexError):
                return text
        return " ".join(map(shlex.quote, given.get(name, ()))) or PLACEHOLDERS[name]

    return re.sub(r"\{([^}]*)\}", one, template)


PLACEHOLDERS = {
    "--arch": "ARCH",
    "--data-path": "SOURCE",
    "--dataset-dir": "DIR",
    "--dataset-name": "NAME",
    "--model": "ARCH",
    "--model-load-path": "FILE",
    "--ra-reps": "4",
    "--network": "NETWORK",
    "--resize": "N",
    "--run": "DIR",
    "--train-shards": "N",
    "--validation-shards": "N",
    "SOURCE": "SOURCE",
}
"""The placeholder for an argument that the command lacks."""


def _numbers(convert: Callable[[float], float]) -> Callable[[str, Mapping[str, Sequence[str]]], str]:
    return lambda text, _: " ".join(f"{convert(float(one)):.4g}" for one in re.split("[, ]+", text))


def _mxnet(_: str, given: Mapping[str, Sequence[str]]) -> str:
    """The parameters of MXNet's ImageRecordIter that its programs' options set, as one argument."""
    return shlex.quote(" ".join(f"{_MXNET[name]}={given[name][0]}" for name in _MXNET if given.get(name)))


_MXNET = {
    "--random-crop": "rand_crop",
    "--random-mirror": "rand_mirror",
    "--random-resized-crop": "random_resized_crop",
    "--pad-size": "pad",
    "--fill-value": "fill_value",
    "--max-random-h": "random_h",
    "--max-random-s": "random_s",
    "--max-random-l": "random_l",
    "--max-random-rotate-angle": "max_rotate_angle",
    "--max-random-shear-ratio": "max_shear_ratio",
    "--min-random-aspect-ratio": "min_aspect_ratio",
    "--max-random-aspect-ratio": "max_aspect_ratio",
    "--min-random-scale": "min_random_scale",
    "--max-random-scale": "max_random_scale",
    "--min-random-area": "min_random_area",
    "--max-random-area": "max_random_area",
    "--min-crop-size": "min_crop_size",
    "--max-crop-size": "max_crop_size",
    "--brightness": "brightness",
    "--contrast": "contrast",
    "--saturation": "saturation",
    "--pca-noise": "pca_noise",
}


def _weights(_: str, given: Mapping[str, Sequence[str]]) -> str:
    """What to evaluate: published weights if requested, else the run."""
    if given.get("--pretrained") == []:
        return filled("torchvision:{--arch}", (), given)
    return " ".join(map(shlex.quote, given.get("--run", ()))) or "RUN"


def _pretrained(_: str, given: Mapping[str, Sequence[str]]) -> str:
    template = "tench evaluate {weights} {source}" if "-e" in given else "--weights torchvision:{--arch}"
    return filled(template, (), given)


def _source(_: str, given: Mapping[str, Sequence[str]]) -> str:
    """The data to evaluate on: the validation source, else the only source."""
    found = given.get("--val") or given.get("--data-path") or given.get("SOURCE")
    return " ".join(map(shlex.quote, found)) if found else "[SOURCE]"


CONVERSIONS: dict[str, Callable[[str, Mapping[str, Sequence[str]]], str]] = {
    "": lambda text, _: text,
    "list": lambda text, _: text.replace(",", " "),
    "first": lambda text, _: re.split("[, ]", text)[0],
    "last": lambda text, _: re.split("[, ]", text)[-1],
    "stem": lambda text, _: PurePath(text).stem,
    "over255": _numbers(lambda number: number / 255),
    "scale": _numbers(lambda number: 1 / number / 255),
    "rest": _numbers(lambda number: 1 - number),
    "precision": lambda text, _: {"half": "fp16", "float16": "fp16"}.get(text, "fp32"),
    "context": lambda text, _: "cpu" if text == "cpu" else "cuda",
    "init": lambda text, _: {"default": "mxnet"}.get(text, text),
    "encoding": lambda text, _: {".jpg": "jpeg", ".jpeg": "jpeg"}.get(text, text.lstrip(".")),
    "depth": lambda _, given: "".join(f"-{word}" for word in given.get("--num-layers", ())),
    "mxnet": _mxnet,
    "pretrained": _pretrained,
    "weights": _weights,
    "source": _source,
}
"""How another program's value becomes ours."""


def table(program: Program) -> str:
    """The options of a program as a Markdown table."""
    examples: dict[str, list[str]] = {}
    for row in program.options:
        for name, value in row.examples.items():
            if value:
                examples.setdefault(name, value.split())
    lines = [f"| {program.program} | tench |", "|---|---|"]
    for row in program.options:
        there = ", ".join(
            f"`{part}`" if part.startswith(("-", "DIR", "MXNET")) else part for part in row.there.split(", ")
        )
        example = next(iter(row.examples.values()), "").split()
        here = f"`{filled(row.here, example, examples)}`" if row.here else "the same" if row.same else ""
        sentence = f"{here}. {row.note}" if here and row.note else here or row.note
        lines.append(f"| {there} | {sentence} |")
    return "\n".join(lines) + "\n"
