"""MobileNet V3 (arXiv:1905.02244, tables 1 and 2) from torchvision's blocks, with configurable strides and gates.

torchvision's own two networks have fixed strides, its squeeze-and-excite and no halved tail.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from tench.compat import import_torchvision

_STEM_WIDTH = 16


@dataclass(frozen=True, slots=True)
class _Block:
    """A row of the paper's tables."""

    out_channels: int
    kernel_size: int
    expanded_channels: int
    activation: str
    """RE: relu, HS: h-swish."""
    squeezes: bool = False
    """Whether it has a squeeze-and-excite."""
    stride: int = 0
    """Index into the network's five strides; 0, the index of the stem, means stride 1."""


@dataclass(frozen=True, slots=True)
class Table:
    """A network of the paper."""

    blocks: tuple[_Block, ...]
    head_width: int
    """Channels of the second-to-last layer."""

    def without_squeezes(self) -> "Table":
        """The table of the lite networks: the same blocks without squeeze-and-excite."""
        return replace(self, blocks=tuple(replace(block, squeezes=False) for block in self.blocks))


LARGE = Table(
    (
        _Block(16, 3, 16, "RE"),
        _Block(24, 3, 64, "RE", stride=1),
        _Block(24, 3, 72, "RE"),
        _Block(40, 5, 72, "RE", squeezes=True, stride=2),
        _Block(40, 5, 120, "RE", squeezes=True),
        _Block(40, 5, 120, "RE", squeezes=True),
        _Block(80, 3, 240, "HS", stride=3),
        _Block(80, 3, 200, "HS"),
        _Block(80, 3, 184, "HS"),
        _Block(80, 3, 184, "HS"),
        _Block(112, 3, 480, "HS", squeezes=True),
        _Block(112, 3, 672, "HS", squeezes=True),
        _Block(160, 5, 672, "HS", squeezes=True, stride=4),
        _Block(160, 5, 960, "HS", squeezes=True),
        _Block(160, 5, 960, "HS", squeezes=True),
    ),
    head_width=1280,
)
SMALL = Table(
    (
        _Block(16, 3, 16, "RE", squeezes=True, stride=1),
        _Block(24, 3, 72, "RE", stride=2),
        _Block(24, 3, 88, "RE"),
        _Block(40, 5, 96, "HS", squeezes=True, stride=3),
        _Block(40, 5, 240, "HS", squeezes=True),
        _Block(40, 5, 240, "HS", squeezes=True),
        _Block(48, 5, 120, "HS", squeezes=True),
        _Block(48, 5, 144, "HS", squeezes=True),
        _Block(96, 5, 288, "HS", squeezes=True, stride=4),
        _Block(96, 5, 576, "HS", squeezes=True),
        _Block(96, 5, 576, "HS", squeezes=True),
    ),
    head_width=1024,
)


def mobilenet_v3(
    table: Table,
    num_classes: int,
    *,
    strides: Sequence[int] = (2, 2, 2, 2, 2),
    width: int = 1,
    halve_tail: bool = False,
    dropout: float = 0.2,
    norm: Callable[[int], nn.Module] | None = None,
    squeeze: Callable[[int, int], nn.Module] | None = None,
) -> Any:
    """The network of a table, LARGE or SMALL: (B, 3, S, S) float -> (B, num_classes) logits.

    strides: of the stem and of the paper's C1 to C4. width: factor for all channels. halve_tail: halve the channels
    from C4 on, including the second-to-last layer. norm: creates the batch norms, by default torchvision's (eps 1e-3,
    momentum 0.01). squeeze: (channels, torchvision's width for them) -> squeeze-and-excite, by default torchvision's.
    """
    v3: Any = import_torchvision().models.mobilenetv3
    blocks = [
        v3.InvertedResidualConfig(
            in_channels,
            block.kernel_size,
            block.expanded_channels,
            block.out_channels,
            block.squeezes,
            block.activation,
            strides[block.stride] if block.stride else 1,
            1,
            width,
        )
        for in_channels, block in _with_inputs(_halve_tail(table.blocks) if halve_tail else table.blocks)
    ]
    head_width = width * (table.head_width // 2 if halve_tail else table.head_width)
    block = None if squeeze is None else partial(v3.InvertedResidual, se_layer=squeeze)
    network = v3.MobileNetV3(blocks, head_width, num_classes, block, norm, dropout)
    network.features[0][0].stride = (strides[0], strides[0])
    return network


def _with_inputs(blocks: Sequence[_Block]) -> Iterator[tuple[int, _Block]]:
    """Each block with its number of input channels."""
    in_channels = _STEM_WIDTH
    for block in blocks:
        yield in_channels, block
        in_channels = block.out_channels


def _halve_tail(blocks: Sequence[_Block]) -> list[_Block]:
    """Halve the channels from C4 on, except the expansion in the block with C4's stride."""
    start = next(number for number, block in enumerate(blocks) if block.stride == 4)
    first, *others = (replace(block, out_channels=block.out_channels // 2) for block in blocks[start:])
    halved = (replace(block, expanded_channels=block.expanded_channels // 2) for block in others)
    return [*blocks[:start], first, *halved]
