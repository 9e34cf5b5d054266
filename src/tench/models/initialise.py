"""Initialisers by name, as in other systems' programs.

An initialiser applies to layers, not networks: it draws the weights of every 2-D convolution and linear layer. Norms
get scale 1, shift 0 and fresh running averages, even those whose authors start with scale 0. Other parameters (tokens,
positions, the projections inside torch's attention) are left unchanged. fan_in and fan_out refer to the weight as
stored: (in/groups) kh kw and out kh kw.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tench.errors import UsageError, nearest

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm)

Draw = Callable[[Tensor], object]
"""Fills the weight of a convolution or a linear layer in place."""

# MXNet's --initializer: python/mxnet/initializer.py with the arguments of example/image-classification/common/fit.py.
# Its Orthogonal uses the singular vectors of a uniform matrix, torch's those of a normal one. Both give orthogonal rows
# (or columns) of length 1.414.
_BY_WEIGHT: dict[str, Draw] = {
    "mxnet": lambda weight: nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "msra": lambda weight: nn.init.xavier_normal_(weight, gain=nn.init.calculate_gain("leaky_relu", 0.25)),
    "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain=1.414),
    "normal": lambda weight: nn.init.normal_(weight, std=0.01),
    "uniform": lambda weight: nn.init.uniform_(weight, -0.07, 0.07),
    "one": nn.init.ones_,
    "zero": nn.init.zeros_,
}

INITIALISERS = (*_BY_WEIGHT, "nnabla", "edgeai")
"""The names that `initialise_by` accepts."""


def initialise_by(network: nn.Module, name: str) -> None:
    """Reinitialise a network in place, with torch's generator of its device. Biases become 0 unless stated otherwise.

        mxnet       N(0, 2 / fan_in): MXNet's programs, except for AlexNet (normal) and VGG (xavier);
                    arXiv:1502.01852, section 2.2
        xavier      uniform with variance 2 / (fan_in + fan_out); Glorot and Bengio, AISTATS 2010
        msra        N(0, 2 / (1 + 0.25^2) / mean of fan_in and fan_out)
        orthogonal  orthogonal rows (or columns, if there are fewer of them) of length 1.414
        normal      N(0, 0.01^2)
        uniform     from -0.07 to 0.07
        one, zero   that constant
        nnabla      N(0, 2 / (kh kw in)), counting all input channels even in grouped convolutions. The last linear
                    layer and its bias are drawn as in torch, uniform within 1 / sqrt(fan_in). In networks with
                    depthwise convolutions (MobileNet, EfficientNet) they are N(0, 0.01^2) and 0
        edgeai      convolutions N(0, 2 / fan_out), linear layers N(0, 0.01^2)

    Raises UsageError for an unknown name.
    """
    if name not in INITIALISERS:
        known = list(INITIALISERS)
        raise UsageError(f"Unknown initialiser {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    by_weight = _BY_WEIGHT.get(name)
    mobile = any(_is_depthwise(module) for module in network.modules())
    head = next((module for module in reversed([*network.modules()]) if isinstance(module, nn.Linear)), None)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _NORMS):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                if module.bias is not None:
                    module.bias.zero_()
                if by_weight is not None:
                    by_weight(module.weight)
                elif name == "nnabla":
                    _as_nnabla(module, module is head, mobile)
                else:
                    _as_edgeai(module)


def _as_nnabla(layer: nn.Conv2d | nn.Linear, is_head: bool, mobile: bool) -> None:
    """Source: NNabla's imagenet-classification, models/base.py and the heads of its models."""
    if not is_head:
        in_channels = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
        layer.weight.normal_(std=math.sqrt(2 / (in_channels * layer.weight[0, 0].numel())))
    elif mobile:
        layer.weight.normal_(std=0.01)
    else:
        layer.reset_parameters()


def _as_edgeai(layer: nn.Conv2d | nn.Linear) -> None:
    """Source: TI's edgeai-torchvision, the constructors of its classification models."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        layer.weight.normal_(std=0.01)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
