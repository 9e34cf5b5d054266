import time

import pytest
import torch

from tench.bench import peak as module
from tench.bench.peak import Peak, peak

CPU = torch.device("cpu")


@pytest.fixture
def flops_a_second(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A fake device: matrix products, convolutions and waits (in seconds) advance a fake clock."""
    speeds = {"product": 1e12, "convolution": 1e12, "wait": 0.0}
    now = 0.0

    def mm(left: torch.Tensor, right: torch.Tensor) -> None:
        nonlocal now
        now += 2 * len(left) ** 3 / speeds["product"]

    def conv2d(maps: torch.Tensor, filters: torch.Tensor, padding: int) -> None:
        nonlocal now
        now += 2 * maps.numel() * filters[0].numel() / speeds["convolution"]

    def wait(device: torch.device) -> None:
        nonlocal now
        now += speeds["wait"]

    monkeypatch.setattr(module, "_wait", wait)
    monkeypatch.setattr(torch, "mm", mm)
    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    return speeds


def test_the_peak_is_the_faster_of_a_4096_product_and_a_convolution(flops_a_second: dict[str, float]) -> None:
    flops_a_second |= {"product": 2e11, "convolution": 3e11}
    found = peak("fp32", CPU)
    assert (found.precision, found.product_size) == ("fp32", 4096)
    assert found.product == pytest.approx(2e11)
    assert found.convolution == pytest.approx(3e11)
    assert found.flops == found.convolution
    assert Peak("fp32", 4096, 5.0, 3.0).flops == 5.0


def test_if_products_are_slow_a_smaller_one_is_used(flops_a_second: dict[str, float]) -> None:
    flops_a_second |= {"product": 2.2e9}
    found = peak("bf16", CPU)
    assert found.product_size == 1024
    assert found.product == pytest.approx(2.2e9)


def test_the_time_of_launches_and_waits_barely_affects_the_peak(flops_a_second: dict[str, float]) -> None:
    """On a GPU, a product takes less time than waiting for it."""
    flops_a_second |= {"product": 8e14, "convolution": 6e14, "wait": 1e-3}
    found = peak("bf16", CPU)
    assert found.product == pytest.approx(8e14, rel=0.05)
    assert found.convolution == pytest.approx(6e14, rel=0.05)


def test_a_gpu_is_given_larger_matrices_and_maps(
    flops_a_second: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[tuple[int, ...]] = set()

    def randn(*shape: int | tuple[int, ...], device: torch.device) -> torch.Tensor:
        assert device.type == "cuda"
        made = torch.empty(*shape, device="meta")  # type: ignore[arg-type]  # torch accepts these shapes
        sizes.add(tuple(made.shape))
        return made

    monkeypatch.setattr(torch, "randn", randn)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    flops_a_second |= {"product": 8e14, "convolution": 6e14}
    assert peak("bf16", torch.device("cuda")).product_size == 8192
    assert (256, 256, 28, 28) in sizes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_peak_of_this_machine_can_be_measured(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIZES", (64,))
    monkeypatch.setattr(module, "_CHANNELS", 8)
    before = torch.get_float32_matmul_precision()
    found = peak(precision, CPU)
    assert (found.precision, found.product_size) == (precision, 64)
    assert found.product > 0
    assert found.convolution > 0
    assert torch.get_float32_matmul_precision() == before
