"""Which rows form step k: a pure function of seed, epoch and world size.

All rows are shuffled together. If random access is expensive (a compressed archive is decompressed from the last point
before the row, a disk charges per seek), they are shuffled in windows: pieces of neighbouring bytes come in random
order, and the rows of a fixed number of pieces at a time are mixed.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.table import PIECES_AT_ONCE


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """The order of rows over epochs.

    batch_size is global: the rows of a step over all ranks together. With shuffle, each epoch has its own permutation.
    drop_last drops an incomplete last step (its rows differ from epoch to epoch), unless it is the only one. repeats:
    each row comes this many times in succession, and an epoch of the same length sees proportionally fewer rows
    (repeated augmentation, arXiv:1901.09335, as in torchvision's and timm's samplers). pieces: for each row the number
    of its piece of neighbouring bytes; rows are then shuffled in windows or, without shuffle, read piece by piece.
    """

    num_rows: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    rank: int = 0
    world_size: int = 1
    repeats: int = 1
    pieces: npt.NDArray[np.integer[Any]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        if self.drop_last and self.num_rows >= self.batch_size:
            return self.num_rows // self.batch_size
        return -(-self.num_rows // self.batch_size)

    def rows(self, epoch: int, step: int) -> npt.NDArray[np.int64]:
        """The rows of this rank in a step, int64. Epochs and steps count from 0.

        Ranks share a step's rows evenly; if there is a remainder, the first ranks get one row more.
        """
        return self._shared_out(self._rows(epoch, self._places(step) // self.repeats))

    def keys(self, epoch: int, step: int) -> npt.NDArray[np.int64]:
        """The key of each row's random numbers: the row, plus num_rows for each earlier repeat."""
        places = self._places(step)
        rows = self._rows(epoch, places // self.repeats)
        return self._shared_out(rows + places % self.repeats * self.num_rows)

    def _places(self, step: int) -> npt.NDArray[np.int64]:
        return np.arange(step * self.batch_size, min((step + 1) * self.batch_size, self.num_rows))

    def _rows(self, epoch: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return places if self._in_order else _permutation(self, epoch if self.shuffle else 0)[places]

    def _shared_out(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.repeats > 1:  # in turn, so that the copies of a row go to different ranks
            return numbers[self.rank :: self.world_size]
        return np.array_split(numbers, self.world_size)[self.rank]

    @property
    def _in_order(self) -> bool:
        return not self.shuffle and self.pieces is None


@functools.lru_cache(maxsize=2)
def _permutation(order: Order, epoch: int) -> npt.NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(key=np.array([order.seed, epoch], dtype=np.uint64)))
    if order.pieces is None:
        permutation = generator.permutation(order.num_rows)
    elif order.shuffle:
        pieces, piece_of = np.unique(order.pieces, return_inverse=True)
        window = generator.permutation(len(pieces))[piece_of] // PIECES_AT_ONCE
        permutation = np.lexsort((generator.random(order.num_rows), window))
    else:
        permutation = np.argsort(order.pieces, kind="stable")
    permutation.setflags(write=False)
    return permutation
