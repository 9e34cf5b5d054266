"""LARS: SGD with momentum for large batches; the norm of a layer's step is proportional to the norm of its weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tench.training.optimizers import sgd
from tench.training.optimizers.guard import GroupPart


class LARS(sgd.SGD):
    """LARS (arXiv:1708.03888): the gradient, decay added, is scaled by eta |w| / (|g| + weight_decay |w|), then SGD.

    The ratio is 1 where either norm is 0, and for groups without weight decay. The learning rate is outside the
    momentum, as in timm's Lars and, through its momentum correction, MXNet's LARS; in the paper and in TensorFlow it is
    inside. MXNet and MLPerf exclude biases and normalisation layers by name: put those into a group without decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        eta: float = 0.001,
    ) -> None:
        super().__init__(params, lr, momentum, nesterov, weight_decay)
        self._eta = eta

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        for part in parts:
            lr, weight_decay = part.group["lr"], part.group["weight_decay"]
            if weight_decay == 0:
                sgd.update(part, part.gradients, bad, lr, 0.0)
                continue
            weights = torch.stack(torch._foreach_norm(part.parameters))  # (parameters,)
            slopes = torch.stack(torch._foreach_norm(part.gradients))
            ratios = self._eta * weights / (slopes + weight_decay * weights)
            ratios = torch.where((weights > 0) & (slopes > 0), ratios, 1.0)
            gradients = torch._foreach_add(part.gradients, part.parameters, alpha=weight_decay)
            torch._foreach_mul_(gradients, list(ratios.unbind()))
            sgd.update(part, gradients, bad, lr, 0.0)
