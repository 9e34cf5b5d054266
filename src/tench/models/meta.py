"""Trying a network without its memory and its arithmetic.

On torch's meta device tensors have shapes and no values: building the largest network and passing a batch through it
takes a second or two of Python, and every shape that does not fit shows as it would in training.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

T = TypeVar("T")

_ABOUT_META = re.compile(r"\bmeta\b", re.IGNORECASE)


def dry_run(
    build: Callable[[], nn.Module], images: tuple[int, int, int, int], use: Callable[[nn.Module, Tensor], T]
) -> T:
    """What `use(network, zeros of shape images)` returns, for the network in evaluation mode and without gradients.

    Network and images are on the meta device. Where the network's code wants the value of a tensor or an operator is
    not defined there, all is done again on the CPU, which takes the network's memory and time. Torch's generator on the
    CPU is left as it was. Raises what `build` and `use` raise.
    """
    ways: list[tuple[AbstractContextManager[Any], str]] = [
        (torch.device("meta"), "meta"),
        (_WeightsOnMeta(), "meta"),
        (torch.device("cpu"), "cpu"),
    ]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for building, device in ways[:-1]:
            try:
                return _run(build, building, device, images, use)
            except Exception as error:
                if not _ABOUT_META.search(str(error)):
                    raise
        return _run(build, *ways[-1], images, use)


def _run(
    build: Callable[[], nn.Module],
    building: AbstractContextManager[Any],
    device: str,
    images: tuple[int, int, int, int],
    use: Callable[[nn.Module, Tensor], T],
) -> T:
    with torch.device("cpu"), building:
        network = build().to(device).eval()
    with torch.device(device):
        return use(network, torch.zeros(images))


class _WeightsOnMeta(TorchFunctionMode):
    """Puts on the meta device what torch.empty makes, which is how layers take memory for their weights.

    With torch.device("meta") all tensors are there, also those from which torchvision's RegNet computes its widths.
    With this, on the other hand, timm's hybrids cannot pass an image through their stem while they are built.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
