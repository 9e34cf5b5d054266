"""The scalars of a run, read back by TensorBoard's own reader, and the error if the package is missing."""

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Killed

from tench.errors import UsageError
from tench.run import Run
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.training.tensorboard import tensorboard

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the package tensorboard (the extra logging)"
)

SMALL = Recipe().replace(arch="mlp", image_size=8, channels=1, epochs=2, batch_size=128, lr=0.05, precision="fp32")


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """(step, value) pairs by tag, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in sorted(events.Tags()["scalars"])
    }


def expected(run: Run) -> dict[str, list[tuple[int, float]]]:
    """The same from metrics.jsonl, using the first line of a step that has the value."""
    names = {
        "train_loss": "train/loss",
        "train_top1": "train/top1",
        "val_loss": "val/loss",
        "val_top1": "val/top1",
        "val_top5": "val/top5",
        "lr": "lr",
        "images_per_second": "images_per_second",
        "wait_share": "wait_share",
    }
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in run.metrics():
        for name, tag in names.items():
            if name in record:
                found[tag].setdefault(record["step"], record[name])
    return {tag: list(values.items()) for tag, values in sorted(found.items())}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the scalars are equal in float32."""
    return list(found) == list(wanted) and all(
        [step for step, _ in found[tag]] == [step for step, _ in wanted[tag]]
        and [value for _, value in found[tag]] == pytest.approx([value for _, value in wanted[tag]], rel=1e-6)
        for tag in wanted
    )


@needs_tensorboard
def test_the_scalars_match_the_log(tmp_path: Path) -> None:
    options = TrainOptions(device="cpu", log_every=3, tensorboard=True)
    run = fit("digits", recipe=SMALL, run=tmp_path / "run", options=options)
    wanted = expected(run)
    assert list(wanted) == [
        *("images_per_second", "lr", "train/loss", "train/top1", "val/loss", "val/top1", "val/top5", "wait_share")
    ]
    assert len(wanted["val/top1"]) == 2
    assert same(scalars(run), wanted)


@needs_tensorboard
def test_a_killed_and_resumed_run_has_no_step_twice(tmp_path: Path) -> None:
    run = Run(tmp_path)
    step = {"kind": "step", "epoch": 1, "lr": 0.1, "train_loss": 2.5}
    with tensorboard(run, 0) as logged:
        for number in (2, 4, 6):
            logged.log(**step, step=number)
    run.forget_after(4, 0)  # the step of the checkpoint
    with tensorboard(run, 4) as logged:
        logged.log(**(step | {"train_loss": 1.5}), step=6)
        logged.log(kind="epoch", step=8, epoch=1, train_loss=1.25, val_top1=0.5, val_images=10, seconds=7.5)
    assert scalars(run) == {
        "lr": [(2, pytest.approx(0.1)), (4, pytest.approx(0.1)), (6, pytest.approx(0.1))],
        "train/loss": [(2, 2.5), (4, 2.5), (6, 1.5), (8, 1.25)],
        "val/top1": [(8, 0.5)],
    }


@needs_tensorboard
def test_the_scalars_of_a_killed_and_resumed_run_match_its_log(
    tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    options = TrainOptions(device="cpu", threads=1, log_every=2, save_every_seconds=600.0, tensorboard=True)
    kill_before(17)  # of 22 steps: there are log lines after the only checkpoint, at the end of the first epoch
    with pytest.raises(Killed):
        fit("digits", recipe=SMALL, run=tmp_path, options=options)
    run = fit("digits", recipe=SMALL, run=tmp_path, options=options)
    wanted = expected(run)
    assert [step for step, _ in wanted["val/top1"]] == [11, 22]
    assert same(scalars(run), wanted)


@needs_tensorboard
def test_an_epoch_that_ends_with_a_log_line_is_written_once(tmp_path: Path) -> None:
    with tensorboard(Run(tmp_path), 0) as logged:
        logged.log(kind="step", step=4, epoch=1, train_loss=2.5)
        logged.log(kind="epoch", step=4, epoch=1, train_loss=2.5, val_loss=3.5)
    assert scalars(Run(tmp_path)) == {"train/loss": [(4, 2.5)], "val/loss": [(4, 3.5)]}


@needs_tensorboard
def test_a_run_started_without_tensorboard_gets_its_whole_log(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number in (2, 4):
        run.log(kind="step", step=number, epoch=1, train_loss=2.5)
    with tensorboard(run, 4) as logged:
        logged.log(kind="step", step=6, epoch=1, train_loss=1.5)
    assert scalars(run) == {"train/loss": [(2, 2.5), (4, 2.5), (6, 1.5)]}


@needs_tensorboard
def test_a_line_is_flushed_to_disk_at_once(tmp_path: Path) -> None:
    with tensorboard(Run(tmp_path), 0) as logged:
        logged.log(kind="step", step=2, epoch=1, train_loss=2.5)
        assert scalars(Run(tmp_path)) == {"train/loss": [(2, 2.5)]}


@pytest.fixture
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    return iter(())


@pytest.mark.usefixtures("_not_installed")
def test_a_missing_package_is_reported_before_the_training_starts() -> None:
    with pytest.raises(UsageError, match=r"needs the package tensorboard.*pip install 'tench\[logging\]'"):
        TrainOptions(tensorboard=True)
    TrainOptions()


def test_a_run_without_the_option_has_no_tensorboard_folder(tmp_path: Path) -> None:
    recipe = SMALL.replace(epochs=1)
    run = fit("digits", recipe=recipe, run=tmp_path / "run", options=TrainOptions(device="cpu"))
    assert not (run.folder / "tensorboard").exists()
