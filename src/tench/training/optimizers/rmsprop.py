"""RMSprop in torch's form and in TensorFlow's.

torch's own class is not used for the former: it has no fused form and counts steps on the host, where a step that the
device skips cannot be undone.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tench.training.optimizers.guard import GroupPart, GuardedOptimizer, Tensors, undone_where


class RMSprop(GuardedOptimizer):
    """torch.optim.RMSprop: s <- alpha s + (1 - alpha) g^2, b <- momentum b + g / (sqrt(s) + eps), w <- w - lr b.

    Weight decay is added to the gradient; s starts at 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, options)

    def new_state(self, parameter: Tensor) -> dict[str, Tensor]:
        return {"square_avg": torch.zeros_like(parameter), "momentum_buffer": torch.zeros_like(parameter)}

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        for part in parts:
            squares, buffers = part.state["square_avg"], part.state["momentum_buffer"]
            gradients = torch._foreach_add(part.gradients, part.parameters, alpha=part.group["weight_decay"])
            with undone_where(bad, part.parameters, squares, buffers):
                torch._foreach_mul_(squares, part.group["alpha"])
                torch._foreach_addcmul_(squares, gradients, gradients, 1 - part.group["alpha"])
                torch._foreach_mul_(buffers, part.group["momentum"])
                self._move(part, gradients)

    def _move(self, part: GroupPart, gradients: Tensors) -> None:
        buffers = part.state["momentum_buffer"]
        roots = torch._foreach_sqrt(part.state["square_avg"])
        torch._foreach_add_(roots, part.group["eps"])
        torch._foreach_addcdiv_(buffers, gradients, roots)
        torch._foreach_add_(part.parameters, buffers, alpha=-part.group["lr"])


class RMSpropTF(RMSprop):
    """TensorFlow's RMSprop, timm's RMSpropTF: b <- momentum b + lr g / sqrt(s + eps), w <- w - b; s starts at 1."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        alpha: float = 0.9,
        eps: float = 1e-10,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, alpha, eps, momentum, weight_decay)

    def new_state(self, parameter: Tensor) -> dict[str, Tensor]:
        return super().new_state(parameter) | {"square_avg": torch.ones_like(parameter)}

    def _move(self, part: GroupPart, gradients: Tensors) -> None:
        buffers = part.state["momentum_buffer"]
        roots = torch._foreach_add(part.state["square_avg"], part.group["eps"])
        torch._foreach_sqrt_(roots)
        torch._foreach_addcdiv_(buffers, gradients, roots, part.group["lr"])
        torch._foreach_sub_(part.parameters, buffers)
