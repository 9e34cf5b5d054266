"""Lengths of time in a training, as people write them: "5 epochs", "500 steps", "23 %"."""

import dataclasses
import math
import re
import typing
from typing import Literal

from tench.errors import UsageError

Unit = Literal["epochs", "steps", "%"]

_WRITTEN = re.compile(r"\s*(\S*?)\s*([a-z]+|%)\s*")
_UNITS = {"epoch": "epochs", "epochs": "epochs", "step": "steps", "steps": "steps", "%": "%"}


@dataclasses.dataclass(frozen=True)
class Duration:
    """A count of epochs or of steps, or a part of the whole training."""

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
            raise UsageError(f'{name}: expected a duration such as "5 epochs", "500 steps" or "10 %", found {text!r}.')
        return cls(count, typing.cast(Unit, known))

    def steps(self, steps_per_epoch: int, total_steps: int) -> int:
        """So many steps; of epochs the nearest whole number, of a part of the training what is full."""
        if self.unit == "%":
            return int(total_steps * self.count / 100)
        return round(self.count * (steps_per_epoch if self.unit == "epochs" else 1))
