"""tench's run directories are never data, wherever they are."""

import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.data.photos import part

from tench import run as runs
from tench.data.check.check import check
from tench.data.files import names
from tench.data.prepare.prepare import prepare
from tench.data.source import open_source
from tench.data.table import Dataset
from tench.errors import TenchError
from tench.weights.recognise import CARD, RECIPE, WEIGHTS


def with_run(folder: Path, *run_folders: str, files: tuple[str, ...] = ("recipe.yaml", "environment.json")) -> Path:
    """Write the class folders cat and dog, and run directories with two pictures each."""
    for name, first in (("cat", 0), ("dog", 3)):
        (folder / name).mkdir(parents=True)
        for number in range(first, first + 3):
            part(20, 20, number).save(folder / name / f"{name}{number}.jpg")
    for name in run_folders:
        (folder / name / "pictures").mkdir(parents=True)
        part(20, 20).save(folder / name / "pictures/preview.png")
        part(20, 20).save(folder / name / "curve.png")
        for file in files:
            (folder / name / file).write_text("{}")
    return folder


def seen(dataset: Dataset) -> tuple[tuple[str, ...], dict[str, int]]:
    return dataset.classes.ids, {split: len(table) for split, table in dataset.splits.items()}


ONLY_DATA = (("cat", "dog"), {"train": 6})


def test_a_run_directory_is_recognised_by_files_that_a_run_writes() -> None:
    marks = {name for marks in names._RUNS for name in marks}
    assert marks == {RECIPE, runs.ENVIRONMENT, runs.CLASSES, WEIGHTS, CARD}


@pytest.mark.parametrize("places", [("runs/001",), ("runs/001", "runs/002", "runs/old/003"), ("first",), ("cat/run",)])
@pytest.mark.parametrize(
    "files",
    [
        ("recipe.yaml", "environment.json", "last.ckpt"),
        ("model.json", "best.safetensors"),
        ("environment.json", "classes.json"),
    ],
)
def test_runs_are_left_out_of_a_folder_with_a_note(
    tmp_path: Path, places: tuple[str, ...], files: tuple[str, ...]
) -> None:
    dataset = open_source(with_run(tmp_path / "set", *places, files=files))
    assert seen(dataset) == ONLY_DATA
    assert f"Left out: run directories of tench, such as '{places[0]}'." in dataset.notes
    assert not any("runs" in line or "first" in line for line in dataset.outline)


@pytest.mark.parametrize("options", [{"classes_at": "1"}, {"label_from": "^(cat|dog)"}])
def test_runs_are_left_out_whatever_option_says_where_the_classes_are(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = with_run(tmp_path / "set", "runs/001", "runs/002")
    assert seen(open_source(folder, **options)) == ONLY_DATA


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_runs_are_left_out_of_an_archive(tmp_path: Path, kind: str) -> None:
    folder = with_run(tmp_path / "set", "runs/001", "runs/002")
    archive = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*.*")):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w") as tar:
            tar.add(folder, ".")
    dataset = open_source(archive)
    assert seen(dataset) == ONLY_DATA
    assert any(note.startswith("Left out: run directories of tench, such as ") for note in dataset.notes)


def test_runs_next_to_splits_are_not_a_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        with_run(tmp_path / "set" / split)
    with_run(tmp_path / "other", "runs/001")
    shutil.move(tmp_path / "other/runs", tmp_path / "set/runs")
    assert seen(open_source(tmp_path / "set")) == (("cat", "dog"), {"train": 6, "val": 6})


def test_a_list_next_to_runs_is_read_without_them(tmp_path: Path) -> None:
    folder = with_run(tmp_path / "set", "runs/001")
    (folder / "labels.csv").write_text(
        "file,label\n" + "".join(f"{n}/{k}.jpg,{n}\n" for n in ("cat", "dog") for k in range(3))
    )
    assert seen(open_source(folder)) == ONLY_DATA


def test_a_new_run_does_not_make_the_table_stale(tmp_path: Path) -> None:
    folder = with_run(tmp_path / "set", "runs/001")
    before = open_source(folder)
    with_run(tmp_path / "other", "runs/002")
    shutil.move(tmp_path / "other/runs/002", folder / "runs/002")
    (folder / "runs/001/metrics.csv").write_text("")
    after = open_source(folder)
    assert (after.stamp, after.fingerprint) == (before.stamp, before.fingerprint)
    assert not any("runs" in path for path, _, _ in after.stamp)


def test_check_and_prepare_ignore_runs(tmp_path: Path) -> None:
    dataset = open_source(with_run(tmp_path / "set", "runs/001"))
    assert check(dataset, threads=1).images == 6
    assert prepare(dataset, tmp_path / "new").images == {"train": 6}


def test_a_run_directory_is_not_a_dataset(tmp_path: Path) -> None:
    path = with_run(tmp_path / "set", "runs/001") / "runs/001"
    with pytest.raises(TenchError) as refused:
        open_source(path)
    assert str(refused.value) == (
        f"{path} is a run directory, not a dataset. To use its model: tench evaluate {path}, or tench predict {path} "
        "IMAGE"
    )


def test_a_class_called_runs_is_a_class(tmp_path: Path) -> None:
    folder = with_run(tmp_path / "set")
    (folder / "cat").rename(folder / "runs")
    assert open_source(folder).classes.ids == ("dog", "runs")
