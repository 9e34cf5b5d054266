"""initialise_by: the standard deviation of the weights under each rule, compared with the formula."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tench.errors import UsageError
from tench.models import create
from tench.models.initialise import INITIALISERS, initialise_by
from tench.models.layers import FixedScaleBatchNorm2d

CONV = (96, 32, 3, 5)
"""out, in / groups, kh, kw"""
LINEAR = (300, 500)
FAN_IN, FAN_OUT = {CONV: 32 * 15, LINEAR: 500}, {CONV: 96 * 15, LINEAR: 300}


def drawn(name: str) -> list[nn.Conv2d | nn.Linear]:
    """A convolution in two groups and a linear layer, initialised by the rule."""
    torch.manual_seed(0)
    layers: list[nn.Conv2d | nn.Linear] = [
        nn.Conv2d(2 * CONV[1], CONV[0], CONV[2:], groups=2),
        nn.Linear(LINEAR[1], LINEAR[0]),
    ]
    initialise_by(nn.Sequential(*layers), name)
    return layers


def is_normal(weight: Tensor) -> bool:
    """Whether the kurtosis is that of a normal distribution (3) rather than a uniform one (1.8)."""
    return 2.7 < (weight.detach() / weight.detach().std()).pow(4).mean().item() < 3.3


@pytest.mark.parametrize(
    ("name", "normal", "variance"),
    [
        ("mxnet", True, lambda fan_in, fan_out: 2 / fan_in),
        # The variance of a uniform distribution is half-width^2 / 3.
        ("xavier", False, lambda fan_in, fan_out: 3 / ((fan_in + fan_out) / 2) / 3),
        ("msra", True, lambda fan_in, fan_out: 2 / (1 + 0.25**2) / ((fan_in + fan_out) / 2)),
        ("normal", True, lambda fan_in, fan_out: 0.01**2),
        ("uniform", False, lambda fan_in, fan_out: 0.07**2 / 3),
    ],
)
def test_weights_have_the_spread_of_mxnets_formula_and_biases_are_zero(
    name: str, normal: bool, variance: Callable[[int, int], float]
) -> None:
    for layer, shape in zip(drawn(name), (CONV, LINEAR), strict=True):
        expected = math.sqrt(variance(FAN_IN[shape], FAN_OUT[shape]))
        assert tuple(layer.weight.shape) == shape
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
        assert abs(layer.weight.mean().item()) < 0.02 * expected
        assert is_normal(layer.weight) == normal
        if not normal:
            assert layer.weight.abs().max().item() == pytest.approx(expected * math.sqrt(3), rel=0.01)
        assert layer.bias is not None
        assert not layer.bias.any()


def test_orthogonal_weights_have_orthogonal_rows_of_length_1414() -> None:
    for layer in drawn("orthogonal"):
        rows = layer.weight.detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, 1.414**2 * torch.eye(len(rows)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "value"), [("one", 1), ("zero", 0)])
def test_the_rules_one_and_zero_set_all_weights_to_one_and_zero(name: str, value: float) -> None:
    for layer in drawn(name):
        assert (layer.weight == value).all()
        assert layer.bias is not None
        assert not layer.bias.any()


def test_the_rule_nnabla_counts_all_channels_of_a_grouped_convolution_and_draws_the_bias_of_a_resnets_head() -> None:
    conv, head = drawn("nnabla")
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (2 * 32 * 15)), rel=0.02)
    assert is_normal(conv.weight)
    assert conv.bias is not None
    assert not conv.bias.any()
    for values in (head.weight, head.bias):
        assert values is not None
        assert values.abs().max().item() == pytest.approx(1 / math.sqrt(500), rel=0.02)
        assert not is_normal(values)


def test_the_rule_nnabla_gives_the_head_of_a_depthwise_network_small_weights_and_zero_bias() -> None:
    torch.manual_seed(0)
    head = nn.Linear(500, 300)
    initialise_by(nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), head), "nnabla")
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert is_normal(head.weight)
    assert not head.bias.any()


def test_the_rule_edgeai_counts_the_outputs_of_a_convolution_and_gives_linear_layers_small_weights() -> None:
    conv, head = drawn("edgeai")
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (96 * 15)), rel=0.02)
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    for layer in (conv, head):
        assert is_normal(layer.weight)
        assert layer.bias is not None
        assert not layer.bias.any()


@pytest.mark.parametrize("name", INITIALISERS)
def test_norms_start_with_scale_one_and_shift_zero_under_every_rule(name: str) -> None:
    norms = [nn.BatchNorm2d(4), FixedScaleBatchNorm2d(4, eps=1e-3), nn.LayerNorm(4), nn.GroupNorm(2, 4)]
    for norm in norms:
        for value in norm.state_dict().values():
            value.fill_(7)
    initialise_by(nn.Sequential(*norms), name)
    for norm in norms:
        state = norm.state_dict()
        assert (state["weight"] == 1).all()
        assert not state["bias"].any()
        assert not state.get("running_mean", torch.zeros(1)).any()
        assert (state.get("running_var", torch.ones(1)) == 1).all()


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "timm:test_vit"])
def test_a_network_of_another_library_is_initialised_too_and_gives_logits(arch: str) -> None:
    network = create(arch, num_classes=3, image_size=160).eval()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    before = [layer.weight.detach().clone() for layer in layers]
    initialise_by(network, "edgeai")
    assert not any(torch.equal(old, layer.weight) for old, layer in zip(before, layers, strict=True))
    with torch.no_grad():
        assert network(torch.randn(1, 3, 160, 160)).isfinite().all()


def test_the_error_about_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as refusal:
        initialise_by(nn.Linear(2, 2), "xavjer")
    assert str(refusal.value) == (
        "Unknown initialiser 'xavjer'. Did you mean 'xavier'? Known: mxnet, xavier, msra, orthogonal, normal, "
        "uniform, one, zero, nnabla, edgeai."
    )
