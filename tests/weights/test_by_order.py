import re
from typing import Any

import pytest
import torch
from torch import nn

from tench.compat import import_torchvision
from tench.weights.by_order import layers_of, state_in_order

models: Any = import_torchvision().models


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_the_layers_of_a_state_are_its_owners_in_order_without_counters() -> None:
    layers = layers_of(network().state_dict())
    assert [(layer.name, list(layer.tensors)) for layer in layers] == [
        ("0", ["weight", "bias"]),
        ("1", ["weight", "bias", "running_mean", "running_var"]),
        ("3", ["weight", "bias"]),
    ]


def test_a_state_under_other_names_is_matched_by_order() -> None:
    expected = network().state_dict()
    renamed = {f"net.layer{name[0]}.{name[2:]}": value for name, value in expected.items()}
    found = state_in_order(network(), layers_of(renamed))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_tensors_of_the_network_itself_are_a_layer() -> None:
    expected = models.vit_b_16(weights=None, num_classes=2).state_dict()
    with torch.device("meta"):
        other = models.vit_b_16(weights=None, num_classes=2)
    found = state_in_order(other, layers_of(expected))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_convolution_of_one_pixel_may_stand_for_a_linear_layer_and_the_reverse() -> None:
    linear = nn.Sequential(nn.Linear(4, 2))
    convolution = nn.Sequential(nn.Conv2d(4, 2, 1))
    weight = convolution.state_dict()["0.weight"]
    found = state_in_order(linear, layers_of(convolution.state_dict()))
    assert torch.equal(found["0.weight"], weight.flatten(1))
    found = state_in_order(convolution, layers_of(linear.state_dict()))
    assert found["0.weight"].shape == (2, 4, 1, 1)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 2)),
            "0 has weight, but 0, in the same place, has weight, bias",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4), nn.Linear(4, 2)),
            "0.weight has shape (4, 3, 5, 5), but 0.weight, in the same place, has (4, 3, 3, 3)",
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "it has 2 layers, but the network has 3"),
    ],
)
def test_the_first_difference_is_the_error(other: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        state_in_order(network(), layers_of(other.state_dict()))
