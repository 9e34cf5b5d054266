"""What a running command shows: log messages, and progress with rate and time left.

Progress is a bar on a terminal, a line that is updated in a notebook, and plain lines elsewhere.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tench.printable import MIN_WIDTH, guarded, printable, unguarded

if TYPE_CHECKING:
    from rich.console import RenderableType

Advance = Callable[[int, str], None]
"""Called with the number of pieces done since the last call, and a short note to show below the bar ("" keeps the
last)."""

_QUIET_SECONDS = 2.0  # shorter work shows nothing
_LINE_SECONDS = 30.0  # between plain lines
_UPDATE_SECONDS = 0.2  # between updates of a notebook's line


class PlainHandler(logging.Handler):
    """Prints log messages, made printable, to the current stderr, or in a notebook to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            record.args = tuple(one if isinstance(one, int | float) else printable(str(one)) for one in record.args)
        print(self.format(record), file=sys.stdout if in_notebook() else sys.stderr, flush=True)


_showing = threading.Lock()
_num_showing = 0
_handler = PlainHandler()


@contextmanager
def messages_shown() -> Iterator[None]:
    """Print tench's log messages in this block, unless the program has configured logging."""
    global _num_showing
    log = logging.getLogger("tench")
    with _showing:  # two trainings in two threads share one handler
        shows = _num_showing > 0 or not log.hasHandlers()
        if shows:
            _num_showing += 1
            if _num_showing == 1:
                log.addHandler(_handler)
                log.setLevel(logging.INFO)
    try:
        yield
    finally:
        if shows:
            with _showing:
                _num_showing -= 1
                if _num_showing == 0:
                    log.removeHandler(_handler)
                    log.setLevel(logging.NOTSET)


def in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def progress(what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show the progress of `what` in a `with` block, which calls the yielded function for every piece done.

    done: pieces done before. They do not count towards the rate.
    """
    show = _bar if sys.stderr.isatty() else _notebook_line if in_notebook() else _lines
    with show(printable(what), total, unit, done) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )

    class Bar(Progress):
        """A bar with the note on its own line, at full width."""

        def get_renderables(self) -> "Iterable[RenderableType]":
            yield from super().get_renderables()
            for task in self.tasks:
                if task.visible and task.fields["note"]:
                    yield Text(task.fields["note"])

    start = time.monotonic()
    # Output of this process must go above the bar, but only if stdout is a terminal: rich sends all of it to stderr.
    above = sys.stdout.isatty()
    console = Console(file=unguarded(sys.stderr))
    if console.width < MIN_WIDTH:
        console.width = MIN_WIDTH
    with Bar(*columns, console=console, transient=True, redirect_stdout=above) as bars, guarded():
        task = bars.add_task(what, total=total, completed=before, rate="", note="", visible=False)
        done = 0

        def advance(count: int, note: str = "") -> None:
            nonlocal done
            done += count
            seconds = time.monotonic() - start
            if seconds > _QUIET_SECONDS:
                bars.update(task, completed=before + done, rate=f"{done / seconds:,.0f} {unit}/s", visible=True)
                if note:
                    bars.update(task, note=printable(note))

        yield advance


@contextmanager
def _notebook_line(what: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    """A line below the cell that is updated in place; it needs no widgets."""
    from IPython.display import display

    start = last = time.monotonic()
    done = 0
    shown: Any = None

    def text(line: str) -> dict[str, str]:
        return {"text/plain": line}

    def advance(count: int, note: str = "") -> None:
        nonlocal done, last, shown
        done += count
        now = time.monotonic()
        if now - start < _QUIET_SECONDS or now - last < _UPDATE_SECONDS or done == 0:
            return
        last = now
        filled = min(24, 24 * (before + done) // max(total, 1))
        line = f"{_line(what, total, unit, before, done, now - start)} {'█' * filled}{'░' * (24 - filled)} "
        if shown is None:
            shown = display(text(line + printable(note)), raw=True, display_id=True)
        else:
            shown.update(text(line + printable(note)), raw=True)

    try:
        yield advance
    finally:
        if shown is not None:
            shown.update(text(""), raw=True)


@contextmanager
def _lines(what: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0

    def advance(count: int, note: str = "") -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last < _LINE_SECONDS or done == 0:
            return
        last = now
        line = f"{_line(what, total, unit, before, done, now - start)} {printable(note)}"
        print(line.rstrip(), file=sys.stderr)

    yield advance


def _line(what: str, total: int, unit: str, before: int, done: int, seconds: float) -> str:
    rate = done / seconds
    return f"{what}: {before + done}/{total}, {rate:,.0f} {unit}/s, {(total - before - done) / rate:,.0f} s left"
