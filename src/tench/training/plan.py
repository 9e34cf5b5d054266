"""Decide everything that is needed before the first step: the data, and every `auto` of the recipe."""

import copy
import dataclasses
import logging
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tench.data import exif, policy
from tench.data.handled import Handled
from tench.data.hold_out import hold_out
from tench.data.images.orientation import Exif
from tench.data.info import brief_notes, image_sizes
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.source import Source, matched, open_source
from tench.data.table import Classes, Dataset, Table
from tench.errors import TenchError, UsageError, counted
from tench.evaluation.choose import validation_split
from tench.evaluation.measure import require_labels
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.resident import Resident, fits
from tench.input.views import IMAGENET_MEAN, IMAGENET_STD, EvalView, PadCrop, View, usual_resize
from tench.machine import has_bf16
from tench.models import stem_note
from tench.models.airbench import Airbench
from tench.models.fingerprints import unnamed_network
from tench.models.meta import dry_run
from tench.models.mxnet.graph import Graph
from tench.models.mxnet.symbol import SymbolNetwork
from tench.models.own_network import is_own
from tench.models.registry import name_in_source, source_of
from tench.models.source import AS_MADE
from tench.training.compiling import compile_pays
from tench.training.loss import Loss
from tench.training.network import make_network, network_options
from tench.training.recipe import Input, Model, Recipe, Resolved
from tench.training.recipe_check import validate
from tench.training.recipe_views import eval_view, memory_format, train_size
from tench.training.schedule import num_epochs
from tench.training.step import forward_loss, num_parts, part_size
from tench.weights.own import ModelCard, Normalise
from tench.weights.start import Start

SMALL_PIXELS = 64
"""Images up to this size are trained at their own size, padded and cropped, and are all kept on the device."""

AUTO_ARCH = "resnet18"
"""The network if neither the recipe nor its weights name one."""

_log = logging.getLogger("tench")

Batches = Loader | Resident


@dataclasses.dataclass(frozen=True)
class Data:
    """The data of a training: two tables over one list of classes.

    val_name: describes the validation set in messages. exif: how EXIF orientations are handled if the recipe says auto.
    facts: what a run stores about its data. bad_images: how images that do not decode were handled.
    """

    train: Table
    val: Table
    val_name: str
    exif: Exif
    classes: Classes
    facts: dict[str, Any]
    bad_images: tuple[Handled, ...] = ()

    def oriented(self, how: Exif) -> "Data":
        """The same data, with the EXIF orientation of all images applied or ignored."""
        return dataclasses.replace(self, train=exif.oriented(self.train, how), val=exif.oriented(self.val, how))


def open_data(
    source: Source, val: str | None, view: Input, options: SourceOptions = NO_OPTIONS, *, threads: int = 0
) -> Data:
    """The training and validation tables of a source: its val, else its labelled test, else a share of its train.

    val: another source to validate on; its classes are matched by id. view: the recipe's input section. options: how to
    read the sources; val uses those that apply to its layout. Raises TenchError for data that would produce wrong
    results.
    """
    dataset = open_source(source, options)
    used = ["train"] if val is not None else ["train", *(validation_split(dataset) or ())[:1]]
    dataset, bad_images = policy.apply(dataset, view.bad, used, threads=threads)
    _, train = dataset.split("train")
    require_labels(train, f"{dataset.source} (train)")
    other = None
    if val is not None:
        other = open_source(val, dataclasses.replace(options, min_images=0, val_per_class=0), refuse_unused=False)
        used = [(validation_split(other) or other.split("train", "test"))[0]]
        other, more = policy.apply(other, view.bad, used, threads=threads)
        bad_images += more
    train, val_table, val_name = _validation(dataset, train, other, view.val_fraction)
    require_labels(val_table, val_name)
    _refuse_single_class(val_table, val_name, len(dataset.classes))
    facts = {
        "source": list(dataset.parts) if len(dataset.parts) > 1 else dataset.source,
        "val": other.source if other else None,
        "val_name": val_name,
        "layout": dataset.layout,
        "fingerprint": dataset.fingerprint,
        "val_fingerprint": other.fingerprint if other else None,
        "val_fraction": view.val_fraction,
        "options": dataset.options.to_json(),
        "bad": view.bad,
        "bad_images": policy.fingerprint(bad_images),
    }
    for note in brief_notes(dataset):
        _log.info("Note: %s", note)
    how = exif.resolved(view.exif, dataset)
    return Data(train, val_table, val_name, how, dataset.classes, facts, tuple(bad_images))


def resolve(
    recipe: Recipe, train: Table, device: torch.device, start: Start | None = None, *, exif: Exif = "apply"
) -> Resolved:
    """The recipe with every `auto` replaced by the value that suits its weights, this data and this machine.

    start: the weights that training starts from. exif: what `auto` means for these images. compile: auto becomes off,
    because only `try_compile` can find out whether it pays. Raises UsageError if a resolved value contradicts the
    others.
    """
    view, training, average = recipe.input, recipe.training, recipe.average
    arch = _arch(recipe.model, start)
    grey = bool((train.channels == 1).all())  # the table records this for raw pixels only
    channels = _first(view.channels, start and start.channels, 1 if grey else 3)
    image_size = _first(view.image_size, start and start.image_size, None)
    if image_size is None:
        image_size = _size_for(arch, _sensed_size(train), channels)
    small = image_size <= SMALL_PIXELS
    theirs = (
        start if start and start.image_size == image_size else None
    )  # otherwise their eval_resize belongs to another image size
    made = (start and start.options) or AS_MADE
    train_size = _first(view.train_size, image_size)
    order = _first(view.channel_order, start and start.channel_order)
    mean = _first(view.mean, start and start.mean, IMAGENET_MEAN)
    std = _first(view.std, start and start.std, IMAGENET_STD)
    if order is None and channels == 3 and _is_bgr(arch, start):
        order, mean, std = "bgr", mean[::-1], std[::-1]
        _log.info(
            "Note: %s expects BGR images, according to its name. channel_order is bgr, and mean and std, given as RGB, "
            "are reversed. Set --channel-order to override this.",
            arch,
        )
    average_every = _first(average.average_every, 5 if average.average == "lookahead" else 1)
    values = recipe.replace(
        arch=arch,
        strides=made.strides if made.strides and recipe.model.strides == "own" else recipe.model.strides,
        blurpool=recipe.model.blurpool or made.blurpool,
        eps=_first(recipe.optimizer.eps, _EPS.get(recipe.optimizer.optimizer, 1e-8)),
        average_decay=_first(average.average_decay, _average_decay(recipe, average_every, len(train))),
        average_every=average_every,
        image_size=image_size,
        train_size=train_size,
        ramp_from=_first(view.ramp_from, train_size),
        exif=_first(view.exif, exif),
        channels=channels,
        train_view=_first(view.train_view, "pad-crop" if small else "random-resized-crop"),
        pad=_first(view.pad, image_size // 8),
        eval_resize=_first(view.eval_resize, theirs and theirs.eval_resize, _eval_resize(image_size, small)),
        crop_mode=_first(view.crop_mode, "squash" if theirs and theirs.squash else "center"),
        interpolation=_first(view.interpolation, start and start.interpolation, "bilinear"),
        mean=per_channel(mean, channels),
        std=per_channel(std, channels),
        channel_order=order or "rgb",
        precision=_first(training.precision, "bf16" if has_bf16(device) else "fp32"),
        memory_format=_first(training.memory_format, "nchw"),
        compile=_first(training.compile, "off"),
    )
    validate(values)  # values that were auto are known only now
    resolved = Resolved.of(values)
    if start is not None:
        _require_same_strides(resolved, start)
    return resolved if training.memory_format != "auto" else _with_memory_format(resolved)


def _is_bgr(arch: str, start: Start | None) -> bool:
    """Whether the name of a network, or of a file with its weights, says BGR: edgeai:regnetx400mf_x1_bgr."""
    names = (arch, "" if start is None else Path(start.source).name)
    return any(re.search(r"(?<![a-z])bgr(?![a-z])", name.lower()) for name in names)


_EPS = {"lamb": 1e-6, "rmsprop-tf": 1e-3}


def _average_decay(recipe: Recipe, every: int, num_images: int) -> float:
    """0.95 for lookahead; else 0.9999, for a plain average less if it would span more than a tenth of the training.

    A longer average would still contain weights from the start of the training.
    """
    if recipe.average.average == "lookahead":
        return 0.95
    updates = recipe.training.epochs * num_images * recipe.input.repeats / recipe.training.batch_size / every
    if recipe.average.average_form != "plain" or not updates:
        return 0.9999
    return round(min(0.9999, max(0.0, 1 - 10 / updates)), 6)


def _first(*values: Any) -> Any:
    """The first value that is neither auto nor None; None if there is none."""
    return next((value for value in values if value is not None and value != "auto"), None)


def _size_for(arch: str, sensed: int, channels: int) -> int:
    """The size of small images, or the network's usual size if it does not accept images that small."""
    if sensed > SMALL_PIXELS or is_own(arch):
        return sensed
    try:
        stem_note(arch, num_classes=2, image_size=sensed, channels=channels)
    except UsageError:
        usual: int = source_of(arch).usual_input(name_in_source(arch)).image_size
        if usual > sensed:
            _log.info(
                "Note: %s does not accept images of %d x %d px; they are enlarged to %d px.",
                arch,
                sensed,
                sensed,
                usual,
            )
            return usual
    return sensed


def _arch(model: Model, start: Start | None) -> str:
    if model.arch != "auto":
        return model.arch
    if start is None:
        return AUTO_ARCH
    if start.arch is None:
        raise unnamed_network(start.source, start.state)
    return start.arch


def _require_same_strides(recipe: Resolved, start: Start) -> None:
    """Raise UsageError if the strides differ from the weights' strides; the weights would fit both networks."""
    theirs = None if start.options is None else start.options.strides
    if theirs is not None and recipe.model.strides != theirs:
        raise UsageError(
            f"{start.source}: the network was created with --strides {' '.join(map(str, theirs))}. Add that option."
        )


def per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A recipe's mean or std for an input of 1 or 3 channels: three values are averaged, one is repeated."""
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def _with_memory_format(recipe: Resolved) -> Resolved:
    """The recipe with memory_format nhwc if its network has convolutions, else nchw."""
    if is_own(recipe.model.arch) or recipe.model.arch == SymbolNetwork.ARCH:
        return recipe  # nchw until the network is made: see own_memory_format
    images = (1, recipe.input.channels, recipe.input.image_size, recipe.input.image_size)
    found = dry_run(lambda: make_network(recipe, num_classes=2), images, lambda network, _: _has_convolutions(network))
    return recipe.replace(memory_format="nhwc" if found else "nchw")


def own_memory_format(module: nn.Module, recipe: Resolved) -> Literal["nhwc", "nchw"]:
    """nhwc for a network of the user's own that has convolutions and works with it.

    Many do not: `features.view(len(features), -1)` fails on the output of a convolution that is stored as nhwc.
    """
    images = torch.zeros(2, recipe.input.channels, recipe.input.image_size, recipe.input.image_size)
    if not _has_convolutions(module):
        return "nchw"
    tried: Any = copy.deepcopy(module).train()
    tried.to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            tried(images.contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            return "nchw"
    return "nhwc"


def _has_convolutions(network: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in network.modules())


def try_compile(recipe: Resolved, module: nn.Module, device: torch.device, steps: int, loss_of: Loss) -> Resolved:
    """The recipe with compile on if a trial shows that compiling pays for itself within the given steps, else off."""
    if recipe.training.recompute:  # torch.compile cannot handle the code that stops batch norms from counting twice
        return recipe
    channels = recipe.input.channels
    count, size = part_size(recipe.training), train_size(recipe, epoch=0)
    images = torch.zeros(count, channels, size, size, device=device).contiguous(memory_format=memory_format(recipe))

    def work(network: nn.Module, images: torch.Tensor) -> None:
        labels = torch.zeros(len(images), dtype=torch.int64, device=device)
        loss, _ = forward_loss(network.train(), images, labels, recipe.training.precision, loss_of)
        torch.autograd.backward(loss)
        network.zero_grad()
        loss.item()  # so that the clock is read after the device is done

    module = module.to(device).to(memory_format=memory_format(recipe))  # type: ignore[call-overload]  # not in its stub
    pays = compile_pays(module, images, work, steps * recipe.training.accumulate)
    return recipe.replace(compile="on" if pays else "off")


def train_order(recipe: Resolved, table: Table, *, rank: int = 0, world_size: int = 1) -> Order:
    """The order in which a recipe visits its training images."""
    return Order(
        num_rows=len(table),
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
        drop_last=recipe.training.drop_last,
        repeats=recipe.input.repeats,
        pieces=table.pieces(),
        rank=rank,
        world_size=world_size,
    )


def make_card(recipe: Resolved, data: Data, graph: Graph | None = None) -> ModelCard:
    """The description that is stored with the weights. graph: of the network, if only MXNet's symbol describes it."""
    view = recipe.input
    cut = eval_view(recipe)
    return ModelCard(
        arch=recipe.model.arch,
        classes=data.classes,
        channels=view.channels,
        image_size=view.image_size,
        eval_resize=cut.resize,
        squash=cut.squash,
        interpolation=cut.interpolation,
        mean=view.mean,
        std=view.std,
        channel_order=view.channel_order,
        exif=view.exif,
        test_time=view.test_time,
        options=network_options(recipe),
        trained_on=data.facts,
        graph=graph,
    )


def whiten(module: nn.Module, table: Table, recipe: Resolved, normalise: Normalise, threads: int) -> None:
    """Compute a network's whitening layer from training images. Does nothing if it has no such layer."""
    if not isinstance(module, Airbench):
        return
    channels = recipe.input.channels
    order = Order(num_rows=len(table), batch_size=min(_WHITENED_FROM, len(table)), seed=recipe.training.seed)
    with Loader(table, eval_view(recipe), order, channels=channels, threads=threads) as loader:
        images = next(iter(loader.batches(epoch=0))).images
        module.fit_whitening(normalise(images.to(next(module.parameters()).device)))


_WHITENED_FROM = 5000
"""Number of training images from which a whitening layer is computed, as in airbench."""


def require_sizes(module: nn.Module, recipe: Resolved) -> None:
    """Raise UsageError if a network on the CPU does not accept the training images of every epoch."""
    channels, size = recipe.input.channels, recipe.input.image_size
    sizes = {train_size(recipe, epoch) for epoch in range(num_epochs(recipe))} - {size}
    module.eval()
    for other in sorted(sizes):
        try:
            with torch.inference_mode():
                module(torch.zeros(1, channels, other, other))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UsageError(
                f"{recipe.model.arch} was created for images of {size} px and does not accept {other} px ({error}). "
                "Leave train_size and ramp_from at auto, or choose another network."
            ) from error


def require_parts(module: nn.Module, recipe: Resolved, order: Order) -> None:
    """Raise UsageError if a network would get a single image in a forward pass and cannot learn from it.

    A batch norm after the last pooling, or on a map of one pixel, then has one value per channel.
    """
    batches = [len(order.rows(0, step)) for step in (0, order.steps_per_epoch - 1)]
    if min(count // num_parts(count, recipe.training) for count in batches) > 1:
        return
    channels, size = recipe.input.channels, min(train_size(recipe, epoch) for epoch in range(num_epochs(recipe)))
    try:
        copy.deepcopy(module).train()(torch.zeros(1, channels, size, size))
    except ValueError as error:
        reason = (
            f"the last batch of an epoch has {batches[1]} of the {order.num_rows} images. Add --drop-last"
            if batches[1] < batches[0]
            else "a batch, or a part of it with --accumulate, is one image. Use larger batches"
        )
        raise UsageError(f"{recipe.model.arch} cannot learn from a single image ({error}), but {reason}.") from error


def resident_view(table: Table, view: View, channels: int) -> PadCrop | EvalView | None:
    """The view if the images are small and all fit on the device; None if they must be loaded in every epoch.

    Augmentation of single images needs the loader's threads, so with any of it small images are loaded too.
    """
    if isinstance(view, PadCrop | EvalView) and view.size <= SMALL_PIXELS and fits(table, view, channels):
        return view
    return None


def open_batches(
    table: Table, view: View, order: Order, *, channels: int, device: torch.device, threads: int
) -> Batches:
    """A resident set if the images are small and all fit on the device, else the loader."""
    if (small := resident_view(table, view, channels)) is not None:
        return Resident(table, small, order, channels=channels, device=device, threads=threads)
    return Loader(table, view, order, channels=channels, threads=threads, pin=device.type == "cuda")


def _validation(dataset: Dataset, train: Table, other: Dataset | None, val_fraction: float) -> tuple[Table, Table, str]:
    """(train without the held-out images, validation table, its name)"""
    if other is not None:
        name, table = validation_split(other) or other.split("train", "test")
        if name == "train" and other.source == dataset.source:
            raise TenchError(
                f"{other.source} is the training set itself, so validating on it would be meaningless. "
                "Leave out --val to hold out part of it, or name other images."
            )
        return train, matched(table, other, dataset.classes, dataset.source), f"{other.source} ({name})"
    if found := validation_split(dataset):
        name, table = found
        return train, table, f"{dataset.source} ({name})"
    left, held = hold_out(train, val_fraction)
    _log.info(
        "There is neither a val nor a labelled test split: %s of %s are held out for validation, always the same ones.",
        f"{len(held):,}",
        counted(len(train), "image"),
    )
    return left, held, f"{dataset.source} (held out of train)"


def _refuse_single_class(val: Table, name: str, num_classes: int) -> None:
    if len(val) > 1 and num_classes > 2 and len(np.unique(val.labels)) == 1:
        raise TenchError(
            f"{name}: all {counted(len(val), 'image')} are of one class, but there are {num_classes} classes. This "
            "happens if a flat folder of validation images is read as one class. Sort the images into class folders, "
            "or add a file with the labels."
        )


def _sensed_size(table: Table) -> int:
    """The side of the images if all of a sample are equal squares of at most SMALL_PIXELS, else 224."""
    sizes = set(image_sizes(table))
    height, width = next(iter(sizes)) if len(sizes) == 1 else (0, 1)
    return height if height == width and height <= SMALL_PIXELS else 224


def _eval_resize(image_size: int, small: bool) -> int:
    return image_size if small else usual_resize(image_size)
