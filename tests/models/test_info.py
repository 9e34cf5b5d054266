"""describe: sizes, parameters and multiply-accumulates, compared with published figures."""

from typing import Any

import pytest
import torch
from torch import nn

from tench.compat import import_timm, import_torchvision
from tench.errors import UsageError
from tench.models import ModelInfo, describe
from tench.models.macs import count_macs

models = import_torchvision().models


def published(arch: str) -> dict[str, Any]:
    """torchvision's own figures: num_params, _ops (GMACs to three decimals), and the image size."""
    weights = models.get_model_weights(arch).DEFAULT
    return {**weights.meta, "crop_size": weights.transforms.keywords["crop_size"]}


@pytest.mark.parametrize(
    "arch",
    [
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        "resnet50",
        "shufflenet_v2_x1_0",
        "squeezenet1_1",
        "vgg11",
    ],
)
def test_a_convolutional_network_has_the_published_size_parameters_and_gmacs(arch: str) -> None:
    info, expected = describe(arch), published(arch)
    assert (info.name, info.source) == (arch, "torchvision")
    assert info.image_size == expected["crop_size"]
    assert info.parameters == expected["num_params"]
    assert info.gmacs == pytest.approx(expected["_ops"], abs=0.0006)  # published to three decimals


@pytest.mark.parametrize(
    ("arch", "conv_gmacs", "gmacs", "parameters"),
    [("resnet50", 4.087, 4.089, 25.557), ("mobilenet_v2", 0.2995, 0.3008, 3.505)],
)
def test_convolutions_alone_are_counted_as_edgeailite_reports_them(
    arch: str, conv_gmacs: float, gmacs: float, parameters: float
) -> None:
    info = describe(arch)
    assert info.conv_gmacs == pytest.approx(conv_gmacs, abs=0.0005)
    assert info.gmacs == pytest.approx(gmacs, abs=0.0005)
    assert info.parameters / 1e6 == pytest.approx(parameters, abs=0.0005)
    head = {"resnet50": 2048, "mobilenet_v2": 1280}[arch] * 1000
    assert info.gmacs - info.conv_gmacs == pytest.approx(head / 1e9)


def test_a_transformer_has_the_published_gmacs_minus_the_products_inside_attention() -> None:
    info, expected = describe("vit_b_16"), published("vit_b_16")
    num_layers, num_tokens, width = 12, 14 * 14 + 1, 768
    attention = num_layers * 2 * num_tokens**2 * width / 1e9  # queries times keys, and the result times values
    assert info.gmacs + attention == pytest.approx(expected["_ops"], abs=0.0006)
    assert info.parameters == expected["num_params"]


def test_inception_v3_is_counted_at_299_px_without_its_auxiliary_head() -> None:
    info, expected = describe("inception_v3"), published("inception_v3")
    assert info.image_size == 299
    assert info.gmacs == pytest.approx(expected["_ops"], abs=0.0006)
    with torch.device("meta"):
        head = models.inception_v3(init_weights=False).AuxLogits
    assert info.parameters == expected["num_params"] - sum(parameter.numel() for parameter in head.parameters())


def test_the_largest_networks_are_described_without_allocating_them() -> None:
    info = describe("vit_h_14")
    assert (info.image_size, info.parameters) == (518, published("vit_h_14")["num_params"])
    assert describe("regnet_y_128gf").parameters == published("regnet_y_128gf")["num_params"]


def test_a_network_of_timm_is_described_at_the_size_of_its_configuration() -> None:
    info = describe("resnet10t")
    config = import_timm().get_pretrained_cfg("resnet10t")
    assert (info.source, info.image_size) == ("timm", config.input_size[-1])
    with torch.device("meta"):
        network = import_timm().create_model("resnet10t")
    assert info.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_our_networks_are_described_for_the_dataset_they_are_made_for() -> None:
    assert describe("mlp") == ModelInfo("mlp", "tench", 28, 109_386, (784 * 128 + 128 * 64 + 64 * 10) / 1e9, 0.0)
    info = describe("resnet20")
    assert (info.source, info.image_size, info.parameters) == ("tench", 32, 272_762)
    # arXiv:1512.03385 has 0.0407, without the three 1x1 shortcuts (16 16 32^2 + 16 32 16^2 + 32 64 8^2).
    assert info.gmacs == pytest.approx(0.0405513 + (16 * 16 * 1024 + 16 * 32 * 256 + 32 * 64 * 64) / 1e9, abs=1e-6)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"No network is called 'resnet5o'\. Did you mean"):
        describe("resnet5o")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, num_heads=2, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("network", "macs"),
    [
        (nn.Conv2d(8, 12, 3, padding=1), 12 * 5 * 5 * 8 * 9),
        (nn.Conv2d(8, 12, 3, stride=2, groups=4), 12 * 2 * 2 * 2 * 9),
        (nn.Conv2d(8, 8, (1, 5), groups=8), 8 * 5 * 1 * 5),
        (nn.ConvTranspose2d(8, 6, 2, stride=2), 8 * 5 * 5 * 6 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(200, 7)), 200 * 7),
        (nn.Linear(5, 3, bias=False), 8 * 5 * 5 * 3),
        (nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)), 0),
        (Attention(), 25 * 8 * 8 * 4),  # 25 tokens, projected to queries, keys and values, and back
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_each_kind_of_layer_is_counted_by_its_arithmetic(network: nn.Module, macs: int, device: str) -> None:
    images = torch.zeros(1, 8, 5, 5, device=device)
    counted = count_macs(network.to(device), images)
    assert counted.total == macs
    has_convolution = any(isinstance(part, nn.modules.conv._ConvNd) for part in network.modules())
    assert counted.convolutions == (macs if has_convolution else 0)
    assert network.training, "counting must not change the mode"
