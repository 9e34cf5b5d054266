"""Exported graphs, run by onnxruntime on real photographs: they give the model's answers."""

import contextlib
import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from tests.exporting.test_to_timm import written
from tests.support.errors import error_of
from torch import Tensor, nn

from tench.exporting import export as module
from tench.exporting.export import export
from tench.exporting.onnx_graph import onnx_model
from tench.weights.load import load
from tench.weights.onnx_file import GraphInput
from tench.weights.own import Classifier


def session_of(classifier: Classifier, kind: GraphInput) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(onnx_model(classifier, kind).SerializeToString())


def photographs(photo_folder: Path, channels: int) -> list[np.ndarray[Any, Any]]:
    """Photographs and parts of them, of all shapes, (H, W, channels) uint8."""
    files = sorted(photo_folder.rglob("*.jpg"))[:6]
    images = [Image.open(file).convert("RGB" if channels == 3 else "L") for file in files]
    first = images[0]
    images += [first.crop((0, 0, *size)) for size in ((40, 31), (33, 90), (64, 64), (7, 5), (65, 64))]
    return [np.asarray(image).reshape(image.height, image.width, channels) for image in images]


CASES: list[dict[str, Any]] = [
    {},
    {"interpolation": "bicubic"},
    {"channels": 1},
    {"channels": 1, "interpolation": "bicubic"},
    {"channel_order": "bgr"},
    {"squash": True},
    {"eval_resize": 96},
    {"eval_resize": 97},
    {"eval_resize": 127},
    {"test_time": "mirror"},
    {"test_time": "ten-crop"},
]


@pytest.mark.parametrize("given", CASES, ids=str)
def test_an_image_of_any_size_gets_the_models_probabilities(
    tmp_path: Path, photo_folder: Path, given: dict[str, Any]
) -> None:
    classifier = load(written(tmp_path / "run", "test_vit" if "squash" in given else "resnet20", 96, **given))
    session = session_of(classifier, "image")
    for image in photographs(photo_folder, classifier.card.channels):
        expected = classifier.probabilities(image)[0]
        (found,) = session.run(None, {"images": image[None]})[0]
        # Resizing differs from Pillow's by single levels of 255 in few pixels.
        assert np.abs(found - expected).max() < 0.02, image.shape
        assert found.argmax() == expected.argmax() or np.ptp(np.sort(expected)[-2:]) < 0.02


@pytest.mark.parametrize("given", [{}, {"channels": 1}, {"channel_order": "bgr"}, {"test_time": "ten-crop"}], ids=str)
def test_a_view_gets_the_models_probabilities_exactly(
    tmp_path: Path, photo_folder: Path, given: dict[str, Any]
) -> None:
    classifier = load(written(tmp_path / "run", "resnet20", 96, **given))
    views = [classifier.card.test_view.pixels(one) for one in photographs(photo_folder, classifier.card.channels)]
    (found,) = session_of(classifier, "view").run(None, {"images": np.stack(views)})
    np.testing.assert_allclose(found, classifier.of_views(views), rtol=0, atol=1e-5)


def test_normalised_images_get_the_models_logits_in_batches_of_any_size(tmp_path: Path) -> None:
    classifier = load(written(tmp_path / "run", "resnet20", 32))
    session = session_of(classifier, "normalised")
    for count in (1, 5):
        images = torch.randn(count, 3, 32, 32)
        (found,) = session.run(None, {"normalised": images.numpy()})
        with torch.inference_mode():
            expected = classifier.module(images).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.std())


def test_a_batch_of_equal_size_gets_the_answers_of_its_images(tmp_path: Path, photo_folder: Path) -> None:
    session = session_of(load(written(tmp_path / "run", "resnet20", 32)), "image")
    image = photographs(photo_folder, 3)[0]
    batch = np.stack([image, image[:, ::-1]])
    (together,) = session.run(None, {"images": batch})
    alone = np.concatenate([session.run(None, {"images": one[None]})[0] for one in batch])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["image", "view", "normalised"])
def test_the_graph_is_valid_and_describes_itself(tmp_path: Path, kind: GraphInput) -> None:
    model = onnx_model(load(written(tmp_path / "run", "resnet20", 32)), kind)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True), full_check=True)
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["tench.input"] == kind
    assert (facts["tench.classes"], facts["tench.class_names"]) == (["n1", "n2", "n3"], ["ant", "bee", "cat"])
    assert facts["tench.view"]["resize"] == 39
    assert facts["tench.card"]["arch"] == "resnet20"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tench

    recipe = tench.load_recipe("digits").replace(epochs=1)
    return tench.fit("digits", recipe, run=tmp_path_factory.mktemp("runs") / "digits").folder


@pytest.mark.parametrize("kind", ["image", "view", "normalised"])
def test_a_run_is_verified_on_the_images_that_it_was_validated_on(
    digits: Path, tmp_path: Path, kind: GraphInput
) -> None:
    found = export(digits, tmp_path / "d.onnx", input=kind, verify="all")
    assert (found.images, found.agreement, found.drop) == (359, 1.0, 0.0)
    assert found.largest_difference < 1e-4
    assert found.file_bytes == (tmp_path / "d.onnx").stat().st_size
    kept = json.loads((tmp_path / "d.json").read_text())
    assert (kept["images"], kept["source"], kept["input"]) == (359, "digits (val)", kind)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"d.onnx", "d.json", *(["d.py"] if kind == "image" else [])}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_times_are_measured_however_few_images_there_are(digits: Path, tmp_path: Path, count: int) -> None:
    found = export(digits, tmp_path / "d.onnx", verify=count)
    times = (found.model_ms, found.export_ms, found.model_images_per_second, found.export_images_per_second)
    assert found.images == count
    assert all(0 < value < math.inf for value in times)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_the_client_has_at_most_20_lines_and_gives_tenchs_answers(
    tmp_path: Path, photo_folder: Path, channels: int, exif: str
) -> None:
    folder = written(tmp_path / "run", "resnet20", 32, channels=channels, exif=exif)
    turned = Image.open(next(iter(sorted(photo_folder.rglob("*.jpg"))))).convert("RGB")
    tags = turned.getexif()
    tags[274] = 6
    turned.save(tmp_path / "turned.png", exif=tags)
    export(folder, tmp_path / "it's.onnx", source=photo_folder_of(tmp_path, turned), max_drop=100)
    client = tmp_path / "it's.py"
    assert len(client.read_text().splitlines()) <= 20
    done = subprocess.run(
        [sys.executable, "-I", client, tmp_path / "turned.png"], capture_output=True, text=True, timeout=300, check=True
    )
    expected = load(folder).predict(str(tmp_path / "turned.png"))[0]
    lines = [line.rpartition(": ")[2].split("% ", 1) for line in done.stdout.splitlines()]
    found = {name: float(percent) / 100 for percent, name in lines}
    assert found.keys() == {guess.name for guess in expected.predictions}
    assert all(abs(found[guess.name] - guess.probability) < 0.01 for guess in expected.predictions)


def photo_folder_of(tmp_path: Path, photo: Image.Image) -> Path:
    """Class folders for the classes of `written`."""
    for name in ("n1", "n2", "n3"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        photo.rotate(ord(name[1])).save(tmp_path / "photos" / name / "a.png")
    return tmp_path / "photos"


def test_a_file_that_loses_accuracy_is_refused_and_nothing_is_left(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network's first convolution is damaged between the model and the file."""
    whole = onnx_model

    def damaged(classifier: Classifier, kind: GraphInput) -> Any:
        other = load(digits)
        with torch.no_grad():
            next(other.module.parameters()).mul_(-1)
        return whole(other, kind)

    monkeypatch.setattr(module, "onnx_model", damaged)
    text = error_of(export)(digits, tmp_path / "deep/d.onnx")
    assert "on 359 images of digits (val) is " in text
    assert text.endswith("points exceeds max_drop, 0.1. Nothing was written.")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_nothing(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def full(path: Path) -> Iterator[Path]:
        raise OSError(28, "No space left on device", str(path))
        yield path

    monkeypatch.setattr(module, "complete_file", full)
    with pytest.raises(OSError, match="No space"):
        export(digits, tmp_path / "d.onnx", verify=10)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_onnx_cannot_represent_is_refused(digits: Path, tmp_path: Path) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            features = images.flatten(1)
            logits: Tensor = self.head(features if features.sum().item() > 0 else -features)
            return logits

    classifier = dataclasses.replace(load(digits), module=Branches())
    text = error_of(export)(classifier, tmp_path / "d.onnx")
    assert text.startswith(f"{digits}: resnet20 cannot be exported to ONNX (")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dest", "given", "message"),
    [
        ("d.pt", {}, "d.pt: an exported file must have the suffix .onnx."),
        ("taken.onnx", {}, "taken.json exists. Remove it, or name a new destination."),
        ("d.onnx", {"verify": 0}, "verify must be at least 1, or all, got 0."),
    ],
)
def test_bad_arguments_are_refused(
    digits: Path, tmp_path: Path, dest: str, given: dict[str, Any], message: str
) -> None:
    (tmp_path / "taken.json").touch()
    assert error_of(export)(digits, tmp_path / dest, **given).endswith(message)


def test_without_labelled_images_a_file_cannot_be_verified(tmp_path: Path) -> None:
    text = error_of(export)(written(tmp_path / "run", "resnet20", 32), tmp_path / "d.onnx")
    assert "d.onnx" not in [path.name for path in tmp_path.iterdir()]
    assert text.endswith("Name the dataset to evaluate.")
