"""Whether the values of a recipe can be, each and together: checked once, before anything else is done with it."""

import math
from collections.abc import Iterator
from typing import Any

from tench.errors import UsageError
from tench.input.augment import named_policy
from tench.input.mxnet_augment import mxnet_augment
from tench.own_code import names_code
from tench.training.duration import Duration
from tench.training.recipe import Input, Mix, Optimizer, Recipe

Check = tuple[bool, str, Any, str]
"""Whether a value holds, its name, the value, and what it should be."""


def validate(recipe: Recipe, where: str = "recipe") -> None:
    """Raise UsageError for the first value that cannot be, saying which would do."""
    recipe.source.check()
    view, optimizer, schedule, training = recipe.input, recipe.optimizer, recipe.schedule, recipe.training
    augment, mix, model, average = recipe.augment, recipe.mix, recipe.model, recipe.average
    checks: list[Check] = [
        *((_is_finite(value), name, value, "finite") for name, value in recipe.leaves()),
        (training.epochs > 0, "training.epochs", training.epochs, "more than 0"),
        (training.batch_size >= 1, "training.batch_size", training.batch_size, "1 or more"),
        (0 <= training.label_smoothing < 1, "training.label_smoothing", training.label_smoothing, "0 to below 1"),
        (0 <= training.seed < 2**63, "training.seed", training.seed, f"0 to {2**63 - 1:,}"),
        (training.validate_every >= 1, "training.validate_every", training.validate_every, "1 or more"),
        (
            1 <= training.accumulate <= training.batch_size,
            "training.accumulate",
            training.accumulate,
            "1 to the batch size",
        ),
        (
            training.loss in ("cross-entropy", "bce") or names_code(training.loss),
            "training.loss",
            training.loss,
            "cross-entropy, bce, or package.module:function",
        ),
        (
            augment.augment_batch == "none" or names_code(augment.augment_batch),
            "augment.augment_batch",
            augment.augment_batch,
            "none, or package.module:function",
        ),
        (0 <= training.bce_threshold < 1, "training.bce_threshold", training.bce_threshold, "0 (none) to below 1"),
        (model.dropout == "own" or 0 <= model.dropout < 1, "model.dropout", model.dropout, "0 to below 1, or own"),
        (
            model.drop_path == "own" or 0 <= model.drop_path < 1,
            "model.drop_path",
            model.drop_path,
            "0 to below 1, or own",
        ),
        (model.strides == "own" or set(model.strides) <= {1, 2}, "model.strides", model.strides, "1 or 2 each, or own"),
        (
            average.average_decay == "auto" or 0 <= average.average_decay < 1,
            "average.average_decay",
            average.average_decay,
            "0 to below 1, or auto",
        ),
        (
            average.average_every == "auto" or average.average_every >= 1,
            "average.average_every",
            average.average_every,
            "1 or more, or auto",
        ),
        *_mix_checks(mix, training.batch_size),
        (optimizer.lr > 0, "optimizer.lr", optimizer.lr, "more than 0"),
        (0 <= optimizer.momentum < 1, "optimizer.momentum", optimizer.momentum, "0 to below 1"),
        (
            not optimizer.nesterov or optimizer.momentum > 0,
            "optimizer.momentum",
            optimizer.momentum,
            "more than 0 with nesterov",
        ),
        (
            not optimizer.lr_inside or optimizer.optimizer == "sgd",
            "optimizer.lr_inside",
            optimizer.lr_inside,
            "false except for sgd",
        ),
        (
            all(0 <= beta < 1 for beta in optimizer.betas),
            "optimizer.betas",
            optimizer.betas,
            "two numbers, 0 to below 1",
        ),
        (0 <= optimizer.alpha < 1, "optimizer.alpha", optimizer.alpha, "0 to below 1"),
        (optimizer.eps == "auto" or optimizer.eps >= 0, "optimizer.eps", optimizer.eps, "0 or more, or auto"),
        (optimizer.trust > 0, "optimizer.trust", optimizer.trust, "more than 0"),
        (optimizer.other_lr > 0, "optimizer.other_lr", optimizer.other_lr, "more than 0"),
        (optimizer.head_lr > 0, "optimizer.head_lr", optimizer.head_lr, "more than 0"),
        (optimizer.norm_bias_lr > 0, "optimizer.norm_bias_lr", optimizer.norm_bias_lr, "more than 0"),
        (optimizer.weight_decay >= 0, "optimizer.weight_decay", optimizer.weight_decay, "0 or more"),
        (optimizer.clip_norm >= 0, "optimizer.clip_norm", optimizer.clip_norm, "0 (no clipping) or more"),
        (0 < schedule.gamma <= 1, "schedule.gamma", schedule.gamma, "above 0 to 1"),
        (schedule.power > 0, "schedule.power", schedule.power, "more than 0"),
        (0 <= schedule.warmup_from <= 1, "schedule.warmup_from", schedule.warmup_from, "0 to 1"),
        (0 <= schedule.warmup_least <= 1, "schedule.warmup_least", schedule.warmup_least, "0 to 1"),
        (
            list(schedule.milestones) == sorted(set(schedule.milestones)) and min(schedule.milestones, default=0) >= 0,
            "schedule.milestones",
            schedule.milestones,
            "epochs, each later than the one before",
        ),
        (0 <= schedule.final_lr <= optimizer.lr, "schedule.final_lr", schedule.final_lr, "0 to the learning rate"),
        (view.image_size == "auto" or view.image_size >= 1, "input.image_size", view.image_size, "1 or more, or auto"),
        (view.train_size == "auto" or view.train_size >= 1, "input.train_size", view.train_size, "1 or more, or auto"),
        (view.ramp_from == "auto" or view.ramp_from >= 1, "input.ramp_from", view.ramp_from, "1 or more, or auto"),
        (
            view.ramp_from == "auto" or view.train_size == "auto" or view.ramp_from <= view.train_size,
            "input.ramp_from",
            view.ramp_from,
            "train_size or less",
        ),
        (
            0 <= view.ramp_epochs[0] <= view.ramp_epochs[1],
            "input.ramp_epochs",
            view.ramp_epochs,
            "two epochs, 0 <= start <= end",
        ),
        (view.ramp_multiple >= 1, "input.ramp_multiple", view.ramp_multiple, "1 or more"),
        (
            view.pad_fill == "reflect" or 0 <= view.pad_fill <= 255,
            "input.pad_fill",
            view.pad_fill,
            "0 to 255, or reflect",
        ),
        (
            view.channel_order != "bgr" or view.channels != 1,
            "input.channel_order",
            view.channel_order,
            "rgb with one channel",
        ),
        (view.pad == "auto" or view.pad >= 0, "input.pad", view.pad, "0 or more, or auto"),
        (view.repeats >= 1, "input.repeats", view.repeats, "1 or more"),
        (0 <= view.flip <= 1, "input.flip", view.flip, "0 to 1"),
        (
            0 < view.scale[0] <= view.scale[1] <= 1,
            "input.scale",
            view.scale,
            "two parts of the area, 0 < low <= high <= 1",
        ),
        (0 < view.ratio[0] <= view.ratio[1], "input.ratio", view.ratio, "two ratios, 0 < low <= high"),
        (0 < view.val_fraction < 1, "input.val_fraction", view.val_fraction, "above 0 to below 1"),
        (
            view.mean == "auto" or len(view.mean) in (1, 3),
            "input.mean",
            view.mean,
            "one number, or one for each of three channels",
        ),
        (
            view.std == "auto" or (len(view.std) in (1, 3) and all(part > 0 for part in view.std)),
            "input.std",
            view.std,
            "one number, or one for each of three channels, more than 0",
        ),
        (
            0 < view.short_side[0] < view.short_side[1]
            and (
                view.train_view != "resize-crop" or view.train_size == "auto" or view.train_size <= view.short_side[0]
            ),
            "input.short_side",
            view.short_side,
            "two lengths, 0 < low < high, of resize-crop train_size or more",
        ),
        (0 < view.stretch[0] <= view.stretch[1], "input.stretch", view.stretch, "two factors, 0 < low <= high"),
    ]
    jitter = augment.color_jitter
    checks += [
        (
            min(jitter) >= 0 and jitter[3] <= 0.5,
            "augment.color_jitter",
            jitter,
            "four numbers, 0 (none) or more, the hue at most 0.5",
        ),
        (augment.lighting >= 0, "augment.lighting", augment.lighting, "0 (none) or more"),
        (augment.cutout >= 0, "augment.cutout", augment.cutout, "0 (none) or more"),
    ]
    if view.image_size != "auto" and view.eval_resize != "auto":
        checks.append(
            (
                view.eval_resize > view.image_size or view.test_time != "ten-crop",
                "input.eval_resize",
                view.eval_resize,
                "more than image_size for ten crops",
            )
        )
        checks.append(
            (
                view.eval_resize >= view.image_size,
                "input.eval_resize",
                view.eval_resize,
                f"image_size ({view.image_size}) or more; auto goes with the size",
            )
        )
    for holds, name, value, expected in [*checks, *_together(recipe)]:
        if not holds:
            raise UsageError(f"{where}: {name} is {value}, but should be {expected}.")
    try:
        if not names_code(augment.policy):
            named_policy(augment.policy)
    except UsageError as error:
        raise UsageError(f"{where}: augment.policy is {error}") from error
    if view.train_view == "mxnet":
        _check_mxnet(view, where)
    for name, text in (
        ("schedule.warmup", schedule.warmup),
        ("schedule.hold", schedule.hold),
        ("optimizer.freeze_from", optimizer.freeze_from),
    ):
        Duration.parse(text, f"{where}: {name}")
    if Duration.parse(schedule.step_every, f"{where}: schedule.step_every").count == 0:
        raise UsageError(f"{where}: schedule.step_every is {schedule.step_every}, but should be more than 0.")


def _check_mxnet(view: Input, where: str) -> None:
    try:
        augment = mxnet_augment(1, view.mxnet_level, view.mxnet_parameters)
    except UsageError as error:
        raise UsageError(f"{where}: input.mxnet_parameters: {error}") from error
    if view.channels == 1 and augment.needs_colour:
        raise UsageError(
            f"{where}: input.mxnet_level is {view.mxnet_level}, with colour changes that grey images cannot have. Take "
            'a level without them ("1", "cifar10"), or set them to 0 in mxnet_parameters.'
        )


def _together(recipe: Recipe) -> Iterator[Check]:
    """What would have no effect, or none that is meant, beside another value."""
    view, optimizer, training, ramp = recipe.input, recipe.optimizer, recipe.training, recipe.input.ramp_epochs
    is_muon = optimizer.optimizer == "muon"
    yield not is_muon or optimizer.norm_bias_lr == 1, "optimizer.norm_bias_lr", optimizer.norm_bias_lr, "1 with muon"
    yield (
        not is_muon or optimizer.decay == Optimizer().decay,
        "optimizer.decay",
        optimizer.decay,
        "left out with muon, which has its own rule",
    )
    logs = optimizer.optimizer != "lamb" or min(optimizer.betas) > 0
    yield logs, "optimizer.betas", optimizer.betas, "two numbers above 0 to below 1 with lamb"
    yield (
        not names_code(training.loss) or not training.label_smoothing,
        "training.label_smoothing",
        training.label_smoothing,
        "0 with a loss of your own",
    )
    is_bce = training.loss == "bce"
    yield (
        is_bce or not training.bce_threshold,
        "training.bce_threshold",
        training.bce_threshold,
        "0 but with the loss bce",
    )
    grows = view.ramp_from not in ("auto", view.train_size)
    yield ramp[1] > 0 or not grows, "input.ramp_epochs", ramp, "the epochs of the ramp, where ramp_from is given"
    yield (
        ramp[1] == 0 or view.ramp_from != "auto",
        "input.ramp_from",
        view.ramp_from,
        "a size, where ramp_epochs are given",
    )
    alternates = view.flip_form == "alternate"
    yield not alternates or view.train_view != "mxnet", "input.flip_form", view.flip_form, "random with mxnet"
    both = training.compile == "on" and training.recompute
    yield not both, "training.compile", training.compile, "auto or off with recompute, which cannot be compiled"


def _mix_checks(mix: Mix, batch_size: int) -> list[Check]:
    lone = batch_size == 1
    return [
        *(
            (alpha >= 0 and not (alpha and lone), f"mix.{name}", alpha, "0 with a batch of 1" if lone else "0 or more")
            for name, alpha in (("mixup", mix.mixup), ("cutmix", mix.cutmix))
        ),
        (0 <= mix.mix_prob <= 1, "mix.mix_prob", mix.mix_prob, "0 to 1"),
        (0 <= mix.mix_switch <= 1, "mix.mix_switch", mix.mix_switch, "0 to 1"),
        (mix.mix_mode == "batch" or mix.mix_form == "timm", "mix.mix_mode", mix.mix_mode, "batch, or mix_form timm"),
        (0 <= mix.erasing <= 1, "mix.erasing", mix.erasing, "0 to 1"),
        (
            0 < mix.erasing_area[0] <= mix.erasing_area[1] <= 1,
            "mix.erasing_area",
            mix.erasing_area,
            "two parts of the area, 0 < low <= high <= 1",
        ),
        (
            0 < mix.erasing_ratio[0] <= mix.erasing_ratio[1],
            "mix.erasing_ratio",
            mix.erasing_ratio,
            "two ratios, 0 < low <= high",
        ),
        (mix.erasing_count >= 1, "mix.erasing_count", mix.erasing_count, "1 or more"),
    ]


def _is_finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
