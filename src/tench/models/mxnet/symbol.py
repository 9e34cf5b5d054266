"""A PyTorch network from MXNet's symbol graph: ordinary layers, called in the graph's order.

Each operator becomes one layer, named after its node, so that optimizers, freezing and export see the same kinds of
layers as in other networks. The graph's own code is never run: a graph is a list of known operators. Shapes are worked
out on the meta device for one image size, because fully connected layers depend on it.
"""

import collections
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tench.models.initialise import initialise_by
from tench.models.mxnet.attributes import Attributes, GraphError
from tench.models.mxnet.graph import VARIABLE, Graph, Node, Output, variables
from tench.models.mxnet.operators import OPERATORS, PARAMETERS, Apply
from tench.plain import shown

_THROUGH = frozenset("Cast cast amp_cast identity _copy BlockGrad stop_gradient".split())
"""Operators between a variable and the operator that uses it as a parameter."""
_BEHIND_HEAD = _THROUGH | {"Flatten", "flatten", "Reshape", "reshape", "squeeze", "Dropout"}
"""Operators that may follow the layer that computes the logits."""
_HEADS = {"FullyConnected": "num_hidden", "Convolution": "num_filter"}
_IMAGES = "data"
_MAX_VALUES = 2**27
"""Values of one image in one layer: half a gigabyte. VGG's largest layer has 3.2 million at 224 px."""
_RESERVED = ("training", "mxnet_names", "num_classes")
"""Attributes of a network that its class does not have."""
_SHAPE = "__shape__"


@dataclass(frozen=True)
class _Call:
    """layer(values[inputs]) -> values[outputs]; then the values in `last` are no longer needed."""

    layer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    last: tuple[int, ...]


class SymbolNetwork(nn.Module):
    """The network of a graph: (B, C, S, S) float -> (B, classes) logits.

    ARCH: what a model card calls such a network. mxnet_names: MXNet's name of each array in the state dict that it
    stores too. num_classes: the number of logits.
    """

    ARCH = "mxnet:symbol"

    def __init__(
        self, layers: Mapping[str, nn.Module], calls: Sequence[_Call], logits: int, free: Mapping[int, str]
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._calls, self._logits, self._free = tuple(calls), logits, dict(free)
        self.mxnet_names: dict[str, str] = {}
        self.num_classes = 0

    def tie(self) -> None:
        """Let layers that use the same variable share one parameter again, after their tensors were replaced."""
        first: dict[str, str] = {}
        for ours, theirs in self.mxnet_names.items():
            if theirs in first:
                owner, _, role = ours.rpartition(".")
                setattr(self.get_submodule(owner), role, self.get_parameter(first[theirs]))
            else:
                first[theirs] = ours

    def forward(self, images: Tensor) -> Tensor:
        values: dict[int, Any] = {0: images}
        for value, name in self._free.items():
            values[value] = self.get_parameter(name)
        for call in self._calls:
            found = getattr(self, call.layer)(*[values[number] for number in call.inputs])
            if len(call.outputs) == 1 and isinstance(found, Tensor):
                values[call.outputs[0]] = found
            else:
                values.update(zip(call.outputs, found, strict=True))
            for number in call.last:
                del values[number]
        return values[self._logits].flatten(1)  # type: ignore[no-any-return]


def build_symbol(graph: Graph, *, image_size: int, channels: int, num_classes: int | None = None) -> SymbolNetwork:
    """The network of a graph, on torch's current device, initialised as MXNet does.

    num_classes: replaces the number of outputs of the last layer. Raises GraphError, naming the node, for an unknown
    operator or a shape that does not fit.
    """
    if num_classes is not None:
        graph = _with_classes(graph, num_classes)
    device = torch.get_default_device()
    with torch.device("meta"):
        network = _Builder(graph, (1, channels, image_size, image_size)).network()
    if device.type != "meta":
        network.to_empty(device=device)
        network.tie()
        for layer in network.modules():
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
        for parameter in network.parameters(recurse=False):
            nn.init.ones_(parameter)
        initialise_by(network, "mxnet")
    return network


def builder_of(graph: Graph) -> Callable[..., nn.Module]:
    """A function that builds a graph's network, called like a user's own network function."""

    def symbol(num_classes: int, image_size: int, channels: int) -> nn.Module:
        return build_symbol(graph, num_classes=num_classes, image_size=image_size, channels=channels)

    return symbol


def images_of(graph: Graph, stored: frozenset[str] = frozenset()) -> int:
    """The number of the variable that stands for the images. stored: the names of the arrays that the file has.

    Raises GraphError if there is none.
    """
    parameters = {source for node in graph.nodes for source, _ in node.inputs[1:] if node.op in PARAMETERS}
    found = [number for number, node in variables(graph) if number not in parameters and node.name not in stored]
    named = [number for number in found if graph.nodes[number].name == _IMAGES]
    if not found:
        raise GraphError("no variable stands for the images")
    return (named or found)[0]


class _Builder:
    """Makes the layers and calls of a graph, node by node."""

    def __init__(self, graph: Graph, images: tuple[int, int, int, int]) -> None:
        self._graph = graph
        self._layers: dict[str, nn.Module] = {}
        self._calls: list[_Call] = []
        self._names: dict[str, str] = {}  # of the state dict -> MXNet's
        self._free: dict[int, str] = {}
        self._images = images_of(graph)
        self._values: dict[Output, int] = {(self._images, 0): 0}
        self._shapes: dict[int, Tensor] = {0: torch.zeros(images)}

    def network(self) -> SymbolNetwork:
        free: dict[str, Tensor] = {}
        for number, node in enumerate(self._graph.nodes):
            if node.op != VARIABLE and self._parameter(number) is None:
                self._add(node, number, free)
        if self._graph.logits not in self._values:
            raise GraphError(f"node {shown(self._graph.nodes[self._graph.logits[0]].name)} does not compute the logits")
        logits = self._values[self._graph.logits]
        shape = self._shapes[logits].shape
        if len(shape) < 2 or shape[2:].numel() != 1:
            raise GraphError(f"its output has the shape {tuple(shape)}, not (images, classes)")
        self._activate_in_place(logits)
        network = SymbolNetwork(self._layers, _with_last_uses(self._calls, {logits, *self._free}), logits, self._free)
        for name, value in free.items():
            network.register_parameter(name, nn.Parameter(value))
        network.mxnet_names, network.num_classes = self._names, shape[1]
        network.tie()
        return network

    def _activate_in_place(self, logits: int) -> None:
        """Let a relu overwrite its input if nothing else uses it, as our own networks do."""
        uses = collections.Counter(value for call in self._calls for value in call.inputs)
        uses[logits] += 1
        maker = {value: self._layers[call.layer] for call in self._calls for value in call.outputs}
        for call in self._calls:
            layer, source = self._layers[call.layer], call.inputs[0]
            if isinstance(layer, nn.ReLU | nn.ReLU6) and uses[source] == 1 and _is_overwritable(maker.get(source)):
                layer.inplace = True

    def _add(self, node: Node, number: int, free: dict[str, Tensor]) -> None:
        if node.op not in OPERATORS:
            raise GraphError(f"node {shown(node.name)} uses the operator {shown(node.op)}, which is not supported")
        roles = PARAMETERS.get(node.op, ())
        num_values = 1 if roles else len(node.inputs)
        if not node.inputs or (roles and len(node.inputs) > 1 + len(roles)):
            raise GraphError(f"node {shown(node.name)} ({node.op}) has {len(node.inputs)} inputs")
        inputs = tuple(self._value(one, node, free) for one in node.inputs[:num_values])
        shapes = [self._shapes[value] for value in inputs]
        try:
            layer = OPERATORS[node.op](Attributes(self._with_gamma(node)), shapes)
            found = layer.eval()(*shapes)
        except GraphError:
            raise
        except Exception as error:  # torch has no exception of its own for shapes that do not fit
            reason = str(error).partition("\n")[0]
            raise GraphError(
                f"node {shown(node.name)} ({node.op}) does not fit its input of shape "
                f"{', '.join(str(tuple(one.shape)) for one in shapes)}: {reason}"
            ) from error
        name = _free_name(node.name, number, {**self._layers, **free})
        self._layers[name] = layer.train()
        for role, source in zip(roles, node.inputs[1:], strict=False):
            if getattr(layer, role, None) is not None:
                self._names[f"{name}.{role}"] = self._variable(source[0], node).name
        missing = [role for role in roles[len(node.inputs) - 1 :] if getattr(layer, role, None) is not None]
        if missing:
            raise GraphError(f"node {shown(node.name)} ({node.op}) has no input for {', '.join(missing)}")
        outputs = found if isinstance(found, tuple) else (found,)
        numbers = []
        if any(value.numel() > _MAX_VALUES for value in outputs):
            raise GraphError(f"node {shown(node.name)} ({node.op}) makes more than {_MAX_VALUES:,} values of an image")
        for output, value in enumerate(outputs):
            self._values[number, output] = len(self._shapes)
            numbers.append(len(self._shapes))
            self._shapes[numbers[-1]] = value
        self._calls.append(_Call(name, inputs, tuple(numbers), ()))

    def _value(self, source: Output, node: Node, free: dict[str, Tensor]) -> int:
        """The value of an input. A variable that is not the images is a free parameter of the network."""
        if (number := self._parameter(source[0])) is not None:
            source = (number, 0)
        if source in self._values:
            return self._values[source]
        variable = self._graph.nodes[source[0]]
        if variable.op != VARIABLE:
            raise GraphError(
                f"node {shown(node.name)} uses output {source[1]} of {shown(variable.name)}, which has fewer"
            )
        sides = Attributes(variable).integers(_SHAPE, ())
        if not sides or min(sides) < 1:
            raise GraphError(f"node {shown(node.name)} ({node.op}) uses {shown(variable.name)}, whose shape is unknown")
        name = _free_name(variable.name, source[0], {**self._layers, **free})
        free[name] = torch.zeros(sides)
        self._names[name] = variable.name
        value = self._values[source] = len(self._shapes)
        self._shapes[value], self._free[value] = free[name], name
        return value

    def _with_gamma(self, node: Node) -> Node:
        """A node of PReLU with the shape of its slopes, of which Gluon has only one."""
        if node.op != "LeakyReLU" or len(node.inputs) < 2:
            return node
        return replace(
            node, attrs={**node.attrs, _SHAPE: self._variable(node.inputs[1][0], node).attrs.get(_SHAPE, "None")}
        )

    def _parameter(self, number: int) -> int | None:
        """The number of the variable that a node only passes on, perhaps as another type; None for the images."""
        while (found := self._graph.nodes[number]).op in _THROUGH and len(found.inputs) == 1:
            number = found.inputs[0][0]
        return number if found.op == VARIABLE and number != self._images else None

    def _variable(self, number: int, node: Node) -> Node:
        variable = self._parameter(number)
        if variable is None:
            name = shown(self._graph.nodes[number].name)
            raise GraphError(f"node {shown(node.name)} ({node.op}) computes its parameter in node {name}")
        return self._graph.nodes[variable]


def _is_overwritable(layer: nn.Module | None) -> bool:
    """Whether the backward pass of a layer does not need its output."""
    is_sum = isinstance(layer, Apply) and layer.function is torch.add
    return is_sum or isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)


def _tensor_of(network: nn.Module, name: str) -> Any:
    owner, _, role = name.rpartition(".")
    return getattr(network.get_submodule(owner), role)


def _free_name(name: str, number: int, taken: Mapping[str, object]) -> str:
    """A name for a layer: MXNet's, with characters that torch accepts."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or f"node{number}"
    if plain.startswith("_") or plain in _RESERVED or hasattr(SymbolNetwork, plain):
        plain = f"node_{plain}"
    return plain if plain not in taken else f"{plain}_{number}_"


def _with_last_uses(calls: Sequence[_Call], kept: set[int]) -> list[_Call]:
    """The calls, each with the values that no later call uses."""
    seen, found = set(kept), []
    for call in reversed(calls):
        last = tuple(number for number in {*call.inputs, *call.outputs} if number not in seen)
        seen.update(call.inputs)
        found.append(replace(call, last=last))
    return found[::-1]


def head_of(graph: Graph) -> int | None:
    """The number of the layer that computes the logits; None if it is not a linear layer or a convolution."""
    number = graph.logits[0]
    while graph.nodes[number].op in _BEHIND_HEAD and graph.nodes[number].inputs:
        number = graph.nodes[number].inputs[0][0]
    return number if graph.nodes[number].op in _HEADS else None


def _with_classes(graph: Graph, num_classes: int) -> Graph:
    head = head_of(graph)
    if head is None:
        return graph  # a network for other classes is refused when its logits are checked
    node = graph.nodes[head]
    changed = replace(node, attrs={**node.attrs, _HEADS[node.op]: str(num_classes)})
    return replace(graph, nodes=(*graph.nodes[:head], changed, *graph.nodes[head + 1 :]))
