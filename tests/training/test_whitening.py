"""A whitening layer at the start of a network is computed from the training images, once."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import Killed, assert_same_outcome

import tench
from tench.data.images.image import decode_as
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe_file import load_recipe

SOURCE = "synthetic:images=40,size=10,classes=4,val=20,format=pixels"
QUICK = load_recipe("airbench94").replace(
    epochs=1.5, batch_size=8, lr=0.2, precision="fp32", image_size=10, eval_resize=10
)
OPTIONS = TrainOptions(device="cpu", threads=1, save_every_seconds=0.0)


def train(run: Path, **values: Any) -> Path:
    return fit(SOURCE, recipe=QUICK.replace(**values), run=run, options=OPTIONS).folder


def filters_of_numpy() -> np.ndarray[Any, Any]:
    """Eigenvectors of the 2x2 patches of all training images, divided by sqrt(eigenvalue + 5e-4), largest first."""
    table = tench.open_source(SOURCE).splits["train"]
    assert QUICK.input.mean != "auto"
    assert QUICK.input.std != "auto"
    patches = []
    for row in range(len(table)):
        pixels = decode_as(table, row, table.read(row), 3)[0] / 255
        image = ((pixels - QUICK.input.mean) / QUICK.input.std).transpose(2, 0, 1)
        patches += [
            image[:, top : top + 2, left : left + 2].ravel() for top, left in itertools.product(range(9), repeat=2)
        ]
    flat = np.array(patches)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    return (vectors / np.sqrt(values + 5e-4)).T[::-1]


@pytest.mark.parametrize("average", ["lookahead", "none", "ema"])
def test_the_filters_computed_from_the_training_images_are_kept_to_the_end_with_any_average(
    tmp_path: Path, average: str
) -> None:
    saved = load_file(train(tmp_path, average=average) / "best.safetensors")["whiten.weight"].flatten(1).numpy()
    expected = filters_of_numpy()
    assert saved.shape == (24, 12)
    assert np.array_equal(saved[12:], -saved[:12])
    cosine = (saved[:12] * expected).sum(axis=1) / np.linalg.norm(expected, axis=1) ** 2
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-3)  # the sign of an eigenvector is arbitrary


def test_a_killed_run_continues_with_the_same_filters(tmp_path: Path, kill_before: Callable[[int], None]) -> None:
    expected = train(tmp_path / "undisturbed")
    kill_before(3)
    with pytest.raises(Killed):
        train(tmp_path / "killed")
    assert_same_outcome(train(tmp_path / "killed"), expected)


def test_the_filters_of_starting_weights_are_kept(tmp_path: Path) -> None:
    """The layers after the filters were trained with them, and other images would give other filters."""
    first = train(tmp_path / "first")
    other = SOURCE.replace("classes=4", "classes=3")
    recipe = QUICK.replace(weights=str(first))
    second = fit(other, recipe=recipe, run=tmp_path / "second", options=OPTIONS).folder
    filters = [load_file(run / "best.safetensors")["whiten.weight"] for run in (first, second)]
    assert torch.equal(*filters)
