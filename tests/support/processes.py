"""Start processes that cannot outlive their test, and wait with a deadline."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

DEADLINE_SECONDS = 300.0
"""Longer than any single wait needs, even on a loaded machine. A whole test may take longer (pyproject.toml)."""


class Child:
    """A process in its own session. `child` starts one, and kills its whole process group at the end.

    The output goes to files, so that no pipe can fill up and a leftover process cannot keep a pipe open.
    """

    def __init__(self, process: subprocess.Popen[bytes], outputs: Path, seconds: float) -> None:
        self.pid = process.pid
        self._process = process
        self._outputs = outputs
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def stdout(self) -> str:
        """What the process has written so far. Bytes that are not UTF-8 become surrogates, as in file names."""
        return (self._outputs / "stdout").read_text("utf-8", "surrogateescape")

    @property
    def stderr(self) -> str:
        """What the process has written so far."""
        return (self._outputs / "stderr").read_text("utf-8", "surrogateescape")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds. what: describes it. Fails if the process ends first, or at the deadline."""
        while not condition():
            ended = self._process.poll() is not None
            if ended and condition():  # the process may have ended just after meeting the condition
                return
            if ended or time.monotonic() > self._end:
                self._fail(f"ended with {self._process.returncode}" if ended else self._too_long(), what)
            time.sleep(0.01)

    def wait_for_output(self, text: str) -> None:
        """Wait until the process has written a text to its standard output."""
        self.wait_until(lambda: text in self.stdout, repr(text))

    def send_line(self, line: str = "") -> None:
        """Write a line to the standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait for the process to end. Returns the exit code, negative after a signal. Fails at the deadline."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return self._process.wait(max(0.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._fail(self._too_long(), "its end")

    def kill(self) -> None:
        """Kill the process and all others in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _too_long(self) -> str:
        return f"was killed after {self._seconds:g} s"

    def _fail(self, how: str, what: str) -> NoReturn:
        self.kill()
        pytest.fail(
            f"{self._process.args!r} {how}; the test waited for {what}.\n"
            f"stdout: {self.stdout[-3000:]}\nstderr: {self.stderr[-3000:]}"
        )


@contextlib.contextmanager
def child(
    command: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bool = False,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Iterator[Child]:
    """Start a process. At the end of the block, it and everything it started are killed.

    env: variables to add to those of this process. stdin: whether to open a pipe for `send_line`.
    """
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "stdout").open("wb") as stdout, (Path(folder) / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        one = Child(process, Path(folder), deadline_seconds)
        with process:
            try:
                yield one
            finally:
                one.kill()


def run(
    command: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Returns its exit code and output. Fails at the deadline."""
    with child(command, cwd=cwd, env=env, deadline_seconds=deadline_seconds) as one:
        code = one.wait()
        return subprocess.CompletedProcess([*map(str, command)], code, one.stdout, one.stderr)


def run_python(code: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process, as `run` does."""
    return run([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], cwd=cwd)


def join(thread: threading.Thread) -> None:
    """Wait for the end of a thread. Fails at the deadline."""
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive(), f"{thread.name} has not ended within {DEADLINE_SECONDS:g} s"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds. what: describes it. Fails at the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE_SECONDS:g} s for {what}"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process with this id exists and is not a zombie. Linux only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
