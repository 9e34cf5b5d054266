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
from tench.errors import TenchError
from tench.evaluation.evaluate import require_labels, validation_split
from tench.input.augment import Augmentation, Augmented, ColorJitter, Cutout, Lighting, mean_colour, named_policy
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.resident import Resident, fits
from tench.input.views import EvalView, PadCrop, RandomResizedCrop
from tench.machine import cpu_has_bf16
from tench.training.recipe import Input, Recipe

SMALL_PIXELS = 64
"""Images up to this size are trained at their own size, padded and cropped, and kept on the device whole."""

_log = logging.getLogger("tench")

View = RandomResizedCrop | PadCrop | EvalView | Augmented
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
    """The recipe with every `auto` replaced by what this data and this machine call for."""
    view, training = recipe.input, recipe.training
    image_size = _sensed_size(train) if view.image_size == "auto" else view.image_size
    small = image_size <= SMALL_PIXELS
    grey = bool((train.channels == 1).all())  # known for raw pixels only
    channels = (1 if grey else 3) if view.channels == "auto" else view.channels
    has_bf16 = torch.cuda.is_bf16_supported() if module_device.type == "cuda" else cpu_has_bf16()
    return recipe.replace(
        image_size=image_size,
        channels=channels,
        train_view=("pad-crop" if small else "random-resized-crop") if view.train_view == "auto" else view.train_view,
        pad=image_size // 8 if view.pad == "auto" else view.pad,
        eval_resize=_eval_resize(image_size, small) if view.eval_resize == "auto" else view.eval_resize,
        mean=per_channel(view.mean, channels),
        std=per_channel(view.std, channels),
        precision=("bf16" if has_bf16 else "fp32") if training.precision == "auto" else training.precision,
    )


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


def train_view(recipe: Recipe) -> RandomResizedCrop | PadCrop | Augmented:
    """The training view of a resolved recipe."""
    augmentations = _augmentations(recipe)
    return Augmented(_cut(recipe.input), augmentations) if augmentations else _cut(recipe.input)


def eval_view(recipe: Recipe) -> EvalView:
    """The evaluation view of a resolved recipe."""
    view = recipe.input
    assert view.image_size != "auto"
    assert view.eval_resize != "auto"
    return EvalView(size=view.image_size, resize=view.eval_resize, interpolation=view.interpolation)


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


def _cut(view: Input) -> RandomResizedCrop | PadCrop:
    assert view.image_size != "auto"
    if view.train_view == "random-resized-crop":
        return RandomResizedCrop(size=view.image_size, scale=view.scale, ratio=view.ratio, flip=view.flip)
    assert view.train_view == "pad-crop"
    assert view.pad != "auto"
    return PadCrop(size=view.image_size, pad=view.pad, flip=view.flip)


def _augmentations(recipe: Recipe) -> tuple[Augmentation, ...]:
    """What the recipe asks for, in the order of its fields."""
    asked, mean = recipe.augment, mean_colour(recipe.input.mean)
    policy_ = named_policy(asked.policy, mean=mean, resample=asked.policy_filter)
    brightness, contrast, saturation, hue = asked.color_jitter
    jitter = ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    return (
        *([policy_] if policy_ else []),
        *([jitter] if any(asked.color_jitter) else []),
        *([Lighting(std=asked.lighting)] if asked.lighting else []),
        *([Cutout(side=asked.cutout, fill=mean)] if asked.cutout else []),
    )


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
