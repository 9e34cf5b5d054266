"""The peak rate of a device: the rates of a large matrix product and of a 3 x 3 convolution.

A network's rate is compared with the faster of the two. Published peaks assume other clock rates, core counts and
libraries. The matrix product alone is not an upper limit: MKL's in fp32 can be slower than oneDNN's 3 x 3 convolution,
and a network of such convolutions would then exceed it.

On a GPU, launching one product and waiting for it takes about as long as computing it. So work is queued, like the
steps of a training, and the host waits for the device only after tens of milliseconds.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from tench.bench.measure import REPEATS
from tench.training.step import DTYPES

_SIZES, _SIZE_ON_GPU = (512, 1024, 2048, 4096), 8192
"""Sides of the matrices; a GPU has one larger size, because smaller ones do not keep it busy."""
_BATCHES, _BATCH_ON_GPU = (1, 4, 16, 64), 256
"""Batch sizes of the convolution."""
_CHANNELS, _SIDE = 256, 28
_TURN_SECONDS = 0.05
"""Minimum duration of the work between two waits for the device."""
_MOST_SECONDS = 1.0
"""Maximum duration of one product or convolution. Without hardware support, a large one takes minutes."""

Work = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Peak:
    """Floating-point operations per second, two per MAC, in a precision. product_size: side of the matrices."""

    precision: str
    product_size: int
    product: float
    convolution: float

    @property
    def flops(self) -> float:
        return max(self.product, self.convolution)


def peak(precision: str, device: torch.device) -> Peak:
    """The best of five rounds of 4096 x 4096 products (8192 x 8192 on a GPU), and of convolutions of 256 channels.

    Smaller ones are used if one takes longer than about a second. precision: fp32, bf16 or fp16; fp32 on a GPU means
    TF32 if torch allows it for convolutions.
    """
    dtype = DTYPES[precision]

    def product(size: int) -> Work:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        return lambda: torch.mm(left, right)

    def convolution(batch: int) -> Work:
        shape = batch, _CHANNELS, _SIDE, _SIDE
        maps, filters = torch.randn(shape, device=device), torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device)
        maps, filters = (one.to(dtype).to(memory_format=torch.channels_last) for one in (maps, filters))
        return lambda: F.conv2d(maps, filters, padding=1)

    on_gpu = device.type == "cuda"
    sizes, batches = (_SIZES, _BATCHES) if not on_gpu else ((*_SIZES, _SIZE_ON_GPU), (*_BATCHES, _BATCH_ON_GPU))
    before = torch.get_float32_matmul_precision()
    if on_gpu and torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        with torch.inference_mode():
            size, product_flops = _largest(product, sizes, lambda size: 2.0 * size**3, device)
            of_a_map = 2.0 * 9 * (_CHANNELS * _SIDE) ** 2
            _, convolution_flops = _largest(convolution, batches, lambda batch: of_a_map * batch, device)
    finally:
        torch.set_float32_matmul_precision(before)
    return Peak(precision, size, product_flops, convolution_flops)


def _largest(
    prepared: Callable[[int], Work], sizes: Sequence[int], flops: Callable[[int], float], device: torch.device
) -> tuple[int, float]:
    """(the largest size that does not take too long, its FLOPs per second)"""
    size, work = sizes[0], prepared(sizes[0])
    for larger in sizes[1:]:
        _turn(work, 1, device)  # the first one allocates memory and chooses a kernel
        if _turn(work, 1, device) * flops(larger) / flops(size) > _MOST_SECONDS:
            break
        size, work = larger, prepared(larger)
    return size, flops(size) / _seconds(work, device)


def _seconds(work: Work, device: torch.device) -> float:
    """Seconds of one unit of work, in the fastest of five rounds."""
    _turn(work, 1, device)
    number = 1
    while _turn(work, number, device) < _TURN_SECONDS:
        number *= 2
    return min(_turn(work, number, device) for _ in range(REPEATS)) / number


def _turn(work: Work, number: int, device: torch.device) -> float:
    """Seconds for this many units of work, queued one after another."""
    _wait(device)
    began = time.perf_counter()
    for _ in range(number):
        work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
