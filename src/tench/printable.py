"""Make text safe to print: names of files and classes can come from anybody, and a terminal obeys control characters.

A control character retitles or repaints the terminal, a newline forges a line of output, a bidirectional override shows
a name backwards. All output passes through streams that show these as Python writes them in a string (\\x1b, \\u202e),
whether they lead to a terminal or to a file that is looked at later. So no call site has to think of it, and what it
costs is bounded by what is printed. Letters of every script, combined marks and emoji stay as they are.
"""

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from typing import IO, Any

from tench.errors import TenchError

_FLAG = "\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]+\U000e007f"
"""An emoji of a flag is written with characters that are invisible elsewhere."""
_HIDDEN = re.compile(
    f"{_FLAG}|"
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # control characters, but for the tab
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # formats, but for joiners
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    "\udc80-\udc9f]"  # bytes of a file name that are no text, and control characters in 8-bit terminals
)


_MIN_WIDTH = 40


def printable(text: str, *, lines: bool = False) -> str:
    """A text with all characters escaped that a terminal would obey, or that would hide others.

    lines: leave newlines. The tab stays.
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
    """stdout does not take what is printed, such as on a full disk."""


class _Guard:
    """A text stream that passes on printable text. A newline inside a piece of text is escaped unless `lines`.

    must_arrive: raise OutputError if the stream fails. Otherwise what cannot be written is dropped: a training goes on
    if nobody reads its messages.
    """

    def __init__(self, stream: IO[str], lines: bool, must_arrive: bool) -> None:
        self.stream, self._lines, self._must_arrive = stream, lines, must_arrive

    def write(self, text: str) -> int:
        end = "\n" if text.endswith("\n") else ""  # print() writes a line and its end apart; csv writes them as one
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

    A text of several lines is printed line by line on stdout. stderr takes newlines, for warnings of libraries: our own
    messages escape names before.
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
    """Columns of the terminal, at least 40: in fewer a table or a bar has no room, and drawing it may never end."""
    return max(shutil.get_terminal_size().columns, _MIN_WIDTH)
