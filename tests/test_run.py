import csv
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.support.processes import DEADLINE_SECONDS, run_python

from tench.errors import TenchError, UsageError
from tench.run import Run, environment, remembered_data


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.at(tmp_path / "run")


def test_runs_are_numbered_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [str(Run.at(None).folder) for _ in range(3)] == ["runs/001", "runs/002", "runs/003"]


@pytest.mark.parametrize(
    ("there", "next_one"),
    [
        (["999"], "1000"),
        (["999", "1000"], "1001"),
        (["002", "010"], "011"),
        (["9", "best", "1x"], "010"),
        (["photos"], "001"),
    ],
)
def test_the_next_number_follows_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], next_one: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in there:
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert Run.at(None).folder == Path("runs") / next_one


def test_no_two_threads_get_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    together = threading.Barrier(8, timeout=DEADLINE_SECONDS)

    def several(_: int) -> list[Path]:
        together.wait()
        return [Run.at(None).folder for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        folders = [folder for part in pool.map(several, range(8)) for folder in part]
    assert sorted(folder.name for folder in folders) == [f"{number:03}" for number in range(1, 81)]


def test_a_named_folder_is_created(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert Run.at(folder).folder == folder
    assert folder.is_dir()


def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError) as refused:
        Run.at(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} contains files, but is not a run (recipe.yaml is missing). Name another directory."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as refused:
        Run.at(tmp_path / "file")
    assert str(refused.value) == f"{tmp_path / 'file'} is a file, but --run needs a directory."


@pytest.mark.parametrize(
    "there", [[], [".lock"], ["environment.json"], ["environment.json", "classes.json", ".x.part"]]
)
def test_the_files_of_a_run_killed_at_its_start_are_accepted(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / name).write_text("{}")
    assert not Run.at(tmp_path).exists


def test_a_folder_with_a_recipe_but_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("flour: 500 g\n")
    with pytest.raises(TenchError) as refused:
        remembered_data(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'environment.json'}: cannot be read (")
    assert message.endswith("), so the recipe.yaml in that folder does not belong to a run. Name another directory.")


def test_a_run_has_begun_once_its_recipe_is_written(run: Run) -> None:
    assert not run.exists
    run.begin("model: {}\n", {"data": {"source": "digits"}}, {"ids": ["a"]})
    assert run.exists
    assert (run.folder / "recipe.yaml").read_text() == "model: {}\n"
    assert json.loads((run.folder / "classes.json").read_text()) == {"ids": ["a"]}
    assert remembered_data(run.folder) == {"source": "digits"}


def test_a_folder_without_a_run_has_no_stored_data_source(tmp_path: Path) -> None:
    assert remembered_data(tmp_path) is None
    assert remembered_data(tmp_path / "missing") is None


def test_a_run_that_was_never_begun_is_discarded_with_its_lock(run: Run) -> None:
    with run.lock():
        pass
    run.discard()
    assert not run.folder.exists()


def test_a_run_with_anything_in_it_is_not_discarded(run: Run) -> None:
    (run.folder / "notes.txt").write_text("mine")
    run.discard()
    assert (run.folder / "notes.txt").exists()


# metrics.jsonl and metrics.csv.


def test_logged_lines_are_read_back_by_kind(run: Run) -> None:
    run.log(kind="step", step=5, epoch=1, train_loss=1.23456789)
    run.log(kind="epoch", step=8, epoch=1, val_top1=0.5)
    assert run.metrics("step") == [{"kind": "step", "step": 5, "epoch": 1, "train_loss": 1.23457}]
    assert run.metrics("epoch") == [{"kind": "epoch", "step": 8, "epoch": 1, "val_top1": 0.5}]
    assert len(run.metrics()) == 2


def test_a_run_without_a_log_has_no_metrics(run: Run) -> None:
    assert run.metrics() == []


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_truncated_last_line_is_ignored(run: Run, cut: int) -> None:
    run.log(kind="step", step=1, epoch=1)
    run.log(kind="step", step=2, epoch=1)
    path = run.folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[: -cut - 1])
    assert [record["step"] for record in run.metrics()] == [1]


def test_a_last_line_that_lacks_only_its_line_break_is_read(run: Run) -> None:
    run.log(kind="step", step=1, epoch=1)
    path = run.folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert [record["step"] for record in run.metrics()] == [1]


def test_lines_after_the_checkpoint_are_removed(run: Run) -> None:
    for step in (4, 8, 12, 16, 20):
        run.log(kind="step", step=step, epoch=(step - 1) // 8 + 1)
        if step % 8 == 0:
            run.log(kind="epoch", step=step, epoch=step // 8)
    run.forget_after(step=16, epochs=1)  # saved after the last step of epoch 2, before its validation
    assert [(record["kind"], record["step"]) for record in run.metrics()] == [
        ("step", 4),
        ("step", 8),
        ("epoch", 8),
        ("step", 12),
        ("step", 16),
    ]
    run.log(kind="epoch", step=16, epoch=2)
    assert len(run.metrics()) == 6


def test_a_truncated_line_is_removed_before_new_ones_are_added(run: Run) -> None:
    run.log(kind="step", step=1, epoch=1)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "st')
    run.forget_after(step=5, epochs=0)
    run.log(kind="step", step=2, epoch=1)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_the_table_has_a_line_for_each_epoch_and_the_same_columns_whichever_are_validated(run: Run) -> None:
    run.log(kind="step", step=1, epoch=1, lr=0.1)
    run.log(kind="epoch", step=2, epoch=1, seconds=3.5)
    run.log(kind="epoch", step=4, epoch=2, val_top1=0.5, seconds=7.0)
    run.write_table()
    with (run.folder / "metrics.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            "step epoch lr train_loss train_top1 val_loss val_top1 val_top5 val_images seconds".split(),
            ["2", "1", *[""] * 7, "3.5"],
            ["4", "2", *[""] * 4, "0.5", "", "", "7.0"],
        ]


# The checkpoint and the lock.


def test_a_checkpoint_is_loaded_as_it_was_saved(run: Run) -> None:
    assert run.load_checkpoint() is None
    run.save_checkpoint({"weights": torch.arange(3), "step": 7, "best": None})
    loaded = run.load_checkpoint()
    assert loaded is not None
    assert torch.equal(loaded.pop("weights"), torch.arange(3))
    assert loaded == {"step": 7, "best": None}


def test_a_failed_save_keeps_the_previous_checkpoint(run: Run) -> None:
    run.save_checkpoint({"step": 1})
    with pytest.raises(Exception, match="pickle"):
        run.save_checkpoint({"step": 2, "not to be saved": lambda: None})
    assert run.load_checkpoint() == {"step": 1}
    assert [path.name for path in run.folder.iterdir()] == ["last.ckpt"]


def test_a_run_is_locked_against_other_processes_until_the_block_ends(run: Run) -> None:
    code = "import sys, tench.run; tench.run.Run.at(sys.argv[1]).lock()"
    with run.lock():
        refused = run_python(code, run.folder)
    assert refused.returncode == 1
    assert refused.stderr.endswith(
        f"TenchError: {run.folder}: another process is training in this run. Wait for it, or stop it.\n"
    )
    with run.lock():
        pass


def test_a_lock_is_released_after_an_error(run: Run) -> None:
    with pytest.raises(ValueError, match="stop"), run.lock():
        raise ValueError("stop")
    with run.lock():
        pass


def test_the_environment_records_versions_and_command() -> None:
    found = environment()
    assert found["packages"]["torch"] == torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["command"][1:] == sys.argv[1:]
    assert json.loads(json.dumps(found)) == found


def test_only_leftover_temporary_files_are_removed_from_a_run(run: Run) -> None:
    others = [".results.part", ".notes.txt.12345678.part", ".last.ckpt.part", ".last.ckpt.1234567x.part"]
    ours = [".last.ckpt.12345678.part", ".best.safetensors.0badf00d.part", ".metrics.csv.12345678.part"]
    for name in (*others, *ours):
        (run.folder / name).write_text("weeks of work")
    with run.lock():  # the folder is not a run yet
        assert {path.name for path in run.folder.iterdir()} >= {*others, *ours}
    run.begin("model: {}\n", {"data": {"source": "digits"}}, {"ids": ["a"]})
    with run.lock():
        there = {path.name for path in run.folder.iterdir()}
    assert there >= set(others)
    assert not there & set(ours)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("null", "it is None, but should be keys and values"),
        ("[]", "it is [], but should be keys and values"),
        ("{}", "data is missing"),
        ('{"data": 5}', "data is 5, but should be keys and values"),
        ('{"data": {}}', "data.source is missing"),
        ('{"data": {"source": 5}}', "data.source is 5, but should be text or a list of texts"),
        ('{"data": {"source": "x", "val_fraction": "a"}}', "data.val_fraction is 'a', but should be a number"),
        ('{"data": {"source": "x", "bad": "maybe"}}', "data.bad is 'maybe', but should be fail or skip or fix"),
        ("[" * 20_000, "nested too deeply"),
        ("{", "Expecting property name"),
    ],
)
def test_an_environment_with_invalid_values_is_refused_with_its_key(run: Run, text: str, reason: str) -> None:
    run.begin("model: {}\n", {}, {})
    (run.folder / "environment.json").write_text(text)
    with pytest.raises(TenchError) as refused:
        remembered_data(run.folder)
    start = f"{run.folder / 'environment.json'} does not record what the run was trained on ({reason}"
    assert str(refused.value).startswith(start)
    assert str(refused.value).endswith("). Restore a copy, or name a new --run.")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]", "it is [], but should be keys and values"),
        ('{"step": 1, "epoch": 1}', "kind is missing"),
        ('{"kind": "stop", "step": 1, "epoch": 1}', "kind is 'stop', but should be step or epoch"),
        ('{"kind": "step", "step": "1", "epoch": 1}', "step is '1', but should be a whole number"),
        ('{"kind": "step", "step": 1, "epoch": null}', "epoch is None, but should be a whole number"),
    ],
)
def test_a_log_line_with_invalid_values_is_refused_with_its_number_and_key(run: Run, line: str, reason: str) -> None:
    run.log(kind="step", step=1, epoch=1)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(f"{line}\n")
    run.log(kind="step", step=2, epoch=1)
    with pytest.raises(TenchError) as refused:
        run.metrics()
    assert str(refused.value) == (
        f"{run.folder / 'metrics.jsonl'}, line 2: not a valid log entry ({reason}). Remove the line."
    )
