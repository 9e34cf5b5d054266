"""A network for a custom loop, with fresh or trained weights, and a log line on everything that was changed."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

import tench
from tench.compat import import_timm, import_torchvision
from tench.errors import TenchError, UsageError


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "tench")
    return caplog


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of resnet20 on the digits, whose images are grey and 8 pixels wide."""
    recipe = tench.load_recipe("digits").replace(epochs=1)
    return tench.fit("digits", recipe=recipe, run=tmp_path_factory.mktemp("runs") / "digits").folder


def test_fresh_weights_equal_the_librarys_initialisation() -> None:
    torch.manual_seed(5)
    ours = tench.create_model("timm:resnet18", 7, image_size=224)
    torch.manual_seed(5)
    theirs = import_timm().create_model("resnet18", num_classes=7)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    assert ours.training


def test_by_default_the_network_has_its_usual_size_and_classes() -> None:
    import_torchvision()
    from torchvision.models import resnet18

    ours = tench.create_model("resnet18")
    assert [tensor.shape for tensor in ours.parameters()] == [tensor.shape for tensor in resnet18().parameters()]


def test_the_network_has_the_requested_classes_size_and_channels() -> None:
    classes = tench.open_source("digits").classes
    model = tench.create_model("resnet20", classes, image_size=16, channels=1)
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


def test_adapting_the_stem_to_small_images_is_logged(notes: pytest.LogCaptureFixture) -> None:
    tench.create_model("resnet18", 2, image_size=32)
    assert [note for note in notes.messages if note.startswith("Stem")] == [
        "Stem fitted to 32 px: the first convolution (conv1) has stride 1 instead of 2 and a 3x3 kernel instead of "
        "7x7, and the max pooling after it (maxpool) is removed."
    ]


def test_weights_of_a_run_give_the_predictions_of_the_run(run: Path, notes: pytest.LogCaptureFixture) -> None:
    model = tench.create_model("resnet20", tench.open_source("digits").classes, pretrained=run, channels=1).eval()
    assert "Weights: Head (head: 10 classes) kept: the classes are the same." in notes.messages
    classifier = tench.load(run)
    with tench.loader("digits", "val", device="cpu") as loader, torch.inference_mode():
        images = loader.normalise(next(loader.epoch(0)).images)
        torch.testing.assert_close(model(images), classifier.module.cpu()(images))


def test_weights_keep_their_classes_and_size_by_default(run: Path) -> None:
    model = tench.create_model("resnet20", pretrained=str(run), channels=1)
    assert model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_other_classes_get_a_new_head_and_the_log_says_so(run: Path, notes: pytest.LogCaptureFixture) -> None:
    model = tench.create_model("resnet20", 4, pretrained=run, channels=1)
    assert "Weights: Head (head: 10 classes) reinitialised for 4 classes." in notes.messages
    trained = tench.load(run).module.cpu().state_dict()
    kept = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, trained[name])}
    assert {name for name in trained if not name.startswith("head.")} <= kept
    assert model(torch.zeros(1, 1, 8, 8)).shape == (1, 4)


def test_adapting_the_first_filters_to_other_channels_is_logged(run: Path, notes: pytest.LogCaptureFixture) -> None:
    model = tench.create_model("resnet20", pretrained=run, channels=3).eval()
    note = next(note for note in notes.messages if note.startswith("Weights: First convolution"))
    assert note.endswith("weights of 1 channel spread over 3, for colour images.")
    grey = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(
        model(grey.expand(-1, 3, -1, -1)), tench.load(run).module.cpu()(grey), rtol=1e-3, atol=1e-4
    )


def test_a_pytorch_state_dict_is_accepted(tmp_path: Path) -> None:
    theirs = import_timm().create_model("resnet18", num_classes=5)
    nn.init.constant_(theirs.fc.bias, 3.0)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    model = tench.create_model("timm:resnet18", 5, pretrained=tmp_path / "theirs.pth", image_size=224)
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_weights_of_another_network_are_an_error(run: Path) -> None:
    with pytest.raises(TenchError) as error:
        tench.create_model("resnet32", pretrained=run, channels=1)
    assert str(error.value).startswith(f"{run}: the weights do not fit resnet32: ")
    assert str(error.value).endswith("The weights belong to resnet20: add -a resnet20.")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, "No network is called 'resnet19'. Did you mean "),
        ("resnet20", {"num_classes": 0}, "num_classes must be at least 1, got 0."),
        ("resnet20", {"pretrained": "no/such/run"}, "no/such/run: no such file or run directory."),
        (
            "nnabla:resnet50",
            {"pretrained": True},
            "nnabla:resnet50: this network has no published weights. Pass a run or a file as pretrained=, or leave it "
            "out.",
        ),
    ],
)
def test_an_unknown_name_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        tench.create_model(name, **options)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)
