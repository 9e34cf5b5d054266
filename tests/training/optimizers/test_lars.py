import pytest
import torch
from tests.training.optimizers.steps import assert_same, from_timm, random_gradients, rate, small_network, trained

from tench.training.optimizers import LARS


def big(step: int) -> float:
    return 1000 * rate(step)  # eta scales it down


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 5e-2])
def test_lars_matches_timm(nesterov: bool, weight_decay: float) -> None:
    rates = big if weight_decay else rate
    theirs = from_timm("Lars", lr=0.1, momentum=0.9, nesterov=nesterov, trust_coeff=0.001, eps=0.0)
    ours = trained(lambda groups: LARS(groups, 0.1, 0.9, nesterov), weight_decay, rates, 0.1)
    assert_same(ours, trained(theirs, weight_decay, rates, 0.1), rtol=1e-5, atol=1e-5)


def test_the_step_is_not_scaled_if_weights_or_gradients_are_zero() -> None:
    network = small_network()
    gradients = next(random_gradients(network))
    with torch.no_grad():
        network.get_parameter("0.weight").zero_()
    names = [name for name, _ in network.named_parameters()]
    gradients[names.index("4.weight")].zero_()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        parameter.grad = gradient
    LARS(network.parameters(), 0.5, weight_decay=0.1).step()
    after = dict(network.named_parameters())
    torch.testing.assert_close(after["0.weight"].detach(), -0.5 * gradients[0])
    torch.testing.assert_close(after["4.weight"].detach(), before["4.weight"] * (1 - 0.5 * 0.1))
