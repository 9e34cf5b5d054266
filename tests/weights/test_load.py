import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.data.photos import array, part
from tests.weights.hub import put_in_hub

from tench.compat import import_timm, import_torchvision
from tench.data.formats.wordnet import imagenet
from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.exporting.convert import convert_weights
from tench.models import create
from tench.weights import own
from tench.weights.load import load

models: Any = import_torchvision().models
timm: Any = import_timm()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    card = own.ModelCard(
        arch="mlp",
        classes=Classes.of(["cat", "dog"]),
        channels=1,
        image_size=8,
        eval_resize=8,
        interpolation="bilinear",
        mean=(0.5,),
        std=(0.5,),
    )
    own.save(tmp_path, create("mlp", num_classes=2, image_size=8, channels=1), card)
    (tmp_path / "last.ckpt").write_bytes(b"")
    return tmp_path


def test_weights_from_torchvision_give_torchvisions_predictions(torch_cache: Path) -> None:
    torch.manual_seed(0)
    weights = models.ResNet18_Weights.IMAGENET1K_V1
    network = models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), torch_cache / "resnet18-f37072fd.pth")
    classifier = load("torchvision:resnet18.IMAGENET1K_V1", "cpu")
    assert (classifier.source, classifier.card.arch) == ("torchvision:resnet18.IMAGENET1K_V1", "resnet18")
    assert classifier.classes.ids == imagenet()
    assert classifier.classes.names[0].startswith("tench")
    photos = [part(300, 260), part(280, 400, 1)]
    with torch.inference_mode():
        expected = [network(weights.transforms()(photo)[None]).softmax(dim=1)[0].numpy() for photo in photos]
    np.testing.assert_allclose(
        classifier.probabilities([array(photo) for photo in photos]), expected, rtol=0, atol=1e-4
    )


def test_weights_from_timm_give_timms_predictions(hub_cache: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet18").eval()
    put_in_hub(hub_cache, "timm/resnet18.a1_in1k", network)
    classifier = load("timm:resnet18.a1_in1k", "cpu")
    assert (classifier.card.arch, classifier.classes.ids) == ("timm:resnet18", imagenet())
    config = timm.get_pretrained_cfg("resnet18.a1_in1k").to_dict()
    view = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config, model=network))
    photo = part(300, 260)
    with torch.inference_mode():
        expected = network(view(photo)[None]).softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.probabilities([array(photo)]), expected, rtol=0, atol=1e-4)


def test_published_weights_without_a_head_are_refused(hub_cache: Path) -> None:
    name = "vit_small_patch16_224.dino"
    put_in_hub(hub_cache, f"timm/{name}", timm.create_model("vit_small_patch16_224", num_classes=0))
    with pytest.raises(UsageError, match=rf"^timm:{name}: these weights have no classifier head\."):
        load(f"timm:{name}", "cpu")


def test_a_run_and_its_weights_file_can_be_loaded(run: Path) -> None:
    assert load(run, "cpu").card.arch == "mlp"
    assert load(str(run / "best.safetensors"), "cpu").card.classes.ids == ("cat", "dog")


@pytest.mark.parametrize("name", ["last.ckpt", "images.safetensors"])
def test_the_error_about_a_wrong_file_of_a_run_names_the_run(run: Path, name: str) -> None:
    (run / name).write_bytes(b"")
    with pytest.raises(UsageError) as refused:
        load(run / name)
    assert str(refused.value) == (
        f"{run / name}: a run is loaded from its best.safetensors. Pass the run directory: {run}"
    )


def test_the_error_about_a_file_that_does_not_name_its_network_says_how_to_name_it(tmp_path: Path) -> None:
    torch.save(models.resnet34(weights=None, num_classes=2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError) as refused:
        load(tmp_path / "w.pth")
    assert str(refused.value) == (
        f"{tmp_path / 'w.pth'}: the file does not name its network. Its tensors have the names and shapes of resnet34, "
        "timm:resnet34. Add -a ARCH; tench models PATTERN lists the names."
    )


def test_a_state_dict_is_loaded_for_the_named_network_with_its_usual_preprocessing(tmp_path: Path) -> None:
    network = models.resnet18(weights=None, num_classes=2).eval()
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, tmp_path / "w"
    )
    (tmp_path / "w").rename(tmp_path / "w.pth.tar")
    found = load(tmp_path / "w.pth.tar", arch="resnet18")
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(found.module(images), network(images))
    assert (found.card.image_size, found.card.eval_resize, len(found.classes)) == (224, 256, 2)
    assert found.card.mean == (0.485, 0.456, 0.406)


def test_the_network_that_a_checkpoint_names_is_used(tmp_path: Path) -> None:
    network = models.resnet18(weights=None, num_classes=3)
    torch.save({"arch": "resnet18", "state_dict": network.state_dict()}, tmp_path / "w.pth")
    assert load(tmp_path / "w.pth").card.arch == "resnet18"


def test_a_state_dict_with_names_of_its_own_is_matched_by_order_and_this_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    network = models.resnet18(weights=None, num_classes=2).eval()
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in network.state_dict()))
    renamed = {
        f"part{owners.index(name.rpartition('.')[0])}.{name.rpartition('.')[2]}": value
        for name, value in network.state_dict().items()
    }
    torch.save(renamed, tmp_path / "w.pth")
    found = load(tmp_path / "w.pth", arch="resnet18")
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(found.module(images), network(images))
    note = (
        f"{tmp_path / 'w.pth'}: its parameter names are unknown, so its layers were matched to resnet18 by order and "
        "shape. Check the accuracy: tench evaluate, or tench weights --verify."
    )
    assert note in caplog.messages


def test_a_state_dict_of_another_network_is_refused_with_the_first_difference(tmp_path: Path) -> None:
    torch.save(models.resnet18(weights=None, num_classes=2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(TenchError) as refused:
        load(tmp_path / "w.pth", arch="resnet34")
    start = f"{tmp_path / 'w.pth'}: its weights do not fit resnet34: layer1.2.conv1.weight is missing, and "
    assert str(refused.value).startswith(start)


def test_weights_with_grey_input_get_grey_preprocessing(tmp_path: Path) -> None:
    network = create("resnet18", num_classes=2, image_size=224, channels=1)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    card = load(tmp_path / "w.pth", arch="resnet18").card
    assert (card.channels, len(card.mean)) == (1, 1)
    assert card.mean[0] == pytest.approx(0.449)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_arch_is_refused_for_published_weights(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: these weights come with their network\. Leave --arch out\.$"):
        load(name, arch="resnet18")


def test_arch_is_refused_for_a_folder_that_names_its_network(tmp_path: Path) -> None:
    torch.save(models.resnet18(weights=None, num_classes=2).state_dict(), tmp_path / "w.pth")
    convert_weights(tmp_path / "w.pth", tmp_path / "folder", arch="resnet18")
    with pytest.raises(UsageError, match=r"folder: its model\.json names its network\. Leave arch out\."):
        load(tmp_path / "folder", arch="resnet18")


def test_the_error_about_a_bare_network_name_gives_the_name_of_its_published_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        load("resnet50")
    assert str(refused.value) == (
        "resnet50: no such run directory or weights file. For the weights that torchvision publishes, "
        "use torchvision:resnet50."
    )


def test_numbered_classes_get_names_from_a_file(tmp_path: Path) -> None:
    torch.save(models.resnet18(weights=None, num_classes=2).state_dict(), tmp_path / "w.pth")
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    classes = load(tmp_path / "w.pth", arch="resnet18", classes=str(tmp_path / "names.txt")).classes
    assert classes.ids == ("ant", "bee")


def test_the_error_about_a_folder_of_checkpoints_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save({"weight": torch.ones(1)}, tmp_path / "checkpoints/epoch=3.ckpt")
    (tmp_path / "checkpoints/notes.txt").write_text("")
    for arch in (None, "resnet18"):
        with pytest.raises(UsageError) as refused:
            load(tmp_path / "checkpoints", arch=arch)
        assert str(refused.value) == (
            f"{tmp_path / 'checkpoints'} is a folder with weights, epoch=3.ckpt. Pass the file: "
            f"{tmp_path / 'checkpoints/epoch=3.ckpt'}"
        )


def test_a_note_states_the_preprocessing_that_is_assumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tench")
    torch.save(models.resnet18(weights=None, num_classes=2).state_dict(), tmp_path / "w.pth")
    load(tmp_path / "w.pth", arch="resnet18")
    assert caplog.messages == [
        f"Note: {tmp_path / 'w.pth'} does not describe its preprocessing. The usual one of resnet18 is assumed: 224 px "
        "after resizing to 256 px, bilinear, mean 0.485 0.456 0.406, std 0.229 0.224 0.225."
    ]
