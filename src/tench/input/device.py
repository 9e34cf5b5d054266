"""Copy batches to the computing device."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy.typing as npt
import torch

from tench.input.loader import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches, each copied to the device.

    For a GPU the copies use their own stream: a batch requested while the previous step is still computing is copied in
    parallel, from page-locked memory, and neither the host nor that step waits.
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
            part.record_stream(computing)  # its memory is not reused before the step that reads it has ended
        yield there


def sent(numbers: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Copy a small array to the device without waiting: CUDA buffers pageable memory at once and sends it later."""
    return torch.from_numpy(numbers).to(device, non_blocking=True)
