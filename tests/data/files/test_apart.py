"""A reader in its own process: its answer, its error, its crash, and a reader that hangs."""

import sys
from pathlib import Path

import pytest
from tests.support.errors import error_of

from tench.data.files import apart

CHILD = """
import os, signal, sys, time
from tench.data.files.apart import RefusalError, reply
what = sys.argv[1]
if what == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if what == "hang":
    time.sleep(60)
if what == "exit":
    sys.exit(3)
def work():
    if what == "refusal":
        raise RefusalError("contains no records.")
    return {"got": sys.argv[2:]} if what == "answer" else {}["missing"]
reply(work, "HDF5")
"""


@pytest.fixture(autouse=True)
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that can be run by its name."""
    (tmp_path / "odd_reader.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *filter(None, sys.path)]))


def refusal(what: str) -> str:
    return error_of(apart.answer_of)("odd_reader", [what], "a.h5")


def test_the_answer_of_the_child_is_returned() -> None:
    assert apart.answer_of("odd_reader", ["answer", "ü", "b c"], "a.h5") == {"got": ["ü", "b c"]}


def test_errors_and_crashes_of_the_child_name_the_file() -> None:
    assert refusal("refusal") == "a.h5: contains no records."
    assert refusal("error") == (
        "a.h5: cannot be read as HDF5 ('missing'). It is damaged or truncated. Copy or download it again."
    )
    damaged = "The file is damaged. Copy or download it again."
    assert refusal("crash") == f"a.h5: the library that reads it crashed (SIGSEGV). {damaged}"
    assert refusal("exit") == f"a.h5: the library that reads it stopped with status 3. {damaged}"


def test_a_child_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_LIST_SECONDS", 1)
    assert refusal("hang") == ("a.h5: could not be read within 1 s. It is damaged, or the disk hangs. Copy it again.")
