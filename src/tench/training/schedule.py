"""The learning rate as a pure function of the step."""

import math
from collections.abc import Callable

from tench.training.recipe import Duration, Recipe


def learning_rate(recipe: Recipe, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning rate of each step, counted from 0, for a training of recipe.training.epochs epochs.

    The warm-up rises linearly from warmup_from * lr; cosine and polynomial then fall over the steps that are left.
    Formulas as torch.optim.lr_scheduler's LinearLR, StepLR, ExponentialLR, CosineAnnealingLR and PolynomialLR, with
    the step for the epoch (StepLR drops at multiples of step_every from the start, warm-up included).
    """
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    total = recipe.training.epochs * steps_per_epoch
    warmup = Duration.parse(schedule.warmup, "schedule.warmup").steps(steps_per_epoch)
    every = max(1, Duration.parse(schedule.step_every, "schedule.step_every").steps(steps_per_epoch))

    def after_warmup(step: int) -> float:
        time = min(1.0, (step - warmup) / max(1, total - warmup))  # 0 after the warm-up, 1 at the end
        match schedule.schedule:
            case "constant":
                return peak
            case "step":
                return float(peak * schedule.gamma ** (step // every))
            case "exponential":
                return float(peak * schedule.gamma ** (step / every))
            case "cosine":
                return schedule.final_lr + (peak - schedule.final_lr) * (1 + math.cos(math.pi * time)) / 2
            case "polynomial":
                return float(schedule.final_lr + (peak - schedule.final_lr) * (1 - time) ** schedule.power)

    def at(step: int) -> float:
        if step < warmup:
            return peak * (schedule.warmup_from + (1 - schedule.warmup_from) * step / warmup)
        return after_warmup(step)

    return at
