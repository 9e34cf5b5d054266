import copy
from typing import Any

import pytest
import torch
from tests.training.optimizers.steps import random_gradients, rate, small_network, take_step
from torch import Tensor, nn

from tench.training.optimizers import Muon, muon_groups
from tench.training.optimizers.muon import orthogonalised


def airbench_direction(gradient: Tensor) -> Tensor:
    """The iteration of airbench94_muon.py as in its source, in bfloat16."""
    update = gradient.reshape(len(gradient), -1).bfloat16()
    update /= update.norm() + 1e-7
    if transposed := update.size(0) > update.size(1):
        update = update.T
    for _ in range(3):
        gram = update @ update.T
        update = 3.4445 * update + (-4.7750 * gram + 2.0315 * gram @ gram) @ update
    return (update.T if transposed else update).reshape(gradient.shape)


def test_filters_match_airbench_and_the_other_parameters_match_torchs_sgd() -> None:
    ours = small_network()
    theirs = copy.deepcopy(ours)
    lr, bias_lr, head_lr, decay = 0.24, 0.053, 0.67, 2e-3
    optimizer = Muon(muon_groups(ours, lr, bias_lr, head_lr, decay), lr)
    filters = [parameter for parameter in theirs.parameters() if parameter.ndim == 4]
    momenta = [torch.zeros_like(parameter) for parameter in filters]
    parts = {bias_lr: [one for one in theirs.parameters() if one.ndim == 1], head_lr: [theirs[4].weight]}
    groups: list[dict[str, Any]] = [{"params": some, "weight_decay": decay / own} for own, some in parts.items()]
    sgd = torch.optim.SGD(groups, lr=1.0, momentum=0.85, nesterov=True)
    for step, gradients in enumerate(random_gradients(ours)):
        part = rate(step)
        take_step(optimizer, ours, gradients, lr * part)
        for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for own, group in zip(parts, sgd.param_groups, strict=True):
            group["lr"] = own * part
        sgd.step()
        with torch.no_grad():
            for weight, momentum in zip(filters, momenta, strict=True):
                assert weight.grad is not None
                momentum.mul_(0.6).add_(weight.grad)
                direction = airbench_direction(weight.grad.add(momentum, alpha=0.6))
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.add_(direction, alpha=-lr * part)
    for name, expected in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(expected, small_network().get_parameter(name), atol=1e-2)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (16, 16)])
def test_an_orthogonalised_matrix_keeps_its_singular_vectors_and_has_nearly_equal_singular_values(
    shape: tuple[int, int],
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalised(matrix)
    assert found.dtype == torch.bfloat16
    assert found.shape == shape
    u, lengths, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ found.float() @ v.T
    sure = lengths > 0.1 * lengths.max()  # three iterations do not fully raise small singular values
    assert bool(((turned.diagonal() > 0.4) & (turned.diagonal() < 1.4))[sure].all())
    assert (turned - turned.diagonal().diag()).abs().max() < 0.05


def test_the_groups_contain_each_trainable_parameter_once() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2, bias=False))
    network[0].weight.requires_grad_(False)
    groups = muon_groups(network, 0.25, 0.05, 0.5, 1e-2)
    assert [[one.shape for one in group["params"]] for group in groups] == [[(4,), (4,), (4,)], [(2, 4)]]
    numbers = [(group["lr_scale"], group["weight_decay"], group["momentum"]) for group in groups]
    assert numbers == [pytest.approx((0.2, 0.2, 0.85)), pytest.approx((2.0, 0.02, 0.85))]
    network[0].weight.requires_grad_(True)
    first = muon_groups(network, 0.25, 0.05, 0.5, 1e-2)[0]
    assert [*first["params"]] == [network[0].weight]
    assert (first["orthogonal"], first["lr_scale"], first["weight_decay"], first["momentum"]) == (True, 1.0, 0.0, 0.6)
