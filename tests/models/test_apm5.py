"""Apm5's residual networks, compared with its own code running in TensorFlow."""

import pytest
import torch
from tests.models.formula import image, set_weights
from torch import nn

from tench.errors import UsageError
from tench.models import create, describe, find
from tench.models.apm5 import build, names
from tench.models.source import ModelOptions


# Counted by Keras 3.15 on the repository's networks: trainable numbers, and all variables.
@pytest.mark.parametrize(
    ("arch", "parameters", "variables"),
    [
        ("resnet18", 11_688_512, 101),
        ("resnet34", 21_796_672, 181),
        ("resnet50", 25_556_032, 266),
        ("resnet101", 44_548_160, 521),
        ("resnet152", 59_071_552, 716),
        ("resnet18_v2", 11_686_720, 89),
        ("resnet34_v2", 21_794_880, 169),
        ("resnet50_v2", 25_548_352, 250),
        ("resnet101_v2", 44_540_480, 505),
        ("resnet152_v2", 59_063_872, 700),
    ],
)
def test_a_network_has_the_variables_that_keras_counts(arch: str, parameters: int, variables: int) -> None:
    with torch.device("meta"):
        network = build(arch, num_classes=1000, image_size=224, channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len([name for name in network.state_dict() if not name.endswith("num_batches_tracked")]) == variables


# Logits that TensorFlow 2.21 computed with these weights and this image. Even and odd sizes are padded differently. For
# odd sizes, the average pooling of a shortcut ends in windows of one or two pixels, which are not averaged as four.
@pytest.mark.parametrize(
    ("arch", "image_size", "logits"),
    [
        ("resnet18", 64, [-1.010446, 1.004401, -0.9919946, 0.9733053]),
        ("resnet50", 65, [27.28966, 33.72773, 36.77509, 36.1254]),
        ("resnet18_v2", 65, [2.088665, -2.338922, 2.574369, -2.793509]),
        ("resnet50_v2", 64, [12.2278, 17.65968, 21.31622, 22.82978]),
    ],
)
def test_a_network_computes_what_tensorflow_does(arch: str, image_size: int, logits: list[float]) -> None:
    network = build(arch, num_classes=4, image_size=image_size, channels=3).eval()
    set_weights(network)
    with torch.no_grad():
        found = network(image(image_size))
    torch.testing.assert_close(found, torch.tensor([logits]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50_v2"])
def test_a_network_accepts_small_grey_images_with_its_stem_adapted(arch: str) -> None:
    with torch.device("meta"):
        network = create(f"apm5:{arch}", num_classes=7, image_size=32, channels=1).eval()
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert (first.stride, first.kernel_size) == ((1, 1), (3, 3))


def test_there_are_ten_networks_and_they_have_no_options() -> None:
    assert len(names()) == 10
    assert {name.removeprefix("apm5:") for name in find("apm5:*")} == set(names())
    assert describe("apm5:resnet50_v2").source == "apm5"
    for options, name in ((ModelOptions(dropout=0.1), "dropout"), (ModelOptions(drop_path=0.1), "drop_path")):
        with pytest.raises(UsageError, match=rf"apm5:resnet18_v2 has no option {name}, which was set to 0\.1\."):
            create("apm5:resnet18_v2", num_classes=10, image_size=64, options=options)


@pytest.mark.parametrize("arch", ["resnet18", "resnet18_v2"])
def test_weights_are_initialised_as_in_keras(arch: str) -> None:
    torch.manual_seed(0)
    network = build(arch, num_classes=100, image_size=64, channels=3)
    drawn = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in drawn:
        out_channels, in_channels = module.weight.shape[:2]
        area = module.weight[0, 0].numel()
        bound = (6 / (area * (in_channels + out_channels))) ** 0.5
        assert bound * 0.98 < module.weight.detach().abs().max().item() <= bound
        assert module.bias is None
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.weight.eq(1).all() and norm.bias.eq(0).all() for norm in norms)
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.1, 1e-5)}
