"""One optimizer update, and the totals it adds to. The device is waited for only in `read_totals`."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tench.errors import TenchError
from tench.input.loader import Batch
from tench.input.on_batch import OnBatch
from tench.training.recipe import Recipe
from tench.training.state import State
from tench.weights.own import Normalise

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train_step(
    state: State, batch: Batch, lr: float, recipe: Recipe, normalise: Normalise, augment: OnBatch | None = None
) -> None:
    """One update: move, forward, loss, backward, clip, update. Nothing here waits for the device.

    augment: erases and mixes; where labels are mixed, a hit is the class with the largest share. A loss that is not
    finite leaves the weights as they are, and its step is remembered for the next log.
    """
    # Dropout too is a function of seed and step, so resuming is exact. Hashed, for torch takes 32 bits only,
    # and a sum of the two would give the steps of one seed to the next.
    torch.manual_seed(int(np.random.SeedSequence((recipe.training.seed, state.step)).generate_state(1)[0]))
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    dtype = _DTYPES.get(recipe.training.precision)
    images, targets = normalise(batch.images), batch.labels  # (B, C, H, W) float32, (B,) int64
    if augment is not None:
        images, targets = augment(images, targets, state.step)  # targets (B, classes) float32 where they are mixed
    with torch.autocast(images.device.type, dtype=dtype, enabled=dtype is not None):
        logits = state.module(images)  # (B, classes)
    loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.training.label_smoothing)
    state.optimizer.zero_grad()
    torch.autograd.backward(state.scaler.scale(loss))
    finite = loss.detach().isfinite()
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
    with torch.no_grad():
        state.first_bad.masked_fill_((state.first_bad < 0) & ~finite, state.step)
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        correct = (logits.argmax(dim=1) == labels).sum()
        # new_full fills on the device; new_tensor would copy a number there and wait.
        count = state.totals.new_full((), len(images))
        state.totals += torch.stack([loss.detach().double() * len(images), correct.double(), count])


def read_totals(state: State) -> tuple[float, float, int]:
    """(mean loss, top-1, images) of the epoch so far. Waits for the device. Raises TenchError after a bad loss."""
    first_bad = int(state.first_bad)
    if first_bad >= 0:
        raise TenchError(
            f"The loss was not finite at step {first_bad + 1}; that update was left out, and the "
            "checkpoint before it is kept. Try a lower learning rate, a longer warm-up, --clip-norm 1 or "
            "--precision fp32."
        )
    loss_sum, correct, images = state.totals.tolist()
    return (loss_sum / images, correct / images, int(images)) if images else (0.0, 0.0, 0)
