"""A network ready to be timed on made-up images: its training step, or its forward pass alone.

All is as in training (precision, memory format, optimizer), but images are there at once, nothing is mixed or erased,
and the learning rate is 0, so that noise teaches nothing and no loss runs away; the work is the same.
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
"""About how long the timed passes of one network take together."""
_CPU_BATCH = 16
"""On a processor the rate hardly depends on the batch, and the step of a large one is long."""


@dataclasses.dataclass(frozen=True)
class Ready:
    """What can be timed. work: does so many steps, returns the number of images; the device is done when it returns.

    step_seconds: of one step. memory_bytes: the most that building and the first steps took; None if not known.
    memory_format: nchw or nhwc.
    """

    work: Callable[[int], int]
    step_seconds: float
    memory_bytes: int | None
    memory_format: str


@dataclasses.dataclass(frozen=True)
class Measured:
    """The rate of what was ready, and what it took; where it could not be measured, the reason and nothing else."""

    rate: Rate | str
    memory_bytes: int | None = None
    memory_format: str | None = None


def usual_batch(recipe: Recipe, device: torch.device) -> int:
    """The images of a batch where none is asked for: the recipe's, on a processor at most 16."""
    return recipe.training.batch_size if device.type != "cpu" else min(recipe.training.batch_size, _CPU_BATCH)


def training_step(recipe: Resolved, size: int, num_classes: int, device: torch.device) -> Ready:
    """Forward, backward and update with the recipe's batch size, the images coming from the host.

    size: of the training images, pixels. Raises UsageError for an unknown network or one that cannot
    take the recipe's image size, and what `is_out_of_memory` recognises.
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
        read_totals(state)  # the clock is read when the device is done
        return number * len(batch.rows)

    try:
        return Ready(steps, _warmed(steps, device), taken(), recipe.training.memory_format)
    except ValueError as error:  # batch normalisation, where a map has shrunk to one value
        raise UsageError(
            f"{recipe.model.arch}: cannot be trained with a batch of {len(batch.rows)} ({error}). Take a larger one."
        ) from error


def forward_pass(recipe: Resolved, size: int, num_classes: int, device: torch.device) -> Ready:
    """The logits of a batch whose images lie on the device, in evaluation mode and the recipe's precision."""
    taken = start_peak(device)
    state = _new_network(recipe, num_classes, device)
    module, normalise = state.module.eval(), make_normalise(recipe, device)
    images = _batch(recipe, size, num_classes).images.to(device)

    def passes(number: int) -> int:
        with torch.inference_mode(), autocast(recipe.training.precision, device):
            for _ in range(number):
                logits = module(normalise(images))
        logits[0, 0].item()  # the clock is read when the device is done
        return number * len(images)

    return Ready(passes, _warmed(passes, device), taken(), recipe.training.memory_format)


def step_rate(
    recipe: Resolved, size: int, num_classes: int, device: torch.device, done: Callable[[], None] = lambda: None
) -> tuple[Rate, int]:
    """The rate of the recipe's training step, and the images of the batch that it was measured with.

    Raises what `training_step` raises.
    """
    count = usual_batch(recipe, device)
    ready = training_step(recipe.replace(batch_size=count), size, num_classes, device)
    return _rates({"step": ready}, SECONDS, done)["step"], count


def in_turns(
    makers: Mapping[str, Callable[[], Ready]], seconds: float = SECONDS, done: Callable[[], None] = lambda: None
) -> dict[str, Measured]:
    """Make all of them ready and time them in turns; of what cannot be measured, tell the reason.

    It is `OUT_OF_MEMORY` where memory does not suffice even for one alone; where it does not suffice for all at once,
    they are timed one after the other. Else it is the text of the UsageError that a maker raised. seconds: about, for
    each. done: called after every pass.
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
    """Seconds of a step, after those in which memory is taken and kernels are chosen."""
    work(2 if device.type != "cpu" else 1)
    began = time.perf_counter()
    work(1)
    return time.perf_counter() - began


def _rates(ready: Mapping[str, Ready], seconds: float, done: Callable[[], None]) -> dict[str, Rate]:
    """In turns; with slow steps there are fewer of them."""
    of_a_pass = seconds / REPEATS
    numbers = {name: math.ceil(of_a_pass / one.step_seconds) for name, one in ready.items()}
    passes = {name: lambda one=one, name=name: one.work(numbers[name]) for name, one in ready.items()}
    return rates(passes, repeats=REPEATS if max(numbers.values()) > 1 else 3, done=done)
