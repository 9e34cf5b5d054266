"""Trade time for memory: activations inside residual blocks are not kept but recomputed in the backward pass.

The results are bit-identical: the second pass draws the same dropout, and batch norms do not count its batch.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from tench.errors import UsageError

_Norm = nn.modules.batchnorm._BatchNorm


def recompute_blocks(network: nn.Module, arch: str) -> int:
    """Make each block of the network keep only its input for the backward pass. Returns the number of blocks.

    Raises UsageError for a network without blocks.
    """
    blocks = list(_blocks(network))
    if not blocks:
        raise UsageError(f"{arch} has no residual blocks to recompute. Leave --recompute out.")
    for block in blocks:
        norms = [module for module in block.modules() if isinstance(module, _Norm)]
        block.forward = partial(_forward, block, block.forward, norms)
    return len(blocks)


def _forward(block: nn.Module, forward: Any, norms: list[_Norm], *args: Any, **named: Any) -> Any:
    if not block.training:
        return forward(*args, **named)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _not_counted(norms)

    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **named)


@contextmanager
def _not_counted(norms: list[_Norm]) -> Iterator[None]:
    """Restore the running statistics of batch norms at the end of this block."""
    kept = [(buffers := norm._buffers, dict(buffers)) for norm in norms]
    for buffers, before in kept:
        buffers.update({name: None if buffer is None else buffer.clone() for name, buffer in before.items()})
    try:
        yield
    finally:
        for buffers, before in kept:
            buffers.update(before)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of sequences that consist of several layers; if a member contains a stage, the stage's members."""
    is_sequence = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in module.children():
        if is_sequence and _is_block(child) and not _holds_stage(child):
            yield child
        else:
            yield from _blocks(child)


def _is_block(module: nn.Module) -> bool:
    return any(module.children()) and not isinstance(module, nn.Sequential | nn.ModuleList)


def _holds_stage(module: nn.Module) -> bool:
    """Whether it contains a sequence with several blocks of the same kind."""
    for part in module.modules():
        if isinstance(part, nn.Sequential | nn.ModuleList):
            kinds = [type(child) for child in part if _is_block(child)]
            if len(kinds) > len(set(kinds)):
                return True
    return False
