"""`mxnet:NAME`: sizes as MXNet counts them, the structure for each image size, and errors.

tests/interop/test_mxnet_networks.py shows that they compute what MXNet computes.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tench.errors import UsageError
from tench.models import create, describe, find, stem_note
from tench.models.layers import FixedScaleBatchNorm2d
from tench.models.mxnet import source
from tench.models.registry import source_of
from tench.models.source import ModelOptions

# Counted by MXNet 1.9.1 in its own symbols, including scale and shift of each batch norm. The first five have 10
# classes and 28 px, the others 1000 classes and 224 or 299 px.
PARAMETERS = {
    "mlp": 109_386,
    "lenet": 431_080,
    "resnet-20": 272_544,
    "resnet-110": 1_730_784,
    "resnet-164": 1_703_264,
    "resnet-18": 11_691_950,
    "resnet-34": 21_800_110,
    "resnet-50": 25_549_486,
    "resnet-101": 44_541_614,
    "resnet-152": 60_185_262,
    "resnet-200": 64_666_286,
    "resnet-269": 102_065_838,
    "resnetv1-18": 11_693_736,
    "resnetv1-50": 25_557_032,
    "resnext-50": 25_028_910,
    "resnext-101": 44_177_710,
    "resnext-101-64x4d": 42_843_694,
    "inception-bn": 11_295_240,
    "alexnet": 50_844_008,
    "vgg-11": 132_863_336,
    "vgg-13": 133_047_848,
    "vgg-16": 138_357_544,
    "vgg-19": 143_667_240,
    "googlenet": 6_998_552,
    "inception-v3": 23_834_568,
    "inception-v4": 54_967_816,
    "inception-resnet-v2": 56_009_476,
    "mobilenet": 4_231_976,
}


def on_meta(arch: str, image_size: int, channels: int = 3, num_classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return source.build(arch, num_classes=num_classes, image_size=image_size, channels=channels).eval()


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("arch", PARAMETERS)
def test_a_network_has_as_many_parameters_as_in_mxnet(arch: str) -> None:
    info = describe(f"mxnet:{arch}")
    assert (info.name, info.source) == (f"mxnet:{arch}", "mxnet")
    assert info.parameters == PARAMETERS[arch]


def test_the_small_inception_bn_has_as_many_parameters_as_in_mxnet() -> None:
    assert num_parameters(on_meta("inception-bn", 28)) == 1_652_826


def test_the_transformer_adds_its_own_layers_to_lenet() -> None:
    convs, linear = 25 * 30 + 30 + 9 * 30 * 60 + 60, 60 * 6 + 6
    assert num_parameters(on_meta("lenet-stn", 28, channels=1)) == PARAMETERS["lenet"] + convs + linear


@pytest.mark.parametrize(
    ("arch", "image_size", "channels", "inputs_of_the_head"),
    [
        ("mlp", 16, 3, 64),
        ("lenet", 32, 3, 500),
        ("lenet-stn", 64, 3, 500),
        ("resnet-38", 24, 1, 64),
        ("resnet-18", 64, 4, 512),
        ("resnetv1-164", 28, 1, 256),
        ("resnetv1-34", 64, 1, 512),
        ("resnext-26", 32, 1, 64),
        ("resnext-50", 64, 2, 2048),
        ("inception-bn", 26, 1, 336),
        ("inception-bn", 320, 1, 1024 * 4 * 4),
        ("alexnet", 128, 1, 4096),
        ("vgg-11", 64, 1, 4096),
        ("googlenet", 61, 1, 1024),
        ("inception-v3", 400, 1, 2048 * 4 * 4),
        ("inception-v4", 299, 1, 13_824),
        ("inception-resnet-v2", 128, 1, 1536),
        ("mobilenet", 256, 1, 1024 * 2 * 2),
    ],
)
def test_images_of_other_sizes_and_channels_give_logits(
    arch: str, image_size: int, channels: int, inputs_of_the_head: int
) -> None:
    network = on_meta(arch, image_size, channels, num_classes=7)
    assert network(torch.zeros(2, channels, image_size, image_size, device="meta")).shape == (2, 7)
    assert [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1].in_features == inputs_of_the_head


def test_the_image_size_decides_stem_and_stages_of_a_resnet() -> None:
    def stem_and_stages(arch: str, image_size: int) -> tuple[int, int]:
        network = on_meta(arch, image_size)
        stem = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        return stem.kernel_size[0], sum(name.startswith("stage") for name, _ in network.named_children())

    assert [stem_and_stages("resnet-50", size) for size in (28, 29, 32, 33)] == [(3, 3), (3, 4), (3, 4), (7, 4)]
    assert [stem_and_stages("resnetv1-50", size) for size in (28, 29, 32, 33)] == [(3, 3), (3, 4), (3, 4), (7, 4)]
    assert [stem_and_stages("resnext-50", size) for size in (28, 29, 32, 33)] == [(3, 3), (3, 3), (3, 3), (7, 4)]


def test_the_stems_are_never_adapted_to_small_images() -> None:
    assert stem_note("mxnet:resnet-50", num_classes=10, image_size=64) is None


@pytest.mark.parametrize(
    ("arch", "image_size", "reason"),
    [
        ("resnet-38", 64, "above 28 px, the depth of a ResNet must be one of 18, 34, 50, 101, 152, 200, 269, got 38"),
        ("resnet-101", 28, "up to 28 px, the depth of a ResNet must be 6 n + 2, got 101"),
        ("resnetv1-269", 28, "up to 28 px, the depth of a ResNet must be 9 n + 2, got 269"),
        ("resnext-34", 32, "up to 32 px, the depth of a ResNet must be 6 n + 2, got 34"),
        ("alexnet", 66, "its convolutions and poolings need an image of at least 67 px"),
        ("vgg-16", 31, "its convolutions and poolings need an image of at least 32 px"),
        ("inception-bn", 24, "its convolutions and poolings need an image of at least 25 px"),
        ("inception-bn", 29, "its convolutions and poolings need an image of at least 205 px"),
        ("inception-v3", 298, "its convolutions and poolings need an image of at least 299 px"),
        ("mobilenet", 192, "its convolutions and poolings need an image of at least 193 px"),
        ("lenet-stn", 6, "its transformer needs an image of at least 7 px"),
        ("lenet", 15, "LeNet's two 5x5 convolutions and two poolings need at least 16 px"),
    ],
)
def test_a_size_that_mxnets_network_does_not_have_is_refused_with_the_reason(
    arch: str, image_size: int, reason: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        create(f"mxnet:{arch}", num_classes=10, image_size=image_size)
    start = f"mxnet:{arch} does not accept images of {image_size} x {image_size} px with 3 channels: {reason}\n"
    assert str(refusal.value).startswith(start)


@pytest.mark.parametrize(
    ("arch", "smallest"), [("alexnet", 67), ("googlenet", 61), ("inception-resnet-v2", 75), ("mobilenet", 193)]
)
def test_the_smallest_image_size_named_in_an_error_is_accepted(arch: str, smallest: int) -> None:
    images = torch.zeros(1, 3, smallest, smallest, device="meta")
    assert on_meta(arch, smallest)(images).shape == (1, 10)


def test_the_names_match_mxnets_benchmark() -> None:
    found = set(find("mxnet:*"))
    benchmark = "alexnet vgg-16 resnetv1-50 resnet-50 resnet-152 inception-bn inception-v3 inception-v4"
    assert {f"mxnet:{name}" for name in (*benchmark.split(), "inception-resnet-v2", "mobilenet")} <= found
    assert {f"mxnet:{name}" for name in PARAMETERS} <= found


def test_other_depths_of_small_resnets_exist_though_not_listed() -> None:
    assert "mxnet:resnet-38" not in find("mxnet:*")
    assert source_of("mxnet:resnet-38").NAME == "mxnet"
    for unknown in (
        "mxnet:resnet-21",
        "mxnet:resnext-29",
        "mxnet:resnet-050",
        "mxnet:resnet50",
        "mxnet:vgg-12",
        "resnet-50",
    ):
        with pytest.raises(UsageError, match=f"No network is called '{unknown}'"):
            source_of(unknown)


def test_the_other_spelling_of_the_first_resnets_exists_though_not_listed() -> None:
    assert "mxnet:resnet-v1-50" not in find("mxnet:*")
    found, expected = (on_meta(arch, 64).state_dict() for arch in ("resnet-v1-50", "resnetv1-50"))
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }


def test_an_option_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mxnet:alexnet has no option dropout, which was set to 0\.1"):
        create("mxnet:alexnet", num_classes=3, image_size=96, options=ModelOptions(dropout=0.1))


@pytest.mark.parametrize(
    ("arch", "fixed", "trained", "eps"),
    [
        ("mobilenet", 27, 0, 1e-3),
        ("inception-v3", 94, 0, 1e-3),
        ("inception-bn", 0, 69, 1e-5),
        ("resnet-50", 1, 50, 2e-5),
        ("resnetv1-50", 0, 53, 2e-5),
    ],
)
def test_batch_norms_have_mxnets_eps_and_momentum_and_the_same_fixed_scales(
    arch: str, fixed: int, trained: int, eps: float
) -> None:
    norms = [module for module in on_meta(arch, 299).modules() if isinstance(module, nn.BatchNorm2d)]
    num_fixed = sum(isinstance(norm, FixedScaleBatchNorm2d) for norm in norms)
    assert (num_fixed, len(norms) - num_fixed) == (fixed, trained)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(eps, 0.1)}


@pytest.mark.parametrize(
    ("arch", "image_size", "spread"),
    [
        ("alexnet", 67, lambda fan_in, fan_out: 0.01),
        ("vgg-11", 32, lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
        ("googlenet", 61, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
        ("inception-bn", 28, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    ],
)
def test_weights_are_initialised_by_the_default_of_mxnets_example(
    arch: str, image_size: int, spread: Callable[[int, int], float]
) -> None:
    torch.manual_seed(0)
    network = create(f"mxnet:{arch}", num_classes=10, image_size=image_size)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.numel() > 20_000:
            fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel()
            assert layer.weight.std().item() == pytest.approx(spread(fan_in, fan_out), rel=0.03)


@pytest.mark.parametrize("arch", ["lenet-stn", "resnetv1-20", "resnext-20", "inception-bn"])
def test_a_fresh_network_trains(arch: str) -> None:
    torch.manual_seed(0)
    network = create(f"mxnet:{arch}", num_classes=3, image_size=28, channels=1)
    images, labels = torch.randn(6, 1, 28, 28), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
