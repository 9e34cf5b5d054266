"""tench reads or refuses any changed source, without a traceback, crash, hang or flood of output.

TENCH_FUZZ is the number of changes for each reader; `make fuzz` sets it to 100,000. The changes are the same in every
run.
"""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fuzz.child import look, write
from tests.fuzz.seeds import SEEDS

CHANGES = int(os.environ.get("TENCH_FUZZ", "40"))
SECONDS = 60.0
"""The time limit for one change: a hundred times what it needs on a loaded machine."""
MOST_FAILURES = 20
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of the child process are Linux's")


class Child:
    """The process that opens changed sources. It is restarted after each failure."""

    def __init__(self, errors: Path) -> None:
        """errors: the file that the standard error of the process goes to."""
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = errors
        self._read = b""

    def failures(self, name: str, count: int) -> list[str]:
        """What went wrong with changes 0 to count - 1 of a seed. Change 0 changes nothing, so it must be read."""
        found: list[str] = []
        first = 0
        while first < count and len(found) < MOST_FAILURES:
            self._send(f"{name}\t{first}\t{count - first}\n")
            at = first
            while True:
                line = self._line()
                if line.startswith("at "):
                    at = int(line[3:])
                elif line.startswith("bad "):
                    found.append(self._told(name, at, json.loads(line[4:])))
                elif line == "done":
                    first = count
                    break
                elif line != "ok":  # the process hangs or has ended
                    found.append(self._told(name, at, f"{line}\n{self._end()}"))
                    first = at + 1
                    break
                if len(found) >= MOST_FAILURES:
                    self._end()
                    break
        return found

    def _told(self, name: str, number: int, what: str) -> str:
        return f"{what.rstrip()[-3000:]}\nAgain: python -m tests.fuzz.child {name!r} {number} FOLDER"

    def _send(self, line: str) -> None:
        if self._process is None:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.fuzz.child"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=ROOT,
                )
            self._read = b""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._read:
                if not selector.select(SECONDS):
                    return f"took more than {SECONDS:g} s"
                more = os.read(self._process.stdout.fileno(), 2**16)
                if not more:
                    return f"ended with {self._process.wait(SECONDS)}"
                self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def _end(self) -> str:
        """Stop the process. Returns the end of what it wrote to standard error."""
        if self._process is None:
            return ""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None
        return self._errors.read_text(errors="replace")[-1500:]

    def close(self) -> None:
        self._end()


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    child = Child(tmp_path_factory.mktemp("child") / "errors.txt")
    yield child
    child.close()


@pytest.mark.parametrize("name", SEEDS)
def test_an_unchanged_source_opens_and_every_image_decodes(name: str, tmp_path: Path) -> None:
    from tench.data.source import open_source

    source = write(SEEDS[name](), name, 0, tmp_path / "source")
    dataset = open_source(source)
    assert dataset.num_images
    assert look(source) == ""


@pytest.mark.parametrize("name", SEEDS)
def test_a_changed_source_is_read_or_refused(name: str, child: Child) -> None:
    changes = CHANGES // 4 if name == "hdf5" else CHANGES  # it starts Python for each file
    failures = child.failures(name, changes)
    assert not failures, f"{len(failures)} of {changes}:\n\n" + "\n\n".join(failures)
