"""The rule for stems on small images, and the networks that it changes."""

import math

import pytest
import torch
from torch import Tensor, nn

from tench.compat import import_timm, import_torchvision
from tench.models import adapt_stem
from tench.models.stem import replace_input_channels

models = import_torchvision().models
timm = import_timm()


def last_map_size(network: nn.Module, image_size: int) -> tuple[int, int]:
    """Height and width of the last spatial map, which is the input of the pooling before the classifier."""
    sizes: list[tuple[int, int]] = []

    def remember(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        sizes.append((out.shape[2], out.shape[3]))

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(remember)
    network.eval()(torch.zeros(1, 3, image_size, image_size, device="meta"))
    # 1x1 maps come from squeeze-and-excitation, which averages over the map.
    return next(size for size in reversed(sizes) if size != (1, 1))


@pytest.mark.parametrize(
    ("arch", "at_32", "at_64"),
    [
        ("resnet18", 4, 4),
        ("shufflenet_v2_x1_0", 4, 4),
        ("mobilenet_v2", 2, 4),
        ("efficientnet_b0", 2, 4),
        ("timm:resnet18d", 4, 4),
        ("timm:resnetv2_50x1_bit", 4, 4),
        ("timm:densenet264d", 4, 4),
        ("timm:hgnet_tiny", 4, 4),
        ("timm:mobilenetv3_small_100", 2, 4),
    ],
)
def test_the_last_map_keeps_some_pixels_of_a_small_image(arch: str, at_32: int, at_64: int) -> None:
    for image_size, expected in ((32, at_32), (64, at_64)):
        with torch.device("meta"):
            network = timm.create_model(arch[5:]) if arch.startswith("timm:") else models.get_model(arch)
        note = adapt_stem(network, image_size)
        assert last_map_size(network, image_size) == (expected, expected)
        assert note is not None


def test_resnet18_at_32_px_is_the_resnet18_of_the_cifar_literature() -> None:
    network = models.resnet18(num_classes=10)
    adapt_stem(network, 32)
    reference = models.resnet18(num_classes=10)
    reference.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    reference.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), reference.eval()(images))
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962


def test_a_new_kernel_is_initialised_with_the_variance_of_its_networks_rule() -> None:
    torch.manual_seed(0)
    network = models.resnet18()
    adapt_stem(network, 64)
    fan_out = 64 * 3 * 3  # torchvision draws a ResNet's convolutions with variance 2 / fan_out
    assert network.conv1.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.06)
    assert network.conv1.weight.requires_grad


@pytest.mark.parametrize(
    ("image_size", "stride", "pooled"), [(1, 1, False), (40, 1, False), (41, 1, True), (80, 1, True), (81, 2, True)]
)
def test_the_rule_changes_at_40_and_at_80_px(image_size: int, stride: int, pooled: bool) -> None:
    with torch.device("meta"):
        network = models.resnet18()
    adapt_stem(network, image_size)
    assert network.conv1.stride == (stride, stride)
    assert isinstance(network.maxpool, nn.MaxPool2d) is pooled


def test_a_3x3_stem_keeps_its_kernel_and_its_weights() -> None:
    network = models.mobilenet_v2()
    before = network.features[0][0].weight
    note = adapt_stem(network, 32)
    assert note == "Stem fitted to 32 px: the first convolution (features.0.0) has stride 1 instead of 2."
    assert network.features[0][0].weight is before


def test_only_the_first_convolution_of_a_deep_stem_changes() -> None:
    with torch.device("meta"):
        network = timm.create_model("resnet18d")
    adapt_stem(network, 32)
    convs = [module for module in network.conv1 if isinstance(module, nn.Conv2d)]
    assert [(conv.kernel_size, conv.stride) for conv in convs] == [((3, 3), (1, 1))] * 3
    assert isinstance(network.maxpool, nn.Identity)


def test_a_pooling_between_stages_is_kept() -> None:
    with torch.device("meta"):
        network = models.inception_v3(init_weights=False)
    assert adapt_stem(network, 32) == (
        "Stem fitted to 32 px: the first convolution (Conv2d_1a_3x3.conv) has stride 1 instead of 2."
    )
    assert isinstance(network.maxpool1, nn.MaxPool2d)


@pytest.mark.parametrize("arch", ["vit_b_16", "swin_t", "convnext_tiny", "vgg11", "alexnet"])
def test_a_network_without_such_a_stem_is_unchanged(arch: str) -> None:
    with torch.device("meta"):
        network = models.get_model(arch)
    before = repr(network)
    assert adapt_stem(network, 32) is None
    assert repr(network) == before


def test_a_network_without_convolutions_is_unchanged_and_cannot_change_its_channels() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert adapt_stem(network, 2) is None
    with pytest.raises(ValueError, match="it does not begin with a plain convolution"):
        replace_input_channels(network, 1)
