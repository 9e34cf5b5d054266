"""MXNet's optimizers and ours, with the same gradients, learning rates and weights that MXNet decays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.interop.conftest import Ask
from torch import nn

from tench.training.optimizer import parameter_groups
from tench.training.optimizers import LARS, LrInsideSGD

pytestmark = pytest.mark.interop("mxnet")

DECAY = 1e-2
BY_SGD = {"optimizer": "sgd", "wd": DECAY}
THEIRS: dict[str, dict[str, Any]] = {
    "plain": BY_SGD,
    "sgd": BY_SGD | {"momentum": 0.9},
    # With decay, MXNet's NAG deviates from its formula: the momentum includes the decay of the updated weight.
    "nag": {"optimizer": "nag", "momentum": 0.9},
    "lars": BY_SGD | {"optimizer": "lars", "momentum": 0.9},
}
Groups = list[dict[str, Any]]
OURS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "plain": lambda network: LrInsideSGD(parameter_groups(network, DECAY, "not-biases"), 0.1),
    "sgd": lambda network: LrInsideSGD(parameter_groups(network, DECAY, "not-biases"), 0.1, 0.9),
    "nag": lambda network: LrInsideSGD(parameter_groups(network, 0.0, "not-biases"), 0.1, 0.9, nesterov=True),
    "lars": lambda network: LARS(parameter_groups(network, DECAY, "not-norms-and-biases"), 0.1, 0.9),
}
NAMES = {
    "0.weight": "conv_weight",
    "0.bias": "conv_bias",
    "1.weight": "bn_gamma",
    "1.bias": "bn_beta",
    "3.weight": "fc_weight",
    "3.bias": "fc_bias",
}


def small_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5))


def test_twenty_steps_match_mxnets(tmp_path: Path, ask: Ask) -> None:
    rates = [0.02 * min(step + 1, 10 - step / 3) for step in range(20)]
    generator = np.random.default_rng(1)
    starts = {name: parameter.detach().numpy().copy() for name, parameter in small_network().named_parameters()}
    gradients = {name: generator.normal(size=(20, *start.shape)).astype(np.float32) for name, start in starts.items()}
    given: dict[str, Any] = {"rates": np.array(rates)}
    given |= {NAMES[name]: start for name, start in starts.items()}
    given |= {f"{NAMES[name]}.gradients": some for name, some in gradients.items()}
    np.savez(tmp_path / "given.npz", **given)
    ask("mxnet", "train_mxnet.py", tmp_path / "given.npz", tmp_path / "found.npz", json.dumps(THEIRS))
    with np.load(tmp_path / "found.npz") as found:
        for label, make in OURS.items():
            network = small_network()
            optimizer = make(network)
            for step, rate in enumerate(rates):
                for name, parameter in network.named_parameters():
                    parameter.grad = torch.from_numpy(gradients[name][step])
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            for name, parameter in network.named_parameters():
                expected = found[f"{label}/{NAMES[name]}"]
                np.testing.assert_allclose(
                    parameter.detach(), expected, atol=2e-6, rtol=2e-6, err_msg=f"{label} {name}"
                )
                if label != "lars":  # its steps are a thousand times smaller
                    assert np.abs(expected - starts[name]).max() > 0.1
