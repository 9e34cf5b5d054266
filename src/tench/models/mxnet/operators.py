"""MXNet's operators as PyTorch layers.

`OPERATORS` has a function for each operator: (attributes, inputs) -> layer. The inputs are tensors on the meta device;
they tell the layer the shapes it needs, such as the number of input channels. Parameters are not among them:
`PARAMETERS` lists what the remaining inputs of an operator are called in the layer. The defaults of the attributes are
MXNet's, which differ from torch's. Source: the parameter structures in src/operator/nn and src/operator/tensor of
MXNet.
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tench.models.layers import FixedScaleBatchNorm2d
from tench.models.mxnet.attributes import Attributes

MakeLayer = Callable[[Attributes, Sequence[Tensor]], nn.Module]

_LINEAR = ("weight", "bias")
_NORM = ("weight", "bias", "running_mean", "running_var")
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Convolution": _LINEAR,
    "Convolution_v1": _LINEAR,
    "Deconvolution": _LINEAR,
    "FullyConnected": _LINEAR,
    "BatchNorm": _NORM,
    "BatchNorm_v1": _NORM,
    "CuDNNBatchNorm": _NORM,
    "InstanceNorm": _LINEAR,
    "LayerNorm": _LINEAR,
    "LeakyReLU": ("weight",),
}
"""For the operators with parameters, the names in the layer of their inputs after the first."""


class Apply(nn.Module):
    """A layer that calls a function. function: a module-level function, or a partial of one, so that it pickles."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)

    def extra_repr(self) -> str:
        one = self.function
        if isinstance(one, partial):
            given = [*map(str, one.args), *(f"{key}={value}" for key, value in one.keywords.items())]
            return f"{one.func.__name__}, {', '.join(given)}"
        return one.__name__


def _convolution(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    return nn.Conv2d(
        *_windows(attributes, inputs[0]),
        dilation=attributes.pair("dilate", 1, low=1),
        groups=attributes.integer("num_group", 1, low=1),
        bias=not attributes.flag("no_bias", False),
    )


def _deconvolution(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    if any(attributes.integers("target_shape", ())):
        attributes.refuse("has a target_shape, which is not supported")
    return nn.ConvTranspose2d(
        *_windows(attributes, inputs[0]),
        output_padding=attributes.pair("adj", 0),
        groups=attributes.integer("num_group", 1, low=1),
        bias=not attributes.flag("no_bias", True),
        dilation=attributes.pair("dilate", 1, low=1),
    )


_Pair = tuple[int, int]


def _windows(attributes: Attributes, x: Tensor) -> tuple[int, int, _Pair, _Pair, _Pair]:
    """(channels in, channels out, kernel, stride, padding) of a convolution."""
    attributes.choice("layout", ("NCHW",), "NCHW")
    return (
        _channels(attributes, x, 4),
        attributes.integer("num_filter", low=1),
        attributes.pair("kernel", low=1),
        attributes.pair("stride", 1, low=1),
        attributes.pair("pad", 0),
    )


def _fully_connected(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    flatten = attributes.flag("flatten", True)
    width = math.prod(inputs[0].shape[1:]) if flatten else inputs[0].shape[-1]
    bias = not attributes.flag("no_bias", False)
    kind = FlattenedLinear if flatten and inputs[0].ndim > 2 else nn.Linear
    return kind(width, attributes.integer("num_hidden", low=1), bias)


class FlattenedLinear(nn.Linear):
    """A linear layer of all values of an image, in the order of (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1))


def _batch_norm(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    ndim = inputs[0].ndim
    axis = attributes.integer("axis", 1)
    if ndim not in (2, 4) or axis not in (1, 1 - ndim):
        attributes.refuse(f"normalises axis {axis} of {ndim} dimensions. Only axis 1 of 2 or 4 is supported")
    width = inputs[0].shape[1]
    eps, momentum = attributes.number("eps", 1e-3), 1 - attributes.number("momentum", 0.9)
    if not attributes.flag("fix_gamma", True):
        return (nn.BatchNorm2d if ndim == 4 else nn.BatchNorm1d)(width, eps=eps, momentum=momentum)
    return (FixedScaleBatchNorm2d if ndim == 4 else FixedScaleBatchNorm1d)(width, eps=eps, momentum=momentum)


class FixedScaleBatchNorm1d(FixedScaleBatchNorm2d):
    """The same for maps of one pixel: (B, C)."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 2:
            raise ValueError(f"expected (B, C), got {tuple(input.shape)}")


def _instance_norm(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    return nn.InstanceNorm2d(_channels(attributes, inputs[0], 4), eps=attributes.number("eps", 1e-3), affine=True)


def _layer_norm(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    if attributes.integer("axis", -1) not in (-1, inputs[0].ndim - 1):
        attributes.refuse("normalises an axis that is not the last, which is not supported")
    return nn.LayerNorm(inputs[0].shape[-1], eps=attributes.number("eps", 1e-5))


_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softrelu": nn.Softplus,
    "softsign": nn.Softsign,
}


def _activation(attributes: Attributes, _: Sequence[Tensor]) -> nn.Module:
    return _ACTIVATIONS[attributes.choice("act_type", list(_ACTIVATIONS), "")]()


def _leaky_relu(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    kind = attributes.choice("act_type", ("leaky", "elu", "prelu", "rrelu", "selu", "gelu"), "leaky")
    slope = attributes.number("slope", 0.25)
    match kind:
        case "leaky":
            return nn.LeakyReLU(slope)
        case "elu":
            return nn.ELU(slope)
        case "selu":
            return nn.SELU()
        case "gelu":
            return nn.GELU()
        case "rrelu":
            low, high = attributes.number("lower_bound", 0.125), attributes.number("upper_bound", 0.334)
            return nn.RReLU(low, high)
    slopes = attributes.integers("__shape__", (inputs[0].shape[1],))
    return nn.PReLU(1 if slopes == (1,) else inputs[0].shape[1])


def _pooling(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    kind = attributes.choice("pool_type", ("max", "avg", "sum"), "max")
    attributes.choice("layout", ("NCHW",), "NCHW")
    _channels(attributes, inputs[0], 4)
    if attributes.flag("global_pool", False):
        return nn.AdaptiveAvgPool2d(1) if kind == "avg" else Apply({"max": _global_max, "sum": _global_sum}[kind])
    kernel, stride = attributes.pair("kernel", low=1), attributes.pair("stride", 1, low=1)
    pad = attributes.pair("pad", 0)
    if attributes.node.op == "Pooling_v1" and (max(pad) or attributes.text("pooling_convention", "valid") != "valid"):
        attributes.refuse("pads in the way of old versions, which is not supported")
    ceil = attributes.choice("pooling_convention", ("valid", "full"), "valid") == "full"
    for side, window, step, around in zip(inputs[0].shape[2:], kernel, stride, pad, strict=True):
        if around >= window:
            attributes.refuse(f"pads {around} px around windows of {window} px")
        if side + 2 * around < window:
            attributes.refuse(f"has windows of {window} px, but its map has {side} px with padding {around}")
        spare = side + 2 * around - window
        if ceil and -(-spare // step) * step >= side + around:  # torch leaves this window out, MXNet does not
            attributes.refuse("has a window that lies completely in the padding")
    return Apply(
        partial(
            _pooled,
            kind=kind,
            kernel=kernel,
            stride=stride,
            pad=pad,
            ceil=ceil,
            counts_padding=attributes.flag("count_include_pad", True),
        )
    )


def _pooled(
    x: Tensor,
    *,
    kind: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    ceil: bool,
    counts_padding: bool,
) -> Tensor:
    if max(pad) * 2 > min(kernel):  # torch's limit for the padding of its poolings; MXNet's is the window
        low = -math.inf if kind == "max" else 0.0
        if kind == "avg" and not counts_padding:
            ones = F.pad(torch.ones_like(x[:1, :1]), (pad[1], pad[1], pad[0], pad[0]))
            area = F.avg_pool2d(ones, kernel, stride, 0, ceil)
            x = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
            return F.avg_pool2d(x, kernel, stride, 0, ceil) / area
        x, pad = F.pad(x, (pad[1], pad[1], pad[0], pad[0]), value=low), (0, 0)
    if kind == "max":
        return F.max_pool2d(x, kernel, stride, pad, ceil_mode=ceil)
    divisor = 1 if kind == "sum" else None
    return F.avg_pool2d(x, kernel, stride, pad, ceil, counts_padding, divisor)


def _global_max(x: Tensor) -> Tensor:
    return x.amax((2, 3), keepdim=True)


def _global_sum(x: Tensor) -> Tensor:
    return x.sum((2, 3), keepdim=True)


def _dropout(attributes: Attributes, _: Sequence[Tensor]) -> nn.Module:
    attributes.choice("mode", ("training",), "training")
    rate = attributes.number("p", 0.5)
    if not 0 <= rate < 1:
        attributes.refuse(f"has p={rate:g}, but it should be at least 0 and below 1")
    return nn.Dropout(rate)


def _lrn(attributes: Attributes, _: Sequence[Tensor]) -> nn.Module:
    size = attributes.integer("nsize", low=1, high=4096)
    if size % 2 == 0:
        attributes.refuse(f"has nsize={size}, but only odd sizes are supported")
    knorm = attributes.number("knorm", 2.0)
    return nn.LocalResponseNorm(size, attributes.number("alpha", 1e-4), attributes.number("beta", 0.75), knorm)


def _l2_normalization(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    mode = attributes.choice("mode", ("instance", "channel", "spatial"), "instance")
    ndim = inputs[0].ndim
    axes = {"instance": range(1, ndim), "channel": (1,), "spatial": range(2, ndim)}[mode]
    return Apply(partial(_unit_length, axes=tuple(axes), eps=attributes.number("eps", 1e-10)))


def _unit_length(x: Tensor, *, axes: tuple[int, ...], eps: float) -> Tensor:
    return x / (x.square().sum(axes, keepdim=True) + eps).sqrt()


def _concat(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    return Apply(partial(_concatenated, dim=_axis(attributes, inputs[0], "dim", 1)))


def _concatenated(*inputs: Tensor, dim: int) -> Tensor:
    return torch.cat(inputs, dim)


def _add_n(_: Attributes, __: Sequence[Tensor]) -> nn.Module:
    return Apply(_sum)


def _sum(*inputs: Tensor) -> Tensor:
    return functools.reduce(operator.add, inputs)


def _reshape(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    codes = attributes.integers("shape", attributes.integers("target_shape", ()))
    if not codes or attributes.flag("reverse", False):
        attributes.refuse("has no shape, or is reversed, which is not supported")
    shape = _reshaped(attributes, codes, tuple(inputs[0].shape))
    if shape[0] != inputs[0].shape[0]:
        attributes.refuse(f"reshapes to {shown_shape(codes)}, which joins or separates images")
    return Apply(partial(_viewed, shape=shape[1:]))


def shown_shape(sides: Sequence[int]) -> str:
    return f"({', '.join(map(str, sides))})"


def _viewed(x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    return x.reshape(len(x), *shape)


def _reshaped(attributes: Attributes, codes: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The new shape. Codes: 0 keep the side, -1 infer it, -2 keep all the rest, -3 join two, -4 split one in two."""
    sides: list[int] = []
    at, code = 0, iter(codes)
    try:
        for one in code:
            match one:
                case 0:
                    sides.append(shape[at])
                    at += 1
                case -2:
                    sides += shape[at:]
                    at = len(shape)
                case -3:
                    sides.append(shape[at] * shape[at + 1])
                    at += 2
                case -4:
                    parts = [next(code), next(code)]
                    known = max(parts) if -1 in parts else None
                    sides += [part if part != -1 else shape[at] // (known or 1) for part in parts]
                    at += 1
                case _:
                    sides.append(one)
                    at += 1
    except (IndexError, StopIteration, ZeroDivisionError):
        attributes.refuse(f"reshapes {shown_shape(shape)} to {shown_shape(codes)}, which does not fit")
    total, known_total = math.prod(shape), math.prod(side for side in sides if side != -1)
    if sides.count(-1) == 1 and known_total and total % known_total == 0:
        sides[sides.index(-1)] = total // known_total
    if min(sides) < 0 or math.prod(sides) != total:
        attributes.refuse(f"reshapes {shown_shape(shape)} to {shown_shape(codes)}, which does not fit")
    return tuple(sides)


def _flatten(_: Attributes, __: Sequence[Tensor]) -> nn.Module:
    return nn.Flatten()


def _pad(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    widths = attributes.integers("pad_width")
    mode = attributes.choice("mode", ("constant", "edge", "reflect"), "constant")
    if len(widths) != 8 or any(widths[:4]) or min(widths) < 0 or inputs[0].ndim != 4:
        attributes.refuse(f"has pad_width={shown_shape(widths)}. Only height and width of (B, C, H, W) can be padded")
    (top, bottom, left, right), value = widths[4:], attributes.number("constant_value", 0.0)
    modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}
    return Apply(partial(F.pad, pad=(left, right, top, bottom), mode=modes[mode], value=value))


def _reduced(function: str) -> MakeLayer:
    def make(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
        ndim = inputs[0].ndim
        axes = {axis % ndim for axis in attributes.integers("axis", ()) if -ndim <= axis < ndim}
        if attributes.flag("exclude", False):
            axes = set(range(ndim)) - axes
        if not axes or 0 in axes:
            attributes.refuse("reduces over the images of a batch, or over nothing")
        return Apply(
            partial(_REDUCTIONS[function], dim=tuple(sorted(axes)), keepdim=attributes.flag("keepdims", False))
        )

    return make


_REDUCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
}


def _transpose(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    ndim = inputs[0].ndim
    axes = attributes.integers("axes", ()) or tuple(reversed(range(ndim)))
    if sorted(axes) != list(range(ndim)) or axes[0] != 0:
        attributes.refuse(f"has axes={shown_shape(axes)}. The first axis, the images, must stay the first")
    return Apply(partial(torch.permute, dims=axes))


def _swap_axis(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    one, other = (_axis(attributes, inputs[0], name, None) for name in ("dim1", "dim2"))
    return Apply(partial(torch.transpose, dim0=one, dim1=other))


def _expand_dims(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    axis = attributes.integer("axis", low=-inputs[0].ndim, high=inputs[0].ndim)
    if axis == 0:
        attributes.refuse("has axis=0, the axis of the images of a batch, which must stay the first")
    return Apply(partial(torch.unsqueeze, dim=axis))


def _squeeze(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    sides = inputs[0].shape
    axes = attributes.integers("axis", ()) or tuple(axis for axis in range(1, len(sides)) if sides[axis] == 1)
    if any(not -len(sides) < axis < len(sides) or axis == 0 or sides[axis] != 1 for axis in axes):
        attributes.refuse(f"removes axes {shown_shape(axes)} of {shown_shape(sides)}, which do not all have length 1")
    return Apply(partial(torch.squeeze, dim=axes))


def _slice_axis(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    axis = _axis(attributes, inputs[0], "axis", None)
    side = inputs[0].shape[axis]
    begin, end = attributes.integer("begin", 0), attributes.optional_integer("end")
    start, stop, _ = slice(begin, end).indices(side)
    if stop <= start:
        attributes.refuse(f"takes nothing from axis {axis} of length {side}")
    return Apply(partial(torch.narrow, dim=axis, start=start, length=stop - start))


def _split(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    axis = _axis(attributes, inputs[0], "axis", 1)
    parts, side = attributes.integer("num_outputs", low=1, high=4096), inputs[0].shape[axis]
    if side % parts:
        attributes.refuse(f"splits axis {axis} of length {side} into {parts} parts, which does not fit")
    squeezes = attributes.flag("squeeze_axis", False)
    if squeezes and side != parts:
        attributes.refuse(f"squeezes parts of length {side // parts}")
    return Apply(partial(_parts, length=side // parts, axis=axis, squeezes=squeezes))


def _parts(x: Tensor, *, length: int, axis: int, squeezes: bool) -> tuple[Tensor, ...]:
    parts = torch.split(x, length, axis)
    return tuple(part.squeeze(axis) for part in parts) if squeezes else parts


def _upsampling(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    attributes.choice("sample_type", ("nearest",), "")
    _channels(attributes, inputs[0], 4)
    return nn.UpsamplingNearest2d(scale_factor=attributes.integer("scale", low=1, high=1024))


def _adaptive_mean(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    _channels(attributes, inputs[0], 4)
    sides = attributes.integers("output_size", (1,)) or (1,)
    return nn.AdaptiveAvgPool2d((sides[0], sides[-1]))


def _softmax(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    axis = _axis(attributes, inputs[0], "axis", -1)
    temperature = attributes.number("temperature", 1.0)
    if axis == 0 or temperature == 0:
        attributes.refuse("normalises over the images of a batch, or has the temperature 0")
    return Apply(partial(_tempered_softmax, dim=axis, temperature=temperature))


def _tempered_softmax(x: Tensor, *, dim: int, temperature: float) -> Tensor:
    return (x / temperature).softmax(dim)


def _softmax_activation(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    if attributes.choice("mode", ("instance", "channel"), "instance") != "channel" and inputs[0].ndim != 2:
        attributes.refuse("normalises over the whole map, which is not supported")
    return nn.Softmax(1)


def _clip(attributes: Attributes, _: Sequence[Tensor]) -> nn.Module:
    low, high = attributes.number("a_min"), attributes.number("a_max")
    return nn.ReLU6() if (low, high) == (0, 6) else nn.Hardtanh(low, high)


def _hard_sigmoid(attributes: Attributes, _: Sequence[Tensor]) -> nn.Module:
    return Apply(partial(_clipped_line, alpha=attributes.number("alpha", 0.2), beta=attributes.number("beta", 0.5)))


def _clipped_line(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _spatial_transformer(attributes: Attributes, inputs: Sequence[Tensor]) -> nn.Module:
    attributes.choice("transform_type", ("affine",), "affine")
    attributes.choice("sampler_type", ("bilinear",), "bilinear")
    return Apply(partial(_affine_view, size=attributes.pair("target_shape", low=1)))


def _affine_view(x: Tensor, affine: Tensor, *, size: tuple[int, int]) -> Tensor:
    grid = F.affine_grid(affine.reshape(-1, 2, 3), [len(x), x.shape[1], *size], align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


def _function(function: Callable[..., Tensor]) -> MakeLayer:
    return lambda _, __: Apply(function)


def _with_scalar(function: Callable[..., Tensor]) -> MakeLayer:
    return lambda attributes, _: Apply(partial(function, scalar=attributes.number("scalar")))


def _plus(x: Tensor, *, scalar: float) -> Tensor:
    return x + scalar


def _minus(x: Tensor, *, scalar: float) -> Tensor:
    return x - scalar


def _minus_from(x: Tensor, *, scalar: float) -> Tensor:
    return scalar - x


def _times(x: Tensor, *, scalar: float) -> Tensor:
    return x * scalar


def _divided_by(x: Tensor, *, scalar: float) -> Tensor:
    return x / scalar


def _dividing(x: Tensor, *, scalar: float) -> Tensor:
    return scalar / x


def _to_the_power(x: Tensor, *, scalar: float) -> Tensor:
    return x**scalar


def _at_least(x: Tensor, *, scalar: float) -> Tensor:
    return x.clamp(min=scalar)


def _at_most(x: Tensor, *, scalar: float) -> Tensor:
    return x.clamp(max=scalar)


def _identity(_: Attributes, __: Sequence[Tensor]) -> nn.Module:
    return nn.Identity()


def _cast(attributes: Attributes, _: Sequence[Tensor]) -> nn.Module:
    attributes.choice("dtype", ("float16", "float32", "float64", "bfloat16"), "")
    return nn.Identity()


def _channels(attributes: Attributes, x: Tensor, ndim: int) -> int:
    if x.ndim != ndim:
        attributes.refuse(f"gets {x.ndim} dimensions, but only {ndim} are supported")
    return x.shape[1]


def _axis(attributes: Attributes, x: Tensor, name: str, default: int | None) -> int:
    axis = attributes.integer(name, default, low=-x.ndim, high=x.ndim - 1) % x.ndim
    if axis == 0:
        attributes.refuse(f"has {name}=0, the axis of the images of a batch, which must stay separate")
    return axis


def _aliases(names: str, make: MakeLayer) -> dict[str, MakeLayer]:
    return dict.fromkeys(names.split(), make)


OPERATORS: Mapping[str, MakeLayer] = {
    **_aliases("Convolution Convolution_v1", _convolution),
    "Deconvolution": _deconvolution,
    "FullyConnected": _fully_connected,
    **_aliases("BatchNorm BatchNorm_v1 CuDNNBatchNorm", _batch_norm),
    "InstanceNorm": _instance_norm,
    "LayerNorm": _layer_norm,
    "Activation": _activation,
    "LeakyReLU": _leaky_relu,
    **_aliases("Pooling Pooling_v1", _pooling),
    "Dropout": _dropout,
    "LRN": _lrn,
    "L2Normalization": _l2_normalization,
    **_aliases("Concat concat", _concat),
    **_aliases("add_n ElementWiseSum element_wise_sum", _add_n),
    **_aliases("Reshape reshape", _reshape),
    **_aliases("Flatten flatten", _flatten),
    **_aliases("Pad pad", _pad),
    **{name: _reduced(name) for name in _REDUCTIONS},
    "sum_axis": _reduced("sum"),
    "max_axis": _reduced("max"),
    "min_axis": _reduced("min"),
    "transpose": _transpose,
    **_aliases("SwapAxis swapaxes", _swap_axis),
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "slice_axis": _slice_axis,
    **_aliases("SliceChannel split", _split),
    "UpSampling": _upsampling,
    "_contrib_AdaptiveAvgPooling2D": _adaptive_mean,
    "softmax": _softmax,
    "SoftmaxActivation": _softmax_activation,
    "clip": _clip,
    "hard_sigmoid": _hard_sigmoid,
    "SpatialTransformer": _spatial_transformer,
    # The network computes in fp32 throughout, so casts between floating-point types are left out.
    **_aliases("identity _copy BlockGrad stop_gradient IdentityAttachKLSparseReg", _identity),
    **_aliases("Cast cast amp_cast", _cast),
    **_aliases("elemwise_add broadcast_add broadcast_plus _plus _Plus _add _grad_add", _function(torch.add)),
    **_aliases("elemwise_sub broadcast_sub broadcast_minus _minus _Minus _sub", _function(torch.sub)),
    **_aliases("elemwise_mul broadcast_mul _mul _Mul", _function(torch.mul)),
    **_aliases("elemwise_div broadcast_div _div _Div", _function(torch.div)),
    **_aliases("broadcast_maximum _maximum _Maximum", _function(torch.maximum)),
    **_aliases("broadcast_minimum _minimum _Minimum", _function(torch.minimum)),
    **_aliases("broadcast_power _power _Power", _function(torch.pow)),
    **_aliases("_plus_scalar _PlusScalar", _with_scalar(_plus)),
    **_aliases("_minus_scalar _MinusScalar", _with_scalar(_minus)),
    **_aliases("_rminus_scalar _RMinusScalar", _with_scalar(_minus_from)),
    **_aliases("_mul_scalar _MulScalar", _with_scalar(_times)),
    **_aliases("_div_scalar _DivScalar", _with_scalar(_divided_by)),
    **_aliases("_rdiv_scalar _RDivScalar", _with_scalar(_dividing)),
    **_aliases("_power_scalar _PowerScalar", _with_scalar(_to_the_power)),
    **_aliases("_maximum_scalar _MaximumScalar", _with_scalar(_at_least)),
    **_aliases("_minimum_scalar _MinimumScalar", _with_scalar(_at_most)),
    "relu": _function(torch.relu),
    "sigmoid": _function(torch.sigmoid),
    "tanh": _function(torch.tanh),
    "softsign": _function(F.softsign),
    "exp": _function(torch.exp),
    "log": _function(torch.log),
    "sqrt": _function(torch.sqrt),
    "rsqrt": _function(torch.rsqrt),
    "square": _function(torch.square),
    "abs": _function(torch.abs),
    "negative": _function(torch.neg),
    "reciprocal": _function(torch.reciprocal),
    "erf": _function(torch.erf),
}
"""What makes the layer of each operator that is supported."""
