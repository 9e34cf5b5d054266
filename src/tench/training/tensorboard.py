"""Write a run for TensorBoard: the numbers of metrics.jsonl as scalars, in RUN/tensorboard.

Everything passed to `Run.log` is written: `train_loss` becomes train/loss, `val_top1` becomes val/top1, and other names
stay. Each line is flushed to disk, so the events of a killed run match its log.
"""

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from tench.errors import UsageError
from tench.run import Run

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Raise UsageError if the package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed: pip install 'tench[logging]'."
        )


@contextlib.contextmanager
def tensorboard(run: Run, step: int) -> Iterator[Run]:
    """The run, which now also writes everything it logs as scalars. step: the step it continues after.

    Events of later steps are purged. If a run has no events yet, its whole log is written first.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder / FOLDER
    begin = step if any(folder.glob("events.*")) else 0
    with SummaryWriter(str(folder), purge_step=begin) as writer:
        shown: dict[str, int] = {}

        def write(record: dict[str, Any]) -> None:
            for name, value in _scalars(record):
                if shown.get(name) != record["step"]:  # the last step of an epoch can have a line of each kind
                    writer.add_scalar(name, value, record["step"])
                    shown[name] = record["step"]
            writer.flush()

        for record in run.metrics():
            if record["step"] >= begin:  # this step is purged with the later ones
                write(record)
        yield run.with_listener(write)


def _scalars(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, float) and name != "seconds":
            part, _, rest = name.partition("_")
            yield (f"{part}/{rest}" if part in ("train", "val") else name), value
