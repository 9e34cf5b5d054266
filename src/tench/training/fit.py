"""Train a classifier: everything that is set up once per run. The epochs are in `loop`."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn

from tench.arguments import checked_arguments
from tench.data import exif
from tench.data.options import NO_OPTIONS
from tench.data.source import Source, name_of
from tench.data.table import Dataset, Table
from tench.errors import TenchError, UsageError, counted
from tench.evaluation.measure import evaluation_order
from tench.files import shell_command, user_path
from tench.input.augment import OwnPolicy
from tench.input.order import Order
from tench.input.views import View
from tench.machine import choose_device, memory_suffices, tune
from tench.models import stem_note
from tench.models.mxnet.graph import Graph, read_graph
from tench.models.mxnet.symbol import SymbolNetwork, builder_of
from tench.models.own_network import OwnNetwork, checked_network, is_own
from tench.own_code import errors_name
from tench.progress import messages_shown
from tench.run import BAD_IMAGES, Run, environment, remembered_data
from tench.training.callbacks import Callback, require_callbacks
from tench.training.duration import Duration
from tench.training.freezing import Freezing
from tench.training.live import Live
from tench.training.loop import Loop
from tench.training.loss import Loss, recipe_loss
from tench.training.network import make_network
from tench.training.options import TrainOptions
from tench.training.own_parts import (
    BatchAugment,
    CheckedAugment,
    CheckedLoss,
    OwnParts,
    Policy,
    continue_with,
    named_model,
    require_loss,
    settle,
)
from tench.training.plan import (
    Batches,
    Data,
    make_card,
    open_batches,
    open_data,
    own_memory_format,
    require_parts,
    require_sizes,
    resolve,
    train_order,
    try_compile,
    whiten,
)
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_file import as_recipe, checked, load_recipe
from tench.training.recipe_views import make_normalise, on_batch, test_view, train_view
from tench.training.resume import automatic, how_to_train_on, replan, same_recipe
from tench.training.schedule import freeze_step, is_validated, learning_rate, num_epochs, total_steps, warmup_steps
from tench.training.state import new_state
from tench.training.step import part_size
from tench.training.stopping import stop_signals
from tench.training.tensorboard import tensorboard
from tench.weights.images import Recorder
from tench.weights.known import Start
from tench.weights.own import ModelCard, write_graph
from tench.weights.recognise import CHECKPOINT, GRAPH, RECIPE
from tench.weights.start import load_start, starting_weights

_LESS_MEMORY = (
    "--accumulate 2 splits each batch into two forward passes, --recompute keeps fewer activations, and -b sets a "
    "smaller batch (which needs another learning rate)."
)

_log = logging.getLogger("tench")


@checked_arguments("recipe", "model", "loss", "policy", "augment", "callbacks")
def fit(
    source: Source | None = None,
    recipe: Recipe | str | Path | None = None,
    *,
    val: str | Path | None = None,
    run: str | Path | None = None,
    options: TrainOptions | None = None,
    model: OwnNetwork | None = None,
    loss: Loss | None = None,
    policy: Policy | None = None,
    augment: BatchAugment | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a classifier on a source and return its run directory.

    source: a path or name, an open dataset, or several paths that make one dataset. None means the handwritten digits,
    or the source of the run in `run`. val: another source to validate on. recipe: a recipe, or the name or file of one.
    None means `digits` for the digits, the stored recipe for a run that has begun, else the defaults. run: a directory,
    or None for a new one under runs/. A run that has begun there is continued; if it is finished, nothing happens.

    The next four are your own code, used instead of what the recipe names.

    model: a torch.nn.Module, which is trained in place, or a function or class that makes one. A function or class is
    called with the keyword argument num_classes, and with image_size and channels if it has parameters of these names.
    Images are normalised, (B, channels, image_size, image_size) float32; the output is logits (B, num_classes).

    loss: a function of logits (B, K) float32 and targets that returns a scalar tensor, the mean over the images. The
    targets are labels (B,) int64 or, if the recipe mixes images, class shares (B, K) float32. The recipe must not set
    another loss or label smoothing. Validation still reports the cross-entropy.

    policy: a function of one training image after its crop, (H, W, C) uint8, and a numpy.random.Generator that returns
    an image of the same shape and type. It runs in the loader's threads. The generator is seeded with (seed, epoch,
    row); use no other random numbers.

    augment: a function of a batch on the device that returns both its arguments, modified. They are images (B, C, H, W)
    float32, normalised, after the recipe's own erasing and mixing, and targets as above. The network gets exactly what
    the function returns. torch's generator is seeded with (seed, step) before each step; use no other random numbers.

    The run stores the code's name, package.module:function. Code without a name (a lambda, a module object, a function
    in a notebook) must be passed again to continue or load the run.

    callbacks: functions that are called after every epoch with an `EpochEnd`. One that raises `StopTraining` ends the
    training cleanly. An error in a callback is raised once the epoch's checkpoint is saved.

    Raises UsageError if the run was begun with another recipe or dataset, TenchError if the data, the user's code or
    the machine stops the training, and StoppedError after Ctrl-C or SIGTERM, once a checkpoint is saved. If logging is
    not configured, messages are printed as `tench train` prints them. Works in any thread, but Ctrl-C reaches only the
    main one.

    >>> recipe = tench.load_recipe("digits").replace(epochs=1)
    >>> run = tench.fit("digits", recipe, run="runs/mine")
    >>> [line["epoch"] for line in run.metrics("epoch")]
    [1]
    """
    with messages_shown():
        own = OwnParts(model, loss, policy, augment)
        return _fit(source, recipe, val, run, options or TrainOptions(), own, callbacks)


def _fit(
    source: Source | None,
    recipe: Recipe | str | Path | None,
    val: str | Path | None,
    folder: str | Path | None,
    options: TrainOptions,
    own: OwnParts,
    callbacks: Sequence[Callback],
) -> Run:
    require_callbacks(callbacks)
    folder = None if folder is None else user_path(folder)
    begun = None if folder is None else remembered_data(folder)
    where = f"{folder}/{RECIPE}" if begun else "recipe"
    if recipe is None:
        recipe = default_recipe(folder, source)
    elif not isinstance(recipe, Recipe):
        where, recipe = str(recipe), as_recipe(recipe)
    if source is None:
        source, val = (_still_there(begun["source"], folder), val or begun["val"]) if begun else ("digits", val)
    if isinstance(source, Dataset) and recipe.source == NO_OPTIONS:
        recipe = dataclasses.replace(recipe, source=source.options)  # so that the run opens its data the same way
    recipe, own = settle(recipe, own, where, trust_code=options.trust_code)
    recipe = checked(recipe)
    device = choose_device(options.device)
    tune(device)
    data = open_data(source, None if val is None else str(val), recipe.input, recipe.source, threads=options.threads)
    run = Run.at(folder)
    try:
        with run.lock():
            if run.has_steps:
                recipe = same_recipe(run, recipe, data)
                run.remember_data(data.facts)
            with memory_suffices(f"Training with batches of {recipe.training.batch_size} on {device}", _LESS_MEMORY):
                _train(run, recipe, data, device, options, own, callbacks)
            return run
    finally:
        if folder is None and not run.exists:
            run.discard()


def default_recipe(run: str | Path | None, source: Source | None) -> Recipe:
    """The recipe if none is given: that of a run that has begun, `digits` for the digits, else the defaults."""
    if run is not None and Run(user_path(run)).exists:
        return load_recipe(str(user_path(run) / RECIPE))
    return load_recipe("digits") if source is None or name_of(source) == "digits" else Recipe()


def _still_there(source: str | list[str], run: Path | None) -> str | list[str]:
    """The source of a run. Raises UsageError if it was a path that no longer exists."""
    for one in [source] if isinstance(source, str) else source:
        if os.path.isabs(one) and not os.path.exists(one):
            raise UsageError(
                f"{one}: the dataset of the run in {run} no longer exists. If it has moved, give its new location: "
                f"{shell_command('tench', 'train', 'NEW_PLACE', '--run', run)}"
            )
    return source


def _train(
    run: Run,
    asked: Recipe,
    data: Data,
    device: torch.device,
    options: TrainOptions,
    own: OwnParts,
    callbacks: Sequence[Callback],
) -> None:
    """Set everything up, begin or continue the run, and train the epochs."""
    saved = run.load_checkpoint() if run.exists else None
    start = starting_weights(asked.model.weights) if asked.model.weights and saved is None else None
    recipe = resolve(asked, data.train, device, start, exif=data.exif)
    data = data.oriented(recipe.input.exif)
    num_classes = len(data.classes)
    graph = _graph(run, recipe, start)
    own_model = own.model or named_model(recipe, recipe.model.weights, trust_code=options.trust_code)
    if own_model is None and graph is not None:
        own_model = builder_of(graph)
    torch.manual_seed(recipe.training.seed)
    module = make_network(recipe, num_classes, own_model)
    if own_model is not None and asked.training.memory_format == "auto":
        recipe = recipe.replace(memory_format=own_memory_format(module, recipe))
    require_sizes(module, recipe)
    notes = load_start(module, start, recipe.model.arch, data.classes) if start is not None else []
    card = make_card(recipe, data, graph)
    order = train_order(recipe, data.train)
    epochs, steps = num_epochs(recipe), total_steps(recipe, order.steps_per_epoch)
    require_parts(module, recipe, order)
    freeze = Freezing(module, recipe.optimizer.freeze, freeze_step(recipe, order.steps_per_epoch))
    augment = on_batch(recipe, order, num_classes)
    if own.loss is not None:
        require_loss(own.loss, num_classes, device, mixed=augment.mix is not None)
    loss_of = recipe_loss(recipe.training) if own.loss is None else CheckedLoss(own.loss)
    if saved is None:
        _describe(run, recipe, data, card, module, device, notes)
        if asked.training.compile == "auto":
            recipe = try_compile(recipe, module, device, steps, loss_of)
    normalise = make_normalise(recipe, device)
    if saved is None and start is None:  # before the state is made: averages start from these filters too
        whiten(module.to(device), data.train, recipe, normalise, options.threads)
    state = new_state(module, recipe, device, order.steps_per_epoch)
    state.forward = checked_network(state.forward, recipe.model.arch, num_classes)
    if saved is not None:
        state.load(saved, recipe.model.arch, str(run.folder / CHECKPOINT))
        replan(run, recipe, state.step, state.epochs, order.steps_per_epoch)
        if state.epochs > epochs or state.step > steps:
            raise TenchError(
                f"{run.folder / CHECKPOINT} was saved after step {state.step} and epoch {state.epochs}, but this run "
                f"has {counted(steps, 'step')} and {counted(epochs, 'epoch')}. Restore the run's own checkpoint, or "
                "name a new --run."
            )
        if state.epochs == epochs:
            best = f", best val top-1 {state.best['top1']:.2%}" if state.best else ""
            _log.info("%s: this run is finished (%s%s).", run.folder, counted(epochs, "epoch"), best)
            more = how_to_train_on(run, recipe, state.step, state.epochs, order.steps_per_epoch)
            _log.info("To train it for longer: %s", more)
            return
        _log.info("%s: continuing after step %d of %d.", run.folder, state.step, steps)
        _describe(run, recipe, data, card, module, device, notes)
    else:
        (run.folder / BAD_IMAGES).unlink(missing_ok=True)  # left over from a run that was killed before its first step
        if data.bad_images:
            run.write_json(BAD_IMAGES, data.bad_images)
        facts = {"device": str(device), "auto": automatic(run, asked), "data": data.facts}
        if graph is not None:
            write_graph(run.folder, graph)
        run.begin(recipe.to_yaml(), environment() | facts, data.classes.to_json())
    run.forget_after(state.step, state.epochs)
    if warmup_steps(recipe, order.steps_per_epoch) >= steps:
        _log.info(
            "Note: the warm-up (%s) is at least as long as the training, so the learning rate only rises.",
            Duration.parse(recipe.schedule.warmup, "schedule.warmup"),
        )

    with contextlib.ExitStack() as stack:
        stop_asked = stack.enter_context(stop_signals())
        if options.tensorboard:
            run = stack.enter_context(tensorboard(run, state.step))
        policy = None if own.policy is None else OwnPolicy(own.policy)

        def batches_of(table: Table, view: View, order: Order) -> Batches:
            batches = open_batches(table, view, order, channels=card.channels, device=device, threads=options.threads)
            stack.callback(batches.close)
            return batches

        images = Recorder(run.folder, data.train, data.val, data.facts["fingerprint"])
        train = batches_of(images.trained_on, train_view(recipe, state.epochs, policy), order)
        val = batches_of(images.held_out, test_view(recipe), evaluation_order(data.val, part_size(recipe.training)))
        loop = Loop(
            run=run,
            recipe=recipe,
            num_classes=num_classes,
            state=state,
            lr_at=learning_rate(recipe, order.steps_per_epoch),
            freeze=freeze,
            normalise=normalise,
            augment=augment if own.augment is None else CheckedAugment(own.augment, num_classes, augment),
            loss_of=loss_of,
            step_errors=nullcontext if own_model is None else partial(errors_name, recipe.model.arch, "trained"),
            options=options,
            stop_asked=stop_asked,
            live=Live(recipe, order.steps_per_epoch),
            images=images,
            callbacks=callbacks,
            continue_with=continue_with(run, recipe, callbacks),
        )
        for epoch in range(state.epochs, epochs):
            wanted = train_view(recipe, epoch, policy)
            if train.view != wanted:  # progressive resizing: each size has its own loader
                train.close()
                train = batches_of(images.trained_on, wanted, order)
            loop.train_epoch(train, epoch)
            metrics = loop.validate(val) if is_validated(recipe, epoch) else None
            if loop.finish_epoch(epoch, card, metrics, data.val_name):
                return


def _graph(run: Run, recipe: Resolved, start: Start | None) -> Graph | None:
    """MXNet's graph of the network, if that is its only description: from its weights, or from the run."""
    if recipe.model.arch != SymbolNetwork.ARCH:
        return None
    return read_graph(run.folder / GRAPH) if start is None else start.graph


def _describe(
    run: Run, recipe: Resolved, data: Data, card: ModelCard, module: nn.Module, device: torch.device, notes: list[str]
) -> None:
    parameters = sum(parameter.numel() for parameter in module.parameters())
    _log.info("Run: %s", run.folder)
    _log.info(
        "Data: %s: %s, %s; validation on %s: %s",
        name_of(data.facts["source"]),
        counted(len(data.train), "image"),
        f"{len(data.classes):,} class{'' if len(data.classes) == 1 else 'es'}",
        data.val_name,
        counted(len(data.val), "image"),
    )
    if orientation := exif.sentence(data.train, card.exif):
        _log.info("%s", orientation)
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
    if not is_own(card.arch) and card.graph is None:
        size = {"image_size": card.image_size, "channels": card.channels}
        if note := stem_note(card.arch, num_classes=len(card.classes), options=card.options, **size):
            _log.info("%s", note)
    for note in notes:
        _log.info("Weights: %s", note)
