import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tench.compat import import_timm, import_torchvision
from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.models import create
from tench.weights import own
from tench.weights.start import Start, load_start, starting_weights

models: Any = import_torchvision().models
timm: Any = import_timm()

CARD = own.ModelCard(
    arch="resnet20",
    classes=Classes.of(["n01", "n02", "n03"], ["cat", "dog", "fish"]),
    channels=1,
    image_size=12,
    eval_resize=14,
    interpolation="bicubic",
    mean=(0.1,),
    std=(0.4,),
    channel_order="bgr",
)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return create("resnet20", num_classes=3, image_size=12, channels=1)


@pytest.fixture
def run(tmp_path: Path, network: nn.Module) -> Path:
    own.save(tmp_path, network, CARD)
    checkpoint = {"arch": "resnet20", "model": network.state_dict(), "optimizer": {}, "step": 7}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    return tmp_path


def preprocessing(found: Start) -> tuple[Any, ...]:
    return (
        found.channels,
        found.image_size,
        found.eval_resize,
        found.interpolation,
        found.mean,
        found.std,
        found.channel_order,
    )


@pytest.mark.parametrize("file", ["", "best.safetensors", "last.ckpt"])
def test_a_tench_run_provides_everything(run: Path, network: nn.Module, file: str) -> None:
    found = starting_weights(str(run / file))
    assert found.source == str(run / file)
    assert (found.arch, found.classes, found.num_classes) == ("resnet20", CARD.classes, 3)
    assert preprocessing(found) == (1, 12, 14, "bicubic", (0.1,), (0.4,), "bgr")
    assert found.state.keys() == network.state_dict().keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in network.state_dict().items())


def test_a_run_started_from_a_tench_run_begins_with_its_final_weights(run: Path, network: nn.Module) -> None:
    module = create("resnet20", num_classes=3, image_size=12, channels=1)
    assert load_start(module, starting_weights(str(run)), "resnet20", CARD.classes) == [
        "Head (head: 3 classes) kept: the classes are the same."
    ]
    images = torch.randn(2, 1, 12, 12)
    with torch.inference_mode():
        torch.testing.assert_close(module.eval()(images), network.eval()(images), rtol=0, atol=0)


def test_the_average_in_a_tench_checkpoint_is_used_and_the_log_says_so(run: Path, network: nn.Module) -> None:
    average = {name: tensor * 2 for name, tensor in network.state_dict().items()}
    torch.save({"arch": "resnet20", "model": network.state_dict(), "average": average}, run / "last.ckpt")
    module = create("resnet20", num_classes=3, image_size=12, channels=1)
    notes = load_start(module, starting_weights(str(run / "last.ckpt")), "resnet20", CARD.classes)
    assert notes == [
        "The file has weights (model) and their running average (average); the average is used.",
        "Head (head: 3 classes) kept: the classes are the same.",
    ]
    assert all(torch.equal(tensor, average[name]) for name, tensor in module.state_dict().items())


def test_a_tench_checkpoint_without_its_run_names_its_network(run: Path) -> None:
    (run / "model.json").unlink()
    found = starting_weights(str(run / "last.ckpt"))
    assert (found.arch, found.classes) == ("resnet20", None)
    assert preprocessing(found) == (None,) * 7


def test_a_model_json_of_another_network_is_ignored(run: Path) -> None:
    (run / "model.json").write_text((run / "model.json").read_text().replace("resnet20", "resnet32"))
    assert starting_weights(str(run / "last.ckpt")).classes is None


def test_a_state_dict_provides_only_weights(tmp_path: Path) -> None:
    network = models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    found = starting_weights(str(tmp_path / "resnet18.pth"))
    assert found.state.keys() == network.state_dict().keys()
    others = [getattr(found, field.name) for field in dataclasses.fields(found)][2:]
    assert {str(one) for one in others} == {"PyTorch", "None", "False", "()"}


def test_a_checkpoint_of_pytorch_examples_names_its_network_and_loads(tmp_path: Path) -> None:
    network = models.resnet18(weights=None)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    path = str(tmp_path / "checkpoint.pth.tar")
    torch.save({"epoch": 1, "arch": "resnet18", "state_dict": state, "best_acc1": torch.tensor(1.0)}, path)
    found = starting_weights(path)
    assert found.arch == "resnet18"
    module = create("resnet18", num_classes=10, image_size=32)
    assert load_start(module, found, "resnet18", Classes.numbered_to(10)) == [
        "Head (fc: 1000 classes) reinitialised for 10 classes.",
        "First convolution (conv1) reinitialised: the stem is adapted to small images, with a 3x3 kernel instead of "
        "7x7. It is kept if the image size is larger than 80.",
    ]


def test_a_checkpoint_of_pytorch_examples_with_only_parallel_features_loads(tmp_path: Path) -> None:
    arch = "alexnet"
    network = models.get_model(arch, num_classes=5)
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.features = nn.DataParallel(network.features)  # as imagenet/main.py does for these networks
    torch.save({"epoch": 1, "arch": arch, "state_dict": network.state_dict()}, tmp_path / "checkpoint.pth.tar")
    module = create(arch, num_classes=5, image_size=96)
    load_start(module, starting_weights(str(tmp_path / "checkpoint.pth.tar")), arch, Classes.numbered_to(5))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in module.state_dict().items())


def test_a_timm_checkpoint_selects_timms_network_over_torchvisions_of_the_same_name(tmp_path: Path) -> None:
    network = timm.create_model("efficientnet_b0", num_classes=5)
    torch.save({"arch": "efficientnet_b0", "state_dict": network.state_dict()}, tmp_path / "last.pth.tar")
    found = starting_weights(str(tmp_path / "last.pth.tar"))
    assert found.arch == "timm:efficientnet_b0"
    module = create(found.arch, num_classes=5, image_size=96)
    assert load_start(module, found, found.arch, Classes.numbered_to(5)) == [
        "The file calls its network efficientnet_b0; the names of its weights match timm:efficientnet_b0.",
        "Head (classifier: 5 classes) kept by position: "
        f"{tmp_path / 'last.pth.tar'} does not name its classes, but their number equals the data's.",
    ]
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_a_checkpoint_of_a_network_that_torchvision_also_has_selects_torchvisions(tmp_path: Path) -> None:
    network = models.efficientnet_b0(weights=None, num_classes=5)
    torch.save({"arch": "efficientnet_b0", "state_dict": network.state_dict()}, tmp_path / "w.pth")
    found = starting_weights(str(tmp_path / "w.pth"))
    assert (found.arch, found.notes) == ("efficientnet_b0", ())


def test_the_name_of_a_network_that_tench_lacks_is_ignored(tmp_path: Path) -> None:
    torch.save({"arch": "netnet50", "state_dict": {"weight": torch.ones(2)}}, tmp_path / "w.pth")
    assert starting_weights(str(tmp_path / "w.pth")).arch is None


def test_a_name_with_a_library_prefix_is_passed_to_that_library() -> None:
    with pytest.raises(UsageError, match="torchvision has no network 'nothing18'"):
        starting_weights("torchvision:nothing18")
    with pytest.raises(UsageError, match="timm has no network 'nothing18'"):
        starting_weights("timm:nothing18")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet50", "For the weights that torchvision publishes, use torchvision:resnet50."),
        ("resnetv2_50.a1h_in1k", "For the weights that timm publishes, use timm:resnetv2_50.a1h_in1k."),
        ("no/where.pth", "For weights that torchvision or timm publish, use torchvision:NAME or timm:NAME."),
        ("resnet20", "For weights that torchvision or timm publish, use torchvision:NAME or timm:NAME."),
    ],
)
def test_the_error_about_a_missing_file_says_how_published_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        starting_weights(name)
    assert str(refused.value) == f"{name}: no such file or run directory. {hint}"


def test_a_directory_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TenchError, match=r"best\.safetensors is missing; it should contain the weights"):
        starting_weights(str(tmp_path))


def test_the_error_for_a_recipe_that_needs_weights_says_how_they_are_named() -> None:
    with pytest.raises(UsageError, match=r"^This recipe starts from trained weights\. Add --weights RUN,"):
        starting_weights("needed")
