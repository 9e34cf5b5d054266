"""Training with the user's own network, loss, policy and batch augmentation."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from tests.own import OwnModule
from tests.training.runs import Killed, assert_same_outcome
from torch import nn

import tench
from tench.cli.main import main
from tench.errors import TenchError, UsageError
from tench.evaluation.evaluate import evaluate
from tench.own_code import import_code
from tench.run import Run
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.own_parts import require_loss
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe

SOURCE = "synthetic:images=48,size=8,classes=3,val=24,format=pixels"
SMALL = Recipe().replace(arch="mlp", epochs=2, batch_size=8, lr=0.02, precision="fp32", compile="off")
OPTIONS = TrainOptions(device="cpu", threads=2, save_every_seconds=0.0)
CPU = torch.device("cpu")


def train(run: Path, recipe: Recipe = SMALL, **own: Any) -> Run:
    return fit(SOURCE, recipe, run=run, options=OPTIONS, **own)


@pytest.fixture
def parts(own_module: OwnModule) -> dict[str, Any]:
    """The user's own parts as arguments of fit."""
    names = {"model": "small", "loss": "focal", "policy": "dim", "augment": "noise"}
    return {part: import_code(f"{own_module.name}:{name}") for part, name in names.items()}


# From Python


def test_the_run_records_the_names_of_its_code_and_resumes_exactly(
    tmp_path: Path, parts: dict[str, Any], kill_before: Callable[[int], None], own_module: OwnModule
) -> None:
    expected = train(tmp_path / "undisturbed", **parts).folder
    kill_before(7)
    with pytest.raises(Killed):
        train(tmp_path / "killed", **parts)
    assert_same_outcome(train(tmp_path / "killed", **parts).folder, expected)
    recipe, name = load_recipe(str(expected / "recipe.yaml")), own_module.name
    assert (recipe.model.arch, recipe.training.loss) == (f"{name}:small", f"{name}:focal")
    assert (recipe.augment.policy, recipe.augment.augment_batch) == (f"{name}:dim", f"{name}:noise")
    assert json.loads((expected / "model.json").read_text())["arch"] == f"{name}:small"


def test_a_run_with_its_own_network_is_loaded_evaluated_and_resumed_only_if_trusted(
    tmp_path: Path, parts: dict[str, Any], own_module: OwnModule
) -> None:
    run = train(tmp_path / "run", **parts)
    name, small = own_module.name, parts["model"]
    with pytest.raises(UsageError) as refused:
        tench.load(run.folder)
    assert str(refused.value) == (
        f"{run.folder}/model.json: arch is {name}:small. That is Python code, which runs when it is imported, so it "
        "is only imported if you ask for it. If you trust it, use --trust-code, or in Python tench.load(..., "
        f"trust_code=True); {name} must be importable."
    )
    trusted, given = tench.load(run.folder, "cpu", trust_code=True), tench.load(run.folder, "cpu", model=small)
    for classifier in (trusted, given, tench.load(run.folder, "cpu", model=small(3))):
        metrics = evaluate(classifier, SOURCE)
        assert metrics.top1 == run.metrics("epoch")[-1]["val_top1"] or run.metrics("epoch")[0]["val_top1"]
    with pytest.raises(UsageError) as refused:
        fit(run=run.folder, options=OPTIONS)
    assert str(refused.value) == (
        f"{run.folder}/recipe.yaml: model.arch is {name}:small. That is Python code, which runs when it is imported, "
        f"so it is only imported if you ask for it. Name it in the command: -a {name}:small, or pass it: tench.fit("
        "..., model=...). To import all code that the recipe names: --trust-code, TrainOptions(trust_code=True)."
    )
    assert fit(run=run.folder, options=TrainOptions(device="cpu", trust_code=True)).folder == run.folder


def test_a_module_object_is_trained_in_place_and_must_be_passed_again(
    tmp_path: Path, parts: dict[str, Any], kill_before: Callable[[int], None]
) -> None:
    torch.manual_seed(1)
    first, second = parts["model"](3), parts["model"](3)
    second.load_state_dict(first.state_dict())
    expected = train(tmp_path / "undisturbed", model=first).folder
    kill_before(7)
    with pytest.raises(Killed):
        train(tmp_path / "killed", model=second)
    with pytest.raises(UsageError) as refused:
        fit(run=tmp_path / "killed", options=OPTIONS)
    assert str(refused.value) == (
        f"{tmp_path}/killed/recipe.yaml: model.arch is object:Sequential: it was passed from Python and cannot be "
        "imported. Pass it again: tench.fit(..., model=...)."
    )
    fresh = parts["model"](3)  # its weights do not matter: the checkpoint has them
    assert_same_outcome(fit(run=tmp_path / "killed", options=OPTIONS, model=fresh).folder, expected)
    assert torch.equal(fresh.state_dict()["6.weight"], first.state_dict()["6.weight"])
    with pytest.raises(
        UsageError, match=r"it was passed from Python and cannot be imported\. Pass it again: tench\.load"
    ):
        tench.load(expected, trust_code=True)
    assert len(tench.load(expected, "cpu", model=parts["model"](3)).predict([np.zeros((9, 9, 3), np.uint8)])) == 1


def test_passing_a_network_is_refused_if_the_run_has_a_built_in_one(tmp_path: Path, parts: dict[str, Any]) -> None:
    run = train(tmp_path / "run")
    with pytest.raises(UsageError, match=r"its network is mlp, which comes with tench\. Leave model= out\."):
        tench.load(run.folder, model=parts["model"])
    with pytest.raises(UsageError, match=r"torchvision:resnet18: published weights come with their network\."):
        tench.load("torchvision:resnet18", model=parts["model"])


def test_starting_from_a_run_with_its_own_network_does_not_import_it(
    tmp_path: Path, parts: dict[str, Any], own_module: OwnModule
) -> None:
    weights = train(tmp_path / "run", model=parts["model"]).folder
    recipe = SMALL.replace(arch="auto", weights=str(weights))
    with pytest.raises(UsageError, match=f"^{weights}: model.arch is {own_module.name}:small. That is Python code"):
        train(tmp_path / "second", recipe)
    assert train(tmp_path / "third", recipe, model=parts["model"]).metrics("epoch")[0]["train_loss"] < 1.0


def test_a_network_that_uses_view_on_its_features_gets_nchw_images_and_others_get_nhwc(
    tmp_path: Path, own_module: OwnModule, parts: dict[str, Any]
) -> None:
    for name, expected in {"Viewing": "nchw", "small": "nhwc", "Net": "nchw"}.items():
        run = train(tmp_path / name, SMALL.replace(epochs=1), model=import_code(f"{own_module.name}:{name}"))
        assert load_recipe(str(run.folder / "recipe.yaml")).training.memory_format == expected


def test_a_users_loss_trains_like_a_plain_loop_with_it(tmp_path: Path) -> None:
    """The loss of the recipe and the same loss passed as a function give the same weights."""
    expected = train(tmp_path / "recipe").folder
    found = train(tmp_path / "own", loss=lambda logits, targets: F.cross_entropy(logits, targets)).folder
    assert torch.load(found / "last.ckpt")["model"].keys() == torch.load(expected / "last.ckpt")["model"].keys()
    for name, tensor in torch.load(expected / "last.ckpt")["model"].items():
        assert torch.equal(torch.load(found / "last.ckpt")["model"][name], tensor)


def test_the_loss_gets_class_shares_when_images_are_mixed(tmp_path: Path) -> None:
    seen = set()

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.add((logits.shape[1], targets.dtype, targets.ndim))
        return F.cross_entropy(logits, targets)

    train(tmp_path, SMALL.replace(mixup=0.2, epochs=1), loss=loss)
    assert seen == {(3, torch.float32, 2)}


def not_reduced(logits: torch.Tensor, targets: torch.Tensor) -> Any:
    return F.cross_entropy(logits, targets, reduction="none")


def a_number(logits: torch.Tensor, targets: torch.Tensor) -> Any:
    return F.cross_entropy(logits, targets).item()


def detached(logits: torch.Tensor, targets: torch.Tensor) -> Any:
    return F.cross_entropy(logits.detach(), targets)


def of_something_else(logits: torch.Tensor, targets: torch.Tensor) -> Any:
    return torch.ones((), requires_grad=True) * 2


def infinite(logits: torch.Tensor, targets: torch.Tensor) -> Any:
    return logits.square().sum() / 0


def failing(logits: torch.Tensor, targets: torch.Tensor) -> Any:
    raise KeyError("weights")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (not_reduced, "returned a tensor of shape (4,), expected a scalar tensor: the mean over the images."),
        (a_number, "returned float, expected a scalar tensor: the mean over the images."),
        (detached, "returned a loss without a gradient. Compute it from the logits with torch."),
        (of_something_else, "returned a loss that does not depend on the logits."),
        (infinite, "returned a loss of inf for random logits, and it is not finite."),
        (failing, f"failed when called with (4, 3) logits and (4,) targets: KeyError: 'weights' ({__file__}, line "),
    ],
)
def test_a_loss_that_cannot_train_is_refused(loss: Callable[..., Any], message: str) -> None:
    with pytest.raises(TenchError) as refused:
        require_loss(loss, 3, CPU, mixed=False)
    assert (
        str(refused.value)
        .removesuffix(".")
        .startswith(f"{loss.__module__}:{loss.__name__} {message.removesuffix('.')}")
    )


def test_a_loss_with_trainable_weights_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        require_loss(nn.Linear(3, 1), 3, CPU, mixed=False)
    assert str(refused.value) == (
        "object:Linear has its own parameters, which would not be trained. Make them buffers."
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"loss": "bce"},
            "recipe: training.loss is bce, but the argument loss is another one. Leave one of them out.",
        ),
        (
            {"label_smoothing": 0.1},
            "recipe: training.label_smoothing must be 0 with a loss of your own, got 0.1.",
        ),
    ],
)
def test_a_loss_that_conflicts_with_the_recipe_is_refused(
    tmp_path: Path, values: dict[str, Any], message: str, parts: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as refused:
        train(tmp_path, SMALL.replace(**values), loss=parts["loss"])
    assert str(refused.value) == message


def test_a_policy_that_conflicts_with_the_recipes_is_refused(tmp_path: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        train(tmp_path, SMALL.replace(policy="randaugment-2-9"), policy=parts["policy"])
    assert str(refused.value) == (
        "recipe: augment.policy is randaugment-2-9, but the argument policy is another one. Leave one of them out."
    )


def test_the_policy_gives_the_same_image_with_any_number_of_threads(tmp_path: Path) -> None:
    def drawn(threads: int) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []

        def policy(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
            assert image.shape == (8, 8, 3)
            found.append((int(image.sum()), *rng.integers(0, 2**31, 2).tolist()))
            return image

        options = TrainOptions(device="cpu", threads=threads)
        fit(SOURCE, SMALL, run=tmp_path / str(threads), options=options, policy=policy)
        return sorted(found)

    alone, shared = drawn(1), drawn(3)
    assert alone == shared
    assert len(set(alone)) == len(alone) == 2 * 48  # different numbers in each epoch


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda image, rng: image.astype(np.float32), "type float32, expected uint8 of shape (8, 8, 3)."),
        (lambda image, rng: image[:4], "shape (4, 8, 3) and type uint8, expected uint8 of shape (8, 8, 3)."),
        (lambda image, rng: None, "object:<lambda> returned NoneType, expected a numpy array."),
        (lambda image, rng: image.missing, "AttributeError: 'numpy.ndarray' object has no attribute 'missing'"),
    ],
)
def test_a_policy_that_does_not_return_an_image_stops_training(
    tmp_path: Path, policy: Callable[..., Any], message: str
) -> None:
    with pytest.raises(TenchError) as stopped:
        train(tmp_path, policy=policy)
    assert message in str(stopped.value)


def test_the_batch_augmentation_comes_last_and_the_network_gets_what_it_returns(tmp_path: Path) -> None:
    seen: list[tuple[tuple[int, ...], torch.dtype, torch.dtype, int]] = []
    inputs: list[float] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(192, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.training:
                inputs.append(bool((images == 7.0).all()))
            logits: torch.Tensor = self.head(images.flatten(1))
            return logits

    def sevens(images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((tuple(images.shape), images.dtype, targets.dtype, targets.ndim))
        return torch.full_like(images, 7.0), targets

    train(tmp_path, SMALL.replace(cutmix=1.0, epochs=1), model=Watching(), augment=sevens)
    assert set(seen) == {((8, 3, 8, 8), torch.float32, torch.float32, 2)}
    assert len(seen) == 6
    assert inputs[-6:] == [True] * 6


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda images, targets: images, "object:<lambda> returned Tensor, expected a tuple (images, targets) of"),
        (
            lambda images, targets: (images[:2], targets),
            "object:<lambda> returned images of shape (2, 3, 8, 8), expected (8, 3, H, W).",
        ),
        (
            lambda images, targets: (images[..., :0], targets),
            "object:<lambda> returned images of shape (8, 3, 8, 0), expected (8, 3, H, W).",
        ),
        (
            lambda images, targets: (images.double(), targets),
            "object:<lambda> returned images of type torch.float64, expected float32.",
        ),
        (
            lambda images, targets: (images.to("meta"), targets),
            "object:<lambda> returned a tensor on meta, expected cpu.",
        ),
        (
            lambda images, targets: (images, torch.full_like(targets, 3)),
            "object:<lambda> returned labels from 3 to 3, expected 0 to 2.",
        ),
        (
            lambda images, targets: (images, targets[:2]),
            "returned targets of shape (2,) and type torch.int64, expected int64 labels of shape (8,) or floating "
            "point of shape (8, 3).",
        ),
        (lambda images, targets: images / "x", "failed when called with (8, 3, 8, 8) images and (8,) targets: TypeErr"),
    ],
)
def test_a_batch_augmentation_that_returns_something_else_stops_the_training(
    tmp_path: Path, augment: Callable[..., Any], message: str
) -> None:
    with pytest.raises(TenchError) as stopped:
        train(tmp_path, augment=augment)
    assert message in str(stopped.value)


def _only_at_first(loss: Callable[[torch.Tensor, torch.Tensor], Any]) -> Callable[[torch.Tensor, torch.Tensor], Any]:
    """Return the cross-entropy for the four images of the trial, and another loss afterwards."""
    return lambda logits, targets: F.cross_entropy(logits, targets) if len(logits) == 4 else loss(logits, targets)


def _leave(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda logits, targets: F.cross_entropy(logits, targets, reduction="none"),
            "returned a tensor of shape (8,), expected a scalar tensor: the mean over the images.",
        ),
        (lambda logits, targets: None, "returned NoneType, expected a scalar tensor: the mean over the images."),
        (
            lambda logits, targets: F.cross_entropy(logits.detach(), targets),
            "returned a loss without a gradient. Compute it from the logits with torch.",
        ),
        (_leave, f"failed when called with (8, 3) logits and (8,) targets: SystemExit: 0 ({__file__}, line "),
    ],
)
def test_a_loss_that_fails_after_its_trial_is_named(
    tmp_path: Path, loss: Callable[[torch.Tensor, torch.Tensor], Any], message: str
) -> None:
    with pytest.raises(TenchError) as stopped:
        train(tmp_path, loss=_only_at_first(loss))
    assert str(stopped.value).startswith(f"object:<lambda> {message}")


def test_a_loss_that_changes_its_targets_is_refused() -> None:
    def clearing(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, targets.zero_())

    with pytest.raises(TenchError) as refused:
        require_loss(clearing, 3, CPU, mixed=False)
    assert str(refused.value) == "object:clearing changes its targets in place. Change a copy of them instead."


class _Unsteady(nn.Module):
    """Returns too few logits for the validation images."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(192, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        return logits if self.training or len(images) == 2 else logits[:1]


def test_a_network_that_fails_in_validation_is_named(tmp_path: Path) -> None:
    with pytest.raises(TenchError) as stopped:
        train(tmp_path, model=_Unsteady)
    assert str(stopped.value) == (
        "tests.training.test_own_parts:_Unsteady returned shape (1, 3) in evaluation mode for images of shape (8, 3, "
        "8, 8), expected logits of shape (8, 3): one number for each class."
    )


def test_a_network_whose_parameters_are_all_frozen_is_refused(tmp_path: Path) -> None:
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).requires_grad_(False)
    with pytest.raises(UsageError) as refused:
        train(tmp_path, model=frozen)
    assert str(refused.value) == "object:Sequential: no parameter requires a gradient, so there is nothing to train."


def test_a_value_that_is_not_a_function_is_refused(tmp_path: Path) -> None:
    wrong: Any = "focal"
    with pytest.raises(UsageError) as refused:
        train(tmp_path, loss=wrong)
    assert str(refused.value) == "loss must be callable, got str."


# From the command line


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


FLAGS = ("--epochs", 1, "-b", 8, "--device", "cpu", "--precision", "fp32", "--compile", "off")


def test_code_named_in_the_command_is_imported_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_module: OwnModule, capsys: pytest.CaptureFixture[str]
) -> None:
    name = own_module.name
    monkeypatch.chdir(own_module.path.parent)
    flags = ("--loss", f"{name}:focal", "--policy", f"{name}:dim", "--augment-batch", f"{name}:noise")
    assert command("train", SOURCE, "-a", f"{name}:small", *flags, *FLAGS, "--run", tmp_path / "my run") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"Use it: tench evaluate --trust-code '{tmp_path}/my run'",
        f"        tench predict --trust-code '{tmp_path}/my run' IMAGE",
    ]
    assert command("evaluate", "--trust-code", tmp_path / "my run", "--device", "cpu") == 0
    assert "24 images, each counted once" in capsys.readouterr().out
    assert command("evaluate", tmp_path / "my run") == 2
    assert command("train", "--run", tmp_path / "my run", "-a", f"{name}:small", *flags, "--device", "cpu") == 0
    assert command("train", "--run", tmp_path / "my run", "--trust-code", "--device", "cpu") == 0
    assert command("train", "--run", tmp_path / "my run", "--device", "cpu") == 2


@pytest.mark.parametrize("section", ["model: {arch", "training: {loss", "augment: {policy", "augment: {augment_batch"])
def test_code_named_only_in_a_recipe_is_not_imported(
    tmp_path: Path, own_module: OwnModule, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    touched = tmp_path / "touched"
    own_module.path.write_text(f"open({str(touched)!r}, 'w')\n" + own_module.path.read_text())
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"{section}: '{own_module.name}:small'}}\n")
    assert command("train", SOURCE, "--recipe", recipe, *FLAGS, "--run", tmp_path / "run") == 2
    assert "That is Python code, which runs when it is imported" in capsys.readouterr().err
    assert not touched.exists()


def test_a_misspelt_system_taken_for_a_module_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("train", SOURCE, "-a", "timn:resnet50", *FLAGS) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Networks of other systems are named SYSTEM:NAME. Did you mean 'timm'?"
    )


def test_the_table_of_a_run_has_its_columns_in_a_fixed_order(tmp_path: Path, parts: dict[str, Any]) -> None:
    run = train(tmp_path, SMALL.replace(validate_every=2), model=parts["model"])
    with (run.folder / "metrics.csv").open(newline="") as file:
        header, first, last = csv.reader(file)
    assert header == "step epoch lr train_loss train_top1 val_loss val_top1 val_top5 val_images seconds".split()
    assert first[5:9] == [""] * 4
    assert "" not in last


# A run whose data or folder has moved


def test_the_error_about_moved_data_says_how_to_name_its_new_location(tmp_path: Path, photo_folder: Path) -> None:
    data, moved = tmp_path / "data", tmp_path / "moved data"
    shutil.copytree(photo_folder, data)
    recipe = SMALL.replace(image_size=16, epochs=1, val_fraction=0.25)
    run = fit(data, recipe, run=tmp_path / "my run", options=OPTIONS).folder
    data.rename(moved)
    run = run.rename(tmp_path / "other run")
    with pytest.raises(UsageError) as refused:
        fit(run=run, options=OPTIONS)
    assert str(refused.value) == (
        f"{data}: the dataset of the run in {run} no longer exists. If it has moved, give its new location: "
        f"tench train NEW_PLACE --run '{run}'"
    )
    assert fit(moved, run=run, options=OPTIONS).folder == run
    assert Run.at(run).environment()["data"]["source"] == str(moved)  # so the next command works without it
    assert fit(run=run, options=OPTIONS).folder == run


def test_a_tilde_in_the_run_folder_and_the_recipe_stands_for_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/r.yaml").write_text(SMALL.replace(epochs=1).to_yaml())
    run = fit(SOURCE, "~/r.yaml", run="~/run", options=OPTIONS)
    assert run.folder == tmp_path / "home/run"
    assert not (tmp_path / "~").exists()
    assert tench.load("~/run", "cpu").card.arch == "mlp"
    assert fit(run="~/run", options=OPTIONS).folder == run.folder


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^nothing-like-it: no such recipe or file"):
        fit(SOURCE, "nothing-like-it", run=tmp_path, options=OPTIONS)
