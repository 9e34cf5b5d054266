import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tench.compat import import_timm
from tench.training.loss import binary_cross_entropy

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)) * 3
LABELS = torch.tensor([0, 4, 2, 2, 1, 3])
SHARES = torch.rand(6, 5, generator=torch.Generator().manual_seed(2)).softmax(dim=1)


def by_timm(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    import_timm()
    loss: Tensor = importlib.import_module("timm.loss").BinaryCrossEntropy(**options)(logits, targets)
    return loss


@pytest.mark.parametrize("targets", [LABELS, SHARES], ids=["labels", "shares"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.2])
def test_loss_and_gradient_match_timm(targets: Tensor, smoothing: float, threshold: float | None) -> None:
    ours, theirs = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss = binary_cross_entropy(ours, targets, smoothing, threshold)
    # timm smooths mixed targets when it mixes, so its loss uses them unchanged.
    expected_targets = targets if targets.ndim == 1 else (1 - smoothing) * targets + smoothing / targets.shape[1]
    expected = by_timm(theirs, expected_targets, smoothing=smoothing, target_threshold=threshold)
    assert loss.ndim == 0
    torch.testing.assert_close(loss, expected)
    torch.autograd.backward([loss, expected])
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_loss_is_the_mean_of_the_formula_over_all_entries() -> None:
    chance = 1 / (1 + np.exp(-LOGITS.double().numpy()))
    shares = SHARES.double().numpy()
    expected = -(shares * np.log(chance) + (1 - shares) * np.log(1 - chance)).mean()
    assert binary_cross_entropy(LOGITS, SHARES).item() == pytest.approx(expected, rel=1e-6)


def test_the_callers_targets_are_not_changed() -> None:
    labels, shares = LABELS.clone(), SHARES.clone()
    for targets in (labels, shares):
        binary_cross_entropy(LOGITS, targets, 0.1, 0.2)
    assert torch.equal(labels, LABELS)
    assert torch.equal(shares, SHARES)
