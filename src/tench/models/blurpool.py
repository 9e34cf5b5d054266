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


class BlurredConv2d(nn.Conv2d):
    """A convolution whose input is blurred first. Its parameters, and their names, are those of the convolution."""

    blur: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            kernel_size=conv.kernel_size,  # type: ignore[arg-type]  # as a Conv2d keeps them
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=False,
            padding_mode=conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        line = torch.tensor(_BINOMIAL)
        kernel = (torch.outer(line, line) / line.sum() ** 2).expand(conv.in_channels, 1, 3, 3).clone()
        self.register_buffer("blur", kernel.to(conv.weight), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """input: (B, C, H, W). The border is taken for zeros."""
        return super().forward(F.conv2d(input, self.blur, padding=1, groups=self.in_channels))


def add_blurpool(network: nn.Module) -> int:
    """Blur before each convolution of stride 2 with at least 16 input channels, in place; how many those are."""
    convs = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and module.in_channels >= _LEAST_CHANNELS
    ]
    for name, conv in convs:
        network.set_submodule(name, BlurredConv2d(conv))
    return len(convs)
