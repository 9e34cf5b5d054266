"""Every script in examples/ that trains runs as its header says, and learns."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {"lightning_train": "lightning", "accelerate_train": "accelerate"}
RUN = """
import runpy, sys
from tench.compat import import_torchvision
import_torchvision()  # before a package that imports it, where its compiled operators do not fit this torch
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def shown(script: str, *arguments: object, folder: Path) -> str:
    """The output of an example, which is killed after ten minutes."""
    if (needed := NEEDS.get(script)) and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs the package {needed}: pip install 'tench[dev]'")
    command = [sys.executable, "-c", RUN, str(EXAMPLES / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def top1(text: str, epochs: int) -> float:
    """The accuracy after the last epoch, after checking the number of epochs."""
    found = re.findall(r"^epoch (\d+)(?:/\d+)?  val top-1 (\d+\.\d+)%$", text, re.MULTILINE)
    assert [int(epoch) for epoch, _ in found] == list(range(1, epochs + 1))
    return float(found[-1][1])


@pytest.mark.parametrize("script", ["pytorch_train", "dataloader_train", "lightning_train", "accelerate_train"])
def test_the_example_learns_the_digits(script: str, tmp_path: Path) -> None:
    assert top1(shown(script, "--epochs", 2, folder=tmp_path), epochs=2) > 70


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("pytorch_train", ["--recipe", "small.yaml"]),
        ("dataloader_train", ["--image-size", 24, "--workers", 0]),
    ],
)
def test_the_example_trains_on_a_folder_of_photographs(
    script: str, options: list[object], photo_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text("input:\n  image_size: 24\nmodel:\n  arch: resnet20\n")
    arguments = [photo_folder, *options, "--arch", "resnet20", "--epochs", 1, "--batch-size", 6]
    text = shown(script, *arguments, folder=tmp_path)
    assert round(top1(text, epochs=1) * 6 / 100, 1).is_integer()  # there are six images


def test_every_training_example_is_tested() -> None:
    ours = {path.stem for path in EXAMPLES.glob("*_train.py")} - {"keras_train"}  # tested in tests/interop
    assert ours == {"pytorch_train", "dataloader_train", "lightning_train", "accelerate_train"}
