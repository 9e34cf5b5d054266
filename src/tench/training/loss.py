"""The loss that torch has in another form: binary cross-entropy of classes, each a question of its own."""

import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    threshold: float | None = None,
) -> Tensor:
    """Binary cross-entropy of each class against its share of the target; 0-dim, the mean over images and classes.

    logits: (B, K) float. targets: labels (B,) int64, or shares (B, K) float in 0..1. smoothing: a target becomes
    1 - smoothing of itself and smoothing / K. threshold: larger shares become 1, the others 0.
    Source: timm.loss.BinaryCrossEntropy; "ResNet strikes back", arXiv:2110.00476.
    """
    num_classes = logits.shape[1]
    shares = F.one_hot(targets, num_classes).to(logits.dtype) if targets.ndim == 1 else targets
    shares = (1 - smoothing) * shares + smoothing / num_classes
    if threshold is not None:
        shares = (shares > threshold).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, shares)
