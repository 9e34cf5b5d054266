"""Training that starts from existing weights: what they provide, what is logged, and how it resumes."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.data.photos import part
from tests.training.runs import Killed, assert_same_outcome

from tench.compat import import_torchvision
from tench.errors import TenchError, UsageError
from tench.input.views import IMAGENET_MEAN
from tench.run import Run
from tench.training import loop as loop_module
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe
from tench.weights.own import read_card

OTHER = "synthetic:images=40,size=8,classes=4,val=8,format=pixels"
FIRST: dict[str, Any] = {
    "arch": "resnet20",
    "image_size": 12,
    "eval_resize": 14,
    "interpolation": "bicubic",
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.3, 0.25),
    "channel_order": "bgr",
}
QUICK = Recipe().replace(epochs=1, batch_size=8, lr=0.01, precision="fp32", compile="off", train_view="pad-crop")
OPTIONS = TrainOptions(device="cpu", threads=1, save_every_seconds=0.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of three classes of 16 px images: 6 per class for train, 2 for val."""
    folder = tmp_path_factory.mktemp("classes")
    for number in range(24):
        path = folder / ("val" if number >= 18 else "train") / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image: Image.Image = part(16, 16, number)
        image.save(path)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A tench run, which provides the weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        run = tmp_path_factory.mktemp("first")
        return fit(photos, recipe=QUICK.replace(**FIRST), run=run, options=OPTIONS).folder


def weights_before_any_step(source: str | Path, recipe: Recipe, run: Path) -> dict[str, torch.Tensor]:
    """The state dict of the network before its first step. Training is killed there."""
    found: dict[str, torch.Tensor] = {}

    def train_step(state: Any, *rest: Any) -> None:
        found.update({name: tensor.clone() for name, tensor in state.module.state_dict().items()})
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_module, "train_step", train_step)
        with pytest.raises(Killed):
            fit(source, recipe=recipe, run=run, options=OPTIONS)
    return found


def test_a_tench_run_provides_the_network_and_its_preprocessing(first: Path, photos: Path, tmp_path: Path) -> None:
    found = weights_before_any_step(photos, QUICK.replace(weights=str(first)), tmp_path)
    expected = load_file(first / "best.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    stored = dict(load_recipe(str(tmp_path / "recipe.yaml")).leaves())
    for name, value in FIRST.items():
        assert stored["model.arch" if name == "arch" else f"input.{name}"] == value, name


def test_the_recipe_takes_precedence_over_the_weights(first: Path, photos: Path, tmp_path: Path) -> None:
    recipe = QUICK.replace(weights=str(first), image_size=16, mean=(0.1, 0.2, 0.3), interpolation="bilinear")
    weights_before_any_step(photos, recipe, tmp_path)
    view = load_recipe(str(tmp_path / "recipe.yaml")).input
    assert (view.image_size, view.mean, view.interpolation) == (16, (0.1, 0.2, 0.3), "bilinear")
    assert (view.std, view.channel_order) == (FIRST["std"], "bgr")
    assert view.eval_resize == 16  # the weights' eval_resize belongs to another size


def test_other_classes_get_a_new_head_and_the_log_says_so(
    first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tench"):
        found = weights_before_any_step(OTHER, QUICK.replace(weights=str(first)), tmp_path)
    notes = [message for message in caplog.messages if message.startswith("Weights: ")]
    assert len(notes) == 1
    assert notes[0].startswith("Weights: Head (")
    assert ": 3 classes) reinitialised for 4 " in notes[0]
    expected = load_file(first / "best.safetensors")
    new = [name for name in expected if not torch.equal(found[name], expected[name])]
    assert {len(found[name]) for name in new if name.endswith("weight")} == {4}
    assert len(new) <= 2


def test_a_state_dict_of_torchvision_needs_the_networks_name_and_uses_the_default_preprocessing(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = import_torchvision().models
    torch.manual_seed(0)
    theirs = models.squeezenet1_1(num_classes=3).state_dict()
    torch.save(theirs, tmp_path / "squeezenet.pth")
    recipe = QUICK.replace(weights=str(tmp_path / "squeezenet.pth"), image_size=96, train_view="random-resized-crop")
    with pytest.raises(UsageError, match=r"squeezenet\.pth: the file does not name its network\. .* Add -a ARCH;"):
        fit(photos, recipe=recipe, run=tmp_path / "nameless", options=OPTIONS)
    with caplog.at_level(logging.INFO, "tench"):
        found = weights_before_any_step(photos, recipe.replace(arch="squeezenet1_1"), tmp_path / "run")
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], theirs[name]) for name in theirs)
    assert load_recipe(str(tmp_path / "run/recipe.yaml")).input.mean == IMAGENET_MEAN
    (note,) = [message for message in caplog.messages if message.startswith("Weights: ")]
    assert "kept by position" in note
    assert "squeezenet.pth does not name its classes" in note


def test_fine_tuning_resumes_without_the_original_weights_file(
    first: Path, photos: Path, tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(first, weights)
    recipe = QUICK.replace(weights=str(weights), epochs=3)
    expected = fit(photos, recipe=recipe, run=tmp_path / "undisturbed", options=OPTIONS).folder
    kill_before(4)
    with pytest.raises(Killed):
        fit(photos, recipe=recipe, run=tmp_path / "killed", options=OPTIONS)
    shutil.rmtree(weights)
    assert_same_outcome(fit(run=tmp_path / "killed", options=OPTIONS).folder, expected)


def test_fine_tuning_killed_before_its_first_checkpoint_loads_the_weights_again(
    first: Path, photos: Path, tmp_path: Path
) -> None:
    recipe = QUICK.replace(weights=str(first))
    found = [weights_before_any_step(photos, recipe, tmp_path) for _ in range(2)]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_run_begun_from_other_weights_is_refused(first: Path, photos: Path, tmp_path: Path) -> None:
    fit(photos, recipe=QUICK.replace(weights=str(first)), run=tmp_path, options=OPTIONS)
    with pytest.raises(UsageError) as refused:
        fit(photos, recipe=QUICK.replace(weights="elsewhere.pth"), run=tmp_path, options=OPTIONS)
    assert f"a different recipe or dataset: model.weights was {first}, now elsewhere.pth." in str(refused.value)


def test_weights_of_another_network_leave_no_run_behind(first: Path, photos: Path, tmp_path: Path) -> None:
    recipe = QUICK.replace(weights=str(first), arch="mlp")
    with pytest.raises(TenchError, match="the weights do not fit mlp"):
        fit(photos, recipe=recipe, run=tmp_path / "run", options=OPTIONS)
    assert not Run(tmp_path / "run").exists


def test_a_name_that_cannot_be_frozen_leaves_no_run_behind(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no parameter is called 'whitten'"):
        fit(photos, recipe=QUICK.replace(arch="resnet20", freeze="whitten"), run=tmp_path / "run", options=OPTIONS)
    assert not Run(tmp_path / "run").exists


@pytest.mark.parametrize(
    ("arch", "values"),
    [("resnet18", {"blurpool": True}), ("edgeai:mobilenetv1_x1", {"strides": (1, 1, 2, 2, 2)})],
)
def test_the_options_of_a_network_come_with_its_weights(tmp_path: Path, arch: str, values: dict[str, Any]) -> None:
    recipe = QUICK.replace(arch=arch, batch_size=20, **values)
    begun = fit(OTHER, recipe=recipe, run=tmp_path / "begun", options=OPTIONS).folder
    tuned = fit(OTHER, recipe=QUICK.replace(weights=str(begun)), run=tmp_path / "run", options=OPTIONS).folder
    model = load_recipe(str(tuned / "recipe.yaml")).model
    assert {name: getattr(model, name) for name in values} == values
    assert read_card(tuned).options == read_card(begun).options
    again = QUICK.replace(weights=str(begun))  # the same command continues it
    assert fit(OTHER, recipe=again, run=tuned, options=OPTIONS).folder == tuned


def test_strides_that_its_weights_were_not_trained_with_are_refused(tmp_path: Path) -> None:
    recipe = QUICK.replace(arch="edgeai:mobilenetv1_x1", batch_size=20, strides=(1, 1, 2, 2, 2))
    begun = fit(OTHER, recipe=recipe, run=tmp_path / "begun", options=OPTIONS).folder
    other = QUICK.replace(weights=str(begun), strides=(2, 2, 2, 2, 2))
    with pytest.raises(UsageError) as refused:
        fit(OTHER, recipe=other, run=tmp_path / "run", options=OPTIONS)
    assert str(refused.value) == (f"{begun}: the network was created with --strides 1 1 2 2 2. Add that option.")


def test_weights_for_squashed_images_are_validated_and_tuned_with_squashed_images(tmp_path: Path) -> None:
    recipe = QUICK.replace(arch="resnet20", batch_size=20, crop_mode="squash")
    begun = fit(OTHER, recipe=recipe, run=tmp_path / "begun", options=OPTIONS).folder
    tuned = fit(OTHER, recipe=QUICK.replace(weights=str(begun)), run=tmp_path / "run", options=OPTIONS).folder
    assert read_card(begun).view.squash
    assert read_card(tuned).view.squash
    assert load_recipe(str(tuned / "recipe.yaml")).input.crop_mode == "squash"
    cropped = QUICK.replace(weights=str(begun), crop_mode="center")
    assert not read_card(fit(OTHER, recipe=cropped, run=tmp_path / "cropped", options=OPTIONS).folder).view.squash
