import pytest
import torch
from tests.training.optimizers.steps import assert_same, from_timm, random_gradients, small_network, trained

from tench.training.optimizers import LAMB


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
@pytest.mark.parametrize("size", [1e-4, 1.0])  # below and above the norm of 1 that gradients are clipped to
def test_lamb_matches_timm(weight_decay: float, size: float) -> None:
    theirs = from_timm("Lamb", lr=0.1)
    ours = trained(lambda groups: LAMB(groups, 0.1), weight_decay, size=size)
    assert_same(ours, trained(theirs, weight_decay, size=size), atol=5e-6, rtol=1e-5)


def test_betas_eps_and_norm_are_used() -> None:
    theirs = from_timm("Lamb", lr=0.1, betas=(0.8, 0.95), eps=1e-3, max_grad_norm=3.0)
    ours = trained(lambda groups: LAMB(groups, 0.1, (0.8, 0.95), 1e-3, max_norm=3.0), 0.02)
    assert_same(ours, trained(theirs, 0.02), atol=5e-6, rtol=1e-5)


def test_zero_weights_get_adams_update() -> None:
    network = small_network()
    weight = network.get_parameter("0.weight")
    with torch.no_grad():
        weight.zero_()
    for parameter, gradient in zip(network.parameters(), random_gradients(network).__next__(), strict=True):
        parameter.grad = gradient
    LAMB(network.parameters(), 0.1, eps=0.0).step()
    assert weight.grad is not None
    torch.testing.assert_close(weight.detach(), -0.1 * weight.grad.sign())
