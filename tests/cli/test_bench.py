"""`tench bench` from the command line, for people and programs."""

import csv
import inspect
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image
from tests.support.processes import child

from tench.bench.measure import Rate
from tench.bench.peak import Peak
from tench.bench.step import Measured
from tench.cli.bench import FORMS
from tench.cli.main import main

QUICK = ["--seconds", "0.3", "--threads", "2", "--image-size", "80", "-b", "4", "--device", "cpu"]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and stderr of a command."""
    return main(list(arguments)), capsys.readouterr().err


def test_json_has_the_documented_keys(photo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "input", str(photo_folder), *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"read", "decode", "view", "whole"} <= {row["stage"] for row in found["rows"]}
    assert [row["threads"] for row in found["rows"] if row["stage"] == "whole"] == [1, 2]
    for row in found["rows"]:
        assert 0 < row["min"] <= row["images_per_second"] <= row["max"]
        assert row["images"] % found["sampled"] == 0
    assert found["num_images"] == 18
    assert found["batch_size"] == 4
    assert sum(found["shares"].values()) == pytest.approx(1, abs=0.001)
    assert found["bound"] in (*found["shares"], "several", "threads")
    assert found["verdict"][0].startswith("Limited by ")
    for remedy in found["remedies"]:
        assert remedy["command"].startswith(f"tench prepare {photo_folder} DEST --")
        assert remedy["gain"] > 0
        assert remedy["room"] > 0


def test_the_output_is_a_table_and_sentences(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "chart.png"
    assert main(["bench", "input", str(photo_folder), *QUICK, "--model", "mlp", "--plot", str(plot)]) == 0
    first, head, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{photo_folder} (train): ")
    assert first.endswith(" of 18 images, random-resized-crop, 80 x 80 x 3, batches of 4")
    assert head.split() == ["stage", "threads", "images/s", "min", "to", "max", "of", "one", "thread", "memory"]
    blank = lines.index("")
    assert [line.split()[0] for line in lines[:blank] if "-cold" not in line] == [
        *("read", "decode", "view", "whole", "whole", "step")
    ]
    assert any("mlp trains on " in line for line in lines[blank + 1 :])
    with Image.open(plot) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("arguments", [[], ["inputs"], ["/some/folder"], ["--json"]])
def test_an_unknown_benchmark_is_a_usage_error_that_lists_the_known_ones(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = failure(capsys, "bench", *arguments)
    assert code == 2
    assert error.startswith("tench bench: ")
    assert error.endswith(" Known: input, train, models. See tench bench --help.\n")
    assert ("Did you mean 'input'?" in error) == (arguments == ["inputs"])


def test_each_benchmark_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "input", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: tench bench input ")
    assert "    tench bench input ~/flowers" in shown


EXAMPLES = [
    line.strip()
    for form in FORMS.values()
    for line in (inspect.getdoc(form) or "").splitlines()
    if line.startswith("    tench ")
]


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build networks and peaks as usual, but replace the measurements, which take minutes, by one rate."""
    rate = Rate(10, 9, 11, 4, 5)
    for module in ("train", "models"):
        monkeypatch.setattr(
            f"tench.bench.{module}.in_turns", lambda makers, *_: dict.fromkeys(makers, Measured(rate, 1000, "nhwc"))
        )
    monkeypatch.setattr("tench.bench.train.peak", lambda precision, device: Peak(precision, 512, 1e9, 5e8))
    monkeypatch.setattr("tench.bench.input.step_rate", lambda *_: (rate, 4))


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_help_runs(
    example: str,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("flowers", "imagenet"):
        (tmp_path / name).symlink_to(photo_folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    _, *arguments = map(os.path.expanduser, shlex.split(example))
    quick = ["--seconds", "0.3"] if arguments[1] == "input" else []
    assert main([*arguments, *quick, "--device", "cpu"]) == 0
    assert capsys.readouterr().out


def test_every_benchmark_has_examples() -> None:
    assert {example.split()[2] for example in EXAMPLES} == set(FORMS)


@pytest.mark.parametrize("recipe", ["finetune10", "mxnet-finetune"])
@pytest.mark.usefixtures("_at_once")
def test_a_recipe_that_uses_the_network_of_its_weights_can_be_measured(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "train", "--recipe", recipe, "--device", "cpu", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["arch"] == "resnet18"


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--split", "nothing"], 2, " has no split 'nothing'. Known: "),
        (["-b", "0"], 2, "training.batch_size must be at least 1"),
        (["--image-size", "0"], 2, "input.image_size must be at least 1"),
        (["--threads", "0"], 2, "threads must be at least 1, got 0"),
        (["--seconds", "-1"], 2, "seconds must be a finite number above 0, got -1"),
        (["--plot", "chart.svg"], 2, "chart.svg: the chart is written as PNG. Name a file that ends in .png."),
        (["--model", "resnet1"], 2, "resnet1"),
        (["--recipe", "nothing"], 2, "nothing: no such recipe or file"),
    ],
)
def test_an_invalid_option_is_one_clear_error(
    more: list[str], code: int, message: str, photo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, error = failure(capsys, "bench", "input", str(photo_folder), *QUICK, *more)
    assert found == code
    assert f"tench bench: {message}" in error or message in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_source_without_images_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    code, error = failure(capsys, "bench", "input", str(tmp_path / "empty"))
    assert code == 1
    assert f"{tmp_path / 'empty'} contains no readable images" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_leaves_nothing_behind(number: signal.Signals, photo_folder: Path, tmp_path: Path) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "tench", "bench", "input", str(photo_folder), "--seconds", "3", "--threads", "2"]
    with child([*command, "--image-size", "80"], env={"TMPDIR": str(temporary)}) as bench:
        bench.wait_until(lambda: any(temporary.iterdir()), "a prepared remedy")
        bench.send_signal(number)
        assert bench.wait() == 130
        error = bench.stderr
    assert error.splitlines()[-1] == "tench bench: interrupted."
    assert "Traceback" not in error
    assert list(temporary.iterdir()) == []


TINY = "bench train -a mlp resnet20 -b 2 --image-size 8 --seconds 0.01 --device cpu".split()


@pytest.fixture
def _quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.bench.peak._SIZES", (64,))
    monkeypatch.setattr("tench.bench.peak._CHANNELS", 8)


@pytest.mark.usefixtures("_quick_peak")
def test_training_rates_are_printed_as_json_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "new" / "rates.csv"
    assert main([*TINY, "--precision", "fp32", "bf16", "--json", "--csv", str(table)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["stage"], row["arch"], row["precision"]) for row in found["rows"]] == [
        ("step", arch, precision) for arch in ("mlp", "resnet20") for precision in ("fp32", "bf16")
    ]
    assert all(0 < row["min"] <= row["images_per_second"] <= row["max"] for row in found["rows"])
    assert [(one["precision"], one["product_size"]) for one in found["peaks"]] == [("fp32", 64), ("bf16", 64)]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images_per_second"] for row in rows] == [str(row["images_per_second"]) for row in found["rows"]]


@pytest.mark.usefixtures("_quick_peak")
def test_a_batch_that_does_not_fit_in_memory_is_a_row_like_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    command = "bench train -a mlp -b 2 1000000000000 4 --precision fp32 --seconds 0.01 --device cpu"
    assert main(command.split()) == 0
    device, head, *rows, peak = capsys.readouterr().out.splitlines()
    assert device == "Training step on cpu, not compiled"
    assert head.split() == "network pixels batch precision format images/s min to max memory GMACs share".split()
    assert [row.split()[:3] for row in rows] == [["mlp", "28", batch] for batch in ("2", "1000000000000", "4")]
    assert [row.endswith("out of memory") for row in rows] == [False, True, False]
    assert peak.startswith(
        "share, fp32: 3 x the forward GMACs, 2 FLOPs per MAC, relative to the faster of a 64 matrix product ("
    )


@pytest.mark.parametrize(("compile", "said"), [("on", "compiled"), ("off", "not compiled"), ("auto", "not compiled")])
@pytest.mark.usefixtures("_at_once")
def test_the_output_says_whether_the_network_was_compiled(
    compile: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recipe := tmp_path / "mine.yaml").write_text(f"training: {{compile: '{compile}'}}\n")
    command = ["bench", "train", "-a", "mlp", "--recipe", str(recipe), "--device", "cpu"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"Training step on cpu, {said}"
    assert main([*command, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["compile"] == ("on" if compile == "on" else "off")


@pytest.mark.usefixtures("_quick_peak")
def test_a_batch_size_that_a_network_does_not_support_is_a_row_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = "--precision fp32 --seconds 0.01 --device cpu".split()
    assert main(["bench", "train", "-a", "skresnet18", "mlp", "-b", "1", *small, "--image-size", "32"]) == 0
    _, _, refused, measured, _ = capsys.readouterr().out.splitlines()
    assert "nchw" in measured
    reason = "skresnet18 cannot be trained with a batch of 1 (Expected more than 1 value per channel when training, "
    assert reason in refused
    assert refused.endswith("Use a larger batch.")
    assert main(["bench", "models", "skresnet18", "mlp", "-b", "1", *small]) == 0
    _, _, refused, measured, blank, note = capsys.readouterr().out.splitlines()
    assert refused.endswith("|  |  |  |")
    assert measured.startswith("| mlp |")
    assert (blank, note.startswith(reason)) == ("", True)


@pytest.mark.parametrize("command", ["train -a mlp", "models mlp"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_ctrl_c_keeps_the_measured_rows(
    command: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def in_turns(makers: Mapping[str, object], seconds: float, done: Callable[[], None]) -> dict[str, Measured]:
        if table.exists():
            signal.raise_signal(signal.SIGINT)
        done()
        return dict.fromkeys(makers, Measured(Rate(10, 9, 11, 4, 5), 1000, "nchw"))

    table = tmp_path / "rates.csv"
    module = command.split()[0]
    monkeypatch.setattr(f"tench.bench.{module}.in_turns", in_turns)
    monkeypatch.setattr("tench.bench.train.peak", lambda precision, device: Peak(precision, 512, 1e9, 5e8))
    more = ["-b", "2", "3", "4", "--device", "cpu", "--csv", str(table), *(["--json"] if form == "json" else [])]
    assert main(["bench", *command.split(), *more]) == 130
    shown = capsys.readouterr()
    if form == "json":
        assert [row["batch_size"] for row in json.loads(shown.out)["rows"]] == [2]
    else:
        assert sum("mlp" in line for line in shown.out.splitlines()) == 1
    assert shown.err.endswith("tench bench: interrupted.\n")
    with table.open(newline="") as file:
        assert [row["batch_size"] for row in csv.DictReader(file)] == ["2"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-a", "resnet5o"], "No network is called 'resnet5o'"),
        (["-b", "0"], "training.batch_size must be at least 1"),
        (["--recipe", "nothing"], "nothing: no such recipe or file"),
        (
            ["--csv", "/dev/null/rates.csv"],
            "/dev/null/rates.csv: the table cannot be written there",
        ),
    ],
)
def test_an_invalid_option_of_bench_train_is_one_clear_error(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = failure(capsys, *TINY, *more)
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert "Reading" not in error


def test_networks_are_printed_as_a_markdown_table_csv_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "bench models mlp -b 1 1000000000000 --precision fp32 --seconds 0.01 --device cpu".split()
    plot, table = tmp_path / "networks.png", tmp_path / "networks.csv"
    assert main([*command, "--plot", str(plot), "--csv", str(table)]) == 0
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| network | pixels | parameters | GMACs | conv GMACs | batch | precision | forward, ")
    assert set(line) <= set("|-:")
    assert {row.count("|") for row in (head, line, *rows)} == {12}
    assert rows[0].startswith("| mlp | 28 | 0.109 M | 0.0001 | 0.0000 | 1 | fp32 | ")
    assert rows[0].endswith(" | 98.90 % (recipe mnist-mlp, tench) |")
    assert "| 1000000000000 | fp32 | out of memory | out of memory |  |" in rows[1]
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
    with table.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["mlp", "mlp"]


def test_networks_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    command = "bench models mlp -b 2 --precision fp32 --seconds 0.01 --device cpu --json"
    assert main(command.split()) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["stage"], row["name"], row["parameters"], row["conv_gmacs"]) == ("model", "mlp", 109_386, 0)
    assert row["images_per_second"] > 0
    assert row["forward_images_per_second"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["mlp", "--plot", "networks.svg"], "networks.svg: the plot is written as PNG"),
        (["mlp", "--csv", "/dev/null/rates.csv"], "/dev/null/rates.csv: the table cannot be written there"),
        (["nothing*"], "'nothing*' matches no network"),
    ],
)
def test_an_invalid_option_of_bench_models_is_one_clear_error(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = failure(capsys, "bench", "models", *more, "--device", "cpu")
    assert code == 2
    assert message in error
    assert "Traceback" not in error
