"""SGD with momentum in its two forms, and the update that others build on: torch's fused kernel, found_inf and all."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from tench.training.optimizers.guard import GroupPart, GuardedOptimizer, Tensors


def update(part: GroupPart, gradients: Tensors, bad: Tensor | None, lr: float, weight_decay: float) -> None:
    """b <- momentum b + g, w <- w - lr b for g the gradient + weight_decay w; nesterov: w <- w - lr (g + momentum b).

    The group's options say momentum and nesterov; the state's `momentum_buffer` is b.
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
    """torch.optim.SGD, whose first update may be left out too.

    torch's fused form then takes for its momentum what the memory happens to hold (2.13: `momentum_buffer_list[i] =
    torch.empty_like(g)`), and the first step is the one where a loss scale is most often too large.
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
    """SGD whose momentum has the learning rate inside: v <- momentum v + lr g, w <- w - v.

    A change of the learning rate then acts on what is to come alone, where torch's form scales the whole momentum; with
    a constant rate both are the same. nesterov: w <- w - (lr g + momentum v).
    Sources: NNabla `solver/generic/momentum.cpp`; MXNet `optimizer.SGD` and, with nesterov, `optimizer.NAG` (1.9 takes
    the decay that enters v from the weight that it has just moved; not so here); Keras SGD.
    """

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        for part in parts:
            lr = part.group["lr"]
            update(part, torch._foreach_mul(part.gradients, lr), bad, 1.0, lr * part.group["weight_decay"])
