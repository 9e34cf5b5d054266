import copy
import importlib
from typing import Any

import pytest
import torch
from torch import nn

from tench.compat import import_timm, import_torchvision
from tench.training.optimizer import make_optimizer, parameter_groups, scale_norm_biases
from tench.training.recipe import ResolvedOptimizer

DECAY = 5e-4


def by_timms_rule(network: nn.Module) -> dict[float, set[str]]:
    import_timm()
    rule: Any = importlib.import_module("timm.optim").param_groups_weight_decay
    return names_by_decay(network, rule(network, DECAY))


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    models: Any = import_torchvision().models
    network: nn.Module = models.resnet18(weights=None)
    return network


def names_by_decay(network: nn.Module, groups: list[dict[str, Any]]) -> dict[float, set[str]]:
    name_of = {parameter: name for name, parameter in network.named_parameters()}
    return {group["weight_decay"]: {name_of[parameter] for parameter in group["params"]} for group in groups}


def test_all_parameters_have_weight_decay_by_default(resnet18: nn.Module) -> None:
    groups = parameter_groups(resnet18, DECAY, "all")
    assert names_by_decay(resnet18, groups) == {DECAY: {name for name, _ in resnet18.named_parameters()}}


def test_not_norms_excludes_only_normalisation_layers(resnet18: nn.Module) -> None:
    # torchvision: set_weight_decay in references/classification/utils.py does this with --norm-weight-decay 0
    norms = {
        f"{layer}.{name}"
        for layer, module in resnet18.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for name, _ in module.named_parameters()
    }
    others = {name for name, _ in resnet18.named_parameters()} - norms
    assert len(norms) == 40
    assert "fc.bias" in others
    groups = parameter_groups(resnet18, DECAY, "not-norms")
    assert names_by_decay(resnet18, groups) == {DECAY: others, 0.0: norms}


@pytest.mark.parametrize("arch", ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_not_norms_and_biases_matches_timms_rule(arch: str) -> None:
    timm: Any = import_timm()
    rule: Any = importlib.import_module("timm.optim").param_groups_weight_decay

    with torch.device("meta"):
        network: nn.Module = timm.create_model(arch, num_classes=10)
    theirs = rule(network, DECAY)
    ours = parameter_groups(network, DECAY, "not-norms-and-biases")
    assert names_by_decay(network, ours) == names_by_decay(network, theirs)


def test_not_biases_matches_mxnets_rule(resnet18: nn.Module) -> None:
    # Optimizer.set_wd_mult of MXNet 1.9 decays names ending in _weight or _gamma. torch calls both weight.
    names = {name for name, _ in resnet18.named_parameters()}
    pulled = {name for name in names if name.endswith(".weight")}
    assert "bn1.weight" in pulled
    groups = parameter_groups(resnet18, DECAY, "not-biases")
    assert names_by_decay(resnet18, groups) == {DECAY: pulled, 0.0: names - pulled}


def test_not_named_bn_matches_ffcv_imagenets_rule_and_decays_the_norms_of_shortcuts(resnet18: nn.Module) -> None:
    names = {name for name, _ in resnet18.named_parameters()}
    spared = {name for name in names if "bn" in name}
    assert "layer2.0.downsample.1.weight" in names - spared
    assert len(spared) == 34
    groups = parameter_groups(resnet18, DECAY, "not-named-bn")
    assert names_by_decay(resnet18, groups) == {DECAY: names - spared, 0.0: spared}


def test_biases_of_norms_learn_64_times_faster_with_the_same_weight_decay() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.norm1, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)
            self.norm1.weight.requires_grad_(False)

    network = Net()
    lr, decay = 0.01, 2e-4  # airbench/utils.py divides one decay by each group's learning rate
    theirs = {
        lr * 64: (decay / (lr * 64), {name for name, _ in network.named_parameters() if "norm" in name}),
        lr: (decay / lr, {name for name, _ in network.named_parameters() if "norm" not in name}),
    }
    groups = scale_norm_biases(parameter_groups(network, decay / lr, "all"), network, 64.0)
    name_of = {parameter: name for name, parameter in network.named_parameters()}
    ours = {
        lr * group.get("lr_scale", 1.0): (group["weight_decay"], {name_of[one] for one in group["params"]})
        for group in groups
    }
    theirs[lr * 64][1].remove("norm1.weight")  # frozen
    assert ours == theirs


def test_without_norms_the_groups_do_not_change() -> None:
    network = nn.Linear(2, 2)
    groups = parameter_groups(network, DECAY, "not-biases")
    assert scale_norm_biases(groups, network, 64.0) == groups


@pytest.mark.parametrize("decay", ["all", "not-norms", "not-norms-and-biases", "not-biases", "not-named-bn"])
def test_groups_contain_each_trainable_parameter_once_and_no_frozen_one(decay: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    network[0].weight.requires_grad_(False)
    found = [parameter for group in parameter_groups(network, DECAY, decay) for parameter in group["params"]]
    assert len(found) == len(set(found))
    assert set(found) == set(network.parameters()) - {network[0].weight}


def test_no_group_is_empty() -> None:
    assert [len(group["params"]) for group in parameter_groups(nn.BatchNorm1d(3), DECAY, "not-norms")] == [2]


@pytest.mark.parametrize(
    "values",
    [
        {"momentum": 0.0},
        {"momentum": 0.9, "weight_decay": 0.0},
        {"momentum": 0.9, "weight_decay": 1e-2},
        {"momentum": 0.9, "weight_decay": 1e-2, "nesterov": True},
    ],
)
def test_the_fused_update_matches_torchs_plain_sgd(values: dict[str, Any]) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    theirs = copy.deepcopy(ours)
    recipe = ResolvedOptimizer(lr=0.1, eps=1e-8, **values)
    fused = make_optimizer(ours, recipe)
    plain = torch.optim.SGD(
        theirs.parameters(),
        lr=0.1,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        foreach=False,
        fused=False,
    )
    before = copy.deepcopy(theirs.state_dict())
    for _ in range(10):
        images = torch.randn(8, 5)
        for network, optimizer in ((ours, fused), (theirs, plain)):
            optimizer.zero_grad()
            torch.autograd.backward(network(images).square().mean())
            optimizer.step()
    for name, expected in theirs.state_dict().items():
        assert not torch.equal(expected, before[name])
        torch.testing.assert_close(ours.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
