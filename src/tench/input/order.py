"""Which rows make step k: a pure function of seed, epoch and world size."""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """The order of rows over epochs.

    batch_size is global: the rows of a step over all ranks together. With shuffle each epoch has its own permutation;
    a last step that cannot be full is dropped with drop_last (its rows differ from epoch to epoch), except when it is
    the only one.
    """

    num_rows: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        if self.drop_last and self.num_rows >= self.batch_size:
            return self.num_rows // self.batch_size
        return -(-self.num_rows // self.batch_size)

    def rows(self, epoch: int, step: int) -> npt.NDArray[np.int64]:
        """The rows of this rank in a step, int64. Epochs and steps count from 0.

        A step's rows are shared out evenly; where they do not divide, the first ranks have one more.
        """
        start, end = step * self.batch_size, min((step + 1) * self.batch_size, self.num_rows)
        rows = _permutation(self.num_rows, self.seed, epoch)[start:end] if self.shuffle else np.arange(start, end)
        return np.array_split(rows, self.world_size)[self.rank]


@functools.lru_cache(maxsize=2)
def _permutation(num_rows: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    permutation = generator.permutation(num_rows)
    permutation.setflags(write=False)
    return permutation
