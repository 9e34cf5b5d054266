"""Adapting a network for large images to small ones, and to a different number of channels.

A network for 224 px first discards detail: a convolution and often a pooling, each with stride 2, reduce the side to a
quarter before the first stage. A 32 px image becomes 8 px, and the last stage sees a single pixel.
"""

import math

import torch
from torch import nn

_SMALL = 40
"""Largest side, pixels, at which the stem keeps the full size, as in networks made for CIFAR (32)."""
LARGEST_FITTED = 80
"""Largest side, pixels, at which the stem halves the size instead of quartering it (Tiny ImageNet has 64)."""


def adapt_stem(network: nn.Module, image_size: int) -> str | None:
    """Make the stem of `network` keep more of a small image, in place. Return what changed, or None if nothing did.

    For networks whose first convolution has stride 2:

        image_size <= 40   that convolution gets stride 1, and a max pooling of stride 2 in the stem is removed
        image_size <= 80   that convolution gets stride 1
        larger             no change

    The last map of a ResNet is then 4x4 at 32 and 64 px, instead of 1x1 and 2x2. Without a pooling in the stem, as in
    MobileNet, it is 2x2 and 4x4. A 7x7 kernel also becomes 3x3, because it was that large only for its stride. First
    convolutions with other strides are left alone: with 4 or more they cut patches, and with 1 the network already
    reads the full size. Changed kernels are reinitialised. For 32 px this is the usual ResNet for CIFAR:
    arXiv:2002.05709, appendix B.9.
    """
    if image_size > LARGEST_FITTED:
        return None
    first = first_conv(network)
    if first is None or first[1].stride != (2, 2):
        return None
    name, conv = first
    pools = _stem_pools(network, name) if image_size <= _SMALL else []
    change = f"the first convolution ({name}) has stride 1 instead of 2"
    conv.stride = (1, 1)
    if conv.kernel_size == (7, 7):
        change += " and a 3x3 kernel instead of 7x7"
        conv.kernel_size = (3, 3)
        if not isinstance(conv.padding, str):
            # 3 becomes 1. Layers that do their own padding have 0 here and keep it.
            conv.padding = tuple(max(0, padding - 2) for padding in conv.padding)
        _redraw(conv, conv.weight.shape[1], (3, 3))
    for pool in pools:
        network.set_submodule(pool, nn.Identity())
    if pools:
        change += f", and the max pooling after it ({pools[-1]}) is removed"
    return f"Stem fitted to {image_size} px: {change}."


def replace_input_channels(network: nn.Module, channels: int) -> None:
    """Make the first convolution of `network` accept `channels` channels, in place, with new weights.

    Raises ValueError if the network does not begin with an ungrouped convolution.
    """
    first = first_conv(network)
    if first is None or first[1].groups != 1:
        raise ValueError("it does not begin with a plain convolution")
    _, conv = first
    conv.in_channels = channels
    _redraw(conv, channels, conv.kernel_size)


def first_conv(network: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """The first convolution in the order of registration, which for image classifiers reads the image."""
    return next(((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)


def _stem_pools(network: nn.Module, first_conv: str) -> list[str]:
    """The max pooling of stride 2 in the stem, preceded by its padding layer if there is one; or nothing.

    A pooling is in the stem if only norms and activations separate it from the first convolution (ResNet), possibly
    with convolutions of the same parent (timm's deep stems: conv1.0, conv1.3, conv1.6, then maxpool), or if it ends a
    block that is the stem (stem.conv1, stem.conv2, stem.pool). Inception's first pooling is between stages, so it
    stays.
    """
    leaves = [(name, module) for name, module in network.named_modules() if not any(module.children())]
    names = [name for name, _ in leaves]
    start = names.index(first_conv)
    pool = next((i for i in range(start, len(leaves)) if isinstance(leaves[i][1], nn.MaxPool2d)), None)
    if pool is None or leaves[pool][1].stride not in (2, (2, 2)):
        return []
    stem = _parent(names[pool])
    if not first_conv.startswith(stem):
        return []
    convs = [i for i, (_, module) in enumerate(leaves) if isinstance(module, nn.Conv2d) and i > start]
    plain_stem = all(_parent(names[i]) == _parent(first_conv) for i in convs if i < pool)
    ends_stem = stem != "" and not any(names[i].startswith(stem) for i in convs if i > pool)
    if not (plain_stem or ends_stem):
        return []
    padded = isinstance(leaves[pool - 1][1], nn.ConstantPad2d)
    return names[pool - 1 : pool + 1] if padded else [names[pool]]


def _parent(name: str) -> str:
    """ "features.conv0" -> "features.", "conv1" -> "" """
    return name[: name.rfind(".") + 1]


def _redraw(conv: nn.Conv2d, in_channels: int, kernel_size: tuple[int, ...]) -> None:
    """Give `conv` new weights of another shape, drawn from a normal distribution that preserves its output scale.

    The standard deviation is that of the existing weights times sqrt(old fan-in / new fan-in), which follows every
    family's initialisation. If 7x7 becomes 3x3, it is exactly that of the family's scheme, whether by fan-in or
    fan-out.
    """
    old = conv.weight
    new = torch.empty(old.shape[0], in_channels, *kernel_size, dtype=old.dtype, device=old.device)
    spread = old.detach().std() * math.sqrt(
        old[0].numel() / new[0].numel()
    )  # a tensor, because meta tensors have no values
    conv.weight = nn.Parameter(new.normal_() * spread)
