import numpy as np
import pytest
import torch
from tests.training.optimizers.steps import (
    assert_same,
    groups_of,
    random_gradients,
    rate,
    small_network,
    take_step,
    trained,
)
from torch import Tensor, nn

from tench.training.optimizers import SGD, LrInsideSGD


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_matches_torch(momentum: float, nesterov: bool) -> None:
    nesterov = nesterov and momentum > 0
    ours = trained(lambda groups: SGD(groups, 0.1, momentum, nesterov), 1e-2)
    theirs = trained(lambda groups: torch.optim.SGD(groups, 0.1, momentum, nesterov=nesterov, foreach=False), 1e-2)
    assert_same(ours, theirs)


def lr_inside(weight_decay: float, momentum: float, nesterov: bool) -> dict[str, Tensor]:
    """The formula of NNabla's momentum solver and MXNet's SGD (with nesterov, Keras's), in float64."""
    network = small_network()
    weights = [parameter.detach().double().numpy() for parameter in network.parameters()]
    velocities = [np.zeros_like(weight) for weight in weights]
    for step, gradients in enumerate(random_gradients(network)):
        for number, gradient in enumerate(gradients):
            decay = weight_decay if gradient.ndim > 1 else 0.0
            change = rate(step) * (gradient.double().numpy() + decay * weights[number])
            velocities[number] = momentum * velocities[number] + change
            if nesterov:
                weights[number] = weights[number] - (change + momentum * velocities[number])
            else:
                weights[number] = weights[number] - velocities[number]
    names = [name for name, _ in network.named_parameters()]
    return {name: torch.from_numpy(weight).float() for name, weight in zip(names, weights, strict=True)}


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_the_learning_rate_inside_the_momentum_matches_nnabla_and_mxnet(momentum: float, nesterov: bool) -> None:
    ours = trained(lambda groups: LrInsideSGD(groups, 0.1, momentum, nesterov), 1e-2)
    assert_same(ours, lr_inside(1e-2, momentum, nesterov), atol=2e-6)


def test_both_forms_agree_only_with_a_constant_learning_rate() -> None:
    both = [
        [trained(lambda groups, one=one: one(groups, 0.1, 0.9), 1e-2, rates) for one in (SGD, LrInsideSGD)]  # type: ignore[misc]
        for rates in (lambda step: 0.01, rate)
    ]
    assert_same(both[0][1], both[0][0], atol=1e-5)
    assert not torch.allclose(both[1][1]["4.weight"], both[1][0]["4.weight"], atol=1e-2)


def test_channels_last_gradients_are_applied_to_the_right_weights() -> None:
    networks = [small_network(), small_network().to(memory_format=torch.contiguous_format)]  # type: ignore[call-overload]
    for network in networks:
        optimizer = LrInsideSGD(groups_of(network, 1e-2), 0.1, 0.9)
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            images = torch.randn(4, 3, 7, 7, generator=generator)
            images = images.contiguous(memory_format=torch.channels_last) if network is networks[0] else images
            optimizer.zero_grad()
            torch.autograd.backward(network(images).square().mean())
            optimizer.step()
    assert networks[0].get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_parameters_without_a_gradient_are_left_alone() -> None:
    network = small_network()
    idle = network.get_parameter("4.weight")
    before = idle.detach().clone()
    optimizer = SGD(groups_of(network, 1e-2), 0.1, 0.9)
    for gradients in random_gradients(network, steps=2):
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = None if parameter is idle else gradient
        optimizer.step()
    assert torch.equal(idle, before)
    assert idle not in optimizer.state


def test_each_group_has_its_own_learning_rate() -> None:
    networks = [small_network(), small_network()]
    groups = groups_of(networks[0], 0.0)
    groups[1]["lr_scale"] = 64.0
    first, second = SGD(groups, 0.1), SGD(groups_of(networks[1], 0.0), 0.1)
    gradients = next(random_gradients(networks[0]))
    before = [parameter.detach().clone() for parameter in networks[0].parameters()]
    take_step(first, networks[0], gradients, 0.1)
    take_step(second, networks[1], gradients, 0.1)
    for start, ours, theirs in zip(before, networks[0].parameters(), networks[1].parameters(), strict=True):
        scale = 1.0 if start.ndim > 1 else 64.0
        torch.testing.assert_close(ours - start, scale * (theirs - start), atol=1e-4, rtol=1e-4)


def test_a_step_without_any_gradient_changes_nothing() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    optimizer = SGD(layer.parameters(), 0.1, 0.9, weight_decay=0.1)
    optimizer.step()
    assert torch.equal(layer.weight, before)
    assert not optimizer.state
