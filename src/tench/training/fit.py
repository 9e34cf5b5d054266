"""Train: what is set up around the epochs, once for a run; the epochs themselves are in `loop`."""

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tench.data.options import NO_OPTIONS
from tench.data.source import Source, name_of
from tench.data.table import Dataset, Table
from tench.errors import TenchError, UsageError
from tench.evaluation.evaluate import evaluation_order
from tench.input.order import Order
from tench.input.views import View
from tench.machine import choose_device, memory_suffices, tune
from tench.models import stem_note
from tench.run import BAD_IMAGES, CHECKPOINT, RECIPE, Run, environment, remembered_data
from tench.training.freezing import Freezing
from tench.training.live import Live
from tench.training.loop import Loop
from tench.training.network import make_network
from tench.training.options import TrainOptions
from tench.training.plan import (
    Batches,
    Data,
    make_card,
    open_batches,
    open_data,
    per_channel,
    require_parts,
    require_sizes,
    resolve,
    try_compile,
    whiten,
)
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_file import checked, load_recipe, load_resolved
from tench.training.recipe_views import make_normalise, on_batch, test_view, train_view
from tench.training.schedule import freeze_step, is_validated, learning_rate, num_epochs, total_steps, warmup_steps
from tench.training.state import new_state
from tench.training.step import part_size
from tench.training.stopping import stop_signals
from tench.training.tensorboard import tensorboard
from tench.weights.own import ModelCard
from tench.weights.start import load_start, starting_weights

_LESS_MEMORY = (
    "--accumulate 2 puts a batch through in two parts, --recompute keeps less of each layer, -b takes a smaller batch "
    "(and wants another learning rate)."
)

_log = logging.getLogger("tench")


def fit(
    source: Source | None = None,
    *,
    val: str | Path | None = None,
    recipe: Recipe | None = None,
    run: str | Path | None = None,
    options: TrainOptions | None = None,
) -> Run:
    """Train a classifier on a source; return its run directory.

    source: a path or name, or several that make one set; None means the digits, or what the run in `run` was begun
    with. val: another source to validate on. recipe: None means `digits` for the digits, the run's own for a run
    already begun, else the defaults. run: a directory, or None for a new one under runs/. A run already begun there is
    continued; when it is finished nothing happens. Raises UsageError when it was begun with another recipe or dataset,
    TenchError when the data or the machine stop the training, StoppedError on Ctrl-C or SIGTERM.
    """
    options = options or TrainOptions()
    begun = None if run is None else remembered_data(run)
    if recipe is None:
        recipe = default_recipe(run, source)
    if source is None:
        source, val = (begun["source"], val or begun["val"]) if begun else ("digits", val)
    if isinstance(source, Dataset) and recipe.source == NO_OPTIONS:
        recipe = dataclasses.replace(recipe, source=source.options)  # so that the run opens its data the same way
    recipe = checked(recipe)
    device = choose_device(options.device)
    tune(device)
    data = open_data(source, None if val is None else str(val), recipe.input, recipe.source, threads=options.threads)
    directory = Run.at(run)
    try:
        with directory.lock():
            if directory.has_steps:
                recipe = _same_run(directory, recipe, data)
            with memory_suffices(f"Training with batches of {recipe.training.batch_size} on {device}", _LESS_MEMORY):
                _train(directory, recipe, data, device, options)
            return directory
    finally:
        if run is None and not directory.exists:
            directory.discard()


def default_recipe(run: str | Path | None, source: Source | None) -> Recipe:
    """The recipe where none is named: the run's own if it was begun, `digits` for the digits, else the defaults."""
    if run is not None and Run(Path(run)).exists:
        return load_recipe(str(Path(run) / RECIPE))
    return load_recipe("digits") if source is None or name_of(source) == "digits" else Recipe()


def _train(run: Run, asked: Recipe, data: Data, device: torch.device, options: TrainOptions) -> None:
    """Set everything up, begin or resume the run, and go through the epochs."""
    saved = run.load_checkpoint() if run.exists else None
    start = starting_weights(asked.model.weights) if asked.model.weights and saved is None else None
    recipe = resolve(asked, data.train, device, start)
    torch.manual_seed(recipe.training.seed)
    module = make_network(recipe, len(data.classes))
    require_sizes(module, recipe)
    notes = load_start(module, start, recipe.model.arch, data.classes) if start is not None else []
    card = make_card(recipe, data)
    order = Order(
        num_rows=len(data.train),
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
        drop_last=recipe.training.drop_last,
        repeats=recipe.input.repeats,
        pieces=data.train.pieces(),
    )
    epochs, steps = num_epochs(recipe), total_steps(recipe, order.steps_per_epoch)
    require_parts(module, recipe, order)
    if asked.training.compile == "auto":
        recipe = try_compile(recipe, module, device, steps)
    freeze = Freezing(module, recipe.optimizer.freeze, freeze_step(recipe, order.steps_per_epoch))
    normalise = make_normalise(recipe, device)
    if saved is None and start is None:  # before the state, for averages begin with these filters too
        whiten(module.to(device), data.train, recipe, normalise, options.threads)
    state = new_state(module, recipe, device, order.steps_per_epoch)
    if saved is not None:
        state.load(saved, recipe.model.arch, str(run.folder / CHECKPOINT))
        if state.epochs > epochs or state.step > steps:
            raise TenchError(
                f"{run.folder / CHECKPOINT}: was saved after step {state.step} and epoch {state.epochs}, but this run "
                f"has {steps} steps and {epochs} epochs. Put the run's own checkpoint back, or name a new --run."
            )
        if state.epochs == epochs:
            best = f", best val top-1 {state.best['top1']:.2%}" if state.best else ""
            _log.info("%s: this run is finished (%d epochs%s).", run.folder, epochs, best)
            return
        _log.info("%s: continuing after step %d of %d.", run.folder, state.step, steps)
    else:
        (run.folder / BAD_IMAGES).unlink(missing_ok=True)  # of other data, in a run that has learned nothing yet
        if data.bad_images:
            run.write_json(BAD_IMAGES, data.bad_images)
        run.begin(recipe.to_yaml(), environment() | {"device": str(device), "data": data.facts}, data.classes.to_json())
    run.forget_after(state.step, state.epochs)
    _describe(run, recipe, data, card, module, device, notes)
    if warmup_steps(recipe, order.steps_per_epoch) >= steps:
        _log.info("Note: the warm-up, %s, takes the whole training: its rate only rises.", recipe.schedule.warmup)

    with contextlib.ExitStack() as stack:
        stop_asked = stack.enter_context(stop_signals())
        if options.tensorboard:
            run = stack.enter_context(tensorboard(run, state.step))

        def batches_of(table: Table, view: View, order: Order) -> Batches:
            batches = open_batches(table, view, order, channels=card.channels, device=device, threads=options.threads)
            stack.callback(batches.close)
            return batches

        train = batches_of(data.train, train_view(recipe, state.epochs), order)
        val = batches_of(data.val, test_view(recipe), evaluation_order(data.val, part_size(recipe.training)))
        loop = Loop(
            run=run,
            recipe=recipe,
            state=state,
            lr_at=learning_rate(recipe, order.steps_per_epoch),
            freeze=freeze,
            normalise=normalise,
            augment=on_batch(recipe, order, len(data.classes)),
            options=options,
            stop_asked=stop_asked,
            live=Live(recipe, order.steps_per_epoch),
        )
        for epoch in range(state.epochs, epochs):
            if train.view != (wanted := train_view(recipe, epoch)):  # training images grow: a loader for each size
                train.close()
                train = batches_of(data.train, wanted, order)
            loop.train_epoch(train, epoch)
            loop.finish_epoch(epoch, card, loop.validate(val) if is_validated(recipe, epoch) else None, data.val_name)


def _same_run(run: Run, recipe: Recipe, data: Data) -> Resolved:
    """The recipe of a run already begun; UsageError where what is asked for now differs from it."""
    stored = load_resolved(run.folder / RECIPE)
    known = dict(stored.leaves())
    differences = [
        f"{name} was {known[name]}, now {value}"
        for name, value in recipe.leaves()
        if value not in ("auto", known[name]) and not _settled(name, value, known[name], stored)
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


def _settled(name: str, asked: Any, value: Any, stored: Recipe) -> bool:
    """Whether the stored value is what was asked for, as it was settled when the run began.

    A mean or std was fitted to the input's channels; strides and blurpool came with the weights.
    """
    if name in ("input.mean", "input.std"):
        return bool(per_channel(asked, len(value)) == value)
    came_along = (name, asked) in (("model.strides", "own"), ("model.blurpool", False))
    return came_along and bool(stored.model.weights)


def _describe(
    run: Run, recipe: Resolved, data: Data, card: ModelCard, module: nn.Module, device: torch.device, notes: list[str]
) -> None:
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
    size = {"image_size": card.image_size, "channels": card.channels}
    if note := stem_note(card.arch, num_classes=len(card.classes), options=card.options, **size):
        _log.info("%s", note)
    for note in notes:
        _log.info("Weights: %s", note)
