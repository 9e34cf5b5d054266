"""SGD with momentum in its two forms, and the update that others build on: torch's fused kernel with found_inf."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from tench.training.optimizers.guard import GroupPart, GuardedOptimizer, Tensors


def update(part: GroupPart, gradients: Tensors, bad: Tensor | None, lr: float, weight_decay: float) -> None:
    """b <- momentum b + g, w <- w - lr b with g = gradient + weight_decay w; nesterov: w <- w - lr (g + momentum b).

    momentum and nesterov are options of the group; b is `momentum_buffer` of the state.
    """
    sgd(
        part.parameters,
        [*gradients],
        [*part.state["momentum_buffer"]],
        fused=True,
        found_inf=None if bad is None else bad.float(),
        weight_decay=weight_decay,
        momentum=part.group["momentum"],
        lr=lr,
        dampening=0.0,
        nesterov=part.group["nesterov"],
        maximize=False,
    )


class SGD(GuardedOptimizer):
    """torch.optim.SGD, except that its first update can be skipped too.

    If the first update is skipped, torch's fused form starts its momentum with uninitialised memory (2.13:
    `momentum_buffer_list[i] = torch.empty_like(g)`), and a loss scale is most often too large in the first step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay})

    def new_state(self, parameter: Tensor) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        for part in parts:
            update(part, part.gradients, bad, part.group["lr"], part.group["weight_decay"])


class LrInsideSGD(SGD):
    """SGD with the learning rate inside the momentum: v <- momentum v + lr g, w <- w - v.

    A change of the learning rate then affects only later gradients, while torch's form scales the whole momentum; with
    a constant rate both are the same. nesterov: w <- w - (lr g + momentum v).
    Sources: NNabla `solver/generic/momentum.cpp`; MXNet `optimizer.SGD` and, with nesterov, `optimizer.NAG` (unlike
    here, 1.9 computes the decay in v from the weight that it has just moved); Keras SGD.
    """

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        for part in parts:
            lr = part.group["lr"]
            update(part, torch._foreach_mul(part.gradients, lr), bad, 1.0, lr * part.group["weight_decay"])
