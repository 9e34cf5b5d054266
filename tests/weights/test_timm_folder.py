"""timm's folders, as timm itself writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.errors import error_of

from tench.compat import import_timm
from tench.weights.load import load

timm: Any = import_timm()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network for grey images and three classes, as `timm.models.save_for_hf` writes it."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3, in_chans=1)
    described = {"mean": (0.4,), "std": (0.2,), "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "squash"}
    timm.models.save_for_hf(
        network,
        tmp_path / "out",
        model_config={
            "label_names": ["n1", "n2", "n3"],
            "label_descriptions": {"n1": "ant", "n2": "bee", "n3": "cat"},
            "pretrained_cfg": described,
        },
        safe_serialization=True,
    )
    return tmp_path / "out"


def test_the_logits_the_input_and_the_classes_are_timms(folder: Path) -> None:
    found = load(folder)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.randn(2, 1, 160, 160)
    with torch.inference_mode():
        assert torch.equal(found.module(images), theirs(images))
    expected = timm.data.resolve_data_config({}, model=theirs)
    card = found.card
    assert (card.channels, card.image_size, card.image_size) == expected["input_size"]
    assert (card.mean, card.std) == (tuple(expected["mean"]), tuple(expected["std"]))
    assert card.interpolation == expected["interpolation"]
    assert (card.eval_resize, card.squash) == (168, True)
    assert (card.classes.ids, card.classes.names) == (("n1", "n2", "n3"), ("ant", "bee", "cat"))


def test_a_path_to_the_weights_loads_the_whole_folder(folder: Path) -> None:
    assert load(folder / "model.safetensors").card == load(folder).card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": "resnet51"},
            "the installed timm has no network 'resnet51'. Update timm, or correct architecture.",
        ),
        ({"model_args": {"act_layer": "gelu"}}, "model_args has act_layer, which tench does not support."),
        ({"model_args": {"global_pool": "max"}}, "model_args has global_pool, which tench does not support."),
        ({"label_names": ["one"]}, "label_names has 1 name, but num_classes is 3."),
    ],
)
def test_unsupported_networks_and_settings_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    assert error_of(load)(folder) == f"{folder / 'config.json'}: {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_mode": "border"}, "crop_mode is 'border'. Only center and squash are supported."),
        ({"interpolation": "nearest"}, "interpolation is 'nearest'. Only bilinear and bicubic are supported."),
        (
            {"input_size": [1, 160, 200]},
            "input_size is 160 x 200 and img_size 160. Only square images of one size are supported.",
        ),
    ],
)
def test_unsupported_preprocessing_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    assert error_of(load)(folder) == f"{folder / 'config.json'}: {message}"


@pytest.mark.parametrize("size", [64, 32])
def test_a_small_image_size_does_not_change_the_stem(tmp_path: Path, size: int) -> None:
    """tench fits the stems of its own networks to small images; timm does not."""
    torch.manual_seed(0)
    overlay = {"input_size": (3, size, size), "num_classes": 10}
    network = timm.create_model("mobilenetv2_035", num_classes=10, pretrained_cfg_overlay=overlay).eval()
    timm.models.save_for_hf(network, tmp_path / "out", safe_serialization=True)
    found = load(tmp_path / "out")
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        assert torch.equal(found.module(images), network(images))


def test_a_network_with_another_epsilon_for_trained_weights_gets_it(tmp_path: Path) -> None:
    network = timm.create_model("fbnetc_100", num_classes=3, bn_eps=1e-3).eval()
    timm.models.save_for_hf(network, tmp_path / "out", safe_serialization=True, model_args={})
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "out").module(images), network(images))


def changed(folder: Path, change: dict[str, Any]) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    return folder


def test_repeated_names_of_classes_get_numbers_as_ids(folder: Path) -> None:
    classes = load(changed(folder, {"label_names": ["crane", "crane", "cat"], "label_descriptions": None})).classes
    assert (classes.ids, classes.names) == (("0", "1", "2"), ("crane", "crane", "cat"))


def test_an_old_config_in_one_object_has_its_names_under_labels(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    flat = {"architecture": config["architecture"], "labels": ["a", "b", "c"], **config["pretrained_cfg"]}
    (folder / "config.json").write_text(json.dumps(flat | {"num_classes": 3, "input_size": [1, 160, 160]}))
    assert load(folder).classes.ids == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"num_classes": 10**12, "model_args": {"in_chans": 1}},
            "num_classes is 1,000,000,000,000, but no layer in model.safetensors has as many",
        ),
        ({"model_args": {"in_chans": 10**9}}, "in_chans is 1000000000. Only 1 and 3 are supported."),
        ({"model_args": {"in_chans": "x"}}, "in_chans is 'x', but should be"),
        ({"label_names": {"0": "a"}}, "label_names has 1 name, but num_classes is 3."),
        ({"pretrained_cfg": {"crop_pct": 0}}, "crop_pct is 0, but should be at most 1 and at least 0.01."),
        (
            {"pretrained_cfg": {"input_size": [1, 160, 160], "mean": [0.5], "std": [0]}},
            "cannot be used: std is [0.0], but should be",
        ),
    ],
)
def test_hostile_values_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    assert message in error_of(load)(changed(folder, change))


def test_arguments_that_only_matter_in_training_are_accepted(folder: Path) -> None:
    arguments = {"in_chans": 1, "drop_rate": 0.1, "drop_path_rate": 0.1}
    assert load(changed(folder, {"model_args": arguments})).card.channels == 1
