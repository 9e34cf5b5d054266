import functools
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tench.bench import step
from tench.bench.measure import Rate
from tench.bench.network import network
from tench.bench.step import Measured, Ready, forward_pass, in_turns, training_step, usual_batch
from tench.errors import UsageError
from tench.training.recipe import Recipe
from tench.training.state import new_state

CPU = torch.device("cpu")
SMALL = network("resnet20", Recipe().replace(batch_size=3, precision="fp32"), 16, CPU)


def rate(measured: Measured) -> Rate:
    assert isinstance(measured.rate, Rate)
    return measured.rate


@pytest.mark.parametrize("made", [training_step, forward_pass])
def test_each_step_processes_one_batch(made: Callable[..., Ready]) -> None:
    ready = made(SMALL.recipe, SMALL.size, SMALL.num_classes, CPU)
    assert ready.work(4) == 12
    assert ready.step_seconds > 0
    assert ready.memory_format == "nhwc"


def test_a_training_step_computes_up_to_three_times_as_much_as_its_forward_pass() -> None:
    one = network("resnet20", Recipe().replace(batch_size=8, precision="fp32"), 32, CPU)

    def operations(made: Callable[..., Ready]) -> int:
        ready = made(one.recipe, one.size, one.num_classes, CPU)
        with FlopCounterMode(display=False) as counter:
            ready.work(1)
        return int(counter.get_total_flops())

    forward = operations(forward_pass)
    # The gradients of weights and activations each cost as much as forward. The first layer needs no input gradient.
    assert 2.9 * forward < operations(training_step) < 3 * forward


def test_on_a_cpu_the_usual_batch_size_is_at_most_16() -> None:
    assert usual_batch(Recipe().replace(batch_size=256), CPU) == 16
    assert usual_batch(Recipe().replace(batch_size=8), CPU) == 8
    assert usual_batch(Recipe().replace(batch_size=256), torch.device("cuda")) == 256


def ready(ran: list[str], name: str) -> Callable[[], Ready]:
    """A maker of a pass that does nothing but record when it is made and run."""

    def work(number: int) -> int:
        ran.append(name)
        return number

    def make() -> Ready:
        ran.append(f"make {name}")
        return Ready(work, 1.0, 100, "nchw")

    return make


def test_compared_passes_take_turns() -> None:
    ran: list[str] = []
    found = in_turns({"a": ready(ran, "a"), "b": ready(ran, "b")}, 1.0, lambda: ran.append("done"))
    assert ran == ["make a", "make b", *4 * ["a", "done", "b", "done"]]
    assert (rate(found["a"]).images, rate(found["a"]).repeats, found["a"].memory_bytes) == (1, 3, 100)


def test_a_fast_step_is_repeated_until_a_pass_is_long_enough() -> None:
    found = in_turns({"a": lambda: Ready(lambda number: number, 0.01, None, "nchw")}, 5.0)
    assert (rate(found["a"]).images, rate(found["a"]).repeats) == (100, 5)


def test_passes_that_do_not_fit_in_memory_together_are_measured_one_by_one() -> None:
    made: list[str] = []

    def make(name: str) -> Ready:
        made.append(name)
        if made == ["a", "b"]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return Ready(lambda number: number, 1.0, None, "nchw")

    found = in_turns({name: functools.partial(make, name) for name in "ab"}, 1.0)
    assert made == ["a", "b", "a", "b"]
    assert [rate(found[name]).images for name in "ab"] == [1, 1]


def test_a_pass_that_does_not_fit_alone_is_out_of_memory_and_the_others_are_measured() -> None:
    def no_room() -> Ready:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    found = in_turns({"a": lambda: Ready(lambda number: number, 1.0, None, "nchw"), "b": no_room}, 1.0)
    assert rate(found["a"]).images == 1
    assert found["b"] == Measured("out of memory")


def test_a_pass_that_cannot_be_measured_has_a_reason_and_the_others_are_measured() -> None:
    def refuse() -> Ready:
        raise UsageError("resnest50d cannot be trained with a batch of 1.")

    found = in_turns({"a": refuse, "b": lambda: Ready(lambda number: number, 1.0, None, "nchw")}, 1.0)
    assert list(found) == ["a", "b"]
    assert found["a"] == Measured("resnest50d cannot be trained with a batch of 1.")
    assert rate(found["b"]).images == 1
    assert in_turns({"a": refuse}) == {"a": found["a"]}


def test_running_out_of_memory_while_timing_is_a_result_too() -> None:
    def work(number: int) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert in_turns({"a": lambda: Ready(work, 1.0, None, "nchw")}) == {"a": Measured("out of memory")}


def test_any_other_error_is_raised() -> None:
    def fail() -> Ready:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        in_turns({"a": fail})


def test_the_weights_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []

    def spied(*arguments: object) -> object:
        states.append(new_state(*arguments))  # type: ignore[arg-type]
        return states[-1]

    monkeypatch.setattr(step, "new_state", spied)
    made = training_step(SMALL.recipe, SMALL.size, SMALL.num_classes, CPU)
    before = [parameter.clone() for parameter in states[0].module.parameters()]
    made.work(2)
    assert states[0].step == 4
    assert all(map(torch.equal, before, states[0].module.parameters()))


def test_a_batch_that_is_too_small_for_batch_normalisation_is_refused() -> None:
    one = network("resnet18", Recipe().replace(batch_size=1, precision="fp32"), 96, CPU)
    with pytest.raises(UsageError, match=r"resnet18 cannot be trained with a batch of 1 .*Use a larger batch"):
        training_step(one.recipe, 32, one.num_classes, CPU)
