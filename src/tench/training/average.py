"""Averages of a network's weights over the steps: one kept separately, and one that the network is reset to.

Both are pure functions of the step and the weights, so resuming needs only the averaged weights. Neither waits for the
device. Each costs the memory of one more network.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """A running average of a network's parameters and buffers: average <- decay average + (1 - decay) network.

    `module` is the averaged network, in evaluation mode, without gradients, in the memory format of the original.
    Integer buffers are copied. It is updated every `every` steps, first at step 0, which makes it a copy. Sources:
    ExponentialMovingAverage in torchvision's references/classification (which counts from each epoch's start), timm's
    ModelEmaV3.
    """

    def __init__(self, module: nn.Module, decay: float, every: int = 1, warmup: int = 0, ramp: bool = False) -> None:
        """warmup: steps in which the average is a copy, as it is at the first update after them (torchvision's rule).

        ramp: decay is at most 1 - (1 + step) ** (-2/3) (timm's use_warmup). torchvision computes its decay from the
        recipe's as max(0, 1 - (1 - decay) batch_size every / epochs).
        """
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay, self._every, self._warmup, self._ramp = decay, every, warmup, ramp

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Add the network's weights after a step, counted from 0. Call this after each step."""
        if step % self._every == 0:
            ours, theirs = floats(self.module), floats(module)
            torch._foreach_lerp_(ours, theirs, 1 - self._decay_at(step))
            for mine, other in zip(self.module.buffers(), module.buffers(), strict=True):
                if not mine.is_floating_point():
                    mine.copy_(other)

    def _decay_at(self, step: int) -> float:
        if step - self._every < self._warmup:  # the previous update was in the warm-up, or there was none
            return 0.0
        return min(self._decay, 1 - (1 + step) ** (-2 / 3)) if self._ramp else self._decay

    def state_dict(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load what `state_dict` returned. Raises RuntimeError, as torch does, if names or shapes differ."""
        self.module.load_state_dict(saved)


class Lookahead:
    """Every few steps the network is reset to a slow average of itself.

    average <- d average + (1 - d) network, network <- average, with d = decay^every ((step + 1) / steps)^3, which grows
    over the training. After the last step the network becomes the average. Buffers are included.
    Source: LookaheadState and train in KellerJordan/cifar10-airbench, airbench/utils.py (arXiv:1907.08610).
    """

    def __init__(self, module: nn.Module, steps: int, decay: float = 0.95, every: int = 5) -> None:
        self._average = [tensor.detach().clone() for tensor in floats(module)]
        self._steps, self._decay, self._every = steps, decay, every

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Change the network after a step, counted from 0. Call this after each step."""
        taken, weights = step + 1, floats(module)
        if taken % self._every == 0:
            torch._foreach_lerp_(self._average, weights, 1 - self._decay**self._every * (taken / self._steps) ** 3)
        if taken % self._every == 0 or taken == self._steps:
            torch._foreach_copy_(weights, self._average)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average}

    @torch.no_grad()
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load what `state_dict` returned. Raises ValueError if the number of tensors differs."""
        for mine, other in zip(self._average, saved["average"], strict=True):
            mine.copy_(other)


def floats(module: nn.Module) -> list[Tensor]:
    """A network's floating-point parameters and buffers."""
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]
