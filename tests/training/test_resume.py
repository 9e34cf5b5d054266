"""A run resumes with the same recipe. The number of epochs may change if the steps so far would be the same."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import Killed, assert_same_outcome

from tench.errors import UsageError
from tench.run import Run
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe

SOURCE = "synthetic:images=64,size=8,classes=4,val=30,format=pixels"
OPTIONS = TrainOptions(device="cpu", threads=1, log_every=3, save_every_seconds=0.0)
SMALL = Recipe().replace(
    arch="mlp", epochs=2, batch_size=8, lr=0.02, precision="fp32", schedule="constant", average_decay=0.8
)
GROWING: dict[str, dict[str, Any]] = {
    "constant": {},
    "warm-up in epochs": {"warmup": "1 epochs"},
    "milestones": {"schedule": "step", "milestones": (1.0, 3.0)},
    "step_every": {"schedule": "step", "step_every": "5 steps"},
    "exponential": {"schedule": "exponential", "step_every": "2 epochs"},
    "ema": {"average": "ema"},
    "frozen": {"freeze": "1", "freeze_from": "1 epochs"},
}


def train(run: Path, **values: Any) -> Path:
    return fit(SOURCE, recipe=SMALL.replace(**values), run=run, options=OPTIONS).folder


def refusal(run: Path, **values: Any) -> list[str]:
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "metrics.jsonl"}
    with pytest.raises(UsageError) as refused:
        train(run, **values)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != "metrics.jsonl"} == before
    return [line.replace(str(run), "RUN") for line in refused.value.args]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("kind", GROWING)
def test_a_finished_run_extended_by_epochs_ends_like_one_planned_for_them(kind: str, tmp_path: Path) -> None:
    values = GROWING[kind]
    train(tmp_path / "grown", **values)
    train(tmp_path / "grown", **values, epochs=4)
    assert_same_outcome(tmp_path / "grown", train(tmp_path / "planned", **values, epochs=4))


def test_a_killed_run_extended_by_epochs_ends_like_one_planned_for_them(
    tmp_path: Path, kill_before: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    expected = train(tmp_path / "planned", epochs=3)
    kill_before(5)
    with pytest.raises(Killed):
        train(tmp_path / "grown")
    with caplog.at_level(logging.INFO, "tench"):
        train(tmp_path / "grown", epochs=3)
    assert_same_outcome(tmp_path / "grown", expected)
    assert (
        f"{tmp_path / 'grown'}: the run now has 3 epochs instead of 2; the steps so far are the same in both."
        in caplog.messages
    )


def test_the_number_of_epochs_may_be_reduced_to_those_taken(tmp_path: Path, kill_before: Callable[[int], None]) -> None:
    kill_before(8)
    with pytest.raises(Killed):
        train(tmp_path / "shrunk", epochs=5)
    train(tmp_path / "shrunk", epochs=1)
    assert load_recipe(str(tmp_path / "shrunk/recipe.yaml")).training.epochs == 1
    assert [record["epoch"] for record in Run(tmp_path / "shrunk").metrics("epoch")] == [1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"schedule": "cosine"},
            "its learning rate depends on the number of epochs (schedule cosine, warm-up 0 epochs), so the steps "
            "already taken would have had a different one",
        ),
        (
            {"warmup": "10 %"},
            "its learning rate depends on the number of epochs (schedule constant, warm-up 10 %), so the steps "
            "already taken would have had a different one",
        ),
        (
            {"freeze": "1", "freeze_from": "50 %"},
            "optimizer.freeze_from (50 %) would have come at another step",
        ),
        ({"average": "lookahead"}, "its average (lookahead) depends on the number of epochs"),
        (
            {"average": "ema", "average_form": "torchvision", "average_decay": 0.98},
            "its average (ema) depends on the number of epochs",
        ),
        (
            {"epochs": 1.5},
            "its last epoch is partial, and the rest of that epoch cannot be trained afterwards",
        ),
    ],
)
def test_more_epochs_are_refused_if_the_steps_so_far_would_have_been_different(
    values: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    run = train(tmp_path / "run", **values)
    epochs = f"{values.get('epochs', 2):g}"
    assert refusal(run, **{**values, "epochs": 4}) == [
        f"RUN: the run was started with {epochs} epochs and cannot continue to 4: {reason}.",
        f"To train on from its weights: tench train {SOURCE} --weights RUN --epochs {epochs} --run NEW_RUN",
    ]


def test_fewer_epochs_than_taken_are_refused(tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    assert refusal(run, epochs=1) == [
        "RUN: the run has already trained for 2 epochs (16 steps), but --epochs is 1. Increase it, or name a new --run."
    ]


@pytest.mark.parametrize(
    ("schedule", "command"),
    [
        ("constant", "tench train --run RUN --epochs 4"),
        ("cosine", f"tench train {SOURCE} --weights RUN --epochs 2 --run NEW_RUN"),
    ],
)
def test_a_finished_run_prints_the_command_that_trains_it_for_longer(
    schedule: str, command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(tmp_path / "run", schedule=schedule)
    with caplog.at_level(logging.INFO, "tench"):
        train(run, schedule=schedule)
    assert caplog.messages[-1].replace(str(run), "RUN") == f"To train it for longer: {command}"


def test_changing_an_explicit_value_to_auto_is_refused_and_both_are_named(tmp_path: Path) -> None:
    run = train(tmp_path / "run", eval_resize=9)
    assert refusal(run)[0] == (
        "RUN: the run was started with a different recipe or dataset: input.eval_resize was 9, now auto. Continue it "
        "with the same command, or name a new --run."
    )
    assert refusal(run, eval_resize=10)[0].startswith(
        "RUN: the run was started with a different recipe or dataset: input.eval_resize was 9, now 10. "
    )


def test_a_value_that_was_auto_may_stay_auto_or_become_explicit(tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    assert "input.eval_resize" in json.loads((run / "environment.json").read_text())["auto"]
    assert train(run) == train(run, eval_resize=8) == fit(run=run, options=OPTIONS).folder == run


def test_a_run_restarted_with_its_own_recipe_still_records_what_was_auto(
    tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    kill_before(0)
    with pytest.raises(Killed):
        train(tmp_path / "run")
    fit(SOURCE, run=tmp_path / "run", options=OPTIONS)
    assert train(tmp_path / "run") == tmp_path / "run"


def test_a_run_from_an_older_version_continues_without_a_record_of_auto_values(tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    path = run / "environment.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "auto"}))
    assert train(run) == run


def test_a_bgr_run_continues_with_a_mean_given_as_rgb(tmp_path: Path) -> None:
    values = {"arch": "edgeai:regnetx400mf_x1_bgr", "mean": (0.1, 0.2, 0.3), "epochs": 1, "image_size": 16}
    run = train(tmp_path / "run", **values)
    assert load_recipe(str(run / "recipe.yaml")).input.mean == (0.3, 0.2, 0.1)
    assert train(run, **values) == run
    shutil.rmtree(run)
