"""Training a network that only MXNet's symbol file describes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.weights.test_mxnet_params import array_bytes, file_bytes

import tench
from tench.models.mxnet.symbol import SymbolNetwork


def nodes(num_classes: int) -> list[dict[str, Any]]:
    """A convolution, a batch norm, a ReLU, a pooling and two branches that are joined: none of tench's networks."""

    def node(op: str, name: str, inputs: list[int], **attrs: str) -> dict[str, Any]:
        return {"op": op, "name": name, "attrs": attrs, "inputs": [[one, 0, 0] for one in inputs]}

    def variable(name: str) -> dict[str, Any]:
        return node("null", name, [])

    return [
        variable("data"),
        variable("conv_weight"),
        node("Convolution", "conv", [0, 1], kernel="(3, 3)", num_filter="8", no_bias="True"),
        *(variable(f"bn_{role}") for role in ("gamma", "beta", "moving_mean", "moving_var")),
        node("BatchNorm", "bn", [2, 3, 4, 5, 6], fix_gamma="True"),
        node("Activation", "relu", [7], act_type="relu"),
        node("Pooling", "max", [8], kernel="(4, 4)", stride="(4, 4)", pool_type="max"),
        node("Pooling", "mean", [8], kernel="(4, 4)", stride="(4, 4)", pool_type="avg"),
        node("Concat", "join", [9, 10], num_args="2"),
        variable("fc_weight"),
        variable("fc_bias"),
        node("FullyConnected", "fc", [11, 12, 13], num_hidden=str(num_classes)),
    ]


@pytest.fixture
def symbol(tmp_path: Path) -> Path:
    """A checkpoint of MXNet with 10 classes, for grey images of 28 pixels."""
    graph = {"nodes": nodes(10), "heads": [[14, 0, 0]]}
    (tmp_path / "net-symbol.json").write_text(json.dumps(graph))
    torch.manual_seed(0)
    arrays = {
        "arg:conv_weight": torch.randn(8, 1, 3, 3) / 3,
        "arg:bn_gamma": torch.full((8,), 5.0),  # which fix_gamma ignores
        "arg:bn_beta": torch.zeros(8),
        "aux:bn_moving_mean": torch.zeros(8),
        "aux:bn_moving_var": torch.ones(8),
        "arg:fc_weight": torch.randn(10, 576) / 24,
        "arg:fc_bias": torch.zeros(10),
    }
    names = [name.encode() for name in arrays]
    content = file_bytes([array_bytes(tensor.numpy()) for tensor in arrays.values()], names)
    (tmp_path / "net-0000.params").write_bytes(content)
    return tmp_path / "net-symbol.json"


def recipe_of(symbol: Path, **given: Any) -> tench.Recipe:
    values: dict[str, Any] = {"weights": str(symbol), "arch": "auto", "image_size": "auto", "epochs": 2, "mean": "auto"}
    return tench.load_recipe("digits").replace(**(values | {"std": "auto", "eval_resize": "auto"} | given))


def test_a_symbol_network_learns_and_its_run_works_like_any_other(symbol: Path, tmp_path: Path) -> None:
    run = tench.fit("digits", recipe_of(symbol), run=tmp_path / "run")
    classifier = tench.load(run)
    assert classifier.card.arch == SymbolNetwork.ARCH
    assert isinstance(classifier.module, SymbolNetwork)
    assert tench.evaluate(run).top1 > 0.8
    again = tench.fit("digits", recipe_of(tmp_path / "run", epochs=1), run=tmp_path / "again")
    assert tench.evaluate(again).top1 > 0.8


def test_other_classes_get_a_new_head(symbol: Path, tmp_path: Path) -> None:
    tench.prepare("digits", tmp_path / "images", to="folder")
    for folder in (tmp_path / "images").glob("*/*"):
        if folder.name not in ("1", "7"):
            for image in folder.iterdir():
                image.unlink()
            folder.rmdir()
    run = tench.fit(tmp_path / "images", recipe_of(symbol, epochs=1), run=tmp_path / "run")
    assert len(tench.load(run).classes) == 2
    assert tench.evaluate(run).top1 > 0.8


def test_a_stopped_run_continues_to_the_same_weights(symbol: Path, tmp_path: Path) -> None:
    def stop_after_one(end: tench.EpochEnd) -> None:
        if end.epoch == 1:
            raise tench.StopTraining("enough")

    whole = tench.fit("digits", recipe_of(symbol), run=tmp_path / "whole")
    tench.fit("digits", recipe_of(symbol), run=tmp_path / "stopped", callbacks=[stop_after_one])
    symbol.unlink()
    stopped = tench.fit(run=tmp_path / "stopped")
    states = [tench.load(run).module.state_dict() for run in (whole, stopped)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
