"""Threads against images per second, as a picture: measured, and what as many times one thread would be.

Drawn with Pillow, which is there anyway: one plain chart is not worth a plotting library of 30 MB.
"""

import math
from typing import TYPE_CHECKING

from tench.bench.result import STEP, WHOLE, Result

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _HEIGHT = 720, 480
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 50, 30, 60  # margins
_BLUE, _RED, _GREY, _PALE = "#1f5fa8", "#b03030", "#808080", "#e4e4e4"
_LINES = 5


def chart(result: Result) -> "Image":
    """The whole path's rates with their spread, the line of perfect scaling, and the network's rate if measured.

    Returns an RGB image of 720 x 480 pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = sorted((row for row in result.rows if row.stage == WHOLE), key=lambda row: row.threads)
    step = result.find(STEP)
    most = rows[-1].threads
    shown = [row.rate.max for row in rows] + ([step.rate.median] if step else [])
    highest = _nice(max(shown))
    one = rows[0].rate.median

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)

    def x(threads: float) -> float:
        return _LEFT + threads / most * (_WIDTH - _LEFT - _RIGHT)

    def y(rate: float) -> float:
        return _HEIGHT - _BOTTOM - rate / highest * (_HEIGHT - _TOP - _BOTTOM)

    draw.text((_LEFT, _TOP // 2), f"{result.source} ({result.split}), {result.view}", "black", font, anchor="lm")
    for number in range(_LINES + 1):
        rate = highest * number / _LINES
        draw.line([(_LEFT, y(rate)), (x(most), y(rate))], _PALE)
        draw.text((_LEFT - 8, y(rate)), f"{rate:,.4g}" if rate < 1000 else f"{rate:,.0f}", "black", font, anchor="rm")
    for row in rows:
        draw.text((x(row.threads), _HEIGHT - _BOTTOM + 14), str(row.threads), "black", font, anchor="mm")
    draw.text(((_LEFT + x(most)) / 2, _HEIGHT - 16), "threads", "black", font, anchor="mm")
    draw.text((8, _TOP // 2), "images/s", "black", font, anchor="lm")

    end = min(most, highest / one)  # perfect scaling may leave the picture
    draw.line([(x(0), y(0)), (x(end), y(end * one))], _GREY)
    if step is not None:
        level = y(step.rate.median)
        draw.line([(_LEFT, level), (x(most), level)], _RED)
        draw.text((_LEFT + 6, level - 9), f"{result.arch} ({result.device})", _RED, font, anchor="lm")
    draw.line([(x(row.threads), y(row.rate.median)) for row in rows], _BLUE, width=2)
    for row in rows:
        across, up = x(row.threads), y(row.rate.median)
        draw.line([(across, y(row.rate.min)), (across, y(row.rate.max))], _BLUE)
        draw.ellipse([across - 4, up - 4, across + 4, up + 4], fill=_BLUE)
    return picture


def _nice(rate: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten: an axis that ends in a round number."""
    unit = 10.0 ** math.floor(math.log10(rate))
    return next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rate)
