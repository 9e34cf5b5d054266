"""Gluon's model zoo and our networks with the weights that it saves in its two ways: the same logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.interop.conftest import Ask

from tench.models import create, gluon
from tench.weights.mxnet import read_mxnet

pytestmark = pytest.mark.interop("mxnet")


@pytest.mark.parametrize("arch", gluon.names())
def test_saved_parameters_and_an_export_give_gluons_logits(arch: str, tmp_path: Path, ask: Ask) -> None:
    size = gluon.usual_input(arch).image_size
    ask("mxnet", "network_gluon.py", arch, str(size), "10", tmp_path)
    expected = np.load(tmp_path / "logits.npy")
    assert expected.std() > 0.01, "logits that say nothing are no proof"
    images = torch.from_numpy(np.random.default_rng(11).standard_normal((2, 3, size, size)).astype("float32"))
    for file in ("weights.params", "network-symbol.json"):
        start = read_mxnet(tmp_path / file)
        assert start.arch == f"gluon:{arch}"
        network = create(start.arch, num_classes=10, image_size=size).eval()
        network.load_state_dict(start.state)
        with torch.inference_mode():
            found = network(images).numpy()
        assert np.abs(found - expected).max() < 1e-4 * expected.std()
