"""One optimizer update, and the totals it adds to. The device is waited for only in `read_totals`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tench.errors import TenchError
from tench.input.loader import Batch
from tench.input.on_batch import OnBatch
from tench.training.loss import binary_cross_entropy
from tench.training.recipe import Resolved, ResolvedTraining, Training
from tench.training.state import State
from tench.weights.own import Normalise

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""By the names of a recipe's precision."""


def train_step(
    state: State, batch: Batch, lr: float, recipe: Resolved, normalise: Normalise, augment: OnBatch | None = None
) -> None:
    """One update: move, forward, loss, backward, clip, update, average. Nothing here waits for the device.

    augment: erases and mixes; where labels are mixed, a hit is the class with the largest share. A loss that is not
    finite leaves the weights as they are, and its step is remembered for the next log.
    """
    # Dropout too is a function of seed and step, so resuming is exact. Hashed, for torch takes 32 bits only,
    # and a sum of the two would give the steps of one seed to the next.
    torch.manual_seed(int(np.random.SeedSequence((recipe.training.seed, state.step)).generate_state(1)[0]))
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    images, targets = normalise(batch.images), batch.labels  # (B, C, H, W) float32, (B,) int64
    if augment is not None:
        images, targets = augment(images, targets, state.step)  # targets (B, classes) float32 where they are mixed
    state.optimizer.zero_grad()
    loss, correct = torch.zeros_like(state.totals[0]), torch.zeros_like(state.totals[1])
    parts = num_parts(len(images), recipe.training)
    for part, target in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        part_loss, logits = forward_loss(state.forward, part, target, recipe.training)
        torch.autograd.backward(state.scaler.scale(part_loss * (len(part) / len(images))))
        loss += part_loss.detach() * len(part)
        correct += num_correct(logits, target)
    finite = loss.isfinite()
    if recipe.optimizer.clip_norm:
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.module.parameters(), recipe.optimizer.clip_norm)
        finite &= norm.isfinite() | state.scaler.is_enabled()  # with a scaler an overflow is no news
    if state.scaler.is_enabled():
        state.scaler.step(state.optimizer)  # leaves the update out itself where gradients overflowed
        state.scaler.update()
    else:
        state.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # read by the fused update
        state.optimizer.step()
    if state.average is not None:
        state.average.update(state.module, state.step)
    with torch.no_grad():
        state.first_bad.masked_fill_((state.first_bad < 0) & ~finite, state.step)
        # new_full fills on the device; new_tensor would copy a number there and wait.
        state.totals += torch.stack([loss, correct, loss.new_full((), len(images))])


def part_size(training: Training) -> int:
    """Images that go through the network at once: the batch, or with accumulate a part of it."""
    return -(-training.batch_size // training.accumulate)


def num_parts(count: int, training: Training) -> int:
    """The parts of a batch of so many images, equal to within one; a batch that is not full has fewer."""
    return -(-count // part_size(training))


def forward_loss(
    forward: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, training: ResolvedTraining
) -> tuple[Tensor, Tensor]:
    """(mean loss, logits (B, classes)) of normalised images; targets: (B,) int64 or (B, classes) float32."""
    with autocast(training.precision, images.device):
        logits = forward(images)
    if training.loss == "bce":
        loss = binary_cross_entropy(
            logits.float(), targets, smoothing=training.label_smoothing, threshold=training.bce_threshold or None
        )
    else:
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=training.label_smoothing)
    return loss, logits


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which a network computes in a resolved precision; its weights stay fp32."""
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32")


def num_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """How many logits are largest at the label, or where targets are mixed, at the class with the largest share."""
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (logits.detach().argmax(dim=1) == labels).sum()


def read_totals(state: State, rows_of: Callable[[int], Sequence[Any]] | None = None) -> tuple[float, float, int]:
    """(mean loss, top-1, images) of the epoch so far. Waits for the device. Raises TenchError after a bad loss.

    rows_of: the rows of a step, counted from 0, to be named in that error.
    """
    first_bad = int(state.first_bad)
    if first_bad >= 0:
        rows = "" if rows_of is None else f" (rows {_shown(rows_of(first_bad))} of the training images)"
        raise TenchError(
            f"The loss was not finite at step {first_bad + 1}{rows}; that update was left out, and the "
            "checkpoint before it is kept. Try a lower learning rate, a longer warm-up, --clip-norm 1 or "
            "--precision fp32."
        )
    loss_sum, correct, images = state.totals.tolist()
    return (loss_sum / images, correct / images, int(images)) if images else (0.0, 0.0, 0)


def _shown(rows: Sequence[Any], most: int = 8) -> str:
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(str(row) for row in rows[:most]) + more
