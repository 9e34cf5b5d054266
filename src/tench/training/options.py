"""Options that do not change the results of training."""

import dataclasses

from tench.arguments import require_fields
from tench.errors import UsageError
from tench.machine import num_threads
from tench.training.tensorboard import require_tensorboard


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Options that do not change the results: where to compute, how often to log and save, which code to trust.

    >>> tench.TrainOptions(device="cpu", threads=2).log_every
    100
    """

    device: str = "auto"
    """auto, cpu, cuda or cuda:1; auto is the GPU if there is one."""
    threads: int = 0
    """Threads of the loader; 0 means one per core."""
    log_every: int = 100
    """Steps between two lines of metrics.jsonl."""
    save_every_seconds: float = 600.0
    """Seconds between two checkpoints within an epoch. One is always saved at the end of an epoch."""
    tensorboard: bool = False
    """Also write the log for TensorBoard."""
    trust_code: bool = False
    """Import the code that the recipe or the run of its weights names: package.module:function. Importing runs it."""

    def __post_init__(self) -> None:
        require_fields(self)
        if self.tensorboard:
            require_tensorboard()
        num_threads(self.threads)
        if self.log_every < 1:
            raise UsageError(f"log_every must be at least 1, got {self.log_every}.")
        if not self.save_every_seconds >= 0:
            raise UsageError(
                f"save_every_seconds must be >= 0 (0 saves after every step), got {self.save_every_seconds:g}."
            )
