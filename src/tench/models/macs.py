"""Counting multiply-accumulates (MACs), the usual measure of a network's cost.

This counts all convolutions and all products with a weight matrix (linear layers, projections inside attention). It
does not count biases, normalisation, activations, pooling, and the two products inside attention without weights.
torchvision's published figures include the latter (4 % of vit_b_16, 15 % of vit_h_14 at 518 px).

Operators are counted rather than layers, because torchvision's ViT and Swin use the weights of their linear layers
without calling the layers.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


@dataclasses.dataclass(frozen=True)
class Macs:
    """Multiply-accumulates by kind. Some programs quote the convolutions alone (TI's edgeailite)."""

    convolutions: int
    products: int
    """Those of linear layers and of the projections inside attention."""

    @property
    def total(self) -> int:
        return self.convolutions + self.products


def count_macs(network: nn.Module, images: Tensor) -> Macs:
    """MACs of one forward pass of `images` (B, C, H, W) in evaluation mode, on any device."""
    counter = _Counter()
    was_training = network.training
    had_fastpath = torch.backends.mha.get_fastpath_enabled()
    network.eval()
    try:
        # Otherwise torch runs attention on the CPU as one operator, which hides its projections.
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), counter:
            network(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fastpath)
        network.train(was_training)
    return Macs(counter.convolutions, counter.products)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.convolutions = self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is _aten.convolution.default:
            image, weight, transposed = args[0], args[1], args[6]
            # weight (out, in/groups, kh, kw) counts for each output value; transposed, (in, out/groups, kh, kw) for
            # each input.
            self.convolutions += (image if transposed else out).numel() * weight[0].numel()
        elif func is _aten.mm.default:
            self.products += args[0].numel() * args[1].shape[1]
        elif func is _aten.addmm.default:
            self.products += args[1].numel() * args[2].shape[1]
        return out
