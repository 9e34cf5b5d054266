"""Frozen parameters stay the same to the bit; all others are trained as by a plain PyTorch optimizer."""

import copy

import pytest
import torch
from torch import nn

from tench.errors import UsageError
from tench.training.freezing import Freezing


def network() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential()
    module.add_module("stem", nn.Linear(4, 6))
    module.add_module("stem2", nn.Linear(6, 6))
    module.add_module("head", nn.Linear(6, 3))
    return module


def trained_by(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ("", ["stem.weight", "stem.bias", "stem2.weight", "stem2.bias", "head.weight", "head.bias"]),
        ("stem", ["stem2.weight", "stem2.bias", "head.weight", "head.bias"]),
        ("stem.", ["stem2.weight", "stem2.bias", "head.weight", "head.bias"]),
        ("stem.bias", ["stem.weight", "stem2.weight", "stem2.bias", "head.weight", "head.bias"]),
        ("stem  stem2", ["head.weight", "head.bias"]),
        ("head.weight stem2.bias", ["stem.weight", "stem.bias", "stem2.weight", "head.bias"]),
    ],
)
def test_a_name_selects_a_parameter_or_all_parameters_of_a_module(names: str, left: list[str]) -> None:
    module = network()
    Freezing(module, names, at_step=0)(0)
    assert trained_by(module) == left


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("ste", " Did you mean 'stem' or 'stem2'?"),
        ("head.bia", " Did you mean 'head'?"),
        ("layer1", ""),
        ("bias", ""),
    ],
)
def test_the_error_for_an_unknown_parameter_name_lists_the_existing_ones(wrong: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        Freezing(network(), f"stem {wrong}", at_step=0)
    assert str(refused.value) == (
        f"freeze: no parameter is called {wrong!r} or begins with '{wrong}.'; only whole parts of a name match.{hint} "
        "The first parts are stem, stem2, head."
    )


@pytest.mark.parametrize("at_step", [0, 7])
def test_freezing_everything_is_refused_before_it_can_happen(at_step: int) -> None:
    module = network()
    module.get_parameter("head.bias").requires_grad_(False)  # not trained from the beginning
    with pytest.raises(UsageError) as refused:
        Freezing(module, "stem stem2 head.weight", at_step)
    assert str(refused.value) == "freeze: 'stem stem2 head.weight' leaves nothing to train."


def test_parameters_are_frozen_from_their_step_on() -> None:
    module = network()
    freeze = Freezing(module, "stem", at_step=3)
    for step in range(3):
        freeze(step)
        assert "stem.weight" in trained_by(module), step
    freeze(3)
    assert "stem.weight" not in trained_by(module)


def test_training_resumed_after_that_step_freezes_at_once() -> None:
    module = network()
    Freezing(module, "stem", at_step=3)(7)
    assert "stem.weight" not in trained_by(module)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_momentum_and_decay_of_frozen_parameters_stop_and_the_others_are_trained_as_before(kind: str) -> None:
    """Compared with the same training in which the frozen parameters are reset after each step."""

    def train(module: nn.Sequential, freeze: Freezing | None) -> list[dict[str, torch.Tensor]]:
        optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
            if kind == "sgd"
            else torch.optim.AdamW(module.parameters(), 0.1, weight_decay=0.1)
        )
        states: list[dict[str, torch.Tensor]] = []
        generator = torch.Generator().manual_seed(5)
        for step in range(6):
            if freeze is not None:
                freeze(step)
            loss = module(torch.randn(5, 4, generator=generator)).square().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if freeze is None and step >= 3:
                module.get_submodule("stem").load_state_dict(
                    {name.removeprefix("stem."): one for name, one in states[2].items() if name.startswith("stem.")}
                )
            states.append(copy.deepcopy(module.state_dict()))
        return states

    module = network()
    found, expected = train(module, Freezing(module, "stem", at_step=3)), train(network(), None)
    for ours, theirs in zip(found, expected, strict=True):
        for name in theirs:
            assert torch.equal(ours[name], theirs[name]), name
    assert not torch.equal(found[1]["stem.bias"], found[2]["stem.bias"])
    assert torch.equal(found[2]["stem.bias"], found[5]["stem.bias"])
