"""Fixtures of the interoperability tests: the datasets, `tench prepare`, and the programs that read what it writes.

Each program has its own environment below .interop (or the folder named by TENCH_INTEROP), which `make interop`
creates; without it, tests are skipped. The scripts in readers/ run there, without tench.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.interop import sets
from tests.interop.sets import Made
from tests.support.processes import run

from tench.cli.main import main

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = Path(os.environ.get("TENCH_INTEROP", ROOT / ".interop"))
READERS = Path(__file__).parent / "readers"

Prepare = Callable[..., Path]
Ask = Callable[..., Any]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """A function that runs `tench prepare` on a dataset and returns the folder it wrote."""

    def prepare(source: Made, *options: str) -> Path:
        dest = tmp_path / "prepared"
        assert main(["prepare", str(source.source), str(dest), *options]) == 0
        return dest

    return prepare


def python_of(environment: str) -> Path:
    return ENVIRONMENTS / environment / "bin/python"


@pytest.fixture(autouse=True)
def _is_there(request: pytest.FixtureRequest) -> None:
    """Skip a test if its mark `interop` names something that is not installed."""
    for mark in request.node.iter_markers("interop"):
        if not (needed := ENVIRONMENTS / mark.args[0]).exists():
            pytest.skip(f"needs {needed}: make interop")


@pytest.fixture
def ask() -> Ask:
    """A function that runs a reader in an environment, isolated from this one, and returns what it prints."""

    def ask(environment: str, reader: str, *arguments: str | Path) -> Any:
        command = [str(python_of(environment)), "-I", str(READERS / reader), *map(str, arguments)]
        done = run(command)
        assert done.returncode == 0, f"{reader} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])

    return ask


@pytest.fixture
def photos(photo_folder: Path) -> Made:
    return sets.of_folder(photo_folder)
