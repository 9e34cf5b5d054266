"""TensorBoard's view of a run: the numbers of metrics.jsonl as scalars, in RUN/tensorboard.

It writes what `Run.log` is given and decides nothing: `train_loss` becomes train/loss, `val_top1` val/top1, the others
keep their names. Each line is on the disk when it is written, so that a killed run's events are those of its log.
"""

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from tench.errors import UsageError
from tench.run import Run

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Raise UsageError where the package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed: pip install 'tench[logging]'."
        )


@contextlib.contextmanager
def tensorboard(run: Run, step: int) -> Iterator[Run]:
    """The run, with all that it logs from now on written as scalars too; the run goes on after this step.

    What TensorBoard has of later steps is purged. A run that has no events yet gets those of its whole log.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder / FOLDER
    begin = step if any(folder.glob("events.*")) else 0
    with SummaryWriter(str(folder), purge_step=begin) as writer:
        shown: dict[str, int] = {}

        def write(record: dict[str, Any]) -> None:
            for name, value in _scalars(record):
                if shown.get(name) != record["step"]:  # the last steps of an epoch can end a log line and the epoch
                    writer.add_scalar(name, value, record["step"])
                    shown[name] = record["step"]
            writer.flush()

        for record in run.metrics():
            if record["step"] >= begin:  # the step itself is purged with the later ones
                write(record)
        yield run.with_listener(write)


def _scalars(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, float) and name != "seconds":
            part, _, rest = name.partition("_")
            yield (f"{part}/{rest}" if part in ("train", "val") else name), value
