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
from tench.errors import UsageError
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


def test_the_error_about_a_file_of_another_trainer_says_what_can_be_used(tmp_path: Path) -> None:
    torch.save(models.alexnet(weights=None, num_classes=2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError) as refused:
        load(tmp_path / "w.pth")
    assert str(refused.value) == (
        f"{tmp_path / 'w.pth'}: the file describes neither classes nor preprocessing. Pass a run directory, a "
        ".safetensors file with model.json in the same folder, or published weights: torchvision:NAME, timm:NAME. To "
        "fine-tune these weights, use tench train --weights."
    )


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
