"""Batches on the device that computes."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy.typing as npt
import torch

from tench.input.loader import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches, each copied to the device.

    To a GPU they are copied on a stream of their own: one that has been asked for while the step before it is still
    being computed arrives beside it, from page-locked memory, without the host or that step waiting.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copying):
            there = batch.to(device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        for part in (there.images, there.labels, there.rows):
            part.record_stream(computing)  # its memory is not used again before the step that reads it has ended
        yield there


def sent(numbers: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """A small array on the device. Nothing waits: of pageable memory CUDA takes a copy at once, and sends that."""
    return torch.from_numpy(numbers).to(device, non_blocking=True)
