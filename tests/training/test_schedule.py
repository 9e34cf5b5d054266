import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from tench.compat import import_timm
from tench.training.recipe import Recipe
from tench.training.schedule import learning_rate, total_steps

STEPS_PER_EPOCH = 7


def rates_of_torch(make: Callable[[torch.optim.Optimizer], LRScheduler], steps: int, peak: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def rates_of_tench(**values: Any) -> list[float]:
    recipe = Recipe().replace(**values)
    at = learning_rate(recipe, STEPS_PER_EPOCH)
    return [at(step) for step in range(total_steps(recipe, STEPS_PER_EPOCH))]


def equal(ours: list[float], theirs: list[float]) -> None:
    assert len(ours) == len(theirs)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=0)


@pytest.mark.parametrize(("warmup", "steps"), [("2 epochs", 14), ("1 epoch", 7), ("5 steps", 5), ("1 steps", 1)])
@pytest.mark.parametrize("start", [0.01, 0.5, 1.0])
def test_the_warm_up_matches_torchs_linear(warmup: str, steps: int, start: float) -> None:
    ours = rates_of_tench(lr=0.3, epochs=4, schedule="constant", warmup=warmup, warmup_from=start)
    equal(ours, rates_of_torch(lambda optimizer: LinearLR(optimizer, start, 1.0, steps), 28, 0.3))


def test_a_warm_up_from_0_starts_at_0() -> None:
    ours = rates_of_tench(lr=0.4, epochs=1, schedule="constant", warmup="4 steps", warmup_from=0.0)
    assert ours == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


@pytest.mark.parametrize(("warmup", "steps"), [("0 epochs", 0), ("2 epochs", 14), ("5 steps", 5)])
@pytest.mark.parametrize("final", [0.0, 0.001])
def test_cosine_matches_torch_over_the_steps_after_the_warm_up(warmup: str, steps: int, final: float) -> None:
    ours = rates_of_tench(lr=0.3, epochs=5, schedule="cosine", warmup=warmup, final_lr=final)
    left = 35 - steps
    equal(ours[steps:], rates_of_torch(lambda optimizer: CosineAnnealingLR(optimizer, left, final), left, 0.3))
    if steps:
        equal(ours[:steps], rates_of_torch(lambda optimizer: LinearLR(optimizer, 0.01, 1.0, steps), steps, 0.3))


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
@pytest.mark.parametrize(("warmup", "steps"), [("0 steps", 0), ("1 epochs", 7)])
def test_polynomial_matches_torch_over_the_steps_after_the_warm_up(warmup: str, steps: int, power: float) -> None:
    ours = rates_of_tench(lr=0.3, epochs=5, schedule="polynomial", warmup=warmup, power=power)
    left = 35 - steps
    equal(ours[steps:], rates_of_torch(lambda optimizer: PolynomialLR(optimizer, left, power), left, 0.3))


def test_polynomial_falls_to_the_final_learning_rate() -> None:
    ours = rates_of_tench(lr=0.3, epochs=5, schedule="polynomial", final_lr=0.1)
    above = rates_of_torch(lambda optimizer: PolynomialLR(optimizer, 35, 2.0), 35, 0.3 - 0.1)
    equal(ours, [0.1 + rate for rate in above])


@pytest.mark.parametrize(("every", "steps"), [("2 epochs", 14), ("1 epoch", 7), ("0.5 epochs", 4), ("3 steps", 3)])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0])
def test_step_matches_torch(every: str, steps: int, gamma: float) -> None:
    ours = rates_of_tench(lr=0.3, epochs=5, schedule="step", step_every=every, gamma=gamma)
    equal(ours, rates_of_torch(lambda optimizer: StepLR(optimizer, steps, gamma), 35, 0.3))


@pytest.mark.parametrize(("every", "steps"), [("2 epochs", 14), ("3 steps", 3)])
def test_exponential_matches_torch_with_gamma_spread_over_the_interval_of_a_drop(every: str, steps: int) -> None:
    ours = rates_of_tench(lr=0.3, epochs=5, schedule="exponential", step_every=every, gamma=0.1)
    equal(ours, rates_of_torch(lambda optimizer: ExponentialLR(optimizer, 0.1 ** (1 / steps)), 35, 0.3))


@pytest.mark.parametrize("schedule", ["step", "exponential"])
def test_drops_are_counted_from_the_start_whatever_the_warm_up(schedule: str) -> None:
    plain = rates_of_tench(epochs=5, schedule=schedule, step_every="2 epochs")
    warmed = rates_of_tench(epochs=5, schedule=schedule, step_every="2 epochs", warmup="1 epochs")
    assert warmed[7:] == plain[7:]


def test_constant_matches_torch() -> None:
    equal(
        rates_of_tench(lr=0.3, epochs=2, schedule="constant"),
        rates_of_torch(lambda optimizer: ConstantLR(optimizer, 1.0, 1), 14, 0.3),
    )


def test_a_warm_up_as_long_as_the_training_only_rises() -> None:
    rates = rates_of_tench(lr=0.3, epochs=2, schedule="cosine", warmup="9 epochs")
    assert rates == sorted(rates)
    assert max(rates) < 0.3


# Schedules that change once per epoch, begin elsewhere or hold, compared with the programs that have them


def by_epoch(**values: Any) -> list[float]:
    """The learning rate of each epoch, after checking that all its steps have the same."""
    rates = rates_of_tench(schedule_per="epoch", **values)
    epochs = [rates[first : first + STEPS_PER_EPOCH] for first in range(0, len(rates), STEPS_PER_EPOCH)]
    assert all(len(set(epoch)) == 1 for epoch in epochs)
    return [epoch[0] for epoch in epochs]


@pytest.mark.parametrize(("schedule_from", "prefix"), [("start", False), ("warmup", True)])
@pytest.mark.parametrize("warmup", [0, 3])
def test_cosine_by_epoch_matches_timm(schedule_from: str, prefix: bool, warmup: int) -> None:
    import_timm()
    from timm.scheduler import CosineLRScheduler

    scheduler = CosineLRScheduler(
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3),
        t_initial=10 - (warmup if prefix else 0),
        lr_min=0.003,
        warmup_t=warmup,
        warmup_lr_init=0.06,
        warmup_prefix=prefix,
    )
    theirs = [scheduler._get_lr(epoch)[0] for epoch in range(10)]
    course = {"schedule": "cosine", "final_lr": 0.003, "warmup": f"{warmup} epochs", "warmup_from": 0.2}
    equal(by_epoch(lr=0.3, epochs=10, schedule_from=schedule_from, **course), theirs)


def in_sequence(first: LRScheduler, second: LRScheduler, at: int) -> list[float]:
    """The learning rates of torch's SequentialLR in 10 steps."""
    optimizer = first.optimizer
    scheduler = SequentialLR(optimizer, [first, second], milestones=[at])
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it passes its members an epoch, which is deprecated
        for _ in range(10):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def test_a_warm_up_and_cosine_by_epoch_match_torchvision() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = in_sequence(LinearLR(optimizer, 0.01, 1.0, 4), CosineAnnealingLR(optimizer, 6, 1e-4), at=4)
    equal(by_epoch(lr=0.3, epochs=10, schedule="cosine", warmup="4 epochs", warmup_from=0.01, final_lr=1e-4), theirs)


def test_hold_keeps_the_peak_and_the_curve_covers_the_remaining_steps() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = in_sequence(ConstantLR(optimizer, 1.0, 4), CosineAnnealingLR(optimizer, 6), at=4)
    equal(by_epoch(lr=0.3, epochs=10, schedule="cosine", hold="4 epochs"), theirs)
    warmed = by_epoch(lr=0.3, epochs=12, schedule="cosine", warmup="2 epochs", hold="4 epochs")
    equal(warmed[2:], theirs)


@pytest.mark.parametrize("milestones", [(2.0, 4.0), (1.0,), (0.0, 3.0), (1.5, 2.5, 9.0)])
def test_milestones_match_torchs_multisteplr(milestones: tuple[float, ...]) -> None:
    ours = rates_of_tench(lr=0.3, epochs=5, schedule="step", milestones=milestones, step_every="1 epochs", gamma=0.2)
    steps = [round(STEPS_PER_EPOCH * epoch) for epoch in milestones]
    theirs = rates_of_torch(lambda optimizer: MultiStepLR(optimizer, [step for step in steps if step], 0.2), 35, 0.3)
    equal(ours, [rate * (0.2 if 0 in steps else 1) for rate in theirs])


def test_the_warm_up_has_a_minimum_learning_rate() -> None:
    ours = rates_of_tench(lr=0.5, epochs=1, schedule="constant", warmup="5 steps", warmup_from=0.0, warmup_least=0.3)
    assert ours == pytest.approx([0.15, 0.15, 0.2, 0.3, 0.4, 0.5, 0.5])


def test_a_partial_epoch_is_rounded_up_to_a_whole_step() -> None:
    rates = rates_of_tench(lr=0.3, epochs=1.5, schedule="polynomial", power=1.0)
    equal(rates, [0.3 * (1 - step / 11) for step in range(11)])


@pytest.mark.parametrize(("warmup", "steps"), [("50 %", 5), ("10 %", 1), ("100 %", 11)])
def test_a_warm_up_may_be_a_percentage_of_the_training(warmup: str, steps: int) -> None:
    rates = rates_of_tench(lr=0.3, epochs=1.5, schedule="constant", warmup=warmup, warmup_from=0.0)
    assert sum(rate < 0.3 for rate in rates) == steps
