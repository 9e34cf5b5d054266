"""The setting that optimizers are compared in: a small network, random gradients and changing learning rates."""

import copy
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tench.compat import import_timm

STEPS = 20
Groups = list[dict[str, Any]]
Make = Callable[[Groups], torch.optim.Optimizer]


def small_network() -> nn.Sequential:
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(36, 5)
    )
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub
    return network


def groups_of(network: nn.Module, weight_decay: float) -> Groups:
    """Parameter groups: weights with weight decay, everything else without."""
    small = [parameter for parameter in network.parameters() if parameter.ndim < 2]
    large = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    return [{"params": large, "weight_decay": weight_decay}, {"params": small, "weight_decay": 0.0}]


def random_gradients(network: nn.Module, steps: int = STEPS, size: float = 1.0) -> Iterator[list[Tensor]]:
    """A gradient for each parameter at each step, with a scale that differs from step to step."""
    generator = torch.Generator().manual_seed(11)
    for step in range(steps):
        yield [
            torch.empty_like(parameter).normal_(generator=generator) * size * (1 + step % 3)
            for parameter in network.parameters()
        ]


def rate(step: int) -> float:
    """A learning rate that rises, then falls. It is 0 in the first step, as it can be in a warm-up."""
    return 0.1 * min(step / 5, 1.5 - step / 20)


def take_step(optimizer: torch.optim.Optimizer, network: nn.Module, gradients: list[Tensor], lr: float) -> None:
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        parameter.grad = gradient.clone()
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    optimizer.step()


def trained(
    make: Make, weight_decay: float, rates: Callable[[int], float] = rate, size: float = 1.0
) -> dict[str, Tensor]:
    """The small network's parameters after 20 steps."""
    network = copy.deepcopy(small_network())
    optimizer = make(groups_of(network, weight_decay))
    for step, gradients in enumerate(random_gradients(network, size=size)):
        take_step(optimizer, network, gradients, rates(step))
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], atol: float = 1e-6, rtol: float = 1e-6) -> None:
    before = dict(small_network().named_parameters())
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert not torch.allclose(expected, before[name], atol=1e-2), f"{name} was not trained"
        torch.testing.assert_close(ours[name], expected, atol=atol, rtol=rtol)


def from_timm(name: str, **options: Any) -> Make:
    import_timm()
    optimizer: Any = getattr(importlib.import_module("timm.optim"), name)
    return lambda groups: optimizer(groups, **options)
