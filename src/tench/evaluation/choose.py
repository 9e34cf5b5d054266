"""Choose the images to evaluate a model on, and leave out those it was trained on.

A run records which images it was trained on (`tench.weights.images`), so they are recognised even if the data has
moved. Without --split they are left out of the evaluation; images that the run held out and images that are new to it
are counted. With --split all images of that split are counted. Either way a note says how many of them the model was
trained on. Weights copied without their run and published weights have no record. The keys, labels and lengths of the
whole dataset then decide whether it is the training set; if that is unknown, a note says so.
"""

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data import policy
from tench.data.files.tree import is_pattern
from tench.data.handled import Policy
from tench.data.hold_out import hold_out
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.source import Source, matched, name_of, open_source
from tench.data.table import Classes, Dataset, Table
from tench.errors import TenchError, UsageError, counted
from tench.evaluation.measure import ScoringRule
from tench.files import is_there
from tench.weights.images import HELD_OUT, TRAINED_ON, RunImages

_log = logging.getLogger("tench")

_ALL = "To count all of them, add --split"


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The images to evaluate.

    source, split: where they come from. name: what they are, for messages. table: labelled with the model's classes.
    rule: how they are scored. num_trained_on: how many of them the model was trained on; None if that is unknown.
    notes: what the user should know about them.
    """

    source: str
    split: str
    name: str
    table: Table
    rule: ScoringRule
    num_trained_on: int | None
    notes: tuple[str, ...] = ()


def choose(
    source: Source | None,
    classes: Classes,
    split: str | None,
    *,
    model: str = "the model",
    trained_on: Mapping[str, Any],
    images: RunImages | None = None,
    bad: Policy | None = None,
    options: SourceOptions = NO_OPTIONS,
    threads: int = 0,
) -> Chosen:
    """The images of a source to evaluate a model on.

    source: None means the data that the run validated on. classes: the model's. split: None means val, else a labelled
    test, else train, in each case without the images that the model was trained on. model: its name, for messages.
    trained_on: what the model's card records about its data. images: the run's record of its images. bad, options: how
    to read the source; by default as in training.

    Raises TenchError if no images are left, or if the source is the training set, has changed, and there is no record.
    """
    dataset = _opened(source, model, trained_on, options)
    same = _is_same(dataset, trained_on)
    if bad is None:
        bad = trained_on.get("bad", "fail") if same else "fail"
    if split is not None:
        name, _ = dataset.split(split)
    else:
        name, _ = validation_split(dataset) or dataset.split("train", "test")
    dataset, _ = policy.apply(dataset, bad, [name], threads=threads)
    rule = _rule(dataset, name, classes)
    table = matched(dataset.splits[name], dataset, classes, "the model")
    where = f"{dataset.source} ({name})"
    if images is not None:
        validated = dataset.fingerprint == trained_on.get("val_fingerprint") or (
            dataset.fingerprint == trained_on.get("fingerprint") and name != "train"
        )
        standing = images.standing(table, is_held_out=validated, threads=threads)
        if not standing.any():
            note = _not_recognised(where, len(table), images.alike(table))
            found = Chosen(dataset.source, name, where, table, rule, 0, (note,))
        else:
            leaked = images.num_leaked if validated else 0
            found = _without_trained_on(
                dataset.source, name, table, rule, standing, leave_out=split is None, leaked=leaked
            )
    elif dataset.fingerprint == trained_on.get("fingerprint"):
        found = _by_rule(dataset.source, name, table, rule, trained_on, split is None)
    elif dataset.fingerprint == trained_on.get("val_fingerprint"):
        found = Chosen(dataset.source, name, where, table, rule, 0)
    else:
        if split is None and name == "train" and dataset.source == name_of(trained_on.get("source", "")):
            raise TenchError(
                f"{dataset.source} has changed since {model} was trained on it, and the weights come without a "
                "record of its images, so it is unknown which images were held out. Evaluate the run directory "
                "instead of its weights, or use --split train to count all images."
            )
        notes = []
        if trained_on or name == "train":
            notes = [f"{where}: {model} has no record of its training images, so it may have been trained on these."]
        found = Chosen(dataset.source, name, where, table, rule, None, tuple(notes))
    for note in found.notes:
        _log.warning("Note: %s", note)
    return found


def _opened(source: Source | None, model: str, trained_on: Mapping[str, Any], options: SourceOptions) -> Dataset:
    """The dataset to evaluate; read as in training, unless the options say otherwise."""
    if source is None:
        if not trained_on:
            raise UsageError(f"{model} has no record of what it was trained on. Name the dataset to evaluate.")
        source = trained_on.get("val") or trained_on["source"]
        _require_there(source)
    read_as = SourceOptions.from_json(trained_on.get("options", {}), "trained_on.options")
    if isinstance(source, Dataset) or options.given() or not read_as.given():
        return open_source(source, options)
    name, val = name_of(source), trained_on.get("val")
    if val is not None and name == name_of(val):
        return open_source(source, read_as, refuse_unused=False)
    if name == name_of(trained_on["source"]):
        return open_source(source, read_as)
    try:  # it may be the same data in another location
        dataset = open_source(source, read_as, refuse_unused=False)
    except TenchError:
        return open_source(source)
    return dataset if _is_same(dataset, trained_on) else open_source(source)


def _require_there(source: Any) -> None:
    """Raise UsageError if the data that a run recorded no longer exists."""
    for path in [source] if isinstance(source, str) else source:
        if os.path.isabs(path) and not is_pattern(path) and not is_there(path):
            more = "" if isinstance(source, str) else " --with SOURCE"
            raise UsageError(
                f"{path}: no such file or folder. The run was validated on it. If it has moved, give its new "
                f"location: tench evaluate RUN SOURCE{more}"
            )


def _is_same(dataset: Dataset, trained_on: Mapping[str, Any]) -> bool:
    """Whether a model was trained or validated on this dataset, judged by its content or its path."""
    if dataset.fingerprint in (trained_on.get("fingerprint"), trained_on.get("val_fingerprint")):
        return True
    return dataset.source in [name_of(trained_on[what]) for what in ("source", "val") if trained_on.get(what)]


def _without_trained_on(
    source: str,
    split: str,
    table: Table,
    rule: ScoringRule,
    standing: npt.NDArray[np.int8],
    *,
    leave_out: bool,
    leaked: int,
) -> Chosen:
    """The images of a split, without those that the run was trained on if these are to be left out.

    standing: how the run used each image. leaked: how many held-out images have an identical copy among the training
    images, if this is the split that the run validated on.
    """
    where = f"{source} ({split})"
    num_trained, num_held = int((standing == TRAINED_ON).sum()), int((standing == HELD_OUT).sum())
    num_new = len(table) - num_trained - num_held
    if num_trained == 0:
        notes = []
        if leaked:
            is_ = "is" if leaked == 1 else "are"
            notes = [f"{where}: {counted(leaked, 'image')} of the run's validation set {is_} in its training set too."]
        return Chosen(source, split, where, table, rule, leaked, tuple(notes))
    if not leave_out:
        return _with_trained_on(source, split, table, rule, num_trained)
    if num_trained == len(table):
        raise _none_left(where, num_trained, split)
    rows = np.flatnonzero(standing != TRAINED_ON)
    if rule.accepted is not None:
        rule = dataclasses.replace(rule, accepted=[rule.accepted[row] for row in rows.tolist()])
    left = [f"{num_held:,} held out by the run" if num_held else "", f"{num_new:,} new to it" if num_new else ""]
    was = "was" if num_trained == 1 else "were"
    note = (
        f"{where}: {_used(num_trained, table)} and {was} left out. Evaluated: {' and '.join(filter(None, left))}. "
        f"{_ALL} {split}."
    )
    if num_new == 0 and split == "train":  # the expected case
        return Chosen(source, split, f"{source} (held out of train)", table.subset(rows), rule, 0)
    name = f"{source} ({split}, without training images)"
    return Chosen(source, split, name, table.subset(rows), rule, 0, (note,))


def _with_trained_on(source: str, split: str, table: Table, rule: ScoringRule, num_trained: int) -> Chosen:
    """All images of a split, with a note that the model was trained on some of them."""
    where = f"{source} ({split})"
    note = f"{where}: {_used(num_trained, table)}, so the result says little about new images."
    return Chosen(source, split, where, table, rule, num_trained, (note,))


def _used(num_trained: int, table: Table) -> str:
    was = "was" if num_trained == 1 else "were"
    return f"{num_trained:,} of {counted(len(table), 'image')} {was} used to train the model"


def _none_left(where: str, num_trained: int, split: str) -> TenchError:
    all_ = "all " if num_trained > 1 else ""
    return TenchError(
        f"{where}: the model was trained on {all_}{counted(num_trained, 'image')}, so no image is left to evaluate it "
        f"on. Name other images. {_ALL} {split}."
    )


def _not_recognised(where: str, num_images: int, num_alike: int) -> str:
    """The note for images that are all new to the run. num_alike: how many have the name and label of a training
    image."""
    start = f"{where}: none of these {num_images:,} images is identical to an image of the run"
    if not num_alike:
        return f"{start}. Training images that were re-encoded or resized are not recognised."
    return (
        f"{start}, but {num_alike:,} have the name and class of a training image. If they are copies that were "
        "re-encoded or resized, the result says little about new images."
    )


def _by_rule(
    source: str, split: str, table: Table, rule: ScoringRule, trained_on: Mapping[str, Any], leave_out: bool
) -> Chosen:
    """The images of a split of the training set itself, for a model without a record of them.

    The keys determine what was held out of train, see `hold_out`; other splits were not trained on.
    """
    where = f"{source} ({split})"
    if split != "train":
        return Chosen(source, split, where, table, rule, 0)
    held_any = trained_on.get("val") is None and "(held out of train)" in trained_on.get("val_name", "")
    held = hold_out(table, trained_on.get("val_fraction", 0.0))[1] if held_any else None
    num_trained = len(table) - (0 if held is None else len(held))
    if leave_out and held is not None:
        return Chosen(source, split, f"{source} (held out of train)", held, rule, 0)
    if leave_out:
        raise _none_left(where, num_trained, split)
    return _with_trained_on(source, split, table, rule, num_trained)


def _rule(dataset: Dataset, split: str, classes: Classes) -> ScoringRule:
    scoring = dataset.scoring.get(split)
    if scoring is None:
        return ScoringRule()
    index = classes.index_of(dataset.classes, whose=dataset.source, here="the model")
    if scoring == "any-label":
        sets = dataset.splits[split].label_sets()
        return ScoringRule(accepted=[index[np.asarray(labels, np.int64)].tolist() for labels in sets])
    return ScoringRule(among=tuple(index.tolist())) if len(dataset.classes) < len(classes) else ScoringRule()


def validation_split(dataset: Dataset) -> tuple[str, Table] | None:
    """(name, table) of the split to validate on: val, else a labelled test (those of contests have no labels), else
    None."""
    if "val" in dataset.splits:
        return dataset.split("val")
    if "test" in dataset.splits and (dataset.splits["test"].labels >= 0).any():
        return dataset.split("test")
    return None
