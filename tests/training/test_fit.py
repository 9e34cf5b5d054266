"""The whole training loop. As a script (-m tests.training.test_fit RUN), this file trains until a test kills it."""

import contextlib
import csv
import dataclasses
import itertools
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch
import yaml
from tests.support.processes import child, join
from tests.training.runs import Killed, assert_same_outcome, checkpoint, equal_in_all
from torch import nn

import tench
from tench.errors import TenchError, UsageError
from tench.evaluation.measure import Metrics
from tench.evaluation.measure import measure as real_measure
from tench.input.loader import Batch
from tench.run import Run
from tench.training import fit as fit_module
from tench.training import loop as loop_module
from tench.training import network as network_module
from tench.training import plan
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.plan import Data
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_file import load_recipe
from tench.training.state import State
from tench.training.step import train_step as real_train_step
from tench.training.stopping import StoppedError

SOURCE = "synthetic:images=64,size=8,classes=4,val=30,format=pixels"
STEPS_PER_EPOCH, EPOCHS = 8, 3
DIGITS_WITH_MLP = load_recipe("digits").replace(arch="mlp", epochs=6, lr=0.05)
SMALL = Recipe().replace(arch="mlp", epochs=EPOCHS, batch_size=8, lr=0.02, precision="fp32")
OPTIONS = TrainOptions(device="cpu", threads=1, log_every=3, save_every_seconds=0.0)
"""A checkpoint after every step."""

FILES = {
    "recipe.yaml",
    "environment.json",
    "classes.json",
    "metrics.jsonl",
    "metrics.csv",
    "images.safetensors",
    "last.ckpt",
    "best.safetensors",
    "model.json",
}


def dropout_network(arch: str, *, num_classes: int, image_size: int, channels: int, options: object) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout2d(0.3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(32, num_classes),
    )


def train(run: Path, recipe: Recipe = SMALL, options: TrainOptions = OPTIONS) -> Run:
    return fit(SOURCE, recipe=recipe, run=run, options=options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield train(tmp_path_factory.mktemp("undisturbed")).folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of a perceptron on the digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        run = tmp_path_factory.mktemp("digits")
        yield fit(recipe=DIGITS_WITH_MLP, run=run, options=TrainOptions(device="cpu", threads=1, log_every=20))


# The result and the files of a run


def test_the_digits_are_learned(digits: Run) -> None:
    epochs = digits.metrics("epoch")
    assert [record["epoch"] for record in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["val_top1"] > 0.9
    assert epochs[-1]["val_images"] == 359
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]


def test_a_run_contains_the_documented_files_and_no_others(digits: Run) -> None:
    assert {path.name for path in digits.folder.iterdir()} - {".lock"} == FILES


def test_the_recipe_of_a_run_has_every_value_and_no_auto(digits: Run) -> None:
    written = yaml.safe_load((digits.folder / "recipe.yaml").read_text())
    assert {section: list(values) for section, values in written.items()} == {
        section: list(values) for section, values in yaml.safe_load(Recipe().to_yaml()).items()
    }
    assert "auto" not in [value for values in written.values() for value in values.values()]
    assert load_recipe(str(digits.folder / "recipe.yaml")).training.epochs == 6


def test_the_environment_records_the_machine_and_versions(digits: Run) -> None:
    found = digits.environment()
    assert found["tench"] == tench.__version__
    assert found["packages"]["torch"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["data"]["source"] == "digits"
    assert found["data"]["fingerprint"] == tench.open_source("digits").fingerprint


def test_the_classes_are_stored_with_the_weights(digits: Run) -> None:
    assert json.loads((digits.folder / "classes.json").read_text())["ids"] == list("0123456789")
    assert json.loads((digits.folder / "model.json").read_text())["classes"]["ids"] == list("0123456789")


def test_the_log_has_steps_and_epochs_in_order(digits: Run) -> None:
    lines = [json.loads(line) for line in (digits.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == digits.metrics()
    steps_per_epoch = 1438 // 32
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(20, 6 * steps_per_epoch + 1, 20))
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [
        steps_per_epoch * epoch for epoch in range(1, 7)
    ]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    for line in lines:
        if line["kind"] == "step":
            assert line["epoch"] == (line["step"] - 1) // steps_per_epoch + 1
            assert line["images_per_second"] > 0
            assert 0 <= line["wait_share"] <= 1
    assert lines[-1]["seconds"] > lines[0].get("seconds", 0)


def test_the_table_of_epochs_matches_the_log(digits: Run) -> None:
    with (digits.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = digits.metrics("epoch")
    assert list(rows[0]) == [name for name in epochs[0] if name != "kind"]
    assert [{name: float(value) for name, value in row.items()} for row in rows] == [
        {name: value for name, value in epoch.items() if name != "kind"} for epoch in epochs
    ]


def test_the_log_has_the_learning_rate_of_the_last_step(undisturbed: Path) -> None:
    # cosine over 24 steps from 0.02
    lrs = {line["step"]: line["lr"] for line in Run(undisturbed).metrics("step")}
    expected = {step: 0.01 * (1 + torch.tensor(torch.pi * (step - 1) / 24).cos().item()) for step in lrs}
    assert lrs == pytest.approx(expected, rel=1e-4)


def test_the_saved_weights_are_from_the_best_epoch(digits: Run) -> None:
    best = max(digits.metrics("epoch"), key=lambda record: (record["val_top1"], -record["val_loss"]))
    metrics = json.loads((digits.folder / "model.json").read_text())["metrics"]
    assert metrics["epoch"] == best["epoch"]
    assert metrics["top1"] == pytest.approx(best["val_top1"], rel=1e-5)
    assert metrics["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ([(0.5, 2.0), (0.75, 1.0), (0.25, 0.5)], [1, 2]),
        ([(0.5, 2.0), (0.75, 1.0), (0.75, 1.5)], [1, 2]),
        ([(0.5, 2.0), (0.75, 1.0), (0.75, 0.5)], [1, 2, 3]),
    ],
    ids=["a lower top-1", "the same top-1 with a higher loss", "the same top-1 with a lower loss"],
)
def test_the_best_epoch_has_the_highest_top1_and_on_a_tie_the_lowest_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[tuple[float, float]], kept: list[int]
) -> None:
    measured = iter(found)

    def measure(*arguments: Any) -> Metrics:
        top1, loss = next(measured)
        return dataclasses.replace(real_measure(*arguments), top1=top1, loss=loss)

    weights = []
    monkeypatch.setattr(loop_module, "measure", measure)
    monkeypatch.setattr(loop_module, "save", lambda folder, module, card: weights.append(card.metrics))
    train(tmp_path)
    assert [metrics["epoch"] for metrics in weights] == kept


@pytest.mark.parametrize(("every", "validated"), [(1, [1, 2, 3]), (2, [2, 3]), (3, [3]), (10, [3])])
def test_validation_runs_every_n_epochs_and_after_the_last(tmp_path: Path, every: int, validated: list[int]) -> None:
    run = train(tmp_path, SMALL.replace(validate_every=every))
    epochs = run.metrics("epoch")
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    assert [record["epoch"] for record in epochs if "val_top1" in record] == validated
    assert json.loads((tmp_path / "model.json").read_text())["metrics"]["epoch"] in validated
    with (tmp_path / "metrics.csv").open() as table:
        assert [row["val_top1"] != "" for row in csv.DictReader(table)] == [epoch in validated for epoch in (1, 2, 3)]


def test_repeating_a_call_gives_the_same_weights(undisturbed: Path, tmp_path: Path) -> None:
    assert_same_outcome(train(tmp_path).folder, undisturbed)


@pytest.mark.parametrize("values", [{"threads": 2}, {"log_every": 100}, {"save_every_seconds": 600.0}])
def test_options_do_not_change_the_results(undisturbed: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    options = dataclasses.replace(OPTIONS, **values)
    ours, theirs = checkpoint(train(tmp_path, options=options).folder), checkpoint(undisturbed)
    assert equal_in_all(ours["model"], theirs["model"])


def test_a_different_seed_gives_different_weights(undisturbed: Path, tmp_path: Path) -> None:
    run = train(tmp_path, SMALL.replace(seed=1)).folder
    assert not equal_in_all(checkpoint(run)["model"], checkpoint(undisturbed)["model"])


def test_if_no_folder_is_named_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quick = SMALL.replace(epochs=1)
    folders = [fit(SOURCE, recipe=quick, options=OPTIONS).folder for _ in range(2)]
    assert folders == [Path("runs/001"), Path("runs/002")]


@pytest.mark.parametrize(
    ("source", "recipe"),
    [("nowhere", SMALL), (SOURCE, SMALL.replace(arch="resnt18")), (SOURCE, SMALL.replace(epochs=0))],
)
def test_training_that_cannot_begin_leaves_no_run_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, recipe: Recipe
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        fit(source, recipe=recipe, options=OPTIONS)
    assert list(tmp_path.rglob("runs/*")) == []


# Killed and resumed


@pytest.mark.parametrize("step", range(1, STEPS_PER_EPOCH * EPOCHS))
def test_a_run_killed_before_any_step_ends_the_same_after_resuming(
    undisturbed: Path, tmp_path: Path, kill_before: Callable[[int], None], step: int
) -> None:
    kill_before(step)
    with pytest.raises(Killed):
        train(tmp_path)
    assert checkpoint(tmp_path)["step"] == step
    assert_same_outcome(train(tmp_path).folder, undisturbed)


@pytest.mark.parametrize("step", [3, 8, 13])
def test_a_run_with_mixing_and_repeats_that_is_killed_ends_the_same_after_resuming(
    tmp_path: Path, kill_before: Callable[[int], None], step: int
) -> None:
    recipe = SMALL.replace(
        epochs=2, mixup=0.8, cutmix=1.0, mix_form="timm", mix_mode="elem", erasing=0.5, erasing_value="pixel", repeats=2
    )
    expected = train(tmp_path / "undisturbed", recipe).folder
    kill_before(step)
    with pytest.raises(Killed):
        train(tmp_path / "killed", recipe)
    assert_same_outcome(train(tmp_path / "killed", recipe).folder, expected)


RAMP: dict[str, Any] = {"train_size": 12, "ramp_from": 6, "ramp_epochs": (0.0, 2.0), "ramp_multiple": 2}
GROWING = SMALL.replace(arch="resnet20", compile="off", **RAMP)


def test_progressive_resizing_grows_training_images_and_leaves_evaluation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_before: Callable[[int], None]
) -> None:
    seen: list[tuple[int, ...]] = []

    def network(arch: str, *, num_classes: int, image_size: int, channels: int, **options: Any) -> nn.Module:
        module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))
        module.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0].shape[-1])))
        return module

    monkeypatch.setattr(network_module, "create", network)
    expected = train(tmp_path / "undisturbed", GROWING).folder
    in_training = [size for training, size in seen if training]
    assert in_training == [6] * STEPS_PER_EPOCH + [8] * STEPS_PER_EPOCH + [12] * STEPS_PER_EPOCH
    assert {size for training, size in seen[3:] if not training} == {8}  # the first passes try out the sizes
    kill_before(STEPS_PER_EPOCH + 3)
    with pytest.raises(Killed):
        train(tmp_path / "killed", GROWING)
    assert_same_outcome(train(tmp_path / "killed", GROWING).folder, expected)


def test_a_bgr_network_is_evaluated_as_it_was_validated(tmp_path: Path) -> None:
    recipe = SMALL.replace(arch="resnet20", epochs=1, channel_order="bgr", mean=(0.2, 0.5, 0.8), std=(0.2, 0.3, 0.4))
    run = train(tmp_path, recipe)
    (epoch,) = run.metrics("epoch")
    metrics = tench.evaluate(tench.load(run.folder, "cpu"))
    assert metrics.top1 == epoch["val_top1"]
    assert metrics.loss == pytest.approx(epoch["val_loss"], rel=1e-4)


@pytest.mark.parametrize("save_every_seconds", [600.0, 0.0])
def test_a_run_killed_before_its_first_checkpoint_starts_over(
    undisturbed: Path, tmp_path: Path, kill_before: Callable[[int], None], save_every_seconds: float
) -> None:
    kill_before(5 if save_every_seconds else 0)
    with pytest.raises(Killed):
        train(tmp_path, options=dataclasses.replace(OPTIONS, save_every_seconds=save_every_seconds))
    assert not (tmp_path / "last.ckpt").exists()
    assert_same_outcome(train(tmp_path).folder, undisturbed)


@pytest.mark.parametrize("target", ["measure", "_refuse_chance", "save"])
def test_a_run_killed_between_the_last_step_and_the_validation_validates_that_epoch(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    calls = itertools.count()
    whole = getattr(loop_module, target)

    def once_killed(*arguments: Any) -> Any:
        result = whole(*arguments)
        if next(calls) == 0:
            raise Killed
        return result

    monkeypatch.setattr(loop_module, target, once_killed)
    with pytest.raises(Killed):
        train(tmp_path)
    saved = checkpoint(tmp_path)
    assert (saved["step"], saved["epochs"]) == (STEPS_PER_EPOCH, 0)
    assert_same_outcome(train(tmp_path).folder, undisturbed)


@pytest.mark.parametrize("method", ["log", "write_table", "save_checkpoint"])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_killed_while_writing_an_epoch_ends_the_same_after_resuming(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, epoch: int
) -> None:
    whole = getattr(Run, method)
    done: list[bool] = []

    def killed_after(run: Run, *arguments: Any, **values: Any) -> None:
        if method == "save_checkpoint" and arguments[0]["epochs"] == epoch and not done:
            done.append(True)
            raise Killed  # before the file is in place: complete_file renames last
        whole(run, *arguments, **values)
        if method == "write_table" and len(run.metrics("epoch")) == epoch and not done:
            done.append(True)
            raise Killed
        if method == "log" and values["kind"] == "epoch" and values["epoch"] == epoch and not done:
            done.append(True)
            raise Killed

    monkeypatch.setattr(Run, method, killed_after)
    with pytest.raises(Killed):
        train(tmp_path)
    assert len(Run(tmp_path).metrics("epoch")) == epoch
    assert checkpoint(tmp_path)["epochs"] == epoch - 1
    assert_same_outcome(train(tmp_path).folder, undisturbed)


def test_a_run_with_dropout_killed_by_a_signal_ends_the_same_after_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "tests.training.test_fit", tmp_path / "killed"]
    with child(command, cwd=Path(__file__).parents[2]) as training:
        training.wait_for_output("waits")
        training.kill()
    saved = checkpoint(tmp_path / "killed")
    assert saved["epochs"] == 1
    assert STEPS_PER_EPOCH < saved["step"] < 2 * STEPS_PER_EPOCH

    monkeypatch.setattr(network_module, "create", dropout_network)
    train(tmp_path / "killed")
    train(tmp_path / "undisturbed")
    assert_same_outcome(tmp_path / "killed", tmp_path / "undisturbed")
    assert {path.name for path in (tmp_path / "killed").iterdir() if not path.name.startswith(".")} == FILES


def test_half_written_files_of_a_killed_process_do_no_harm(
    undisturbed: Path, tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    kill_before(13)
    with pytest.raises(Killed):
        train(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"kind": "step", "step": 1')
    (tmp_path / ".last.ckpt.abc.part").write_bytes(b"half")
    assert_same_outcome(train(tmp_path).folder, undisturbed)


# Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_with_a_checkpoint_and_it_can_continue(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def train_step(state: State, *rest: Any) -> None:
        if state.step == 10:
            os.kill(os.getpid(), number)
        real_train_step(state, *rest)

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "train_step", train_step)
        with pytest.raises(StoppedError) as stopped:
            train(tmp_path, options=dataclasses.replace(OPTIONS, save_every_seconds=600.0))
    assert str(stopped.value) == (
        f"Stopped after step 11; a checkpoint is saved. Continue with: tench train --run {tmp_path}"
    )
    assert checkpoint(tmp_path)["step"] == 11
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert_same_outcome(fit(run=tmp_path, options=OPTIONS).folder, undisturbed)  # as the message says


def test_a_signal_stops_validation_which_is_repeated_on_resuming(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*arguments: Any) -> Metrics:
        os.kill(os.getpid(), signal.SIGTERM)
        return real_measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "measure", measure)
        with pytest.raises(StoppedError, match=f"Stopped after step {STEPS_PER_EPOCH}; a checkpoint is saved"):
            train(tmp_path, options=dataclasses.replace(OPTIONS, save_every_seconds=600.0))
    assert (checkpoint(tmp_path)["step"], checkpoint(tmp_path)["epochs"]) == (STEPS_PER_EPOCH, 0)
    assert_same_outcome(train(tmp_path).folder, undisturbed)


def test_a_signal_right_after_the_check_takes_effect_after_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the signal comes, a run that says that a checkpoint is saved has saved it."""
    answers = itertools.chain([False], itertools.repeat(True))

    @contextlib.contextmanager
    def stop_signals() -> Iterator[Callable[[], bool]]:
        yield lambda: next(answers)

    monkeypatch.setattr(fit_module, "stop_signals", stop_signals)
    with pytest.raises(StoppedError, match="Stopped after step 2; a checkpoint is saved"):
        train(tmp_path, options=dataclasses.replace(OPTIONS, save_every_seconds=600.0))
    assert checkpoint(tmp_path)["step"] == 2


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_step(state: State, *rest: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop_module, "train_step", train_step)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)


def test_training_outside_the_main_thread_leaves_signal_handlers_alone(tmp_path: Path, undisturbed: Path) -> None:
    thread = threading.Thread(target=train, args=[tmp_path])
    thread.start()
    join(thread)
    assert_same_outcome(tmp_path, undisturbed)


# Repeating the call


def test_the_call_for_a_finished_run_returns_it_unchanged(undisturbed: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path.name: path.read_bytes() for path in undisturbed.iterdir()}
    with caplog.at_level(logging.INFO, "tench"):
        train(undisturbed)
    best = json.loads((undisturbed / "model.json").read_text())["metrics"]["top1"]
    assert f"{undisturbed}: this run is finished (3 epochs, best val top-1 {best:.2%})." in caplog.messages
    assert {path.name: path.read_bytes() for path in undisturbed.iterdir()} == before


def test_a_run_can_be_continued_given_only_its_folder(undisturbed: Path) -> None:
    assert fit(run=undisturbed, options=OPTIONS).folder == undisturbed


def test_another_recipe_is_refused_with_the_differences(undisturbed: Path) -> None:
    with pytest.raises(UsageError) as refused:
        train(undisturbed, SMALL.replace(lr=0.5, epochs=4))
    assert str(refused.value) == (
        f"{undisturbed}: the run was started with a different recipe or dataset: optimizer.lr was 0.02, now 0.5. "
        "Continue it with the same command, or name a new --run.\n"
        f"To train on from its weights: tench train {SOURCE} --weights {undisturbed} --epochs 3 --run NEW_RUN"
    )


def test_an_auto_in_the_recipe_of_a_run_is_an_error(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    path = run / "recipe.yaml"
    path.write_text(path.read_text().replace("eval_resize: 8\n", "eval_resize: auto\n"))
    with pytest.raises(UsageError) as refused:
        fit(run=run, options=OPTIONS)
    assert str(refused.value) == (
        f"{path}: input.eval_resize must have a value here, not auto. This file stores the values that a run trains "
        "with. Restore it, or name a new --run."
    )


def test_a_run_that_has_taken_no_step_accepts_another_recipe(
    tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    kill_before(0)
    with pytest.raises(Killed):
        train(tmp_path)
    other = SMALL.replace(batch_size=16)
    assert load_recipe(str(train(tmp_path, other).folder / "recipe.yaml")).training.batch_size == 16


def test_another_dataset_is_refused(undisturbed: Path) -> None:
    other = SOURCE.replace("images=64", "images=65")
    with pytest.raises(UsageError) as refused:
        fit(other, recipe=SMALL, run=undisturbed, options=OPTIONS)
    fingerprints = [tench.open_source(source).fingerprint for source in (SOURCE, other)]
    assert f"recipe or dataset: fingerprint was {fingerprints[0]}, now {fingerprints[1]}." in str(refused.value)


def test_another_validation_set_is_refused(undisturbed: Path) -> None:
    with pytest.raises(UsageError) as refused:
        fit(SOURCE, val=SOURCE, recipe=SMALL, run=undisturbed, options=OPTIONS)
    fingerprint = tench.open_source(SOURCE).fingerprint
    assert f"dataset: val_fingerprint was None, now {fingerprint}." in str(refused.value)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("digits", {"mean": (0.1, 0.2, 0.4), "std": (0.2, 0.3, 0.3)}),
        (SOURCE, {"mean": (0.1,), "std": (0.2,)}),
    ],
)
def test_a_mean_adapted_to_the_channels_is_the_same_recipe(tmp_path: Path, source: str, values: dict[str, Any]) -> None:
    recipe = SMALL.replace(epochs=1, **values)
    for _ in range(2):
        fit(source, recipe=recipe, run=tmp_path, options=TrainOptions(device="cpu", threads=1))
    assert len(Run(tmp_path).metrics("epoch")) == 1


def test_a_relative_validation_source_is_found_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "other"):
        for number, class_name in itertools.product(range(4), "ab"):
            path = tmp_path / name / class_name / f"{number}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"P6 8 8 255 " + bytes([number * 9, ord(class_name), 3]) * 64)
    monkeypatch.chdir(tmp_path)
    recipe = SMALL.replace(epochs=1, batch_size=4)
    fit("mine", val="other", recipe=recipe, run=tmp_path / "run", options=OPTIONS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(fit(run=tmp_path / "run", options=OPTIONS).metrics("epoch")) == 1


def test_a_second_process_training_the_same_run_is_refused(tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(TenchError) as refused:
        train(tmp_path)
    assert str(refused.value) == f"{tmp_path}: another process is training in this run. Wait for it, or stop it."


# Errors that stop training


def test_a_loss_that_is_not_finite_stops_the_run_and_overwrites_nothing(
    undisturbed: Path, tmp_path: Path, kill_before: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_before(12)
    with pytest.raises(Killed):
        train(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("last.ckpt", "best.safetensors", "model.json")}
    bad_rows: list[int] = []

    def train_step(state: State, batch: Batch, lr: float, recipe: Resolved, normalise: Any, *rest: Any) -> None:
        factor = float("nan") if state.step > 12 else 1.0
        scaled: Any = lambda images: normalise(images) * factor  # noqa: E731  # shorter than a def with its types
        if state.step == 13:
            bad_rows.extend(batch.rows.tolist())
        real_train_step(state, batch, lr, recipe, scaled, *rest)

    seldom = dataclasses.replace(OPTIONS, log_every=100, save_every_seconds=600.0)
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "train_step", train_step)
        with pytest.raises(TenchError) as stopped:
            train(tmp_path, options=seldom)
    rows = ", ".join(map(str, bad_rows))
    assert str(stopped.value).startswith(
        f"The loss was not finite at step 14 (rows {rows} of the training images). That update was skipped, "
    )
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert_same_outcome(train(tmp_path).folder, undisturbed)  # and training can continue from there


def test_weights_that_are_not_finite_are_not_saved_even_if_the_loss_was_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(state: State, *rest: Any) -> None:
        real_train_step(state, *rest)
        if state.step == 2 * STEPS_PER_EPOCH - 1:  # the last step of an epoch that is not validated
            next(state.module.parameters()).data[0] = float("inf")

    monkeypatch.setattr(loop_module, "train_step", train_step)
    with pytest.raises(
        TenchError, match=f"weights are not finite after step {2 * STEPS_PER_EPOCH}, although the loss was"
    ):
        train(tmp_path, SMALL.replace(validate_every=3), dataclasses.replace(OPTIONS, save_every_seconds=600.0))
    assert checkpoint(tmp_path)["step"] == STEPS_PER_EPOCH


def test_the_error_for_out_of_memory_names_options_that_need_less_and_they_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "train_step", train_step)
        with pytest.raises(TenchError) as stopped:
            train(tmp_path)
    assert str(stopped.value) == (
        "Training with batches of 8 on cpu: not enough memory. --accumulate 2 splits each batch into two "
        "forward passes, --recompute keeps fewer activations, and -b sets a smaller batch (which needs another "
        "learning rate). (CUDA out of memory)"
    )
    assert train(tmp_path, SMALL.replace(accumulate=2)).metrics("epoch")[-1]["epoch"] == EPOCHS


def test_validation_uses_the_batch_size_of_one_training_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def measure(module: nn.Module, batches: Iterator[Batch], *rest: Any) -> Metrics:
        kept = list(batches)
        sizes.append([len(batch.rows) for batch in kept])
        return real_measure(module, kept, *rest)

    monkeypatch.setattr(loop_module, "measure", measure)
    train(tmp_path, SMALL.replace(epochs=1, batch_size=32, accumulate=4))
    assert sizes == [[8, 8, 8, 6]]


def test_a_warmup_as_long_as_the_training_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train(tmp_path, SMALL.replace(epochs=1, warmup="5 epochs"))
    assert (
        "Note: the warm-up (5 epochs) is at least as long as the training, so the learning rate only rises."
        in caplog.text
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"batch_size": 1}, "a batch, or a part of it with --accumulate, is one image. Use larger batches"),
        ({"accumulate": 8}, "a batch, or a part of it with --accumulate, is one image. Use larger batches"),
        (
            {"batch_size": 21, "drop_last": False},
            "the last batch of an epoch has 1 of the 64 images. Add --drop-last",
        ),
    ],
)
def test_a_batch_norm_with_one_value_is_refused_before_the_first_step(
    tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    recipe = SMALL.replace(arch="resnet18", **values)  # its last map has one pixel for 8 px images
    with pytest.raises(UsageError) as refused:
        train(tmp_path / "run", recipe)
    assert str(refused.value).startswith("resnet18 cannot learn from a single image (Expected more than 1 value")
    assert str(refused.value).endswith(f"but {reason}.")
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_validation_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, float("nan")])

    def measure(*arguments: Any) -> Metrics:
        return dataclasses.replace(real_measure(*arguments), top1=1.0, loss=next(losses))

    monkeypatch.setattr(loop_module, "measure", measure)
    with pytest.raises(TenchError) as stopped:
        train(tmp_path, options=dataclasses.replace(OPTIONS, save_every_seconds=600.0))
    assert str(stopped.value) == (
        f"{tmp_path}: the validation loss after epoch 2 is not finite. Nothing of this epoch was saved. "
        "Try a lower learning rate or --precision fp32."
    )
    assert checkpoint(tmp_path)["epochs"] == 1
    assert json.loads((tmp_path / "model.json").read_text())["metrics"]["epoch"] == 1


@pytest.fixture
def damaged(photos: Path) -> Path:
    """Real photographs, of which one in train and one in val are truncated."""
    for name in ("train/roof/3.jpg", "val/water/6.jpg"):
        path = photos / name
        path.write_bytes(path.read_bytes()[:-400])
    return photos


PHOTOS = SMALL.replace(image_size=16, epochs=1, batch_size=4)


def test_a_bad_image_stops_training_unless_the_recipe_says_otherwise(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(TenchError, match=r"truncated JPEG|premature end"):
        fit(damaged, recipe=PHOTOS, run=tmp_path / "run", options=OPTIONS)


@pytest.mark.parametrize(("bad", "num_train", "num_val"), [("skip", 17, 5), ("fix", 18, 6)])
def test_bad_images_are_skipped_or_fixed_and_listed(
    damaged: Path, tmp_path: Path, bad: str, num_train: int, num_val: int
) -> None:
    run = fit(damaged, recipe=PHOTOS.replace(bad=bad), run=tmp_path / "run", options=OPTIONS)
    listed = json.loads((run.folder / "bad_images.json").read_text())
    done = {"skip": "skipped", "fix": "fixed"}[bad]
    assert [(one["split"], one["key"], one["done"]) for one in listed] == [
        ("train", "roof/3.jpg", done),
        ("val", "water/6.jpg", done),
    ]
    assert all(one["reason"] and one["file"].startswith(str(damaged)) for one in listed)
    assert run.metrics("epoch")[-1]["val_images"] == num_val
    evaluation = tench.evaluate(run)
    assert evaluation.images == num_val
    assert len(plan.open_data(str(damaged), None, PHOTOS.replace(bad=bad).input).train) == num_train
    with pytest.raises(TenchError, match=r"water/6\.jpg.* --bad skip"):
        tench.evaluate(run.folder, bad="fail")
    assert evaluation.name.endswith("(val)")


def test_a_run_that_starts_over_with_other_data_lists_the_bad_images_of_that_data(
    damaged: Path, photo_folder: Path, tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    kill_before(0)
    with pytest.raises(Killed):
        fit(damaged, recipe=PHOTOS.replace(bad="skip"), run=tmp_path / "run", options=OPTIONS)
    assert (tmp_path / "run/bad_images.json").exists()
    fit(photo_folder, recipe=PHOTOS, run=tmp_path / "run", options=OPTIONS)
    assert not (tmp_path / "run/bad_images.json").exists()


def test_a_different_set_of_bad_images_needs_a_new_run(damaged: Path, tmp_path: Path) -> None:
    recipe = PHOTOS.replace(bad="skip")
    fit(damaged, recipe=recipe, run=tmp_path / "run", options=OPTIONS)
    other = damaged / "train/roof/2.jpg"
    other.write_bytes(bytes(other.stat().st_size))
    (damaged / "train/roof").touch()  # copying the file again would do the same
    with pytest.raises(UsageError, match=r"bad_images was [0-9a-f]{16}, now [0-9a-f]{16}"):
        fit(damaged, recipe=recipe, run=tmp_path / "run", options=OPTIONS)


@pytest.fixture
def wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each validation image the label of the next class."""
    whole = plan.open_data

    def open_data(*arguments: Any, **named: Any) -> Data:
        data = whole(*arguments, **named)
        index = np.roll(np.arange(len(data.classes), dtype=np.int32), -1)
        return dataclasses.replace(data, val=data.val.relabelled(index))

    monkeypatch.setattr(fit_module, "open_data", open_data)


@pytest.mark.usefixtures("wrong_labels")
def test_validation_labels_that_do_not_match_their_images_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(TenchError) as stopped:
        fit("digits", recipe=DIGITS_WITH_MLP, run=tmp_path, options=TrainOptions(device="cpu", threads=1))
    assert str(stopped.value).startswith("digits (val): top-1 is ")
    assert "on 359 images, no better than guessing (10." in str(stopped.value)
    assert str(stopped.value).endswith(
        "The validation labels probably do not match the images: check the order of the label file and the class "
        "numbering (tench info SOURCE)."
    )
    assert len(Run(tmp_path).metrics("epoch")) < 3


@pytest.mark.usefixtures("wrong_labels")
def test_an_average_at_chance_may_still_be_the_initial_weights(tmp_path: Path) -> None:
    recipe = DIGITS_WITH_MLP.replace(average="ema", average_decay=0.9999)
    with pytest.raises(
        TenchError, match=r"the initial weights may still dominate it: lower --average-decay\. Or: The valid"
    ):
        fit("digits", recipe=recipe, run=tmp_path, options=TrainOptions(device="cpu", threads=1))


def test_the_default_average_suits_a_short_run(tmp_path: Path) -> None:
    run = fit("digits", recipe=DIGITS_WITH_MLP.replace(average="ema"), run=tmp_path, options=OPTIONS)
    assert [record["val_top1"] > 0.5 for record in run.metrics("epoch")][1:] == [True] * 5


@pytest.mark.usefixtures("wrong_labels")
def test_a_few_validation_images_at_chance_do_not_stop_the_run(tmp_path: Path) -> None:
    few = SOURCE.replace("images=64", "images=200")
    run = fit(few, recipe=SMALL, run=tmp_path, options=OPTIONS)
    assert run.metrics("epoch")[-1]["train_top1"] > 0.9
    assert run.metrics("epoch")[-1]["val_top1"] < 0.3


def test_a_run_that_was_better_than_chance_once_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top1s = iter([0.5, 0.1, 0.1])
    monkeypatch.setattr(
        loop_module, "measure", lambda *rest: dataclasses.replace(real_measure(*rest), top1=next(top1s))
    )
    recipe = DIGITS_WITH_MLP.replace(epochs=3)
    run = fit("digits", recipe=recipe, run=tmp_path, options=TrainOptions(device="cpu", threads=1))
    assert run.metrics("epoch")[-1]["train_top1"] > 0.5


# Checkpoints that cannot be resumed


@pytest.fixture
def begun(tmp_path: Path, kill_before: Callable[[int], None]) -> Path:
    """A run killed in its second epoch."""
    kill_before(12)
    with pytest.raises(Killed):
        train(tmp_path)
    return tmp_path


def test_a_checkpoint_of_another_architecture_is_refused(begun: Path) -> None:
    torch.save(checkpoint(begun) | {"arch": "resnet20"}, begun / "last.ckpt")
    with pytest.raises(TenchError) as refused:
        train(begun)
    assert str(refused.value) == (
        f"{begun / 'last.ckpt'} is a checkpoint of resnet20, but this run trains mlp. "
        "Restore the run's own checkpoint, or name a new --run."
    )


def test_a_checkpoint_with_other_shapes_is_refused_with_the_first_difference(begun: Path) -> None:
    saved = checkpoint(begun)
    saved["model"]["1.weight"] = torch.zeros(128, 5)
    torch.save(saved, begun / "last.ckpt")
    with pytest.raises(TenchError) as refused:
        train(begun)
    assert str(refused.value) == (
        f"{begun / 'last.ckpt'}: the weights do not fit mlp for these classes: 1.weight has shape (128, 5) instead of "
        "(128, 192). They belong to another architecture. Name that architecture, or start a new run."
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(begun: Path, damage: str) -> None:
    path = begun / "last.ckpt"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a checkpoint"}[damage])
    with pytest.raises(TenchError) as refused:
        train(begun)
    assert str(refused.value).startswith(f"{path}: cannot be read (")
    assert str(refused.value).endswith("). Restore a copy, or name a new --run.")


class Dangerous:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def test_a_checkpoint_cannot_execute_code(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(begun)
    torch.save({"arch": Dangerous()}, begun / "last.ckpt")
    with pytest.raises(TenchError, match="cannot be read"):
        train(begun)
    assert not (begun / "executed").exists()


def test_a_run_does_not_start_over_if_its_checkpoint_is_missing(undisturbed: Path, begun: Path) -> None:
    (begun / "last.ckpt").unlink()
    lines = Run(undisturbed).metrics()
    (begun / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(TenchError) as refused:
        train(begun)
    assert str(refused.value) == (
        f"{begun / 'last.ckpt'} is missing, but metrics.jsonl has 3 epochs. Restore a copy, or name a new --run."
    )


def _train_until_killed(run: str) -> None:
    """Train with dropout, and wait in the middle of the second epoch."""

    def train_step(state: State, *rest: Any) -> None:
        if state.step == STEPS_PER_EPOCH + 3:
            print("waits", flush=True)
            time.sleep(3600)
        real_train_step(state, *rest)

    loop: Any = loop_module
    networks: Any = network_module
    loop.train_step, networks.create = train_step, dropout_network
    train(Path(run))


if __name__ == "__main__":
    _train_until_killed(sys.argv[1])
