"""Whether the values of a recipe are valid, each within its bounds and all of them together; checked once, before any
other use."""

import dataclasses
import itertools
import math
import typing
from collections.abc import Iterator
from typing import Any

from tench.errors import UsageError
from tench.input.augment import named_policy
from tench.input.mxnet_augment import mxnet_augment
from tench.own_code import names_code
from tench.plain import shown
from tench.training.bounds import broken, describe
from tench.training.recipe import SECTIONS, Input, Optimizer, Recipe

Check = tuple[bool, str, Any, str]
"""Whether a rule holds, the name of the value to change, the value, and what it must be."""


def validate(recipe: Recipe, where: str = "recipe") -> None:
    """Raise UsageError for the first invalid value, with the values that are valid."""
    recipe.source.check()
    for holds, name, value, expected in itertools.chain(_bounds(recipe), _together(recipe)):
        if not holds:
            raise UsageError(f"{where}: {name} must be {expected}, got {shown(value)}.")
    try:
        if not names_code(recipe.augment.policy):
            named_policy(recipe.augment.policy)
    except UsageError as error:
        raise UsageError(f"{where}: augment.policy is {error}") from error
    if recipe.input.train_view == "mxnet":
        _check_mxnet(recipe.input, where)


def _bounds(recipe: Recipe) -> Iterator[Check]:
    """Each value against the bounds declared with its field."""
    for section, kind in SECTIONS.items():
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            name, value = f"{section}.{field.name}", getattr(getattr(recipe, section), field.name)
            yield _is_finite(value), name, value, "finite"
            yield not broken(value, hints[field.name]), name, value, describe(hints[field.name])


def _check_mxnet(view: Input, where: str) -> None:
    try:
        augment = mxnet_augment(1, view.mxnet_level, view.mxnet_parameters)
    except UsageError as error:
        raise UsageError(f"{where}: input.mxnet_parameters: {error}") from error
    if view.channels == 1 and augment.needs_colour:
        raise UsageError(
            f"{where}: input.mxnet_level is {view.mxnet_level}, which changes colours, but the input is grey. Use a "
            'level without colour changes ("1", "cifar10"), or set them to 0 in mxnet_parameters.'
        )


def _together(recipe: Recipe) -> Iterator[Check]:
    """Values that contradict each other, or that have no effect in combination."""
    view, mix, optimizer, schedule, training = (
        recipe.input,
        recipe.mix,
        recipe.optimizer,
        recipe.schedule,
        recipe.training,
    )
    yield training.accumulate <= training.batch_size, "training.accumulate", training.accumulate, "at most batch_size"
    for name, alpha in (("mix.mixup", mix.mixup), ("mix.cutmix", mix.cutmix)):
        yield not alpha or training.batch_size > 1, name, alpha, "0 with a batch_size of 1"
    yield (
        mix.mix_mode == "batch" or mix.mix_form == "timm",
        "mix.mix_mode",
        mix.mix_mode,
        "batch unless mix_form is timm",
    )
    yield (
        not optimizer.nesterov or optimizer.momentum > 0,
        "optimizer.momentum",
        optimizer.momentum,
        "above 0 with nesterov",
    )
    is_sgd = optimizer.optimizer == "sgd"
    yield not optimizer.lr_inside or is_sgd, "optimizer.lr_inside", optimizer.lr_inside, "false unless optimizer is sgd"
    is_muon = optimizer.optimizer == "muon"
    yield not is_muon or optimizer.norm_bias_lr == 1, "optimizer.norm_bias_lr", optimizer.norm_bias_lr, "1 with muon"
    own_rule = optimizer.decay == Optimizer().decay
    yield not is_muon or own_rule, "optimizer.decay", optimizer.decay, "left out with muon, which has its own rule"
    logs = optimizer.optimizer != "lamb" or min(optimizer.betas) > 0
    yield logs, "optimizer.betas", optimizer.betas, "2 numbers, each above 0, with lamb"
    yield schedule.final_lr <= optimizer.lr, "schedule.final_lr", schedule.final_lr, f"at most lr ({optimizer.lr})"
    smoothed = names_code(training.loss) and training.label_smoothing > 0
    yield not smoothed, "training.label_smoothing", training.label_smoothing, "0 with a loss of your own"
    is_bce = training.loss == "bce"
    yield is_bce or not training.bce_threshold, "training.bce_threshold", training.bce_threshold, "0 unless loss is bce"
    both = training.compile == "on" and training.recompute
    yield not both, "training.compile", training.compile, "auto or off with recompute, which cannot be compiled"
    yield from _sizes(view)
    alternates = view.flip_form == "alternate"
    yield not alternates or view.train_view != "mxnet", "input.flip_form", view.flip_form, "random with mxnet"
    is_rgb = view.channel_order != "bgr" or view.channels != 1
    yield is_rgb, "input.channel_order", view.channel_order, "rgb with one channel"


def _sizes(view: Input) -> Iterator[Check]:
    """Image sizes that contradict each other."""
    ramp = view.ramp_epochs
    if view.train_size != "auto":
        if view.ramp_from != "auto":
            fits = view.ramp_from <= view.train_size
            yield fits, "input.ramp_from", view.ramp_from, f"at most train_size ({view.train_size})"
        fits = view.train_view != "resize-crop" or view.train_size <= view.short_side[0]
        yield (
            fits,
            "input.short_side",
            view.short_side,
            f"2 numbers, each at least train_size ({view.train_size}), with resize-crop",
        )
    grows = view.ramp_from not in ("auto", view.train_size)
    yield ramp[1] > 0 or not grows, "input.ramp_epochs", ramp, "the epochs of the ramp if ramp_from is given"
    yield ramp[1] == 0 or view.ramp_from != "auto", "input.ramp_from", view.ramp_from, "a size if ramp_epochs are given"
    if view.image_size != "auto" and view.eval_resize != "auto":
        enough = view.eval_resize > view.image_size or view.test_time != "ten-crop"
        yield enough, "input.eval_resize", view.eval_resize, f"above image_size ({view.image_size}) for ten crops"
        fits = view.image_size <= view.eval_resize < 2 * view.image_size
        expected = f"at least image_size ({view.image_size}) and below twice that, or auto"
        yield fits, "input.eval_resize", view.eval_resize, expected


def _is_finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
