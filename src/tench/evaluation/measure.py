"""Measure a network on labelled batches: each image exactly once, and the count is asserted."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from tench.data.table import Table
from tench.errors import TenchError, counted
from tench.input.device import on_device
from tench.input.loader import Batch
from tench.input.order import Order
from tench.weights.own import Normalise

TOP = 5
"""Number of classes that count for top-5 and are kept for each image."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """The outputs of a network for each image, in the order of rows.

    labels: (N,) int32. predicted: the k most likely classes, the most likely first, (N, k) int32; k is 5, or the number
    of classes if there are fewer. probabilities: those of `predicted`, (N, k) float32. losses: cross-entropy, (N,)
    float32.
    """

    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Metrics:
    """The numbers of one pass over labelled images.

    images: count. top1, top5: fractions of them. loss: mean cross-entropy. per_class: for each class (images, correct).
    not_finite: rows whose logits contain NaN or infinity; if there are any, the other numbers are meaningless. answers:
    for each image.
    """

    images: int
    top1: float
    top5: float
    loss: float
    per_class: tuple[tuple[int, int], ...]
    not_finite: tuple[int, ...] = ()
    answers: Answers | None = dataclasses.field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, float]:
        """{"images", "top1", "top5", "loss"}."""
        return {"images": self.images, "top1": self.top1, "top5": self.top5, "loss": self.loss}


@dataclasses.dataclass(frozen=True)
class ScoringRule:
    """Which answers are correct, for datasets with their own scoring rule.

    among: indices of the classes that the model chooses from (ImageNet-A and -R have 200 of the 1000 classes).
    accepted: for each row, the classes that count as correct (ReaL).
    """

    among: tuple[int, ...] | None = None
    accepted: Sequence[Sequence[int]] | None = None


PLAIN = ScoringRule()
"""An answer is correct if it equals the label."""


def evaluation_order(table: Table, batch_size: int, *, rank: int = 0, world_size: int = 1) -> Order:
    """Each row once, in the fastest reading order; the last batch may be smaller."""
    return Order(
        num_rows=len(table),
        batch_size=batch_size,
        shuffle=False,
        drop_last=False,
        pieces=table.pieces(),
        rank=rank,
        world_size=world_size,
    )


def require_labels(table: Table, where: str) -> None:
    """Raise TenchError if there are no images, or one of them has no label."""
    if len(table) == 0:
        raise TenchError(f"{where} has no images.")
    if (unlabelled := int((table.labels < 0).sum())) > 0:
        row = int(np.argmax(table.labels < 0))
        verb = "has" if unlabelled == 1 else "have"
        raise TenchError(
            f"{where}: {unlabelled:,} of {counted(len(table), 'image')} {verb} no label, such as {table.key(row)}. "
            "Training and evaluation need a label for each image; tench predict does not."
        )


def measure(
    module: nn.Module,
    batches: Iterable[Batch],
    num_images: int,
    normalise: Normalise,
    rule: ScoringRule = PLAIN,
) -> Metrics:
    """The metrics over batches that must contain num_images different rows, each once."""
    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    rows, hits, losses, labels, finite = [], [], [], [], []
    predicted, probabilities, num_classes = [], [], 0
    is_right = _right_answers(rule)
    with torch.inference_mode():
        for batch in on_device(batches, device):
            logits = module(normalise(batch.images)).float()  # (B, classes)
            num_classes = logits.shape[1]
            finite.append(logits.isfinite().all(dim=1))
            if rule.among is not None:
                others = torch.ones(num_classes, dtype=torch.bool, device=device)
                others[list(rule.among)] = False
                logits = logits.masked_fill(others, -torch.inf)
            best = logits.topk(min(TOP, num_classes), dim=1)  # (B, k)
            ranked = is_right(batch, best.indices)  # (B, k) bool
            hits.append(torch.stack([ranked[:, 0], ranked.any(dim=1)], dim=1))
            losses.append(F.cross_entropy(logits, batch.labels, reduction="none"))
            labels.append(batch.labels)
            rows.append(batch.rows)
            predicted.append(best.indices.int())
            probabilities.append((best.values - logits.logsumexp(dim=1, keepdim=True)).exp())
    module.train(was_training)
    seen = np.zeros(num_images, dtype=np.uint8)
    for numbers in rows:
        np.add.at(seen, numbers.cpu().numpy(), 1)  # waits for the device
    assert seen.min() == seen.max() == 1, f"{num_images} images, but some were counted {seen.min()}-{seen.max()} times"
    order = np.argsort(torch.cat(rows).cpu().numpy())

    def by_row(parts: list[torch.Tensor]) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = torch.cat(parts).cpu().numpy()[order]
        return array

    hit, label = by_row(hits), by_row(labels)
    of_class = np.bincount(label, minlength=num_classes)
    correct = np.bincount(label[hit[:, 0]], minlength=num_classes)
    return Metrics(
        images=num_images,
        top1=int(hit[:, 0].sum()) / num_images,
        top5=int(hit[:, 1].sum()) / num_images,
        loss=float(torch.cat(losses).double().mean()),
        per_class=tuple(zip(of_class.tolist(), correct.tolist(), strict=True)),
        not_finite=tuple(np.flatnonzero(~by_row(finite)).tolist()),
        answers=Answers(
            label.astype(np.int32), by_row(predicted), by_row(probabilities), by_row(losses).astype(np.float32)
        ),
    )


def _right_answers(rule: ScoringRule) -> Callable[[Batch, torch.Tensor], torch.Tensor]:
    """A function that returns which predicted classes (B, k) int64 of a batch are correct: (B, k) bool."""
    accepted = rule.accepted
    if accepted is None:
        return lambda batch, predicted: predicted == batch.labels[:, None]

    def in_set(batch: Batch, predicted: torch.Tensor) -> torch.Tensor:
        pairs = zip(batch.rows.tolist(), predicted.tolist(), strict=True)
        found = [[guess in accepted[row] for guess in guesses] for row, guesses in pairs]
        return torch.tensor(found, device=predicted.device)

    return in_set
