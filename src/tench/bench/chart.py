"""A chart of images per second against threads: the measured rates, and perfect scaling from one thread."""

import math
from typing import TYPE_CHECKING

from tench.bench.result import STEP, WHOLE, Result

if TYPE_CHECKING:
    from PIL.Image import Image

_LINES = 5


def chart(result: Result) -> "Image":
    """The whole path's rates with their spread, the line of perfect scaling, and the network's rate if measured.

    Returns an RGB image of 720 x 480 pixels.
    """
    from tench.bench.canvas import BLUE, GREY, RED, Canvas

    rows = sorted((row for row in result.rows if row.stage == WHOLE), key=lambda row: row.threads)
    step = result.find(STEP)
    most = rows[-1].threads
    shown = [row.rate.max for row in rows] + ([step.rate.median] if step else [])
    highest = _nice(max(shown))
    one = rows[0].rate.median
    levels = [(number / _LINES, highest * number / _LINES) for number in range(_LINES + 1)]
    canvas = Canvas(
        f"{result.source} ({result.split}), {result.view}",
        "threads",
        "images/s",
        [(row.threads / most, str(row.threads)) for row in rows],
        [(up, f"{rate:,.4g}" if rate < 1000 else f"{rate:,.0f}") for up, rate in levels],
    )
    draw, at = canvas.draw, canvas.at

    end = min(most, highest / one)  # perfect scaling may exceed the picture
    draw.line([at(0, 0), at(end / most, end * one / highest)], GREY)
    if step is not None:
        level = step.rate.median / highest
        draw.line([at(0, level), at(1, level)], RED)
        left, up = at(0, level)
        draw.text((left + 6, up - 9), f"{result.arch} ({result.device})", RED, canvas.font, anchor="lm")
    draw.line([at(row.threads / most, row.rate.median / highest) for row in rows], BLUE, width=2)
    for row in rows:
        across = row.threads / most
        draw.line([at(across, row.rate.min / highest), at(across, row.rate.max / highest)], BLUE)
        canvas.dot(across, row.rate.median / highest, BLUE)
    return canvas.picture


def _nice(rate: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten, so that the axis ends in a round number."""
    unit = 10.0 ** math.floor(math.log10(rate))
    return next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rate)
