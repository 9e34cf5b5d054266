"""The learning rate as a pure function of the step."""

import math
from collections.abc import Callable

from tench.training.duration import Duration
from tench.training.recipe import Recipe


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """The number of steps of the whole training; a partial last epoch is rounded up to the next step."""
    return math.ceil(recipe.training.epochs * steps_per_epoch)


def num_epochs(recipe: Recipe) -> int:
    """The number of epochs of the whole training, including a partial last one."""
    return math.ceil(recipe.training.epochs)


def is_validated(recipe: Recipe, epoch: int) -> bool:
    """Whether an epoch, counted from 0, ends with a validation: every `validate_every` epochs, and at the end."""
    return (epoch + 1) % recipe.training.validate_every == 0 or epoch + 1 == num_epochs(recipe)


def freeze_step(recipe: Recipe, steps_per_epoch: int) -> int:
    """The step, counted from 0, from which optimizer.freeze applies."""
    return _steps(recipe.optimizer.freeze_from, "optimizer.freeze_from", recipe, steps_per_epoch)


def warmup_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """The number of steps of the warm-up."""
    return _steps(recipe.schedule.warmup, "schedule.warmup", recipe, steps_per_epoch)


def learning_rate(recipe: Recipe, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning rate of each step, counted from 0, for a training of recipe.training.epochs epochs.

    The warm-up rises linearly from warmup_from * lr and is followed by `hold`. cosine and polynomial then fall over the
    remaining steps or, with schedule_from start, follow the rest of a curve over all steps. The formulas are those of
    torch.optim.lr_scheduler's LinearLR, StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR and PolynomialLR, with
    steps instead of epochs (drops are counted from the start, warm-up included). With schedule_per epoch, every step
    has the learning rate of the first step of its epoch.
    """
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    total = total_steps(recipe, steps_per_epoch)

    warmup = warmup_steps(recipe, steps_per_epoch)
    fall = warmup + _steps(schedule.hold, "schedule.hold", recipe, steps_per_epoch)
    begin = fall if schedule.schedule_from == "warmup" else 0
    every = max(1, _steps(schedule.step_every, "schedule.step_every", recipe, steps_per_epoch))
    milestones = [round(epoch * steps_per_epoch) for epoch in schedule.milestones]

    def drops(step: int) -> int:
        return sum(step >= milestone for milestone in milestones) if milestones else step // every

    def after_warmup(step: int) -> float:
        time = min(1.0, (step - begin) / max(1, total - begin))  # 0 at the start of the curve, 1 at its end
        match schedule.schedule:
            case "constant":
                return peak
            case "step":
                return float(peak * schedule.gamma ** drops(step))
            case "exponential":
                return float(peak * schedule.gamma ** (step / every))
            case "cosine":
                return schedule.final_lr + (peak - schedule.final_lr) * (1 + math.cos(math.pi * time)) / 2
            case "polynomial":
                return float(schedule.final_lr + (peak - schedule.final_lr) * (1 - time) ** schedule.power)

    def at(step: int) -> float:
        if schedule.schedule_per == "epoch":
            step -= step % steps_per_epoch
        if step < warmup:
            rise = schedule.warmup_from + (1 - schedule.warmup_from) * step / warmup
            return peak * max(schedule.warmup_least, rise)
        return peak if step < fall else after_warmup(step)

    return at


def _steps(text: str, name: str, recipe: Recipe, steps_per_epoch: int) -> int:
    return Duration.parse(text, name).steps(steps_per_epoch, total_steps(recipe, steps_per_epoch))
