"""A small dataset that lives on the device whole: decoded once, augmented there a batch at a time.

For sets of small images reading and decoding again each epoch costs more than the training step. Batches are the
loader's, pixel for pixel: the same rows, the same numbers drawn for them.
"""

from collections.abc import Iterator

import numpy as np
import torch

from tench.data.table import Table
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.input.views import EvalView, PadCrop, padded, view_draws
from tench.machine import available_memory_bytes

_DECODE_BATCH = 1024
_LARGEST_BYTES = 2 * 2**30


def fits(table: Table, view: PadCrop | EvalView, channels: int) -> bool:
    """Whether the decoded set is small: within 2 GiB and a quarter of the memory that is free."""
    need = len(table) * (view.size + 2 * getattr(view, "pad", 0)) ** 2 * channels
    free = available_memory_bytes()
    return need <= _LARGEST_BYTES and (free is None or need <= free // 4)


class Resident:
    """Batches of a table whose decoded images are all kept on the device as uint8.

    Decodes the whole table on creation; raises TenchError naming file and row when an image is bad.
    """

    def __init__(
        self,
        table: Table,
        view: PadCrop | EvalView,
        order: Order,
        *,
        channels: int,
        device: torch.device,
        threads: int = 0,
    ) -> None:
        self.table, self.view, self.order = table, view, order
        self._device = device
        still = view if isinstance(view, EvalView) else EvalView(size=view.size, resize=view.size)
        reading = Order(num_rows=len(table), batch_size=_DECODE_BATCH, shuffle=False, drop_last=False)
        pad, fill = (view.pad, view.fill) if isinstance(view, PadCrop) else (0, 0)
        side = view.size + 2 * pad
        images = torch.empty((len(table), side, side, channels), dtype=torch.uint8)
        with Loader(table, still, reading, channels=channels, threads=threads) as loader:
            for batch in loader.batches(epoch=0):
                pixels = batch.images.permute(0, 2, 3, 1).numpy()
                images[batch.rows] = torch.from_numpy(padded(pixels, pad, fill))
        self._images = images.to(device)  # (N, size + 2 pad, size + 2 pad, C)
        self._labels = torch.from_numpy(table.labels.astype(np.int64)).to(device)

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps_per_epoch

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from a step on, on the device."""
        for step in range(first_step, self.order.steps_per_epoch):
            numbers = self.order.rows(epoch, step)
            rows = torch.from_numpy(numbers.copy()).to(self._device)
            if isinstance(self.view, PadCrop):
                keys = self.order.keys(epoch, step)
                images = self._cropped(rows, view_draws(self.view, self.order.seed, epoch, keys))
            else:
                images = self._images[rows]
            yield Batch(images.permute(0, 3, 1, 2), self._labels[rows], rows)

    def close(self) -> None:
        """Nothing runs in the background; here so that a loader can be swapped for a resident set."""

    def _cropped(self, rows: torch.Tensor, draws: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> torch.Tensor:
        assert isinstance(self.view, PadCrop)
        top, left, flip = self.view.offsets(draws)
        along = np.arange(self.view.size)
        down = top[:, None] + along  # (B, size): the image's lines in the padded image
        right = left[:, None] + np.where(flip[:, None], along[::-1], along)
        lines, columns = (torch.from_numpy(places).to(self._device) for places in (down, right))
        return self._images[rows[:, None, None], lines[:, :, None], columns[:, None, :]]  # (B, size, size, C)
