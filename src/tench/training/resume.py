"""Continue a run: recipe and data must be the same; the number of epochs may change if the steps so far agree."""

import logging
import math
from typing import Any

from tench.errors import UsageError, counted
from tench.files import shell_command, write_text
from tench.run import Run
from tench.training.duration import Duration
from tench.training.plan import Data, per_channel
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_file import load_resolved
from tench.training.schedule import freeze_step, learning_rate, num_epochs, total_steps
from tench.weights.recognise import RECIPE

_AUTO = "auto"

_log = logging.getLogger("tench")


def automatic(run: Run, recipe: Recipe) -> list[str]:
    """The values of a recipe that are `auto`, for environment.json; `same_recipe` compares with them.

    If a run restarts from its own stored recipe, they are the values of its first start.
    """
    if run.exists and dict(load_resolved(run.folder / RECIPE).leaves()) == dict(recipe.leaves()):
        known: list[str] = run.environment().get(_AUTO, [])
        return known
    return [name for name, value in recipe.leaves() if value == "auto"]


def same_recipe(run: Run, recipe: Recipe, data: Data) -> Resolved:
    """The stored recipe of a run that has begun, with the epochs of `recipe`.

    Raises UsageError if another value of the recipe, or the dataset, differs from the run's.
    """
    stored, environment = load_resolved(run.folder / RECIPE), run.environment()
    known, was_auto = dict(stored.leaves()), environment.get(_AUTO)
    differences = [
        f"{name} was {known[name]}, now {value}"
        for name, value in recipe.leaves()
        if name != "training.epochs" and value != known[name]
        if not (value == "auto" and (was_auto is None or name in was_auto))  # None: a run from an older version
        if not _was_adapted(name, value, recipe, stored)
    ]
    facts = environment["data"]
    differences += [
        f"{name} was {facts[name]}, now {value}"
        for name, value in data.facts.items()
        if name in ("fingerprint", "val_fingerprint", "bad_images") and value != facts.get(name)
    ]
    if differences:
        raise UsageError(
            f"{run.folder}: the run was started with a different recipe or dataset: {'; '.join(differences)}. "
            "Continue it with the same command, or name a new --run.",
            f"To train on from its weights: {train_on(run, stored)}",
        )
    return stored.replace(epochs=recipe.training.epochs)


def _was_adapted(name: str, asked: Any, recipe: Recipe, stored: Resolved) -> bool:
    """Whether the stored value is what the recipe asked for, adapted when the run began.

    A mean or std is adapted to the number of channels and to their order; strides and blurpool come with the weights.
    """
    if name in ("input.mean", "input.std") and asked != "auto":
        value = dict(stored.leaves())[name]
        turned = (recipe.input.channel_order, stored.input.channel_order) == ("auto", "bgr")
        return bool(per_channel(asked[::-1] if turned else asked, len(value)) == value)
    came_along = (name, asked) in (("model.strides", "own"), ("model.blurpool", False))
    return came_along and bool(stored.model.weights)


def replan(run: Run, recipe: Resolved, step: int, epochs: int, steps_per_epoch: int) -> None:
    """Store the recipe of a run that continues with another number of epochs; nothing happens if it is the same.

    step, epochs: taken so far. Raises UsageError if the run has trained longer already, or if its steps so far would
    have been different with that number of epochs.
    """
    stored = load_resolved(run.folder / RECIPE)
    before, after = stored.training.epochs, recipe.training.epochs
    if before == after:
        return
    if num_epochs(recipe) < epochs or total_steps(recipe, steps_per_epoch) < step:
        raise UsageError(
            f"{run.folder}: the run has already trained for {counted(epochs, 'epoch')} ({counted(step, 'step')}), but "
            f"--epochs is {after:,g}. Increase it, or name a new --run."
        )
    if reason := _why_not(stored, recipe, step, epochs, steps_per_epoch):
        raise UsageError(
            f"{run.folder}: the run was started with {Duration(before, 'epochs')} and cannot continue to {after:,g}: "
            f"{reason}.",
            f"To train on from its weights: {train_on(run, stored)}",
        )
    write_text(run.folder / RECIPE, recipe.to_yaml())
    _log.info(
        "%s: the run now has %s instead of %s; the steps so far are the same in both.",
        run.folder,
        Duration(after, "epochs"),
        f"{before:,g}",
    )


def how_to_train_on(run: Run, recipe: Resolved, step: int, epochs: int, steps_per_epoch: int) -> str:
    """The command that trains a finished run for longer."""
    longer = recipe.replace(epochs=math.ceil(recipe.training.epochs) * 2)
    if _why_not(recipe, longer, step, epochs, steps_per_epoch):
        return train_on(run, recipe)
    return shell_command("tench", "train", "--run", run.folder.absolute(), "--epochs", str(longer.training.epochs))


def train_on(run: Run, recipe: Resolved) -> str:
    """The command that starts a new run from the weights of this one."""
    source = run.environment()["data"].get("source", "SOURCE")
    first, *others = [source] if isinstance(source, str) else source
    more = [word for other in others for word in ("--with", other)]
    epochs = f"{recipe.training.epochs:g}"
    weights = ("--weights", run.folder.absolute(), "--epochs", epochs, "--run", "NEW_RUN")
    return shell_command("tench", "train", first, *more, *weights)


def _why_not(stored: Resolved, recipe: Resolved, step: int, epochs: int, steps_per_epoch: int) -> str | None:
    """Why the steps taken so far would have been different with the epochs of the second recipe; None if they agree."""
    rates = learning_rate(stored, steps_per_epoch), learning_rate(recipe, steps_per_epoch)
    if any(rates[0](number) != rates[1](number) for number in range(step)):
        return (
            f"its learning rate depends on the number of epochs (schedule {stored.schedule.schedule}, warm-up "
            f"{stored.schedule.warmup}), so the steps already taken would have had a different one"
        )
    if len({min(step, freeze_step(one, steps_per_epoch)) for one in (stored, recipe)}) > 1:
        return f"optimizer.freeze_from ({stored.optimizer.freeze_from}) would have come at another step"
    kept = stored.average
    if kept.average == "lookahead" or (kept.average == "ema" and kept.average_form == "torchvision"):
        return f"its average ({kept.average}) depends on the number of epochs"
    if epochs * steps_per_epoch > step and epochs == num_epochs(stored):
        return "its last epoch is partial, and the rest of that epoch cannot be trained afterwards"
    return None
