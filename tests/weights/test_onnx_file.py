"""Exported files as classifiers: the same options and answers as those of the run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.exporting.test_onnx import photographs
from tests.exporting.test_to_timm import written
from tests.support.errors import error_of

from tench.evaluation.evaluate import evaluate
from tench.exporting.convert import convert_weights
from tench.exporting.export import export
from tench.exporting.onnx_graph import onnx_model
from tench.weights.load import load
from tench.weights.onnx_file import GraphInput


def saved(path: Path, folder: Path, kind: GraphInput = "image") -> Path:
    """The graph of a folder's weights, not verified."""
    path.write_bytes(onnx_model(load(folder), kind).SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["image", "view", "normalised"])
@pytest.mark.parametrize("given", [{}, {"channels": 1}, {"test_time": "ten-crop"}], ids=str)
def test_it_predicts_what_the_model_predicts(
    tmp_path: Path, photo_folder: Path, kind: GraphInput, given: dict[str, Any]
) -> None:
    folder = written(tmp_path / "run", "resnet20", 64, **given)
    classifier, found = load(folder), load(saved(tmp_path / "it.onnx", folder, kind))
    assert found.classes == classifier.classes
    images = photographs(photo_folder, classifier.card.channels)
    tolerance = 0.02 if kind == "image" else 1e-5
    np.testing.assert_allclose(found.probabilities(images), classifier.probabilities(images), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["image", "view", "normalised"])
def test_it_has_the_metrics_of_the_model(tmp_path: Path, kind: GraphInput) -> None:
    import tench

    run = tench.fit("digits", tench.load_recipe("digits").replace(epochs=1), run=tmp_path / "run").folder
    export(run, tmp_path / "d.onnx", input=kind, verify=20)
    found, expected = evaluate(tmp_path / "d.onnx"), evaluate(run)
    assert (found.images, found.top1, found.top5) == (expected.images, expected.top1, expected.top5)
    assert found.loss == pytest.approx(expected.loss, abs=1e-5)
    assert np.array_equal(found.predicted[:, 0], expected.predicted[:, 0])


def test_other_files_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", "resnet20", 32)
    path = saved(tmp_path / "it.onnx", folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert error_of(load)(path) == f"{path} is not an ONNX file. It may be damaged; copy it again."
    model = onnx.load_from_string(whole)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    assert error_of(load)(path) == (
        f"{path} has no description of its model. Only files from tench export can be used."
    )
    model = onnx.load_from_string(whole)
    next(entry for entry in model.metadata_props if entry.key == "tench.card").value = json.dumps({"arch": 3})
    path.write_bytes(model.SerializeToString())
    assert error_of(load)(path).startswith(f"{path} does not describe a model (")
    model = onnx.load_from_string(whole)
    model.opset_import[0].version = 999
    path.write_bytes(model.SerializeToString())
    assert error_of(load)(path).startswith(f"{path}: onnxruntime cannot load it (")


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "it.onnx", written(tmp_path / "run", "resnet20", 32))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    path.write_bytes(model.SerializeToString())
    assert error_of(load)(path) == f"{path} has its weights in other files, which tench export never does."


def test_it_contains_its_network_and_cannot_be_converted_back(tmp_path: Path) -> None:
    path = saved(tmp_path / "it.onnx", written(tmp_path / "run", "resnet20", 32))
    assert error_of(load)(path, arch="resnet20") == (
        f"{path}: an ONNX file contains its network. Leave arch and model out."
    )
    assert "runs on the CPU" in error_of(load)(path, torch.device("cuda"))
    for call in (lambda: convert_weights(path, tmp_path / "out"), lambda: export(path, tmp_path / "again.onnx")):
        text = error_of(call)()
        assert text == f"{path} is an exported file, whose weights cannot be used. Name the run that it was made from."
