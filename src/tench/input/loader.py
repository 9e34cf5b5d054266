"""Threads that fill batches: read, decode, view, straight into the batch's memory.

Decoding and resizing release the interpreter lock, so threads use all cores without copying an image between
processes. Batches come in the order's order, the same for any number of threads. A fixed number of batches is
prepared ahead, bounded in bytes, so memory stays flat.
"""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from tench.data.image import decode_row
from tench.data.table import Table
from tench.input.draws import uniforms
from tench.input.order import Order
from tench.input.views import View
from tench.machine import num_threads

READ_AHEAD_BYTES = 256 * 2**20
"""Batches prepared ahead take at most this much memory together (but at least one is prepared ahead)."""

_IMAGES_PER_TASK = 8  # few enough to share a batch evenly, enough to make handing over cost little


@dataclasses.dataclass(frozen=True)
class Batch:
    """images: uint8 (B, C, H, W) in channels-last memory. labels: int64 (B,). rows: int64 (B,)."""

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(part.to(device, non_blocking=True) for part in (self.images, self.labels, self.rows)))


class Loader:
    """Batches of a table, prepared by threads. Close it, or use it in a `with`.

    channels: 1 or 3, of the batch. threads: 0 means as many as there are cores. pin: page-locked memory, from which
    a GPU copies while it computes.
    """

    def __init__(
        self, table: Table, view: View, order: Order, *, channels: int, threads: int = 0, pin: bool = False
    ) -> None:
        import cv2

        cv2.setNumThreads(1)  # our threads are the parallelism; OpenCV's own would fight them for the cores
        self.table, self.view, self.order = table, view, order
        self._channels, self._pin = channels, pin
        count = num_threads(threads)
        self._pool = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="tench-loader")
        batch_bytes = order.batch_size * view.size**2 * channels
        self._ahead = int(min(max(READ_AHEAD_BYTES // batch_bytes, 1), max(4, 2 * count)))

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps_per_epoch

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from a step on. Raises TenchError naming file and row when an image is bad."""
        steps = iter(range(first_step, self.order.steps_per_epoch))
        pending: collections.deque[tuple[Batch, list[concurrent.futures.Future[None]]]] = collections.deque()
        try:
            while True:
                while len(pending) <= self._ahead and (step := next(steps, None)) is not None:
                    pending.append(self._start(epoch, step))
                if not pending:
                    return
                batch, tasks = pending[0]
                for task in tasks:
                    task.result()
                pending.popleft()
                yield batch
        finally:  # an error, or a caller that stops early: nothing goes on behind its back
            for _, tasks in pending:
                for task in tasks:
                    task.cancel()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, epoch: int, step: int) -> tuple[Batch, list[concurrent.futures.Future[None]]]:
        rows = self.order.rows(epoch, step)
        size = self.view.size
        images = torch.empty((len(rows), size, size, self._channels), dtype=torch.uint8, pin_memory=self._pin)
        labels = torch.from_numpy(self.table.labels[rows].astype(np.int64))
        draws = uniforms(self.order.seed, epoch, self.order.keys(epoch, step), self.view.num_draws)
        pixels = images.numpy()
        tasks = [
            self._pool.submit(self._fill, rows[part], draws[part], pixels[part])
            for part in (slice(start, start + _IMAGES_PER_TASK) for start in range(0, len(rows), _IMAGES_PER_TASK))
        ]
        return Batch(images.permute(0, 3, 1, 2), labels, torch.from_numpy(rows.copy())), tasks

    def _fill(self, rows: npt.NDArray[np.int64], draws: npt.NDArray[np.float64], out: npt.NDArray[np.uint8]) -> None:
        for row, numbers, place in zip(rows.tolist(), draws, out, strict=True):
            self.view.render(decode_row(self.table, row, self._channels), numbers, place)
