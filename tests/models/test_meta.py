"""Trying out a network without allocating its memory."""

import pytest
import torch
from torch import Tensor, nn

from tench.models.meta import dry_run


def device_of(network: nn.Module, images: Tensor) -> str:
    network(images)
    return images.device.type


class AsksForAValue(nn.Module):
    """Needs the value of a tensor while it runs; tensors on meta have none."""

    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum().item() == 0 else images + 1


class ComputesItsWidth(nn.Module):
    """Needs the value of a tensor while it is built, as RegNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, int(torch.linspace(1, 7, 4)[1].item()), 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("build", "device"), [(lambda: nn.Conv2d(3, 4, 3), "meta"), (ComputesItsWidth, "meta"), (AsksForAValue, "cpu")]
)
def test_a_network_runs_on_meta_or_on_the_cpu_if_meta_cannot_run_it(build: type[nn.Module], device: str) -> None:
    assert dry_run(build, (2, 3, 8, 8), device_of) == device


def test_a_shape_that_does_not_fit_raises_the_networks_own_error() -> None:
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        dry_run(lambda: nn.Conv2d(3, 4, 9), (2, 3, 8, 8), device_of)


def test_a_dry_run_is_in_evaluation_mode_without_gradients_and_uses_no_random_numbers() -> None:
    def look(network: nn.Module, images: Tensor) -> tuple[bool, bool]:
        return network.training, network(images).requires_grad

    before = torch.get_rng_state()
    assert dry_run(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), AsksForAValue()), (2, 3, 8, 8), look) == (False, False)
    assert torch.equal(torch.get_rng_state(), before)
