"""Every value of a recipe that concerns the network reaches it."""

from typing import Any

import pytest
import torch
from tests.training.runs import resolved
from torch import nn

from tench.compat import import_timm
from tench.models.source import AS_MADE, ModelOptions
from tench.training.network import make_network, network_options

RECIPE = resolved()


def network(**values: Any) -> nn.Module:
    torch.manual_seed(0)
    return make_network(RECIPE.replace(**values), num_classes=4)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({}, AS_MADE),
        ({"dropout": 0.0, "drop_path": 0.0}, ModelOptions(dropout=0.0, drop_path=0.0)),
        ({"dropout": 0.3}, ModelOptions(dropout=0.3)),
        ({"strides": (1, 1, 2, 2, 2), "blurpool": True}, ModelOptions(strides=(1, 1, 2, 2, 2), blurpool=True)),
    ],
)
def test_own_means_the_networks_default_and_a_number_replaces_it(values: dict[str, Any], options: ModelOptions) -> None:
    assert network_options(RECIPE.replace(**values)) == options


def test_options_and_input_reach_the_network() -> None:
    assert network(arch="efficientnet_b0", dropout=0.35).get_submodule("classifier.0").p == 0.35
    parts = network(arch="timm:resnet26", drop_path=0.2).modules()
    rates = [vars(one).get("drop_prob") or 0.0 for one in parts]
    assert max(rates) == pytest.approx(0.2)
    assert any(name.endswith(".blur") for name, _ in network(arch="resnet18", blurpool=True).named_buffers())
    conv = network(arch="edgeai:mobilenetv1_x1", strides=(1, 2, 2, 2, 2)).get_submodule("features.0.0")
    assert conv.stride == (1, 1)
    assert network(arch="resnet20", channels=1)(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("init", "deviation"),
    [("mxnet", (2 / (16 * 9)) ** 0.5), ("normal", 0.01), ("one", 0.0), ("edgeai", (2 / (16 * 9)) ** 0.5)],
)
def test_weights_are_initialised_by_the_named_rule(init: str, deviation: float) -> None:
    weights = [one.weight for one in network(arch="resnet20", init=init).modules() if isinstance(one, nn.Conv2d)]
    of_16_to_16 = torch.cat([one.flatten() for one in weights if one.shape == (16, 16, 3, 3)])
    assert of_16_to_16.std().item() == pytest.approx(deviation, rel=0.03)
    assert of_16_to_16.mean().item() == pytest.approx(float(init == "one"), abs=0.01)


def test_own_means_the_initialisation_of_the_authors() -> None:
    torch.manual_seed(0)
    theirs = import_timm().create_model("resnet10t", num_classes=4).state_dict()
    ours = network(arch="timm:resnet10t", image_size=96).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
