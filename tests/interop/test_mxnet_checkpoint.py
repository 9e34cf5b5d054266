"""Networks that MXNet has trained on MNIST: tench gives every test image the class that MXNet gives it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.interop.conftest import ENVIRONMENTS, Ask

import tench

SYMBOLS = "mxnet_symbols"
TIE = 1e-4
"""Two classes whose logits differ by less are a tie: rounding decides. The programs' logits differ by 1e-5."""
pytestmark = [pytest.mark.interop("mxnet"), pytest.mark.interop(SYMBOLS)]


@pytest.fixture
def mnist(shared_data: Path) -> Path:
    folder = shared_data / "mnist"
    if not folder.is_dir():
        pytest.skip(f"needs the files of MNIST in {folder}, which are not part of the repository")
    return folder


@pytest.mark.parametrize(
    ("module", "options", "arch"),
    [
        ("lenet", {}, "mxnet:lenet"),
        ("resnet", {"num_layers": 20}, "mxnet:resnet-20"),
        # tench does not look for its own network of this depth, so it evaluates the graph itself.
        ("resnet", {"num_layers": 8}, "mxnet:symbol"),
    ],
)
def test_a_network_that_mxnet_trained_has_the_accuracy_that_mxnet_measures(
    module: str, options: dict[str, int], arch: str, mnist: Path, tmp_path: Path, ask: Ask
) -> None:
    prefix = tmp_path / "network"
    network = ENVIRONMENTS / SYMBOLS, module, json.dumps(options)
    num_correct = ask("mxnet", "checkpoint_mxnet.py", *network, mnist, "12000", prefix)
    assert num_correct > 8_000, "a network that has learned little is no proof"
    theirs = np.load(f"{prefix}.npy")
    second, first = np.sort(theirs, axis=1)[:, -2:].T
    decided = np.log(first) - np.log(second) > TIE
    num_ties = len(decided) - np.count_nonzero(decided)
    assert num_ties < 5
    folder = tench.convert_weights(f"{prefix}-symbol.json", tmp_path / "imported")
    assert tench.load(folder).card.arch == arch
    for weights in (folder, f"{prefix}-symbol.json", f"{prefix}-0001.params"):
        found = tench.evaluate(weights, mnist, split="test", device="cpu")
        assert found.images == len(theirs) == 10_000
        assert np.array_equal(found.predicted[decided, 0], theirs.argmax(axis=1)[decided])
        assert abs(round(found.top1 * found.images) - num_correct) <= num_ties
