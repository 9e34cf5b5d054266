"""The progress line of a training: step, rate, time left, share of time spent waiting for data.

Showing it never waits for the device. Loss and top-1 are updated only when the training logs, which waits for the
device anyway, and the line names the step that they belong to.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from tench.input.loader import Batch
from tench.progress import Advance, progress
from tench.training.recipe import Recipe
from tench.training.schedule import is_validated, num_epochs, total_steps

_NOTE_SECONDS = 0.2
"""Time between two updates of the line's text; nobody reads faster."""


class Live:
    """The progress lines of one training. Its last epoch may have fewer steps than the others."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self._epochs, self._steps_per_epoch = num_epochs(recipe), steps_per_epoch
        self._steps = total_steps(recipe, steps_per_epoch)
        self._validated = [is_validated(recipe, epoch) for epoch in range(self._epochs)]
        self._validation_seconds = 0.0  # of the last validation; 0 before the first

    @contextlib.contextmanager
    def epoch(self, epoch: int, first: int, batch_size: int) -> Iterator["EpochLine"]:
        """Show the steps of an epoch, counted from 0. first: steps of the epoch that were taken before."""
        before = epoch * self._steps_per_epoch
        count = min(self._steps_per_epoch, self._steps - before)
        with progress(f"epoch {epoch + 1}/{self._epochs}", count * batch_size, "images", first * batch_size) as advance:
            validations = sum(self._validated[epoch:]) * self._validation_seconds
            yield EpochLine(advance, before + first, self._steps, validations)

    @contextlib.contextmanager
    def validation(self, num_images: int) -> Iterator[Callable[[Iterable[Batch]], Iterator[Batch]]]:
        """Show and time a validation. Yields a function that the batches must pass through to be counted."""
        began = time.monotonic()
        with progress("validation", num_images, "images") as advance:

            def counted(batches: Iterable[Batch]) -> Iterator[Batch]:
                for batch in batches:
                    yield batch
                    advance(len(batch.rows), "")

            yield counted
        self._validation_seconds = time.monotonic() - began


class EpochLine:
    """The progress line of one epoch."""

    def __init__(self, advance: Advance, step: int, steps: int, validation_seconds: float) -> None:
        """step: steps of the training taken before. steps: of the whole training. validation_seconds: still to come."""
        self._advance = advance
        self._first = self._step = step
        self._steps = steps
        self._validation_seconds = validation_seconds
        self._began, self._noted_at = time.monotonic(), 0.0
        self._waited = 0.0
        self._measured = ""

    def step(self, images: int, lr: float, waited_seconds: float) -> None:
        """Count one step. images: in its batch. waited_seconds: for the batch to arrive."""
        self._step += 1
        self._waited += waited_seconds
        now = time.monotonic()
        note = ""
        if now - self._noted_at >= _NOTE_SECONDS:
            self._noted_at, note = now, self._note(lr, now - self._began)
        self._advance(images, note)

    def measured(self, loss: float, top1: float) -> None:
        """Show the mean loss and top-1 of the epoch's images up to the last step."""
        self._measured = f"  loss {loss:.3f}  top-1 {100 * top1:.1f} % (to step {self._step})"

    def _note(self, lr: float, seconds: float) -> str:
        of_a_step = seconds / (self._step - self._first)
        left = (self._steps - self._step) * of_a_step + self._validation_seconds
        share = 100 * self._waited / seconds if seconds else 0.0
        return f"step {self._step}  lr {lr:.3g}  data {share:.0f} %  run {_clock(left)} left{self._measured}"


def _clock(seconds: float) -> str:
    """1:23:45, or 2 d 1:23:45."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hour}:{minute:02}:{second:02}"
