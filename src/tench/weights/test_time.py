"""Test-time augmentation: average the predictions over several views of an image, for a little more accuracy.

The views are made from whole batches on the device, after normalisation, and each costs one more pass through the
network. Mirrored and shifted copies are made from the evaluation view; ten-crop needs a larger part of the image, and
therefore its own view.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import nn

from tench.errors import UsageError
from tench.input.views import EvalView, TestTime


def at_test_time(module: nn.Module, form: TestTime, *, size: int | None = None) -> nn.Module:
    """A network that averages the output of `module` over views of its input, in the same mode (training or
    evaluation).

    It accepts normalised floats (B, C, H, W), square for ten-crop, and returns logits (B, classes); for ten-crop the
    logarithm of the mean probabilities. size: side of a crop, required for ten-crop; the other forms use whole images.
    Raises UsageError for an unknown form, or for crops that are not smaller than the images.
    """
    if form == "none":
        return module
    if form == "mirror":
        return _Averaged(module, _mirror)
    if form == "mirror-shift":
        return _Averaged(module, _mirror_shift)
    if form == "ten-crop":
        if size is None:
            raise ValueError("ten-crop needs size, the side of a crop")
        return _Averaged(module, functools.partial(_ten_crop, size=size))
    raise UsageError(f"Unknown test-time augmentation {form!r}. Known: {', '.join(get_args(TestTime))}.")


def test_time_view(view: EvalView, form: TestTime) -> EvalView:
    """The evaluation view that a form needs: the whole central square for ten-crop, else the view itself."""
    return dataclasses.replace(view, size=view.resize) if form == "ten-crop" else view


class _Averaged(nn.Module):
    def __init__(self, module: nn.Module, answer: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.module, self._answer = module, answer
        self.training = module.training

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._answer(self.module, images)


def _mirror(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = module(images) + module(images.flip(-1))
    return logits / 2


def _mirror_shift(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[-2:]
    bordered = F.pad(images, (1, 1, 1, 1), mode="reflect")
    lower_right, upper_left = (bordered[..., by : by + height, by : by + width] for by in (0, 2))
    shifted = _mirror(module, upper_left) + _mirror(module, lower_right)
    return _mirror(module, images) / 2 + shifted / 4


def _ten_crop(module: nn.Module, images: torch.Tensor, size: int) -> torch.Tensor:
    last = images.shape[-1] - size
    if last <= 0:
        raise UsageError(
            f"ten-crop: crops of {size} pixels from images of {images.shape[-1]} pixels would all be the same. Use a "
            "larger eval_resize, such as the image size divided by 0.875."
        )
    middle = round(last / 2)
    places = (0, 0), (0, last), (last, 0), (last, last), (middle, middle)
    wholes = images, images.flip(-1)
    crops = [whole[..., top : top + size, left : left + size] for whole in wholes for top, left in places]
    answers = [module(crop).float().log_softmax(dim=1) for crop in crops]
    return torch.stack(answers).logsumexp(dim=0) - math.log(len(answers))
