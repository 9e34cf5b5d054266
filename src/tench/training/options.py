"""What does not change the numbers of a training."""

import dataclasses

from tench.errors import UsageError
from tench.machine import num_threads
from tench.training.tensorboard import require_tensorboard


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What does not change the numbers: where and how to compute, and how often to tell and save.

    threads: of the loader, 0 means one per core. log_every: steps. save_every_seconds: a checkpoint within an epoch;
    there is always one at its end. tensorboard: write the log for TensorBoard too.
    """

    device: str = "auto"
    threads: int = 0
    log_every: int = 100
    save_every_seconds: float = 600.0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.tensorboard:
            require_tensorboard()
        num_threads(self.threads)
        if self.log_every < 1:
            raise UsageError(f"There are to be {self.log_every} steps between log lines; 1 or more are expected.")
        if not self.save_every_seconds >= 0:
            raise UsageError(
                f"A checkpoint every {self.save_every_seconds:g} seconds cannot be; name 0 (each step) or more."
            )
