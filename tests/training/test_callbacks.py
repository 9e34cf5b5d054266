"""The user's own functions, called after every epoch."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.runs import assert_same_outcome, checkpoint
from torch import nn

import tench
from tench.errors import UsageError
from tench.run import Run
from tench.training.callbacks import EpochEnd, StopTraining
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe

SOURCE = "synthetic:images=48,size=8,classes=3,val=24,format=pixels"
SMALL = Recipe().replace(arch="mlp", epochs=4, batch_size=8, lr=0.02, precision="fp32", compile="off")
OPTIONS = TrainOptions(device="cpu", threads=1, save_every_seconds=0.0)


def train(run: Path, *callbacks: Any, recipe: Recipe = SMALL) -> Run:
    return fit(SOURCE, recipe, run=run, options=OPTIONS, callbacks=callbacks)


def test_a_callback_sees_each_epoch_with_its_metrics_after_its_checkpoint_is_saved(tmp_path: Path) -> None:
    ends: list[EpochEnd] = []

    def watch(end: EpochEnd) -> None:
        assert checkpoint(tmp_path)["epochs"] == end.epoch
        ends.append(end)

    run = train(tmp_path, watch, recipe=SMALL.replace(validate_every=2))
    assert [(end.epoch, end.epochs, end.step) for end in ends] == [(1, 4, 6), (2, 4, 12), (3, 4, 18), (4, 4, 24)]
    assert [end.run.folder for end in ends] == [tmp_path] * 4
    for end, record in zip(ends, run.metrics("epoch"), strict=True):
        logged = {name: value for name, value in record.items() if name not in ("kind", "step", "epoch")}
        assert dict(end.metrics) == pytest.approx(logged, rel=1e-5)
    assert ["val_top1" in end.metrics for end in ends] == [False, True, False, True]


def test_the_classifier_is_a_copy_of_the_validated_network(tmp_path: Path) -> None:
    kept: list[tuple[EpochEnd, Any]] = []

    def keep(end: EpochEnd) -> None:
        assert end.classifier is end.classifier
        kept.append((end, copy.deepcopy(end.classifier.module.state_dict())))

    train(tmp_path, keep, recipe=SMALL.replace(average="ema", average_decay=0.5))
    dataset = tench.open_source(SOURCE)
    for end, weights in kept:
        assert not end.classifier.module.training
        now = end.classifier.module.state_dict()
        assert all(torch.equal(now[name], weights[name]) for name in weights)  # later epochs have not changed it
        evaluation = tench.evaluate(end.classifier, dataset)
        assert evaluation.top1 == pytest.approx(end.metrics["val_top1"])
        assert end.classifier.card.metrics["epoch"] == end.epoch
    assert not torch.equal(*(weights["1.weight"] for _, weights in (kept[0], kept[-1])))
    assert kept[0][0].classifier.predict([np.zeros((8, 8, 3), np.uint8)]) is not None


def test_a_callback_does_not_change_the_training(tmp_path: Path) -> None:
    def draws(end: EpochEnd) -> None:
        torch.rand(3)
        end.classifier.module.train()

    recipe = SMALL.replace(mixup=0.3)
    assert_same_outcome(
        train(tmp_path / "watched", draws, recipe=recipe).folder, train(tmp_path / "alone", recipe=recipe).folder
    )


def test_a_callback_can_stop_the_training_and_the_same_call_continues_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plateau(end: EpochEnd) -> None:
        if end.epoch == 2:
            raise StopTraining("no progress")

    seen = []
    with caplog.at_level(logging.INFO, "tench"):
        run = train(tmp_path / "stopped", plateau, lambda end: seen.append(end.epoch))
    assert seen == [1, 2]
    assert caplog.messages[-1] == (
        f"Stopped after epoch 2 of 4 by the callback object:plateau: no progress. Continue with: tench.fit("
        f"run='{tmp_path}/stopped', callbacks=...)"
    )
    assert checkpoint(run.folder)["epochs"] == 2
    assert json.loads((run.folder / "model.json").read_text())["metrics"]["epoch"] <= 2
    assert tench.load(run.folder, "cpu").classes.ids
    expected = train(tmp_path / "undisturbed")
    assert_same_outcome(train(run.folder, plateau).folder, expected.folder)


def test_an_error_in_a_callback_is_raised_after_the_checkpoint_is_saved_and_names_the_callback(tmp_path: Path) -> None:
    def broken(end: EpochEnd) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as raised:
        train(tmp_path, broken)
    assert raised.value.__notes__ == [
        "Raised by the callback object:broken after epoch 1. The checkpoint of that epoch is saved in "
        f"{tmp_path}; the same command continues after it."
    ]
    assert checkpoint(tmp_path)["epochs"] == 1
    assert train(tmp_path).metrics("epoch")[-1]["epoch"] == 4


class Watcher:
    """An object that can be called."""

    def __init__(self) -> None:
        self.best = 0.0

    def __call__(self, end: EpochEnd) -> None:
        self.best = max(self.best, end.metrics["val_top1"])


def test_an_object_with_a_call_method_is_a_callback(tmp_path: Path) -> None:
    watcher = Watcher()
    run = train(tmp_path, watcher)
    assert watcher.best == pytest.approx(max(record["val_top1"] for record in run.metrics("epoch")), rel=1e-5)


@pytest.mark.parametrize("wrong", ["watch", Watcher, nn.Linear])
def test_a_value_that_cannot_be_called_with_an_epoch_is_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"^callbacks: .+ is not a function of one argument, an EpochEnd\.$"):
        train(tmp_path, wrong)
