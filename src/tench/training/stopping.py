"""Stop between two steps, with a checkpoint, when the user or the scheduler asks for it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from tench.errors import TenchError


class StoppedError(TenchError):
    """Stopped by Ctrl-C or SIGTERM, after saving a checkpoint."""


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """In this block, the first Ctrl-C or SIGTERM asks to stop after the current step; a second one stops at once.

    Yields a function that says whether to stop. The previous signal handlers are restored. Only the main thread can
    install handlers; in any other one, signals do what they did before.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python
