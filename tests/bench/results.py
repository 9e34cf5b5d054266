"""Helpers for tests: a result of `tench bench input`, and a measurement that is interrupted."""

import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tench.bench.result import Result, Row
from tench.bench.step import Measured


def made_up(rows: Sequence[Row], shares: Mapping[str, float]) -> Result:
    """A made-up result for a sample of 100 of 1,000 photographs, on two cores."""
    return Result(
        source="/data/flowers",
        split="train",
        num_images=1000,
        sampled=100,
        view="random-resized-crop",
        image_size=224,
        channels=3,
        batch_size=64,
        cores=2,
        device="cpu",
        is_resident=False,
        cold="dropped",
        rows=rows,
        shares=shares,
    )


def interrupted_after_a_row(
    found: Sequence[Any], measured: Measured
) -> Callable[[Mapping[str, Any], float, Callable[[], None]], dict[str, Measured]]:
    """A replacement for `in_turns`. It returns `measured` for all, and sends Ctrl-C once `found` has a row."""

    def in_turns(makers: Mapping[str, Any], seconds: float, done: Callable[[], None]) -> dict[str, Measured]:
        if found:
            signal.raise_signal(signal.SIGINT)
        done()
        return dict.fromkeys(makers, measured)

    return in_turns
