"""Networks from MXNet's symbol graphs: each operator computes its formula, and a graph is wired as it says.

The formulas are written with numpy or torch.nn.functional, from the descriptions of MXNet's operators.
"""

import copy
import dataclasses
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from tests.support.errors import error_of
from torch import Tensor, nn

from tench.models.mxnet.attributes import Attributes, GraphError
from tench.models.mxnet.graph import Graph, Node
from tench.models.mxnet.operators import OPERATORS, PARAMETERS
from tench.models.mxnet.symbol import SymbolNetwork, build_symbol, head_of, images_of

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
IMAGES = (2, 4, 5, 6)


@dataclasses.dataclass(frozen=True)
class Case:
    """An operator and its formula: (inputs, parameters by their role) -> output or outputs.

    inputs: their shapes. positive: the inputs are above 0.
    """

    ops: str
    attrs: Mapping[str, str]
    formula: Callable[[Sequence[Tensor], Mapping[str, Tensor]], Any]
    inputs: Sequence[Shape] = (IMAGES,)
    parameters: Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    positive: bool = False


def elementwise(ops: str, formula: Callable[..., Any], count: int = 1, *, positive: bool = False, **attrs: str) -> Case:
    """A case whose formula takes numpy arrays of doubles."""

    def on_tensors(inputs: Sequence[Tensor], _: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(np.asarray(formula(*[one.double().numpy() for one in inputs])))

    return Case(ops, attrs, on_tensors, (IMAGES,) * count, positive=positive)


NORM = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (4,))


def normalised(x: Tensor, given: Mapping[str, Tensor], eps: float, scale: Tensor | None) -> Tensor:
    def column(one: Tensor) -> Tensor:
        return one.reshape(-1, *[1] * (x.ndim - 2))

    y = (x - column(given["running_mean"])) / (column(given["running_var"]) + eps).sqrt()
    return (y if scale is None else y * column(scale)) + column(given["bias"])


def response(x: Array, alpha: float, beta: float, knorm: float, size: int) -> Array:
    squares = x**2
    found = np.empty_like(x)
    for channel in range(x.shape[1]):
        near = squares[:, max(channel - size // 2, 0) : channel + size // 2 + 1].sum(1)
        found[:, channel] = x[:, channel] / (knorm + alpha / size * near) ** beta
    return found


def affine_view(x: Array, affine: Array, height: int, width: int) -> Array:
    """Bilinear samples of each image where the affine map sends the target; outside the image is 0."""
    found = np.zeros((*x.shape[:2], height, width))
    rows, columns = x.shape[2:]
    for image, i, j in itertools.product(range(len(x)), range(height), range(width)):
        target = np.array([-1 + 2 * j / (width - 1), -1 + 2 * i / (height - 1), 1])
        across, down = affine[image].reshape(2, 3) @ target
        at_x, at_y = (across + 1) * (columns - 1) / 2, (down + 1) * (rows - 1) / 2
        top, left = math.floor(at_y), math.floor(at_x)
        for row, column in itertools.product((top, top + 1), (left, left + 1)):
            if 0 <= row < rows and 0 <= column < columns:
                share = (1 - abs(at_y - row)) * (1 - abs(at_x - column))
                found[image, :, i, j] += share * x[image, :, row, column]
    return found


def tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


CASES = [
    Case(
        "Convolution Convolution_v1",
        {"kernel": "(3, 3)", "num_filter": "6"},
        lambda x, p: F.conv2d(x[0], p["weight"], p["bias"]),
        parameters={"weight": (6, 4, 3, 3), "bias": (6,)},
    ),
    Case(
        "Convolution Convolution_v1",
        {
            "kernel": "(3, 2)",
            "num_filter": "6",
            "stride": "(2, 1)",
            "pad": "(1, 2)",
            "dilate": "(1, 2)",
            "num_group": "2",
            "no_bias": "True",
            "layout": "NCHW",
            "workspace": "1024",
            "cudnn_tune": "off",
        },
        lambda x, p: F.conv2d(x[0], p["weight"], None, (2, 1), (1, 2), (1, 2), 2),
        parameters={"weight": (6, 2, 3, 2)},
    ),
    Case(
        "Deconvolution",
        {"kernel": "(3, 3)", "num_filter": "6"},
        lambda x, p: F.conv_transpose2d(x[0], p["weight"]),
        parameters={"weight": (4, 6, 3, 3)},
    ),
    Case(
        "Deconvolution",
        {
            "kernel": "(3, 4)",
            "num_filter": "6",
            "stride": "(2, 3)",
            "pad": "(1, 0)",
            "adj": "(1, 2)",
            "num_group": "2",
            "no_bias": "False",
        },
        lambda x, p: F.conv_transpose2d(x[0], p["weight"], p["bias"], (2, 3), (1, 0), (1, 2), 2),
        parameters={"weight": (4, 3, 3, 4), "bias": (6,)},
    ),
    Case(
        "FullyConnected",
        {"num_hidden": "3"},
        lambda x, p: x[0].reshape(2, -1) @ p["weight"].T + p["bias"],
        parameters={"weight": (3, 120), "bias": (3,)},
    ),
    Case(
        "FullyConnected",
        {"num_hidden": "3", "flatten": "False", "no_bias": "1"},
        lambda x, p: x[0] @ p["weight"].T,
        parameters={"weight": (3, 6)},
    ),
    Case(
        "FullyConnected",
        {"num_hidden": "3"},
        lambda x, p: x[0] @ p["weight"].T + p["bias"],
        [(2, 7)],
        {"weight": (3, 7), "bias": (3,)},
    ),
    Case(
        "BatchNorm BatchNorm_v1 CuDNNBatchNorm",
        {},
        lambda x, p: normalised(x[0], p, 1e-3, None),
        parameters=NORM,
    ),
    Case(
        "BatchNorm BatchNorm_v1 CuDNNBatchNorm",
        {"eps": "0.1", "fix_gamma": "False", "axis": "1", "use_global_stats": "True"},
        lambda x, p: normalised(x[0], p, 0.1, p["weight"]),
        parameters=NORM,
    ),
    Case("BatchNorm", {}, lambda x, p: normalised(x[0], p, 1e-3, None), [(2, 4)], NORM),
    Case(
        "BatchNorm",
        {"fix_gamma": "0", "axis": "-1"},
        lambda x, p: normalised(x[0], p, 1e-3, p["weight"]),
        [(2, 4)],
        NORM,
    ),
    Case(
        "InstanceNorm",
        {},
        lambda x, p: F.instance_norm(x[0], weight=p["weight"], bias=p["bias"], eps=1e-3),
        parameters={"weight": (4,), "bias": (4,)},
    ),
    Case(
        "LayerNorm",
        {"axis": "-1", "eps": "0.01"},
        lambda x, p: (
            (x[0] - x[0].mean(-1, True)) / (x[0].var(-1, correction=0, keepdim=True) + 0.01).sqrt() * p["weight"]
            + p["bias"]
        ),
        parameters={"weight": (6,), "bias": (6,)},
    ),
    elementwise("Activation", lambda x: np.maximum(x, 0), act_type="relu"),
    elementwise("Activation", lambda x: 1 / (1 + np.exp(-x)), act_type="sigmoid"),
    elementwise("Activation", np.tanh, act_type="tanh"),
    elementwise("Activation", lambda x: np.log1p(np.exp(x)), act_type="softrelu"),
    elementwise("Activation", lambda x: x / (1 + np.abs(x)), act_type="softsign"),
    elementwise("LeakyReLU", lambda x: np.where(x > 0, x, 0.25 * x)),
    elementwise("LeakyReLU", lambda x: np.where(x > 0, x, 0.1 * x), act_type="leaky", slope="0.1"),
    elementwise("LeakyReLU", lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)), act_type="elu", slope="0.5"),
    elementwise(
        "LeakyReLU",
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
        act_type="selu",
    ),
    elementwise("LeakyReLU", lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))), act_type="gelu"),
    elementwise("LeakyReLU", lambda x: np.where(x > 0, x, (0.125 + 0.334) / 2 * x), act_type="rrelu"),
    Case(
        "LeakyReLU",
        {"act_type": "prelu"},
        lambda x, p: torch.where(x[0] > 0, x[0], x[0] * p["weight"].reshape(4, 1, 1)),
        parameters={"weight": (4,)},
    ),
    elementwise("Pooling Pooling_v1", lambda x: x.max((2, 3), keepdims=True), global_pool="True", kernel="(1, 1)"),
    elementwise(
        "Pooling Pooling_v1",
        lambda x: x.mean((2, 3), keepdims=True),
        global_pool="True",
        pool_type="avg",
        kernel="(7, 7)",
        stride="(2, 2)",
        pad="(3, 3)",
    ),
    elementwise("Pooling Pooling_v1", lambda x: x.sum((2, 3), keepdims=True), global_pool="1", pool_type="sum"),
    elementwise("Dropout", lambda x: x),
    elementwise("Dropout", lambda x: x, p="0.9", mode="training"),
    elementwise("LRN", lambda x: response(x, 1e-4, 0.75, 2, 3), nsize="3"),
    elementwise("LRN", lambda x: response(x, 0.5, 0.6, 1.5, 5), nsize="5", alpha="0.5", beta="0.6", knorm="1.5"),
    elementwise("L2Normalization", lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-10)),
    elementwise(
        "L2Normalization",
        lambda x: x / np.sqrt((x**2).sum(1, keepdims=True) + 0.1),
        mode="channel",
        eps="0.1",
    ),
    elementwise("L2Normalization", lambda x: x / np.sqrt((x**2).sum((2, 3), keepdims=True) + 1e-10), mode="spatial"),
    elementwise("Concat concat", lambda *x: np.concatenate(x, 1), 3, num_args="3"),
    elementwise("Concat concat", lambda *x: np.concatenate(x, 3), 2, num_args="2", dim="-1"),
    elementwise("add_n ElementWiseSum element_wise_sum", lambda *x: sum(x), 3, num_args="3"),
    elementwise("Reshape reshape", lambda x: x.reshape(2, 120), shape="(0, -1)"),
    elementwise("Reshape reshape", lambda x: x.reshape(2, 4, 30), shape="(0, 0, -3)"),
    elementwise("Reshape reshape", lambda x: x.reshape(2, 2, 2, 5, 6), shape="(0, -4, 2, -1, -2)"),
    elementwise("Reshape reshape", lambda x: x.reshape(2, 2, 2, 30), shape="(0,-4,-1,2,-3)"),
    elementwise("Reshape reshape", lambda x: x.reshape(2, 1, 12, 10), shape="[-1, 1, 12, 10]"),
    elementwise("Flatten flatten", lambda x: x.reshape(2, 120)),
    elementwise(
        "Pad pad",
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), constant_values=1.5),
        mode="constant",
        pad_width="(0, 0, 0, 0, 1, 2, 3, 0)",
        constant_value="1.5",
    ),
    elementwise(
        "Pad pad",
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), "edge"),
        mode="edge",
        pad_width="(0, 0, 0, 0, 1, 2, 3, 0)",
    ),
    elementwise(
        "Pad pad",
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), "reflect"),
        mode="reflect",
        pad_width="(0, 0, 0, 0, 1, 2, 3, 0)",
    ),
    elementwise("mean", lambda x: x.mean((2, 3)), axis="(2, 3)"),
    elementwise("mean", lambda x: x.mean((2, 3), keepdims=True), axis="(0, 1)", exclude="True", keepdims="True"),
    elementwise("sum sum_axis", lambda x: x.sum(1), axis="1"),
    elementwise("max max_axis", lambda x: x.max((1, 3)), axis="(1, -1)"),
    elementwise("min min_axis", lambda x: x.min(2, keepdims=True), axis="2", keepdims="1"),
    elementwise("transpose", lambda x: x.transpose(0, 2, 3, 1), axes="(0, 2, 3, 1)"),
    elementwise("SwapAxis swapaxes", lambda x: x.swapaxes(1, 3), dim1="1", dim2="3"),
    elementwise("expand_dims", lambda x: x[:, :, None], axis="2"),
    elementwise("expand_dims", lambda x: x[..., None], axis="-1"),
    Case("squeeze", {}, lambda x, _: x[0].reshape(2, 3, 4), [(2, 3, 1, 4, 1)]),
    Case("squeeze", {"axis": "-1"}, lambda x, _: x[0].reshape(2, 3, 1, 4), [(2, 3, 1, 4, 1)]),
    Case("squeeze", {"axis": "(2, 4)"}, lambda x, _: x[0].reshape(2, 3, 4), [(2, 3, 1, 4, 1)]),
    elementwise("slice_axis", lambda x: x[:, :, 1:4], axis="2", begin="1", end="4"),
    elementwise("slice_axis", lambda x: x[..., -3:], axis="-1", begin="-3", end="None"),
    Case("SliceChannel split", {"num_outputs": "2"}, lambda x, _: (x[0][:, :2], x[0][:, 2:])),
    Case(
        "SliceChannel split",
        {"num_outputs": "5", "axis": "2", "squeeze_axis": "True"},
        lambda x, _: tuple(x[0][:, :, row] for row in range(5)),
    ),
    elementwise("UpSampling", lambda x: x.repeat(3, 2).repeat(3, 3), scale="3", sample_type="nearest", num_args="1"),
    Case("_contrib_AdaptiveAvgPooling2D", {}, lambda x, _: x[0].mean((2, 3), keepdim=True)),
    Case(
        "_contrib_AdaptiveAvgPooling2D",
        {"output_size": "(5, 2)"},
        lambda x, _: x[0].reshape(2, 4, 5, 2, 3).mean(4),
    ),
    Case("_contrib_AdaptiveAvgPooling2D", {"output_size": "3"}, lambda x, _: F.adaptive_avg_pool2d(x[0], 3)),
    elementwise("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    elementwise("softmax", lambda x: np.exp(x / 3) / np.exp(x / 3).sum(1, keepdims=True), axis="1", temperature="3"),
    elementwise("SoftmaxActivation", lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), mode="channel"),
    Case("SoftmaxActivation", {}, lambda x, _: x[0].exp() / x[0].exp().sum(1, True), [(2, 7)]),
    elementwise("clip", lambda x: np.clip(x, 0, 6), a_min="0.0", a_max="6.0"),
    elementwise("clip", lambda x: np.clip(x, -0.5, 0.25), a_min="-0.5", a_max="0.25"),
    elementwise("hard_sigmoid", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    elementwise("hard_sigmoid", lambda x: np.clip(x + 0.1, 0, 1), alpha="1", beta="0.1"),
    Case(
        "SpatialTransformer",
        {"target_shape": "(4, 7)", "transform_type": "affine", "sampler_type": "bilinear"},
        lambda x, _: tensor(affine_view(x[0].double().numpy(), x[1].double().numpy(), 4, 7)),
        [IMAGES, (2, 6)],
    ),
    elementwise(
        "identity _copy BlockGrad stop_gradient Cast cast amp_cast IdentityAttachKLSparseReg",
        lambda x: x,
        dtype="float16",
    ),
    elementwise("elemwise_add broadcast_add broadcast_plus _plus _Plus _add _grad_add", np.add, 2),
    elementwise("elemwise_sub broadcast_sub broadcast_minus _minus _Minus _sub", np.subtract, 2),
    elementwise("elemwise_mul broadcast_mul _mul _Mul", np.multiply, 2),
    elementwise("elemwise_div broadcast_div _div _Div", np.divide, 2, positive=True),
    elementwise("broadcast_maximum _maximum _Maximum", np.maximum, 2),
    elementwise("broadcast_minimum _minimum _Minimum", np.minimum, 2),
    elementwise("broadcast_power _power _Power", np.power, 2, positive=True),
    Case("broadcast_mul", {}, lambda x, _: x[0] * x[1], [IMAGES, (2, 4, 1, 1)]),
    elementwise("_plus_scalar _PlusScalar", lambda x: x + 2.5, scalar="2.5"),
    elementwise("_minus_scalar _MinusScalar", lambda x: x - 2.5, scalar="2.5"),
    elementwise("_rminus_scalar _RMinusScalar", lambda x: 2.5 - x, scalar="2.5"),
    elementwise("_mul_scalar _MulScalar", lambda x: x * 2.5, scalar="2.5"),
    elementwise("_div_scalar _DivScalar", lambda x: x / 2.5, scalar="2.5"),
    elementwise("_rdiv_scalar _RDivScalar", lambda x: 2.5 / x, scalar="2.5", positive=True),
    elementwise("_power_scalar _PowerScalar", lambda x: x**2.5, scalar="2.5", positive=True),
    elementwise("_maximum_scalar _MaximumScalar", lambda x: np.maximum(x, 0.5), scalar="0.5"),
    elementwise("_minimum_scalar _MinimumScalar", lambda x: np.minimum(x, 0.5), scalar="0.5"),
    elementwise("relu", lambda x: np.maximum(x, 0)),
    elementwise("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    elementwise("tanh", np.tanh),
    elementwise("softsign", lambda x: x / (1 + np.abs(x))),
    elementwise("exp", np.exp),
    elementwise("log", np.log, positive=True),
    elementwise("sqrt", np.sqrt, positive=True),
    elementwise("rsqrt", lambda x: 1 / np.sqrt(x), positive=True),
    elementwise("square", np.square),
    elementwise("abs", np.abs),
    elementwise("negative", np.negative),
    elementwise("reciprocal", lambda x: 1 / x, positive=True),
    elementwise("erf", np.vectorize(math.erf)),
]
EACH = [pytest.param(op, case, id=f"{op}-{number}") for number, case in enumerate(CASES) for op in case.ops.split()]


def layer_of(op: str, attrs: Mapping[str, str], shapes: Sequence[Shape]) -> nn.Module:
    """The layer for one image of these shapes, in evaluation mode on the CPU."""
    node = Node(op, "node", attrs, ())
    with torch.device("meta"):
        layer = OPERATORS[op](Attributes(node), [torch.zeros(1, *shape[1:]) for shape in shapes])
    return layer.to_empty(device="cpu").eval()


def draw(shape: Shape, seed: int, *, positive: bool = False) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.abs() + 0.3 if positive else values


@pytest.mark.parametrize(("op", "case"), EACH)
def test_an_operator_computes_its_formula(op: str, case: Case) -> None:
    layer = layer_of(op, case.attrs, case.inputs)
    inputs = [draw(shape, seed, positive=case.positive) for seed, shape in enumerate(case.inputs)]
    given = {
        role: draw(shape, 10 + seed, positive=role == "running_var")
        for seed, (role, shape) in enumerate(case.parameters.items())
    }
    if given or layer.state_dict():
        counters = {name: one for name, one in layer.state_dict().items() if name == "num_batches_tracked"}
        layer.load_state_dict({**given, **counters})
    assert set(given) <= set(PARAMETERS.get(op, ()))
    with torch.no_grad():
        found = layer(*inputs)
    expected = case.formula(inputs, given)
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-5)


def test_every_operator_has_a_formula_here() -> None:
    assert {op for case in CASES for op in case.ops.split()} == set(OPERATORS)


def test_the_order_of_inputs_is_that_of_the_operator() -> None:
    one, other = draw(IMAGES, 0, positive=True), draw(IMAGES, 1, positive=True)
    for op, expected in (("_minus", one - other), ("_div", one / other), ("_power", one**other)):
        torch.testing.assert_close(layer_of(op, {}, [IMAGES, IMAGES])(one, other), expected)


def test_dropout_and_batch_norm_have_mxnets_defaults_in_training() -> None:
    dropout = layer_of("Dropout", {}, [IMAGES])
    assert isinstance(dropout, nn.Dropout)
    assert dropout.p == 0.5
    norm = layer_of("BatchNorm", {}, [IMAGES])
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.momentum == pytest.approx(0.1)
    assert not norm.weight.requires_grad
    trained = layer_of("BatchNorm", {"momentum": "0.99", "fix_gamma": "False"}, [IMAGES])
    assert isinstance(trained, nn.BatchNorm2d)
    assert trained.momentum == pytest.approx(0.01)
    assert trained.weight.requires_grad


# Pooling, compared with a loop over its windows


def pooled(
    x: Array, kind: str, kernel: Shape, stride: Shape, pad: Shape, *, is_full: bool = False, counts_padding: bool = True
) -> Array:
    """MXNet's Pooling: a window may leave the padding only with the convention 'full', and is clipped there."""
    sides = x.shape[2:]
    sizes = []
    for side, window, step, around in zip(sides, kernel, stride, pad, strict=True):
        spare = (side + 2 * around - window) / step
        sizes.append(1 + (math.ceil(spare) if is_full else math.floor(spare)))
    found = np.empty((*x.shape[:2], *sizes))
    for i, j in itertools.product(*map(range, sizes)):
        starts = [at * step - around for at, step, around in zip((i, j), stride, pad, strict=True)]
        ends = [
            min(start + window, side + around)
            for start, window, side, around in zip(starts, kernel, sides, pad, strict=True)
        ]
        area = math.prod(end - start for start, end in zip(starts, ends, strict=True))
        rows, columns = (
            slice(max(start, 0), min(end, side)) for start, end, side in zip(starts, ends, sides, strict=True)
        )
        window_values = x[:, :, rows, columns]
        if not counts_padding:
            area = window_values[0, 0].size
        total = window_values.sum((2, 3))
        found[:, :, i, j] = window_values.max((2, 3)) if kind == "max" else total / (area if kind == "avg" else 1)
    return found


WINDOWS: list[tuple[Shape, Shape, Shape]] = [
    # kernel, stride, pad
    ((2, 2), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (1, 1)),
    ((3, 2), (2, 3), (1, 0)),
    ((2, 3), (3, 2), (0, 1)),
    ((3, 3), (1, 1), (1, 1)),
    ((5, 5), (3, 3), (2, 2)),
    ((3, 3), (2, 2), (2, 2)),
    ((3, 1), (1, 2), (2, 0)),
    ((3, 2), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("counts_padding", [True, False])
@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
def test_pooling_computes_the_loop_over_its_windows(kind: str, convention: str, counts_padding: bool) -> None:
    num_compared = 0
    for (kernel, stride, pad), height, width in itertools.product(WINDOWS, range(5, 9), range(6, 9)):
        attrs = {
            "kernel": str(kernel),
            "stride": str(stride),
            "pad": str(pad),
            "pool_type": kind,
            "pooling_convention": convention,
            "count_include_pad": str(counts_padding),
        }
        x = draw((2, 3, height, width), height * width)
        sides = zip((height, width), kernel, stride, pad, strict=True)
        is_outside = any(
            math.ceil((side + 2 * around - window) / step) * step >= side + around
            for side, window, step, around in sides
        )
        if convention == "full" and is_outside:
            assert "a window that lies completely in the padding" in error_of(layer_of)("Pooling", attrs, [x.shape])
            continue
        layer = layer_of("Pooling", attrs, [x.shape])
        is_full = convention == "full"
        expected = pooled(x.double().numpy(), kind, kernel, stride, pad, is_full=is_full, counts_padding=counts_padding)
        torch.testing.assert_close(layer(x), tensor(expected).float(), rtol=1e-5, atol=1e-5)
        num_compared += 1
    assert num_compared > 80


def test_pooling_has_the_maximum_and_the_stride_1_as_defaults() -> None:
    x = draw((2, 3, 6, 7), 1)
    found = layer_of("Pooling", {"kernel": "(3, 2)"}, [tuple(x.shape)])(x)
    expected = pooled(x.double().numpy(), "max", (3, 2), (1, 1), (0, 0))
    torch.testing.assert_close(found, tensor(expected).float())


def test_a_window_that_lies_completely_in_the_padding_is_refused() -> None:
    attrs = {"kernel": "(2, 2)", "stride": "(2, 2)", "pad": "(1, 1)", "pooling_convention": "full"}
    with pytest.raises(GraphError, match="has a window that lies completely in the padding"):
        layer_of("Pooling", attrs, [(1, 3, 5, 5)])


# Source: src/operator/pooling_v1-inl.h pads with zeros before it pools, and divides by the whole window.
@pytest.mark.parametrize("attrs", [{"pad": "(1, 1)"}, {"pooling_convention": "full"}])
def test_the_old_pooling_which_pads_in_another_way_is_refused(attrs: dict[str, str]) -> None:
    with pytest.raises(GraphError, match="pads in the way of old versions, which is not supported"):
        layer_of("Pooling_v1", {"kernel": "(3, 3)", "stride": "(2, 2)", **attrs}, [(2, 3, 6, 6)])


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("Cast", {"dtype": "int32"}),
        ("LRN", {"nsize": "4"}),
        ("Dropout", {"mode": "always"}),
    ],
)
def test_what_torch_would_compute_differently_is_refused(op: str, attrs: dict[str, str]) -> None:
    with pytest.raises(GraphError, match="supported"):
        layer_of(op, attrs, [(2, 3, 6, 6)])


# Attributes


def attributes(**attrs: str) -> Attributes:
    return Attributes(Node("Convolution", "conv", attrs, ()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(3, 5)", (3, 5)),
        ("(3,5)", (3, 5)),
        ("[3, 5]", (3, 5)),
        ("(3L, 5L)", (3, 5)),
        ("(0L, -1L)", (0, -1)),
        ("7", (7,)),
        ("(7,)", (7,)),
        ("-1", (-1,)),
        ("()", ()),
        ("[]", ()),
    ],
)
def test_a_list_of_integers_is_read_in_the_forms_that_mxnet_writes(text: str, expected: tuple[int, ...]) -> None:
    assert attributes(a=text).integers("a") == expected


def test_an_attribute_that_is_none_or_missing_has_its_default() -> None:
    for given in (attributes(), attributes(a="None")):
        assert given.integer("a", 5) == 5
        assert given.number("a", 0.5) == 0.5
        assert given.pair("a", 2) == (2, 2)
        assert given.flag("a", True)
        assert given.text("a", None) is None
        assert given.optional_integer("a") is None
        with pytest.raises(GraphError, match=r"^node 'conv' \('Convolution'\) lacks the attribute a$"):
            given.integer("a")


@pytest.mark.parametrize(
    ("text", "expected"), [("True", True), ("true", True), ("1", True), ("False", False), ("0", False)]
)
def test_a_flag_is_read_in_the_forms_that_mxnet_writes(text: str, expected: bool) -> None:
    assert attributes(a=text).flag("a", not expected) is expected


@pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0000000e-03", ".001"])
def test_a_number_is_read_in_each_of_its_forms(text: str) -> None:
    assert attributes(a=text).number("a") == 0.001


HOSTILE = [
    "__import__('os').system('true')",
    "(" * 900,
    "-" * 900 + "1",
    "9" * 999,
    "1" + "0" * 400,
    "x",
    "",
    "\0",
    "(1, 'a')",
    "(1, 2.5)",
    "{1: 2}",
    "True",
    "1" * 5000,
    "(" + "1, " * 5000 + ")",
    "inf",
    "1e999",
    "9**9**9",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_attribute_of_another_type_is_refused_with_the_node(text: str) -> None:
    given = attributes(a=text)
    for read in (given.integer, given.number, given.integers, given.pair, given.optional_integer):
        message = error_of(read)("a")
        assert message.startswith("node 'conv' ('Convolution') has a=")
        assert len(message) < 500


@pytest.mark.parametrize(
    ("op", "attrs", "reason"),
    [
        ("Convolution", {"num_filter": "4"}, "lacks the attribute kernel"),
        ("Convolution", {"kernel": "(3, 3)"}, "lacks the attribute num_filter"),
        ("Convolution", {"kernel": "(3,)", "num_filter": "4"}, "has kernel=(3,), but it should be two integers"),
        ("Convolution", {"kernel": "(3, 3, 3)", "num_filter": "4"}, "has kernel=(3, 3, 3), but it should be two"),
        ("Convolution", {"kernel": "(0, 3)", "num_filter": "4"}, "should be two integers of at least 1"),
        ("Convolution", {"kernel": "(3, 3)", "num_filter": "-4"}, "has num_filter=-4"),
        (
            "Convolution",
            {"kernel": "(3, 3)", "num_filter": "4", "layout": "NHWC"},
            "has layout='NHWC', which is not supported. Supported: NCHW",
        ),
        ("Activation", {"act_type": "swish"}, "has act_type='swish', which is not supported. Supported: relu, sigmoid"),
        ("Activation", {}, "has act_type=''"),
        ("BatchNorm", {"axis": "3"}, "normalises axis 3 of 4 dimensions"),
        ("BatchNorm", {"fix_gamma": "maybe"}, "has fix_gamma='maybe', but it should be True or False"),
        ("Pooling", {"kernel": "(9, 9)"}, "has windows of 9 px, but its map has 5 px with padding 0"),
        ("Pooling", {"kernel": "(2, 2)", "pad": "(2, 2)"}, "pads 2 px around windows of 2 px"),
        ("Pooling", {"kernel": "(2, 2)", "pool_type": "lp"}, "has pool_type='lp'"),
        ("Pooling", {"kernel": "(2, 2)", "pooling_convention": "same"}, "has pooling_convention='same'"),
        ("Dropout", {"p": "1"}, "has p=1, but it should be at least 0 and below 1"),
        ("Reshape", {"shape": "(0, 7)"}, "reshapes (1, 4, 5, 6) to (0, 7), which does not fit"),
        ("Reshape", {"shape": "(0, -1, -1)"}, "which does not fit"),
        ("Reshape", {"shape": "(0, -4)"}, "which does not fit"),
        ("Reshape", {"shape": "(-3, 0, 0)"}, "which joins or separates images"),
        ("Reshape", {}, "has no shape"),
        ("SliceChannel", {"num_outputs": "3"}, "splits axis 1 of length 4 into 3 parts, which does not fit"),
        ("SliceChannel", {"num_outputs": "2", "squeeze_axis": "1"}, "squeezes parts of length 2"),
        ("slice_axis", {"axis": "2", "begin": "3", "end": "3"}, "takes nothing from axis 2 of length 5"),
        ("Concat", {"dim": "4"}, "has dim=4, but it should be an integer from -4 to 3"),
        ("squeeze", {"axis": "2"}, "removes axes (2) of (1, 4, 5, 6), which do not all have length 1"),
        ("transpose", {}, "The first axis, the images, must stay the first"),
        ("mean", {}, "reduces over the images of a batch, or over nothing"),
        ("mean", {"axis": "(0, 1)"}, "reduces over the images of a batch, or over nothing"),
        ("Pad", {"pad_width": "(0, 0, 1, 1, 0, 0, 0, 0)"}, "Only height and width of (B, C, H, W) can be padded"),
        ("UpSampling", {"scale": "2", "sample_type": "bilinear"}, "has sample_type='bilinear'"),
        ("Deconvolution", {"kernel": "(2, 2)", "num_filter": "4", "target_shape": "(9, 9)"}, "has a target_shape"),
    ],
)
def test_an_operator_that_is_not_supported_is_refused_with_its_attribute(
    op: str, attrs: Mapping[str, str], reason: str
) -> None:
    with pytest.raises(GraphError, match="^" + re.escape(f"node 'node' ('{op}') ")) as caught:
        layer_of(op, attrs, [IMAGES])
    assert reason in str(caught.value)


# Graphs


def variable(name: str, **attrs: str) -> Node:
    return Node("null", name, attrs, ())


def step(op: str, name: str, inputs: Sequence[int], **attrs: str) -> Node:
    return Node(op, name, attrs, tuple((number, 0) for number in inputs))


def graph(*nodes: Node) -> Graph:
    return Graph(nodes, (len(nodes) - 1, 0))


def network_of(*nodes: Node, image_size: int = 4, channels: int = 3, num_classes: int | None = None) -> SymbolNetwork:
    return build_symbol(graph(*nodes), image_size=image_size, channels=channels, num_classes=num_classes).eval()


def refusal_of(*nodes: Node, image_size: int = 4) -> str:
    with pytest.raises(GraphError) as caught:
        network_of(*nodes, image_size=image_size)
    return str(caught.value)


def linear(name: str, x: int, first: int, classes: int = 5) -> Node:
    """A fully connected layer of the variables `first` and the one after it."""
    return step("FullyConnected", name, [x, first, first + 1], num_hidden=str(classes))


MLP = [
    variable("data"),
    variable("fc1_weight"),
    variable("fc1_bias"),
    linear("fc1", 0, 1, 7),
    step("Activation", "relu1", [3], act_type="relu"),
    variable("fc2_weight"),
    variable("fc2_bias"),
    linear("fc2", 4, 5),
]


def test_a_network_computes_its_graph() -> None:
    network = network_of(*MLP)
    images = draw((3, 3, 4, 4), 0)
    state = network.state_dict()
    assert list(state) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    hidden = F.relu(images.flatten(1) @ state["fc1.weight"].T + state["fc1.bias"])
    expected = hidden @ state["fc2.weight"].T + state["fc2.bias"]
    torch.testing.assert_close(network(images), expected)
    assert network.mxnet_names == {name: name.replace(".", "_") for name in state}


def test_the_weights_are_drawn_as_mxnet_does() -> None:
    torch.manual_seed(0)
    weight = network_of(*MLP, image_size=64).state_dict()["fc1.weight"]
    assert weight.std().item() == pytest.approx((2 / (3 * 64 * 64)) ** 0.5, rel=0.02)


def test_a_network_on_the_meta_device_has_the_same_shapes() -> None:
    with torch.device("meta"):
        network = network_of(*MLP)
    assert all(one.is_meta for one in network.state_dict().values())
    real = network_of(*MLP).state_dict()
    assert {name: one.shape for name, one in network.state_dict().items()} == {n: one.shape for n, one in real.items()}


def test_a_network_gives_each_image_of_a_batch_what_it_gives_it_alone() -> None:
    network = network_of(
        variable("data"),
        step("Reshape", "grouped", [0], shape="(0, -1, 3, 2)"),
        step("transpose", "turned", [1], axes="(0, 2, 1, 3)"),
        step("mean", "means", [2], axis="(3,)"),
        step("Flatten", "flat", [3]),
        variable("w"),
        variable("b"),
        linear("fc", 4, 5),
    )
    images = draw((4, 3, 4, 4), 1)
    with torch.no_grad():
        torch.testing.assert_close(network(images), torch.cat([network(one[None]) for one in images]))


@pytest.mark.parametrize(
    "node",
    [
        step("slice_axis", "mixed", [0], axis="0", begin="0", end="None"),
        step("slice_axis", "mixed", [0]),
        step("SliceChannel", "mixed", [0], axis="0", num_outputs="1"),
        step("Concat", "mixed", [0, 0], dim="0"),
        step("SwapAxis", "mixed", [0], dim1="0", dim2="1"),
        step("expand_dims", "mixed", [0], axis="0"),
        step("squeeze", "mixed", [0], axis="0"),
        step("softmax", "mixed", [0], axis="0"),
        step("transpose", "mixed", [0], axes="(1, 0, 2, 3)"),
        step("sum", "mixed", [0], axis="0"),
        step("Reshape", "mixed", [0], shape="(-3, -2)"),
        step("LayerNorm", "mixed", [0, 1, 2], axis="0"),
    ],
    ids=lambda node: f"{node.op}",
)
def test_an_operator_over_the_images_of_a_batch_is_refused(node: Node) -> None:
    before = [variable("data")]
    if node.op == "LayerNorm":
        before += [variable("gamma"), variable("beta")]
    count = len(before)
    nodes = [*before, node, variable("w"), variable("b"), linear("fc", count, count + 1)]
    assert "node 'mixed'" in refusal_of(*nodes)


def test_an_unknown_operator_is_named_with_its_node() -> None:
    message = refusal_of(variable("data"), step("Correlation", "corr\x1b1", [0]))
    assert message == r"node 'corr\x1b1' uses the operator 'Correlation', which is not supported"


def test_a_variable_of_two_layers_is_one_parameter() -> None:
    nodes = [
        variable("data"),
        step("Flatten", "flat", [0]),
        variable("w"),
        variable("b"),
        linear("one", 1, 2, 48),
        linear("two", 4, 2, 48),
    ]
    network = network_of(*nodes).train()
    one, two = network.get_submodule("one"), network.get_submodule("two")
    assert isinstance(one, nn.Linear)
    assert isinstance(two, nn.Linear)
    assert one.weight is two.weight
    assert one.bias is two.bias
    assert len(list(network.parameters())) == 2
    images = draw((2, 3, 4, 4), 0)
    network(images).square().sum().backward()
    found = one.weight.grad
    weight, bias = one.weight.detach().clone().requires_grad_(), one.bias.detach()
    twice = (images.flatten(1) @ weight.T + bias) @ weight.T + bias
    twice.square().sum().backward()  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, weight.grad)
    assert network.mxnet_names["two.weight"] == network.mxnet_names["one.weight"] == "w"


def test_a_variable_that_is_an_operand_is_a_parameter() -> None:
    network = network_of(
        variable("data"),
        variable("scale", __shape__="(1, 3, 1, 1)"),
        step("broadcast_mul", "scaled", [0, 1]),
        variable("w"),
        variable("b"),
        linear("fc", 2, 3),
    )
    scale = network.get_parameter("scale")
    assert scale.requires_grad
    assert scale.tolist() == [[[[1]], [[1]], [[1]]]]
    images = draw((2, 3, 4, 4), 0)
    with torch.no_grad():
        before = network(images * 2)
        scale.mul_(2)
        torch.testing.assert_close(network(images), before)


def test_an_operand_without_a_shape_is_refused() -> None:
    for attrs in ({}, {"__shape__": "(0,)"}, {"__shape__": "()"}):
        message = refusal_of(variable("data"), variable("scale", **attrs), step("broadcast_mul", "scaled", [0, 1]))
        assert message == "node 'scaled' (broadcast_mul) uses 'scale', whose shape is unknown"


def test_a_cast_weight_is_the_variable_behind_the_cast() -> None:
    network = network_of(
        variable("data"),
        variable("w"),
        step("Cast", "w16", [1], dtype="float16"),
        variable("b"),
        step("amp_cast", "b16", [3], dtype="float16"),
        step("FullyConnected", "fc", [0, 2, 4], num_hidden="5"),
    )
    assert network.mxnet_names == {"fc.weight": "w", "fc.bias": "b"}
    assert network(draw((2, 3, 4, 4), 0)).shape == (2, 5)


def test_a_computed_weight_is_refused_with_both_nodes() -> None:
    message = refusal_of(
        variable("data"),
        variable("w", __shape__="(5, 48)"),
        step("square", "w2", [1]),
        step("FullyConnected", "fc", [0, 2], num_hidden="5", no_bias="True"),
    )
    assert "node 'fc'" in message
    assert "'w2'" in message


def test_a_missing_input_is_refused_with_its_role() -> None:
    message = refusal_of(variable("data"), variable("w"), step("FullyConnected", "fc", [0, 1], num_hidden="5"))
    assert message == "node 'fc' (FullyConnected) has no input for bias"


def test_a_node_with_too_many_or_no_inputs_is_refused() -> None:
    many = [variable("data"), variable("w"), variable("b"), variable("x")]
    message = refusal_of(*many, step("FullyConnected", "fc", [0, 1, 2, 3], num_hidden="5"))
    assert message == "node 'fc' (FullyConnected) has 4 inputs"
    assert refusal_of(variable("data"), step("relu", "a", [])) == "node 'a' (relu) has 0 inputs"
    for op in ("elemwise_add", "_plus_scalar", "SpatialTransformer"):
        given = {"scalar": "1", "target_shape": "(2, 2)"}
        count = 1 if op != "_plus_scalar" else 2
        assert "node 'a'" in refusal_of(variable("data"), step(op, "a", [0] * count, **given))


def test_a_shape_that_does_not_fit_is_refused_with_the_node_and_its_shapes() -> None:
    message = refusal_of(
        variable("data"),
        step("Pooling", "small", [0], kernel="(2, 2)", stride="(2, 2)"),
        step("elemwise_add", "sum", [0, 1]),
    )
    assert message.startswith("node 'sum' (elemwise_add) does not fit its input of shape (1, 3, 4, 4), (1, 3, 2, 2): ")


def test_an_output_that_is_not_logits_is_refused_with_its_shape() -> None:
    message = refusal_of(variable("data"), step("relu", "a", [0]))
    assert message == "its output has the shape (1, 3, 4, 4), not (images, classes)"


def test_an_output_that_a_node_does_not_have_is_refused() -> None:
    nodes = (variable("data"), step("relu", "a", [0]), Node("Flatten", "flat", {}, ((1, 3),)))
    assert refusal_of(*nodes) == "node 'flat' uses output 3 of 'a', which has fewer"
    with pytest.raises(GraphError, match="node 'a' does not compute the logits"):
        build_symbol(Graph(nodes[:2], (1, 2)), image_size=4, channels=3)


def test_a_graph_whose_output_is_a_variable_is_refused() -> None:
    with pytest.raises(GraphError):
        build_symbol(Graph((variable("data"), variable("x")), (1, 0)), image_size=4, channels=3)


def test_outputs_of_a_split_are_used_by_their_numbers() -> None:
    split = step("SliceChannel", "parts", [0], num_outputs="3")
    order = Node("Concat", "joined", {"dim": "1"}, ((1, 2), (1, 0)))
    network = network_of(variable("data"), split, order, step("Flatten", "flat", [2]), image_size=1)
    images = draw((2, 3, 1, 1), 0)
    torch.testing.assert_close(network(images), images.flatten(1)[:, [2, 0]])


def test_logits_of_one_pixel_are_flattened() -> None:
    network = network_of(
        variable("data"),
        variable("w"),
        step("Convolution", "conv", [0, 1], kernel="(4, 4)", num_filter="5", no_bias="True"),
    )
    assert network(draw((2, 3, 4, 4), 0)).shape == (2, 5)


def test_the_images_are_the_variable_called_data_or_the_first_that_is_no_parameter() -> None:
    assert images_of(graph(*MLP)) == 0
    nodes = [variable("w"), variable("b"), variable("x"), linear("fc", 2, 0)]
    assert images_of(graph(*nodes)) == 2
    nodes = [variable("scale"), variable("x"), step("broadcast_mul", "y", [1, 0])]
    assert images_of(graph(*nodes), frozenset({"scale"})) == 1
    nodes = [variable("scale"), variable("data"), step("broadcast_mul", "y", [1, 0])]
    assert images_of(graph(*nodes)) == 1
    with pytest.raises(GraphError, match=r"^no variable stands for the images$"):
        images_of(graph(variable("a"), step("relu", "b", [0])), frozenset({"a"}))


@pytest.mark.parametrize(
    ("head", "role"),
    [
        (step("FullyConnected", "head", [0, 1, 2], num_hidden="5"), "fc"),
        (step("Convolution", "head", [0, 1, 2], kernel="(4, 4)", num_filter="5"), "conv"),
    ],
)
def test_another_number_of_classes_replaces_the_head(head: Node, role: str) -> None:
    nodes = [variable("data"), variable("w"), variable("b"), head, step("Flatten", "flat", [3])]
    assert head_of(graph(*nodes)) == 3
    network = network_of(*nodes, num_classes=9)
    assert network(draw((2, 3, 4, 4), 0)).shape == (2, 9), role
    assert network.get_submodule("head").state_dict()["weight"].shape[0] == 9
    assert network_of(*nodes)(draw((2, 3, 4, 4), 0)).shape == (2, 5)


def test_only_the_last_layer_is_replaced() -> None:
    state = network_of(*MLP, num_classes=9).state_dict()
    assert [tuple(one.shape) for one in state.values()] == [(7, 48), (7,), (9, 7), (9,)]


def test_a_network_that_ends_in_another_operator_has_no_head() -> None:
    nodes = [*MLP, step("Activation", "last", [7], act_type="tanh")]
    assert head_of(graph(*nodes)) is None


NAMES = [
    "a/b.c",
    "größe 1",
    "",
    ".",
    "0",
    "forward",
    "training",
    "mxnet_names",
    "ARCH",
    "_calls",
    "_logits",
    "_free",
    "_modules",
    "_parameters",
    "_buffers",
    "_forward_hooks",
    "__class__",
    "__dict__",
    "a\0b\n",
    "x" * 5000,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_layer_may_have_any_name(name: str) -> None:
    network = network_of(variable("data"), variable("w"), variable("b"), linear(name, 0, 1))
    images = draw((2, 3, 4, 4), 0)
    weight, bias = network.state_dict().values()
    torch.testing.assert_close(network(images), images.flatten(1) @ weight.T + bias)
    assert list(network.mxnet_names) == list(network.state_dict())


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_operand_may_have_any_name(name: str) -> None:
    network = network_of(
        variable("data"),
        step("Flatten", "flat", [0]),
        variable(name, __shape__="(1, 48)"),
        step("broadcast_mul", "scaled", [1, 2]),
    )
    images = draw((2, 3, 4, 4), 0)
    torch.testing.assert_close(network(images), images.flatten(1))
    assert list(network.mxnet_names.values()) == [name]


def test_two_nodes_may_have_the_same_name_or_names_that_differ_in_odd_characters() -> None:
    names = ["a", "a", "a.b", "a_b", "a/b"]
    nodes = [variable("data"), step("Flatten", "flat", [0])]
    for name in names:
        x = len(nodes) - 1
        nodes += [variable(f"{len(nodes)}w"), variable(f"{len(nodes)}b"), linear(name, x, len(nodes), 48)]
    network = network_of(*nodes)
    assert len(network.state_dict()) == 2 * len(names)
    assert len(set(network.mxnet_names.values())) == 2 * len(names)
    assert network(draw((2, 3, 4, 4), 0)).shape == (2, 48)


def test_a_network_can_be_copied_and_pickled() -> None:
    network = network_of(
        variable("data"),
        step("SliceChannel", "parts", [0], num_outputs="3"),
        Node("_plus", "sum", {}, ((1, 0), (1, 2))),
        step("_mul_scalar", "scaled", [2], scalar="2"),
        step("Pooling", "pool", [3], kernel="(2, 2)"),
        step("clip", "clipped", [4], a_min="-1", a_max="1"),
        variable("w"),
        variable("b"),
        linear("fc", 5, 6),
    )
    images = draw((2, 3, 4, 4), 0)
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    expected = network(images)
    for other in (copy.deepcopy(network), loaded):
        torch.testing.assert_close(other(images), expected)
        assert other.mxnet_names == network.mxnet_names
    assert "scalar=2.0" in repr(network)


def test_a_graph_from_json_is_built_too() -> None:
    again = Graph.from_json(json.dumps(graph(*MLP).to_json()), "net-symbol.json")
    network = build_symbol(again, image_size=4, channels=3)
    assert list(network.state_dict()) == list(network_of(*MLP).state_dict())


def test_a_long_chain_is_built() -> None:
    nodes = [variable("data"), step("Flatten", "flat", [0])]
    nodes += [step("_plus_scalar", f"a{number}", [number + 1], scalar="1") for number in range(2000)]
    images = draw((2, 3, 1, 1), 0)
    torch.testing.assert_close(network_of(*nodes, image_size=1)(images), images.flatten(1) + 2000)


def test_a_relu_overwrites_its_input_only_if_nothing_else_uses_it() -> None:
    conv = {"op": "Convolution", "name": "conv", "attrs": {"kernel": "(1, 1)", "num_filter": "2"}}
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "conv_weight", "inputs": []},
        {"op": "null", "name": "conv_bias", "inputs": []},
        {**conv, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]},
        {"op": "Activation", "name": "used_twice", "attrs": {"act_type": "relu"}, "inputs": [[3, 0, 0]]},
        {"op": "elemwise_add", "name": "sum", "inputs": [[3, 0, 0], [4, 0, 0]]},
        {"op": "Activation", "name": "used_once", "attrs": {"act_type": "relu"}, "inputs": [[5, 0, 0]]},
        {"op": "Flatten", "name": "flat", "inputs": [[6, 0, 0]]},
    ]
    graph = Graph.from_json(json.dumps({"nodes": nodes, "heads": [[7, 0, 0]]}), "net-symbol.json")
    network = build_symbol(graph, image_size=1, channels=3)
    relus = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.ReLU)}
    assert {name: layer.inplace for name, layer in relus.items()} == {"used_twice": False, "used_once": True}
    images = torch.randn(5, 3, 1, 1)
    before = network.get_submodule("conv")(images)
    assert torch.equal(network(images), torch.relu(before + torch.relu(before)).flatten(1))
    network(images).sum().backward()
    weight = network.get_parameter("conv.weight")
    assert weight.grad is not None
