"""The optimizer a recipe asks for, and which parameters its weight decay pulls."""

from typing import Any

import torch
from torch import nn

from tench.training.recipe import Optimizer

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


def parameter_groups(module: nn.Module, weight_decay: float, decay: str) -> list[dict[str, Any]]:
    """Trainable parameters in two groups, with weight decay and without (one where all or none are pulled).

    decay: "all"; "not-norms" spares the parameters of normalisation layers (torchvision's rule); with
    "not-norms-and-biases" every tensor of fewer than two dimensions and every bias too (timm's rule).
    """
    spared = set()
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            is_norm = isinstance(part, _NORMS)
            is_small = parameter.ndim < 2 or name == "bias"
            if (decay != "all" and is_norm) or (decay == "not-norms-and-biases" and is_small):
                spared.add(parameter)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter not in spared], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(module: nn.Module, recipe: Optimizer) -> torch.optim.Optimizer:
    """SGD with momentum. Fused: it can leave an update out on the device, without the host asking why."""
    return torch.optim.SGD(
        parameter_groups(module, recipe.weight_decay, recipe.decay),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=True,
    )
