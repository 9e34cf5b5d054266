import pytest
import torch

from tench.bench import product as module
from tench.bench.product import product

CPU = torch.device("cpu")


def seconds_of(monkeypatch: pytest.MonkeyPatch, of_512: float) -> list[int]:
    """Products that take eight times as long at twice the size; returns the list of the sizes that were tried."""
    sizes: list[int] = []

    def seconds(size: int, precision: str, device: torch.device) -> list[float]:
        sizes.append(size)
        took = of_512 * (size / 512) ** 3
        return [2 * took, took, 3 * took]

    monkeypatch.setattr(module, "_seconds", seconds)
    return sizes


def test_the_rate_is_that_of_the_fastest_product_of_4096(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds_of(monkeypatch, 0.001)
    found = product("fp32", CPU)
    assert (found.precision, found.size) == ("fp32", 4096)
    assert found.flops == pytest.approx(2 * 512**3 / 0.001)


def test_where_products_are_slow_a_smaller_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = seconds_of(monkeypatch, 0.02)
    assert product("bf16", CPU).size == 1024
    assert sizes == [512, 1024], "a larger one is not tried at all"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_product_is_measured(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIZES", (64,))
    before = torch.get_float32_matmul_precision()
    found = product(precision, CPU)
    assert (found.precision, found.size) == (precision, 64)
    assert found.flops > 0
    assert torch.get_float32_matmul_precision() == before
