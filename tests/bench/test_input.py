import dataclasses
import threading
from pathlib import Path

import pytest
from tests.data import photos

from tench.bench import input as bench
from tench.bench.input import bench_input
from tench.bench.remedy import candidates
from tench.bench.result import Result, Row
from tench.data.images.image import ImageError
from tench.data.source import open_source
from tench.data.table import Classes, Dataset
from tench.errors import TenchError, UsageError
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe

RECIPE = Recipe().replace(image_size=32, train_view="random-resized-crop", batch_size=4, policy="randaugment-2-9")


@pytest.fixture(scope="module")
def found(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return bench_input(photo_folder, recipe=RECIPE, threads=(3,), seconds=0.5, device="cpu")


def rows(found: Result, stage: str) -> list[Row]:
    return [row for row in found.rows if row.stage == stage]


def test_every_stage_is_measured_and_the_whole_with_each_number_of_threads(found: Result) -> None:
    warm = [(row.stage, row.threads) for row in found.rows if not row.stage.endswith("-cold")]
    assert warm == [("read", 1), ("decode", 1), ("view", 1), ("whole", 1), ("whole", 3)]
    cold = [(row.stage, row.threads) for row in found.rows if row.stage.endswith("-cold")]
    assert cold == ([("read-cold", 1), ("whole-cold", 3)] if found.cold == "dropped" else [])
    assert all(0 < row.rate.min <= row.rate.median <= row.rate.max for row in found.rows)


def test_every_pass_covers_the_sample(found: Result) -> None:
    assert found.num_images == 18
    assert 16 <= found.sampled <= 18
    assert all(row.rate.images % found.sampled == 0 for row in found.rows)


def test_the_measurements_are_reported(found: Result, photo_folder: Path) -> None:
    assert (found.source, found.split, found.device) == (str(photo_folder), "train", "cpu")
    assert (found.view, found.image_size, found.channels) == ("random-resized-crop, augmented", 32, 3)
    assert found.batch_size == 4
    assert list(found.shares) == ["read", "decode", "resize", "augment"]
    assert [remedy.options for remedy in found.remedies] == list(candidates(32))


def test_nothing_continues_to_run_afterwards(found: Result) -> None:
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tench-loader")]


def test_a_dataset_that_training_keeps_in_memory_is_measured_there_too() -> None:
    found = bench_input("digits", recipe=load_recipe("digits"), threads=(1,), seconds=0.5, device="cpu")
    assert found.is_resident
    (row,) = rows(found, "resident")
    assert row.rate.images % found.sampled == 0
    assert found.remedies == ()


def test_the_step_of_a_network_is_measured(photo_folder: Path) -> None:
    recipe = RECIPE.replace(policy="none")
    found = bench_input(photo_folder, recipe=recipe, threads=(1,), seconds=0.3, device="cpu", arch="mlp")
    (row,) = rows(found, "step")
    assert (found.arch, found.step_batch) == ("mlp", 4)
    assert row.rate.images % 4 == 0
    assert row.rate.median > 0


def test_threads_are_tried_in_powers_of_two_up_to_the_cores() -> None:
    assert bench._powers_of_two(1) == [1]
    assert bench._powers_of_two(8) == [1, 2, 4, 8]
    assert bench._powers_of_two(12) == [1, 2, 4, 8, 12]


def test_without_a_train_split_the_only_split_is_measured(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_source(photo_folder)
    only = dataclasses.replace(whole, splits={"val": whole.splits["val"]})
    monkeypatch.setattr(bench, "open_source", lambda *_, **__: only)
    found = bench_input(photo_folder, recipe=RECIPE, threads=(1,), seconds=0.1, device="cpu")
    assert (found.split, found.num_images) == ("val", 6)


def test_the_requested_split_is_measured(photo_folder: Path) -> None:
    found = bench_input(photo_folder, recipe=RECIPE, split="val", threads=(1,), seconds=0.1, device="cpu")
    assert (found.split, found.num_images) == ("val", 6)


def test_the_error_about_an_unknown_split_lists_the_existing_ones(photo_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--split: .* has no split 'test'\. Known: train, val\."):
        bench_input(photo_folder, split="test")


def test_a_split_without_images_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset: Dataset = photos.dataset(tmp_path, Classes.of(["a", "b"]), {"train": []})
    monkeypatch.setattr(bench, "open_source", lambda *_, **__: dataset)
    with pytest.raises(TenchError, match="the split train has no images"):
        bench_input(tmp_path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seconds": 0.0}, "seconds must be a finite number above 0, got 0"),
        ({"seconds": float("nan")}, "seconds must be a finite number above 0, got nan"),
        ({"threads": (2, 0)}, "threads must be at least 1, got 0"),
        ({"recipe": RECIPE.replace(batch_size=0)}, "training.batch_size must be at least 1"),
        ({"recipe": RECIPE.replace(image_size=-1)}, "input.image_size must be at least 1"),
        ({"arch": "resnet1"}, "resnet1"),
    ],
)
def test_invalid_arguments_are_refused(asked: dict[str, object], message: str, photo_folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        bench_input(photo_folder, **({"recipe": RECIPE, "seconds": 0.1, "threads": (1,)} | asked))  # type: ignore[arg-type]


def test_a_bad_image_is_named(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.jpg").write_bytes(photos.encoded(photos.part(60, 40)))
    (tmp_path / "b" / "0.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"b/0\.jpg: not an image"):
        bench_input(tmp_path, recipe=RECIPE, seconds=0.1)
