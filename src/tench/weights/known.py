"""Weights, and what is known about them: what every reader of weights returns."""

import dataclasses
from typing import Any

from torch import Tensor

from tench.data.table import Classes
from tench.input.resampling import Interpolation
from tench.input.views import IMAGENET_MEAN, IMAGENET_STD, usual_resize
from tench.models.mxnet.graph import Graph
from tench.models.source import ModelOptions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """Weights, with everything known about them; None means unknown.

    state: on the CPU, floats as fp32. source: their origin, for messages. system: the program that wrote them. arch: a
    name for `create`. classes: of the head; matched to those of a dataset by id, never by display name. The other
    fields describe the network's input in the units of a recipe: mean and std of pixels scaled to 0..1; image_size and
    eval_resize in pixels; squash: both sides of an image are resized to eval_resize. options: those the network was
    created with. graph: of a network that only MXNet's symbol describes. is_assumed: the file does not describe its
    input, and the usual one is given. notes: how an ambiguous file was read, one sentence each.
    """

    state: dict[str, Tensor]
    source: str
    system: str = "PyTorch"
    arch: str | None = None
    classes: Classes | None = None
    num_classes: int | None = None
    channels: int | None = None
    image_size: int | None = None
    eval_resize: int | None = None
    squash: bool = False
    interpolation: Interpolation | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channel_order: str | None = None
    options: ModelOptions | None = None
    graph: Graph | None = None
    is_assumed: bool = False
    notes: tuple[str, ...] = ()


def short_numbers(values: tuple[float, ...]) -> str:
    """A mean or std for people: "0.485 0.456 0.406"."""
    return " ".join(f"{value:.4g}" for value in values)


def in_bgr(start: Start) -> Start:
    """The same weights for BGR images, with mean and std in that order."""
    if start.channel_order == "bgr" or start.channels == 1:
        return start
    mean, std = (values[::-1] for values in (start.mean or IMAGENET_MEAN, start.std or IMAGENET_STD))
    note = f"{start.source} has the names of pycls, which trains on BGR images; channel_order is bgr."
    return dataclasses.replace(start, channel_order="bgr", mean=mean, std=std, notes=(*start.notes, note))


def imagenet_input(image_size: int) -> dict[str, Any]:
    """The usual preprocessing of networks for ImageNet, as fields of `Start`."""
    return {
        "eval_resize": usual_resize(image_size),
        "interpolation": "bilinear",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "channel_order": "rgb",
    }
