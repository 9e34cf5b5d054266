"""Evaluate a model on a dataset: each image exactly once, and never silently on images it was trained on."""

import concurrent.futures
import contextlib
import os
from collections.abc import Iterator

import torch

from tench.arguments import checked_arguments
from tench.data import exif
from tench.data.handled import Policy
from tench.data.images.picture import decode_row
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.source import Source
from tench.data.table import Table
from tench.errors import TenchError, UsageError
from tench.evaluation.choose import Chosen, choose
from tench.evaluation.evaluation import ClassResult, Evaluation
from tench.evaluation.measure import PLAIN, Metrics, ScoringRule, evaluation_order, measure, require_labels
from tench.input.loader import Batch, Loader
from tench.machine import memory_suffices, num_threads
from tench.weights.images import images_of
from tench.weights.load import load
from tench.weights.own import NOT_FINITE, Classifier

Model = Classifier | str | os.PathLike[str]
"""A classifier, or what `load` accepts: a run or its directory, a weights file, or the name of published weights."""


def classifier_of(model: Model, device: str | torch.device = "auto") -> Classifier:
    """The classifier itself, or the one that `load` returns for a name. Raises UsageError for a device with a loaded
    classifier."""
    if not isinstance(model, Classifier):
        return load(model, device)
    if device != "auto":
        raise UsageError(
            f"{model.source}: the model is already loaded, so device={device!r} has no effect. Pass device to load "
            "instead."
        )
    return model


@checked_arguments()
def evaluate(
    model: Model,
    source: Source | None = None,
    *,
    split: str | None = None,
    batch_size: int = 256,
    threads: int = 0,
    device: str | torch.device = "auto",
    bad: Policy | None = None,
    options: SourceOptions = NO_OPTIONS,
) -> Evaluation:
    """Evaluate a model on labelled images, each exactly once.

    model: a run or its directory, a weights file, published weights, or a `Classifier`. source: a path or name, several
    that form one dataset, or an open `Dataset`; its classes are matched to the model's by id. None means the data that
    the run validated on. split: None means val, else a labelled test, else train, in each case without the images
    that the model was trained on, even if the data has moved. If you name a split, all of it is evaluated, and the
    result's notes say how many of its images the model was trained on. threads: 0 means one per core. device: "auto",
    "cpu", "cuda", ...; not for a `Classifier`. bad: what to do about images that cannot be decoded; by default as in
    training for the run's own data, else fail. options: how to read the source; by default as in training.

    Raises UsageError for an unknown model or source; TenchError if no images are left, an image has no label or cannot
    be decoded, or the model's answers are not finite.

    >>> evaluation = tench.evaluate("runs/digits")
    >>> evaluation.name, evaluation.images
    ('digits (val)', 359)
    """
    classifier = classifier_of(model, device)
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}.")
    chosen = chosen_for(classifier, source, split, bad=bad, options=options, threads=threads)
    metrics = evaluate_table(
        classifier, chosen.table, batch_size=batch_size, threads=threads, where=chosen.name, rule=chosen.rule
    )
    classes, answers = classifier.classes, metrics.answers
    assert answers is not None
    return Evaluation(
        model=classifier.source,
        name=chosen.name,
        source=chosen.source,
        split=chosen.split,
        images=metrics.images,
        top1=metrics.top1,
        top5=metrics.top5,
        loss=metrics.loss,
        per_class=tuple(
            ClassResult(class_id, name, images, correct)
            for class_id, name, (images, correct) in zip(classes.ids, classes.names, metrics.per_class, strict=True)
        ),
        num_trained_on=chosen.num_trained_on,
        notes=chosen.notes,
        classes=classes,
        table=chosen.table,
        labels=answers.labels,
        predicted=answers.predicted,
        probabilities=answers.probabilities,
        losses=answers.losses,
    )


def chosen_for(
    classifier: Classifier,
    source: Source | None,
    split: str | None,
    *,
    bad: Policy | None = None,
    options: SourceOptions = NO_OPTIONS,
    threads: int = 0,
) -> Chosen:
    """The images on which `evaluate` measures a classifier; the arguments are the same."""
    trained_on = classifier.card.trained_on
    return choose(
        source,
        classifier.classes,
        split,
        model=classifier.source,
        trained_on=trained_on,
        images=images_of(classifier.source, trained_on.get("fingerprint")),
        bad=bad,
        options=options,
        threads=threads,
    )


def evaluate_table(
    classifier: Classifier,
    table: Table,
    *,
    batch_size: int = 256,
    threads: int = 0,
    where: str = "the split",
    rule: ScoringRule = PLAIN,
) -> Metrics:
    """Measure a classifier on a table whose labels are indices of its classes.

    where: the name of the table, for errors. Raises TenchError if an image has no label or cannot be decoded, or if
    logits are not finite.
    """
    require_labels(table, where)
    card = classifier.card
    table = exif.oriented(table, card.exif)
    device = next(classifier.module.parameters()).device
    enough = memory_suffices(f"{classifier.source}: batches of {batch_size} on {device}", "Use a smaller --batch-size.")
    with enough, contextlib.ExitStack() as stack:
        if classifier.whole_images:
            batches = _whole_images(table, card.channels, threads)
        else:
            order = evaluation_order(table, batch_size)
            loader = Loader(table, card.test_view, order, channels=card.channels, threads=threads)
            batches = stack.enter_context(loader).batches(epoch=0)
        metrics = measure(classifier.averaged, batches, len(table), card.normalise(device), rule)
    if rows := metrics.not_finite:
        raise TenchError(
            f"{classifier.source}: no metrics, because for {len(rows):,} of {len(table):,} images {NOT_FINITE}. "
            f"The first is {table.place(rows[0])}."
        )
    return metrics


def _whole_images(table: Table, channels: int, threads: int) -> Iterator[Batch]:
    """Each image of a table at its own size, as a batch of one."""
    with concurrent.futures.ThreadPoolExecutor(num_threads(threads)) as pool:
        for start in range(0, len(table), _DECODED_AHEAD):
            rows = range(start, min(start + _DECODED_AHEAD, len(table)))
            for row, pixels in zip(rows, pool.map(lambda row: decode_row(table, row, channels), rows), strict=True):
                image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
                yield Batch(image, torch.tensor([int(table.labels[row])]), torch.tensor([row]))


_DECODED_AHEAD = 32
"""Images in memory at their own size."""
