"""The state that changes during training: after saving and resuming, training ends as if uninterrupted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import Killed, assert_same_outcome, checkpoint, equal_in_all, resolved
from torch import nn
from torch.optim.swa_utils import AveragedModel

import tench
from tench.errors import TenchError
from tench.run import Run
from tench.training import loop as loop_module
from tench.training import network as network_module
from tench.training.average import Lookahead, WeightAverage
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.training.state import State, new_state
from tench.training.step import train_step as real_train_step
from tench.weights import own

SOURCE = "synthetic:images=60,size=8,classes=4,val=30,format=pixels"
STEPS_PER_EPOCH = 7
SMALL = Recipe().replace(epochs=2, batch_size=8, lr=0.02, precision="fp32", compile="off")
OPTIONS = TrainOptions(device="cpu", threads=1, log_every=3, save_every_seconds=0.0)


def tiny(arch: str, *, num_classes: int, image_size: int, channels: int, options: object) -> nn.Module:
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(channels, 6, 3, padding=1))
    module.add_module("norm", nn.BatchNorm2d(6))
    module.add_module("relu", nn.ReLU())
    module.add_module("conv2", nn.Conv2d(6, 4, 3, padding=1, bias=False))
    module.add_module("pool", nn.AdaptiveAvgPool2d(2))
    module.add_module("flatten", nn.Flatten())
    module.add_module("drop", nn.Dropout(0.2))
    module.add_module("head", nn.Linear(16, num_classes))
    return module


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (network_module, own):
        monkeypatch.setattr(module, "create", tiny)


def train(run: Path, **values: Any) -> Path:
    return fit(SOURCE, recipe=SMALL.replace(**values), run=run, options=OPTIONS).folder


KINDS: dict[str, dict[str, Any]] = {
    "ema": {"average": "ema", "average_decay": 0.8, "average_every": 2},
    "ema of torchvision": {"average": "ema", "average_form": "torchvision", "warmup": "3 steps", "average_decay": 0.98},
    "ema of timm": {"average": "ema", "average_form": "timm", "average_decay": 0.7},
    "lookahead": {"average": "lookahead", "average_every": 3, "average_decay": 0.95},
    "muon": {"optimizer": "muon"},
    "lamb": {"optimizer": "lamb"},
    "lars": {"optimizer": "lars"},
    "rmsprop-tf": {"optimizer": "rmsprop-tf", "lr": 0.005},
    "the learning rate inside": {"lr_inside": True, "norm_bias_lr": 8.0},
    "parts of an epoch and of a batch": {"epochs": 1.5, "drop_last": False, "accumulate": 3},
    "freezing": {"freeze": "conv head.bias", "freeze_from": "5 steps"},
    "binary cross-entropy of mixed labels": {"loss": "bce", "bce_threshold": 0.2, "mixup": 0.4},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_of_any_kind_ends_the_same_after_resuming(
    kind: str, tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    expected = train(tmp_path / "undisturbed", **KINDS[kind])
    for step in (4, 9):  # before and after the change at step 5, in both epochs
        run = tmp_path / f"killed at {step}"
        kill_before(step)
        with pytest.raises(Killed):
            train(run, **KINDS[kind])
        assert checkpoint(run)["step"] == step
        assert_same_outcome(train(run, **KINDS[kind]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_run_changes_the_weights(kind: str, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain")
    assert not equal_in_all(
        load_file(train(tmp_path / "kind", **KINDS[kind]) / "best.safetensors"), load_file(plain / "best.safetensors")
    )


@pytest.fixture
def after_each_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[State], None]], None]:
    """Call a function with the state after each step, before the step is counted."""

    def set_up(call: Callable[[State], None]) -> None:
        def train_step(state: State, *rest: Any) -> None:
            real_train_step(state, *rest)
            call(state)

        monkeypatch.setattr(loop_module, "train_step", train_step)

    return set_up


def test_the_average_matches_torch_and_is_validated_and_saved_while_the_raw_weights_train_on(
    tmp_path: Path, after_each_step: Callable[[Callable[[State], None]], None]
) -> None:
    average: AveragedModel | None = None

    def update(state: State) -> None:
        nonlocal average
        if average is None:
            average = AveragedModel(state.module, avg_fn=lambda mean, one, _: 0.8 * mean + 0.2 * one, use_buffers=True)
        if state.step % 2 == 0:
            average.update_parameters(state.module)

    after_each_step(update)
    run = train(tmp_path, epochs=1, average="ema", average_decay=0.8, average_every=2)
    saved, raw = load_file(run / "best.safetensors"), checkpoint(run)["model"]
    assert average is not None
    for name, expected in average.module.state_dict().items():
        if expected.is_floating_point():
            torch.testing.assert_close(saved[name], expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(saved["head.weight"], raw["head.weight"], atol=1e-4)
    (epoch,) = Run(run).metrics("epoch")
    metrics = tench.evaluate(tench.load(run, "cpu"))
    assert metrics.top1 == pytest.approx(epoch["val_top1"], rel=1e-5)
    assert metrics.loss == pytest.approx(epoch["val_loss"], rel=1e-4)


def test_after_lookaheads_last_step_the_network_is_the_average(tmp_path: Path) -> None:
    saved = checkpoint(train(tmp_path, **KINDS["lookahead"]))
    floats = [tensor for tensor in saved["model"].values() if tensor.is_floating_point()]
    average = saved["average"]["average"]
    assert len(floats) == len(average)
    for tensor in floats:  # the average lists all parameters first, the model lists them layer by layer
        assert any(torch.equal(tensor, other) for other in average)


@pytest.mark.parametrize(
    ("values", "decay_at"),
    [
        ({"average_form": "plain"}, [0.0, 0.9, 0.9, 0.9]),
        # references/classification/train.py: alpha = min(1, (1 - decay) * world batch * steps / epochs)
        ({"average_form": "torchvision", "average_decay": 0.98, "batch_size": 8, "epochs": 4}, [0.0, 0.96, 0.96, 0.96]),
        ({"average_form": "torchvision", "average_decay": 0.5, "batch_size": 8, "epochs": 2}, [0.0] * 4),
        ({"average_form": "torchvision", "average_decay": 0.98, "warmup": "2 steps"}, [0.0, 0.0, 0.0, 0.92]),
        ({"average_form": "timm"}, [0.0, *(min(0.9, 1 - (1 + step) ** (-2 / 3)) for step in (1, 2, 3))]),
    ],
)
def test_the_recipe_decides_the_decay_of_the_average(values: dict[str, Any], decay_at: list[float]) -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    recipe = resolved(SMALL, average="ema", **{"average_decay": 0.9, **values})
    state = new_state(module, recipe, torch.device("cpu"), STEPS_PER_EPOCH)
    assert isinstance(state.average, WeightAverage)
    assert state.evaluated is state.average.module
    expected = 1.0
    for step, decay in enumerate(decay_at):
        nn.init.constant_(module.weight, float(step + 3))
        state.average.update(module, step)
        expected = decay * expected + (1 - decay) * (step + 3)
        assert state.evaluated.get_parameter("weight").item() == pytest.approx(expected, rel=1e-5), step


@pytest.mark.parametrize("average", ["none", "lookahead"])
def test_without_a_running_average_the_network_itself_is_evaluated(average: str) -> None:
    recipe = resolved(SMALL, average=average, average_decay=0.95)
    state = new_state(nn.Linear(2, 2), recipe, torch.device("cpu"))
    assert state.evaluated is state.module
    assert isinstance(state.average, Lookahead) == (average == "lookahead")


# Parts of epochs


def test_a_partial_last_epoch_is_validated(tmp_path: Path) -> None:
    epochs = Run(train(tmp_path, epochs=1.5)).metrics("epoch")
    assert [(record["epoch"], record["step"], record["val_images"]) for record in epochs] == [(1, 7, 30), (2, 11, 30)]


@pytest.mark.parametrize(("drop_last", "seen"), [(True, 56), (False, 60)])
def test_the_last_batch_of_an_epoch_is_left_out_unless_the_recipe_keeps_it(
    tmp_path: Path, drop_last: bool, seen: int, after_each_step: Callable[[Callable[[State], None]], None]
) -> None:
    totals: list[int] = []
    after_each_step(lambda state: totals.append(int(state.totals[2])))
    run = train(tmp_path, epochs=2, drop_last=drop_last)
    steps = -(-seen // 8)
    assert [record["step"] for record in Run(run).metrics("epoch")] == [steps, 2 * steps]
    assert totals[steps - 1 :: steps] == [seen, seen]
    assert totals[:steps] == [min(8 * count, seen) for count in range(1, steps + 1)]


# Options of the network and of evaluation, stored in the files of a run


@pytest.mark.parametrize("test_time", ["mirror", "mirror-shift", "ten-crop"])
def test_a_run_is_evaluated_as_it_was_validated(tmp_path: Path, test_time: str) -> None:
    crops = {"eval_resize": 10} if test_time == "ten-crop" else {}
    run = train(tmp_path, epochs=1, test_time=test_time, lr=0.1, **crops)
    (epoch,) = Run(run).metrics("epoch")
    assert json.loads((run / "model.json").read_text())["test_time"] == test_time
    metrics = tench.evaluate(tench.load(run, "cpu"))
    assert metrics.top1 == pytest.approx(epoch["val_top1"], rel=1e-5)
    assert metrics.loss == pytest.approx(epoch["val_loss"], rel=1e-4)
    card = json.loads((run / "model.json").read_text()) | {"test_time": "none"}
    (run / "model.json").write_text(json.dumps(card))
    plain = tench.evaluate(tench.load(run, "cpu"))
    assert plain.loss != pytest.approx(epoch["val_loss"], rel=1e-4)


# Invalid values in a checkpoint from somebody else or a damaged one


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The saved state of a run with momentum and an average."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(folder / "cache"))
        for module in (network_module, own):
            patch.setattr(module, "create", tiny)
        train(folder / "run", average="ema", average_decay=0.8)
    saved: dict[str, Any] = torch.load(folder / "run" / "last.ckpt", weights_only=True)
    return saved


def fresh_state() -> State:
    torch.manual_seed(0)
    module = tiny("tiny", num_classes=4, image_size=8, channels=3, options=None)
    recipe = resolved(SMALL, average="ema", average_decay=0.8)
    return new_state(module, recipe, torch.device("cpu"), STEPS_PER_EPOCH)


def put(tree: dict[Any, Any], path: list[Any], value: Any) -> dict[Any, Any]:
    """A copy of nested dictionaries with a value at a path; the value `...` removes the entry."""
    new = dict(tree)
    if len(path) > 1:
        new[path[0]] = put(tree[path[0]], path[1:], value)
    elif value is ...:
        del new[path[0]]
    else:
        new[path[0]] = value
    return new


MOMENTUM = ["optimizer", "state", 0, "momentum_buffer"]
OF_SHAPE = "is a tensor of shape {} and type torch.{}".format
OF_MOMENTUM = "optimizer.state[0].momentum_buffer"
WRONG: list[tuple[list[Any], Any, str]] = [
    (["model"], torch.zeros(2), "model is tensor([0., 0.]), but should be keys and values"),
    (["model"], ..., "model is missing"),
    (["arch"], 5, "arch is 5, but should be text"),
    (["step"], [], "step is [], but should be a whole number"),
    (["step"], True, "step is True, but should be a whole number"),
    (["step"], -1, "step, epochs or seconds is less than 0"),
    (["epochs"], None, "epochs is None, but should be a whole number"),
    (["seconds"], [], "seconds is [], but should be a number"),
    (["seconds"], float("nan"), "seconds is nan, but should be a number"),
    (["best"], {}, "best.epoch is missing"),
    (["best", "top1"], "all", "best.top1 is 'all', but should be a number"),
    (["totals"], torch.zeros(2), f"totals {OF_SHAPE((2,), 'float32')}"),
    (["totals"], torch.full((3,), torch.nan, dtype=torch.float64), "totals contains NaN or infinity"),
    (["scaler"], {"scale": 1.0}, "scaler has ['scale'], but should have []"),
    (["scaler"], [], "scaler is [], but should be keys and values"),
    (["average"], None, "average is None, but should be keys and values"),
    (["average", "conv.weight"], ..., "average.conv.weight is missing"),
    (["average", "conv.weight"], torch.zeros(1), f"average.conv.weight {OF_SHAPE((1,), 'float32')}"),
    (["optimizer"], {}, "optimizer.state is None, but should be keys and values"),
    (["optimizer", "param_groups"], ..., "optimizer.param_groups is None, but should be a list of values"),
    (["optimizer", "param_groups"], [], "optimizer.param_groups has 0 groups, but should have "),
    (["optimizer", "param_groups"], [{"lr": "x"}], "optimizer.param_groups[0].lr is 'x', but should be a number"),
    (["optimizer", "state"], [], "optimizer.state is [], but should be keys and values"),
    (["optimizer", "state", 99], {}, "optimizer.state[99] belongs to no parameter; the network has 7"),
    (["optimizer", "state", "0"], {}, "optimizer.state['0'] belongs to no parameter; the network has 7"),
    (["optimizer", "state", 0], {}, "optimizer.state[0].momentum_buffer is missing"),
    (["optimizer", "state", 0, "more"], torch.zeros(1), "optimizer.state[0].'more' is unexpected"),
    (MOMENTUM, 5, "optimizer.state[0] is {'momentum_buffer': 5}, but should be keys and values"),
    (MOMENTUM, torch.zeros(1), f"{OF_MOMENTUM} {OF_SHAPE((1,), 'float32')}"),
    (MOMENTUM, torch.zeros(7), f"{OF_MOMENTUM} {OF_SHAPE((7,), 'float32')}"),
    (MOMENTUM, torch.zeros(6, 3, 3, 3).half(), f"{OF_MOMENTUM} {OF_SHAPE((6, 3, 3, 3), 'float16')}"),
    (MOMENTUM, torch.zeros(6, 3, 3, 3).to_sparse(), f"{OF_MOMENTUM} {OF_SHAPE((6, 3, 3, 3), 'float32')}"),
    (MOMENTUM, torch.full((6, 3, 3, 3), torch.inf), "optimizer.state[0].momentum_buffer contains NaN or infinity"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "reason"), WRONG, ids=lambda one: str(one)[:50])
def test_the_error_for_a_checkpoint_with_invalid_values_names_the_key(
    finished: dict[str, Any], path: list[Any], value: Any, reason: str
) -> None:
    state = fresh_state()
    with pytest.raises(TenchError) as refused:
        state.load(put(finished, path, value), finished["arch"], "last.ckpt")
    assert str(refused.value).startswith(f"last.ckpt is not a checkpoint of this run: {reason}")
    assert str(refused.value).endswith(". Restore the run's own checkpoint, or name a new --run.")


@pytest.mark.parametrize("saved", [None, [], 5, "text", torch.zeros(3)])
def test_a_file_that_is_not_a_checkpoint_is_refused(saved: Any) -> None:
    with pytest.raises(TenchError, match=r"^last\.ckpt is not a checkpoint of this run: it is "):
        fresh_state().load(saved, "tiny", "last.ckpt")


def test_an_expanded_momentum_tensor_gets_its_own_memory(finished: dict[str, Any]) -> None:
    """A tensor of any shape may have only one number in memory, and a fused update would write past it."""
    state = fresh_state()
    one = torch.full((1,), 0.25).expand(6 * 27).view(6, 3, 3, 3)
    assert one.untyped_storage().nbytes() == 4
    state.load(put(finished, MOMENTUM, one), finished["arch"], "last.ckpt")
    parameter = state.optimizer.param_groups[0]["params"][0]
    found = state.optimizer.state[parameter]["momentum_buffer"]
    assert found.untyped_storage().nbytes() == 4 * 162
    assert found.stride() == parameter.stride()
    assert (found == 0.25).all()


def test_the_optimizers_options_come_from_the_recipe_not_from_the_checkpoint(finished: dict[str, Any]) -> None:
    groups = [{**group, "momentum": 5.0, "nesterov": "x"} for group in finished["optimizer"]["param_groups"]]
    state = fresh_state()
    before = [{**group, "params": None, "lr": 0.0} for group in state.optimizer.param_groups]
    state.load(put(finished, ["optimizer", "param_groups"], groups), finished["arch"], "last.ckpt")
    assert [{**group, "params": None, "lr": 0.0} for group in state.optimizer.param_groups] == before


def test_a_checkpoint_of_a_later_step_than_the_run_has_is_refused(tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    path = run / "last.ckpt"
    torch.save(torch.load(path, weights_only=True) | {"step": 10**6}, path)
    with pytest.raises(TenchError) as refused:
        train(tmp_path / "run")
    assert str(refused.value) == (
        f"{path} was saved after step 1000000 and epoch 2, but this run has 14 steps and 2 epochs. Restore the run's "
        "own checkpoint, or name a new --run."
    )
