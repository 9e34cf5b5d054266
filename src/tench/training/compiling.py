"""Decide whether torch.compile saves time: try and measure it at the start of a training that is long enough."""

import copy
import ctypes
import logging
import math
import threading
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_TRY_FROM_SECONDS = 3600.0
"""Compiling a network and measuring it takes minutes, and a shorter training is unlikely to recover them."""
_TRIAL_SHARE = 0.05
"""The trial may take this share of the training's estimated time."""
_FIRST_LOOK = 8
"""Images used for the first, cheap estimate of how long the training takes."""
_REPEATS = 2
_MOST_SIZES = 64
"""Image sizes that torch compiles before it gives up. Its own limit is 8, and progressive resizing may use more."""

Work = Callable[[nn.Module, Tensor], None]
"""One forward and backward pass of a network over images, which waits for the device."""

_log = logging.getLogger("tench")


def compile_pays(module: nn.Module, images: Tensor, work: Work, passes: int) -> bool:
    """Whether compiling the network saves more time in `passes` passes than it takes.

    images: a batch as the network gets it. A copy of the module is compiled, and torch's generators are restored.
    Returns False if the network cannot be compiled here (no compiler, an operator that torch.compile does not support),
    or not within 5 % of the training's estimated time.
    """
    devices = [] if images.device.type == "cpu" else [images.device]
    with torch.random.fork_rng(devices, device_type=images.device.type):
        return _tried(module, images, work, passes)


def _tried(module: nn.Module, images: Tensor, work: Work, passes: int) -> bool:
    tried = copy.deepcopy(module)
    few = images[:_FIRST_LOOK]
    if _seconds(lambda: work(tried, few)) * len(images) / len(few) * passes < _TRY_FROM_SECONDS:
        return False
    eager = _seconds(lambda: work(tried, images))
    if eager * passes < _TRY_FROM_SECONDS:  # a GPU takes about as long for few images as for many
        return False
    limit = _TRIAL_SHARE * eager * passes
    _log.info(
        "Trying torch.compile, for at most %.0f min: the training takes about %.1f h without it ...",
        limit / 60,
        eager * passes / 3600,
    )
    began = time.monotonic()
    try:
        with _at_most(limit):
            compiled = compiled_forward(tried)
            work(compiled, images)
            took = time.monotonic() - began
            fast = _seconds(lambda: work(compiled, images))
    except _TooLongError:
        _log.info("Compile: off; compiling had not finished after %.0f min.", limit / 60)
        return False
    except Exception as error:  # a compiler may raise anything
        _log.info("Compile: off; it failed (%s).", str(error).strip().partition("\n")[0] or type(error).__name__)
        return False
    finally:
        torch.compiler.reset()
    pays = (eager - fast) * passes > took
    _log.info(
        "Compile: %s; forward and backward take %.0f ms, compiled %.0f ms, and compiling took %.0f s.",
        "on" if pays else "off",
        1000 * eager,
        1000 * fast,
        took,
    )
    return pays


class _TooLongError(BaseException):
    """Not an Exception: torch.compile catches those, and falls back to running without a compiler."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise _TooLongError in this block once it has taken that long, at the next Python instruction.

    torch.compile has no time limit of its own, and a network can only be compiled in the process that trains it.
    """
    thread, lock, over = ctypes.c_ulong(threading.get_ident()), threading.Lock(), False

    def interrupt() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TooLongError))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # not raised yet: withdraw it
        timer.cancel()


def compiled_forward(module: nn.Module) -> nn.Module:
    """The compiled network, which shares the module's parameters. Each image size is compiled separately."""
    torch._dynamo.config.cache_size_limit = _MOST_SIZES
    return typing.cast(nn.Module, torch.compile(module, dynamic=False))


def _seconds(work: Callable[[], None]) -> float:
    """The shortest of several times, after one untimed run."""
    work()
    best = math.inf
    for _ in range(_REPEATS):
        began = time.monotonic()
        work()
        best = min(best, time.monotonic() - began)
    return best
