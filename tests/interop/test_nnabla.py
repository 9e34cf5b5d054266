"""NNabla's networks and our networks with the weights of its parameter files: the same logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.interop.conftest import ENVIRONMENTS, Ask

from tench.models import create, nnabla
from tench.weights.nnabla import read_nnabla
from tench.weights.nnabla_h5 import converted, read_h5, write_h5

NETWORKS = "nnabla_networks"
pytestmark = [pytest.mark.interop("nnabla"), pytest.mark.interop(NETWORKS)]

ARCHS = [name for name in nnabla.names() if name != "efficientnet_l2"]  # its weights take 2 GB


@pytest.mark.parametrize("arch", ARCHS)
def test_a_parameter_file_gives_nnablas_logits(arch: str, tmp_path: Path, ask: Ask) -> None:
    # An EfficientNet of NNabla accepts only its own size.
    size = nnabla.usual_input(arch).image_size if arch.startswith("efficientnet") else 96
    paths = tmp_path / "w.h5", tmp_path / "logits.npy"
    ask("nnabla", "network_nnabla.py", ENVIRONMENTS / NETWORKS, arch, str(size), "3", "10", *paths)
    compare(paths[0], arch, size, np.load(paths[1]))
    write_h5(tmp_path / "nhwc4.h5", converted(read_h5(paths[0]), "nhwc", 4))
    compare(tmp_path / "nhwc4.h5", arch, size, np.load(paths[1]))


def test_a_fourth_input_channel_is_left_out(tmp_path: Path, ask: Ask) -> None:
    paths = tmp_path / "w.h5", tmp_path / "logits.npy"
    ask("nnabla", "network_nnabla.py", ENVIRONMENTS / NETWORKS, "resnet18", "96", "4", "10", *paths)
    compare(paths[0], "resnet18", 96, np.load(paths[1]))


def compare(path: Path, arch: str, size: int, expected: np.ndarray) -> None:
    start = read_nnabla(path)
    assert start.arch == f"nnabla:{arch}"
    network = create(start.arch, num_classes=10, image_size=max(size, 224)).eval()
    network.load_state_dict(start.state)
    images = np.random.default_rng(11).standard_normal((2, 3, size, size)).astype("float32")
    with torch.inference_mode():
        found = network(torch.from_numpy(images)).numpy()
    assert expected.std() > 0.01, "logits that say nothing are no proof"
    assert np.abs(found - expected).max() < 1e-4 * expected.std()
