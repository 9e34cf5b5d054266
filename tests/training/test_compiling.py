"""When compiling is tried, what is decided, and that the trial changes nothing. The clock is a fake."""

import contextlib
import copy
import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.runs import Killed, assert_same_outcome
from torch import nn

from tench.training import compiling, plan
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe

CPU = torch.device("cpu")
SOURCE = "synthetic:images=32,size=8,classes=4,val=8,format=pixels"
SMALL = Recipe().replace(arch="mlp", epochs=2, batch_size=8, lr=0.02, precision="fp32")
OPTIONS = TrainOptions(device="cpu", threads=1, save_every_seconds=0.0)


class Compiled(nn.Module):
    """A network as the fake torch.compile returns it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(images)
        return logits


class Clock:
    """A clock that advances by 1/8 s per image, by `fast` per image if compiled, and once by `compile_seconds`."""

    def __init__(self, fast: float, compile_seconds: float, error: Exception | None = None) -> None:
        self.now, self.fast, self.compile_seconds, self.error = 0.0, fast, compile_seconds, error
        self.compiled: list[nn.Module] = []
        self.worked: list[nn.Module] = []

    def monotonic(self) -> float:
        return self.now

    def compile(self, module: nn.Module, **options: Any) -> nn.Module:
        if self.error is not None:
            raise self.error
        self.compiled.append(module)
        self.now += self.compile_seconds
        return Compiled(module)

    def work(self, module: nn.Module, images: torch.Tensor) -> None:
        self.worked.append(module)
        torch.autograd.backward(module(images).sum())
        self.now += len(images) * (self.fast if isinstance(module, Compiled) else 1 / 8)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clock], Clock]:
    def to(clock: Clock) -> Clock:
        monkeypatch.setattr(compiling, "time", clock)
        monkeypatch.setattr(torch, "compile", clock.compile)
        return clock

    return to


def small_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3))


def test_compiling_is_not_tried_if_training_takes_less_than_an_hour(set_clock: Callable[[Clock], Clock]) -> None:
    clock = set_clock(Clock(fast=0.01, compile_seconds=1))
    images = torch.zeros(16, 3, 8, 8)  # 2 s
    assert not compiling.compile_pays(small_network(), images, clock.work, passes=1799)
    assert clock.compiled == []
    assert compiling.compile_pays(small_network(), images, clock.work, passes=1800)


def test_a_slow_first_estimate_from_few_images_is_corrected(
    set_clock: Callable[[Clock], Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, kernels take as long for 8 images as for 64."""
    clock = set_clock(Clock(fast=0.001, compile_seconds=1))

    def work(module: nn.Module, images: torch.Tensor) -> None:
        clock.now += 1.0

    assert not compiling.compile_pays(small_network(), torch.zeros(64, 3, 8, 8), work, passes=1000)
    assert clock.compiled == []


@pytest.mark.parametrize(
    ("fast", "compile_seconds", "passes", "pays"),
    [
        (1 / 16, 100, 4000, True),  # saves 1 s of 2 s, 4000 times
        (1 / 16, 3900, 4000, True),
        (1 / 16, 4001, 4000, False),
        (1 / 16, 3900, 3000, False),
        (1 / 8, 1, 4000, False),
        (1 / 4, 1, 4000, False),
    ],
)
def test_compiling_pays_if_it_saves_more_time_than_it_takes(
    set_clock: Callable[[Clock], Clock],
    caplog: pytest.LogCaptureFixture,
    fast: float,
    compile_seconds: float,
    passes: int,
    pays: bool,
) -> None:
    clock = set_clock(Clock(fast, compile_seconds))
    with caplog.at_level(logging.INFO, "tench"):
        assert compiling.compile_pays(small_network(), torch.zeros(16, 3, 8, 8), clock.work, passes) is pays
    first = compile_seconds + 16 * fast  # compiling is only finished by the first pass
    assert caplog.messages == [
        f"Trying torch.compile, for at most {passes * 2 / 20 / 60:.0f} min: the training takes about "
        f"{passes * 2 / 3600:.1f} h without it ...",
        f"Compile: {'on' if pays else 'off'}; forward and backward take 2000 ms, compiled {16000 * fast:.0f} ms, and "
        f"compiling took {first:.0f} s.",
    ]


def test_a_trial_that_exceeds_its_share_of_the_training_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def endless(module: nn.Module, **options: Any) -> nn.Module:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(Exception):  # torch.compile suppresses its own errors too
                time.sleep(0.01)
        return pytest.fail("was not interrupted")

    def work(network: nn.Module, images: torch.Tensor) -> None:
        time.sleep(0.02)

    monkeypatch.setattr(torch, "compile", endless)
    monkeypatch.setattr(compiling, "_TRY_FROM_SECONDS", 1.0)
    with caplog.at_level(logging.INFO, "tench"):
        assert not compiling.compile_pays(small_network(), torch.zeros(8, 3, 8, 8), work, passes=200)
    assert caplog.messages[0].startswith("Trying torch.compile, for at most 0 min: the training takes about 0.0 h")
    assert caplog.messages[1:] == ["Compile: off; compiling had not finished after 0 min."]


def test_a_limit_that_is_not_reached_interrupts_nothing_later() -> None:
    with compiling._at_most(0.05):
        pass
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no compiler\nand a long trace"), "no compiler"), (NotImplementedError(), "NotImplementedError")],
)
def test_a_network_that_cannot_be_compiled_does_not_pay_and_the_reason_is_logged(
    set_clock: Callable[[Clock], Clock], caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    clock = set_clock(Clock(0.01, 1, error))
    with caplog.at_level(logging.INFO, "tench"):
        assert not compiling.compile_pays(small_network(), torch.zeros(16, 3, 8, 8), clock.work, 4000)
    assert caplog.messages[1:] == [f"Compile: off; it failed ({reason})."]


def test_the_trial_changes_neither_the_network_nor_torchs_generator(set_clock: Callable[[Clock], Clock]) -> None:
    clock = set_clock(Clock(0.01, 1))
    module = small_network().eval()
    before, generator = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    compiling.compile_pays(module, torch.ones(16, 3, 8, 8), lambda one, images: clock.work(one.train(), images), 4000)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(found, before[name]) for name, found in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module.training
    assert module not in clock.worked


@pytest.fixture
def _without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.compile capture and check a network as usual, but run it in PyTorch."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


@pytest.mark.usefixtures("_without_a_compiler")
def test_a_compiled_network_shares_its_parameters_and_gives_the_same_logits() -> None:
    module = small_network().eval()
    compiled, images = compiling.compiled_forward(module), torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(compiled(images), module(images))
    with torch.no_grad():
        module.get_parameter("4.bias").fill_(7.0)
    torch.testing.assert_close(compiled(images), module(images))
    torch.compiler.reset()


@pytest.mark.usefixtures("_without_a_compiler")
def test_training_with_a_compiled_network_gives_the_same_result(tmp_path: Path) -> None:
    recipes = {value: SMALL.replace(compile=value) for value in ("on", "off")}
    runs = [fit(SOURCE, recipe=recipe, run=tmp_path / value, options=OPTIONS) for value, recipe in recipes.items()]
    losses = [[record["val_loss"] for record in run.metrics("epoch")] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.compiler.reset()


@pytest.mark.parametrize(("pays", "value"), [(True, "on"), (False, "off")])
def test_the_decision_is_stored_in_the_recipe_and_kept_on_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_before: Callable[[int], None], pays: bool, value: str
) -> None:
    asked: list[int] = []

    def compile_pays(module: nn.Module, images: torch.Tensor, work: compiling.Work, passes: int) -> bool:
        asked.append(passes)
        assert images.shape == (4, 3, 8, 8)
        work(module, images)
        assert all(parameter.grad is None for parameter in module.parameters())
        return pays

    monkeypatch.setattr(plan, "compile_pays", compile_pays)
    monkeypatch.setattr(torch, "compile", lambda module, **options: Compiled(module))
    recipe = SMALL.replace(accumulate=2)
    expected = fit(SOURCE, recipe=recipe, run=tmp_path / "undisturbed", options=OPTIONS).folder
    assert load_recipe(str(expected / "recipe.yaml")).training.compile == value
    kill_before(3)
    with pytest.raises(Killed):
        fit(SOURCE, recipe=recipe, run=tmp_path / "killed", options=OPTIONS)
    monkeypatch.setattr(plan, "compile_pays", lambda *rest: pytest.fail("was decided when the run began"))
    assert_same_outcome(fit(SOURCE, recipe=recipe, run=tmp_path / "killed", options=OPTIONS).folder, expected)
    assert asked == [2 * 4 * 2] * 2  # epochs, steps and parts of each batch


@pytest.mark.parametrize("value", ["on", "off"])
def test_compiling_is_only_tried_if_the_recipe_says_auto(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "compile_pays", lambda *rest: pytest.fail("the recipe has decided"))
    monkeypatch.setattr(torch, "compile", lambda module, **options: Compiled(module))
    run = fit(SOURCE, recipe=SMALL.replace(compile=value, epochs=1), run=tmp_path / "run", options=OPTIONS)
    assert load_recipe(str(run.folder / "recipe.yaml")).training.compile == value
