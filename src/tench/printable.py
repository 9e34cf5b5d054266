"""Make text safe to print: anyone can name a file or a class, and a terminal obeys control characters.

A control character can retitle or repaint the terminal, a newline can forge a line of output, and a bidirectional
override can show a name backwards. All output goes through streams that escape these characters as Python does (\\x1b,
\\u202e), for terminals and for files that are read later. Call sites need not care, and the cost depends only on the
amount of output. Letters of every script, combining marks and emoji are printed unchanged.
"""

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from typing import IO, Any

from tench.errors import TenchError

_FLAG = "\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]+\U000e007f"
"""Flag emoji consist of characters that are invisible elsewhere."""
_HIDDEN = re.compile(
    f"{_FLAG}|"
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # control characters except the tab
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # formats, except joiners
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    "\udc80-\udc9f]"  # bytes of file names that are not text, and control characters of 8-bit terminals
)


MIN_WIDTH = 40
"""Minimum width of help, tables and bars: with fewer columns they have no room, and drawing them may never end."""


def printable(text: str, *, lines: bool = False) -> str:
    """Escape characters that a terminal would obey or that would hide others.

    Tabs are kept; newlines too, if `lines` is set.
    """

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        if len(character) > 1 or (lines and character == "\n"):
            return character
        code = ord(character)
        if 0xDC80 <= code <= 0xDC9F:
            return f"\\x{code - 0xDC00:02x}"
        return character.encode("unicode_escape").decode("ascii")

    return _HIDDEN.sub(escaped, text)


class OutputError(TenchError):
    """Writing to stdout failed, for example because the disk is full."""


class _Guard:
    """A text stream that makes text printable. Newlines inside a piece of text are escaped unless `lines` is set.

    must_arrive: raise OutputError if the stream fails. Otherwise text that cannot be written is dropped, so that
    training continues even if nobody reads its messages.
    """

    def __init__(self, stream: IO[str], lines: bool, must_arrive: bool) -> None:
        self.stream, self._lines, self._must_arrive = stream, lines, must_arrive

    def write(self, text: str) -> int:
        end = "\n" if text.endswith("\n") else ""  # print() writes the newline separately; csv does not
        with self._failing():
            self.stream.write(printable(text.removesuffix("\n"), lines=self._lines) + end)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self.stream.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._must_arrive:
                return
            if isinstance(error, BrokenPipeError):
                raise
            raise OutputError(f"cannot write to standard output: {error.strerror or error}.") from error

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Make everything printed in this block printable.

    On stdout, print multi-line text line by line. stderr accepts newlines, for the warnings of libraries; names in our
    own messages are escaped beforehand.
    """
    out: Any = _Guard(sys.stdout, lines=False, must_arrive=True)
    error: Any = _Guard(sys.stderr, lines=True, must_arrive=False)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        yield


def unguarded(stream: IO[str]) -> IO[str]:
    """The stream behind `guarded`, for libraries that draw on the terminal."""
    while isinstance(stream, _Guard):
        stream = stream.stream
    return stream


def terminal_width() -> int:
    """Columns of the terminal, at least MIN_WIDTH."""
    return max(shutil.get_terminal_size().columns, MIN_WIDTH)
