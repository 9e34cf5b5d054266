"""Accuracy against GMACs, as a picture: the known accuracies of networks, each labelled with its source."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tench.bench.accuracy import FILE, Accuracy, accuracies
from tench.errors import UsageError, some
from tench.models import ModelInfo

if TYPE_CHECKING:
    from PIL.Image import Image

Known = Sequence[tuple[ModelInfo, Accuracy]]


def require_known(archs: Sequence[str]) -> None:
    """Raise UsageError if no accuracy is known for any of the networks, or if a network is unknown."""
    if not any(accuracies(arch) for arch in archs):
        raise UsageError(
            f"No accuracy is known for {some(archs)}, so --plot has nothing to show. Only torchvision's accuracies "
            f"and those in {FILE} are known. Leave out --plot, or add other networks."
        )


def scatter(known: Known) -> "Image":
    """One point for each accuracy; GMACs on a logarithmic axis. Returns an RGB image of 720 x 480 pixels."""
    from tench.bench.canvas import BLUE, RED, Canvas

    left, right = _ends([math.log2(info.gmacs) for info, _ in known], step=1)
    low, high = _ends([100 * one.top1 for _, one in known], step=5)
    powers = range(round(left), round(right) + 1, max(1, round((right - left) / 8)))
    canvas = Canvas(
        "Top-1 against cost per image; in brackets: weights, source",
        "GMACs",
        "%",
        [((power - left) / (right - left), f"{2.0**power:.3g}") for power in powers],
        [((percent - low) / (high - low), f"{percent:g}") for percent in range(round(low), round(high) + 1, 5)],
    )
    for info, one in known:
        across = (math.log2(info.gmacs) - left) / (right - left)
        up = (100 * one.top1 - low) / (high - low)
        colour = RED if "8 bit" in one.weights else BLUE
        data = "" if one.data == "ImageNet-1K" else f" on {one.data}"
        canvas.dot(across, up, colour)
        canvas.label(across, up, f"{info.name}{data} ({one.weights}, {one.whose})", colour)
    return canvas.picture


def _ends(values: Sequence[float], step: int) -> tuple[float, float]:
    """The multiples of a step that enclose all values, at least one step apart."""
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    return low, max(high, low + step)
