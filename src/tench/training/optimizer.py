"""Make a recipe's optimizer, and decide which parameters have weight decay."""

from typing import Any

import torch
from torch import nn

from tench.training.optimizers import LAMB, LARS, SGD, LrInsideSGD, Muon, RMSprop, RMSpropTF, muon_groups
from tench.training.optimizers.guard import GuardedOptimizer
from tench.training.recipe import ResolvedOptimizer

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


def parameter_groups(module: nn.Module, weight_decay: float, decay: str) -> list[dict[str, Any]]:
    """Trainable parameters in two groups, with and without weight decay (one group if all or none have it).

    decay: "all" excludes nothing. "not-norms" excludes the parameters of normalisation layers (torchvision's and
    NNabla's rule); "not-norms-and-biases" also every bias and every tensor of fewer than two dimensions (timm's rule).
    "not-biases" excludes biases, those of normalisation layers included, but not their scales (MXNet's rule).
    "not-named-bn" excludes parameters with "bn" in their name (ffcv-imagenet's rule; the norms of ResNet's shortcuts,
    named downsample.1, have decay).
    """
    spared = {
        parameter
        for path, part in module.named_modules()
        for name, parameter in part.named_parameters(recurse=False)
        if _is_spared(part, f"{path}.{name}", parameter, decay)
    }
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter not in spared], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _is_spared(part: nn.Module, path: str, parameter: nn.Parameter, decay: str) -> bool:
    is_norm = isinstance(part, _NORMS)
    is_bias = path.endswith(".bias")
    return {
        "all": False,
        "not-norms": is_norm,
        "not-norms-and-biases": is_norm or is_bias or parameter.ndim < 2,
        "not-biases": is_bias,
        "not-named-bn": "bn" in path,
    }[decay]


def scale_norm_biases(groups: list[dict[str, Any]], module: nn.Module, scale: float) -> list[dict[str, Any]]:
    """The groups with the biases of normalisation layers split off; their learning rate is `scale` times the others'.

    It is the group's `lr_scale`. Weight decay is divided by it, so its effect does not change.
    Source: bias_scaler (64) of KellerJordan/cifar10-airbench.
    """
    norms = [part for part in module.modules() if isinstance(part, _NORMS)]
    biases = {bias for part in norms if isinstance(bias := part.bias, nn.Parameter)}
    split = []
    for group in groups:
        others = [parameter for parameter in group["params"] if parameter not in biases]
        apart = [parameter for parameter in group["params"] if parameter in biases]
        split.append({**group, "params": others})
        split.append({**group, "params": apart, "lr_scale": scale, "weight_decay": group["weight_decay"] / scale})
    return [group for group in split if group["params"]]


def make_optimizer(module: nn.Module, recipe: ResolvedOptimizer) -> torch.optim.Optimizer:
    """A recipe's optimizer over the trainable parameters.

    It can skip an update on the device, without the host waiting for it (`found_inf`). A group's learning rate is the
    recipe's times its `lr_scale`.
    """
    lr, momentum = recipe.lr, recipe.momentum
    if recipe.optimizer == "muon":
        groups = muon_groups(module, lr, recipe.other_lr, recipe.head_lr, recipe.weight_decay, momentum)
    else:
        groups = parameter_groups(module, recipe.weight_decay, recipe.decay)
        if recipe.norm_bias_lr != 1:
            groups = scale_norm_biases(groups, module, recipe.norm_bias_lr)
    optimizer: torch.optim.Optimizer
    match recipe.optimizer:
        case "sgd":
            form = LrInsideSGD if recipe.lr_inside else SGD
            optimizer = form(groups, lr, momentum=momentum, nesterov=recipe.nesterov)
        case "lars":
            optimizer = LARS(groups, lr, momentum=momentum, nesterov=recipe.nesterov, eta=recipe.trust)
        case "lamb":
            optimizer = LAMB(groups, lr, betas=recipe.betas, eps=recipe.eps)
        case "adamw":
            optimizer = torch.optim.AdamW(groups, lr, betas=recipe.betas, eps=recipe.eps, fused=True)
        case "rmsprop" | "rmsprop-tf":
            kind = RMSprop if recipe.optimizer == "rmsprop" else RMSpropTF
            optimizer = kind(groups, lr, alpha=recipe.alpha, eps=recipe.eps, momentum=momentum)
        case "muon":
            optimizer = Muon(groups, lr)
    for group in optimizer.param_groups:
        group.setdefault("lr_scale", 1.0)
    return optimizer


def state_of(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state that an optimizer of `make_optimizer` has for a parameter before its first step."""
    if isinstance(optimizer, GuardedOptimizer):
        return optimizer.new_state(parameter)
    assert isinstance(optimizer, torch.optim.AdamW)
    step = torch.zeros((), device=parameter.device)
    return {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
