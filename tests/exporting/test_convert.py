import json
import logging
import os
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.errors import error_of
from tests.weights.test_mxnet_params import array_bytes, file_bytes
from tests.weights.test_nnabla import written

from tench.compat import import_torchvision
from tench.exporting import convert
from tench.exporting.convert import convert_weights
from tench.weights.create import create_model
from tench.weights.load import load
from tench.weights.nnabla_h5 import read_h5
from tench.weights.own import Classifier

models: Any = import_torchvision().models


@pytest.fixture
def state(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None, num_classes=3).state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_the_folder_has_the_weights_and_their_preprocessing(state: Path, tmp_path: Path) -> None:
    assert convert_weights(state, tmp_path / "out", arch="resnet18") == tmp_path / "out"
    found = load(tmp_path / "out")
    expected = torch.load(state, weights_only=True)
    assert all(torch.equal(found.module.state_dict()[name], value) for name, value in expected.items())
    assert (found.card.arch, found.card.image_size, found.card.eval_resize) == ("resnet18", 224, 256)
    assert found.classes.numbered
    assert sorted(os.listdir(tmp_path)) == ["out", "w.pth"]


def test_the_permissions_are_those_of_the_umask(state: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        convert_weights(state, tmp_path / "out", arch="resnet18")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "best.safetensors").stat().st_mode & 0o777 == 0o644


def test_nnablas_file_gets_a_folder_or_another_layout(tmp_path: Path) -> None:
    path = written(tmp_path / "w.h5")
    convert_weights(path, tmp_path / "out")
    assert load(tmp_path / "out").card.arch == "nnabla:resnet18"
    convert_weights(path, tmp_path / "other.h5", layout="nhwc", channels=4)
    assert read_h5(tmp_path / "other.h5")[0].values.shape == (64, 7, 7, 4)


def test_classes_come_from_a_file_in_its_order(state: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("cat\ndog\nant\n")
    convert_weights(state, tmp_path / "out", arch="resnet18", classes=str(tmp_path / "mine.txt"))
    assert load(tmp_path / "out").classes.ids == ("cat", "dog", "ant")


def test_imagenets_classes_are_known_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "w.h5", num_classes=1000)
    convert_weights(path, tmp_path / "out", classes="imagenet")
    classes = load(tmp_path / "out").classes
    assert (classes.ids[0], classes.names[0]) == ("n01440764", "tench, Tinca tinca")


def test_another_number_of_classes_is_refused(state: Path, tmp_path: Path) -> None:
    text = error_of(convert_weights)(state, tmp_path / "out", arch="resnet18", classes="imagenet")
    assert text == "imagenet names 1,000 classes, but the network has 3 outputs."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("dest", "given", "message"),
    [
        ("out.pth", {}, "out.pth has the suffix .pth. Name a folder, or a file with the suffix .h5."),
        ("out.h5", {}, "w.pth is not an NNabla parameter file. Only such a file can be written as .h5."),
        ("out.h5", {"arch": "resnet18"}, "--arch has no effect if the destination is an NNabla file. Leave it out."),
        (
            "out",
            {"channels": 3},
            "--channels has no effect if the destination is a folder for tench. Leave it out. For that, DEST must end "
            "in .h5.",
        ),
        ("out", {"license": "mit"}, "--license has no effect if the destination is a folder for tench. Leave it out."),
        ("out", {"to": "timm", "layout": "nchw"}, "a folder for timm. Leave it out. For that, DEST must end in .h5."),
        ("out.h5", {"to": "timm"}, "--to has no effect if the destination is an NNabla file. Leave it out."),
        ("w.pth", {}, "w.pth exists. Remove it, or name a new destination."),
        ("out", {"arch": "resnet34"}, "Name the right one with -a."),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_left(
    state: Path, tmp_path: Path, dest: str, given: dict[str, Any], message: str
) -> None:
    text = error_of(convert_weights)(state, tmp_path / dest, **given)
    assert text.endswith(message)
    assert os.listdir(tmp_path) == ["w.pth"]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """32 small images: 6 green ants, 20 red cats, 6 blue dogs. The noise differs."""
    rng = np.random.default_rng(0)
    for name, count, colour in (("ant", 6, 1), ("cat", 20, 0), ("dog", 6, 2)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 64, (40, 40, 3), dtype=np.uint8)
            pixels[..., colour] += 180
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{index}.png")
    (tmp_path / "classes.txt").write_text("ant\ncat\ndog\n")
    return tmp_path / "pets"


def verified(state: Path, pets: Path, values: dict[str, torch.Tensor]) -> Path:
    torch.save(values, state)
    classes = str(pets.parent / "classes.txt")
    return convert_weights(state, pets.parent / "out", arch="resnet18", classes=classes, verify=str(pets))


def test_weights_that_know_the_images_are_written_and_the_accuracy_is_logged(
    state: Path, pets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tench")
    values = torch.load(state, weights_only=True)
    features = models.resnet18(weights=None, num_classes=3)
    features.load_state_dict(values)
    features.fc = torch.nn.Identity()
    card = load(state, arch="resnet18").card
    views = [card.view.pixels(np.asarray(Image.open(path))) for path in sorted(pets.glob("*/*.png"))]
    pixels = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        inputs = features.eval()(card.normalise(torch.device("cpu"))(pixels))
    labels = torch.tensor([0] * 6 + [1] * 20 + [2] * 6)
    values["fc.weight"] = torch.linalg.lstsq(inputs.clone(), torch.eye(3)[labels]).solution.T.contiguous()
    values["fc.bias"] = torch.zeros(3)
    assert verified(state, pets, values).is_dir()
    assert f"{pets} (train): top-1 100.00%, top-5 100.00%." in caplog.messages


def test_without_arch_the_networks_that_fit_are_compared_on_the_images(
    tmp_path: Path, pets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the accuracy can tell the two EfficientNets apart: their padding differs, their tensors do not."""
    caplog.set_level(logging.INFO, "tench")
    torch.save(create_model("tf_efficientnet_lite0", 3).state_dict(), tmp_path / "w.pth")
    measured = {"efficientnet_lite0": 0.5, "tf_efficientnet_lite0": 0.9}
    evaluated: list[str] = []

    def accuracy(classifier: Classifier, source: str) -> Any:
        evaluated.append(classifier.card.arch)
        return types.SimpleNamespace(top1=measured[classifier.card.arch])

    monkeypatch.setattr(convert, "evaluate", accuracy)
    monkeypatch.setattr(convert, "_require_skill", lambda *_: None)
    convert_weights(tmp_path / "w.pth", tmp_path / "out", verify=str(pets))
    assert load(tmp_path / "out").card.arch == "tf_efficientnet_lite0"
    assert sorted(evaluated) == sorted(measured)
    assert "tf_efficientnet_lite0: top-1 90.00%" in caplog.messages


@pytest.mark.parametrize(("constant_class", "top1"), [(1, "62.50%"), (0, "18.75%")])
def test_weights_that_always_give_the_same_answer_are_refused_however_often_it_is_right(
    state: Path, pets: Path, constant_class: int, top1: str
) -> None:
    values = torch.load(state, weights_only=True)
    values["fc.weight"].zero_()
    values["fc.bias"] = torch.eye(3)[constant_class]
    text = error_of(verified)(state, pets, values)
    assert (
        f"top-1 on {pets} (train) is {top1} of 32 images, and the mean over the classes is 33.33%; chance is " in text
    )
    assert not (pets.parent / "out").exists()


def test_weights_of_tench_need_a_target_library(state: Path, tmp_path: Path) -> None:
    convert_weights(state, tmp_path / "out", arch="resnet18")
    for source in (tmp_path / "out", tmp_path / "out/best.safetensors"):
        text = error_of(convert_weights)(source, tmp_path / "again")
        assert text == (
            f"{source} already has tench's weights. To export them, choose a library: --to timm or --to torchvision."
        )


def test_weights_that_are_not_finite_are_refused(state: Path, tmp_path: Path) -> None:
    values = torch.load(state, weights_only=True)
    values["fc.bias"][0] = torch.nan
    torch.save(values, state)
    assert "NaN" in error_of(convert_weights)(state, tmp_path / "out", arch="resnet18")
    assert not (tmp_path / "out").exists()


def test_a_network_that_tench_does_not_have_keeps_its_graph(tmp_path: Path) -> None:
    weight = {"op": "null", "name": "fc_weight", "inputs": []}
    bias = {"op": "null", "name": "fc_bias", "inputs": []}
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "Pooling", "name": "pool", "attrs": {"kernel": "(2, 2)", "stride": "(2, 2)"}, "inputs": [[0, 0, 0]]},
        weight,
        bias,
        {
            "op": "FullyConnected",
            "name": "fc",
            "attrs": {"num_hidden": "4"},
            "inputs": [[1, 0, 0], [2, 0, 0], [3, 0, 0]],
        },
    ]
    graph = {"nodes": nodes, "arg_nodes": [0, 2, 3], "heads": [[4, 0, 0]]}
    (tmp_path / "net-symbol.json").write_text(json.dumps(graph))
    (tmp_path / "net-0001.params").write_bytes(
        file_bytes(
            [
                array_bytes(np.random.default_rng(0).standard_normal((4, 196)).astype(np.float32)),
                array_bytes(np.zeros(4, np.float32)),
            ],
            [b"arg:fc_weight", b"arg:fc_bias"],
        )
    )
    convert_weights(tmp_path / "net-symbol.json", tmp_path / "out")
    found = load(tmp_path / "out")
    assert (found.card.arch, found.card.channels, found.card.image_size) == ("mxnet:symbol", 1, 28)
    images = torch.rand(2, 1, 28, 28)
    pooled = torch.nn.functional.max_pool2d(images, 2, 2).flatten(1)
    with torch.inference_mode():
        assert torch.allclose(found.module(images), pooled @ found.module.state_dict()["fc.weight"].T, atol=1e-5)
