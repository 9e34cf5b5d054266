"""Checkpoints of MXNet and Gluon. MXNet 1.9 wrote those in shared/golden and computed the logits next to them."""

import json
import logging
import lzma
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.support.errors import error_of
from torch import Tensor, nn

from tench.errors import UsageError
from tench.models import create
from tench.models.mxnet.symbol import build_symbol
from tench.weights.known import Start
from tench.weights.mxnet import read_mxnet

SHARED = Path(__file__).parents[2] / "../shared/golden/mxnet"
GOLDEN = sorted(path.name.removesuffix("-symbol.json") for path in SHARED.glob("*-symbol.json"))
OURS = {
    "mlp": "mxnet:mlp",
    "lenet": "mxnet:lenet",
    "alexnet": "mxnet:alexnet",
    "inception-bn": "mxnet:inception-bn",
    "resnet-18": "mxnet:resnet-18",
    "resnet-20-cifar": "mxnet:resnet-20",
    "resnext-50": "mxnet:resnext-50",
    "gluon-densenet121": "gluon:densenet121",
    "gluon-mobilenetv2_1.0": "gluon:mobilenetv2_1.0",
    "gluon-resnet50_v1": "gluon:resnet50_v1",
}
"""The network of ours that each stored checkpoint is."""

Array = npt.NDArray[Any]


def network_of(start: Start) -> nn.Module:
    assert start.arch is not None
    assert start.num_classes is not None
    assert start.image_size is not None
    assert start.channels is not None
    network: nn.Module
    if start.graph is not None:
        network = build_symbol(start.graph, image_size=start.image_size, channels=start.channels)
    else:
        network = create(
            start.arch, num_classes=start.num_classes, image_size=start.image_size, channels=start.channels
        )
    network.load_state_dict(start.state)
    return network.eval()


def input_of(name: str) -> tuple[int, int]:
    """(channels, image size)."""
    if name in ("mlp", "lenet"):
        return 1, 28
    return (3, 28) if name == "resnet-20-cifar" else (3, 224)


@pytest.mark.skipif(not GOLDEN, reason=f"needs the checkpoints of MXNet in {SHARED}")
@pytest.mark.parametrize("name", GOLDEN or ["checkpoint"])
def test_a_checkpoint_gives_the_logits_that_mxnet_computed(name: str, tmp_path: Path) -> None:
    symbol = tmp_path / f"{name}-symbol.json"
    symbol.write_bytes((SHARED / symbol.name).read_bytes())
    packed = (SHARED / f"{name}-0000.params.xz").read_bytes()
    (tmp_path / f"{name}-0000.params").write_bytes(lzma.decompress(packed))
    channels, size = input_of(name)
    start = read_mxnet(symbol)
    assert (start.channels, start.image_size) == (channels, size)
    assert start.arch == OURS.get(name, start.arch)
    images = np.random.default_rng(11).standard_normal((2, channels, size, size)).astype("float32")
    expected = np.load(SHARED / f"{name}.logits.npy")
    with torch.inference_mode():
        found = network_of(start)(torch.from_numpy(images)).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * expected.std()


# Small checkpoints


def params_bytes(arrays: Mapping[str, Array]) -> bytes:
    """A file of mx.nd.save with fp32 arrays."""
    content = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for values in arrays.values():
        sides = values.shape
        content += struct.pack(f"<Iii{len(sides)}qiii", 0xF993FAC9, 0, len(sides), *sides, 1, 0, 0)
        content += values.astype("<f4").tobytes()
    content += struct.pack("<Q", len(arrays))
    for name in arrays:
        content += struct.pack("<Q", len(name.encode())) + name.encode()
    return content


def variable(name: str, **attrs: str) -> dict[str, Any]:
    return {"op": "null", "name": name, "attrs": attrs, "inputs": []}


def step(op: str, name: str, inputs: Sequence[int], **attrs: str) -> dict[str, Any]:
    return {"op": op, "name": name, "attrs": attrs, "inputs": [[number, 0, 0] for number in inputs]}


def symbol_text(nodes: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"nodes": nodes, "heads": [[len(nodes) - 1, 0, 0]]})


NODES = [
    variable("data"),
    variable("bn_gamma"),
    variable("bn_beta"),
    variable("bn_moving_mean"),
    variable("bn_moving_var"),
    step("BatchNorm", "bn", [0, 1, 2, 3, 4], eps="2e-05"),
    variable("conv/1_weight"),
    step("Convolution", "conv/1", [5, 6], kernel="(3, 3)", num_filter="4", stride="(2, 2)", no_bias="True"),
    step("Pooling", "pool", [7], global_pool="True", pool_type="avg", kernel="(1, 1)"),
    step("Flatten", "flat", [8]),
    variable("fc_weight"),
    variable("fc_bias"),
    step("FullyConnected", "fc", [9, 10, 11], num_hidden="5"),
    variable("softmax_label"),
    step("SoftmaxOutput", "softmax", [12, 13]),
]


def small_arrays(seed: int = 0, channels: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "arg:bn_gamma": np.full(channels, 7.0),
        "arg:bn_beta": rng.standard_normal(channels),
        "arg:conv/1_weight": rng.standard_normal((4, channels, 3, 3)),
        "arg:fc_weight": rng.standard_normal((5, 4)),
        "arg:fc_bias": rng.standard_normal(5),
        "aux:bn_moving_mean": rng.standard_normal(channels),
        "aux:bn_moving_var": rng.random(channels) + 0.5,
    }


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Writes a checkpoint and returns the path of its symbol. It is compared with few networks, as all take seconds."""
    monkeypatch.setattr("tench.models.mxnet.source.names", lambda: ["mlp", "resnet-18"])
    monkeypatch.setattr("tench.models.gluon.names", lambda: ["alexnet", "resnet18_v1"])

    def write(arrays: Mapping[str, Array], nodes: Sequence[Mapping[str, Any]] = NODES, *, epoch: str = "0001") -> Path:
        (tmp_path / f"net-{epoch}.params").write_bytes(params_bytes(arrays))
        symbol = tmp_path / "net-symbol.json"
        symbol.write_text(symbol_text(nodes))
        return symbol

    return write


def small_logits(arrays: Mapping[str, Array], images: Tensor) -> Tensor:
    given = {name.partition(":")[2]: torch.from_numpy(values).float() for name, values in arrays.items()}
    mean, variance, shift = (given[f"bn_{role}"].reshape(-1, 1, 1) for role in ("moving_mean", "moving_var", "beta"))
    x = (images - mean) / (variance + 2e-5).sqrt() + shift
    x = nn.functional.conv2d(x, given["conv/1_weight"], stride=2).mean((2, 3))
    return x @ given["fc_weight"].T + given["fc_bias"]


def check(start: Start, arrays: Mapping[str, Array], channels: int = 3) -> None:
    size = start.image_size
    assert size is not None
    images = torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(network_of(start)(images), small_logits(arrays, images), rtol=1e-4, atol=1e-4)


def test_a_network_of_no_known_kind_computes_its_graph_without_the_stored_fixed_scale(save: Save) -> None:
    symbol = save(small_arrays())
    start = read_mxnet(symbol)
    assert start.arch == "mxnet:symbol"
    assert start.graph is not None
    assert (start.num_classes, start.channels) == (5, 3)
    assert start.source == str(symbol.with_name("net-0001.params"))
    assert start.notes == ("net-symbol.json: matches none of tench's networks; the graph itself is used.",)
    check(start, small_arrays())


def test_either_file_of_a_checkpoint_may_be_named(save: Save) -> None:
    symbol = save(small_arrays())
    check(read_mxnet(symbol.with_name("net-0001.params")), small_arrays())


def test_parameters_without_an_epoch_belong_to_the_symbol_of_their_name(save: Save) -> None:
    symbol = save(small_arrays())
    params = symbol.with_name("net-0001.params").rename(symbol.with_name("net.params"))
    check(read_mxnet(params), small_arrays())


def test_the_newest_of_several_epochs_is_read_and_logged(save: Save, caplog: pytest.LogCaptureFixture) -> None:
    for epoch, seed in (("0002", 2), ("10000", 3), ("0090", 4)):
        symbol = save(small_arrays(seed), epoch=epoch)
    symbol.with_name("other-99999.params").write_bytes(b"")
    with caplog.at_level(logging.INFO, "tench"):
        start = read_mxnet(symbol)
    assert Path(start.source).name == "net-10000.params"
    assert "using the newest of 3 files of parameters, net-10000.params" in caplog.text
    check(start, small_arrays(3))
    check(read_mxnet(symbol.with_name("net-0090.params")), small_arrays(4))


def test_names_without_arg_and_aux_are_read_too(save: Save) -> None:
    arrays = {name.partition(":")[2]: values for name, values in small_arrays().items()}
    check(read_mxnet(save(arrays)), small_arrays())


def test_images_may_have_another_name_than_data_and_one_channel(save: Save) -> None:
    nodes = [variable("input_0"), *NODES[1:]]
    start = read_mxnet(save(small_arrays(channels=1), nodes))
    assert start.channels == 1
    check(start, small_arrays(channels=1), channels=1)


def test_a_variable_that_two_layers_share_stays_shared(save: Save) -> None:
    nodes = [
        variable("data"),
        step("Pooling", "pool", [0], global_pool="True", pool_type="avg", kernel="(1, 1)"),
        step("Flatten", "flat", [1]),
        variable("w"),
        variable("b"),
        step("FullyConnected", "one", [2, 3, 4], num_hidden="3"),
        step("FullyConnected", "two", [5, 3, 4], num_hidden="3"),
    ]
    rng = np.random.default_rng(0)
    arrays = {"arg:w": rng.standard_normal((3, 3)), "arg:b": rng.standard_normal(3)}
    network = network_of(read_mxnet(save(arrays, nodes)))
    images = torch.randn(2, 3, 8, 8)
    weight, bias = (torch.from_numpy(values).float() for values in arrays.values())
    expected = (images.mean((2, 3)) @ weight.T + bias) @ weight.T + bias
    torch.testing.assert_close(network(images), expected)
    assert len(list(network.parameters())) == 2


def test_arrays_that_the_graph_does_not_use_are_logged(save: Save, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {**small_arrays(), "arg:extra": np.zeros(2)}
    check(read_mxnet(save(arrays)), small_arrays())
    assert "net-0001.params: not used by the graph: extra." in caplog.text


def test_a_symbol_without_parameters_is_an_error_that_says_what_is_expected(save: Save) -> None:
    symbol = save(small_arrays())
    symbol.with_name("net-0001.params").unlink()
    with pytest.raises(UsageError):
        read_mxnet(symbol)
    assert error_of(read_mxnet)(symbol) == (
        f"{symbol} has no parameters next to it. Expected net-0000.params or a later epoch."
    )


def test_parameters_without_a_symbol_are_an_error_that_says_what_is_expected(save: Save) -> None:
    symbol = save(small_arrays())
    params = symbol.with_name("net-0001.params")
    symbol.unlink()
    assert error_of(read_mxnet)(params) == (
        f"{params} has the arrays of a network that it does not describe. Put its symbol.json next to it, as "
        "MODEL-symbol.json for MODEL-0000.params."
    )


def test_a_missing_array_is_named(save: Save) -> None:
    arrays = small_arrays()
    del arrays["arg:fc_bias"]
    symbol = save(arrays)
    message = error_of(read_mxnet)(symbol)
    assert str(symbol.with_name("net-0001.params")) in message
    assert "fc_bias is missing" in message
    assert "net-symbol.json" in message


def test_an_array_of_another_shape_is_named_with_both_shapes(save: Save) -> None:
    arrays = {**small_arrays(), "arg:conv/1_weight": np.zeros((4, 3, 5, 5))}
    symbol = save(arrays)
    assert error_of(read_mxnet)(symbol) == (
        f"{symbol.with_name('net-0001.params')}: its arrays do not fit net-symbol.json: conv/1_weight has shape "
        "(4, 3, 5, 5), but its layer has (4, 3, 3, 3). Both files must be of one checkpoint."
    )


def test_an_unknown_operator_is_an_error_that_names_the_file_and_the_node(save: Save) -> None:
    symbol = save(
        small_arrays(), [*NODES[:-2], step("Correlation", "corr", [12]), *NODES[-2:-1], step("relu", "r", [13])]
    )
    assert error_of(read_mxnet)(symbol) == (
        f"{symbol}: node 'corr' uses the operator 'Correlation', which is not supported."
    )


def test_a_damaged_file_is_an_error_that_names_it(save: Save) -> None:
    symbol = save(small_arrays())
    params = symbol.with_name("net-0001.params")
    content = params.read_bytes()
    params.write_bytes(content[:-5])
    assert str(params) in error_of(read_mxnet)(symbol)
    params.write_bytes(content)
    symbol.write_text(symbol.read_text()[:-5])
    assert error_of(read_mxnet)(symbol).startswith(f"{symbol} is not an MXNet symbol: ")


@pytest.mark.parametrize("size", [224, 28, 32, 64])
def test_the_image_size_is_the_usual_one_that_the_linear_layer_accepts(save: Save, size: int) -> None:
    nodes = [
        variable("data"),
        variable("w"),
        step("Convolution", "conv", [0, 1], kernel="(4, 4)", num_filter="2", stride="(4, 4)", no_bias="True"),
        variable("fc_weight"),
        variable("fc_bias"),
        step("FullyConnected", "fc", [2, 3, 4], num_hidden="3"),
    ]
    arrays = {
        "arg:w": np.ones((2, 3, 4, 4)),
        "arg:fc_weight": np.ones((3, 2 * (size // 4) ** 2)),
        "arg:fc_bias": np.ones(3),
    }
    assert read_mxnet(save(arrays, nodes)).image_size == size


# The preprocessing


def with_statistics(mean: float, variance: float) -> dict[str, Array]:
    arrays = small_arrays()
    return {**arrays, "aux:bn_moving_mean": np.full(3, mean), "aux:bn_moving_var": np.full(3, variance)}


@pytest.mark.parametrize(
    ("mean", "variance", "expected_mean", "expected_std"),
    [
        (120.0, 3500.0, (0.0,) * 3, (1.0,) * 3),
        (0.3, 3500.0, (123.68, 116.779, 103.939), (1.0,) * 3),
        (0.01, 1.1, (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
    ],
    ids=["pixels", "mean subtracted", "mean and deviation"],
)
def test_the_batch_norm_of_the_images_shows_how_they_were_normalised(
    save: Save, mean: float, variance: float, expected_mean: Sequence[float], expected_std: Sequence[float]
) -> None:
    start = read_mxnet(save(with_statistics(mean, variance)))
    assert start.mean == pytest.approx([one / 255 for one in expected_mean])
    assert start.std == pytest.approx([one / 255 for one in expected_std])
    assert start.channel_order == "rgb"
    assert start.interpolation == "bilinear"


def test_without_such_a_batch_norm_the_mean_is_subtracted(save: Save) -> None:
    nodes = [
        variable("data"),
        variable("w"),
        step("Convolution", "conv", [0, 1], kernel="(3, 3)", num_filter="4", no_bias="True"),
        step("Pooling", "pool", [2], global_pool="True", pool_type="avg", kernel="(1, 1)"),
        step("Flatten", "flat", [3]),
    ]
    start = read_mxnet(save({"arg:w": np.ones((4, 3, 3, 3))}, nodes))
    assert start.mean == pytest.approx([one / 255 for one in (123.68, 116.779, 103.939)])
    assert start.std == pytest.approx([1 / 255] * 3)


def test_grey_images_are_scaled_to_one(save: Save) -> None:
    start = read_mxnet(save(small_arrays(channels=1)))
    assert (start.mean, start.std) == ((0.0,), (1.0,))


def test_an_export_of_gluon_has_gluons_preprocessing(save: Save) -> None:
    nodes = [dict(node) for node in NODES]
    nodes[6] = variable("conv/1_weight", __storage_type__="0", __shape__="(4, 0, 3, 3)")
    start = read_mxnet(save(small_arrays(), nodes))
    assert start.mean == pytest.approx((0.485, 0.456, 0.406))
    assert start.std == pytest.approx((0.229, 0.224, 0.225))
    check(start, small_arrays())


# Gluon's save_parameters


def gluon_arrays(num_classes: int = 6, *, seed: int = 0) -> dict[str, Array]:
    """squeezenet1.1 by Gluon's structural names: a fire module has a squeeze and two parallel expansions."""
    rng = np.random.default_rng(seed)

    def convolution(name: str, out: int, inside: int, kernel: int) -> dict[str, Array]:
        values = rng.standard_normal((out, inside, kernel, kernel)) * (2 / (inside * kernel**2)) ** 0.5
        return {f"{name}.weight": values, f"{name}.bias": rng.standard_normal(out) * 0.1}

    arrays = convolution("features.0", 64, 3, 3)
    before = 64
    for at, squeeze in ((3, 16), (4, 16), (6, 32), (7, 32), (9, 48), (10, 48), (11, 64), (12, 64)):
        arrays |= convolution(f"features.{at}.0.0", squeeze, before, 1)
        arrays |= convolution(f"features.{at}.1.0.0", 4 * squeeze, squeeze, 1)
        arrays |= convolution(f"features.{at}.1.1.0", 4 * squeeze, squeeze, 3)
        before = 8 * squeeze
    return arrays | convolution("output.0", num_classes, before, 1)


def squeezenet_logits(arrays: Mapping[str, Array], x: Tensor) -> Tensor:
    functional = nn.functional
    given = {name: torch.from_numpy(values).float() for name, values in arrays.items()}

    def convolved(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        y = functional.conv2d(x, given[f"{name}.weight"], given[f"{name}.bias"], stride, padding)
        return functional.relu(y)

    x = convolved(x, "features.0", 2)
    for at in range(2, 13):
        if at in (2, 5, 8):
            x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        else:
            x = convolved(x, f"features.{at}.0.0")
            wide = convolved(x, f"features.{at}.1.1.0", padding=1)
            x = torch.cat([convolved(x, f"features.{at}.1.0.0"), wide], dim=1)
    return convolved(x, "output.0").mean((2, 3))


def test_gluons_parameters_are_assigned_to_the_network_of_their_shapes(tmp_path: Path) -> None:
    path, arrays = tmp_path / "squeezenet.params", gluon_arrays()
    path.write_bytes(params_bytes(arrays))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = squeezenet_logits(arrays, images)
    for arch in ("squeezenet1.1", None):
        start = read_mxnet(path, arch)
        assert start.arch == "gluon:squeezenet1.1"
        assert (start.num_classes, start.channels, start.image_size) == (6, 3, 224)
        assert start.mean == pytest.approx((0.485, 0.456, 0.406))
        assert start.eval_resize == 256
        with torch.inference_mode():
            torch.testing.assert_close(network_of(start)(images), expected, rtol=1e-4, atol=1e-4)


def test_an_unknown_network_lists_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "squeezenet.params"
    path.write_bytes(params_bytes(gluon_arrays()))
    message = error_of(read_mxnet)(path, "squeezenet9")
    assert message.startswith("Gluon's model zoo has no network 'squeezenet9'. Known: resnet18_v1, ")


def test_gluons_parameters_of_another_network_are_refused_with_the_first_difference(tmp_path: Path) -> None:
    path = tmp_path / "squeezenet.params"
    path.write_bytes(params_bytes(gluon_arrays()))
    message = error_of(read_mxnet)(path, "alexnet")
    assert message.startswith(
        f"{path}: its weights do not fit gluon:alexnet: features.0.weight has shape (64, 3, 3, 3)"
    )
    assert message.endswith("Name another network with --arch.")


def test_gluons_parameters_that_fit_no_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.params"
    path.write_bytes(params_bytes({"0.weight": np.zeros((3, 4)), "0.bias": np.zeros(3)}))
    message = error_of(read_mxnet)(path)
    assert message.startswith(f"{path}: its weights fit no network of Gluon's model zoo (")
    assert "save it with export, which writes a symbol file too" in message


def test_a_file_without_arrays_or_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.params"
    for arrays in ({}, {"0.alpha": np.zeros(3)}, {"0.weight": np.zeros(3), "1.": np.zeros(1)}):
        path.write_bytes(params_bytes(arrays))
        assert str(path) in error_of(read_mxnet)(path)
