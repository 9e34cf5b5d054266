"""Arguments become options, and each usage error is one sentence that exits with 2."""

import dataclasses
from typing import Annotated, ClassVar, Literal

import pytest

from tench.cli.main import main
from tench.cli.parse import parse
from tench.cli.train import Train
from tench.errors import UsageError
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    size: int | Literal["auto"] = "auto"
    """Size."""
    mean: tuple[float, ...] | Literal["auto"] = "auto"
    """Mean."""
    strides: tuple[int, int] | Literal["own"] = "own"
    """Strides."""
    fast: bool = True
    """Fast."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    GROUPS: ClassVar[dict[str, str]] = {}

    source: Annotated[str, Flag(metavar="SOURCE", positional=True)]
    """Source."""
    files: Annotated[tuple[str, ...], Flag(metavar="FILE", positional=True)] = ()
    """Files."""
    rate: Annotated[float, Flag(aliases=("-r", "--speed"))] = 0.1
    """Rate."""
    epochs: int | float = 1
    """Epochs."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """With."""
    kind: Literal["a", "bee"] | None = None
    """Kind."""
    counts: tuple[int, ...] = ()
    """Counts."""
    dry: bool = False
    """Dry."""
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", {}),
        ("x y z", {"files": ("y", "z")}),
        ("x --rate 3", {"rate": 3.0}),
        ("-r-1e-3 x", {"rate": -1e-3}),
        ("-r=2 x", {"rate": 2.0}),
        ("--speed -.5 x", {"rate": -0.5}),
        ("x --rate 1 --rate 2", {"rate": 2.0}),
        ("x --with a y --with b", {"with_": ("a", "b"), "files": ("y",)}),
        ("--counts 1 2 3 --dry x", {"counts": (1, 2, 3), "dry": True}),
        ("--dry --no-dry x", {"dry": False}),
        ("--kind bee x", {"kind": "bee"}),
        ("-- --rate -x", {"source": "--rate", "files": ("-x",)}),
        ("- --dry", {"source": "-", "dry": True}),
        ("x --size 3 --no-fast", {"inner": Inner(size=3, fast=False)}),
        ("--mean auto x", {"inner": Inner()}),
        ("--mean 0.5 -0.5 --dry x", {"inner": Inner(mean=(0.5, -0.5)), "dry": True}),
        ("--strides 1 2 x", {"inner": Inner(strides=(1, 2))}),
        ("--strides own x y", {"files": ("y",)}),
    ],
)
def test_options_are_read_by_their_types(line: str, expected: dict[str, object]) -> None:
    assert parse(Sample, line.split()) == Sample(**{"source": "x", **expected})  # type: ignore[arg-type]


def test_whole_numbers_stay_whole_even_if_fractions_are_allowed() -> None:
    assert [type(parse(Sample, ["x", "--epochs", word]).epochs) for word in ("3", "3.0")] == [int, float]


def test_omitted_options_have_the_values_of_the_default() -> None:
    default = Sample(source="y", rate=7, inner=Inner(size=9, fast=False))
    assert parse(Sample, ["x", "--strides", "3", "4"], default) == dataclasses.replace(
        default, source="x", inner=Inner(size=9, fast=False, strides=(3, 4))
    )


def test_underscores_in_a_name_count_as_dashes() -> None:
    assert parse(Train, ["--batch_size", "8", "--weight_decay=0.5"]).values.training.batch_size == 8


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "SOURCE is missing. Usage: tench sample SOURCE [FILE ...]. See tench sample --help."),
        ("x --rate fast", "--rate must be a number, got 'fast'."),
        ("x --speed fast", "--rate must be a number, got 'fast'."),
        ("x --rate", "--rate needs a value: a number."),
        ("x --rate --dry", "--rate needs a value: a number."),
        ("x --kind c", "--kind must be a or bee, got 'c'."),
        ("x --kind be", "--kind must be a or bee, got 'be'. Did you mean 'bee'?"),
        ("x --size big", "--size must be a whole number or auto, got 'big'."),
        ("x --size 1.5", "--size must be a whole number or auto, got '1.5'."),
        ("x --strides 1", "--strides must be 2 whole numbers or own, got '1'."),
        (
            "x --mean 1 b",
            "--mean must be one or more numbers or auto, got '1', 'b'. If 'b' is not one of them, write -- before it: "
            "--mean 1 -- b",
        ),
        (
            "--counts 4 1 x y",
            "--counts must be one or more whole numbers, got '4', '1', 'x', 'y'. If 'x' is not one of them, write -- "
            "before it: --counts 4 1 -- x y",
        ),
        ("x --counts", "--counts needs a value: one or more whole numbers."),
        ("x --dry=yes", "--dry takes no value, got 'yes'. Write --dry alone."),
        ("x --no-rate", "unknown option --no-rate. --rate takes a value. See tench sample --help."),
        ("x --RATE 3", "unknown option --RATE. Did you mean --rate? See tench sample --help."),
        ("x --coun 3", "unknown option --coun. Did you mean --counts? See tench sample --help."),
        ("x --ep 3", "unknown option --ep. Did you mean --epochs? See tench sample --help."),
        ("x -rate 3", "unknown option -rate. Did you mean --rate? See tench sample --help."),
        ("x -epochs=3", "unknown option -epochs. Did you mean --epochs? See tench sample --help."),
        ("x --rats 3", "unknown option --rats. Did you mean --rate? See tench sample --help."),
        ("x -q", "unknown option -q. See tench sample --help."),
    ],
)
def test_a_usage_error_is_one_sentence(line: str, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(Sample, line.split())
    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([""], "SOURCE"),
        (["x", ""], "FILE"),
        (["x", "--with", ""], "--with"),
        (["x", "--rate="], "--rate"),
        (["x", "--counts", "1", ""], "--counts"),
    ],
)
def test_an_empty_value_is_refused_as_a_shell_variable_that_is_not_set(arguments: list[str], name: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(Sample, arguments)
    assert str(raised.value) == f"{name} is empty. If it comes from a shell variable, the variable is not set."


def test_an_option_whose_default_is_empty_can_be_emptied() -> None:
    default = Train(values=Train().values.replace(weights="runs/a"))
    assert parse(Train, ["--weights", ""], default).values.model.weights == ""


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--epochs 3 train", "tench: unknown option --epochs. Write the command first: tench COMMAND OPTIONS."),
        ("train --epochs abc", "tench train: --epochs must be a number, got 'abc'."),
        ("train --epochss 3", "tench train: unknown option --epochss. Did you mean --epochs? See tench train --help."),
        ("train --channels 2", "tench train: --channels must be one of 1, 3, auto, got '2'."),
        (
            "evaluate",
            "tench evaluate: RUN is missing. Usage: tench evaluate RUN [SOURCE]. See tench evaluate --help.",
        ),
        (
            "info a b",
            "tench info: unexpected argument 'b'. Usage: tench info SOURCE. See tench info --help.",
        ),
        (
            "bench inputs",
            "tench bench: unknown benchmark 'inputs'. Did you mean 'input'? Known: input, train, models. "
            "See tench bench --help.",
        ),
        ("bench", "tench bench: name a benchmark first. Known: input, train, models. See tench bench --help."),
        ("completion tcsh", "tench completion: SHELL must be one of bash, zsh, fish, got 'tcsh'."),
    ],
)
def test_usage_errors_of_all_commands_have_one_form_and_exit_with_2(
    line: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert capsys.readouterr() == ("", error + "\n")


def test_an_option_in_control_characters_is_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--\x1b[2Jx", "--epochs", "\x1b]0;y"]) == 2
    assert capsys.readouterr().err == "tench train: unknown option --\\x1b[2Jx. See tench train --help.\n"
