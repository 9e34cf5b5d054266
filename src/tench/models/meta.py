"""Try a network without allocating its memory or computing anything.

On torch's meta device, tensors have shapes but no values. Building the largest network and passing a batch through it
takes a second or two of Python, and shape errors appear as in training.
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
    """The result of `use(network, zeros of shape images)`, with the network in evaluation mode and without gradients.

    Network and images are on the meta device. If the network's code needs the value of a tensor, or an operator has no
    meta version, everything is repeated on the CPU, which takes the network's memory and time. Torch's CPU generator is
    not changed. Raises the errors of `build` and `use`.
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
    """Creates the tensors of torch.empty on the meta device, because that is how layers allocate their weights.

    torch.device("meta") affects all tensors, including those from which torchvision's RegNet computes its widths. With
    this mode, on the other hand, timm's hybrids cannot pass an image through their stem while they are built.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
