import copy
import importlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tench.compat import import_timm
from tench.training.average import Lookahead, WeightAverage


def small_network() -> nn.Sequential:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub
    return network


def trained_steps(network: nn.Module, steps: int) -> Iterator[int]:
    """Yield the steps from 0, after changing the network's weights, statistics and counts before each."""
    generator = torch.Generator().manual_seed(5)
    for step in range(steps):
        network(torch.randn(4, 3, 5, 5, generator=generator))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.empty_like(parameter).normal_(generator=generator), alpha=0.1)
        yield step


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    for name, expected in theirs.state_dict().items():
        if expected.is_floating_point():
            torch.testing.assert_close(ours.state_dict()[name], expected, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("warmup_epochs", [0, 2])
@pytest.mark.parametrize("every", [1, 4])
def test_the_average_matches_torchvision(warmup_epochs: int, every: int) -> None:
    network = small_network()
    average = WeightAverage(network, 0.7, every, warmup=8 * warmup_epochs)
    # references/classification: utils.ExponentialMovingAverage, and how train_one_epoch uses it
    theirs = torch.optim.swa_utils.AveragedModel(
        network, avg_fn=lambda mine, other, count: 0.7 * mine + 0.3 * other, use_buffers=True
    )
    for step in trained_steps(network, 5 * 8):
        epoch, i = divmod(step, 8)
        if i % every == 0:
            theirs.update_parameters(network)
            if epoch < warmup_epochs:
                theirs.n_averaged.fill_(0)
        average.update(network, step)
        assert_same(average.module, theirs.module)
        if step % every == 0:
            assert torch.equal(average.module.get_buffer("1.num_batches_tracked"), torch.tensor(step + 1))


def timm_average(name: str, *arguments: Any, **options: Any) -> Any:
    import_timm()
    return getattr(importlib.import_module("timm.utils"), name)(*arguments, **options)


@pytest.mark.parametrize("ramp", [False, True])
@pytest.mark.parametrize("decay", [0.5, 0.9998])
def test_the_average_matches_timm(ramp: bool, decay: float) -> None:
    network = small_network()
    average = WeightAverage(network, decay, ramp=ramp)
    theirs = timm_average("ModelEmaV3", network, decay=decay, use_warmup=ramp)
    for step in trained_steps(network, 20):
        average.update(network, step)
        theirs.update(network, step=step + 1)  # timm's train.py counts the completed updates
        assert_same(average.module, theirs.module)


def test_after_the_first_step_the_average_also_matches_timms_older_one() -> None:
    network = small_network()
    average = WeightAverage(network, 0.9)
    theirs = None
    for step in trained_steps(network, 20):
        average.update(network, step)
        if theirs is None:
            theirs = timm_average("ModelEmaV2", network, decay=0.9)
        else:
            theirs.update(network)
        assert_same(average.module, theirs.module)


def test_the_averaged_network_is_in_evaluation_mode_and_separate_from_the_trained_one() -> None:
    network = small_network().train()
    average = WeightAverage(network, 0.9)
    assert not average.module.training
    assert network.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    assert average.module.get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    mine = {tensor.data_ptr() for tensor in average.module.state_dict().values()}
    assert not mine & {tensor.data_ptr() for tensor in network.state_dict().values()}


def test_shared_weights_are_averaged_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    network = nn.Sequential(first, second)
    average = WeightAverage(network, 0.75)
    average.update(network, 0)
    before = first.weight.detach().clone()
    with torch.no_grad():
        first.weight.add_(1)
    average.update(network, 1)
    torch.testing.assert_close(average.module.get_parameter("0.weight"), before + 0.25)


def test_an_average_that_is_saved_and_loaded_continues_exactly() -> None:
    network = small_network()
    whole, first = (WeightAverage(network, 0.9, every=2, warmup=6, ramp=True) for _ in range(2))
    for step in trained_steps(network, 20):
        if step in (5, 13):
            first = saved_and_loaded(first, WeightAverage(network, 0.9, every=2, warmup=6, ramp=True))
        whole.update(network, step)
        first.update(network, step)
    for name, expected in whole.state_dict().items():
        assert torch.equal(first.state_dict()[name], expected)


def saved_and_loaded(saved: Any, into: Any) -> Any:
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    into.load_state_dict(torch.load(file, weights_only=True))
    return into


class AirbenchLookahead:
    """LookaheadState from airbench/utils.py."""

    def __init__(self, network: nn.Module) -> None:
        self.average = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def update(self, network: nn.Module, decay: float) -> None:
        for name, tensor in network.state_dict().items():
            if tensor.dtype in (torch.half, torch.float):
                self.average[name] = decay * self.average[name] + (1 - decay) * tensor
                tensor.copy_(self.average[name])


@pytest.mark.parametrize("steps", [20, 23])
def test_lookahead_matches_airbench(steps: int) -> None:
    ours = small_network()
    theirs = copy.deepcopy(ours)
    lookahead, reference = Lookahead(ours, steps), AirbenchLookahead(theirs)
    decays = 0.95**5 * (torch.arange(steps + 1) / steps) ** 3
    plain: list[Tensor] = []
    for step, again in zip(trained_steps(ours, steps), trained_steps(theirs, steps), strict=True):
        plain.append(ours.get_parameter("0.weight").detach().clone())
        lookahead.update(ours, step)
        if (again + 1) % 5 == 0:
            reference.update(theirs, float(decays[again + 1]))
        if again + 1 == steps:
            reference.update(theirs, 1.0)
        assert_same(ours, theirs)
        assert torch.equal(ours.get_parameter("0.weight"), plain[-1]) == ((step + 1) % 5 != 0 and step + 1 != steps)
    assert ours.get_buffer("1.num_batches_tracked") == steps


def test_a_lookahead_that_is_saved_and_loaded_continues_exactly() -> None:
    networks = [small_network(), small_network()]
    whole, first = (Lookahead(network, 20) for network in networks)
    for step, again in zip(trained_steps(networks[0], 20), trained_steps(networks[1], 20), strict=True):
        if step == 12:
            first = saved_and_loaded(first, Lookahead(networks[1], 20))
        whole.update(networks[0], step)
        first.update(networks[1], again)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)
