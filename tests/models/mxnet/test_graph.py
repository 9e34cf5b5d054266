"""MXNet's symbol graphs, written as the versions of MXNet wrote them."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.errors import error_of

from tench.models.mxnet.graph import VARIABLE, Graph, Node, read_graph, variables

Entry = dict[str, Any]


def variable(name: str) -> Entry:
    return {"op": "null", "name": name, "inputs": []}


def operator(op: str, name: str, inputs: Sequence[int], **attrs: str) -> Entry:
    return {"op": op, "name": name, "attrs": attrs, "inputs": [[number, 0, 0] for number in inputs]}


def text_of(nodes: Sequence[Mapping[str, Any]], heads: object = None, **more: object) -> str:
    return json.dumps({"nodes": nodes, "heads": [[len(nodes) - 1, 0, 0]] if heads is None else heads, **more})


def graph_of(nodes: Sequence[Mapping[str, Any]], heads: object = None) -> Graph:
    return Graph.from_json(text_of(nodes, heads), "net-symbol.json")


refusal: Callable[[str | bytes, str], str] = error_of(Graph.from_json)


def refusal_of(nodes: Sequence[Mapping[str, Any]], heads: object = None) -> str:
    return refusal(text_of(nodes, heads), "net-symbol.json")


CONV = {"kernel": "(3, 3)", "num_filter": "4", "no_bias": "True"}
CLASSIFIER = [
    variable("data"),
    variable("conv_weight"),
    operator("Convolution", "conv", [0, 1], **CONV),
    variable("bn_gamma"),
    variable("bn_beta"),
    variable("bn_moving_mean"),
    variable("bn_moving_var"),
    operator("BatchNorm", "bn", [2, 3, 4, 5, 6], eps="2e-05"),
    variable("fc_weight"),
    variable("fc_bias"),
    operator("FullyConnected", "fc", [7, 8, 9], num_hidden="10"),
    variable("softmax_label"),
    operator("SoftmaxOutput", "softmax", [10, 11]),
]


def names_of(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


# What is read


def test_a_graph_has_the_nodes_that_compute_the_logits() -> None:
    graph = graph_of(CLASSIFIER)
    assert names_of(graph) == [entry["name"] for entry in CLASSIFIER[:-2]]
    assert graph.logits == (10, 0)
    assert graph.nodes[2] == Node("Convolution", "conv", CONV, ((0, 0), (1, 0)))
    assert graph.nodes[7].inputs == ((2, 0), (3, 0), (4, 0), (5, 0), (6, 0))
    assert graph.nodes[0] == Node(VARIABLE, "data", {}, ())


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_the_attributes_may_be_under_the_key_of_any_version(key: str) -> None:
    nodes = [{(key if name == "attrs" else name): value for name, value in node.items()} for node in CLASSIFIER]
    assert graph_of(nodes) == graph_of(CLASSIFIER)


def test_the_oldest_form_has_two_lists_of_attributes_and_no_statistics_of_batch_norms() -> None:
    oldest = [
        {**variable("data"), "param": {}, "backward_source_id": -1},
        {**variable("conv_weight"), "param": {}, "attr": {"lr_mult": "2"}},
        {"op": "Convolution", "param": CONV, "name": "conv", "inputs": [[0, 0], [1, 0]], "attr": {"ctx_group": "a"}},
        {**variable("bn_gamma"), "param": {}},
        {**variable("bn_beta"), "param": {}},
        {"op": "BatchNorm", "param": {"eps": "2e-05"}, "name": "bn", "inputs": [[2, 0], [3, 0], [4, 0]]},
        {**variable("fc_weight"), "param": {}},
        {**variable("fc_bias"), "param": {}},
        {"op": "FullyConnected", "param": {"num_hidden": "10"}, "name": "fc", "inputs": [[5, 0], [6, 0], [7, 0]]},
        {**variable("softmax_label"), "param": {}},
        {"op": "SoftmaxOutput", "param": {"grad_scale": "1"}, "name": "softmax", "inputs": [[8, 0], [9, 0]]},
    ]
    found, expected = graph_of(oldest, [[10, 0]]), graph_of(CLASSIFIER)
    assert names_of(found) == names_of(expected)
    assert [node.inputs for node in found.nodes] == [node.inputs for node in expected.nodes]
    assert found.logits == expected.logits
    assert found.nodes[2].attrs == {**CONV, "ctx_group": "a"}
    assert found.nodes[1].attrs == {"lr_mult": "2"}


def test_every_batch_norm_of_the_oldest_form_gets_its_own_statistics() -> None:
    nodes = [variable("data"), variable("gamma"), variable("beta")]
    nodes += [operator("BatchNorm", "one", [0, 1, 2]), operator("BatchNorm", "two", [3, 1, 2])]
    graph = graph_of(nodes)
    expected = ["data", "gamma", "beta", "one_moving_mean", "one_moving_var", "one"]
    assert names_of(graph) == [*expected, "two_moving_mean", "two_moving_var", "two"]
    assert [graph.nodes[source].name for source, _ in graph.nodes[graph.logits[0]].inputs] == (
        ["one", "gamma", "beta", "two_moving_mean", "two_moving_var"]
    )


def test_attributes_that_are_not_text_become_text() -> None:
    nodes = [variable("data"), {**operator("Dropout", "drop", [0]), "attrs": {"p": 0.5, "axes": [1, 2], "on": True}}]
    assert graph_of(nodes).nodes[1].attrs == {"p": "0.5", "axes": "[1, 2]", "on": "true"}
    assert graph_of([variable("data"), {**operator("Dropout", "drop", [0]), "attrs": None}]).nodes[1].attrs == {}


@pytest.mark.parametrize(
    "op",
    "SoftmaxOutput Softmax softmax log_softmax SoftmaxActivation LogisticRegressionOutput LinearRegressionOutput "
    "MAERegressionOutput MakeLoss SVMOutput BlockGrad identity".split(),
)
def test_a_softmax_or_loss_at_the_end_is_left_out(op: str) -> None:
    graph = graph_of([*CLASSIFIER[:-1], operator(op, "last", [10, 11])])
    assert graph == graph_of(CLASSIFIER[:-2])
    twice = [*CLASSIFIER[:-1], operator("softmax", "first", [10]), operator(op, "last", [12, 11])]
    assert graph_of(twice) == graph


def test_a_softmax_in_the_middle_stays() -> None:
    nodes = [*CLASSIFIER[:-2], operator("softmax", "gate", [10]), operator("elemwise_mul", "gated", [10, 11])]
    assert names_of(graph_of(nodes))[-2:] == ["gate", "gated"]


def test_nodes_that_the_logits_do_not_need_are_left_out() -> None:
    unused = [variable("other"), operator("NoSuchOperator", "strange", [0])]
    nodes = [*unused, *({**node, "inputs": [[at + 2, 0, 0] for at, _, _ in node["inputs"]]} for node in CLASSIFIER)]
    assert graph_of(nodes) == graph_of(CLASSIFIER)


def test_the_logits_may_be_any_output_of_a_node() -> None:
    nodes = [variable("data"), operator("SliceChannel", "halves", [0], num_outputs="2")]
    assert graph_of(nodes, [[1, 1, 0]]).logits == (1, 1)
    nodes.append({"op": "softmax", "name": "softmax", "inputs": [[1, 1]]})
    assert graph_of(nodes).logits == (1, 1)


def test_a_graph_in_mxnets_form_is_read_back_the_same() -> None:
    for graph in (graph_of(CLASSIFIER), graph_of([variable("data"), operator("split", "a", [0])], [[1, 2]])):
        assert Graph.from_json(json.dumps(graph.to_json()), "again") == graph
    written = graph_of(CLASSIFIER).to_json()
    assert written["arg_nodes"] == [0, 1, 3, 4, 5, 6, 8, 9]
    assert written["heads"] == [[10, 0, 0]]
    assert written["nodes"][10] == CLASSIFIER[10]


def test_the_variables_are_listed_with_their_numbers() -> None:
    numbers = [(number, node.name) for number, node in variables(graph_of(CLASSIFIER))]
    assert numbers[:3] == [(0, "data"), (1, "conv_weight"), (3, "bn_gamma")]


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "größe-symbol.json"
    path.write_text(text_of(CLASSIFIER, attrs={"mxnet_version": ["int", 10901]}, node_row_ptr=[0, 1], arg_nodes=[0]))
    assert read_graph(path) == graph_of(CLASSIFIER)


# What is refused


def test_a_text_that_is_not_json_is_refused() -> None:
    message = refusal("{", "net-symbol.json")
    assert message.startswith("net-symbol.json is not an MXNet symbol: ")
    for text in (b"", b"\xff\xfe\xff", b"\x12\x01\0\0", "nodes: []", "9" * 5000, '{"nodes": ' + "9" * 5000 + "}"):
        assert "net-symbol.json is not an MXNet symbol" in refusal(text, "net-symbol.json")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "the file is [], but should be keys and values"),
        ({}, "nodes is None, but should be a list of values"),
        ({"nodes": [], "heads": "x"}, "heads is 'x', but should be a list of values"),
        ({"nodes": [7], "heads": []}, "nodes[0] is 7, but should be keys and values"),
        ({"nodes": [{"name": "a", "inputs": []}], "heads": []}, "nodes[0].op is None, but should be text"),
        ({"nodes": [{"op": "null", "name": 5, "inputs": []}], "heads": []}, "nodes[0].name is 5, but should be text"),
        ({"nodes": [{"op": "null", "name": "a"}], "heads": []}, "nodes[0].inputs is None"),
        ({"nodes": [{**variable("a"), "inputs": [[]]}], "heads": []}, "nodes[0].inputs has an empty item"),
        (
            {"nodes": [{**variable("a"), "inputs": [["x"]]}], "heads": []},
            "nodes[0].inputs is [['x']], but should be a list of values",
        ),
        (
            {"nodes": [{**variable("a"), "inputs": [[0.5]]}], "heads": []},
            "nodes[0].inputs is [[0.5]], but should be a list of values",
        ),
        ({"nodes": [{**variable("a"), "attrs": [1]}], "heads": []}, "nodes[0].attrs is [1]"),
    ],
)
def test_json_that_is_not_a_graph_is_refused_with_the_place(data: object, reason: str) -> None:
    message = refusal(json.dumps(data), "net-symbol.json")
    assert message.startswith("net-symbol.json is not an MXNet symbol: ")
    assert reason in message


@pytest.mark.parametrize(
    ("source", "what"),
    [(1, "itself"), (2, "a later node"), (9, "a later node"), (-1, "node -1"), (2**70, "a later node")],
)
def test_an_input_that_is_not_an_earlier_node_is_refused(source: int, what: str) -> None:
    message = refusal_of([variable("data"), operator("relu", "a", [source]), operator("relu", "b", [1])])
    assert message == (
        f"net-symbol.json: the inputs of node 'a' include {what}, so the graph has a cycle or lacks a node. "
        "Save the symbol again."
    )


def test_a_graph_with_two_outputs_is_refused_with_their_names() -> None:
    message = refusal_of(CLASSIFIER, [[10, 0, 0], [12, 0, 0]])
    assert message == (
        "net-symbol.json has 2 outputs (fc, softmax), and a classifier has one. Save only the output with the class "
        "scores: symbol.get_internals()['NAME_output'].save(...)."
    )


@pytest.mark.parametrize("heads", [[], [[]], [[13, 0, 0]], [[-1, 0, 0]], [[2**70]]])
def test_a_graph_without_a_usable_output_is_refused(heads: list[list[int]]) -> None:
    assert "and a classifier has one" in refusal_of(CLASSIFIER, heads)


def test_a_graph_without_nodes_is_refused() -> None:
    assert "and a classifier has one" in refusal_of([], [[0, 0, 0]])


@pytest.mark.parametrize("text", ["[" * 200_000, '{"nodes":' * 100_000, '{"nodes": [{"attrs": ' + "[" * 200_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert refusal(text, "net-symbol.json") == (
        "net-symbol.json is not an MXNet symbol: its JSON is nested too deeply."
    )


def test_a_long_chain_is_read() -> None:
    nodes = [variable("data"), *(operator("relu", "a", [number]) for number in range(5000))]
    assert len(graph_of(nodes).nodes) == 5001


def test_a_huge_number_of_nodes_is_refused() -> None:
    message = refusal_of([{}] * 100_001)
    assert message == "net-symbol.json is not an MXNet symbol: it has 100,001 nodes, more than 20,000."


def test_a_long_chain_of_softmaxes_is_left_out() -> None:
    nodes = [*CLASSIFIER[:-2], *(operator("softmax", "s", [number]) for number in range(10, 1000))]
    assert graph_of(nodes) == graph_of(CLASSIFIER[:-2])


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net-symbol.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert error_of(read_graph)(path) == (
        f"{path} has 1,099,511,627,776 bytes, but a graph may have at most 67,108,864."
    )


def test_a_pipe_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net-symbol.json"
    os.mkfifo(path)
    assert error_of(read_graph)(path) == f"{path}: not a regular file. Name a file."


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "net-symbol.json"
    assert str(path) in error_of(read_graph)(path)


def test_control_characters_in_a_name_are_escaped_in_messages() -> None:
    message = refusal_of([variable("data"), operator("relu", "\x1b[31m\n", [1])])
    assert "\x1b" not in message
    assert "\n" not in message
    assert r"'\x1b[31m\n'" in message
