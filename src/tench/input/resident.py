"""A small dataset kept on the device: decoded once, augmented there batch by batch.

For small images, reading and decoding in each epoch costs more than the training step. Batches equal the loader's pixel
for pixel: the same rows, with the same random numbers.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tench.data.table import Table
from tench.input.device import sent
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.input.views import EvalView, PadCrop, padded, view_draws
from tench.machine import available_memory_bytes

_DECODE_BATCH = 1024
_LARGEST_BYTES = 2 * 2**30


def fits(table: Table, view: PadCrop | EvalView, channels: int) -> bool:
    """Whether the decoded set is small: at most 2 GiB and a quarter of the free memory."""
    need = len(table) * (view.size + 2 * getattr(view, "pad", 0)) ** 2 * channels
    free = available_memory_bytes()
    return need <= _LARGEST_BYTES and (free is None or need <= free // 4)


class Resident:
    """Batches of a table, all of whose decoded images are kept on the device as uint8.

    Decodes the whole table on creation; raises TenchError naming file and row if an image is bad.
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
        """The batches of an epoch, starting at a step, on the device."""
        for step in range(first_step, self.order.steps_per_epoch):
            numbers = self.order.rows(epoch, step)
            if isinstance(self.view, PadCrop):
                draws = view_draws(self.view, self.order.seed, epoch, self.order.keys(epoch, step))
                rows, *offsets = sent(np.stack([numbers, *self.view.offsets(draws)]), self._device)  # one copy
                images = self._cropped(rows, *offsets)
            else:
                rows = sent(numbers.copy(), self._device)
                images = self._images[rows]
            yield Batch(images.permute(0, 3, 1, 2), self._labels[rows], rows)

    def close(self) -> None:
        """Free the device's memory."""
        self._images = self._images.new_empty(0)

    def _cropped(self, rows: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
        """The rows (B,), cropped from the padded images at top, left (B,), and mirrored if flip (B,) is 1."""
        along = torch.arange(self.view.size, device=self._device)
        lines = top[:, None] + along  # (B, size)
        columns = left[:, None] + torch.where(flip[:, None] == 1, along.flip(0), along)
        return self._images[rows[:, None, None], lines[:, :, None], columns[:, None, :]]  # (B, size, size, C)
