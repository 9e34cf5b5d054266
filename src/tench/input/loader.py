"""Threads that fill batches: they read, decode and crop images straight into the batch's memory.

Decoding and resizing release the interpreter lock, so threads use all cores without copying images between processes.
On machines with too many cores for that, each thread has a partner process. Batches follow the order, whatever the
number of threads. The number of bytes prepared ahead is bounded, and their memory is reused, so memory use stays flat.
"""

import collections
import dataclasses
import logging
import math
import queue
import threading
import time
import weakref
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tench.data.images.picture import errors_name, open_picture
from tench.data.table import Table
from tench.errors import TenchError
from tench.input.order import Order
from tench.input.partner import CAN_FORK, Partner, end
from tench.input.resampling import Image
from tench.input.views import View, view_draws
from tench.machine import num_threads

READ_AHEAD_BYTES = 16 * 2**20
"""Maximum memory for batches prepared ahead; exceeded only if fewer batches would leave threads idle."""

STALL_SECONDS = 300.0
"""An image that takes longer to read and decode ends the run, because a hanging network disk reports no error."""
_STALL_WARNING_SECONDS = 30.0
_CLOSE_SECONDS = 1.0  # more than an image takes, unless it hangs

THREADS_ALONE = 8
"""Up to this many threads scale without processes (tench.input.partner explains why); with more, each has a process."""

_IMAGES_PER_TASK = 16  # few enough to share a batch evenly, enough to make handing tasks over cheap

_log = logging.getLogger("tench")


class Batch(NamedTuple):
    """The images of one step: `images, labels, rows = batch`.

    >>> with tench.loader("digits", "val", batch_size=100, device="cpu") as loader:
    ...     batch = next(loader.epoch(0))
    >>> batch.images.shape, batch.images.dtype, batch.labels[:3], batch.rows[:3]
    (torch.Size([100, 1, 8, 8]), torch.uint8, tensor([6, 9, 4]), tensor([0, 1, 2]))
    """

    images: torch.Tensor
    """(B, C, H, W) uint8, in channels-last memory."""
    labels: torch.Tensor
    """(B,) int64: class indices, -1 for an image without a label."""
    rows: torch.Tensor
    """(B,) int64: the rows of the table, which name the images (`Table.key`)."""

    def to(self, device: torch.device, non_blocking: bool = True) -> "Batch":
        """The batch on a device. Copies from page-locked memory to a GPU do not wait, unless non_blocking is False."""
        return Batch(*(part.to(device, non_blocking=non_blocking) for part in self))


@dataclasses.dataclass(frozen=True)
class _Job:
    """A batch that is being filled. done: receives the number of each finished task, and its exception if it failed."""

    batch: Batch
    num_tasks: int
    rows: list[int]
    draws: npt.NDArray[np.float64]
    pixels: Image
    done: "queue.SimpleQueue[tuple[int, BaseException | None]]" = dataclasses.field(default_factory=queue.SimpleQueue)
    given_up: threading.Event = dataclasses.field(default_factory=threading.Event)


class Loader:
    """Batches of a table, prepared by threads. Close it, or use it in a `with`.

    channels: of the batch, 1 or 3. threads: 0 means one per core. pin: use page-locked memory, from which a GPU copies
    while it computes. processes: whether each thread has a process; None: only if there are many threads.
    """

    def __init__(
        self,
        table: Table,
        view: View,
        order: Order,
        *,
        channels: int,
        threads: int = 0,
        pin: bool = False,
        processes: bool | None = None,
    ) -> None:
        import cv2

        cv2.setNumThreads(1)  # OpenCV's own threads would compete with ours
        self.table, self.view, self.order = table, view, order
        self._channels, self._pin = channels, pin
        count = num_threads(threads)
        batch_size = math.ceil(min(order.batch_size, order.num_rows) / order.world_size)
        batch_bytes = batch_size * view.size**2 * channels
        at_work = math.ceil(count * _IMAGES_PER_TASK / max(batch_size, 1))  # batches being filled at the same time
        self._ahead = max(at_work, min(READ_AHEAD_BYTES // max(batch_bytes, 1), 4))
        self._memory = _Memory(batch_bytes, keep=self._ahead + 2, pin=pin)
        self._tasks: queue.SimpleQueue[tuple[_Job, int] | None] = queue.SimpleQueue()
        self._closed = False
        self._doing: dict[int, tuple[int, str, float]] = {}  # for each thread: row, stage, start time
        self._partners = list[Partner]()
        if processes is None:  # each process would decompress an archive itself, and keep its pieces in memory
            processes = count > THREADS_ALONE and CAN_FORK and not table.indexes
        try:
            for _ in range(
                count if processes else 0
            ):  # before the threads start: a forked process inherits their locks
                shape = (_IMAGES_PER_TASK, view.size, view.size, channels)
                self._partners.append(Partner(self._fill, shape, self._partners))
        except BaseException:
            end(self._partners)
            raise
        # Daemons, because a thread stuck in the kernel must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"tench-loader-{number}", daemon=True)
            for number in range(count)
        ]
        computing = torch.get_num_threads()
        self._ready = threading.Barrier(count + 1)
        for thread in self._threads:
            thread.start()
        self._ready.wait()
        torch.set_num_threads(computing)  # torch applies a number set in one thread to later threads

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps_per_epoch

    def batches(self, epoch: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch, starting at a step.

        Raises TenchError naming file, row and stage if an image is bad or takes longer than STALL_SECONDS.
        """
        steps = iter(range(first_step, self.order.steps_per_epoch))
        pending: collections.deque[_Job] = collections.deque()
        try:
            while True:
                while len(pending) <= self._ahead and (step := next(steps, None)) is not None:
                    pending.append(self._start(epoch, step))
                if not pending:
                    return
                self._await(pending[0])
                yield pending.popleft().batch
        finally:  # after an error, or if the caller stops early, all work ends
            for job in pending:
                job.given_up.set()

    def close(self) -> None:
        """Stop the threads; one that is stuck in the kernel is left behind."""
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        end(self._partners)
        for thread in self._threads:
            thread.join(timeout=_CLOSE_SECONDS)

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, epoch: int, step: int) -> _Job:
        if self._closed:
            raise RuntimeError("the loader is closed")
        rows = self.order.rows(epoch, step)
        size = self.view.size
        images = self._memory.take((len(rows), size, size, self._channels))
        numbers = [torch.from_numpy(part.astype(np.int64)) for part in (self.table.labels[rows], rows)]
        labels, rows_ = (part.pin_memory() if self._pin else part for part in numbers)
        job = _Job(
            batch=Batch(images.permute(0, 3, 1, 2), labels, rows_),
            num_tasks=math.ceil(len(rows) / _IMAGES_PER_TASK),
            rows=rows.tolist(),
            draws=view_draws(self.view, self.order.seed, epoch, self.order.keys(epoch, step)),
            pixels=images.numpy(),
        )
        for number in range(job.num_tasks):
            self._tasks.put((job, number))
        return job

    def _await(self, job: _Job) -> None:
        """Wait until a batch is filled.

        Raises the error of the first bad image in the batch, even if another thread failed earlier; TenchError if an
        image takes too long.
        """
        running, errors = set(range(job.num_tasks)), dict[int, BaseException]()
        patience = _STALL_WARNING_SECONDS
        while running and not (errors and min(errors) < min(running)):
            try:
                number, error = job.done.get(timeout=min(patience, STALL_SECONDS))
            except queue.Empty:
                patience = self._complain()
                continue
            running.remove(number)
            if error is not None:
                errors[number] = error
        if errors:
            raise errors[min(errors)]

    def _complain(self) -> float:
        """Log which image the loader is waiting for; return the seconds until the next check."""
        doing = list(self._doing.values())
        if not doing:  # between two tasks
            return _STALL_WARNING_SECONDS
        row, stage, since = min(doing, key=lambda one: one[2])
        seconds = time.monotonic() - since
        if seconds >= STALL_SECONDS:
            raise TenchError(
                f"{self.table.place(row)}: timed out after {seconds:.0f} s in stage {stage}, row {row}. The disk or "
                "network may be hanging. Check that the file can be read, and start again."
            )
        if seconds >= _STALL_WARNING_SECONDS:
            _log.warning("Waiting for %s (stage %s) for %.0f s.", self.table.place(row), stage, seconds)
        return max(min(_STALL_WARNING_SECONDS, STALL_SECONDS - seconds), 0.01)

    def _work(self, number: int) -> None:
        torch.set_num_threads(1)  # for this thread: all threads together use the cores
        torch.get_num_threads()  # makes it take effect now; later it would pick up what other threads set
        self._ready.wait()
        while (task := self._tasks.get()) is not None:
            self._do(number, *task)
            del task  # release the batch while waiting for the next one

    def _do(self, number: int, job: _Job, part: int) -> None:
        error: BaseException | None = None
        try:
            self._fill_part(number, job, slice(part * _IMAGES_PER_TASK, (part + 1) * _IMAGES_PER_TASK))
        except BaseException as caught:
            error = caught
            if not isinstance(caught, TenchError) and number in self._doing:  # a bug: name the place
                row, stage, _ = self._doing[number]
                caught.add_note(f"This happened at {self.table.place(row)}, row {row}, stage {stage}.")
        self._doing.pop(number, None)
        job.done.put((part, error))

    def _fill_part(self, number: int, job: _Job, part: slice) -> None:
        if self._closed:
            raise RuntimeError("the loader is closed")
        rows, draws, pixels = job.rows[part], job.draws[part], job.pixels[part]
        if self._partners and not job.given_up.is_set():

            def at(row: int) -> None:
                if number not in self._doing or self._doing[number][0] != row:
                    self._doing[number] = row, "read or decode", time.monotonic()

            at(rows[0])
            self._partners[number].fill(rows, draws, pixels, at)
            return
        for row, numbers, out in zip(rows, draws, pixels, strict=True):
            if self._closed or job.given_up.is_set():
                return
            self._fill(row, numbers, out, number)

    def _fill(self, row: int, draws: npt.NDArray[np.float64], out: Image, number: int = 0) -> None:
        now = time.monotonic()
        self._doing[number] = row, "read", now
        data = self.table.read(row)
        self._doing[number] = row, "decode", now
        with errors_name(self.table, row):
            self.view.render(open_picture(self.table, row, data, self._channels), draws, out)


class _Memory:
    """Memory for batches, reused once the batch is released.

    New memory is expensive: the kernel provides it page by page and clears each. Page-locked memory is left to torch,
    which also reuses it, and knows when a copy to the device has ended.
    """

    def __init__(self, num_bytes: int, *, keep: int, pin: bool) -> None:
        self._num_bytes, self._keep, self._pin = num_bytes, keep, pin
        self._free: list[npt.NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, int, int, int]) -> torch.Tensor:
        """A uint8 tensor of a shape of at most num_bytes; its content is arbitrary."""
        if self._pin:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        memory = self._free.pop() if self._free else np.empty(self._num_bytes, np.uint8)
        array = memory[: math.prod(shape)].reshape(shape)
        weakref.finalize(array, self._give_back, memory).atexit = False  # torch holds `array` while it is in use
        return torch.from_numpy(array)

    def _give_back(self, memory: npt.NDArray[np.uint8]) -> None:
        if len(self._free) < self._keep:
            self._free.append(memory)
