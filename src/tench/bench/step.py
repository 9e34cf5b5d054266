"""A network ready to be timed on synthetic images: its training step, or its forward pass alone.

Everything is as in training (precision, memory format, optimizer), except that images are already in memory, nothing is
mixed or erased, and the learning rate is 0, so that training on noise cannot diverge. The amount of work is the same.
"""

import dataclasses
import gc
import math
import time
from collections.abc import Callable, Mapping

import torch

from tench.bench.measure import REPEATS, Rate, rates
from tench.bench.peak_memory import start_peak
from tench.errors import UsageError
from tench.input.loader import Batch
from tench.machine import is_out_of_memory, tune
from tench.training.network import make_network
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_views import make_normalise
from tench.training.state import State, new_state
from tench.training.step import autocast, read_totals, train_step

OUT_OF_MEMORY = "out of memory"
SECONDS = 2.5
"""Approximate duration of all timed passes of one network."""
_CPU_BATCH = 16
"""On a CPU the rate hardly depends on the batch size, and a step with a large batch takes long."""


@dataclasses.dataclass(frozen=True)
class Ready:
    """Something to time. work: does this many steps and returns the number of images, once the device is done.

    step_seconds: of one step. memory_bytes: peak of building and the first steps; None if unknown. memory_format: nchw
    or nhwc.
    """

    work: Callable[[int], int]
    step_seconds: float
    memory_bytes: int | None
    memory_format: str


@dataclasses.dataclass(frozen=True)
class Measured:
    """A rate with its memory; if it could not be measured, only the reason."""

    rate: Rate | str
    memory_bytes: int | None = None
    memory_format: str | None = None


def usual_batch(recipe: Recipe, device: torch.device) -> int:
    """The default batch size: the recipe's, on a CPU at most 16."""
    return recipe.training.batch_size if device.type != "cpu" else min(recipe.training.batch_size, _CPU_BATCH)


def training_step(recipe: Resolved, size: int, num_classes: int, device: torch.device) -> Ready:
    """Forward, backward and update with the recipe's batch size, with images from the host.

    size: of the training images, pixels. Raises UsageError for an unknown network or one that cannot take the recipe's
    image size, and errors that `is_out_of_memory` recognises.
    """
    taken = start_peak(device)
    state = _new_network(recipe, num_classes, device)
    state.module.train()
    normalise = make_normalise(recipe, device)
    batch = _batch(recipe, size, num_classes)
    if device.type == "cuda":
        batch = Batch(*(part.pin_memory() for part in (batch.images, batch.labels, batch.rows)))

    def steps(number: int) -> int:
        for _ in range(number):
            train_step(state, batch.to(device), 0.0, recipe, normalise)
            state.step += 1
        read_totals(state)  # waits for the device, so that the clock is read after it has finished
        return number * len(batch.rows)

    try:
        return Ready(steps, _warmed(steps, device), taken(), recipe.training.memory_format)
    except ValueError as error:  # batch normalisation of a map that has shrunk to one value
        raise UsageError(
            f"{recipe.model.arch} cannot be trained with a batch of {len(batch.rows)} ({error}). Use a larger batch."
        ) from error


def forward_pass(recipe: Resolved, size: int, num_classes: int, device: torch.device) -> Ready:
    """The forward pass of a batch on the device, in evaluation mode and the recipe's precision."""
    taken = start_peak(device)
    state = _new_network(recipe, num_classes, device)
    module, normalise = state.module.eval(), make_normalise(recipe, device)
    images = _batch(recipe, size, num_classes).images.to(device)

    def passes(number: int) -> int:
        with torch.inference_mode(), autocast(recipe.training.precision, device):
            for _ in range(number):
                logits = module(normalise(images))
        logits[0, 0].item()  # waits for the device, so that the clock is read after it has finished
        return number * len(images)

    return Ready(passes, _warmed(passes, device), taken(), recipe.training.memory_format)


def step_rate(
    recipe: Resolved, size: int, num_classes: int, device: torch.device, done: Callable[[], None] = lambda: None
) -> tuple[Rate, int]:
    """The rate of the recipe's training step, and the batch size used. Raises the errors of `training_step`."""
    count = usual_batch(recipe, device)
    ready = training_step(recipe.replace(batch_size=count), size, num_classes, device)
    return _rates({"step": ready}, SECONDS, done)["step"], count


def in_turns(
    makers: Mapping[str, Callable[[], Ready]], seconds: float = SECONDS, done: Callable[[], None] = lambda: None
) -> dict[str, Measured]:
    """Prepare all of them and time them in turns; for those that cannot be measured, return the reason.

    The reason is `OUT_OF_MEMORY` if even one alone does not fit in memory, else the text of the UsageError that a maker
    raised. If they do not all fit in memory together, they are timed one by one. seconds: approximate, for each. done:
    called after every pass.
    """
    try:
        ready: dict[str, Ready] = {}
        found: dict[str, Measured] = {}
        for name, make in makers.items():
            try:
                ready[name] = make()
            except UsageError as error:
                found[name] = Measured(str(error))
        measured = _rates(ready, seconds, done) if ready else {}
        for name, one in ready.items():
            found[name] = Measured(measured[name], one.memory_bytes, one.memory_format)
        return {name: found[name] for name in makers}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    ready = {}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(makers) == 1:
        return dict.fromkeys(makers, Measured(OUT_OF_MEMORY))
    return {name: in_turns({name: make}, seconds, done)[name] for name, make in makers.items()}


def _new_network(recipe: Resolved, num_classes: int, device: torch.device) -> State:
    tune(device)
    return new_state(make_network(recipe, num_classes), recipe, device)


def _batch(recipe: Resolved, size: int, num_classes: int) -> Batch:
    count, channels = recipe.training.batch_size, recipe.input.channels
    images = torch.randint(0, 256, (count, size, size, channels), dtype=torch.uint8).permute(0, 3, 1, 2)
    return Batch(images, torch.randint(0, num_classes, (count,)), torch.arange(count))


def _warmed(work: Callable[[int], int], device: torch.device) -> float:
    """Seconds of a step, after warm-up steps that allocate memory and choose kernels."""
    work(2 if device.type != "cpu" else 1)
    began = time.perf_counter()
    work(1)
    return time.perf_counter() - began


def _rates(ready: Mapping[str, Ready], seconds: float, done: Callable[[], None]) -> dict[str, Rate]:
    """The rates, measured in turns; slow steps get fewer turns."""
    of_a_pass = seconds / REPEATS
    numbers = {name: math.ceil(of_a_pass / one.step_seconds) for name, one in ready.items()}
    passes = {name: lambda one=one, name=name: one.work(numbers[name]) for name, one in ready.items()}
    return rates(passes, repeats=REPEATS if max(numbers.values()) > 1 else 3, done=done)
