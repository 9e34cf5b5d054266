"""Evaluate a classifier on a table: each image exactly once, and the count is asserted."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tench.data import exif, policy
from tench.data.handled import Policy
from tench.data.hold_out import hold_out
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.source import Source, matched, name_of, open_source
from tench.data.table import Classes, Dataset, Table
from tench.errors import TenchError, UsageError
from tench.input.device import on_device
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.machine import memory_suffices
from tench.weights.load import load
from tench.weights.own import NOT_FINITE, Classifier, Normalise


@dataclasses.dataclass(frozen=True)
class Metrics:
    """images: count. top1, top5: fractions of them. loss: mean cross-entropy.

    per_class: for each class (images, correct). not_finite: rows whose logits hold NaN or infinity; the rest means
    nothing if there are any.
    """

    images: int
    top1: float
    top5: float
    loss: float
    per_class: tuple[tuple[int, int], ...]
    not_finite: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"images": self.images, "top1": self.top1, "top5": self.top5, "loss": self.loss}


def evaluate_source(
    model: Classifier | str | Path,
    source: Source | None = None,
    *,
    split: str | None = None,
    batch_size: int = 256,
    threads: int = 0,
    bad: Policy | None = None,
    options: SourceOptions = NO_OPTIONS,
) -> tuple[str, Metrics]:
    """(name of what was evaluated, metrics) of a split of a source, its classes matched to the model's by id.

    model: a classifier, or what `load` takes. source: None means what the run validated on. split: None
    means val, else a test with labels, else train: of the set that the model was trained on, only what was held out.
    bad: what is done about images that do not decode; None: what the training did, of what it was trained and validated
    on, else fail. options: how to read the source; by default as the training read it. Raises TenchError when that set
    is not as it was.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}, but should be 1 or more.")
    trained_on = classifier.card.trained_on
    if source is None:
        if not trained_on:
            raise UsageError(f"{classifier.source}: does not say what it was trained on. Name the dataset to evaluate.")
        source = trained_on.get("val") or trained_on["source"]
    name, table, rule = evaluation_table(
        source, classifier.classes, split, trained_on, bad=bad, options=options, threads=threads
    )
    return name, evaluate(classifier, table, batch_size=batch_size, threads=threads, where=name, rule=rule)


@dataclasses.dataclass(frozen=True)
class Rule:
    """What counts as right, where a set is not scored plainly.

    among: the classes between which the model has to choose, indices (ImageNet-A and -R hold 200 of the 1000).
    accepted: for each row the classes that are right (ReaL).
    """

    among: tuple[int, ...] | None = None
    accepted: Sequence[Sequence[int]] | None = None


def evaluation_table(
    source: Source,
    classes: Classes,
    split: str | None,
    trained_on: Mapping[str, Any],
    *,
    bad: Policy | None = None,
    options: SourceOptions = NO_OPTIONS,
    threads: int = 0,
) -> tuple[str, Table, Rule]:
    """(name, table, rule) of the split to evaluate, relabelled to a model's classes.

    trained_on: what the model's card says of its data. bad, options: see evaluate_source.
    """
    same = bool(trained_on) and name_of(source) == name_of(trained_on["source"])
    validated_on = bool(trained_on.get("val")) and name_of(source) == name_of(trained_on["val"])
    if bad is None:
        bad = trained_on.get("bad", "fail") if same or validated_on else "fail"
    if (same or validated_on) and not options.given():
        read_as = SourceOptions.from_json(trained_on.get("options", {}), "trained_on.options")
        dataset = open_source(source, read_as, refuse_unused=not validated_on)
    else:
        dataset = open_source(source, options)
    if split is not None:
        name, _ = dataset.split(split)
    else:
        name, _ = validation_split(dataset) or dataset.split("train", "test")
    dataset, _ = policy.apply(dataset, bad, [name], threads=threads)
    table = dataset.splits[name]
    if split is None and name == "train" and trained_on.get("val") is None:
        if trained_on.get("fingerprint") == dataset.fingerprint:
            name, table = "held out of train", hold_out(table, trained_on.get("val_fraction", 0.0))[1]
        elif same:
            raise TenchError(
                f"{dataset.source}: has changed since the model was trained on it, so which images were held out is "
                "not known. Evaluate other images, or all of these with --split train."
            )
    return f"{dataset.source} ({name})", matched(table, dataset, classes, "the model"), _rule(dataset, name, classes)


def _rule(dataset: Dataset, split: str, classes: Classes) -> Rule:
    scoring = dataset.scoring.get(split)
    if scoring is None:
        return Rule()
    index = classes.index_of(dataset.classes, whose=dataset.source, here="the model")
    if scoring == "any-label":
        sets = dataset.splits[split].label_sets()
        return Rule(accepted=[index[np.asarray(labels, np.int64)].tolist() for labels in sets])
    return Rule(among=tuple(index.tolist())) if len(dataset.classes) < len(classes) else Rule()


def validation_split(dataset: Dataset) -> tuple[str, Table] | None:
    """(name, table) of the split to validate on: val, else test unless it has no labels, as in contests; else None."""
    if "val" in dataset.splits:
        return dataset.split("val")
    if "test" in dataset.splits and (dataset.splits["test"].labels >= 0).any():
        return dataset.split("test")
    return None


def evaluation_order(table: Table, batch_size: int) -> Order:
    """Each row once, in the order in which they are read fastest, the last batch as short as it comes out."""
    return Order(num_rows=len(table), batch_size=batch_size, shuffle=False, drop_last=False, pieces=table.pieces())


def evaluate(
    classifier: Classifier,
    table: Table,
    *,
    batch_size: int = 256,
    threads: int = 0,
    where: str = "the split",
    rule: Rule = Rule(),
) -> Metrics:
    """Top-1, top-5 and loss of a classifier on a table whose labels are its classes' indices.

    Raises TenchError if a row has no label (naming `where`), an image cannot be decoded, or logits are not finite.
    """
    require_labels(table, where)
    card = classifier.card
    table = exif.oriented(table, card.exif)
    device = next(classifier.module.parameters()).device
    order = evaluation_order(table, batch_size)
    enough = memory_suffices(
        f"{classifier.source}: batches of {batch_size} on {device}", "Take a smaller --batch-size."
    )
    with enough, Loader(table, card.test_view, order, channels=card.channels, threads=threads) as loader:
        metrics = measure(classifier.averaged, loader.batches(epoch=0), len(table), card.normalise(device), rule)
    if rows := metrics.not_finite:
        raise TenchError(
            f"{classifier.source}: no metrics, for {len(rows):,} of {len(table):,} images {NOT_FINITE}. "
            f"The first is {table.place(rows[0])}."
        )
    return metrics


def require_labels(table: Table, where: str) -> None:
    """Raise TenchError if there is nothing to evaluate, or a row has no label."""
    if len(table) == 0:
        raise TenchError(f"{where}: has no images.")
    if (unlabelled := int((table.labels < 0).sum())) > 0:
        row = int(np.argmax(table.labels < 0))
        raise TenchError(
            f"{where}: {unlabelled} of {len(table)} images have no label, such as {table.key(row)}. "
            "Training and evaluating need a label for each image; tench predict needs none."
        )


def measure(
    module: nn.Module,
    batches: Iterable[Batch],
    num_images: int,
    normalise: Normalise,
    rule: Rule = Rule(),
) -> Metrics:
    """The metrics over batches that must hold num_images different rows, each once."""
    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    rows, hits, losses, labels, finite, num_classes = [], [], [], [], [], 0
    is_right = _right_answers(rule)
    with torch.inference_mode():
        for batch in on_device(batches, device):
            logits = module(normalise(batch.images)).float()  # (B, classes)
            num_classes = logits.shape[1]
            finite.append(logits.isfinite().all(dim=1))
            if rule.among is not None:
                others = torch.ones(num_classes, dtype=torch.bool, device=device)
                others[list(rule.among)] = False
                logits = logits.masked_fill(others, -torch.inf)
            ranked = is_right(batch, logits.topk(min(5, num_classes), dim=1).indices)  # (B, 5) bool
            hits.append(torch.stack([ranked[:, 0], ranked.any(dim=1)], dim=1))
            losses.append(F.cross_entropy(logits, batch.labels, reduction="none"))
            labels.append(batch.labels)
            rows.append(batch.rows)
    module.train(was_training)
    seen = np.zeros(num_images, dtype=np.uint8)
    for numbers in rows:
        np.add.at(seen, numbers.cpu().numpy(), 1)  # waits for the device
    assert seen.min() == seen.max() == 1, f"{num_images} images, but some were counted {seen.min()}-{seen.max()} times"
    is_bad = ~torch.cat(finite)
    hit = torch.cat(hits).cpu().numpy()
    label = torch.cat(labels).cpu().numpy()
    of_class = np.bincount(label, minlength=num_classes)
    correct = np.bincount(label[hit[:, 0]], minlength=num_classes)
    return Metrics(
        images=num_images,
        top1=int(hit[:, 0].sum()) / num_images,
        top5=int(hit[:, 1].sum()) / num_images,
        loss=float(torch.cat(losses).double().mean()),
        per_class=tuple(zip(of_class.tolist(), correct.tolist(), strict=True)),
        not_finite=tuple(sorted(torch.cat(rows)[is_bad.to(rows[0].device)].tolist())),
    )


def _right_answers(rule: Rule) -> Callable[[Batch, torch.Tensor], torch.Tensor]:
    """A function of a batch and predicted classes (B, k) int64 that tells which are right, (B, k) bool."""
    accepted = rule.accepted
    if accepted is None:
        return lambda batch, predicted: predicted == batch.labels[:, None]

    def in_set(batch: Batch, predicted: torch.Tensor) -> torch.Tensor:
        pairs = zip(batch.rows.tolist(), predicted.tolist(), strict=True)
        found = [[guess in accepted[row] for guess in guesses] for row, guesses in pairs]
        return torch.tensor(found, device=predicted.device)

    return in_set
