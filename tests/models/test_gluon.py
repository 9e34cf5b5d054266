"""The networks of Gluon's model zoo, compared with its definitions: numbers of values, shapes, and structural names.

The numbers of values are MXNet 1.9's own: all arrays of save_parameters, running statistics included.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tench.compat import import_torchvision
from tench.errors import UsageError
from tench.models import create
from tench.models.gluon import build, knows, names, usual_input
from tench.models.source import ModelOptions
from tench.weights.by_order import layers_of, state_in_order

NAMES = [
    *(f"resnet{depth}_v{version}" for version in (1, 2) for depth in (18, 34, 50, 101, 152)),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "alexnet",
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    "squeezenet1.0",
    "squeezenet1.1",
    "inceptionv3",
    *(f"{name}{width}" for name in ("mobilenet", "mobilenetv2_") for width in ("1.0", "0.75", "0.5", "0.25")),
]


def on_meta(arch: str, *, num_classes: int = 1000, image_size: int = 224, channels: int = 3) -> nn.Module:
    with torch.device("meta"):
        return build(arch, num_classes=num_classes, image_size=image_size, channels=channels)


def count(network: nn.Module) -> int:
    state = network.state_dict()
    return sum(tensor.numel() for name, tensor in state.items() if not name.endswith("num_batches_tracked"))


def test_the_zoo_has_all_networks_of_gluons() -> None:
    assert sorted(names()) == sorted(NAMES)
    assert all(knows(name) for name in NAMES)
    assert not knows("resnet18")


@pytest.mark.parametrize(
    ("arch", "values"), [("resnet18_v1", 11_699_112), ("resnet50_v1", 25_629_032), ("resnet50_v2", 25_595_060)]
)
def test_a_network_has_as_many_values_as_in_gluon(arch: str, values: int) -> None:
    assert count(on_meta(arch)) == values


# Trainable parameters as published for the same structures: torchvision's tables, and MobileNet's papers.
@pytest.mark.parametrize(
    ("arch", "parameters"),
    [
        ("alexnet", 61_100_840),
        ("vgg16", 138_357_544),
        ("vgg16_bn", 138_365_992),
        ("densenet121", 7_978_856),
        ("densenet161", 28_681_000),
        ("squeezenet1.0", 1_248_424),
        ("squeezenet1.1", 1_235_496),
        ("inceptionv3", 23_834_568),
        ("mobilenet1.0", 4_231_976),
        ("mobilenetv2_1.0", 3_504_960),
    ],
)
def test_a_network_has_the_published_number_of_parameters(arch: str, parameters: int) -> None:
    size = usual_input(arch).image_size
    assert sum(one.numel() for one in on_meta(arch, image_size=size).parameters()) == parameters


@pytest.mark.parametrize("arch", NAMES)
def test_a_network_returns_logits_for_its_usual_images(arch: str) -> None:
    usual = usual_input(arch)
    assert (usual.image_size, usual.channels, usual.num_classes) == (299 if arch == "inceptionv3" else 224, 3, 1000)
    network = on_meta(arch, num_classes=7, image_size=usual.image_size)
    images = torch.zeros(2, 3, usual.image_size, usual.image_size, device="meta")
    assert network(images).shape == (2, 7)


@pytest.mark.parametrize("arch", ["resnet18_v1", "resnet50_v1", "resnet18_v2", "mobilenet0.25", "mobilenetv2_0.25"])
def test_a_network_takes_other_channels_and_sizes(arch: str) -> None:
    network = on_meta(arch, num_classes=3, image_size=96, channels=1)
    assert network(torch.zeros(2, 1, 96, 96, device="meta")).shape == (2, 3)


@pytest.mark.parametrize("arch", ["resnet50_v2", "mobilenetv2_0.5"])
def test_a_network_is_found_by_its_name(arch: str) -> None:
    with torch.device("meta"):
        network = create(f"gluon:{arch}", num_classes=3, image_size=224)
    assert count(network) == count(on_meta(arch, num_classes=3))


def test_an_option_is_refused() -> None:
    with pytest.raises(UsageError, match=r"gluon:alexnet has no option dropout, which was set to 0\.1\."):
        create("gluon:alexnet", num_classes=10, image_size=224, options=ModelOptions(dropout=0.1))


def test_the_bottleneck_of_version_1_has_its_stride_and_its_biases_in_the_1x1_convolutions() -> None:
    network = on_meta("resnet50_v1")
    blocks = [block for block in network.modules() if hasattr(block, "conv3")]
    assert len(blocks) == 16
    strides = []
    for block in blocks:
        first, middle, last = (block.get_submodule(f"conv{number}") for number in (1, 2, 3))
        assert isinstance(first, nn.Conv2d)
        assert isinstance(middle, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        assert (first.bias is None, middle.bias is None, last.bias is None) == (False, True, False)
        assert middle.stride == last.stride == (1, 1)
        assert (first.kernel_size, middle.kernel_size, last.kernel_size) == ((1, 1), (3, 3), (1, 1))
        strides.append(first.stride[0])
    assert strides == [1] * 3 + [2] + [1] * 3 + [2] + [1] * 5 + [2] + [1] * 2


def test_version_1_with_basic_blocks_is_torchvisions_network() -> None:
    torchvision = import_torchvision()
    torch.manual_seed(0)
    ours = build("resnet18_v1", num_classes=5, image_size=64, channels=3).eval()
    theirs = torchvision.models.resnet18(num_classes=5).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images))


def test_version_2_normalises_the_images_with_a_fixed_scale_and_shift() -> None:
    network = on_meta("resnet18_v2")
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-5}
    assert norms[0].num_features == 3
    assert [norms[0].weight.requires_grad, norms[0].bias.requires_grad] == [False, False]
    assert all(norm.weight.requires_grad and norm.bias.requires_grad for norm in norms[1:])


# Gluon's structural names, in the order of its blocks.


def norm_of(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for role in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{role}", (width,)


def resnet18_v1(num_classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of each array. Source: BasicBlockV1 and ResNetV1 of gluon/model_zoo/vision/resnet.py."""
    yield "features.0.weight", (64, 3, 7, 7)
    yield from norm_of("features.1", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=4):
        for block in range(2):
            at = f"features.{stage}.{block}"
            yield f"{at}.body.0.weight", (width, before, 3, 3)
            yield from norm_of(f"{at}.body.1", width)
            yield f"{at}.body.3.weight", (width, width, 3, 3)
            yield from norm_of(f"{at}.body.4", width)
            if before != width:
                yield f"{at}.downsample.0.weight", (width, before, 1, 1)
                yield from norm_of(f"{at}.downsample.1", width)
            before = width
    yield "output.weight", (num_classes, 512)
    yield "output.bias", (num_classes,)


def resnet18_v2(num_classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The same for BasicBlockV2 and ResNetV2, whose shortcut has no batch norm."""
    yield from norm_of("features.0", 3)
    yield "features.1.weight", (64, 3, 7, 7)
    yield from norm_of("features.2", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=5):
        for block in range(2):
            at = f"features.{stage}.{block}"
            yield from norm_of(f"{at}.bn1", before)
            yield f"{at}.conv1.weight", (width, before, 3, 3)
            yield from norm_of(f"{at}.bn2", width)
            yield f"{at}.conv2.weight", (width, width, 3, 3)
            if before != width:
                yield f"{at}.downsample.weight", (width, before, 1, 1)
            before = width
    yield from norm_of("features.9", 512)
    yield "output.weight", (num_classes, 512)
    yield "output.bias", (num_classes,)


STRUCTURES = {"resnet18_v1": resnet18_v1, "resnet18_v2": resnet18_v2}


@pytest.mark.parametrize("arch", STRUCTURES)
def test_the_arrays_of_save_parameters_fit_in_their_order(arch: str) -> None:
    theirs = {name: torch.full(shape, float(at)) for at, (name, shape) in enumerate(STRUCTURES[arch](7))}
    network = on_meta(arch, num_classes=7)
    state = state_in_order(network, layers_of(theirs))
    assert list(state) == list(network.state_dict())
    kept = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    assert [tensor.flatten()[0].item() for tensor in kept] == list(range(len(theirs)))


def test_the_arrays_of_another_network_do_not_fit() -> None:
    theirs: dict[str, Tensor] = {name: torch.zeros(shape) for name, shape in resnet18_v1(7)}
    layers = layers_of(theirs)
    with pytest.raises(
        ValueError, match=r"^features\.0 has weight, but data_norm, in the same place, has weight, bias"
    ):
        state_in_order(on_meta("resnet18_v2", num_classes=7), layers)
    with pytest.raises(ValueError, match=r"^output\.weight has shape \(7, 512\), but fc\.weight, in the same place"):
        state_in_order(on_meta("resnet18_v1", num_classes=8), layers)
    with pytest.raises(ValueError, match=r"^it has 40 layers, but the network has 41$"):
        state_in_order(on_meta("resnet18_v1", num_classes=7), layers[:-1])


def test_a_1x1_convolution_may_stand_for_a_linear_layer() -> None:
    theirs = {name: torch.zeros(shape) for name, shape in resnet18_v1(7)}
    theirs["output.weight"] = torch.ones(7, 512, 1, 1)
    state = state_in_order(on_meta("resnet18_v1", num_classes=7), layers_of(theirs))
    assert state["fc.weight"].shape == (7, 512)
