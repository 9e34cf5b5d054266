"""The commands from the command line, for people and programs."""

import csv
import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from tests.support.processes import child, run

from tench.cli.main import main


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on the digits."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(folder / "cache"))
        assert main(["train", "--epochs", "2", "--run", str(folder / "run")]) == 0
    return folder / "run"


def test_evaluate_json_has_the_documented_keys(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(digits_run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 359
    assert 0.5 < result["top1"] <= result["top5"] <= 1
    assert result["top1"] * 359 == pytest.approx(sum(entry["correct"] for entry in result["per_class"]))
    assert result["loss"] > 0


def test_training_that_ends_within_an_epoch_counts_that_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits", "-a", "mlp", "--epochs", "0.5", "--run", str(tmp_path / "run")]) == 0
    assert "after epoch 1 of 1." in capsys.readouterr().out


def test_a_stem_fitted_to_small_images_is_logged_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "digits", "-a", "mobilenet_v2", "--epochs", "0.1", "--run", str(tmp_path / "run")]
    assert main(command) == 0
    assert "\nStem fitted to 8 px: the first convolution" in capsys.readouterr().err


def test_a_finished_run_is_left_alone(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (digits_run / "last.ckpt").stat().st_mtime_ns
    assert main(["train", "--run", str(digits_run)]) == 0
    assert "this run is finished (2 epochs" in capsys.readouterr().err
    assert (digits_run / "last.ckpt").stat().st_mtime_ns == before


def test_predict_prints_digits_as_table_json_and_csv(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = load_digits()
    for number in range(8):
        pixels = np.rint(digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")  # the first ten digits are 0, 1, 2, ...
    assert main(["predict", str(digits_run), str(tmp_path), "--json", "--top", "3"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [Path(result["image"]).name for result in results] == [f"{number}.png" for number in range(8)]
    assert all(len(result["predictions"]) == 3 for result in results)
    named = [result["predictions"][0]["name"] for result in results]
    assert sum(name == str(number) for number, name in enumerate(named)) >= 5

    assert main(["predict", str(digits_run), str(tmp_path), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows if row["rank"] == "1"] == named

    assert main(["predict", str(digits_run), str(tmp_path / "0.png")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / '0.png'}   {named[0]} ")


def test_predict_prints_no_csv_header_when_it_refuses_its_arguments(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--top", "0", str(tmp_path)], [str(tmp_path / "gone.png")]):
        assert main(["predict", str(digits_run), "--csv", *wrong]) == 2
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("encoding", "form", "shown"),
    [
        ("utf-8:strict", [], b"/caf\xe9.png   "),
        ("utf-8:strict", ["--csv"], b"/caf\xe9.png,1,"),
        ("utf-8:strict", ["--json"], b"/caf\\udce9.png"),
        ("ascii:strict", [], b"/caf\\udce9.png   "),
    ],
)
def test_predict_classifies_and_prints_a_file_whose_name_is_not_text(
    digits_run: Path, tmp_path: Path, encoding: str, form: list[str], shown: bytes
) -> None:
    """In a UTF-8 locale, where Python's stdout is strict, and in another one."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")  # encoded in Latin-1
    Image.fromarray(np.rint(load_digits().images[0] * 255 / 16).astype(np.uint8)).save(path)
    command = [sys.executable, "-m", "tench", "predict", str(digits_run), str(path), *form]
    done = run(command, env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, "")
    assert shown in done.stdout.encode("utf-8", "surrogateescape")


def test_info_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "digits", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["layout"] == "digits"
    assert facts["classes"] == 10
    assert facts["splits"]["train"]["images"] + facts["splits"]["val"]["images"] == 1797
    assert facts["splits"]["train"]["bytes"] == 64 * facts["splits"]["train"]["images"]


def test_info_shows_splits_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "digits"]) == 0
    shown = capsys.readouterr().out
    assert "digits: digits, 10 classes" in shown
    assert "8 x 8" in shown


def test_info_prints_one_line_per_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        path = tmp_path / "set" / ("train" if number < 3 else "val") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8 + (number == 0), 8), number).save(path)
    (tmp_path / "set/test").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "set/test/1.png")
    sizes = [
        sum(file.stat().st_size for file in (tmp_path / "set" / split).rglob("*.png"))
        for split in ("train", "val", "test")
    ]
    assert main(["info", str(tmp_path / "set")]) == 0
    assert capsys.readouterr().out.splitlines()[1:7] == [
        f"  train          3 images      {sizes[0] / 1000:.1f} kB  1-2 per class  8 x 8 to 9 x 8 pixels",
        f"  val            2 images      {sizes[1] / 1000:.1f} kB  1 per class  8 x 8 pixels",
        f"  test           1 image       {sizes[2] / 1000:.1f} kB  no labels  8 x 8 pixels",
        "  classes:",
        "    a: a/0.png, a/2.png",
        "    b: b/1.png",
    ]


def test_info_draws_the_training_views_of_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, recipe in (("plain.png", "digits"), ("default.PNG", None)):
        path = tmp_path / name
        assert main(["info", "digits", "--preview", str(path), *(["--recipe", recipe] if recipe else [])]) == 0
        assert capsys.readouterr().out.endswith(f"  preview: {path}\n")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "default.PNG").read_bytes()
    with Image.open(tmp_path / "plain.png") as picture:
        assert picture.format == "PNG"


def test_models_lists_parameters_and_gmacs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resnet20", "--json"]) == 0
    (model,) = [entry for entry in json.loads(capsys.readouterr().out) if entry["name"] == "resnet20"]
    assert model["parameters"] == 272_762
    assert model["source"] == "tench"


def test_many_models_are_listed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert {"resnet50", "vit_b_16", "mlp", "efficientnet_b0", "convnext_tiny"} <= set(shown)


def test_a_printed_recipe_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "digits"]) == 0
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    command = ["train", "--recipe", str(tmp_path / "mine.yaml"), "--epochs", "1", "--run", str(tmp_path / "run")]
    assert main(command) == 0


def test_recipes_lists_each_with_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert {"digits", "mnist-mlp", "mnist-lenet", "cifar-resnet"} <= {line.split()[0] for line in shown.splitlines()}


def test_doctor_shows_cores_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert int(found["cores"].split()[0]) >= 1
    assert "torch" in found


def test_flags_override_the_recipe_and_both_override_the_defaults(tmp_path: Path) -> None:
    command = ["train", "--recipe", "digits", "--epochs", "1", "--lr", "0.02", "--run", str(tmp_path / "run")]
    assert main(command) == 0
    written = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "lr: 0.02" in written
    assert "arch: resnet20" in written  # from the recipe, not the default resnet18


def test_ctrl_c_saves_a_checkpoint_and_says_how_to_continue(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tench", "train", "--epochs", "500", "--run", tmp_path / "run"]
    with child(command) as training:
        training.wait_until((tmp_path / "run" / "last.ckpt").exists, "the first checkpoint")
        training.send_signal(signal.SIGINT)
        assert training.wait() == 1
        error = training.stderr
    assert "a checkpoint is saved. Continue with: tench train --run" in error
    assert "Traceback" not in error


def test_evaluate_with_several_sources_needs_the_first_one(
    digits_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(digits_run), "--with", "more"]) == 2
    assert capsys.readouterr().err == (
        "tench evaluate: --with adds to SOURCE, which is missing. Usage: tench evaluate RUN SOURCE --with SOURCE.\n"
    )


def test_evaluate_says_on_stderr_that_a_split_was_trained_on(
    digits_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(digits_run), "--split", "train"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("digits (train): 1,438 images, each counted once\ntop-1 ")
    assert err.splitlines()[-1] == (
        "Note: digits (train): 1,438 of 1,438 images were used to train the model, so the result says little about new "
        "images."
    )


def test_predict_without_images_is_a_usage_error(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(digits_run)]) == 2
    assert capsys.readouterr().err == (
        "tench predict: IMAGE is missing. Usage: tench predict RUN IMAGE .... See tench predict --help.\n"
    )


@pytest.mark.parametrize("name", ["best.safetensors", "images.safetensors", "last.ckpt", "metrics.jsonl"])
def test_the_files_of_a_run_have_the_mode_of_its_other_files(digits_run: Path, name: str) -> None:
    assert (digits_run / name).stat().st_mode == (digits_run / "model.json").stat().st_mode
