"""Muon for convolution filters, and SGD with Nesterov momentum for everything else, in one optimizer.

The update of a layer's filters, flattened to a matrix, is replaced by (approximately) the nearest matrix with equal
singular values. Each layer costs 9 small matrix products per step, in bfloat16, one layer after the other.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tench.training.optimizers import sgd
from tench.training.optimizers.guard import GroupPart, undone_where


class Muon(sgd.SGD):
    """Muon as in airbench94_muon.py of KellerJordan/cifar10-airbench, for groups with "orthogonal": True.

    In each step, such a group's parameters (2 or more dimensions, outputs first) are scaled to a root mean square row
    norm of 1, then moved by lr times the orthogonalised Nesterov momentum, without decay. The other groups are trained
    with SGD and Nesterov momentum.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.85, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr, momentum, nesterov=True, weight_decay=weight_decay)

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        for part in parts:
            if part.group.get("orthogonal"):
                with undone_where(bad, part.parameters, part.state["momentum_buffer"]):
                    _update_filters(part)
            else:
                super()._update([part], bad)


def _update_filters(part: GroupPart) -> None:
    filters, buffers, momentum = part.parameters, part.state["momentum_buffer"], part.group["momentum"]
    torch._foreach_mul_(buffers, momentum)
    torch._foreach_add_(buffers, part.gradients)
    directions = torch._foreach_add(part.gradients, buffers, alpha=momentum)
    lengths = torch._foreach_norm(filters)
    torch._foreach_mul_(filters, [math.sqrt(len(one)) for one in filters])
    torch._foreach_div_(filters, lengths)
    for one, direction in zip(filters, directions, strict=True):
        one.sub_(orthogonalised(direction.flatten(1)).view(one.shape), alpha=part.group["lr"])


def orthogonalised(matrix: Tensor) -> Tensor:
    """(rows, columns) -> the same shape, bfloat16: U S V' for a matrix U D V', with S about 1 (0.5 to 1.5) for any D.

    Three Newton-Schulz steps, with coefficients that raise small values quickly instead of converging.
    Source: airbench94_muon.py, zeropower_via_newtonschulz5.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T  # so that the products are of the smaller side
    for _ in range(3):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if is_tall else x


def muon_groups(
    module: nn.Module,
    lr: float,
    bias_lr: float,
    head_lr: float,
    weight_decay: float,
    momentum: float = 0.6,
    sgd_momentum: float = 0.85,
) -> list[dict[str, Any]]:
    """Trainable parameters in airbench's three groups: filters (4-D), biases and norms (1-D), and the rest, the head.

    lr: of the filters; a group's own is lr times its `lr_scale`. weight_decay: for a learning rate of 1 (airbench: 2e-6
    x batch size), so each group's is divided by its learning rate; filters have none.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    filters = [one for one in trainable if one.ndim == 4]
    biases = [one for one in trainable if one.ndim < 2]
    heads = [one for one in trainable if one.ndim >= 2 and one.ndim != 4]
    groups: list[dict[str, Any]] = [
        {"params": filters, "lr_scale": 1.0, "weight_decay": 0.0, "momentum": momentum, "orthogonal": True},
        *(
            {"params": some, "lr_scale": rate / lr, "weight_decay": weight_decay / rate, "momentum": sgd_momentum}
            for some, rate in ((biases, bias_lr), (heads, head_lr))
        ),
    ]
    return [group for group in groups if group["params"]]
