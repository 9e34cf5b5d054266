"""Helpers for tests of training: a resolved recipe, a kill within this process, and a comparison of two runs."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tench.input.views import IMAGENET_MEAN, IMAGENET_STD
from tench.run import Run
from tench.training.recipe import Recipe, Resolved

TIMES = {"seconds", "images_per_second", "wait_share"}


def resolved(recipe: Recipe | None = None, **values: Any) -> Resolved:
    """A recipe (None: the defaults) with these values, and a value for 32 x 32 pixels for each remaining `auto`."""
    plain: dict[str, Any] = {
        "arch": "resnet18",
        "image_size": 32,
        "train_size": 32,
        "ramp_from": 32,
        "exif": "ignore",
        "channels": 3,
        "train_view": "pad-crop",
        "pad": 4,
        "eval_resize": 32,
        "crop_mode": "center",
        "interpolation": "bilinear",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "channel_order": "rgb",
        "eps": 1e-8,
        "average_decay": 0.9999,
        "average_every": 1,
        "precision": "fp32",
        "memory_format": "nchw",
        "compile": "off",
    }
    asked = (recipe or Recipe()).replace(**values)
    left = {path.split(".")[1] for path, value in asked.leaves() if value == "auto"}
    return Resolved.of(asked.replace(**{name: plain[name] for name in left}))


class Killed(BaseException):
    """Ends training and leaves the files that SIGKILL would leave."""


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def checkpoint(run: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(run / "last.ckpt", weights_only=True)
    return saved


def equal_in_all(first: Any, second: Any) -> bool:
    """Whether two checkpoints have the same content, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal_in_all(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal_in_all, first, second))
    return bool(first == second)


def assert_same_outcome(run: Path, expected: Path) -> None:
    """Check that all files of two runs are the same, except for times."""
    ours, theirs = checkpoint(run), checkpoint(expected)
    assert ours.pop("seconds") > 0
    assert theirs.pop("seconds") > 0
    assert equal_in_all(ours, theirs)
    ours, theirs = load_file(run / "best.safetensors"), load_file(expected / "best.safetensors")
    assert equal_in_all(ours, theirs)
    for name in ("model.json", "classes.json", "recipe.yaml"):
        assert (run / name).read_text() == (expected / name).read_text()
    assert without_times(Run(run).metrics()) == without_times(Run(expected).metrics())
    tables = [list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text()))) for folder in (run, expected)]
    assert without_times(tables[0]) == without_times(tables[1])
