"""Make a recipe's network: its architecture, its options, the initialisation of its weights."""

from torch import nn

from tench.errors import UsageError
from tench.models import create
from tench.models.initialise import initialise_by
from tench.models.own_network import OwnNetwork, create_own
from tench.models.source import ModelOptions
from tench.training.recipe import Recipe, Resolved
from tench.training.recompute import recompute_blocks


def make_network(recipe: Resolved, num_classes: int, own: OwnNetwork | None = None) -> nn.Module:
    """The network of a recipe with freshly initialised weights, which uses torch's global generator.

    own: the user's network, used instead of model.arch. Raises as `create`, `create_own` and `recompute_blocks` do.
    """
    size = {"image_size": recipe.input.image_size, "channels": recipe.input.channels}
    options = network_options(recipe)
    if own is None:
        network = create(recipe.model.arch, num_classes=num_classes, options=options, **size)
    else:
        network = create_own(own, num_classes=num_classes, options=options, **size)
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise UsageError(f"{recipe.model.arch}: no parameter requires a gradient, so there is nothing to train.")
    if recipe.model.init != "own":
        if isinstance(own, nn.Module):
            raise UsageError(f"{recipe.model.arch} is used with its own weights: leave model.init at own.")
        initialise_by(network, recipe.model.init)
    if recipe.training.recompute:
        recompute_blocks(network, recipe.model.arch)
    return network


def network_options(recipe: Recipe) -> ModelOptions:
    """The options of the recipe's network."""
    model = recipe.model
    return ModelOptions(
        dropout=None if model.dropout == "own" else model.dropout,
        drop_path=None if model.drop_path == "own" else model.drop_path,
        strides=None if model.strides == "own" else model.strides,
        blurpool=model.blurpool,
    )
