from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tench.compat import import_torchvision
from tench.data.table import Classes
from tench.input.views import IMAGENET_MEAN
from tench.models import create
from tench.weights.load import load
from tench.weights.renaming import as_torchvision
from tench.weights.start import load_start, starting_weights

models: Any = import_torchvision().models


def as_ti_holds_it(resnet: Any) -> nn.Module:
    """torchvision's network with the modules that TI's class has."""
    body = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    features = nn.Sequential(OrderedDict((name, getattr(resnet, name)) for name in body))
    parts = {"features": features, "pool": resnet.avgpool, "flatten": nn.Flatten(), "classifier": resnet.fc}
    return nn.Sequential(OrderedDict(parts))


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_a_checkpoint_of_a_ti_resnet_gives_the_logits_of_ti(tmp_path: Path, arch: str) -> None:
    torch.manual_seed(0)
    theirs = as_ti_holds_it(models.get_model(arch, num_classes=5)).eval()
    path = str(tmp_path / "model_best.pth")
    torch.save({"epoch": 3, "arch": f"{arch}_x1", "state_dict": theirs.state_dict(), "quantize": False}, path)
    found = starting_weights(path)
    assert found.arch == f"edgeai:{arch}_x1"
    module = create(found.arch, num_classes=5, image_size=128)
    load_start(module, found, found.arch, Classes.numbered_to(5))
    images = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(module.eval()(images), theirs(images))


@pytest.mark.parametrize(
    ("arch", "theirs"), [("mobilenetv2_tv_x1", "mobilenet_v2"), ("mobilenetv3_large_x1", "mobilenet_v3_large")]
)
def test_a_checkpoint_of_ti_with_torchvisions_layer_names_is_recognised_by_the_network_name(
    tmp_path: Path, arch: str, theirs: str
) -> None:
    network = models.get_model(theirs, num_classes=5)
    torch.save({"arch": arch, "state_dict": network.state_dict()}, tmp_path / "model_best.pth")
    found = starting_weights(str(tmp_path / "model_best.pth"))
    assert found.arch == f"edgeai:{arch}"
    module = create(found.arch, num_classes=5, image_size=128)
    load_start(module, found, found.arch, Classes.numbered_to(5))
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in network.state_dict().items())


def as_pycls_holds_it(regnet: Any) -> dict[str, nn.Module]:
    """torchvision's RegNet in the modules that pycls's class has."""

    def block(one: Any) -> nn.ModuleDict:
        parts = {"proj": one.proj[0], "bn": one.proj[1]} if one.proj is not None else {}
        layers = {f"{key}{end}": getattr(one.f, key)[at] for key in "abc" for at, end in enumerate(("", "_bn"))}
        if hasattr(one.f, "se"):
            squeeze = nn.Sequential(one.f.se.fc1, nn.ReLU(), one.f.se.fc2, nn.Sigmoid())
            layers["se"] = nn.ModuleDict({"f_ex": squeeze})
        return nn.ModuleDict(parts | {"f": nn.ModuleDict(layers)})

    stem = nn.ModuleDict({"conv": regnet.stem[0], "bn": regnet.stem[1]})
    stages = {
        f"s{number}": nn.ModuleDict({f"b{place}": block(one) for place, one in enumerate(stage, 1)})
        for number, stage in enumerate(regnet.trunk_output, 1)
    }
    return {"stem": stem, **stages}


@pytest.mark.parametrize(
    ("arch", "holder"),
    [
        ("edgeai:regnetx400mf_x1", "TI"),
        ("edgeai:regnetx800mf_x1", "TI"),
        ("regnet_x_400mf", "pycls"),
        ("regnet_y_400mf", "pycls"),
    ],
)
def test_a_regnet_of_ti_or_pycls_gets_torchvisions_names(tmp_path: Path, arch: str, holder: str) -> None:
    torch.manual_seed(0)
    ours: Any = create(arch, num_classes=5, image_size=128)
    parts = as_pycls_holds_it(ours)
    if holder == "TI":
        theirs = nn.ModuleDict({"features": nn.ModuleDict(parts), "classifier": ours.fc})
        content = {"arch": arch.removeprefix("edgeai:"), "state_dict": theirs.state_dict()}
    else:
        theirs = nn.ModuleDict(parts | {"head": nn.ModuleDict({"fc": ours.fc})})
        content = {"model_state": theirs.state_dict()}
    torch.save(content, tmp_path / "best.pth")
    found = starting_weights(str(tmp_path / "best.pth"))
    assert found.arch == (arch if holder == "TI" else None)
    assert found.state.keys() == ours.state_dict().keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in ours.state_dict().items())
    assert found.channel_order == (None if holder == "TI" else "bgr")
    card = load(tmp_path / "best.pth", arch=arch).card
    bgr = card.channel_order == "bgr"
    assert bgr == (holder == "pycls")
    assert card.mean == (IMAGENET_MEAN[::-1] if bgr else IMAGENET_MEAN)


@pytest.mark.parametrize("arch", ["resnet18", "vgg11", "mobilenet_v2", "densenet121", "efficientnet_b0"])
def test_torchvisions_own_names_are_unchanged(arch: str) -> None:
    with torch.device("meta"):
        state = models.get_model(arch).state_dict()
    assert as_torchvision(state) is state
