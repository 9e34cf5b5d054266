"""One optimizer update, and the totals it adds to. Only `read_totals` waits for the device."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tench.errors import TenchError
from tench.input.loader import Batch
from tench.training.loss import Loss, recipe_loss
from tench.training.recipe import Resolved, Training
from tench.training.state import State
from tench.weights.own import Normalise

BatchStep = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""Changes a batch: normalised images (B, C, H, W) float32, labels (B,) int64 and the step -> images and targets."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The data type of each precision of a recipe."""


def train_step(
    state: State,
    batch: Batch,
    lr: float,
    recipe: Resolved,
    normalise: Normalise,
    augment: BatchStep | None = None,
    loss_of: Loss | None = None,
) -> None:
    """One update: normalise, augment, forward, loss, backward, clip, update, average. Never waits for the device.

    augment: erases and mixes. If it mixes labels, an image counts as correct if the network chooses the class with the
    largest share. loss_of: None means the recipe's loss. A loss that is not finite leaves the weights unchanged, and
    the next log raises an error that names its step.
    """
    # Dropout and the user's own code draw from torch's generator. It is seeded from seed and step, so that resuming is
    # exact. The two are hashed because torch uses only 32 bits, and with their sum, step 1 of seed 0 would draw the
    # same numbers as step 0 of seed 1.
    torch.manual_seed(int(np.random.SeedSequence((recipe.training.seed, state.step)).generate_state(1)[0]))
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    images, targets = normalise(batch.images), batch.labels  # (B, C, H, W) float32, (B,) int64
    if augment is not None:
        images, targets = augment(images, targets, state.step)  # targets (B, classes) float32 if they are mixed
    state.optimizer.zero_grad()
    loss_of = loss_of or recipe_loss(recipe.training)
    loss, correct = torch.zeros_like(state.totals[0]), torch.zeros_like(state.totals[1])
    parts = num_parts(len(images), recipe.training)
    for part, target in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        part_loss, logits = forward_loss(state.forward, part, target, recipe.training.precision, loss_of)
        torch.autograd.backward(state.scaler.scale(part_loss * (len(part) / len(images))))
        loss += part_loss.detach() * len(part)
        correct += num_correct(logits, target)
    finite = loss.isfinite()
    if recipe.optimizer.clip_norm:
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.module.parameters(), recipe.optimizer.clip_norm)
        finite &= norm.isfinite() | state.scaler.is_enabled()  # the scaler handles overflows itself
    if state.scaler.is_enabled():
        state.scaler.step(state.optimizer)  # skips the update if gradients overflowed
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
    """Images per forward pass: the batch, or a part of it if the recipe accumulates."""
    return -(-training.batch_size // training.accumulate)


def num_parts(count: int, training: Training) -> int:
    """Forward passes for a batch of `count` images, whose parts differ by at most one image."""
    return -(-count // part_size(training))


def forward_loss(
    forward: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, precision: str, loss: Loss
) -> tuple[Tensor, Tensor]:
    """(mean loss, logits (B, classes)) of normalised images; targets: (B,) int64 or (B, classes) float32."""
    with autocast(precision, images.device):
        logits = forward(images)
    return loss(logits.float(), targets), logits


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which a network computes with a resolved precision. Its weights stay fp32."""
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32")


def num_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Images whose largest logit is that of their label or, if targets are mixed, of the class with the largest share.

    0-dim, on the device.
    """
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (logits.detach().argmax(dim=1) == labels).sum()


def read_totals(state: State, rows_of: Callable[[int], Sequence[Any]] | None = None) -> tuple[float, float, int]:
    """(mean loss, top-1, images) of the epoch so far. Waits for the device. Raises TenchError if a loss was not finite.

    rows_of: returns the rows of a step, counted from 0; the error names them.
    """
    first_bad = int(state.first_bad)
    if first_bad >= 0:
        rows = "" if rows_of is None else f" (rows {_shown(rows_of(first_bad))} of the training images)"
        raise TenchError(
            f"The loss was not finite at step {first_bad + 1}{rows}. That update was skipped, and the last checkpoint "
            "is from before it. Try a lower learning rate, a longer warm-up, --clip-norm 1 or --precision fp32."
        )
    loss_sum, correct, images = state.totals.tolist()
    return (loss_sum / images, correct / images, int(images)) if images else (0.0, 0.0, 0)


def _shown(rows: Sequence[Any], most: int = 8) -> str:
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(str(row) for row in rows[:most]) + more
