"""A destination while it is being written: its progress, and what a killed process has left behind.

A hidden folder next to the complete files contains a lock, the plan (plan.json), the incomplete files and a journal.
Each line of the journal says how much of a file is safely on disk; on resuming, everything after that point is
truncated and written again. Because the bytes depend only on the plan, a killed process and its successors together
write exactly what one process would have written.
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
from tench.files import DiskFullError, full_disk_names, size_text, write_text

_JOURNAL, _LOCK, _OWNER = "journal.jsonl", "lock", "owner.json"
_BEGAN = "began_ns"

_FLUSH_BYTES, FLUSH_SECONDS = 64 * 2**20, 2.0
"""Written data is flushed to disk after this many bytes or seconds; a kill cannot cost more."""
_BUFFERS_PER_WRITE = 64
"""Bytes per write, about two megabytes. Some larger writes took twice as long in the kernel; writing single images took
a third longer."""


def num_done(dest: Path) -> int:
    """The number of images of a destination that are on disk, according to its journal."""
    return sum(rows for rows, _ in _journal(dest / WORK / _JOURNAL)[0].values())


class Staging:
    """The hidden folder of a destination, locked by this process."""

    def __init__(self, dest: Path, plan: Mapping[str, Any], may_change: Mapping[str, Any], began_ns: int) -> None:
        """began_ns: if the destination was begun earlier with the same plan, the earlier time is kept."""
        self.dest, self.folder, self.began_ns = dest, dest / WORK, began_ns
        self.bad: list[Handled] = []
        self._done: dict[str, tuple[int, int]] = {}
        known = self.folder / PLAN
        if known.exists():
            begun = json.loads(known.read_text("utf-8"))
            first_ns = begun.pop(_BEGAN)
            begun |= {name: plan[name] for name, value in may_change.items() if begun[name] == value}
            self._done, self.bad, num_bytes = _journal(self.folder / _JOURNAL)
            if self._done:  # otherwise nothing has been written, and another plan may start here
                same_plan(begun, plan, dest)
                os.truncate(self.folder / _JOURNAL, num_bytes)
                self.began_ns = first_ns
        write_text(known, json.dumps({**plan, _BEGAN: self.began_ns}))
        self._journal = (self.folder / _JOURNAL).open("ab", buffering=0)
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._flushing: deque[Future[None]] = deque()

    def done(self, file: str) -> tuple[int, int]:
        """(rows, bytes) of a file that were on disk when this process began."""
        return self._done.get(file, (0, 0))

    def note(self, file: str, rows: int, num_bytes: int, bad: Sequence[Handled]) -> None:
        """Record that a file's first rows are on disk, and which of those added since the last note are bad."""
        self.bad += bad
        line = {"file": file, "rows": rows, "bytes": num_bytes, "bad": list(bad)}
        with full_disk_names(self.folder / _JOURNAL):
            self._journal.write(json.dumps(line).encode() + b"\n")

    def later(self, work: Callable[[], None]) -> None:
        """Queue work that waits for the disk, to be done in order by a thread. Blocks while too much is queued."""
        self._flushing.append(self._flusher.submit(work))
        while len(self._flushing) > 2:
            self._flushing.popleft().result()

    def finish(self) -> None:
        """Wait until everything is on disk."""
        while self._flushing:
            self._flushing.popleft().result()

    def abandon(self) -> None:
        """Drop the queued work; the next process repeats it."""
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
    """((rows, bytes) of each file that are on disk, the bad images among them, bytes of all whole lines)"""
    done: dict[str, tuple[int, int]] = {}
    bad: list[Handled] = []
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]  # a killed process may have left the last line incomplete
    for line in whole.splitlines():
        entry = json.loads(line)
        done[entry["file"]] = entry["rows"], entry["bytes"]
        bad += entry["bad"]
    return done, bad, len(whole)


class Sink:
    """A file that grows in the hidden folder, from the position in the journal, and is renamed when it is complete."""

    def __init__(self, staging: Staging, file: str) -> None:
        self._staging, self._file = staging, file
        self._part, self._final = staging.part(file), staging.dest / file
        self.is_complete = self._final.exists()
        self.rows, self._num_bytes = staging.done(file)
        self._flushed, self._flushed_at, self._bad = self._num_bytes, time.monotonic(), list[Handled]()
        self._is_closing = False

    def add(self, num_rows: int, buffers: Sequence[bytes], bad: Sequence[Handled]) -> None:
        """Append the bytes of the next rows."""
        for start in range(0, len(buffers), _BUFFERS_PER_WRITE):
            self._num_bytes += self._write(buffers[start : start + _BUFFERS_PER_WRITE])
        self.rows += num_rows
        self._bad += bad
        is_late = time.monotonic() - self._flushed_at > FLUSH_SECONDS
        if is_late or self._num_bytes - self._flushed >= _FLUSH_BYTES:
            self._staging.later(self._flush())

    def complete(self, end: bytes) -> None:
        """Append the last bytes, and close and rename the file once it is on disk."""
        flush = self._flush()  # without the end, which is written again if the process dies before the file is renamed
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
        """Open the file where the last process stopped."""
        self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.fstat(self._descriptor).st_size < self._num_bytes:
            os.close(self._descriptor)
            raise TenchError(
                f"{self._part} is shorter than its journal says. Remove {self._staging.dest} and start again."
            )
        os.ftruncate(self._descriptor, self._num_bytes)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_closing:
            self._staging.abandon()
            os.close(self._descriptor)

    def _flush(self) -> Callable[[], None]:
        """Work that flushes everything added so far to disk and records it in the journal."""
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
            if written < num_bytes:  # the disk is nearly full, or a signal arrived
                rest = memoryview(b"".join(buffers))[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        return num_bytes


@contextlib.contextmanager
def staging(
    dest: Path, plan: Mapping[str, Any], needed_bytes: int, may_change: Mapping[str, Any], began_ns: int
) -> Iterator[Staging]:
    """The hidden folder of a destination, locked, for a `with`.

    plan: everything that determines the bytes written. may_change: entries of the plan that may have had these values
    when the destination was begun. began_ns: when the source was first read. Raises UsageError if the destination
    contains something else or was begun with another plan, TenchError if another process is writing there or the disk
    is full.
    """
    import filelock

    check_destination(dest)
    work = dest / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = filelock.FileLock(work / _LOCK, timeout=0).acquire()
        except filelock.Timeout:
            raise TenchError(
                f"{dest}: {_owner(work)} is writing to it. Wait until it has finished, or stop it."
            ) from None
        with lock:
            write_text(work / _OWNER, json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
            held = Staging(dest, plan, may_change, began_ns)
            try:
                yield held
            finally:
                held.close()
    except (OSError, DiskFullError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(dest).free
        raise TenchError(
            f"{dest}: the disk is full. About {size_text(needed_bytes)} is needed in total, {size_text(free)} is "
            "free. The finished part is kept. Free some space and run the same command again."
        ) from error


def check_destination(dest: Path) -> None:
    """Raise UsageError if a destination contains anything that `prepare` did not begin or finish."""
    if dest.exists() and not dest.is_dir():
        raise UsageError(f"{dest} is a file, but the destination must be a folder. Choose another destination.")
    if dest.is_dir() and not is_unfinished(dest) and not (dest / PREPARED).exists():
        others = sorted(entry.name for entry in dest.iterdir() if entry.name != WORK)
        if others:
            raise UsageError(
                f"{dest} already contains {some(others, at_most=3)}, and nothing is overwritten. Choose a folder "
                "that is empty or does not exist."
            )


def _owner(work: Path) -> str:
    try:
        owner = json.loads((work / _OWNER).read_text("utf-8"))
        return f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def same_plan(known: Mapping[str, Any], plan: Mapping[str, Any], dest: Path) -> None:
    """Raise UsageError if a destination was begun with a different plan."""
    differences = [
        f"{name} was {_short(known.get(name))}, now {_short(plan.get(name))}"
        for name in dict.fromkeys([*known, *plan])
        if known.get(name) != json.loads(json.dumps(plan.get(name)))
    ]
    if differences:
        raise UsageError(
            f"{dest} was begun with a different source or different options: {'; '.join(differences)}. Use the "
            f"earlier ones, or remove {dest} to start over."
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
