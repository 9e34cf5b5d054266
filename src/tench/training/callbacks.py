"""Call the user's functions after every epoch; each sees the state of the training and can stop it."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from tench.errors import UsageError
from tench.own_code import code_name
from tench.run import Run
from tench.weights.own import Classifier, ModelCard


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """The state of a training after an epoch, as passed to a callback.

    >>> def show(end: tench.EpochEnd) -> None:
    ...     print(f"epoch {end.epoch} of {end.epochs}, {end.step} steps, val on {end.metrics['val_images']} images")
    >>> recipe = tench.load_recipe("digits").replace(epochs=1)
    >>> run = tench.fit("digits", recipe, callbacks=[show])
    epoch 1 of 1, 44 steps, val on 359 images
    """

    run: Run
    epoch: int
    """Counted from 1."""
    epochs: int
    """Epochs of the whole training."""
    step: int
    """Optimizer updates so far."""
    metrics: Mapping[str, float]
    """lr, train_loss, train_top1, seconds; after a validation also val_loss, val_top1, val_top5, val_images. A top-1 or
    top-5 is a fraction. train_loss is the recipe's loss or your own; val_loss is always the cross-entropy."""
    _module: nn.Module = dataclasses.field(repr=False)
    _card: ModelCard = dataclasses.field(repr=False)

    @functools.cached_property
    def classifier(self) -> Classifier:
        """A copy of the network as it is evaluated (the average, if the recipe keeps one), made when first used."""
        module = copy.deepcopy(self._module).eval().requires_grad_(False)
        return Classifier(module, self._card, f"{self.run.folder} after epoch {self.epoch}")


class StopTraining(Exception):  # noqa: N818  # a request like StopIteration, not an error
    """Raise this in a callback to end the training after this epoch, whose checkpoint is saved.

    Its text, if any, is logged as the reason. The same command continues the training.

    >>> def enough(end: tench.EpochEnd) -> None:
    ...     if end.metrics["train_top1"] > 0.1:
    ...         raise tench.StopTraining("top-1 is above 10 %")
    >>> run = tench.fit("digits", callbacks=[enough])
    >>> len(run.metrics("epoch"))
    1
    """


Callback = Callable[[EpochEnd], object]
"""Called after every epoch, once its checkpoint is saved. What it returns is ignored."""


def require_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raise UsageError for a value that is not callable, or for a function that is not in a list."""
    if not isinstance(callbacks, Sequence):
        raise UsageError(f"callbacks must be a list of functions, got {callbacks!r:.100}.")
    for callback in callbacks:
        if not callable(callback) or isinstance(callback, type):
            raise UsageError(f"callbacks: {callback!r:.100} is not a function of one argument, an EpochEnd.")


def call(callbacks: Sequence[Callback], end: EpochEnd) -> str | None:
    """Call each callback. Returns why the training should stop, or None.

    All are called, even after one has asked to stop. An error in a callback is raised with a note that names the
    callback.
    """
    stopped = None
    for callback in callbacks:
        name = code_name(callback)
        try:
            callback(end)
        except StopTraining as stop:
            stopped = f"{name}: {stop}" if str(stop) else name
        except Exception as error:
            error.add_note(
                f"Raised by the callback {name} after epoch {end.epoch}. The checkpoint of that epoch is saved in "
                f"{end.run.folder}; the same command continues after it."
            )
            raise
    return stopped
