"""Process images one by one in one thread: how fast each stage is, and its fraction of the time per image.

The fractions come from clocks inside the pass that makes the training views. Comparing the rates of `view` and `decode`
would not show them, because a view decodes only the part it shows, often at a smaller size.
"""

import dataclasses
import time

import numpy as np

from tench.data.images.image import Pixels
from tench.data.images.picture import Picture, decode_row, errors_name, open_picture
from tench.data.table import Table
from tench.input.augment import Augmented
from tench.input.resampling import Image
from tench.input.views import Draws, View, view_draws


def read_pass(table: Table) -> int:
    """Read every row; returns their number. Raises TenchError."""
    for row in range(len(table)):
        table.read(row)
    return len(table)


def decode_pass(table: Table, channels: int) -> int:
    """Read every row and decode it whole; returns their number. Raises TenchError naming a bad image."""
    for row in range(len(table)):
        decode_row(table, row, channels)
    return len(table)


class Clock:
    """The seconds of each stage of making views: read, decode, resize (crop and mirroring), augment."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("read", "decode", "resize", "augment"), 0.0)

    def shares(self) -> dict[str, float]:
        """The fraction of each stage, 0 to 1; augment only if there is any."""
        total = sum(self.seconds.values()) or 1.0
        return {stage: taken / total for stage, taken in self.seconds.items() if taken or stage != "augment"}


def view_pass(table: Table, view: View, channels: int, epoch: int, clock: Clock) -> int:
    """Make the training view of every row, as the loader's threads do; returns their number. Raises TenchError."""
    seconds = clock.seconds
    draws = view_draws(view, 0, epoch, np.arange(len(table)))
    out = np.empty((view.size, view.size, channels), np.uint8)
    timed = _timed(view, clock)
    for row in range(len(table)):
        began = time.perf_counter()
        data = table.read(row)
        seconds["read"] += (now := time.perf_counter()) - began
        with errors_name(table, row):
            picture = open_picture(table, row, data, channels)
            seconds["decode"] += time.perf_counter() - now
            timed.render(_TimedPicture(picture, clock), draws[row], out)
    return len(table)


def _timed(view: View, clock: Clock) -> View:
    """The same view with clocks in its stages."""
    if isinstance(view, Augmented):
        return _Timed(dataclasses.replace(view, view=_Timed(view.view, clock, "resize")), clock, "augment")
    return _Timed(view, clock, "resize")


@dataclasses.dataclass(frozen=True)
class _Timed:
    """A view that adds its time to a stage, without the time that inner stages have counted."""

    view: View
    clock: Clock
    stage: str

    @property
    def size(self) -> int:
        return self.view.size

    @property
    def num_draws(self) -> int:
        return self.view.num_draws

    @property
    def alternates(self) -> bool:
        return self.view.alternates

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        seconds = self.clock.seconds
        before, began = sum(seconds.values()), time.perf_counter()
        self.view.render(image, draws, out)
        whole = time.perf_counter() - began
        seconds[self.stage] += whole - (sum(seconds.values()) - before)


@dataclasses.dataclass(frozen=True)
class _TimedPicture:
    """A picture whose decoding time is measured."""

    picture: Picture
    clock: Clock

    @property
    def height(self) -> int:
        return self.picture.height

    @property
    def width(self) -> int:
        return self.picture.width

    def part(self, top: int, left: int, height: int, width: int, *, enough: int = 0, fast: bool = False) -> Pixels:
        began = time.perf_counter()
        pixels = self.picture.part(top, left, height, width, enough=enough, fast=fast)
        self.clock.seconds["decode"] += time.perf_counter() - began
        return pixels
