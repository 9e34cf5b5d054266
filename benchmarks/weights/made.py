"""Write weight files as other programs do, with random weights: ResNet-50 (about 100 MB), and a small network for each.

The programs themselves are not needed. The files have their layout, but not always their names of layers, which tench
does not use.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tench.models import create
from tench.models.mxnet.graph import VARIABLE, read_graph
from tench.models.mxnet.symbol import SymbolNetwork, build_symbol
from tench.weights.nnabla_h5 import Parameter, write_h5

Array = npt.NDArray[Any]

_UNITS, _WIDTHS = (3, 4, 6, 3), (256, 512, 1024, 2048)
_NORM = {"weight": "gamma", "bias": "beta"}
_STATISTICS = {"running_mean": "moving_mean", "running_var": "moving_var"}


def network(arch: str, image_size: int = 224, channels: int = 3, num_classes: int = 1000) -> nn.Module:
    torch.manual_seed(0)
    return create(arch, num_classes=num_classes, image_size=image_size, channels=channels)


def write_pth(path: Path, arch: str) -> None:
    torch.save({"arch": arch, "state_dict": network(arch).state_dict()}, path)


def write_safetensors(path: Path, arch: str) -> None:
    save_file(network(arch).state_dict(), path)


def write_nnabla(path: Path, arch: str) -> None:
    """NNabla's `.h5` in the layout nchw."""
    roles = {**_NORM, "running_mean": "mean", "running_var": "var"}
    parameters = []
    for name, role, tensor, layer in _tensors(network(f"nnabla:{arch}")):
        values = tensor.numpy()
        if isinstance(layer, nn.BatchNorm2d):
            name, values = f"{name}/bn/{roles[role]}", values.reshape(1, -1, 1, 1)
        else:
            kind = "affine" if values.ndim == 2 or isinstance(layer, nn.Linear) else "conv"
            name, values = f"{name}/{kind}/{'W' if role == 'weight' else 'b'}", values.T if values.ndim == 2 else values
        prefix = "conv1" if arch.startswith("res") else "first-conv"
        parameters.append(
            Parameter(f"{prefix}/{name}", len(parameters), not role.startswith("running"), np.ascontiguousarray(values))
        )
    write_h5(path, parameters)


def write_gluon(path: Path, arch: str) -> None:
    """What Gluon's save_parameters writes."""
    arrays = {}
    for name, role, tensor, layer in _tensors(network(f"gluon:{arch}")):
        role = _NORM.get(role, role) if isinstance(layer, nn.BatchNorm2d) else role
        arrays[f"{name}.{role}"] = tensor.numpy()
    path.write_bytes(params_bytes(arrays))


def write_mxnet(prefix: Path, symbol: Mapping[str, Any], image_size: int, channels: int) -> SymbolNetwork:
    """A checkpoint of MXNet's Module API: PREFIX-symbol.json and PREFIX-0000.params. Returns its network."""
    path = prefix.with_name(f"{prefix.name}-symbol.json")
    path.write_text(json.dumps(symbol, indent=2))
    torch.manual_seed(0)
    made = build_symbol(read_graph(path), image_size=image_size, channels=channels)
    state = made.state_dict()
    arrays = {
        f"{'aux' if '_moving_' in name else 'arg'}:{name}": state[ours] for ours, name in made.mxnet_names.items()
    }
    content = params_bytes({name: tensor.numpy() for name, tensor in sorted(arrays.items())})
    prefix.with_name(f"{prefix.name}-0000.params").write_bytes(content)
    return made


def _tensors(module: nn.Module) -> list[tuple[str, str, Tensor, nn.Module]]:
    """(name of the layer, role, values, layer) of all weights and statistics."""
    return [
        (name, role, tensor.detach(), layer)
        for name, layer in module.named_modules()
        for role, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
        if role != "num_batches_tracked"
    ]


def params_bytes(arrays: Mapping[str, Array]) -> bytes:
    """A file of mx.nd.save with fp32 arrays."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for values in arrays.values():
        sides = values.shape
        parts.append(struct.pack(f"<Iii{len(sides)}qiii", 0xF993FAC9, 0, len(sides), *sides, 1, 0, 0))
        parts.append(values.astype("<f4").tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts.append(struct.pack("<Q", len(name.encode())) + name.encode())
    return b"".join(parts)


class _Symbol:
    """Collects the nodes of a graph; each method returns the number of its node."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def variable(self, name: str) -> int:
        return self._add(VARIABLE, name, [], {})

    def call(self, op: str, name: str, source: int, *more: int, **attrs: object) -> int:
        return self._add(op, name, [source, *more], attrs)

    def conv(self, name: str, source: int, width: int, kernel: int, stride: int = 1) -> int:
        attrs = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (kernel // 2, kernel // 2)}
        weight = self.variable(f"{name}_weight")
        return self.call("Convolution", name, source, weight, num_filter=width, no_bias=True, **attrs)

    def norm(self, name: str, source: int, *, fix_gamma: bool = False) -> int:
        arrays = [self.variable(f"{name}_{role}") for role in (*_NORM.values(), *_STATISTICS.values())]
        return self.call("BatchNorm", name, source, *arrays, eps=2e-05, momentum=0.9, fix_gamma=fix_gamma)

    def relu(self, name: str, source: int) -> int:
        return self.call("Activation", name, source, act_type="relu")

    def linear(self, name: str, source: int, width: int) -> int:
        arrays = [self.variable(f"{name}_{role}") for role in ("weight", "bias")]
        return self.call("FullyConnected", name, source, *arrays, num_hidden=width)

    def json(self, logits: int) -> dict[str, Any]:
        self.call("SoftmaxOutput", "softmax", logits, self.variable("softmax_label"))
        variables = [number for number, node in enumerate(self.nodes) if node["op"] == VARIABLE]
        return {"nodes": self.nodes, "arg_nodes": variables, "heads": [[len(self.nodes) - 1, 0, 0]]}

    def _add(self, op: str, name: str, inputs: list[int], attrs: Mapping[str, object]) -> int:
        text = {key: str(value) for key, value in attrs.items()}
        self.nodes.append({"op": op, "name": name, "attrs": text, "inputs": [[number, 0, 0] for number in inputs]})
        return len(self.nodes) - 1


def resnet_50_symbol() -> dict[str, Any]:
    """The graph that MXNet's symbols/resnet.py makes for 50 layers and 224 px."""
    graph = _Symbol()
    x = graph.call("_copy", "id", graph.variable("data"))
    x = graph.conv("conv0", graph.norm("bn_data", x, fix_gamma=True), 64, 7, 2)
    x = graph.relu("relu0", graph.norm("bn0", x))
    x = graph.call("Pooling", "pooling0", x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    for stage, (num_units, width) in enumerate(zip(_UNITS, _WIDTHS, strict=True), start=1):
        for unit in range(1, num_units + 1):
            name, stride = f"stage{stage}_unit{unit}", 2 if stage > 1 and unit == 1 else 1
            first = graph.relu(f"{name}_relu1", graph.norm(f"{name}_bn1", x))
            y = graph.conv(f"{name}_conv1", first, width // 4, 1)
            y = graph.relu(f"{name}_relu2", graph.norm(f"{name}_bn2", y))
            y = graph.conv(f"{name}_conv2", y, width // 4, 3, stride)
            y = graph.relu(f"{name}_relu3", graph.norm(f"{name}_bn3", y))
            y = graph.conv(f"{name}_conv3", y, width, 1)
            shortcut = graph.conv(f"{name}_sc", first, width, 1, stride) if unit == 1 else x
            x = graph.call("elemwise_add", f"{name}_plus", y, shortcut)
    x = graph.relu("relu1", graph.norm("bn1", x))
    x = graph.call("Pooling", "pool1", x, kernel=(7, 7), global_pool=True, pool_type="avg")
    return graph.json(graph.linear("fc1", graph.call("Flatten", "flatten0", x), 1000))


def mlp_symbol() -> dict[str, Any]:
    """The graph of MXNet's symbols/mlp.py."""
    graph = _Symbol()
    x = graph.call("Flatten", "flatten0", graph.variable("data"))
    x = graph.relu("relu1", graph.linear("fc1", x, 128))
    x = graph.relu("relu2", graph.linear("fc2", x, 64))
    return graph.json(graph.linear("fc3", x, 10))
