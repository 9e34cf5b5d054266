"""Progress on the terminal: a bar with rate and time left, or plain lines where there is no terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tench.printable import MIN_WIDTH, guarded, printable, unguarded

if TYPE_CHECKING:
    from rich.console import RenderableType

Advance = Callable[[int, str], None]
"""Called with how many more are done, and a short note to show below the bar ("" keeps the last)."""

_QUIET_SECONDS = 2.0  # what is done sooner shows nothing
_LINE_SECONDS = 30.0  # between plain lines


@contextmanager
def progress(what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show how far `what` is, in a `with`; the block calls the function it gets for every piece done.

    done: how many of the total were done before; they do not count for the rate.
    """
    what = printable(what)
    shown = _bar(what, total, unit, done) if sys.stderr.isatty() else _lines(what, total, unit, done)
    with shown as advance:
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
        """With the note in a line of its own, where it has the whole width."""

        def get_renderables(self) -> "Iterable[RenderableType]":
            yield from super().get_renderables()
            for task in self.tasks:
                if task.visible and task.fields["note"]:
                    yield Text(task.fields["note"])

    start = time.monotonic()
    # What is printed meanwhile has to go above the bar, unless it goes elsewhere: rich would send it to stderr too.
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
        rate = done / (now - start)
        left = (total - before - done) / rate
        line = f"{what}: {before + done}/{total}, {rate:,.0f} {unit}/s, {left:,.0f} s left {printable(note)}"
        print(line.rstrip(), file=sys.stderr)

    yield advance
