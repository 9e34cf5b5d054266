"""A destination while it is being written: its progress, and the leftovers of a killed process.

Beside the files that are complete lies a hidden folder: a lock, what is being made of what (plan.json), the files that
are not complete, and a journal. A line of the journal says how far a file had come when it was on the disk, so what
lies behind that is cut off and made again. As everything that is written depends on the plan alone, what a process that
was killed and its followers write together is what one process would have written.
"""

import contextlib
import errno
import json
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tench.data.files.names import PLAN, PREPARED, WORK, is_unfinished
from tench.data.handled import Handled
from tench.errors import TenchError, UsageError, some
from tench.files import full_disk_names, size_text, write_text

_JOURNAL, _LOCK, _OWNER = "journal.jsonl", "lock", "owner.json"
_BEGAN = "began_ns"

_FLUSH_BYTES, FLUSH_SECONDS = 64 * 2**20, 2.0
"""After so much, or so long, the disk is asked for what it has not written yet: what a kill can cost."""
_BUFFERS_PER_WRITE = 64
"""About two megabytes. Of larger writes some took twice as long in the kernel, of single images all a third longer."""


def num_done(dest: Path) -> int:
    """How many images of a destination are on the disk, by its journal."""
    return sum(rows for rows, _ in _journal(dest / WORK / _JOURNAL)[0].values())


class Staging:
    """The hidden folder of a destination, held by this process alone."""

    def __init__(self, dest: Path, plan: Mapping[str, Any], may_change: Mapping[str, Any], began_ns: int) -> None:
        """dest: holds nothing, or what was begun with the same plan, and then at the time when it was."""
        self.dest, self.folder, self.began_ns = dest, dest / WORK, began_ns
        self.bad: list[Handled] = []
        self._done: dict[str, tuple[int, int]] = {}
        known = self.folder / PLAN
        if known.exists():
            begun = json.loads(known.read_text("utf-8"))
            first_ns = begun.pop(_BEGAN)
            begun |= {name: plan[name] for name, value in may_change.items() if begun[name] == value}
            self._done, self.bad, num_bytes = _journal(self.folder / _JOURNAL)
            if self._done:  # else nothing of it is there yet
                same_plan(begun, plan, dest)
                os.truncate(self.folder / _JOURNAL, num_bytes)
                self.began_ns = first_ns
        write_text(known, json.dumps({**plan, _BEGAN: self.began_ns}))
        self._journal = (self.folder / _JOURNAL).open("ab", buffering=0)
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._flushing: deque[Future[None]] = deque()

    def done(self, file: str) -> tuple[int, int]:
        """How many rows of a file were on the disk when this process began, in how many bytes."""
        return self._done.get(file, (0, 0))

    def note(self, file: str, rows: int, num_bytes: int, bad: Sequence[Handled]) -> None:
        """Remember that a file's first rows are on the disk, and which of those added since the last time are bad."""
        self.bad += bad
        line = {"file": file, "rows": rows, "bytes": num_bytes, "bad": list(bad)}
        with full_disk_names(self.folder / _JOURNAL):
            self._journal.write(json.dumps(line).encode() + b"\n")

    def later(self, work: Callable[[], None]) -> None:
        """Have a thread do what waits for the disk, in order; waits itself when too much is left to do."""
        self._flushing.append(self._flusher.submit(work))
        while len(self._flushing) > 2:
            self._flushing.popleft().result()

    def finish(self) -> None:
        """Wait until all is on the disk."""
        while self._flushing:
            self._flushing.popleft().result()

    def abandon(self) -> None:
        """Leave what waits for the disk undone; it will be made again."""
        self._flusher.shutdown(cancel_futures=True)

    def close(self) -> None:
        self.abandon()
        self._journal.close()

    def remove(self) -> None:
        """Remove the hidden folder: the destination is complete."""
        self.close()
        (self.folder / PLAN).unlink()
        shutil.rmtree(self.folder)

    def part(self, file: str) -> Path:
        """The path of a file until it is complete."""
        return self.folder / f"{file.replace('/', '%')}.part"


def _journal(path: Path) -> tuple[dict[str, tuple[int, int]], list[Handled], int]:
    """(rows and bytes of each file that are on the disk, the bad images among them, bytes of all whole lines)."""
    done: dict[str, tuple[int, int]] = {}
    bad: list[Handled] = []
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]  # a killed process may have cut the last line
    for line in whole.splitlines():
        entry = json.loads(line)
        done[entry["file"]] = entry["rows"], entry["bytes"]
        bad += entry["bad"]
    return done, bad, len(whole)


class Sink:
    """A file that grows in the hidden folder, from where the journal says, and gets its name when it is complete."""

    def __init__(self, staging: Staging, file: str) -> None:
        self._staging, self._file = staging, file
        self._part, self._final = staging.part(file), staging.dest / file
        self.is_complete = self._final.exists()
        self.rows, self._num_bytes = staging.done(file)
        self._flushed, self._flushed_at, self._bad = self._num_bytes, time.monotonic(), list[Handled]()
        self._is_closing = False

    def add(self, num_rows: int, buffers: Sequence[bytes], bad: Sequence[Handled]) -> None:
        """Append what holds the next rows."""
        for start in range(0, len(buffers), _BUFFERS_PER_WRITE):
            self._num_bytes += self._write(buffers[start : start + _BUFFERS_PER_WRITE])
        self.rows += num_rows
        self._bad += bad
        is_late = time.monotonic() - self._flushed_at > FLUSH_SECONDS
        if is_late or self._num_bytes - self._flushed >= _FLUSH_BYTES:
            self._staging.later(self._flush())

    def complete(self, end: bytes) -> None:
        """Close the file with these last bytes, and give it its name when it is on the disk."""
        flush = self._flush()  # without the end, which is written again where the name was not given any more
        self._write([end])
        self._is_closing = True

        def work() -> None:
            try:
                flush()
            finally:
                os.close(self._descriptor)
            self._part.replace(self._final)

        self._staging.later(work)

    def __enter__(self) -> "Sink":
        """Open the file where it was left."""
        self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.fstat(self._descriptor).st_size < self._num_bytes:
            os.close(self._descriptor)
            raise TenchError(
                f"{self._part}: is shorter than its journal says. Remove {self._staging.dest} and start anew."
            )
        os.ftruncate(self._descriptor, self._num_bytes)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_closing:
            self._staging.abandon()
            os.close(self._descriptor)

    def _flush(self) -> Callable[[], None]:
        """Has all that was added on the disk, and notes it."""
        rows, num_bytes, bad = self.rows, self._num_bytes, self._bad
        self._bad, self._flushed, self._flushed_at = [], num_bytes, time.monotonic()

        def work() -> None:
            os.fsync(self._descriptor)
            self._staging.note(self._file, rows, num_bytes, bad)

        return work

    def _write(self, buffers: Sequence[bytes]) -> int:
        num_bytes = sum(map(len, buffers))
        with full_disk_names(self._staging.folder / self._file):
            written = os.writev(self._descriptor, buffers) if num_bytes else 0
            if written < num_bytes:  # a disk that is nearly full, or a signal
                rest = memoryview(b"".join(buffers))[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        return num_bytes


@contextlib.contextmanager
def staging(
    dest: Path, plan: Mapping[str, Any], needed_bytes: int, may_change: Mapping[str, Any], began_ns: int
) -> Iterator[Staging]:
    """The hidden folder of a destination, locked. Raises TenchError where another process has it, or the disk is full.

    plan: what decides the bytes that are written. may_change: what of it may have had this value when it was begun, and
    have another now. began_ns: when the source was looked at. Raises UsageError where something else lies there, or
    what was begun with another plan.
    """
    import filelock

    check_destination(dest)
    work = dest / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = filelock.FileLock(work / _LOCK, timeout=0).acquire()
        except filelock.Timeout:
            raise TenchError(f"{dest}: {_owner(work)} is preparing it. Wait for it, or stop it.") from None
        with lock:
            write_text(work / _OWNER, json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
            held = Staging(dest, plan, may_change, began_ns)
            try:
                yield held
            finally:
                held.close()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(dest).free
        raise TenchError(
            f"{dest}: the disk is full. About {size_text(needed_bytes)} are needed in total, {size_text(free)} are "
            "free. The finished part is kept. Make room and run the same command again."
        ) from error


def check_destination(dest: Path) -> None:
    """Raise UsageError where a destination holds something else than what was begun or prepared by us."""
    if dest.exists() and not dest.is_dir():
        raise UsageError(f"{dest}: is a file, but the destination must be a folder. Name another.")
    if dest.is_dir() and not is_unfinished(dest) and not (dest / PREPARED).exists():
        others = sorted(entry.name for entry in dest.iterdir() if entry.name != WORK)
        if others:
            raise UsageError(
                f"{dest}: already holds {some(others, at_most=3)}, and nothing is overwritten. Name a folder "
                "that is empty or does not exist."
            )


def _owner(work: Path) -> str:
    try:
        owner = json.loads((work / _OWNER).read_text("utf-8"))
        return f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def same_plan(known: Mapping[str, Any], plan: Mapping[str, Any], dest: Path) -> None:
    """Raise UsageError where what was begun at a destination differs from what is asked for now."""
    differences = [
        f"{name} was {_short(known.get(name))}, now {_short(plan.get(name))}"
        for name in dict.fromkeys([*known, *plan])
        if known.get(name) != json.loads(json.dumps(plan.get(name)))
    ]
    if differences:
        raise UsageError(
            f"{dest}: was made with another source or other options: {'; '.join(differences)}. Repeat the earlier "
            f"ones, or remove {dest} to start over."
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
