"""What tests of whole trainings share: to kill one in this process, and to compare what two have left behind."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tench.run import Run

TIMES = {"seconds", "images_per_second", "wait_share"}


class Killed(BaseException):
    """Ends a training as SIGKILL would, as far as files can tell."""


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def checkpoint(run: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(run / "last.ckpt", weights_only=True)
    return saved


def equal_in_all(first: Any, second: Any) -> bool:
    """Whether two checkpoints hold the same, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal_in_all(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal_in_all, first, second))
    return bool(first == second)


def assert_same_outcome(run: Path, expected: Path) -> None:
    """Everything two runs leave behind is the same, but for what tells of time."""
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
