"""Whether torch.compile pays: tried and measured at the start of a training that is long enough to find out."""

import copy
import logging
import math
import time
import typing
from collections.abc import Callable

import torch
from torch import Tensor, nn

_TRY_FROM_SECONDS = 3600.0
"""Compiling a network and measuring it takes minutes, which a shorter training could hardly win back."""
_FIRST_LOOK = 8
"""Images that tell whether a training will be so long."""
_REPEATS = 2
_MOST_SIZES = 64
"""After so many image sizes torch gives compiling up and says so; its own limit is 8, and images may grow in more."""

Work = Callable[[nn.Module, Tensor], None]
"""One forward and backward pass of a network over images, the device waited for."""

_log = logging.getLogger("tench")


def compile_pays(module: nn.Module, images: Tensor, work: Work, passes: int) -> bool:
    """Whether a compiled network saves more time in so many passes than compiling takes.

    images: a batch as the network is given it. The module is left as it is, for what is tried is a copy, and so are
    torch's generators. What cannot be compiled here (no compiler, an operator that torch.compile does not know) does
    not pay.
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
    began = time.monotonic()
    try:
        compiled = compiled_forward(tried)
        work(compiled, images)
        took = time.monotonic() - began
        fast = _seconds(lambda: work(compiled, images))
    except Exception as error:  # whatever a compiler may say
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


def compiled_forward(module: nn.Module) -> nn.Module:
    """The same network, compiled; it shares its parameters. Each image size is compiled by itself."""
    torch._dynamo.config.cache_size_limit = _MOST_SIZES
    return typing.cast(nn.Module, torch.compile(module, dynamic=False))


def _seconds(work: Callable[[], None]) -> float:
    """The shortest of some times, after one that does not count."""
    work()
    best = math.inf
    for _ in range(_REPEATS):
        began = time.monotonic()
        work()
        best = min(best, time.monotonic() - began)
    return best
