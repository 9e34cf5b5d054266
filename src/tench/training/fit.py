"""Train: the loop, read top to bottom, and what it needs around it."""

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tench.data.source import Source, name_of
from tench.data.table import Table
from tench.errors import TenchError, UsageError
from tench.evaluation.evaluate import Metrics, evaluation_order, measure
from tench.input.device import on_device
from tench.input.on_batch import OnBatch
from tench.input.order import Order
from tench.input.views import View
from tench.machine import choose_device, num_threads
from tench.models import create, stem_note
from tench.run import BAD_IMAGES, CHECKPOINT, RECIPE, Run, environment, remembered_data
from tench.training.live import Live
from tench.training.plan import (
    Batches,
    Data,
    open_batches,
    open_data,
    per_channel,
    require_sizes,
    resolve,
    resolve_memory_format,
)
from tench.training.recipe import Recipe
from tench.training.recipe_check import validate
from tench.training.recipe_file import load_recipe
from tench.training.recipe_views import eval_view, on_batch, train_view
from tench.training.schedule import learning_rate
from tench.training.state import State, memory_format, new_state
from tench.training.step import read_totals, train_step
from tench.training.stopping import StoppedError, stop_signals
from tench.training.tensorboard import require_tensorboard, tensorboard
from tench.weights.own import ModelCard, Normalise, save

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True)
class Options:
    """What does not change the numbers: where and how to compute, and how often to tell and save.

    threads: of the loader, 0 means one per core. log_every: steps. save_every_seconds: a checkpoint within an epoch;
    there is always one at its end. tensorboard: write the log for TensorBoard too.
    """

    device: str = "auto"
    threads: int = 0
    log_every: int = 100
    save_every_seconds: float = 600.0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.tensorboard:
            require_tensorboard()
        num_threads(self.threads)
        if self.log_every < 1:
            raise UsageError(f"There are to be {self.log_every} steps between log lines; 1 or more are expected.")
        if not self.save_every_seconds >= 0:
            raise UsageError(
                f"A checkpoint every {self.save_every_seconds:g} seconds cannot be; name 0 (each step) or more."
            )


def fit(
    source: Source | None = None,
    *,
    val: str | Path | None = None,
    recipe: Recipe | None = None,
    run: str | Path | None = None,
    options: Options | None = None,
) -> Run:
    """Train a classifier on a source; return its run directory.

    source: a path or name, or several that make one set; None means the digits, or what the run in `run` was begun
    with. val: another source to validate on. recipe: None means `digits` for the digits, the run's own for a run
    already begun, else the defaults. run: a directory, or None for a new one under runs/. A run already begun there is
    continued; when it is finished nothing happens. Raises UsageError when it was begun with another recipe or dataset,
    TenchError when the data or the machine stop the training, StoppedError on Ctrl-C or SIGTERM.
    """
    options = options or Options()
    begun = None if run is None else remembered_data(run)
    if recipe is None:
        recipe = default_recipe(run, source)
    if source is None:
        source, val = (begun["source"], val or begun["val"]) if begun else ("digits", val)
    validate(recipe)
    device = choose_device(options.device)
    data = open_data(source, None if val is None else str(val), recipe.input, threads=options.threads)
    directory = Run.at(run)
    try:
        with directory.lock():
            if directory.exists:
                recipe = _same_run(directory, recipe, data)
            _train(directory, recipe, data, device, options)
            return directory
    finally:
        if run is None and not directory.exists:
            directory.discard()


def default_recipe(run: str | Path | None, source: Source | None) -> Recipe:
    """The recipe where none is named: the run's own if it was begun, `digits` for the digits, else the defaults."""
    if run is not None and Run(Path(run)).exists:
        return load_recipe(str(Path(run) / RECIPE))
    return load_recipe("digits") if source is None or str(source) == "digits" else Recipe()


def _train(run: Run, recipe: Recipe, data: Data, device: torch.device, options: Options) -> None:
    """Set everything up, begin or resume the run, and go through the epochs."""
    recipe = resolve(recipe, data.train, device)
    torch.manual_seed(recipe.training.seed)
    channels, image_size = recipe.input.channels, recipe.input.image_size
    assert channels != "auto"
    assert image_size != "auto"
    module = create(recipe.model.arch, num_classes=len(data.classes), image_size=image_size, channels=channels)
    recipe = resolve_memory_format(recipe, module)
    require_sizes(module, recipe)
    card = ModelCard(
        arch=recipe.model.arch,
        classes=data.classes,
        channels=channels,
        image_size=image_size,
        eval_resize=eval_view(recipe).resize,
        interpolation=recipe.input.interpolation,
        mean=recipe.input.mean,
        std=recipe.input.std,
        channel_order=recipe.input.channel_order,
        trained_on=data.facts,
    )
    order = Order(
        num_rows=len(data.train),
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
        repeats=recipe.input.repeats,
        pieces=data.train.pieces(),
    )
    state = new_state(module, recipe, device)
    if saved := run.load_checkpoint() if run.exists else None:
        state.load(saved, recipe.model.arch, str(run.folder / CHECKPOINT))
        if state.epochs == recipe.training.epochs:
            best = f", best val top-1 {state.best['top1']:.2%}" if state.best else ""
            _log.info("%s: this run is finished (%d epochs%s).", run.folder, recipe.training.epochs, best)
            return
        total_steps = recipe.training.epochs * order.steps_per_epoch
        _log.info("%s: continuing after step %d of %d.", run.folder, state.step, total_steps)
    else:
        if data.bad_images:
            run.write_json(BAD_IMAGES, data.bad_images)
        run.begin(recipe.to_yaml(), environment() | {"device": str(device), "data": data.facts}, data.classes.to_json())
    run.forget_after(state.step, state.epochs)
    _describe(run, recipe, data, card, module, device)

    lr_at = learning_rate(recipe, order.steps_per_epoch)
    view = recipe.input
    normalise = Normalise(view.mean, view.std, device, memory_format(recipe), view.channel_order)
    augment = on_batch(recipe, order, len(data.classes))
    live = Live(recipe.training.epochs, order.steps_per_epoch)
    with contextlib.ExitStack() as stack:
        stop_asked = stack.enter_context(stop_signals())
        if options.tensorboard:
            run = stack.enter_context(tensorboard(run, state.step))

        def batches_of(table: Table, view: View, order: Order) -> Batches:
            batches = open_batches(table, view, order, channels=channels, device=device, threads=options.threads)
            stack.callback(batches.close)
            return batches

        train = batches_of(data.train, train_view(recipe, state.epochs), order)
        val = batches_of(data.val, eval_view(recipe), evaluation_order(data.val, recipe.training.batch_size))
        for epoch in range(state.epochs, recipe.training.epochs):
            if train.view != (wanted := train_view(recipe, epoch)):  # training images grow: a loader for each size
                train.close()
                train = batches_of(data.train, wanted, order)
            _train_epoch(run, recipe, state, train, epoch, lr_at, normalise, augment, options, stop_asked, live)
            with live.validation(len(data.val)) as counted:
                metrics = measure(state.module, counted(val.batches(epoch=0)), len(data.val), normalise)
            _finish_epoch(run, recipe, state, card, epoch, metrics, data.val_name, lr_at(state.step - 1))


def _train_epoch(
    run: Run,
    recipe: Recipe,
    state: State,
    train: Batches,
    epoch: int,
    lr_at: Callable[[int], float],
    normalise: Normalise,
    augment: OnBatch,
    options: Options,
    stop_asked: Callable[[], bool],
    live: Live,
) -> None:
    """The steps of one epoch that are left to take."""
    first = state.step - epoch * train.steps_per_epoch
    state.module.train()
    saved_at = logged_at = time.monotonic()
    num_images, waited = 0, 0.0  # since the last log line
    size = min(recipe.training.batch_size, train.order.num_rows)
    with live.epoch(epoch, first, size) as line:
        batches = on_device(train.batches(epoch, first), state.totals.device)
        for _ in range(first, train.steps_per_epoch):
            asked = time.monotonic()
            batch = next(batches)
            waited_now = time.monotonic() - asked
            waited += waited_now
            lr = lr_at(state.step)
            train_step(state, batch, lr, recipe, normalise, augment)
            state.step += 1
            num_images += len(batch.rows)
            line.step(len(batch.rows), lr, waited_now)
            now = time.monotonic()
            if state.step % options.log_every == 0:
                loss, top1, _ = read_totals(state)  # waits for the device
                line.measured(loss, top1)
                now = time.monotonic()
                run.log(
                    kind="step",
                    step=state.step,
                    epoch=epoch + 1,
                    lr=lr,
                    train_loss=loss,
                    train_top1=top1,
                    images_per_second=num_images / (now - logged_at),
                    wait_share=waited / (now - logged_at),
                )
                logged_at, num_images, waited = now, 0, 0.0
            stop = stop_asked()  # once: a signal between saving and stopping waits for the next step
            if stop or now - saved_at > options.save_every_seconds:
                read_totals(state)
                run.save_checkpoint(state.to_dict(recipe.model.arch))
                saved_at = now
            if stop:
                raise StoppedError(
                    f"Stopped after step {state.step}; a checkpoint is saved. "
                    f"Continue with: tench train --run {run.folder}"
                )
    read_totals(state)


def _finish_epoch(
    run: Run, recipe: Recipe, state: State, card: ModelCard, epoch: int, metrics: Metrics, val_name: str, lr: float
) -> None:
    """Log the epoch, keep the best weights, save all that resuming needs."""
    loss, top1, images = read_totals(state)
    if not math.isfinite(metrics.loss):
        raise TenchError(
            f"{run.folder}: the validation loss after epoch {epoch + 1} is not finite. "
            "Nothing of this epoch was saved. Try a lower learning rate or --precision fp32."
        )
    _refuse_chance(metrics, top1, images, val_name, 0.0 if state.best is None else state.best["top1"])
    if state.best is None or (metrics.top1, -metrics.loss) > (state.best["top1"], -state.best["loss"]):
        state.best = {"epoch": epoch + 1, "top1": metrics.top1, "top5": metrics.top5, "loss": metrics.loss}
        save(run.folder, state.module, dataclasses.replace(card, metrics=state.best))
    state.count_seconds()
    run.log(
        kind="epoch",
        step=state.step,
        epoch=epoch + 1,
        lr=lr,
        train_loss=loss,
        train_top1=top1,
        val_loss=metrics.loss,
        val_top1=metrics.top1,
        val_top5=metrics.top5,
        val_images=metrics.images,
        seconds=state.seconds,
    )
    run.write_table()
    state.totals.zero_()
    state.epochs = epoch + 1
    run.save_checkpoint(state.to_dict(recipe.model.arch))
    _log.info(
        "epoch %*d/%d  loss %.4f  top-1 %6.2f %%   val loss %.4f  val top-1 %6.2f %%  (%d images)  lr %.4g  %.1f s",
        len(str(recipe.training.epochs)),
        epoch + 1,
        recipe.training.epochs,
        loss,
        100 * top1,
        metrics.loss,
        100 * metrics.top1,
        metrics.images,
        lr,
        state.seconds,
    )


def _refuse_chance(metrics: Metrics, train_top1: float, train_images: int, val_name: str, best_top1: float) -> None:
    """Stop when the network knows the training images while the validation ones are at chance: labels do not match.

    At chance: within three standard deviations of guessing by the most frequent class, now and in every epoch before.
    Of fewer than 100 images that says nothing.
    """
    largest = max(count for count, _ in metrics.per_class) / metrics.images
    deviation = math.sqrt(largest * (1 - largest) / metrics.images)
    knows_training = train_top1 > 0.5 and train_top1 > 2 * largest
    is_chance = max(metrics.top1, best_top1) < largest + 3 * deviation
    if knows_training and is_chance and len(metrics.per_class) > 2 and min(train_images, metrics.images) >= 100:
        raise TenchError(
            f"{val_name}: top-1 is {metrics.top1:.1%} on {metrics.images} images, no better than guessing "
            f"({largest:.1%}), while it is {train_top1:.1%} on the training images. The validation labels probably do "
            "not belong to the images: check the order of the label file and the class numbering (tench info SOURCE)."
        )


def _same_run(run: Run, recipe: Recipe, data: Data) -> Recipe:
    """The recipe of a run already begun; UsageError where what is asked for now differs from it."""
    stored = load_recipe(str(run.folder / RECIPE))
    known = dict(stored.leaves())
    differences = [
        f"{name} was {known[name]}, now {value}"
        for name, value in recipe.leaves()
        if value not in ("auto", known[name]) and not _fitted(name, value, known[name])
    ]
    facts = run.environment()["data"]
    differences += [
        f"{name} was {facts[name]}, now {value}"
        for name, value in data.facts.items()
        if name in ("fingerprint", "val_fingerprint", "bad_images") and value != facts.get(name)
    ]
    if differences:
        raise UsageError(
            f"{run.folder}: was begun with another recipe or dataset: {'; '.join(differences)}. "
            "Continue it with the same command, or name a new --run."
        )
    return stored


def _fitted(name: str, asked: Any, stored: Any) -> bool:
    """Whether a mean or std is stored as it was fitted to the input's channels when the run began."""
    return name in ("input.mean", "input.std") and per_channel(asked, len(stored)) == stored


def _describe(run: Run, recipe: Recipe, data: Data, card: ModelCard, module: nn.Module, device: torch.device) -> None:
    parameters = sum(parameter.numel() for parameter in module.parameters())
    _log.info("Run: %s", run.folder)
    _log.info(
        "Data: %s: %d images, %d classes; validation on %s: %d images",
        name_of(data.facts["source"]),
        len(data.train),
        len(data.classes),
        data.val_name,
        len(data.val),
    )
    _log.info(
        "Model: %s, %s parameters, %s x %s x %s input, %s %s on %s",
        recipe.model.arch,
        f"{parameters:,}",
        recipe.input.channels,
        recipe.input.image_size,
        recipe.input.image_size,
        recipe.training.precision,
        recipe.training.memory_format,
        device,
    )
    classes = len(card.classes)
    if note := stem_note(card.arch, num_classes=classes, image_size=card.image_size, channels=card.channels):
        _log.info("Stem: %s", note)
