"""What our own networks share: a batch norm whose scale is fixed."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class FixedScaleBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose scale is 1 for good (MXNet's fix_gamma); its shift is trained.

    The scale stays a parameter, so that counts and state dicts agree with MXNet's, but asks for no gradient. Whatever a
    state dict holds for it, it is 1 after loading: MXNet stores values there that it never uses.
    """

    def __init__(self, num_features: int, eps: float, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.weight.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        super()._load_from_state_dict(state_dict, *args)
        # Here and not in forward: SyncBatchNorm and export take the weight and leave our forward behind.
        with torch.no_grad():
            self.weight.fill_(1)


def initialise_nnabla(network: nn.Module, *, head_std: float | None = None) -> None:
    """Draw the weights as NNabla's ImageNet example does, in place.

    Convolutions, and linear layers but the last: N(0, 2 / (kernel area * input channels)), all input channels counted
    also where a group sees fewer; biases 0. The last linear layer: uniform within +-1 / sqrt(fan-in), its bias too; or,
    as in the example's MobileNets and EfficientNets, N(0, head_std^2) and bias 0. Batch norms: scale 1, shift 0.
    Source: sony/nnabla-examples, image-classification/imagenet/models/base.py and mobilenet.py.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        area = layer.weight[0, 0].numel()
        in_channels = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
        nn.init.normal_(layer.weight, std=(2 / (area * in_channels)) ** 0.5)
    _reset_shifts(network)
    head = [layer for layer in layers if isinstance(layer, nn.Linear)][-1]
    if head_std is not None:
        nn.init.normal_(head.weight, std=head_std)
        return
    bound = head.in_features**-0.5
    nn.init.uniform_(head.weight, -bound, bound)
    nn.init.uniform_(head.bias, -bound, bound)


def initialise_edgeai(network: nn.Module) -> None:
    """Draw the weights as TI's edgeailite does, in place.

    Convolutions: N(0, 2 / fan-out) (arXiv:1502.01852); linear layers: N(0, 0.01^2); biases 0. Batch norms: scale 1,
    shift 0. Source: TexasInstruments/edgeai-modeloptimization, xnn/utils/weights_utils.py.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
    _reset_shifts(network)


def initialise_keras(network: nn.Module) -> None:
    """Draw the weights as Keras does by itself, in place: uniform by fan-in plus fan-out (Glorot), biases 0.

    Source: keras.layers.Conv2D and Dense, their default `glorot_uniform`.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    _reset_shifts(network)


def _reset_shifts(network: nn.Module) -> None:
    """Biases 0; batch norms with scale 1 and shift 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
