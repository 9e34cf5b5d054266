"""The networks of NNabla's ImageNet example, compared with NNabla 1.39 running the example's own code."""

import math

import pytest
import torch
from tests.models.formula import image, set_weights
from torch import Tensor, nn

from tench.compat import import_torchvision
from tench.errors import UsageError
from tench.models import create, describe, find
from tench.models.nnabla import ClippedLinear, build, names, usual_input
from tench.models.source import ModelOptions

EFFICIENTNETS = [f"efficientnet_{scale}" for scale in ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "l2")]


# Counted by NNabla itself: its parameter tensors including running averages, and the trainable numbers.
@pytest.mark.parametrize(
    ("arch", "tensors", "parameters"),
    [
        ("resnet18", 102, 11_689_512),
        ("resnet34", 182, 21_797_672),
        ("resnet50", 267, 25_557_032),
        ("resnet101", 522, 44_549_160),
        ("resnet152", 777, 60_192_808),
        ("resnext50", 267, 25_028_904),
        ("se_resnet50", 331, 28_088_024),
        ("se_resnext50", 331, 27_559_896),
        ("mobilenet_v1", 137, 4_231_976),
        ("mobilenet_v2", 262, 3_504_872),
        ("mobilenet_v3_large", 265, 5_479_918),
        ("mobilenet_v3_small", 209, 2_536_214),
        ("efficientnet_b0", 311, 5_288_548),
        ("efficientnet_b1", 439, 7_794_184),
        ("efficientnet_b2", 439, 9_109_994),
        ("efficientnet_b3", 496, 12_233_232),
        ("efficientnet_b4", 610, 19_341_616),
        ("efficientnet_b5", 738, 30_389_784),
        ("efficientnet_b6", 852, 43_040_704),
        ("efficientnet_b7", 1037, 66_347_960),
        ("efficientnet_b8", 1151, 87_413_142),
        ("efficientnet_l2", 1654, 480_309_308),
    ],
)
def test_a_network_has_as_many_tensors_and_parameters_as_in_nnabla(arch: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        network = build(arch, num_classes=1000, image_size=64, channels=3)
    assert len([name for name in network.state_dict() if not name.endswith("num_batches_tracked")]) == tensors
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_there_are_22_networks_with_the_prefix_of_their_system() -> None:
    assert len(names()) == 22
    assert find("nnabla:*") == sorted(find("nnabla:*"), key=find("*").index)
    assert {name.removeprefix("nnabla:") for name in find("nnabla:*")} == set(names())
    assert describe("nnabla:mobilenet_v1").source == "nnabla"


# Logits that NNabla computed with these weights and this image.
@pytest.mark.parametrize(
    ("arch", "image_size", "logits"),
    [
        ("resnext50", 95, [64.34839, 89.65617, 106.0931, 111.5932]),
        ("se_resnet50", 95, [-1.208698, -6.143671, -10.47069, -13.98927]),
        ("se_resnext50", 95, [-3.06045, -5.101755, -6.639843, -7.754639]),
        ("mobilenet_v1", 95, [6.317559, 7.652791, 9.071803, 10.10658]),
        ("mobilenet_v2", 95, [0.6230164, 0.7976223, -0.8947092, -0.4629188]),
        ("mobilenet_v3_large", 95, [0.09030411, -0.006165681, -0.08670623, 0.07967924]),
        ("mobilenet_v3_small", 95, [-0.05647654, -0.05164668, 0.1008889, -0.02782677]),
        ("efficientnet_b0", 224, [0.06906858, 0.0884615, -0.1360788, 0.005688939]),
    ],
)
def test_a_network_computes_what_nnabla_does(arch: str, image_size: int, logits: list[float]) -> None:
    network = build(arch, num_classes=4, image_size=image_size, channels=3).eval()
    set_weights(network)
    with torch.no_grad():
        found = network(image(image_size))
    torch.testing.assert_close(found, torch.tensor([logits]), rtol=1e-4, atol=1e-5)


def test_the_gate_matches_nnablas_hard_sigmoid() -> None:
    gate = ClippedLinear()(torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0]))
    torch.testing.assert_close(gate, torch.tensor([0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0]))


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_a_plain_resnet_is_torchvisions_network(depth: int) -> None:
    models = import_torchvision().models
    with torch.device("meta"):
        network, theirs = (
            build(f"resnet{depth}", num_classes=9, image_size=64, channels=3),
            models.get_model(f"resnet{depth}", num_classes=9),
        )
    assert repr(network) == repr(theirs)


@pytest.mark.parametrize(("arch", "convolution"), [("se_resnet50", "conv1"), ("se_resnext50", "conv2")])
def test_an_se_resnet_has_its_strides_in_the_same_layers_as_nnablas(arch: str, convolution: str) -> None:
    with torch.device("meta"):
        network = build(arch, num_classes=10, image_size=64, channels=3)
    strided = [name for name, module in network.named_modules() if getattr(module, "stride", None) == (2, 2)]
    assert [name for name in strided if "downsample" not in name] == [
        "layer0.conv1",
        *(f"layer{stage}.0.{convolution}" for stage in (2, 3, 4)),
    ]


@pytest.mark.parametrize(
    ("arch", "rate", "shape"),
    [
        ("mobilenet_v2", 0.2, (2, 1280, 3, 3)),
        ("mobilenet_v3_large", 0.2, (2, 1280)),
        ("mobilenet_v3_small", 0.2, (2, 1024)),
        ("efficientnet_b0", 0.2, (2, 1280, 3, 3)),
        ("efficientnet_b2", 0.3, (2, 1408, 3, 3)),
        ("efficientnet_b4", 0.4, (2, 1792, 3, 3)),
    ],
)
def test_dropout_is_applied_to_the_map_before_pooling_except_in_v3(
    arch: str, rate: float, shape: tuple[int, ...]
) -> None:
    seen = []
    with torch.device("meta"):
        network = build(arch, num_classes=10, image_size=96, channels=3)
        dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
        for dropout in dropouts:
            dropout.register_forward_hook(lambda module, inputs, _: seen.append((module.p, tuple(inputs[0].shape))))
        network.eval()(torch.zeros(2, 3, 96, 96))
    assert seen == [(rate, shape)]


@pytest.mark.parametrize("arch", ["mobilenet_v1", "resnet50", "se_resnext50"])
def test_a_network_without_dropout_refuses_a_rate(arch: str) -> None:
    with torch.device("meta"):
        network = build(arch, num_classes=10, image_size=64, channels=3)
    assert not any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())
    with pytest.raises(UsageError, match=rf"nnabla:{arch} has no option dropout, which was set to 0\.1\."):
        create(f"nnabla:{arch}", num_classes=10, image_size=64, options=ModelOptions(dropout=0.1))


def test_only_an_efficientnet_has_stochastic_depth() -> None:
    with pytest.raises(UsageError, match=r"nnabla:mobilenet_v2 has no option drop_path, which was set to 0\.1\."):
        create("nnabla:mobilenet_v2", num_classes=10, image_size=64, options=ModelOptions(drop_path=0.1))


def test_requested_rates_replace_the_networks_own() -> None:
    options = ModelOptions(dropout=0.6, drop_path=0.1)
    with torch.device("meta"):
        network = create("nnabla:efficientnet_b0", num_classes=10, image_size=64, options=options)
    kinds = {type(module).__name__: module.p for module in network.modules() if hasattr(module, "p")}
    assert kinds == {"StochasticDepth": 0.1, "Dropout": 0.6}


@pytest.mark.parametrize(("arch", "blocks", "joined"), [("efficientnet_b0", 16, 9), ("efficientnet_b1", 23, 16)])
def test_each_residual_block_of_an_efficientnet_is_skipped_for_one_image_in_five(
    arch: str, blocks: int, joined: int
) -> None:
    depth = import_torchvision().ops.StochasticDepth
    entered = []
    with torch.device("meta"):
        network = build(arch, num_classes=10, image_size=64, channels=3)
        drops = [module for module in network.modules() if isinstance(module, depth)]
        for drop in drops:
            drop.register_forward_hook(lambda module, inputs, _: entered.append((module.p, module.mode)))
        network.eval()(torch.zeros(1, 3, 64, 64))
    assert len(drops) == blocks
    assert entered == [(0.2, "row")] * joined
    torch.manual_seed(0)
    dropped = drops[0].train()(torch.ones(5000, 2, 1, 1))
    assert {tuple(image) for image in dropped.flatten(1).tolist()} == {(0.0, 0.0), (1.25, 1.25)}
    assert (dropped[:, 0] == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_the_stem_of_an_efficientnet_has_no_activation() -> None:
    with torch.device("meta"):
        stem = next(iter(build("efficientnet_b0", num_classes=10, image_size=64, channels=3).features))  # type: ignore[arg-type]
    assert [type(module) for module in stem] == [nn.Conv2d, nn.BatchNorm2d, nn.Identity]


@pytest.mark.parametrize(
    ("arch", "momentum"),
    [("resnet18", 0.1), ("se_resnet50", 0.1), *((arch, 0.01) for arch in ("mobilenet_v1", "mobilenet_v2"))]
    + [(arch, 0.01) for arch in ("mobilenet_v3_small", "efficientnet_b0")],
)
def test_batch_norms_average_as_in_nnabla(arch: str, momentum: float) -> None:
    with torch.device("meta"):
        network = build(arch, num_classes=10, image_size=64, channels=3)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(momentum, 1e-5)}


def test_an_efficientnet_has_a_usual_size_and_accepts_others() -> None:
    sizes = [usual_input(arch).image_size for arch in EFFICIENTNETS]
    assert sizes == [224, 240, 260, 300, 380, 456, 528, 600, 672, 800]
    assert {usual_input(arch).image_size for arch in names() if arch not in EFFICIENTNETS} == {224}
    with torch.device("meta"):
        network = create("nnabla:efficientnet_b3", num_classes=7, image_size=97, channels=1).eval()
        assert network(torch.zeros(2, 1, 97, 97)).shape == (2, 7)


@pytest.mark.parametrize(
    "arch",
    ["resnet18", "resnext50", "se_resnet50", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"],
)
def test_a_network_accepts_small_grey_images_with_its_stem_adapted(arch: str) -> None:
    with torch.device("meta"):
        network = create(f"nnabla:{arch}", num_classes=7, image_size=32, channels=1).eval()
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert (first.in_channels, first.stride) == (1, (1, 1))


def test_the_initialisation_of_convolutions_counts_all_input_channels() -> None:
    torch.manual_seed(0)
    network = build("mobilenet_v2", num_classes=10, image_size=64, channels=3)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    wide = [conv for conv in convolutions if conv.weight.numel() > 2000]
    assert any(conv.groups > 1 for conv in wide)
    for conv in wide:
        area = conv.kernel_size[0] * conv.kernel_size[1]
        assert spread(conv.weight) == pytest.approx(math.sqrt(2 / (area * conv.in_channels)), rel=0.08)


def test_the_heads_are_initialised_as_in_nnabla() -> None:
    torch.manual_seed(0)
    resnet = build("resnet18", num_classes=100, image_size=64, channels=3).fc
    assert isinstance(resnet, nn.Linear)
    for drawn in (resnet.weight, resnet.bias):
        assert drawn.abs().max().item() == pytest.approx(512**-0.5, rel=0.05)
        assert spread(drawn) == pytest.approx((3 * 512) ** -0.5, rel=0.15)
    layers = build("mobilenet_v3_small", num_classes=100, image_size=64, channels=3).classifier
    before, head = (layer for layer in layers if isinstance(layer, nn.Linear))  # type: ignore[union-attr]
    assert before.bias is None
    assert spread(before.weight) == pytest.approx(math.sqrt(2 / 576), rel=0.02)
    assert spread(head.weight) == pytest.approx(0.01, rel=0.02)
    assert not head.bias.any()


def spread(weight: Tensor) -> float:
    return weight.detach().std().item()
