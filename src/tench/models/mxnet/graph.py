"""MXNet's symbol graphs (`-symbol.json`): what computes the logits, checked and without what only training needs.

A file is a list of nodes in an order in which each node uses only earlier ones. A node is a variable (the images, a
weight, a label) or an operator with its attributes as text. Before MXNet 1.0, the attributes were under `param` and
`attr`, and the running statistics of batch norms were not listed among their inputs; both forms are read. The softmax
or loss at the end is left out, so that the network returns logits. Source: nnvm/src/pass/saveload_json.cc and
src/nnvm/legacy_json_util.cc of MXNet.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tench.errors import TenchError, some
from tench.files import is_there
from tench.plain import PlainError, require_file, shown, typed

_MAX_NODES = 20_000
_MAX_BYTES = 2**26
VARIABLE = "null"
_FINAL = frozenset(
    "SoftmaxOutput Softmax softmax log_softmax SoftmaxActivation LogisticRegressionOutput LinearRegressionOutput "
    "MAERegressionOutput MakeLoss make_loss SVMOutput BlockGrad stop_gradient identity _copy amp_cast".split()
)
"""Operators that may follow the logits. None of them changes which class is the most likely one."""
_NORMS = ("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm")
_STATISTICS = ("moving_mean", "moving_var")

Output = tuple[int, int]
"""(node, output of the node)."""


@dataclasses.dataclass(frozen=True)
class Node:
    """A variable (op is VARIABLE) or an operator. attrs: as text. inputs: outputs of earlier nodes."""

    op: str
    name: str
    attrs: Mapping[str, str]
    inputs: tuple[Output, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The nodes that compute the logits, in order, and the output with the logits."""

    nodes: tuple[Node, ...]
    logits: Output

    def to_json(self) -> dict[str, Any]:
        """In MXNet's own form, as `from_json` reads it."""
        nodes = [
            {"op": node.op, "name": node.name, "attrs": dict(node.attrs), "inputs": [[*at, 0] for at in node.inputs]}
            for node in self.nodes
        ]
        variables = [number for number, node in enumerate(self.nodes) if node.op == VARIABLE]
        return {"nodes": nodes, "arg_nodes": variables, "heads": [[*self.logits, 0]]}

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Graph":
        """The graph in a file's text. where: the file, for messages. Raises TenchError if it is not a usable graph."""
        try:
            data = typed(json.loads(text), dict[str, Any], "the file")
            nodes = typed(data.get("nodes"), list[Any], "nodes")
            heads = typed(data.get("heads"), list[list[int]], "heads")
            if len(nodes) > _MAX_NODES:
                raise ValueError(f"it has {len(nodes):,} nodes, more than {_MAX_NODES:,}")
            graph = [_node(node, number) for number, node in enumerate(nodes)]
        except RecursionError as error:
            raise TenchError(f"{where} is not an MXNet symbol: its JSON is nested too deeply.") from error
        except ValueError as error:
            raise TenchError(f"{where} is not an MXNet symbol: {error}.") from error
        for number, node in enumerate(graph):
            for source, _ in node.inputs:
                if not 0 <= source < number:
                    what = "itself" if source == number else "a later node" if source > number else f"node {source}"
                    raise TenchError(
                        f"{where}: the inputs of node {shown(node.name)} include {what}, so the graph has a cycle or "
                        "lacks a node. Save the symbol again."
                    )
        if len(heads) != 1 or len(heads[0]) < 1 or not 0 <= heads[0][0] < len(graph):
            names = [graph[head[0]].name for head in heads if head and 0 <= head[0] < len(graph)]
            raise TenchError(
                f"{where} has {len(heads)} outputs ({some(names)}), and a classifier has one. Save only the output "
                "with the class scores: symbol.get_internals()['NAME_output'].save(...)."
            )
        head = (heads[0][0], heads[0][1] if len(heads[0]) > 1 else 0)
        return _without_unused(graph, _logits(graph, head))


def read_graph(path: Path) -> Graph:
    """The graph in a file. Raises TenchError if it is missing, too large, or not a usable graph."""
    if not is_there(path):
        raise TenchError(f"{path} is missing; it describes the network. Copy it next to the weights.")
    require_file(path)
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise TenchError(f"{path} has {size:,} bytes, but a graph may have at most {_MAX_BYTES:,}.")
    return Graph.from_json(path.read_bytes(), str(path))


def _node(given: Any, number: int) -> Node:
    at = f"nodes[{number}]"
    data = typed(given, dict[str, Any], at)
    attrs: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):  # of the oldest to the newest form
        values = typed(data.get(key) or {}, dict[str, Any], f"{at}.{key}")
        attrs |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    inputs = []
    for source in typed(data.get("inputs"), list[list[int]], f"{at}.inputs"):
        if not source:
            raise PlainError(f"{at}.inputs has an empty item")
        inputs.append((source[0], source[1] if len(source) > 1 else 0))
    return Node(
        typed(data.get("op"), str, f"{at}.op"), typed(data.get("name"), str, f"{at}.name"), attrs, tuple(inputs)
    )


def _logits(nodes: Sequence[Node], head: Output) -> Output:
    while nodes[head[0]].op in _FINAL and nodes[head[0]].inputs:
        head = nodes[head[0]].inputs[0]
    return head


def _without_unused(nodes: Sequence[Node], logits: Output) -> Graph:
    """The nodes that the logits depend on, and the statistics that old files leave out."""
    used = [False] * len(nodes)
    used[logits[0]] = True
    for number in range(len(nodes) - 1, -1, -1):
        if used[number]:
            for source, _ in nodes[number].inputs:
                used[source] = True
    kept: list[Node] = []
    moved: dict[int, int] = {}
    for number, node in enumerate(nodes):
        if not used[number]:
            continue
        inputs = [(moved[source], output) for source, output in node.inputs]
        if node.op in _NORMS and len(inputs) == 3:
            for statistic in _STATISTICS:
                kept.append(Node(VARIABLE, f"{node.name}_{statistic}", {}, ()))
                inputs.append((len(kept) - 1, 0))
        moved[number] = len(kept)
        kept.append(dataclasses.replace(node, inputs=tuple(inputs)))
    return Graph(tuple(kept), (moved[logits[0]], logits[1]))


def variables(graph: Graph) -> Iterator[tuple[int, Node]]:
    """The variables with their numbers, in order."""
    return ((number, node) for number, node in enumerate(graph.nodes) if node.op == VARIABLE)
