import pytest
import torch
from tests.training.optimizers.steps import assert_same, from_timm, trained

from tench.training.optimizers import RMSprop, RMSpropTF


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_rmsprop_matches_torch(momentum: float, weight_decay: float) -> None:
    alpha, eps = 0.9, 0.0316  # torchvision's values for MobileNetV3
    theirs = trained(lambda groups: torch.optim.RMSprop(groups, 0.1, alpha, eps, momentum=momentum), weight_decay)
    assert_same(trained(lambda groups: RMSprop(groups, 0.1, alpha, eps, momentum), weight_decay), theirs, atol=2e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_tensorflows_rmsprop_matches_timm(momentum: float, weight_decay: float) -> None:
    theirs = from_timm("RMSpropTF", lr=0.1, alpha=0.9, eps=1e-3, momentum=momentum)
    ours = trained(lambda groups: RMSpropTF(groups, 0.1, eps=1e-3, momentum=momentum), weight_decay)
    assert_same(ours, trained(theirs, weight_decay), atol=2e-6)
