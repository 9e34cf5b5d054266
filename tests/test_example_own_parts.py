"""examples/own_parts.py, as a script and from the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples/own_parts.py"
SOURCE = "synthetic:images=96,size=8,classes=3,val=48,format=pixels"
LIMIT_SECONDS = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path)
    return tmp_path


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def test_the_script_trains_until_its_callback_stops_it_and_its_run_can_be_evaluated(folder: Path) -> None:
    printed = run(folder, "own_parts.py", SOURCE, "first")
    assert "Model: own_parts:small_net, " in printed
    assert "by the callback object:Patience: no better than 100.00% for 3 epochs. Continue with: " in printed
    assert "first: top-1 100.00% after epoch " in printed
    printed = run(folder, "-m", "tench", "evaluate", "--trust-code", "first")
    assert "48 images, each counted once" in printed


def test_the_command_in_the_example_trains_with_all_of_its_functions(folder: Path) -> None:
    text = EXAMPLE.read_text().partition('"""')[2].partition('"""')[0]
    command = text.partition("    tench train")[2].partition("\n    tench evaluate")[0].replace("\\", " ").split()
    words = [{"SOURCE": SOURCE, "RUN": "second"}.get(word, word) for word in command]
    assert words.count("--augment-batch") == 1
    printed = run(folder, "-m", "tench", "train", *words, "--epochs", "1", "-b", "16")
    assert "Use it: tench evaluate --trust-code " in printed
    recipe = (folder / "second/recipe.yaml").read_text()
    for name in ("small_net", "focal_loss", "random_gamma", "add_noise"):
        assert f": own_parts:{name}\n" in recipe
