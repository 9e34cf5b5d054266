"""Everything that is decided before the first step: the data, and every `auto` of the recipe."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tench.data import policy
from tench.data.handled import Handled
from tench.data.info import image_sizes
from tench.data.source import Source, matched, name_of, open_source
from tench.data.split import hold_out
from tench.data.table import Classes, Dataset, Table
from tench.errors import TenchError, UsageError
from tench.evaluation.evaluate import require_labels, validation_split
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.resident import Resident, fits
from tench.input.views import EvalView, PadCrop, View
from tench.machine import cpu_has_bf16
from tench.training.recipe import Input, Recipe
from tench.training.recipe_check import validate
from tench.training.recipe_views import train_size

SMALL_PIXELS = 64
"""Images up to this size are trained at their own size, padded and cropped, and kept on the device whole."""

_log = logging.getLogger("tench")

Batches = Loader | Resident


@dataclasses.dataclass(frozen=True)
class Data:
    """What a training reads: two tables over one list of classes.

    val_name: what the validation set is, for people. facts: what a run remembers of its data. bad_images: what was done
    about those that do not decode.
    """

    train: Table
    val: Table
    val_name: str
    classes: Classes
    facts: dict[str, Any]
    bad_images: tuple[Handled, ...] = ()


def open_data(source: Source, val: str | None, view: Input, *, threads: int = 0) -> Data:
    """The training and validation tables of a source: its val, else its labelled test, else a part of its train.

    val: another source to validate on, whose classes are matched by id. view: of the recipe, for what it says of the
    data. Raises TenchError for data that would train to wrong numbers.
    """
    dataset = open_source(source, min_images=view.min_images, val_per_class=view.val_per_class)
    used = ["train"] if val is not None else ["train", *(validation_split(dataset) or ())[:1]]
    dataset, bad_images = policy.apply(dataset, view.bad, used, threads=threads)
    _, train = dataset.split("train")
    require_labels(train, f"{dataset.source} (train)")
    other = None
    if val is not None:
        other = open_source(val)
        used = [(validation_split(other) or other.split("train", "test"))[0]]
        other, more = policy.apply(other, view.bad, used, threads=threads)
        bad_images += more
    train, val_table, val_name = _validation(dataset, train, other, view.val_fraction)
    require_labels(val_table, val_name)
    _refuse_single_class(val_table, val_name, len(dataset.classes))
    facts = {
        "source": dataset.source if isinstance(source, str | Path) else [name_of(one) for one in source],
        "val": other.source if other else None,
        "val_name": val_name,
        "layout": dataset.layout,
        "fingerprint": dataset.fingerprint,
        "val_fingerprint": other.fingerprint if other else None,
        "val_fraction": view.val_fraction,
        "min_images": view.min_images,
        "val_per_class": view.val_per_class,
        "bad": view.bad,
        "bad_images": policy.fingerprint(bad_images),
    }
    for note in dataset.notes:
        _log.info("Note: %s", note)
    return Data(train, val_table, val_name, dataset.classes, facts, tuple(bad_images))


def resolve(recipe: Recipe, train: Table, module_device: torch.device) -> Recipe:
    """The recipe with every `auto` replaced by what this data and this machine call for.

    Raises UsageError where that does not go with its other values.
    """
    view, training = recipe.input, recipe.training
    image_size = _sensed_size(train) if view.image_size == "auto" else view.image_size
    small = image_size <= SMALL_PIXELS
    grey = bool((train.channels == 1).all())  # known for raw pixels only
    channels = (1 if grey else 3) if view.channels == "auto" else view.channels
    has_bf16 = torch.cuda.is_bf16_supported() if module_device.type == "cuda" else cpu_has_bf16()
    train_size = image_size if view.train_size == "auto" else view.train_size
    resolved = recipe.replace(
        image_size=image_size,
        train_size=train_size,
        ramp_from=train_size if view.ramp_from == "auto" else view.ramp_from,
        channels=channels,
        train_view=("pad-crop" if small else "random-resized-crop") if view.train_view == "auto" else view.train_view,
        pad=image_size // 8 if view.pad == "auto" else view.pad,
        eval_resize=_eval_resize(image_size, small) if view.eval_resize == "auto" else view.eval_resize,
        mean=per_channel(view.mean, channels),
        std=per_channel(view.std, channels),
        precision=("bf16" if has_bf16 else "fp32") if training.precision == "auto" else training.precision,
    )
    validate(resolved)  # what was auto has its value only now
    return resolved


def per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A recipe's mean or std for an input of 1 or 3 channels: three are averaged for one, one is taken three times."""
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def resolve_memory_format(recipe: Recipe, module: nn.Module) -> Recipe:
    """The recipe with memory_format decided: nhwc where there are convolutions."""
    if recipe.training.memory_format != "auto":
        return recipe
    has_convolution = any(isinstance(part, nn.Conv2d) for part in module.modules())
    return recipe.replace(memory_format="nhwc" if has_convolution else "nchw")


def require_sizes(module: nn.Module, recipe: Recipe) -> None:
    """Raise UsageError when a network on the CPU does not take the training images of each epoch."""
    channels, size = recipe.input.channels, recipe.input.image_size
    assert channels != "auto"
    sizes = {train_size(recipe, epoch) for epoch in range(recipe.training.epochs)} - {size}
    module.eval()
    for other in sorted(sizes):
        try:
            with torch.inference_mode():
                module(torch.zeros(1, channels, other, other))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UsageError(
                f"{recipe.model.arch}: was made for images of {size} pixels and does not take {other} ({error}). "
                "Leave train_size and ramp_from at auto, or name another network."
            ) from error


def resident_view(table: Table, view: View, channels: int) -> PadCrop | EvalView | None:
    """The view of a resident set, where the images are small and all fit; else None: they are loaded in every epoch.

    Augmentation of single images is work for the loader's threads, so with any of it a small set too is loaded.
    """
    if isinstance(view, PadCrop | EvalView) and view.size <= SMALL_PIXELS and fits(table, view, channels):
        return view
    return None


def open_batches(
    table: Table, view: View, order: Order, *, channels: int, device: torch.device, threads: int
) -> Batches:
    """A resident set where the images are small and all fit, else the loader."""
    if (small := resident_view(table, view, channels)) is not None:
        return Resident(table, small, order, channels=channels, device=device, threads=threads)
    return Loader(table, view, order, channels=channels, threads=threads, pin=device.type == "cuda")


def _validation(dataset: Dataset, train: Table, other: Dataset | None, val_fraction: float) -> tuple[Table, Table, str]:
    """(train without what was held out, validation table, its name)"""
    if other is not None:
        name, table = validation_split(other) or other.split("train", "test")
        if name == "train" and other.source == dataset.source:
            raise TenchError(
                f"{other.source}: is the training set itself, so validating on it would say nothing. "
                "Leave --val out to hold out a part of it, or name other images."
            )
        return train, matched(table, other, dataset.classes, dataset.source), f"{other.source} ({name})"
    if found := validation_split(dataset):
        name, table = found
        return train, table, f"{dataset.source} ({name})"
    left, held = hold_out(train, val_fraction)
    _log.info(
        "There is neither val nor a test with labels: %d of the %d images are held out for validation, the same ones "
        "each time.",
        len(held),
        len(train),
    )
    return left, held, f"{dataset.source} (held out of train)"


def _refuse_single_class(val: Table, name: str, num_classes: int) -> None:
    if len(val) > 1 and num_classes > 2 and len(np.unique(val.labels)) == 1:
        raise TenchError(
            f"{name}: all {len(val)} images are of one class, but there are {num_classes} classes. A flat folder of "
            "validation images read as one class looks like this: it needs class folders, or a file with the labels."
        )


def _sensed_size(table: Table) -> int:
    """The side of the images when all of a sample are equal squares of at most SMALL_PIXELS, else 224."""
    sizes = set(image_sizes(table))
    height, width = next(iter(sizes)) if len(sizes) == 1 else (0, 1)
    return height if height == width and height <= SMALL_PIXELS else 224


def _eval_resize(image_size: int, small: bool) -> int:
    return image_size if small else round(image_size / 0.875)
