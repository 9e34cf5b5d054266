"""Completion scripts, run by the shells themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tench.cli.commands import COMMANDS
from tench.cli.main import main

CASES = [
    ("tench tra", {"train"}),
    ("tench help eva", {"evaluate"}),
    ("tench train --opti", {"--optimizer"}),
    ("tench train --optimizer la", {"lamb", "lars"}),
    ("tench train --no-n", {"--no-nesterov"}),
    ("tench train --recipe ffcv-1", {"ffcv-16"}),
    ("tench recipes cos", {"cos90", "cos350"}),
    ("tench download cifar100", {"cifar100"}),
    ("tench bench mod", {"models"}),
    ("tench bench input --image-s", {"--image-size"}),
    ("tench bench train --precision bf", {"bf16"}),
    ("tench completion f", {"fish"}),
    ("tench info pho", {"photos/"}),
    ("tench train --val pho", {"photos/"}),
    ("tench train --recipe pho", {"photos/"}),
]


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The script for the shell that the test is parametrized with, next to a folder `photos`."""
    shell = str(request.param)
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    assert main(["completion", shell]) == 0
    path = tmp_path / f"tench.{shell}"
    path.write_text(capsys.readouterr().out)
    (tmp_path / "photos").mkdir()
    return path


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_completes_commands_options_values_and_files(script: Path) -> None:
    # The function returns the words. If it returns none, bash itself completes file names (-o default).
    lines = [
        f'COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; COMPREPLY=(); _tench; echo "${{COMPREPLY[@]}}"'
        for line, _ in CASES
    ]
    shown = run(script.parent, "bash", "--norc", "-c", "\n".join([f"source {script}", *lines, "complete -p tench"]))
    *found, registered = shown.splitlines()
    assert [set(line.split()) for line in found] == [
        expected if expected != {"photos/"} else set() for _, expected in CASES
    ]
    assert registered == "complete -o bashdefault -o default -F _tench tench"


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_lists_all_commands_first(script: Path) -> None:
    shown = run(
        script.parent,
        "bash",
        "--norc",
        "-c",
        f'source {script}; COMP_WORDS=(tench ""); COMP_CWORD=1; _tench; echo "${{COMPREPLY[@]}}"',
    )
    assert set(COMMANDS) <= set(shown.split())


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_completes_commands_options_values_and_files(script: Path) -> None:
    for line, expected in CASES:
        shown = run(script.parent, "fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")
        assert {word.split("\t")[0] for word in shown.splitlines()} == expected, line


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_completes_commands_options_values_and_files(script: Path) -> None:
    # compadd and _files only work while a line is being edited, so they are replaced by functions that print.
    start = (
        "compdef() { :; }\ncompadd() { shift; print -l -- ${(M)@:#${words[CURRENT]}*}; }\n"
        f"_files() {{ print -l -- ${{words[CURRENT]}}*(N/); }}\nsource {script}\n"
    )
    for line, expected in CASES:
        shown = run(script.parent, "zsh", "-f", "-c", f"{start}words=({line}); CURRENT=$#words; _tench")
        assert {word + "/" if word == "photos" else word for word in shown.split()} == expected, line
