import copy
import io
from typing import Any

import pytest
import torch
from tests.training.optimizers.steps import Make, groups_of, random_gradients, rate, small_network, take_step
from torch import nn

from tench.training.optimizers import LAMB, LARS, SGD, LrInsideSGD, Muon, RMSprop, RMSpropTF, guard

MAKERS: dict[str, Make] = {
    "sgd": lambda groups: SGD(groups, 0.1, 0.9),
    "nesterov": lambda groups: SGD(groups, 0.1, 0.9, nesterov=True),
    "lr-inside": lambda groups: LrInsideSGD(groups, 0.1, 0.9),
    "lars": lambda groups: LARS(groups, 0.1),
    "lamb": lambda groups: LAMB(groups, 0.1),
    "rmsprop": lambda groups: RMSprop(groups, 0.1, momentum=0.9),
    "rmsprop-tf": lambda groups: RMSpropTF(groups, 0.1, momentum=0.9),
    "muon": lambda groups: Muon(with_filters_apart(groups), 0.1),
}


def with_filters_apart(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    filters = [parameter for parameter in groups[0]["params"] if parameter.ndim == 4]
    head = [parameter for parameter in groups[0]["params"] if parameter.ndim != 4]
    return [{"params": filters, "orthogonal": True}, {**groups[0], "params": head}, groups[1]]


def everything(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    states = [tensor for parameter in network.parameters() for tensor in optimizer.state[parameter].values()]
    return [tensor.detach().clone() for tensor in (*network.parameters(), *states)]


def assert_bits_equal(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.view(torch.int32), other.view(torch.int32))


@pytest.fixture(params=list(MAKERS))
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


@pytest.mark.parametrize("bad_step", [0, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0])
def test_a_skipped_step_changes_no_bit_and_does_not_affect_the_next_one(
    make: Make, bad_step: int, value: float
) -> None:
    networks = [small_network(), small_network()]
    ours, theirs = (make(groups_of(network, 1e-2)) for network in networks)
    for step, gradients in enumerate(random_gradients(networks[0], steps=6)):
        if step == bad_step:
            before = everything(networks[0], ours)
            ours.found_inf = torch.ones(())  # type: ignore[attr-defined]
            take_step(ours, networks[0], [gradient * value for gradient in gradients], 0.3)
            after = everything(networks[0], ours)
            assert_bits_equal(after[: len(before)] if step else after[: len(gradients)], before)
        ours.found_inf = torch.zeros(())  # type: ignore[attr-defined]
        take_step(ours, networks[0], gradients, rate(step + 1))
        take_step(theirs, networks[1], gradients, rate(step + 1))  # without found_inf
        assert_bits_equal(everything(networks[0], ours), everything(networks[1], theirs))


def test_gradients_are_divided_by_grad_scale(make: Make) -> None:
    networks = [small_network(), small_network()]
    ours, theirs = (make(groups_of(network, 1e-2)) for network in networks)
    for step, gradients in enumerate(random_gradients(networks[0], steps=4)):
        ours.grad_scale = torch.tensor(1024.0)  # type: ignore[attr-defined]
        take_step(ours, networks[0], [gradient * 1024 for gradient in gradients], rate(step + 1))
        take_step(theirs, networks[1], gradients, rate(step + 1))
    assert_bits_equal(everything(networks[0], ours), everything(networks[1], theirs))


def test_torchs_grad_scaler_skips_overflowing_steps(make: Make) -> None:
    networks = [small_network(), small_network()]
    ours, theirs = (make(groups_of(network, 1e-2)) for network in networks)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step, gradients in enumerate(random_gradients(networks[0], steps=4)):
        scale = scaler.scale(torch.ones(())).item()
        for overflow in (True, False) if step in (0, 2) else (False,):
            for parameter, gradient in zip(networks[0].parameters(), gradients, strict=True):
                parameter.grad = gradient * (float("inf") if overflow else scale)
            scaler.step(ours)
            scaler.update(new_scale=scale)
        take_step(theirs, networks[1], gradients, 0.1)
    assert_bits_equal(everything(networks[0], ours), everything(networks[1], theirs))


def test_a_saved_state_loads_with_weights_only_and_training_continues_exactly(make: Make) -> None:
    whole, broken = small_network(), small_network()
    optimizer, first = make(groups_of(whole, 1e-2)), make(groups_of(broken, 1e-2))
    saved = io.BytesIO()
    for step, gradients in enumerate(random_gradients(whole, steps=8)):
        if step == 4:
            torch.save({"model": broken.state_dict(), "optimizer": first.state_dict()}, saved)
            saved.seek(0)
            found = torch.load(saved, weights_only=True)
            broken = copy.deepcopy(small_network())
            broken.load_state_dict(found["model"])
            first = make(groups_of(broken, 1e-2))
            first.load_state_dict(found["optimizer"])
        take_step(optimizer, whole, gradients, rate(step))
        take_step(first, broken, gradients, rate(step))
    assert_bits_equal(everything(broken, first), everything(whole, optimizer))


def test_a_step_in_many_parts_equals_a_step_in_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [small_network(), small_network()]
    for network, numbers in zip(networks, (2**20, 100), strict=True):
        monkeypatch.setattr(guard, "_PART_NUMBERS", numbers)
        optimizer = make(groups_of(network, 1e-2))
        for step, gradients in enumerate(random_gradients(network, steps=4)):
            take_step(optimizer, network, gradients, rate(step + 1))
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_step_on_a_gpu_equals_the_cpus_and_does_not_synchronise(make: Make) -> None:
    networks = [small_network().cuda(), small_network()]
    ours, theirs = (make(groups_of(network, 1e-2)) for network in networks)
    for step, gradients in enumerate(random_gradients(networks[1], steps=6)):
        for parameter, gradient in zip(networks[0].parameters(), gradients, strict=True):
            parameter.grad = gradient.cuda()
        for group in ours.param_groups:
            group["lr"] = rate(step + 1)
        ours.found_inf = torch.zeros((), device="cuda")  # type: ignore[attr-defined]
        torch.cuda.set_sync_debug_mode("error")
        ours.step()
        torch.cuda.set_sync_debug_mode("default")
        take_step(theirs, networks[1], gradients, rate(step + 1))
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one.cpu(), other, atol=1e-2, rtol=1e-2)
