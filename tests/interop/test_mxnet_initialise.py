"""initialise_by and MXNet's initialisers give the same distribution, for a convolution and a linear layer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.interop.conftest import Ask
from torch import nn

from tench.models.initialise import INITIALISERS, initialise_by

pytestmark = pytest.mark.interop("mxnet")

SHAPES = ((96, 32, 3, 5), (300, 500))
"""Shapes of the weights of a convolution in two groups, and of a linear layer."""


def test_initial_weights_have_the_distribution_of_mxnets(tmp_path: Path, ask: Ask) -> None:
    names = ask("mxnet", "initialise_mxnet.py", json.dumps(SHAPES), tmp_path / "drawn.npz")
    assert names == [name for name in INITIALISERS if name not in ("nnabla", "edgeai")]
    torch.manual_seed(0)
    network = nn.ModuleList([nn.Conv2d(64, 96, (3, 5), groups=2), nn.Linear(500, 300)])
    with np.load(tmp_path / "drawn.npz") as drawn:
        for name in names:
            initialise_by(network, name)
            for number, layer in enumerate(network):
                ours, theirs = layer.get_parameter("weight").detach(), torch.from_numpy(drawn[f"{name}/{number}"])
                assert ours.shape == theirs.shape == SHAPES[number]
                shares = torch.tensor([0.0005, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.9995])
                difference = (ours.flatten().quantile(shares) - theirs.flatten().quantile(shares)).abs()
                spread = theirs.std()
                assert (difference <= spread * torch.tensor([0.2, 0.05, *[0.03] * 5, 0.05, 0.2])).all(), name
                if name == "orthogonal":
                    rows, expected = ours.flatten(1), theirs.flatten(1)
                    torch.testing.assert_close(rows @ rows.T, expected @ expected.T, atol=1e-4, rtol=0)
