"""Stop between two steps, with a checkpoint, when the user or the scheduler asks to."""

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
    """While inside, the first Ctrl-C or SIGTERM only asks to stop after the step; a second one stops at once.

    A signal that was ignored when the process started stays ignored: a shell starts a background job with SIGINT
    ignored, so that Ctrl-C stops only the job in the foreground. SIGTERM still stops such a job cleanly.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    heeded = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
