"""Help on two levels, and in terminals of any width."""

import os
import subprocess
import sys

import pytest

from tench.cli.commands import COMMANDS, GROUPS, forms
from tench.cli.help import groups
from tench.cli.main import main
from tench.cli.options import options_of
from tench.training.recipe import Recipe

ALL = [name for command in COMMANDS for name in forms(command)]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out.splitlines()


def kind_of(name: str) -> type:
    return forms(name.split()[0])[name]


def test_help_groups_every_command_by_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--help")
    assert [line[:-1] for line in lines if line.endswith(":")] == list(GROUPS)
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("name", ALL)
def test_help_of_a_command_is_at_most_60_lines_with_an_example(
    name: str, width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines = shown(capsys, *name.split(), "--help")
    assert len(lines) <= 60
    assert lines[0].startswith(f"usage: tench {name} ")
    assert any(line.startswith(f"    tench {name.split()[0]}") for line in lines)
    first = [option for options, _ in groups(kind_of(name)).values() for option in options]
    assert 0 < len(first) <= 15
    text = "\n".join(lines)
    assert all(option.name in text for option in first)
    assert not any(noise in text for noise in ("None", "{", "STR", "INT", "FLOAT"))


@pytest.mark.parametrize("name", ALL)
def test_help_all_explains_every_option_in_full(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = " ".join(" ".join(shown(capsys, *name.split(), "--help-all")).split())
    for option in options_of(kind_of(name)):
        names = option.names if not option.is_switch else [option.name[2:]]
        assert all(called in text for called in names)
        assert option.text, f"{option.name} has no help text"
        assert " ".join(option.text.split()) in text


def test_help_all_of_train_has_a_heading_for_each_section_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "train", "--help-all")
    for section in Recipe.__dataclass_fields__:
        assert any(line.startswith(f"Recipe: {section}") for line in lines)


def test_help_and_the_command_is_the_same_as_the_command_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "bench", "bench models"):
        assert shown(capsys, "help", *name.split()) == shown(capsys, *name.split(), "--help")
    assert shown(capsys, "help") == shown(capsys, "--help") == shown(capsys)
    assert main(["help", "trian"]) == 2
    assert capsys.readouterr().err.startswith("tench: unknown command 'trian'. Did you mean 'train'? Known: info, ")


def test_help_of_bench_lists_its_forms(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "bench", "--help")
    assert [" ".join(line.split()[:3]) for line in lines if line.startswith("  tench ")] == [
        "tench bench input",
        "tench bench train",
        "tench bench models",
    ]


@pytest.mark.parametrize("columns", ["1", "2", "3", "4", "0", "-5", "wide", ""])
def test_help_is_printed_in_a_terminal_of_any_width(columns: str) -> None:
    for arguments in (["evaluate", "--help"], ["train", "--help-all"], ["--help"], ["train", "--epochs", "x"]):
        command = [sys.executable, "-m", "tench", *arguments]
        done = subprocess.run(
            command, capture_output=True, env=os.environ | {"COLUMNS": columns}, timeout=60, check=False
        )
        assert done.returncode == (2 if "--epochs" in arguments else 0)
        assert len(done.stdout) < 100_000
        assert done.stderr == (b"tench train: --epochs must be a number, got 'x'.\n" if done.returncode else b"")
