import pytest
import torch

from tench.input.device import on_device
from tench.input.loader import Batch


def batches(count: int, *, pin: bool = False) -> list[Batch]:
    images = [torch.full((4, 3, 8, 8), number, dtype=torch.uint8) for number in range(count)]
    rows = torch.arange(4)
    return [Batch(image.pin_memory() if pin else image, rows % 2, rows + number) for number, image in enumerate(images)]


def test_on_the_cpu_batches_are_passed_on_unchanged() -> None:
    given = batches(3)
    for before, after in zip(given, on_device(given, torch.device("cpu")), strict=True):
        assert after.images is before.images
        assert after.rows is before.rows


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_each_batch_has_arrived_when_it_is_used() -> None:
    device = torch.device("cuda")
    busy = torch.randn(2048, 2048, device=device)
    for number, batch in enumerate(on_device(batches(50, pin=True), device)):
        busy = busy @ busy / 2048  # lets the stream of the steps lag behind the host
        assert batch.images.device.type == batch.labels.device.type == batch.rows.device.type == "cuda"
        assert batch.images.float().mean().item() == number
        assert batch.rows.tolist() == [number, number + 1, number + 2, number + 3]
