"""Read weights that MXNet or Gluon saved, with the preprocessing of its programs.

    NAME-symbol.json with NAME-0012.params    a checkpoint of the Module API, or an export of Gluon
    weights.params                            Gluon's save_parameters, for a network of its model zoo

A symbol graph is built as a PyTorch network (`models.mxnet.symbol`). If it computes the same as one of our networks,
for the same weights, that network is used, because it can be trained, adapted and exported under its own name. Any
other graph is kept as it is. The files do not contain the size of the images: it is the usual size that the graph's
layers accept.
"""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tench.errors import TenchError, UsageError, nearest, some
from tench.files import is_there
from tench.input.views import usual_resize
from tench.models import gluon
from tench.models.mxnet import source as mxnet
from tench.models.mxnet.attributes import GraphError
from tench.models.mxnet.graph import VARIABLE, Graph, read_graph
from tench.models.mxnet.symbol import SymbolNetwork, build_symbol, images_of
from tench.models.source import NetworkSource
from tench.weights.by_order import Layer, layers_of, num_outputs, start_in_order, state_in_order, with_counters
from tench.weights.known import Start, imagenet_input
from tench.weights.mxnet_params import read_params
from tench.weights.recognise import SYMBOL
from tench.weights.same_logits import probe_images, same_logits

_log = logging.getLogger("tench")

_ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_var": "running_var"}
_USUAL = "224 299 28 32 256 227 331 384 240 260 288 300 320 380 448 512 192 160 128 112 96 64 56 48 40"
_SIZES = tuple(map(int, _USUAL.split()))
"""Sides to try, the usual ones first, pixels."""
_SMALL_STRIDE, _SMALL_SIZE = 8, 28
"""A network that shrinks the image less than this was made for images of this many pixels."""
_SOURCES = cast(tuple[NetworkSource, NetworkSource], (mxnet, gluon))
"""Our networks that a graph may be, by whether Gluon wrote it."""


def read_mxnet(path: Path, arch: str | None = None) -> Start:
    """The weights in a checkpoint or a parameter file, and the network they belong to.

    path: of either file of a checkpoint; the newest parameters if there are several. arch: the network, by a name of
    MXNet's example or of Gluon's zoo; needed only if there is no symbol file and the shapes do not tell. Raises
    UsageError if the network is unknown, TenchError if a file is damaged or does not fit.
    """
    symbol, params = _files(path)
    arrays = read_params(params)
    if symbol is None:
        return _without_symbol(params, arrays, arch)
    arrays = {re.sub(r"^(arg|aux):", "", name): tensor for name, tensor in arrays.items()}
    network, graph, channels, image_size = _network(symbol, params, arrays)
    is_gluon = any("__storage_type__" in node.attrs for node in graph.nodes)
    layers = layers_of(network.state_dict())
    found = _as_ours(network, layers, image_size, channels, _SOURCES[is_gluon], arch)
    if found is None and is_gluon:
        found = _as_ours(network, _by_number(layers), image_size, channels, _SOURCES[is_gluon], arch)
    if arch is not None and found is None:
        system = _SOURCES[is_gluon]
        if not system.knows(arch):
            raise UsageError(f"No network is called {system.NAME}:{arch}.{nearest(arch, system.names())}")
        raise UsageError(f"{symbol} does not compute the same as {system.NAME}:{arch}. Leave --arch out.")
    name, module = found or (None, network)
    return Start(
        state=dict(module.state_dict()),
        source=str(params),
        system="Gluon" if is_gluon else "MXNet",
        arch=name or SymbolNetwork.ARCH,
        graph=None if name else graph,
        num_classes=network.num_classes,
        channels=channels,
        image_size=image_size,
        is_assumed=True,
        notes=(
            f"{symbol.name}: "
            + (
                f"computes the same as {name}."
                if name
                else "matches none of tench's networks; the graph itself is used."
            ),
        ),
        **(gluon_input(image_size, channels) if is_gluon else example_input(network, channels, image_size)),
    )


def _files(path: Path) -> tuple[Path | None, Path]:
    """(symbol, params) of a checkpoint, given either."""
    if path.name.endswith(SYMBOL):
        prefix = path.name.removesuffix(SYMBOL)
        numbered = {
            int(match[1]): other
            for other in path.parent.glob("*.params")
            if (match := re.fullmatch(re.escape(prefix) + r"-(\d+)\.params", other.name))
        }
        if not numbered:
            raise UsageError(f"{path} has no parameters next to it. Expected {prefix}-0000.params or a later epoch.")
        if len(numbered) > 1:
            newest = numbered[max(numbered)].name
            _log.info("%s: using the newest of %d files of parameters, %s.", path, len(numbered), newest)
        return path, numbered[max(numbered)]
    prefix = re.sub(r"(-\d+)?\.params$", "", path.name)
    symbol = path.with_name(prefix + SYMBOL)
    return (symbol if is_there(symbol) else None), path


def _network(symbol: Path, params: Path, arrays: Mapping[str, Tensor]) -> tuple[SymbolNetwork, Graph, int, int]:
    """The network with its weights, its graph, and the channels and size of its images."""
    graph = read_graph(symbol)
    try:
        graph = _named(graph, arrays)
        channels, image_size = _input_of(graph, arrays)
        with torch.device("meta"):
            network = build_symbol(graph, image_size=image_size, channels=channels)
    except GraphError as error:
        raise TenchError(f"{symbol}: {error}.") from error
    problems = _differences(network, arrays)
    if problems:
        raise TenchError(
            f"{params}: its arrays do not fit {symbol.name}: {some(problems, 3)}. Both files must be of one checkpoint."
        )
    integers = [name for name in network.mxnet_names.values() if not arrays[name].is_floating_point()]
    if integers:
        raise TenchError(
            f"{params}: {some(integers, 3)} {'has' if len(integers) == 1 else 'have'} integer values. Quantized "
            "networks are not supported. Convert the original network."
        )
    theirs = {name: arrays[network.mxnet_names[name]] for name in network.mxnet_names}
    network.load_state_dict(with_counters(network, theirs), assign=True)
    network.tie()
    unused = sorted(arrays.keys() - set(network.mxnet_names.values()))
    if unused:
        _log.warning("Note: %s: not used by the graph: %s.", params, some(unused))
    return network, graph, channels, image_size


def _named(graph: Graph, arrays: Mapping[str, Tensor]) -> Graph:
    """The graph with the images called `data`, and with the shape of each array in its variable."""
    images = images_of(graph, frozenset(arrays))
    nodes = []
    for number, node in enumerate(graph.nodes):
        if number == images:
            node = dataclasses.replace(node, name="data", attrs={})
        elif node.op == VARIABLE and node.name in arrays:
            node = dataclasses.replace(node, attrs={**node.attrs, "__shape__": str(tuple(arrays[node.name].shape))})
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _differences(network: SymbolNetwork, arrays: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{theirs} is missing" for theirs in network.mxnet_names.values() if theirs not in arrays]
    return missing + [
        f"{theirs} has shape {tuple(arrays[theirs].shape)}, but its layer has {shape}"
        for theirs, shape in _misfits(network, arrays).items()
    ]


def _misfits(network: SymbolNetwork, arrays: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes that the network has instead of those of some arrays, by MXNet's names."""
    expected = network.state_dict()
    return {
        theirs: tuple(expected[ours].shape)
        for ours, theirs in network.mxnet_names.items()
        if theirs in arrays and arrays[theirs].shape != expected[ours].shape
    }


def _input_of(graph: Graph, arrays: Mapping[str, Tensor]) -> tuple[int, int]:
    """(channels, image size) that the graph's layers accept, with the arrays' shapes. If none does, the usual ones."""
    for channels in (3, 1):
        for size in _SIZES:
            if (network := _on_meta(graph, channels, size)) is None:
                continue
            if not _differences(network, arrays):
                if size == _SIZES[0] and _stride(network, channels, size) < _SMALL_STRIDE:
                    small = _on_meta(graph, channels, _SMALL_SIZE)
                    if small is not None and not _differences(small, arrays):
                        return channels, _SMALL_SIZE
                return channels, size
            if any(arrays[name].ndim != 2 for name in _misfits(network, arrays)):
                break  # only linear layers depend on the size
    return 3, _SIZES[0]


def _on_meta(graph: Graph, channels: int, size: int) -> SymbolNetwork | None:
    """The network without memory for its weights; None if the graph does not accept such images."""
    try:
        with torch.device("meta"):
            return build_symbol(graph, image_size=size, channels=channels)
    except GraphError:
        return None


def _stride(network: nn.Module, channels: int, size: int) -> int:
    """How much the network shrinks the image before it averages it."""
    sides = [size]

    def note(_: nn.Module, __: object, found: Tensor | tuple[Tensor, ...]) -> None:
        sides.extend(one.shape[-1] for one in (found if isinstance(found, tuple) else (found,)) if one.ndim == 4)

    handles = [layer.register_forward_hook(note) for layer in network.children()]
    with torch.device("meta"), torch.no_grad():
        network(torch.zeros(1, channels, size, size))
    for handle in handles:
        handle.remove()
    return size // min(side for side in sides if side > 1)


def _as_ours(
    network: SymbolNetwork,
    layers: Sequence[Layer],
    image_size: int,
    channels: int,
    source: NetworkSource,
    arch: str | None,
) -> tuple[str, nn.Module] | None:
    """(name, module with the weights) of our network that computes the same; None if there is none."""
    images = probe_images(channels, image_size)
    expected: Tensor | None = None
    for name in [arch] if arch else _by_depth(source.names(), len(layers)):
        try:
            with torch.device("meta"):
                module = source.build(name, num_classes=network.num_classes, image_size=image_size, channels=channels)
                state = state_in_order(module, layers)
        except Exception:  # each network has its own error for an image that is too small for it
            continue
        module.load_state_dict(state, assign=True)
        with torch.inference_mode():
            expected = network.eval()(images) if expected is None else expected
            found = module.eval()(images)
        if same_logits(found, expected):
            return f"{source.NAME}:{name}", module
    return None


def _by_number(layers: Sequence[Layer]) -> list[Layer]:
    """The layers in the order in which Gluon created them, by the numbers in their names: stage2_conv1_fwd.

    In its ResNets of 18 and 34 layers, a shortcut is created after the block, but comes before it in the graph.
    """
    first: dict[str, int] = {}
    keys = []
    for place, layer in enumerate(layers):
        match = re.fullmatch(r"(.*?)(?:conv|batchnorm)(\d+)_fwd", layer.name)
        prefix, number = (match[1], int(match[2])) if match else (layer.name, 0)
        keys.append((first.setdefault(prefix, place), number, place))
    return [layers[place] for _, _, place in sorted(keys)]


def _by_depth(names: list[str], num_layers: int) -> list[str]:
    """The names, those with the nearest number of layers first, so that the right one is usually tried first."""

    def distance(name: str) -> int:
        digits = re.search(r"\d+", name)
        return abs(int(digits[0]) - num_layers) if digits else num_layers

    return sorted(names, key=distance)


def _without_symbol(path: Path, arrays: Mapping[str, Tensor], arch: str | None) -> Start:
    """The weights of Gluon's save_parameters, whose names are places in the network: features.0.weight."""
    if not any("." in name for name in arrays):
        raise UsageError(
            f"{path} has the arrays of a network that it does not describe. Put its {SYMBOL.removeprefix('-')} next to "
            "it, as MODEL-symbol.json for MODEL-0000.params."
        )
    renamed = {}
    for name, tensor in arrays.items():
        owner, _, role = name.rpartition(".")
        renamed[f"{owner}.{_ROLES.get(role, role)}"] = tensor
    layers = layers_of(renamed)
    if not num_outputs(layers):
        raise TenchError(
            f"{path}: its last layer, {layers[-1].name}, has no weights, so it is not a classifier of Gluon."
        )
    if arch is not None and not gluon.knows(arch):
        raise UsageError(f"Gluon's model zoo has no network {arch!r}. Known: {', '.join(gluon.names())}.")
    names = [arch] if arch else _by_depth(gluon.names(), len(layers))
    try:
        return start_in_order(path, _SOURCES[True], names, layers, gluon_input)
    except ValueError as error:
        if arch:
            raise TenchError(
                f"{path}: its weights do not fit gluon:{arch}: {error}. Name another network with --arch."
            ) from error
        raise UsageError(
            f"{path}: its weights fit no network of Gluon's model zoo ({error}). For a network of your own, save it "
            "with export, which writes a symbol file too."
        ) from error


def gluon_input(image_size: int, channels: int = 3) -> dict[str, Any]:
    """The preprocessing of Gluon's zoo; grey images are scaled to 0..1.

    Source: the docstrings of python/mxnet/gluon/model_zoo/vision.
    """
    if channels == 1:
        return _in_bytes((0.0,), (255.0,), image_size, image_size)
    return imagenet_input(image_size)


def example_input(network: nn.Module, channels: int, image_size: int) -> dict[str, Any]:
    """The preprocessing of MXNet's example/image-classification.

    Grey images are scaled to 0..1. From others the mean is subtracted; newer versions also divide by the standard
    deviation. If the network first normalises the images, its running statistics show what it was trained on.
    """
    if channels == 1:
        return _in_bytes((0.0,), (255.0,), image_size, image_size)
    mean, std = _MEAN, (1.0,) * 3
    first = next((one for one in network.modules() if isinstance(one, nn.BatchNorm2d | nn.Conv2d)), None)
    if isinstance(first, nn.BatchNorm2d) and first.running_mean is not None and first.running_var is not None:
        if float(first.running_mean.abs().max()) > 20:
            mean = (0.0,) * 3
        elif float(first.running_var.max()) < 20:
            std = _STD
    return _in_bytes(mean, std, image_size, 32 if image_size == _SMALL_SIZE else usual_resize(image_size))


_MEAN, _STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


def _in_bytes(mean: tuple[float, ...], std: tuple[float, ...], image_size: int, eval_resize: int) -> dict[str, Any]:
    return imagenet_input(image_size) | {
        "eval_resize": eval_resize,
        "mean": tuple(value / 255 for value in mean),
        "std": tuple(value / 255 for value in std),
    }
