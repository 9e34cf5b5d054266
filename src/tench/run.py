"""The run directory: the files that a run writes.

    recipe.yaml        every value, each `auto` resolved
    environment.json   versions, machine, commit, the dataset and its fingerprint
    classes.json       the classes in the order of the labels
    bad_images.json    images that were left out or fixed, if any
    metrics.jsonl      one object per log line and per validation (`kind`: step, epoch)
    metrics.csv        the validations as a table
    last.ckpt          all that resuming needs
    best.safetensors   the best weights so far, with model.json
    tensorboard/       the lines of metrics.jsonl for TensorBoard, if requested

metrics.jsonl grows line by line; every other file appears complete or not at all. A lock keeps a second process out.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch

import tench
from tench.errors import TenchError, UsageError
from tench.files import complete_file, full_disk_names, remove_parts, user_path, write_text
from tench.plain import parse_json, read_json, require_file, typed
from tench.weights.files import load_pickle, reason_of
from tench.weights.own import CARD, WEIGHTS, TrainedOn

RECIPE, ENVIRONMENT, CLASSES = "recipe.yaml", "environment.json", "classes.json"
METRICS, CHECKPOINT, BAD_IMAGES, _LOCK = "metrics.jsonl", "last.ckpt", "bad_images.json", ".lock"
_TABLE = "metrics.csv"
_COLUMNS = (
    *("step", "epoch", "lr", "train_loss", "train_top1"),
    *("val_loss", "val_top1", "val_top5", "val_images", "seconds"),
)
"""Of metrics.csv: the same in every run, whenever a validation takes place."""
_FILES = (RECIPE, ENVIRONMENT, CLASSES, METRICS, CHECKPOINT, BAD_IMAGES, _TABLE, WEIGHTS, CARD)
"""Files that a run writes complete or not at all."""


class Environment(TypedDict):
    """The part of environment.json that is read; it holds more, for people."""

    data: TrainedOn


class Record(TypedDict):
    """The part of a line of metrics.jsonl that is read; it holds more numbers."""

    kind: Literal["step", "epoch"]
    step: int
    epoch: int


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory."""

    folder: Path
    listener: Callable[[dict[str, Any]], None] | None = dataclasses.field(default=None, repr=False, compare=False)
    """Called with every line that is logged."""

    @classmethod
    def at(cls, folder: str | Path | None) -> "Run":
        """The run in a folder, made if it is missing; without a folder a new numbered one under runs/.

        Raises UsageError if the folder holds something else.
        """
        if folder is not None:
            path = user_path(folder)
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path}: is a file; --run names a directory.")
            others = [entry.name for entry in path.iterdir() if entry.name[0] != "."] if path.is_dir() else []
            if others and not _is_run(others):
                raise UsageError(
                    f"{path}: holds files, but is not a run ({RECIPE} is missing). Name another directory."
                )
            path.mkdir(parents=True, exist_ok=True)
            return cls(path)
        runs = Path("runs")
        runs.mkdir(exist_ok=True)
        number = max((int(entry.name) for entry in runs.iterdir() if entry.name.isdecimal()), default=0)
        while True:  # another process may take the number first
            number += 1
            try:
                (runs / f"{number:03d}").mkdir()
            except FileExistsError:
                continue
            return cls(runs / f"{number:03d}")

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.folder / RECIPE).exists()

    @property
    def has_steps(self) -> bool:
        """Whether a run was begun here and something of its training is kept, or was logged."""
        return self.exists and ((self.folder / CHECKPOINT).exists() or bool(self.metrics()))

    def lock(self) -> Any:
        """Hold this run for this process, in a `with`. Raises TenchError if another process has it."""
        import filelock

        lock = filelock.FileLock(self.folder / _LOCK, timeout=0)
        try:
            held = lock.acquire()
        except filelock.Timeout:
            raise TenchError(
                f"{self.folder}: another process is training in this run. Wait for it or stop it."
            ) from None
        if self.exists:  # otherwise the files there are not ours
            remove_parts(self.folder, _FILES)
        return held

    def discard(self) -> None:
        """Remove the directory if no run has begun in it."""
        (self.folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something is in it
            self.folder.rmdir()

    def begin(self, recipe_yaml: str, environment: dict[str, Any], classes: dict[str, Any]) -> None:
        """Write the files known before the first step; the recipe last, because it marks a run as begun."""
        self.write_json(ENVIRONMENT, environment)
        self.write_json(CLASSES, classes)
        write_text(self.folder / RECIPE, recipe_yaml)

    def environment(self) -> dict[str, Any]:
        path = self.folder / ENVIRONMENT
        try:
            data: dict[str, Any] = read_json(path, Environment)
        except FileNotFoundError as error:
            raise TenchError(
                f"{path}: cannot be read ({error}), so {RECIPE} beside it does not belong to a run. Name another "
                "directory."
            ) from error
        except (OSError, ValueError) as error:
            raise TenchError(
                f"{path}: does not say what the run was trained on ({error}). Restore a copy, or name a new --run."
            ) from error
        return data

    def with_listener(self, listener: Callable[[dict[str, Any]], None]) -> "Run":
        """The same run, whose log someone else gets too."""
        return dataclasses.replace(self, listener=listener)

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl, and tell the listener."""
        record = {name: _rounded(value) for name, value in values.items()}
        path = self.folder / METRICS
        with full_disk_names(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self.listener is not None:
            self.listener(record)

    def metrics(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, of one kind ("step", "epoch") or all."""
        path = self.folder / METRICS
        if not path.exists():
            return []
        require_file(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except ValueError as error:
            raise TenchError(f"{path}: is not text ({error}). Restore a copy, or name a new --run.") from error
        records: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(typed(parse_json(line), Record, ""))
            except ValueError as error:
                if number < len(lines):  # a killed process may cut the last one
                    raise TenchError(
                        f"{path}, line {number}: is not a line of a run's log ({error}). Remove the line."
                    ) from error
        return [record for record in records if kind in (None, record["kind"])]

    def forget_after(self, step: int, epochs: int) -> None:
        """Drop the log lines of steps and validations that the checkpoint does not have: they will be made again."""
        kept = [
            record
            for record in self.metrics()
            if record["step"] <= step and (record["kind"] == "step" or record["epoch"] <= epochs)
        ]
        write_text(self.folder / METRICS, "".join(json.dumps(record) + "\n" for record in kept))

    def write_table(self) -> None:
        """Write metrics.csv from the epochs in metrics.jsonl. A value that an epoch does not have is left empty."""
        records = self.metrics("epoch")
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        write_text(self.folder / _TABLE, text.getvalue())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        path = self.folder / CHECKPOINT
        try:
            with complete_file(path) as part, part.open("wb") as file:  # given a path, torch hides why a write failed
                torch.save(state, file)
        except RuntimeError as error:
            raise TenchError(f"{path}: cannot be written ({str(error).splitlines()[0]}).") from error

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The state of last.ckpt, on the CPU; None before the first one was saved. Raises TenchError if it is lost."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            if (num_epochs := len(self.metrics("epoch"))) > 1:  # one can be logged and killed before it is saved
                raise TenchError(
                    f"{path}: is missing, but {METRICS} has {num_epochs} epochs. Restore a copy, or name a new --run."
                )
            return None
        try:
            state: dict[str, Any] = load_pickle(path)
        except TenchError:
            raise
        except Exception as error:  # torch.load raises no specific error for a file that is not a checkpoint
            raise TenchError(
                f"{path}: cannot be read ({reason_of(error)}). Restore a copy, or name a new --run."
            ) from error
        return state

    def write_json(self, name: str, data: Any) -> None:
        write_text(self.folder / name, json.dumps(data, indent=1) + "\n")


def remembered_data(folder: str | Path) -> dict[str, Any] | None:
    """The data of the run in a folder (source, val, val_fraction, ...); None if it is not a run."""
    run = Run(user_path(folder))
    if not run.exists:
        return None
    data: dict[str, Any] = run.environment()["data"]
    return data


def environment() -> dict[str, Any]:
    """Versions, machine and commit, for environment.json."""
    import platform
    from importlib.metadata import version

    from tench.machine import cpu_name, num_cores

    packages = ("torch", "torchvision", "timm", "numpy", "pyarrow", "pillow", "simplejpeg", "opencv-python-headless")
    return {
        "tench": tench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "system": platform.platform(),
        "processor": cpu_name(),
        "cores": num_cores(),
        "accelerators": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _is_run(names: list[str]) -> bool:
    """Whether these are a run's files, or what a run killed before its first step has written."""
    return RECIPE in names or set(names) <= {ENVIRONMENT, CLASSES, BAD_IMAGES}


def _commit() -> str | None:
    """The commit of the code when it runs from a clone, with "+" when there are changes."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(here.parents[2].parent)},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
