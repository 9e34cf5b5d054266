"""create: the networks that it builds, and what it refuses."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from tench.compat import import_timm, import_torchvision
from tench.errors import UsageError
from tench.models import create, stem_note
from tench.models.source import ModelOptions as Options

models: Any = import_torchvision().models

# One network of each family of torchvision, at the smallest side worth testing.
TORCHVISION = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_0": 32,
    "swin_t": 32,
    "vgg11": 32,
    "vit_b_32": 64,
}


def logits_shape(network: nn.Module, channels: int, image_size: int) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(network.eval()(torch.zeros(3, channels, image_size, image_size)).shape)


@pytest.mark.parametrize("arch", TORCHVISION)
def test_a_network_of_torchvision_gives_logits_for_images_of_other_channels(arch: str) -> None:
    image_size, channels = TORCHVISION[arch], 5
    if arch.startswith("regnet"):  # computes its widths in tensors: torchvision cannot build it on meta
        network = create(arch, num_classes=7, image_size=image_size, channels=channels).to("meta")
    else:
        with torch.device("meta"):
            network = create(arch, num_classes=7, image_size=image_size, channels=channels)
    with torch.device("meta"):
        assert logits_shape(network, channels, image_size) == (3, 7)


@pytest.mark.parametrize(
    ("arch", "image_size"),
    [
        ("resnet18d", 32),
        ("vit_tiny_patch16_224", 64),  # a transformer with a fixed input size
        ("swin_tiny_patch4_window7_224", 64),
        ("convnext_atto", 32),
        ("mobilenetv4_conv_small", 64),
        ("tf_efficientnet_lite0", 32),  # does its own padding
        ("mixer_s32_224", 64),
        ("resnetv2_50x1_bit", 32),  # standardises its weights
    ],
)
def test_a_network_of_timm_gives_logits_for_grey_images_of_another_size(arch: str, image_size: int) -> None:
    with torch.device("meta"):
        network = create(arch, num_classes=7, image_size=image_size, channels=1)
        assert logits_shape(network, 1, image_size) == (3, 7)


@pytest.mark.parametrize(
    ("arch", "image_size", "channels"),
    [
        ("lenet", 28, 1),
        ("resnet18", 32, 1),
        ("regnet_y_400mf", 32, 3),
        ("resnet18d", 32, 3),
        ("test_vit", 32, 3),
    ],
)
def test_a_created_network_is_real_and_in_training_mode(arch: str, image_size: int, channels: int) -> None:
    network = create(arch, num_classes=4, image_size=image_size, channels=channels)
    assert network.training
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        assert network(torch.randn(2, channels, image_size, image_size)).isfinite().all()


@pytest.mark.parametrize("arch", ["squeezenet1_1", "test_vit"])
def test_the_weights_come_from_the_authors_initialisation(arch: str) -> None:
    torch.manual_seed(7)
    created = create(arch, num_classes=5, image_size=160).state_dict()
    torch.manual_seed(7)
    if arch == "test_vit":
        expected = import_timm().create_model(arch, num_classes=5).state_dict()
    else:
        expected = models.get_model(arch, num_classes=5).state_dict()
    assert created.keys() == expected.keys()
    assert all(torch.equal(created[name], expected[name]) for name in expected)


def test_more_channels_change_the_first_convolution_and_nothing_else() -> None:
    torch.manual_seed(0)
    network, original = create("squeezenet1_0", num_classes=1000, image_size=224, channels=12), models.squeezenet1_0()
    weights, original_weights = network.state_dict(), original.state_dict()
    assert {name for name in weights if weights[name].shape != original_weights[name].shape} == {"features.0.weight"}
    assert weights["features.0.weight"].shape == (96, 12, 7, 7)
    # torchvision draws this layer with variance 2 / fan-in, so four times the channels have a quarter of the variance.
    assert original_weights["features.0.weight"].var().item() == pytest.approx(2 / (3 * 49), rel=0.1)
    assert weights["features.0.weight"].var().item() == pytest.approx(2 / (12 * 49), rel=0.1)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(arch: str) -> None:
    with torch.device("meta"):
        network = create(arch, num_classes=10, image_size=128)
    assert not any("aux" in name.lower() for name, _ in network.named_parameters())


@pytest.mark.parametrize(
    ("arch", "image_size", "channels", "reason", "usual"),
    [
        (
            "lenet",
            8,
            1,
            "LeNet's two 5x5 convolutions and two poolings need at least 16 px",
            "28 x 28 px with 1 channel",
        ),
        ("vit_b_16", 50, 3, "Input shape indivisible by patch size!", "224 x 224 px with 3 channels"),
        ("inception_v3", 32, 3, "Calculated padded input size per channel", "299 x 299 px with 3 channels"),
        ("maxvit_t", 64, 3, "Input size (16, 16) of block 0 is not divisible", "224 x 224 px with 3 channels"),
        ("vit_tiny_patch16_224", 50, 2, "must be a multiple of the patch size, 16 px", "224 x 224 px with 3 channels"),
        ("mixer_s32_224", 50, 3, "must be a multiple of the patch size, 32 px", "224 x 224 px with 3 channels"),
    ],
)
def test_an_image_size_that_a_network_does_not_support_is_refused_with_the_reason(
    arch: str, image_size: int, channels: int, reason: str, usual: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        create(arch, num_classes=10, image_size=image_size, channels=channels)
    text = str(refusal.value)
    plural = "" if channels == 1 else "s"
    assert text.startswith(
        f"{arch} does not accept images of {image_size} x {image_size} px with {channels} channel{plural}: "
    )
    assert reason in text
    assert f"\nIt is made for {usual}. Choose another image size or another network; tench models" in text


def test_a_network_without_a_classifier_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"for two images it returned \(2, 2048, 16, 16\), expected logits of shape \(2, 10\)"
    ):
        create("mobilenetv5_300m_enc", num_classes=10, image_size=256)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"num_classes": 0}, "resnet18: the number of classes must be at least 1, got 0."),
        ({"image_size": -1}, "resnet18: the number of pixels per side must be at least 1, got -1."),
        ({"channels": 0}, "resnet18: the number of channels must be at least 1, got 0."),
    ],
)
def test_numbers_below_one_are_refused_by_name(wrong: dict[str, int], text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        create("resnet18", **{"num_classes": 10, "image_size": 32, **wrong})  # type: ignore[arg-type]
    assert str(refusal.value) == text


def test_a_refusal_allocates_no_memory_for_the_network() -> None:
    before = torch.get_rng_state()
    with pytest.raises(UsageError):
        create("vit_h_14", num_classes=1000, image_size=225)  # its weights would need 2.5 GB
    assert torch.equal(torch.get_rng_state(), before)


def test_the_note_describes_what_create_changed_and_is_none_if_nothing() -> None:
    note = stem_note("resnet18", num_classes=10, image_size=32)
    assert note == (
        "Stem fitted to 32 px: the first convolution (conv1) has stride 1 instead of 2 and a 3x3 kernel instead of 7x7"
        ", and the max pooling after it (maxpool) is removed."
    )
    assert stem_note("resnet18", num_classes=10, image_size=224) is None
    assert stem_note("resnet20", num_classes=10, image_size=32) is None


@pytest.mark.parametrize("arch", ["repvgg_a0", "coatnet_nano_rw_224", "levit_128s"])
def test_a_network_that_only_runs_with_its_own_stem_keeps_it(arch: str) -> None:
    size = 64
    assert stem_note(arch, num_classes=10, image_size=size) is None
    with torch.device("meta"):
        network = create(arch, num_classes=10, image_size=size)
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        assert first.stride == (2, 2)
        assert logits_shape(network, 3, size) == (3, 10)


@pytest.mark.parametrize(
    ("arch", "options", "words"),
    [
        (
            "resnet50",
            Options(drop_path=0.1),
            "resnet50 has no drop_path in torchvision; timm:resnet50 may have it.",
        ),
        ("vit_b_16", Options(drop_path=0.1), "vit_b_16 has no drop_path in torchvision. Leave that option out"),
        (
            "mobilenet_v3_small",
            Options(drop_path=0.1),
            "mobilenet_v3_small has no drop_path in torchvision. Leave",
        ),
        (
            "densenet121",
            Options(dropout=0.1),
            "densenet121 has no dropout in torchvision; timm:densenet121 may have it.",
        ),
        (
            "vit_b_16",
            Options(dropout=0.1),
            "vit_b_16 has no dropout before its last layer in torchvision. Leave that",
        ),
        (
            "swin_t",
            Options(dropout=0.1),
            "swin_t has no dropout before its last layer in torchvision. Leave that option out",
        ),
        ("maxvit_t", Options(dropout=0.1), "maxvit_t has no dropout in torchvision. Leave that option out"),
        ("timm:vgg11", Options(drop_path=0.1), "timm:vgg11 has no drop_path in timm."),
        ("resnet20", Options(dropout=0.1), "resnet20 has no option dropout, which was set to 0.1."),
        ("resnet50", Options(strides=(1, 1, 1, 2, 2)), "resnet50 has no option strides"),
    ],
)
def test_an_option_that_the_network_lacks_is_an_error_that_names_it(arch: str, options: Options, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        create(arch, num_classes=3, image_size=96, options=options)


def depth_rates(network: nn.Module) -> list[float]:
    kind: Any = import_torchvision().ops.StochasticDepth
    return [module.p for module in network.modules() if isinstance(module, kind)]


def test_rates_fixed_by_torchvisions_functions_can_be_set() -> None:
    with torch.device("meta"):
        swin = models.SwinTransformer([4, 4], 96, [2, 2, 6, 2], [3, 6, 12, 24], [7, 7], stochastic_depth_prob=0.05)
        maxvit = models.MaxVit((224, 224), 64, 7, [64, 128, 256, 512], [2, 2, 5, 2], 32, stochastic_depth_prob=0.05)
        for arch, theirs in (("swin_t", swin), ("maxvit_t", maxvit)):
            network = create(arch, num_classes=3, image_size=224, options=Options(drop_path=0.05))
            assert depth_rates(network) == pytest.approx(depth_rates(theirs))


DROPOUT = (
    "alexnet vgg11 mobilenet_v2 mobilenet_v3_small efficientnet_b0 mnasnet0_5 squeezenet1_0 googlenet inception_v3"
)


@pytest.mark.parametrize("arch", DROPOUT.split())
def test_dropout_is_only_added_before_the_last_layer(arch: str) -> None:
    with torch.device("meta"):
        network = create(arch, num_classes=3, image_size=224, options=Options(dropout=0.37))
    found = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout) and module.p == 0.37]
    assert found
    assert all(name.startswith(("classifier.", "dropout")) for name in found)


@pytest.mark.parametrize("arch", ["convnext_tiny", "timm:resnet50"])
def test_stochastic_depth_drops_branches_in_training(arch: str) -> None:
    def logits(rate: float) -> torch.Tensor:
        torch.manual_seed(0)
        network = create(arch, num_classes=3, image_size=96, options=Options(drop_path=rate)).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)  # timm initialises branches that add nothing
            if type(module).__name__ in ("DropPath", "StochasticDepth"):
                module.train()
        torch.manual_seed(1)
        found: torch.Tensor = network(torch.ones(2, 3, 96, 96))
        return found

    assert torch.equal(logits(0.0)[0], logits(0.0)[1])
    assert not torch.equal(logits(0.5)[0], logits(0.5)[1])


def test_a_systems_prefix_selects_its_network() -> None:
    assert type(create("timm:resnet18", num_classes=3, image_size=96)).__module__.startswith("timm")
    assert type(create("torchvision:resnet18", num_classes=3, image_size=96)).__module__.startswith("torchvision")
    with pytest.raises(UsageError, match=r"^'tinn:resnet18' names Python code"):
        create("tinn:resnet18", num_classes=3, image_size=96)
