"""State dicts for torchvision, and the model card beside them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.exporting.test_to_timm import written
from tests.support.errors import error_of

from tench.compat import import_torchvision
from tench.exporting.convert import convert_weights
from tench.models import from_torchvision
from tench.models.from_torchvision import size_arguments
from tench.weights.load import load

models: Any = import_torchvision().models


@pytest.mark.parametrize(
    ("arch", "theirs"), [("resnet18", "resnet18"), ("timm:resnet18", "resnet18"), ("mobilenetv2_100", "mobilenet_v2")]
)
def test_torchvision_loads_the_state_dict_and_gives_equal_logits(tmp_path: Path, arch: str, theirs: str) -> None:
    ours = load(written(tmp_path / "run", arch, 128))
    folder = convert_weights(tmp_path / "run", tmp_path / "out", to="torchvision")
    network = models.get_model(theirs, num_classes=3).eval()
    network.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    images = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        expected = ours.module(images)
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-5 * float(expected.std()))


@pytest.mark.parametrize("to", ["timm", "torchvision"])
def test_the_code_in_the_model_card_loads_the_weights(tmp_path: Path, to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "run", "resnet18", 128)
    text = (convert_weights(tmp_path / "run", tmp_path / 'my "weights"', to=to) / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    found = names["model"].state_dict()
    expected = load(tmp_path / "run").module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_model_card_states_results_data_and_recipe(tmp_path: Path) -> None:
    facts = {
        "source": "/home/me/secret/flowers",
        "val": None,
        "layout": "folder",
        "fingerprint": "0123456789abcdef",
        "val_fraction": 0.1,
    }
    metrics = {"epoch": 3, "top1": 0.875, "top5": 1.0, "loss": 0.5}
    written(tmp_path / "run", "resnet18", 128, metrics=metrics, trained_on=facts)
    (tmp_path / "run/recipe.yaml").write_text("model:\n  weights: /home/me/secret/old.pth\ntraining:\n  epochs: 3\n")
    text = (convert_weights(tmp_path / "run", tmp_path / "out", to="timm", license="mit") / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert (head["library_name"], head["license"]) == ("timm", "mit")
    for line in (
        "# resnet18, 3 classes",
        "| images | 128 x 128 px, RGB |",
        "| resize | the shorter side to 135 px, bilinear, antialiased; then crop the centre |",
        "| validation top-1 | 87.50% |",
        "| dataset | flowers |",
        "| fingerprint of the training data | 0123456789abcdef |",
        "1. n2 (bee)",
        "  weights: old.pth",
        "  epochs: 3",
    ):
        assert line in text.splitlines()
    assert "secret" not in text


def test_the_model_card_leaves_out_unknown_facts(tmp_path: Path) -> None:
    written(tmp_path / "run", "resnet18", 128)
    text = (convert_weights(tmp_path / "run", tmp_path / "out", to="torchvision") / "README.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Input", "## Classes"]
    assert "license" not in text


def test_a_network_that_torchvision_does_not_have_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "run", "test_vit", 160)
    text = error_of(convert_weights)(tmp_path / "run", tmp_path / "out", to="torchvision")
    assert text == (
        f"{tmp_path / 'run'}: torchvision has no network that computes the same as test_vit. Nothing was written. "
        "torchvision has its own networks for images of more than 80 px: train one of them."
    )
    assert not (tmp_path / "out").exists()


def test_torchvision_cannot_create_networks_for_grey_images(tmp_path: Path) -> None:
    written(tmp_path / "run", "resnet18", 128, channels=1)
    text = error_of(convert_weights)(tmp_path / "run", tmp_path / "out", to="torchvision")
    assert text == f"{tmp_path / 'run'}: torchvision cannot create resnet18 for grey images. Use --to timm."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "size", "needed"),
    [
        ("vit_b_32", 64, {"image_size": 64}),
        ("maxvit_t", 448, {"input_size": (448, 448)}),
        ("googlenet", 64, {"aux_logits": False, "init_weights": True}),
        ("inception_v3", 64, {"aux_logits": False, "init_weights": True}),
        ("resnet18", 64, {}),
    ],
)
def test_torchvisions_builder_gets_what_it_needs_for_the_image_size(
    name: str, size: int, needed: dict[str, Any]
) -> None:
    assert size_arguments(name, size) == needed
    with torch.device("meta"):
        theirs = models.get_model(name, num_classes=3, **size_arguments(name, size))
        ours = from_torchvision.build(name, num_classes=3, image_size=size, channels=3)
    shapes = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in (ours, theirs)]
    assert shapes[0] == shapes[1]
