"""A network to measure: its images, recipe and cost."""

import dataclasses

import numpy as np
import torch

from tench.data.table import Classes, Contents, Rows, Table, made
from tench.models.macs import count_macs
from tench.models.meta import dry_run
from tench.models.registry import name_in_source, source_of
from tench.training.network import make_network
from tench.training.plan import AUTO_ARCH, resolve
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_check import validate
from tench.training.recipe_views import at_size, train_size
from tench.training.schedule import num_epochs


@dataclasses.dataclass(frozen=True)
class Network:
    """size: of the training images, pixels."""

    arch: str
    recipe: Resolved
    num_classes: int
    size: int


def network(arch: str, recipe: Recipe, image_size: int | None, device: torch.device) -> Network:
    """The network on images of the requested size, else the recipe's, else its usual one.

    arch: auto means the network of a training without weights, even if the recipe requires weights. No weights are
    read and no network is created. Raises UsageError for an unknown network or an invalid recipe value.
    """
    arch = AUTO_ARCH if arch == "auto" else arch
    usual = source_of(arch).usual_input(name_in_source(arch))
    recipe = recipe.replace(arch=arch)
    if image_size is not None:
        recipe = at_size(recipe, image_size)
    elif recipe.input.image_size == "auto":
        recipe = recipe.replace(image_size=usual.image_size)
    if recipe.input.channels == "auto":
        recipe = recipe.replace(channels=usual.channels)
    validate(recipe)
    resolved = resolve(recipe, _no_images(), device)
    # The size of the last epoch: if training images grow, they are largest then.
    return Network(arch, resolved, usual.num_classes, train_size(resolved, num_epochs(resolved) - 1))


def gmacs_of(one: Network) -> float:
    """10^9 MACs of the forward pass of one training image.

    Allocates no memory, but takes some time for a large network. Raises UsageError if it does not accept such images.
    """
    images = (1, one.recipe.input.channels, one.size, one.size)
    return dry_run(lambda: make_network(one.recipe, one.num_classes), images, count_macs).total / 1e9


def share(gmacs: float, images_per_second: float, flops: float) -> float:
    """The fraction of a device's FLOPs per second that training at this rate uses: 3 x forward, two FLOPs per MAC.

    The backward pass has two products for each one in the forward pass: for the gradients of inputs and of weights.
    """
    return 3 * 2 * 1e9 * gmacs * images_per_second / flops


def _no_images() -> Table:
    """An empty table to resolve a recipe for: if size and channels are given, resolving needs no images."""
    rows = Rows(
        shards=[""],
        shard=np.zeros(0, np.int32),
        offset=np.zeros(0, np.int64),
        length=np.zeros(0, np.int64),
        label=np.zeros(0, np.int32),
        key=[],
    )
    return made(Contents(Classes.numbered_to(1), {"train": rows}, stamp=[]), source="", layout="").splits["train"]
