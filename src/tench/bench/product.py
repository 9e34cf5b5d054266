"""What a device can do: the rate of a large matrix product, against which a network's is held.

Published peaks are of other clocks, other counts of cores and other libraries than those here; a product that was
measured in the same precision is what this device can be brought to now.
"""

import dataclasses
import time

import torch

from tench.bench.measure import REPEATS

_SIZES = (512, 1024, 2048, 4096)
_MOST_SECONDS = 1.0
"""Of one product: where the format is not in the hardware, a large one takes minutes."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Product:
    """The rate of a size x size matrix product. flops: floating-point operations a second, two for a MAC."""

    precision: str
    size: int
    flops: float


def product(precision: str, device: torch.device) -> Product:
    """The rate of the fastest of five products, of the largest size up to 4096 that takes no longer than about a
    second.

    precision: fp32, bf16 or fp16; fp32 on a GPU as convolutions have it, in TF32 where torch lets them.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        size, seconds = _SIZES[0], _seconds(_SIZES[0], precision, device)
        for larger in _SIZES[1:]:
            if min(seconds) * (larger / size) ** 3 > _MOST_SECONDS:
                break
            size, seconds = larger, _seconds(larger, precision, device)
    finally:
        torch.set_float32_matmul_precision(before)
    return Product(precision, size, 2 * size**3 / min(seconds))


def _seconds(size: int, precision: str, device: torch.device) -> list[float]:
    left, right = (torch.randn(size, size, device=device).to(_DTYPES[precision]) for _ in range(2))
    found = []
    for _ in range(REPEATS + 1):
        _wait(device)
        began = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        found.append(time.perf_counter() - began)
    return found[1:]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
