"""The run directory: the files that a run writes.

    recipe.yaml        every value, each `auto` resolved
    environment.json   versions, machine, commit, the dataset and its fingerprint
    classes.json       the classes in the order of the labels
    bad_images.json    images that were left out or fixed, if any
    metrics.jsonl      one object per log line and per validation (`kind`: step, epoch)
    metrics.csv        the validations as a table
    last.ckpt          all that resuming needs
    best.safetensors   the best weights so far, with model.json
    symbol.json        the network, if it came from MXNet's symbol file
    images.safetensors which images were trained on and which were held out
    tensorboard/       the lines of metrics.jsonl for TensorBoard, if requested

metrics.jsonl grows line by line; every other file is written completely or not at all. A lock keeps other processes
out.
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
from typing import Any, Literal, NotRequired, TypedDict

import torch

import tench
from tench.errors import TenchError, UsageError
from tench.files import complete_file, full_disk_names, remove_parts, user_path, write_text
from tench.plain import parse_json, read_json, require_file, typed
from tench.weights.files import load_pickle, reason_of
from tench.weights.own import TrainedOn
from tench.weights.recognise import CARD, CHECKPOINT, GRAPH, IMAGES, RECIPE, WEIGHTS

ENVIRONMENT, CLASSES = "environment.json", "classes.json"
METRICS, BAD_IMAGES, _LOCK = "metrics.jsonl", "bad_images.json", ".lock"
_TABLE = "metrics.csv"
_COLUMNS = (
    *("step", "epoch", "lr", "train_loss", "train_top1"),
    *("val_loss", "val_top1", "val_top5", "val_images", "seconds"),
)
"""The columns of metrics.csv: the same in every run, whenever it validates."""
_FILES = (RECIPE, ENVIRONMENT, CLASSES, METRICS, CHECKPOINT, BAD_IMAGES, _TABLE, WEIGHTS, CARD, IMAGES, GRAPH)
"""Files that a run writes completely or not at all."""


class Environment(TypedDict):
    """The part of environment.json that tench reads. The rest is for people."""

    data: TrainedOn
    auto: NotRequired[list[str]]


class Record(TypedDict):
    """The part of a line of metrics.jsonl that tench reads."""

    kind: Literal["step", "epoch"]
    step: int
    epoch: int


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory: the files that a training writes. It is accepted wherever a run's path is.

    >>> run = tench.Run.at("runs/digits")
    >>> run.exists, [line["epoch"] for line in run.metrics("epoch")]
    (True, [1])
    """

    folder: Path
    """The directory."""
    listener: Callable[[dict[str, Any]], None] | None = dataclasses.field(default=None, repr=False, compare=False)
    """Called with every line that is logged."""

    @classmethod
    def at(cls, folder: str | Path | None) -> "Run":
        """The run in a folder, which is created if it does not exist; None: a new numbered one under runs/.

        Raises UsageError if the folder contains something else.
        """
        if folder is not None:
            path = user_path(folder)
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path} is a file, but --run needs a directory.")
            others = [entry.name for entry in path.iterdir() if entry.name[0] != "."] if path.is_dir() else []
            if others and not _is_run(others):
                raise UsageError(
                    f"{path} contains files, but is not a run ({RECIPE} is missing). Name another directory."
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

    def __fspath__(self) -> str:
        """The directory, so that a run is accepted wherever its path is."""
        return str(self.folder)

    @property
    def exists(self) -> bool:
        """Whether a run has begun here."""
        return (self.folder / RECIPE).exists()

    @property
    def has_steps(self) -> bool:
        """Whether a run has begun here and has saved a checkpoint or logged a step."""
        return self.exists and ((self.folder / CHECKPOINT).exists() or bool(self.metrics()))

    def lock(self) -> Any:
        """Lock this run in a `with` block. Raises TenchError if another process has locked it."""
        import filelock

        lock = filelock.FileLock(self.folder / _LOCK, timeout=0)
        try:
            held = lock.acquire()
        except filelock.Timeout:
            raise TenchError(
                f"{self.folder}: another process is training in this run. Wait for it, or stop it."
            ) from None
        if self.exists:  # otherwise the files are not ours
            remove_parts(self.folder, _FILES)
        return held

    def discard(self) -> None:
        """Remove the directory if no run has begun in it."""
        (self.folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something is in it
            self.folder.rmdir()

    def begin(self, recipe_yaml: str, environment: dict[str, Any], classes: dict[str, Any]) -> None:
        """Write the files that are known before the first step, last the recipe, which marks the run as begun."""
        self.write_json(ENVIRONMENT, environment)
        self.write_json(CLASSES, classes)
        write_text(self.folder / RECIPE, recipe_yaml)

    def environment(self) -> dict[str, Any]:
        """The content of environment.json: versions, machine, commit, and the data that the run was started with."""
        path = self.folder / ENVIRONMENT
        try:
            data: dict[str, Any] = read_json(path, Environment)
        except FileNotFoundError as error:
            raise TenchError(
                f"{path}: cannot be read ({error}), so the {RECIPE} in that folder does not belong to a run. Name "
                "another directory."
            ) from error
        except (OSError, ValueError) as error:
            raise TenchError(
                f"{path} does not record what the run was trained on ({error}). Restore a copy, or name a new --run."
            ) from error
        return data

    def remember_data(self, facts: dict[str, Any]) -> None:
        """Store where the data of the run is now, if it has moved since the run began."""
        environment = self.environment()
        if any(environment["data"].get(name) != facts.get(name) for name in ("source", "val")):
            self.write_json(ENVIRONMENT, environment | {"data": facts})

    def with_listener(self, listener: Callable[[dict[str, Any]], None]) -> "Run":
        """The same run, whose log lines are also passed to `listener`."""
        return dataclasses.replace(self, listener=listener)

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl and pass it to the listener."""
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
            raise TenchError(f"{path} is not text ({error}). Restore a copy, or name a new --run.") from error
        records: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(typed(parse_json(line), Record, ""))
            except ValueError as error:
                if number < len(lines):  # a killed process may cut the last one
                    raise TenchError(
                        f"{path}, line {number}: not a valid log entry ({error}). Remove the line."
                    ) from error
        return [record for record in records if kind in (None, record["kind"])]

    def forget_after(self, step: int, epochs: int) -> None:
        """Drop the log lines of steps and epochs after the checkpoint: they will be logged again."""
        kept = [
            record
            for record in self.metrics()
            if record["step"] <= step and (record["kind"] == "step" or record["epoch"] <= epochs)
        ]
        write_text(self.folder / METRICS, "".join(json.dumps(record) + "\n" for record in kept))

    def write_table(self) -> None:
        """Write metrics.csv from the epochs in metrics.jsonl. Values that an epoch lacks are left empty."""
        records = self.metrics("epoch")
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        write_text(self.folder / _TABLE, text.getvalue())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write last.ckpt. Raises TenchError if it cannot be written."""
        path = self.folder / CHECKPOINT
        try:
            with complete_file(path) as part, part.open("wb") as file:  # with a path, torch hides why a write failed
                torch.save(state, file)
        except RuntimeError as error:
            raise TenchError(f"{path}: cannot be written ({str(error).splitlines()[0]}).") from error

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The state in last.ckpt, on the CPU, or None if none was saved yet. Raises TenchError if it is missing."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            if (num_epochs := len(self.metrics("epoch"))) > 1:  # a run can be killed before the first is saved
                raise TenchError(
                    f"{path} is missing, but {METRICS} has {num_epochs} epochs. Restore a copy, or name a new --run."
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
        """Write a JSON file into the directory."""
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
    """Whether these are the files of a run, or of one that was killed before its first step."""
    return RECIPE in names or set(names) <= {ENVIRONMENT, CLASSES, BAD_IMAGES}


def _commit() -> str | None:
    """The commit of the code if it runs from a clone, followed by "+" if it has changes."""
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
