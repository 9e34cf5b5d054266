"""Our own networks, which neither torchvision nor timm has."""

import math

import pytest
import torch
from torch import nn

from tench.models import create
from tench.models.layers import FixedScaleBatchNorm2d
from tench.models.residual import large_plan, small_plan


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Counted by MXNet on its example's networks for 28 px images: grey for the first two, RGB for the others.
@pytest.mark.parametrize(
    ("arch", "channels", "parameters"),
    [
        ("mlp", 1, 109_386),
        ("lenet", 1, 431_080),
        ("resnet20_v2", 3, 272_544),
        ("resnet110_v2", 3, 1_730_784),
        ("resnet164_v2", 3, 1_703_264),
    ],
)
def test_a_network_has_as_many_parameters_as_in_mxnet(arch: str, channels: int, parameters: int) -> None:
    with torch.device("meta"):
        network = create(arch, num_classes=10, image_size=28, channels=channels)
    assert num_parameters(network) == parameters


def test_resnet20_has_the_number_of_parameters_that_follows_from_its_description() -> None:
    def conv3x3_and_norm(in_width: int, out_width: int) -> int:
        return 9 * in_width * out_width + 2 * out_width

    expected = conv3x3_and_norm(3, 16)
    for in_width, width in ((16, 16), (16, 32), (32, 64)):
        first_conv, five_more = conv3x3_and_norm(in_width, width), 5 * conv3x3_and_norm(width, width)
        shortcut = in_width * width + 2 * width
        expected += first_conv + five_more + shortcut
    expected += 64 * 10 + 10
    assert expected == 272_762
    with torch.device("meta"):
        assert num_parameters(create("resnet20", num_classes=10, image_size=32)) == expected


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_the_name_of_a_resnet_is_its_number_of_layers_with_weights(depth: int) -> None:
    for arch in (f"resnet{depth}", f"resnet{depth}_v2"):
        with torch.device("meta"):
            network = create(arch, num_classes=10, image_size=32)
        layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        shortcuts = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)]
        assert len(shortcuts) == 3, "the first unit of every stage has one, even if the shapes match"
        assert len(layers) - len(shortcuts) == depth


@pytest.mark.parametrize("image_size", [8, 33, 64])
@pytest.mark.parametrize("arch", ["resnet20", "resnet20_v2"])
def test_a_cifar_resnet_accepts_images_of_any_size(arch: str, image_size: int) -> None:
    with torch.device("meta"):
        network = create(arch, num_classes=7, image_size=image_size)
        logits = network(torch.zeros(3, 3, image_size, image_size))
    assert logits.shape == (3, 7)


def test_the_last_map_of_a_cifar_resnet_is_a_quarter_of_the_image() -> None:
    with torch.device("meta"):
        network = create("resnet20_v2", num_classes=10, image_size=32)
        last_map = nn.Sequential(*list(network.children())[:-3])(torch.zeros(1, 3, 32, 32))
    assert last_map.shape == (1, 64, 8, 8)


def test_the_error_about_another_depth_states_the_rule() -> None:
    with pytest.raises(ValueError, match=r"the depth of a ResNet must be 6 n \+ 2, got 21"):
        small_plan(21)
    with pytest.raises(ValueError, match=r"the depth of a ResNet must be 9 n \+ 2, got 168"):
        small_plan(168)
    with pytest.raises(ValueError, match="the depth of a ResNet must be one of 18, 34, 50, 101"):
        large_plan(20)


def test_weights_are_initialised_for_relu_by_fan_in_and_biases_are_zero() -> None:
    torch.manual_seed(0)
    network = create("lenet", num_classes=10, image_size=28, channels=1)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.15)
        assert layer.bias is not None
        assert not layer.bias.any()
    assert len(layers) == 4


def test_a_fresh_network_trains() -> None:
    torch.manual_seed(0)
    for arch in ("mlp", "lenet", "resnet20_v2"):
        network = create(arch, num_classes=3, image_size=16, channels=1)
        images, labels = torch.randn(6, 1, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
        losses = []
        for _ in range(8):
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0], arch


def test_a_fixed_scale_stays_one_through_training_with_weight_decay() -> None:
    norm = FixedScaleBatchNorm2d(3, eps=2e-5)
    optimizer = torch.optim.SGD(norm.parameters(), lr=1.0, weight_decay=0.5)
    (norm(torch.randn(4, 3, 5, 5)) ** 3).sum().backward()
    optimizer.step()
    assert norm.weight.tolist() == [1, 1, 1]
    assert norm.bias.any(), "the shift must be trained"


@pytest.mark.parametrize("assign", [False, True])
def test_a_fixed_scale_is_one_whatever_value_a_loaded_file_has(assign: bool) -> None:
    norm = FixedScaleBatchNorm2d(2, eps=2e-5)
    state = norm.state_dict() | {"weight": torch.tensor([5.0, 0.0]), "bias": torch.tensor([1.0, 2.0])}
    norm.load_state_dict(state, assign=assign)
    assert norm.weight.tolist() == [1, 1]
    assert norm.bias.tolist() == [1, 2]
    assert not norm.weight.requires_grad


def test_a_fixed_scale_acts_like_torchs_batch_norm_with_scale_one() -> None:
    images = torch.randn(4, 3, 5, 5)
    expected = nn.functional.batch_norm(images, None, None, None, torch.zeros(3), training=True, eps=2e-5)
    torch.testing.assert_close(FixedScaleBatchNorm2d(3, eps=2e-5)(images), expected)
