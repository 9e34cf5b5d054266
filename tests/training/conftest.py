"""A fixture that kills a training run, for tests of whole runs."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.training.runs import Killed

from tench.training import loop as loop_module
from tench.training.state import State
from tench.training.step import train_step as real_train_step


@pytest.fixture
def kill_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Kill training in this process before a step (counted from 0), once: a resumed run is not killed again."""

    def at(step: int) -> None:
        def train_step(state: State, *rest: Any) -> None:
            if state.step == step:
                monkeypatch.setattr(loop_module, "train_step", real_train_step)
                raise Killed
            real_train_step(state, *rest)

        monkeypatch.setattr(loop_module, "train_step", train_step)

    return at
