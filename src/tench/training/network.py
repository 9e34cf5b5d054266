"""The network a recipe asks for: its architecture, its options, how its weights are drawn."""

from torch import nn

from tench.models import create
from tench.models.initialise import initialise_by
from tench.models.source import ModelOptions
from tench.training.recipe import Recipe, Resolved
from tench.training.recompute import recompute_blocks


def make_network(recipe: Resolved, num_classes: int) -> nn.Module:
    """The network of a recipe with freshly initialised weights, which uses torch's global generator.

    Raises UsageError as `create` and `recompute_blocks` do.
    """
    network = create(
        recipe.model.arch,
        num_classes=num_classes,
        image_size=recipe.input.image_size,
        channels=recipe.input.channels,
        options=network_options(recipe),
    )
    if recipe.model.init != "own":
        initialise_by(network, recipe.model.init)
    if recipe.training.recompute:
        recompute_blocks(network, recipe.model.arch)
    return network


def network_options(recipe: Recipe) -> ModelOptions:
    """What the recipe asks of its network beside the name."""
    model = recipe.model
    return ModelOptions(
        dropout=None if model.dropout == "own" else model.dropout,
        drop_path=None if model.drop_path == "own" else model.drop_path,
        strides=None if model.strides == "own" else model.strides,
        blurpool=model.blurpool,
    )
