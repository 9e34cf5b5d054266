"""How fast the network learns when images are there at once: forward, backward and update on made-up pixels."""

import math
import time
from collections.abc import Callable

import torch

from tench.bench.measure import REPEATS, Rate, rates
from tench.input.loader import Batch
from tench.training.network import make_network
from tench.training.plan import resolve_memory_format
from tench.training.recipe import Recipe
from tench.training.recipe_views import make_normalise
from tench.training.state import new_state
from tench.training.step import read_totals, train_step

_PASS_SECONDS = 0.5
_CPU_BATCH = 16
"""On a processor the rate hardly depends on the batch, and a step of 64 images takes ten seconds."""


def step_rate(
    recipe: Recipe, size: int, num_classes: int, device: torch.device, done: Callable[[], None] = lambda: None
) -> tuple[Rate, int]:
    """The rate of the recipe's network, and the images of the batch that it was measured with.

    recipe: resolved. size: of the training images, pixels; nothing is mixed or erased. The learning rate is 0, so that
    noise teaches nothing and no loss runs away; the work is the same. Raises UsageError for an unknown network or one
    that cannot take the recipe's image size.
    """
    channels, image_size = recipe.input.channels, recipe.input.image_size
    assert channels != "auto"
    assert image_size != "auto"
    module = make_network(recipe, num_classes)
    recipe = resolve_memory_format(recipe, module)
    state = new_state(module, recipe, device)
    state.module.train()
    normalise = make_normalise(recipe, device)
    count = recipe.training.batch_size if device.type != "cpu" else min(recipe.training.batch_size, _CPU_BATCH)
    images = torch.randint(0, 256, (count, size, size, channels), dtype=torch.uint8).permute(0, 3, 1, 2)
    batch = Batch(images, torch.randint(0, num_classes, (count,)), torch.arange(count))
    if device.type == "cuda":
        batch = Batch(*(part.pin_memory() for part in (batch.images, batch.labels, batch.rows)))

    def steps(number: int) -> int:
        for _ in range(number):
            train_step(state, batch.to(device), 0.0, recipe, normalise)
            state.step += 1
        read_totals(state)  # the clock is read when the device is done
        return number * count

    steps(2 if device.type != "cpu" else 1)  # memory is taken, kernels are chosen
    began = time.perf_counter()
    steps(1)
    number = math.ceil(_PASS_SECONDS / (time.perf_counter() - began))
    repeats = REPEATS if number > 1 else 3
    return rates({"step": lambda: steps(number)}, repeats=repeats, done=done)["step"], count
