"""The known accuracies of networks, each with its source.

torchvision's are read from the installed package, the others from accuracies.csv. None was measured on this machine.
"""

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

from tench.compat import import_torchvision
from tench.models import from_torchvision
from tench.models.registry import name_in_source, source_of

FILE = Path(__file__).with_name("accuracies.csv")
_IMAGENET = "ImageNet-1K"


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1 of a network, a fraction. weights: which of its weights. data: the test data. whose: who measured it."""

    weights: str
    data: str
    top1: float
    whose: str
    source: str


def accuracies(arch: str) -> list[Accuracy]:
    """The known accuracies of a network at its usual image size, best first; often none.

    Raises UsageError for an unknown network.
    """
    found = [Accuracy(top1=float(row.pop("top1_percent")) / 100, **row) for row in _rows(arch)]
    if source_of(arch).NAME == from_torchvision.NAME:
        found += _of_torchvision(name_in_source(arch))
    return sorted(found, key=lambda one: -one.top1)


def _rows(arch: str) -> list[dict[str, Any]]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row.pop("network") == arch]


def _of_torchvision(arch: str) -> list[Accuracy]:
    """The accuracies of weights for the network's usual size. Weights without a classifier (NaN) are left out."""
    models: Any = import_torchvision().models
    usual = from_torchvision.usual_input(arch).image_size
    return [
        Accuracy(
            weights=weights.name,
            data=_IMAGENET,
            top1=weights.meta["_metrics"][_IMAGENET]["acc@1"] / 100,
            whose="torchvision",
            source="weights.meta of the installed torchvision",
        )
        for weights in models.get_model_weights(arch)
        if weights.transforms.keywords["crop_size"] == usual
        and math.isfinite(weights.meta["_metrics"].get(_IMAGENET, {}).get("acc@1", math.nan))
    ]
