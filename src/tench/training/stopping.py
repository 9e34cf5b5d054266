"""Stop between two steps, with a checkpoint, when the user or the scheduler asks for it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from tench.errors import TenchError


class StoppedError(TenchError):
    """Training was stopped by Ctrl-C or SIGTERM, after it saved a checkpoint. The text says how to continue.

    >>> try:
    ...     run = tench.fit(run="runs/digits")
    ... except tench.StoppedError as error:
    ...     print(error)
    """


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """In this block, the first Ctrl-C or SIGTERM asks to stop after the current step; a second one stops at once.

    Yields a function that says whether to stop. The previous signal handlers are restored. Only the main thread can
    install handlers; in any other one, signals do what they did before.

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
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python
