"""Blurring before subsampling, so that a network does not see frequencies that its next map cannot hold.

Source: arXiv:1904.11486; where it stands is the rule of ffcv-imagenet's training script (and of Mosaic's Composer):
before every convolution of stride 2 with at least 16 input channels. It costs a depthwise 3x3 convolution at the size
before the stride.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST_CHANNELS = 16
_BINOMIAL = (1.0, 2.0, 1.0)


def add_blurpool(network: nn.Module) -> int:
    """Blur before each convolution of stride 2 with at least 16 input channels, in place; how many those are.

    A convolution stays what it is, with its weights and their names: those that pad or scale in a way of their own too
    (timm's Conv2dSame, StdConv2d).
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
    """Let a convolution see its input, (B, C, H, W), blurred; the border is taken for zeros."""
    line = torch.tensor(_BINOMIAL)
    kernel = (torch.outer(line, line) / line.sum() ** 2).expand(conv.in_channels, 1, 3, 3).clone()
    conv.register_buffer("blur", kernel.to(conv.weight), persistent=False)
    conv.register_forward_pre_hook(_blurred)


def _blurred(conv: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return F.conv2d(inputs[0], conv.get_buffer("blur"), padding=1, groups=inputs[0].shape[1])
