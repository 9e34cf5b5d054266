"""LAMB: Adam for large batches; the norm of a layer's step is proportional to the norm of its weights."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tench.training.optimizers.guard import GroupPart, GuardedOptimizer, Tensors, undone_where


class LAMB(GuardedOptimizer):
    """LAMB (arXiv:1904.00962) as in timm's Lamb and NVIDIA's FusedLAMB.

    The gradients of all groups together are scaled down to a norm of max_norm. Weight decay is added to Adam's update,
    which is then scaled by |w| / |update|; the ratio is 1 where either norm is 0, and for groups without weight decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_norm: float = 1.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._max_norm = max_norm

    def new_state(self, parameter: Tensor) -> dict[str, Tensor]:
        return {
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
            # Not "step": load_state_dict would leave a tensor of that name on the CPU, where it is in the file.
            "num_steps": torch.zeros((), device=parameter.device),
        }

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        norms = torch._foreach_norm([gradient for part in parts for gradient in part.gradients])
        shrink = (torch.linalg.vector_norm(torch.stack(norms)) / self._max_norm).clamp(min=1.0)
        for part in parts:
            with undone_where(bad, part.parameters, *part.state.values()):
                _update_part(part, torch._foreach_div(part.gradients, shrink))


def _update_part(part: GroupPart, gradients: Tensors) -> None:
    averages, squares, counts = (part.state[name] for name in ("exp_avg", "exp_avg_sq", "num_steps"))
    beta1, beta2 = part.group["betas"]
    torch._foreach_add_(counts, 1)
    torch._foreach_lerp_(averages, gradients, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
    # The first count is used for all: the parameters of a group have gradients in the same steps.
    correction1, correction2 = (-torch.expm1(counts[0] * math.log(beta)) for beta in (beta1, beta2))  # 1 - beta ** n
    roots = torch._foreach_sqrt(squares)
    torch._foreach_div_(roots, correction2.sqrt())
    torch._foreach_add_(roots, part.group["eps"])
    updates = torch._foreach_div(averages, roots)
    torch._foreach_div_(updates, correction1)
    if part.group["weight_decay"] != 0:
        torch._foreach_add_(updates, part.parameters, alpha=part.group["weight_decay"])
        weights = torch.stack(torch._foreach_norm(part.parameters))  # (parameters,)
        lengths = torch.stack(torch._foreach_norm(updates))
        ratios = torch.where((weights > 0) & (lengths > 0), weights / lengths, 1.0)
        torch._foreach_mul_(updates, list(ratios.unbind()))
    torch._foreach_add_(part.parameters, updates, alpha=-part.group["lr"])
