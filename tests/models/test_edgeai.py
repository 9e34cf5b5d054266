"""The networks of TI's edgeailite, compared with its published counts and torchvision's networks."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tench.compat import import_timm, import_torchvision
from tench.errors import UsageError
from tench.models import create, describe
from tench.models.edgeai import build, names, strides_for
from tench.models.macs import count_macs
from tench.models.source import ModelOptions

FIXED = ("shufflenetv2_x1p0", "shufflenetv2_x1p5", "vgg16_x1")
STRIDED = [name for name in names() if name not in FIXED]
REGNETS = [name for name in STRIDED if name.startswith("regnet")]
TWOS = (2, 2, 2, 2, 2)


def on_meta(arch: str, image_size: int = 224, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return build(arch, num_classes=1000, image_size=image_size, channels=3, options=ModelOptions(**options))


def last_map(network: nn.Module, image_size: int) -> tuple[int, ...]:
    """Height and width of the input of the global pooling."""
    found: list[tuple[int, ...]] = []
    last = next(part for part in ("features", "trunk_output", "layer4") if hasattr(network, part))
    network.get_submodule(last).register_forward_hook(lambda _, __, output: found.append(tuple(output.shape[2:])))
    with torch.device("meta"):
        network.eval()(torch.zeros(1, 3, image_size, image_size))
    return found[0]


# What edgeailite prints: GMACs of the convolutions alone, GMACs in total, and millions of parameters.
@pytest.mark.parametrize(
    ("arch", "convolutions", "all_layers", "parameters"),
    [
        ("mobilenetv1_x1", "0.5677", "0.5687", "4.232"),
        ("mobilenetv2_tv_x1", "0.2995", "0.3008", "3.505"),
        ("mobilenetv2_x1", "0.2995", "0.3008", "3.505"),
        ("mobilenetv2_tv_x2_t2", "0.468", "0.471", "6.563"),
        ("resnet50_x1", "4.087", "4.089", "25.557"),
        ("resnet50_xp5", "1.051", "1.052", "6.918"),
        ("regnetx400mf_x1", "0.397", "0.398", "5.158"),
        ("regnetx800mf_x1", "0.799", "0.800", "7.260"),
        ("regnetx1p6gf_x1", "1.602", "1.603", "9.190"),
        ("regnetx3p2gf_x1", "3.176", "3.177", "15.297"),
    ],
)
def test_a_network_has_the_published_size(arch: str, convolutions: str, all_layers: str, parameters: str) -> None:
    network = on_meta(arch)
    with torch.device("meta"):
        macs = count_macs(network, torch.zeros(1, 3, 224, 224))
    digits = len(convolutions.partition(".")[2])
    assert f"{macs.convolutions / 1e9:.{digits}f}" == convolutions
    assert f"{macs.total / 1e9:.{digits}f}" == all_layers
    assert f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.3f}" == parameters
    assert describe(f"edgeai:{arch}").gmacs == macs.total / 1e9


@pytest.mark.parametrize(("size", "published"), [("small", 0.054), ("large", 0.213)])
def test_a_lite_network_has_the_published_gmacs(size: str, published: float) -> None:
    network = on_meta(f"mobilenetv3_lite_{size}_x1")
    with torch.device("meta"):
        macs = count_macs(network, torch.zeros(1, 3, 224, 224))
    assert macs.convolutions / 1e9 == pytest.approx(published, abs=6e-4)


def torchvisions(name: str) -> nn.Module:
    network: nn.Module = import_torchvision().models.get_model(name, num_classes=10)
    return network


@pytest.mark.parametrize(
    ("arch", "theirs"),
    [
        ("resnet18_x1", "resnet18"),
        ("resnet50_x1", "resnet50"),
        ("regnetx800mf_x1_bgr", "regnet_x_800mf"),
        ("mobilenetv2_tv_x1", "mobilenet_v2"),
        ("mobilenetv3_small_x1", "mobilenet_v3_small"),
        ("mobilenetv3_large_x1", "mobilenet_v3_large"),
        ("shufflenetv2_x1p0", "shufflenet_v2_x1_0"),
        ("shufflenetv2_x1p5", "shufflenet_v2_x1_5"),
    ],
)
def test_a_network_accepts_torchvisions_weights_and_gives_its_logits(arch: str, theirs: str) -> None:
    torch.manual_seed(0)
    expected = torchvisions(theirs).eval()
    for name, module in list(expected.named_modules()):
        if isinstance(module, nn.ReLU6):
            expected.set_submodule(name, nn.ReLU())
    network = build(arch, num_classes=10, image_size=128, channels=3).eval()
    network.load_state_dict(expected.state_dict())
    photo = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(network(photo), expected(photo))


@pytest.mark.parametrize("size", ["1p6gf", "3p2gf"])
def test_a_larger_regnet_has_the_same_tensors_as_torchvisions(size: str) -> None:
    theirs = torchvisions(f"regnet_x_{size.replace('p', '_')}")
    with torch.device("meta"):
        network = build(f"regnetx{size}_x1", num_classes=10, image_size=224, channels=3)
    assert shapes(network) == shapes(theirs)


def test_the_smallest_regnet_has_the_tensors_of_timm_and_not_of_torchvision_which_is_wider() -> None:
    with torch.device("meta"):
        theirs = import_timm().create_model("regnetx_004", num_classes=10)
        network = build("regnetx400mf_x1", num_classes=10, image_size=224, channels=3)
    assert Counter(shapes(network).values()) == Counter(shapes(theirs).values())


def test_vgg16_has_the_same_tensors_as_torchvisions() -> None:
    with torch.device("meta"):
        assert shapes(build("vgg16_x1", num_classes=10, image_size=224, channels=3)) == shapes(torchvisions("vgg16"))


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("arch", "size", "scaling"),
    [
        ("mobilenetv3_lite_small_x1", "small", {}),
        ("mobilenetv3_lite_large_x1", "large", {}),
        ("mobilenetv3_lite_large_x2r", "large", {"width_mult": 2.0, "reduced_tail": True}),
    ],
)
def test_a_lite_network_is_torchvisions_without_squeeze_excitation_and_with_only_relu(
    arch: str, size: str, scaling: dict[str, Any]
) -> None:
    v3 = import_torchvision().models.mobilenetv3
    blocks, head_width = v3._mobilenet_v3_conf(f"mobilenet_v3_{size}", **scaling)
    for block in blocks:
        block.use_se = False
    network = on_meta(arch)
    with torch.device("meta"):
        assert shapes(network) == shapes(v3.MobileNetV3(blocks, head_width))
    activations = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU)
    assert {type(module) for module in network.modules() if isinstance(module, activations)} == {nn.ReLU}


def test_the_half_width_resnet50_has_half_the_channels_everywhere() -> None:
    half, whole = shapes(on_meta("resnet50_xp5")), shapes(on_meta("resnet50_x1"))
    assert half.keys() == whole.keys()
    for name in half.keys() - {"conv1.weight", "fc.weight", "fc.bias"}:
        assert half[name][:2] == tuple(size // 2 for size in whole[name][:2]), name
    assert half["conv1.weight"] == (32, 3, 7, 7)
    assert half["fc.weight"] == (1000, 1024)


@pytest.mark.parametrize("arch", STRIDED)
def test_at_32_px_the_last_map_is_8x8_or_4x4_in_a_regnet(arch: str) -> None:
    side = 4 if arch in REGNETS else 8
    assert last_map(on_meta(arch, 32), 32) == (side, side)
    assert last_map(on_meta(arch, 32, strides=(1, 1, 1, 2, 2)), 32) == (side, side)
    assert last_map(on_meta(arch, 32, strides=TWOS), 32) == (1, 1)


@pytest.mark.parametrize("arch", ["mobilenetv1_x1", "mobilenetv2_x1", "mobilenetv3_small_x1", "resnet18_x1"])
@pytest.mark.parametrize("place", range(5))
def test_each_stride_halves_the_map_once(arch: str, place: int) -> None:
    strides = tuple(2 if number == place else 1 for number in range(5))
    assert last_map(on_meta(arch, strides=strides), 64) == (32, 32)


def test_a_regnet_does_not_use_the_second_stride() -> None:
    assert last_map(on_meta("regnetx400mf_x1", strides=(1, 2, 1, 1, 1)), 64) == (32, 32)
    assert last_map(on_meta("regnetx400mf_x1", strides=(1, 1, 1, 1, 1)), 64) == (32, 32)


def test_the_default_strides_follow_the_image_size() -> None:
    assert [strides_for(size) for size in (63, 64, 127, 128)] == [(1, 1, 1, 2, 2), *[(1, 1, 2, 2, 2)] * 2, TWOS]
    for size, side in ((63, 16), (64, 8), (127, 16), (128, 4), (224, 7)):
        assert last_map(on_meta("resnet18_x1", size), size) == (side, side)


@pytest.mark.parametrize("arch", FIXED)
def test_networks_with_fixed_strides_refuse_others(arch: str) -> None:
    with pytest.raises(UsageError, match=rf"edgeai:{arch} has no option strides, which was set to 1 1 1 2 2\."):
        create(f"edgeai:{arch}", num_classes=10, image_size=64, options=ModelOptions(strides=(1, 1, 1, 2, 2)))


@pytest.mark.parametrize("strides", [(1, 2), (2, 2, 2, 2, 3), ()])
def test_anything_but_five_strides_of_1_or_2_is_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="edgeai:resnet18_x1 needs five strides of 1 or 2, got"):
        create("edgeai:resnet18_x1", num_classes=10, image_size=64, options=ModelOptions(strides=strides))


@pytest.mark.parametrize(
    ("arch", "rate"), [("mobilenetv1_x1", 0), ("mobilenetv2_tv_x1", 0), ("mobilenetv3_lite_small_x1", 0.2)]
)
def test_dropout_is_off_except_in_v3_and_can_be_enabled(arch: str, rate: float) -> None:
    def rates(network: nn.Module) -> list[float]:
        return [module.p for module in network.modules() if isinstance(module, nn.Dropout)]

    assert rates(on_meta(arch)) == [rate]
    assert rates(on_meta(arch, dropout=0.4)) == [0.4]


@pytest.mark.parametrize(
    ("options", "name"), [(ModelOptions(dropout=0.1), "dropout"), (ModelOptions(drop_path=0.1), "drop_path")]
)
def test_a_resnet_has_no_rates(options: ModelOptions, name: str) -> None:
    with pytest.raises(UsageError, match=rf"edgeai:resnet50_x1 has no option {name}, which was set to 0\.1\."):
        create("edgeai:resnet50_x1", num_classes=10, image_size=64, options=options)


@pytest.mark.parametrize("arch", ["mobilenetv1_x1", "mobilenetv3_lite_small_x1", "resnet50_xp5", "regnetx400mf_x1"])
def test_a_network_accepts_grey_images_and_keeps_its_own_stem(arch: str) -> None:
    with torch.device("meta"):
        network = create(f"edgeai:{arch}", num_classes=7, image_size=48, channels=1).eval()
        assert network(torch.zeros(2, 1, 48, 48)).shape == (2, 7)
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.kernel_size == ((7, 7) if arch.startswith("resnet") else (3, 3))


@pytest.mark.parametrize(
    ("arch", "momentum", "eps"), [("mobilenetv2_x1", 0.1, 1e-5), ("mobilenetv3_lite_small_x1", 0.01, 1e-3)]
)
def test_batch_norms_have_torchs_defaults_except_in_v3(arch: str, momentum: float, eps: float) -> None:
    norms = [module for module in on_meta(arch).modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(momentum, eps)}


@pytest.mark.parametrize("arch", ["mobilenetv1_x1", "resnet18_x1", "mobilenetv3_small_x1"])
def test_weights_are_initialised_by_fan_out_and_the_heads_are_small(arch: str) -> None:
    torch.manual_seed(0)
    network = build(arch, num_classes=100, image_size=64, channels=3)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert spread(module.weight) == pytest.approx(math.sqrt(2 / fan_out), rel=0.06)
        elif isinstance(module, nn.Linear):
            assert spread(module.weight) == pytest.approx(0.01, rel=0.02)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            assert not module.bias.any()


def spread(weight: Tensor) -> float:
    return weight.detach().std().item()


@pytest.mark.parametrize("arch", ["mobilenetv2_ericsun_x1", "mobilenetv2_shicai_x1", "mobilenetv1_multi_label_x1"])
def test_a_network_whose_modules_were_never_published_is_unknown(arch: str) -> None:
    with pytest.raises(UsageError, match=f"No network is called 'edgeai:{arch}'. Did you mean 'edgeai:mobilenet"):
        create(f"edgeai:{arch}", num_classes=10, image_size=64)
