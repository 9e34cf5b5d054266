"""Durations in a training, as people write them: "5 epochs", "500 steps", "23 %"."""

import dataclasses
import math
import re
import typing
from typing import Annotated, Literal

from tench.errors import UsageError

Unit = Literal["epochs", "steps", "%"]

_WRITTEN = re.compile(r"\s*(\S*?)\s*([a-z]+|%)\s*")
_UNITS = {"epoch": "epochs", "epochs": "epochs", "step": "steps", "steps": "steps", "%": "%"}
_MOST = 1e9  # no training is longer, and a float of 1e300 would not become steps
_EXPECTED = 'such as "5 epochs", "500 steps" or "10 %"'


@dataclasses.dataclass(frozen=True)
class Duration:
    """A number of epochs or steps, or a percentage of the whole training."""

    count: float
    unit: Unit

    @classmethod
    def parse(cls, text: str, name: str) -> "Duration":
        """From "5 epochs", "500 steps" or "23 %". Raises UsageError naming the field."""
        written = _WRITTEN.fullmatch(text)
        number, unit = written.groups() if written else ("", "")
        try:
            count = float(number)
        except ValueError:
            count = -1.0
        known = _UNITS.get(unit)
        if not 0 <= count < math.inf or known is None or (known == "%" and count > 100):
            raise UsageError(f"{name}: expected a duration {_EXPECTED}, found {text!r}.")
        return cls(count, typing.cast(Unit, known))

    def __str__(self) -> str:
        """As people write it: "1 epoch", "0.5 epochs", "10 %"."""
        unit = self.unit.removesuffix("s") if self.count == 1 else self.unit
        return f"{self.count:,g} {unit}"

    def steps(self, steps_per_epoch: int, total_steps: int) -> int:
        """The duration in steps: epochs are rounded to the nearest step, a percentage is rounded down."""
        if self.unit == "%":
            return int(total_steps * self.count / 100)
        return round(min(self.count, _MOST) * (steps_per_epoch if self.unit == "epochs" else 1))


@dataclasses.dataclass(frozen=True, slots=True)
class IsDuration:
    """The bounds of a text that is a duration. positive: it must not be 0."""

    positive: bool = False

    def holds(self, value: str) -> bool:
        try:
            return Duration.parse(value, "").count > 0 or not self.positive
        except UsageError:
            return False

    def __str__(self) -> str:
        return f"a duration {'above 0 ' if self.positive else ''}{_EXPECTED}"


DurationText = Annotated[str, IsDuration()]
PositiveDuration = Annotated[str, IsDuration(positive=True)]
