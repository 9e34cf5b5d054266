"""The losses of a recipe. A loss is a function: logits (B, K) float32 and targets -> scalar, the mean over the images.

Targets are labels (B,) int64 or, if labels are mixed, shares (B, K) float32.
"""

import functools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from tench.errors import UsageError
from tench.training.recipe import Training

Loss = Callable[[Tensor, Tensor], Tensor]


def recipe_loss(training: Training) -> Loss:
    """The loss that a recipe describes. Raises UsageError if it names code."""
    smoothing = training.label_smoothing
    if training.loss == "bce":
        return functools.partial(binary_cross_entropy, smoothing=smoothing, threshold=training.bce_threshold or None)
    if training.loss == "cross-entropy":
        return functools.partial(F.cross_entropy, label_smoothing=smoothing)
    raise UsageError(f"The loss {training.loss} is Python code, which only tench train and tench.fit(loss=...) import.")


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    threshold: float | None = None,
) -> Tensor:
    """Binary cross-entropy of each class against its share of the target; 0-dim, the mean over images and classes.

    logits: (B, K) float. targets: labels (B,) int64, or shares (B, K) float in 0..1. smoothing: a target t becomes
    (1 - smoothing) t + smoothing / K. threshold: shares above it become 1, all others 0.
    Source: timm.loss.BinaryCrossEntropy; "ResNet strikes back", arXiv:2110.00476.
    """
    num_classes = logits.shape[1]
    shares = F.one_hot(targets, num_classes).to(logits.dtype) if targets.ndim == 1 else targets
    shares = (1 - smoothing) * shares + smoothing / num_classes
    if threshold is not None:
        shares = (shares > threshold).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, shares)
