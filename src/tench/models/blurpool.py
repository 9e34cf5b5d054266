"""Blurring before subsampling, to remove frequencies that the smaller map cannot represent.

Source: arXiv:1904.11486. The placement follows ffcv-imagenet's training script (and Mosaic's Composer): before every
convolution of stride 2 with at least 16 input channels. Each one costs a depthwise 3x3 convolution at the larger size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST_CHANNELS = 16
_BINOMIAL = (1.0, 2.0, 1.0)


def add_blurpool(network: nn.Module) -> int:
    """Blur before each convolution of stride 2 with at least 16 input channels, in place; return how many there are.

    The convolutions keep their type, weights and names, including those with their own padding or scaling (timm's
    Conv2dSame, StdConv2d).
    """
    convs = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and module.in_channels >= _LEAST_CHANNELS
    ]
    for conv in convs:
        add_blur(conv)
    return len(convs)


def add_blur(conv: nn.Conv2d) -> None:
    """Blur the input (B, C, H, W) of a convolution; pixels outside the image are treated as zeros."""
    line = torch.tensor(_BINOMIAL)
    kernel = (torch.outer(line, line) / line.sum() ** 2).expand(conv.in_channels, 1, 3, 3).clone()
    conv.register_buffer("blur", kernel.to(conv.weight), persistent=False)
    conv.register_forward_pre_hook(_blurred)


def _blurred(conv: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return F.conv2d(inputs[0], conv.get_buffer("blur"), padding=1, groups=inputs[0].shape[1])
