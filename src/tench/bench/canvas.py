"""The canvas of a plain chart: margins, a title, axes with tick labels, and the position of a point.

It is drawn with Pillow, which is installed anyway. Two plain charts do not justify a plotting library of 30 MB.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

BLUE, RED, GREY, PALE = "#1f5fa8", "#b03030", "#808080", "#e4e4e4"
_WIDTH, _HEIGHT = 720, 480
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 50, 30, 60  # margins
_LINE = 15
"""Pixels from one line of text to the next."""

Mark = tuple[float, str]
"""A tick on an axis: its position, 0 to 1, and its label."""


class Canvas:
    """An RGB image of 720 x 480 pixels, and the objects to draw on it."""

    def __init__(self, title: str, x_name: str, y_name: str, x_marks: Sequence[Mark], y_marks: Sequence[Mark]) -> None:
        self.picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
        self.draw, self.font = ImageDraw.Draw(self.picture), ImageFont.load_default(14)
        self._labels: list[tuple[float, float, float]] = []  # left, middle, length of those drawn
        self._text((_LEFT, _TOP // 2), title, "lm")
        for place, text in y_marks:
            self.draw.line([self.at(0, place), self.at(1, place)], PALE)
            self._text((_LEFT - 8, self.at(0, place)[1]), text, "rm")
        for place, text in x_marks:
            self._text((self.at(place, 0)[0], _HEIGHT - _BOTTOM + 14), text, "mm")
        self._text((self.at(0.5, 0)[0], _HEIGHT - 16), x_name, "mm")
        self._text((8, _TOP // 2), y_name, "lm")

    def at(self, across: float, up: float) -> tuple[float, float]:
        """The pixel position of a point whose coordinates are fractions of the axes, 0 to 1."""
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    def dot(self, across: float, up: float, colour: str) -> None:
        x, y = self.at(across, up)
        self.draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)

    def label(self, across: float, up: float, text: str, colour: str) -> None:
        """Draw text next to a point, to its right or left, moved up or down until it covers no other label."""
        x, y = self.at(across, up)
        length = self.draw.textlength(text, self.font)
        places = [
            (left, y + sign * move * _LINE)
            for move in range(_HEIGHT // _LINE)
            for sign in ((1,) if move == 0 else (1, -1))
            for left in (x + 8, x - 8 - length)
        ]
        free = (place for place in places if self._is_free(*place, length))
        left, middle = next(free, places[0])
        self._labels.append((left, middle, length))
        self.draw.text((left, middle), text, colour, self.font, anchor="lm")

    def _is_free(self, left: float, middle: float, length: float) -> bool:
        within = left >= 0 and left + length < _WIDTH and _TOP < middle < _HEIGHT - _BOTTOM
        return within and all(
            left + length < other or other + width < left or abs(middle - line) >= _LINE
            for other, line, width in self._labels
        )

    def _text(self, place: tuple[float, float], text: str, anchor: str) -> None:
        self.draw.text(place, text, "black", self.font, anchor=anchor)
