"""Run a reader in a child process.

Some C libraries (HDF5, LMDB) can crash on damaged or hostile files, which no `except` catches. In a child process a
crash becomes an error with the file's name. The price is one Python start per file, a fraction of a second.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tench.errors import TenchError

_LIST_SECONDS = 120


def answer_of(module: str, arguments: Sequence[str], where: str, *, num_bytes: int = 0) -> Any:
    """Return what `python -m module arguments` prints as JSON.

    where: the file, for messages. num_bytes: how much the child reads; its time limit depends on it. Raises TenchError
    with the child's message if it fails, crashes or takes too long.
    """
    # -P: a file called lmdb.py in the current folder must not replace the package.
    seconds = _LIST_SECONDS + num_bytes / 1e6  # 1 MB/s is slower than any working disk
    command = [sys.executable, "-P", "-X", "utf8", "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise TenchError(
            f"{where}: could not be read within {seconds:,.0f} s. It is damaged, or the disk hangs. Copy it again."
        ) from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if done.returncode or not isinstance(answer, dict):
        raise TenchError(
            f"{where}: the library that reads it {_end(done.returncode)}. The file is damaged. Copy or download it "
            "again."
        )
    if "error" in answer:
        raise TenchError(f"{where}: {answer['error']}")
    return answer["answer"]


class RefusalError(Exception):
    """The child rejects the file; the text is its whole answer."""


def reply(work: Callable[[], Any], form: str) -> None:
    """In the child: print the result of `work`, or its error, for answer_of. form: "HDF5", for messages."""
    try:
        answer = {"answer": work()}
    except RefusalError as error:
        answer = {"error": str(error)}
    except Exception as error:  # these libraries raise errors of many kinds on damaged files
        first = str(error).partition("\n")[0].rstrip(".")
        answer = {
            "error": f"cannot be read as {form} ({first}). It is damaged or truncated. Copy or download it again."
        }
    print(json.dumps(answer), flush=True)


def _end(status: int) -> str:
    if status >= 0:
        return f"stopped with status {status}"
    names = {int(one): one.name for one in signal.Signals}
    return f"crashed ({names.get(-status, -status)})"
