"""Folders for timm: timm itself loads them and must give our logits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.errors import error_of

from tench.compat import import_timm
from tench.data.table import Classes
from tench.exporting.convert import convert_weights
from tench.exporting.to_timm import crop_pct
from tench.models import create
from tench.weights import own
from tench.weights.load import load
from tench.weights.own import ModelCard

timm: Any = import_timm()


def written(folder: Path, arch: str, size: int, *, channels: int = 3, **given: Any) -> Path:
    """A folder of tench with random weights and 3 classes."""
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "classes": Classes.of(["n1", "n2", "n3"], ["ant", "bee", "cat"]),
        "eval_resize": size + 7,
        "interpolation": "bilinear",
        "mean": (0.1, 0.2, 0.3)[:channels],
        "std": (0.4, 0.5, 0.6)[:channels],
    }
    card = ModelCard(arch=arch, channels=channels, image_size=size, **(values | given))
    network = create(arch, num_classes=3, image_size=size, channels=channels, options=card.options)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            torch.nn.init.normal_(layer.running_mean, 0, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
    folder.mkdir()
    own.save(folder, network, card)
    return folder


@pytest.mark.parametrize(
    ("arch", "size", "channels", "theirs"),
    [
        ("timm:resnet18", 128, 3, "resnet18"),
        ("test_vit", 160, 3, "test_vit"),
        ("test_vit", 96, 3, "test_vit"),  # positions for another size
        ("test_byobnet", 160, 1, "test_byobnet"),
        ("tf_efficientnet_lite0", 224, 3, "tf_efficientnet_lite0"),
        ("fbnetc_100", 128, 3, "fbnetc_100"),  # epsilon of its batch norms depends on whether weights are loaded
        ("mobilenet_v2", 128, 3, "mobilenetv2_100"),  # torchvision's
        ("resnet50", 128, 3, "resnet50"),
        ("nnabla:resnet18", 128, 3, "resnet18"),
    ],
)
def test_timm_gives_our_logits_and_our_loader_gives_the_same_tensors(
    tmp_path: Path, arch: str, size: int, channels: int, theirs: str
) -> None:
    ours = load(written(tmp_path / "run", arch, size, channels=channels))
    folder = convert_weights(tmp_path / "run", tmp_path / "out", to="timm")
    assert json.loads((folder / "config.json").read_text())["architecture"] == theirs
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.randn(2, channels, size, size)
    with torch.inference_mode():
        expected = ours.module(images)
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-5 * float(expected.std()))
    again = load(folder)
    assert again.card.view == ours.card.view
    assert (again.classes.ids, again.classes.names) == (ours.classes.ids, ours.classes.names)
    tensors = zip(again.module.state_dict().values(), ours.module.state_dict().values(), strict=True)
    assert all(torch.equal(one, other.reshape(one.shape)) for one, other in tensors)


def test_the_config_describes_our_weights_and_not_those_that_timm_publishes(tmp_path: Path) -> None:
    written(tmp_path / "run", "tf_efficientnet_lite0", 128, squash=True)
    folder = convert_weights(tmp_path / "run", tmp_path / "out", to="timm", license="mit")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    found = timm.data.resolve_data_config({}, model=network)
    assert tuple(found["input_size"]) == (3, 128, 128)
    assert (tuple(found["mean"]), tuple(found["std"])) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (found["interpolation"], found["crop_mode"]) == ("bilinear", "squash")
    assert int(128 / found["crop_pct"]) == 135
    config = network.pretrained_cfg
    assert (config["num_classes"], config["license"], config["tag"]) == (3, "mit", "tench")
    assert not {"url", "hf_hub_id", "paper_ids", "origin_url"} & config.keys()
    assert (config["label_names"], config["label_descriptions"]["n2"]) == (["n1", "n2", "n3"], "bee")


def test_timm_resizes_to_the_same_side() -> None:
    for resize in range(224, 449):
        transform = timm.data.create_transform((3, 224, 224), crop_pct=crop_pct(224, resize), interpolation="bilinear")
        assert transform.transforms[0].size == resize


def test_a_network_for_bgr_images_is_written_for_rgb(tmp_path: Path) -> None:
    ours = load(written(tmp_path / "run", "resnet18", 128, channel_order="bgr"))
    folder = convert_weights(tmp_path / "run", tmp_path / "out", to="timm")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    pixels = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        expected = ours.module(ours.card.normalise(torch.device("cpu"))(pixels))
        found = network((pixels / 255 - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arch", "size", "remark"),
    [
        ("apm5:resnet18_v2", 128, ""),
        ("resnet18", 32, " tench fits its stem to images of 32 px; timm has only the unfitted stem."),
    ],
)
def test_a_network_that_timm_does_not_have_is_refused(tmp_path: Path, arch: str, size: int, remark: str) -> None:
    written(tmp_path / "run", arch, size)
    text = error_of(convert_weights)(tmp_path / "run", tmp_path / "deep/out", to="timm")
    assert text == (
        f"{tmp_path / 'run'}: timm has no network that computes the same as {arch}.{remark} Nothing was written. timm "
        "has its own networks for images of more than 80 px: train one of them."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
