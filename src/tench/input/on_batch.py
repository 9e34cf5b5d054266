"""Changes to a normalised batch on the device: erasing, then mixing.

Like all random numbers here, theirs are a pure function of the seed, the epoch and the rows (per image) or the step
(per batch), so a resumed run continues with the same numbers. All ranks use the same numbers for a batch.
"""

import dataclasses

import numpy as np
import torch

from tench.input.draws import Stream, uniforms
from tench.input.erasing import Erasing
from tench.input.mix import BatchMix
from tench.input.order import Order
from tench.input.views import Draws


@dataclasses.dataclass(frozen=True)
class OnBatch:
    """Erases and mixes the batches of an order. erasing, mix: None skips that step."""

    order: Order
    num_classes: int
    erasing: Erasing | None = None
    mix: BatchMix | None = None

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The images and targets of a step, counted from the start of the training.

        images: (B, C, H, W) float, normalised. labels: (B,) int64. Returns the images, and as targets the labels or,
        if images are mixed, (B, num_classes) float32.
        """
        height, width = images.shape[2:]
        seed = self.order.seed
        epoch, step_of_epoch = divmod(step, self.order.steps_per_epoch)
        if self.erasing is not None:
            keys = self.order.keys(epoch, step_of_epoch)
            draws = uniforms(seed, epoch, keys, self.erasing.num_draws, Stream.ERASING)
            noise_seed = int(np.random.SeedSequence((seed, step, Stream.ERASING)).generate_state(1)[0])
            images = self.erasing.apply(images, self.erasing.boxes(draws, height, width), noise_seed)
        if self.mix is None:
            return images, labels
        mixed = self.mix.drawn(self._mix_draws(self.mix, epoch, step_of_epoch), height, width)
        return self.mix.apply(images, labels, self.num_classes, mixed)

    def _mix_draws(self, mix: BatchMix, epoch: int, step_of_epoch: int) -> Draws:
        """(1, 5) for the batch or (B, 5) for its images."""
        if mix.mode == "batch":
            step = np.array([step_of_epoch])
            return uniforms(self.order.seed, epoch, step, mix.num_draws, Stream.MIX_OF_BATCH)
        keys = self.order.keys(epoch, step_of_epoch)
        if mix.mode == "pair":  # both use the first one's key
            keys = np.concatenate([keys[: -(-len(keys) // 2)], keys[: len(keys) // 2][::-1]])
        return uniforms(self.order.seed, epoch, keys, mix.num_draws, Stream.MIX_OF_IMAGE)
