"""Closed, full and broken standard streams give a message or nothing, the right exit code, and no traceback."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PRINTING = ["--help", "train --help-all", "recipes digits"]
TENCH = f"{shlex.quote(sys.executable)} -m tench"


def shell(line: str, folder: Path, *, unbuffered: bool = False) -> tuple[int, str, str]:
    """The exit code and output of a line of bash."""
    environment = os.environ | ({"PYTHONUNBUFFERED": "1"} if unbuffered else {})
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", [*PRINTING, "--version", "models resnet20_v2", "info digits --json"])
def test_a_closed_stdout_is_like_the_null_device(command: str, tmp_path: Path) -> None:
    assert shell(f"{TENCH} {command} >&-", tmp_path)[0] == 0
    assert shell(f"{TENCH} {command} <&- >&- 2>&-", tmp_path) == (0, "", "")


def test_a_closed_stderr_keeps_the_exit_code_and_stdout(tmp_path: Path) -> None:
    assert shell(f"{TENCH} nothing 2>&-", tmp_path) == (2, "", "")
    assert shell(f"{TENCH} info missing 2>&-", tmp_path) == (2, "", "")
    code, out, error = shell(f"{TENCH} info digits 2>&-", tmp_path)
    assert (code, error) == (0, "")
    assert out.startswith("digits: digits, 10 classes\n")


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("command", PRINTING)
def test_a_closed_pipe_ends_the_command_silently(command: str, unbuffered: bool, tmp_path: Path) -> None:
    line = f"{TENCH} {command} | head -n 1; echo ${{PIPESTATUS[0]}}"
    code, out, error = shell(line, tmp_path, unbuffered=unbuffered)
    assert (code, error) == (0, "")
    assert out.splitlines()[1] in ("0", "1")  # 0 if the whole output fitted into the pipe before head closed it


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("command", [*PRINTING, "info digits --json"])
def test_a_full_disk_behind_stdout_is_an_error(command: str, unbuffered: bool, tmp_path: Path) -> None:
    code, out, error = shell(f"{TENCH} {command} >/dev/full", tmp_path, unbuffered=unbuffered)
    assert (code, out) == (1, "")
    first = command.split()[0]
    name = "tench" if first in ("help", "--help", "--version") else f"tench {first}"
    assert error.splitlines()[-1] == f"{name}: cannot write to standard output: No space left on device."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stderr_drops_messages_and_keeps_the_exit_code(tmp_path: Path) -> None:
    assert shell(f"{TENCH} nothing 2>/dev/full", tmp_path) == (2, "", "")
    code, out, _ = shell(f"{TENCH} info digits 2>/dev/full", tmp_path)
    assert code == 0
    assert out.startswith("digits: digits, 10 classes\n")


def test_training_without_streams_finishes_and_no_stray_output_ends_up_in_the_files_of_the_run(tmp_path: Path) -> None:
    command = f"{TENCH} train digits -a mlp --epochs 0.2 -b 64 --run run"
    assert shell(f"{command} <&- >&- 2>&-", tmp_path)[0] == 0
    code, out, _ = shell(f"{TENCH} evaluate run", tmp_path)
    assert code == 0
    assert "359 images, each counted once" in out


@pytest.mark.parametrize("columns", ["1", "3", "0", "-5", "wide"])
def test_a_progress_bar_works_in_a_terminal_of_any_width(columns: str, tmp_path: Path) -> None:
    code = (
        "import pty, sys\n"
        "from tench.progress import progress\n"
        "import tench.progress\n"
        "tench.progress._QUIET_SECONDS = 0\n"
        "with progress('check', 3, 'images') as advance:\n"
        "    for name in 'abc':\n"
        "        advance(1, name * 50)\n"
    )
    spawn = f"import pty, sys; sys.exit(pty.spawn([sys.executable, '-c', {code!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", spawn],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": columns, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert b"3/3" in done.stdout
    assert len(done.stdout) < 50_000
