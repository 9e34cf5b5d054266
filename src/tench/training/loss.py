"""The loss that torch has in another form: binary cross-entropy of classes, each a question of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    threshold: float | None = None,
    sum_classes: bool = False,
) -> Tensor:
    """Binary cross-entropy of each class against its share of the target; 0-dim, the mean over images and classes.

    logits: (B, K) float. targets: labels (B,) int64, of which smoothing / K goes to every class and 1 - smoothing to
    their own besides; or shares (B, K) float in 0..1, taken as they are (mixing smooths them itself). threshold: larger
    shares become 1, the others 0. sum_classes: the mean over images of the sum over classes.
    Source: timm.loss.BinaryCrossEntropy; "ResNet strikes back", arXiv:2110.00476.
    """
    if targets.ndim == 1:
        shares = torch.full_like(logits, smoothing / logits.shape[1])
        targets = shares.scatter_add_(1, targets[:, None], torch.full_like(shares[:, :1], 1 - smoothing))
    if threshold is not None:
        targets = (targets > threshold).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, targets)
    return loss * logits.shape[1] if sum_classes else loss
