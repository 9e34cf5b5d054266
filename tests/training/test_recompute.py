"""Recomputed blocks compared with the same network that keeps all activations."""

import copy

import pytest
import torch
from torch import nn

from tench.errors import UsageError
from tench.models import create
from tench.training.recompute import recompute_blocks

ARCHS = {"resnet50": 16, "mobilenet_v3_small": 11, "convnext_tiny": 18, "timm:vit_tiny_patch16_224": 12, "swin_t": 15}
"""Networks and their numbers of blocks. swin_t has 12, and 3 that merge patches between its stages."""
BY_NAME = "timm:eva02_tiny_patch14_224"
"""A network that passes its blocks the positions by name."""


def network(arch: str, size: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return create(arch, num_classes=3, image_size=size)


def both(arch: str, size: int = 32) -> tuple[nn.Module, nn.Module, int]:
    """(the network, the same network with recomputed blocks, the number of recomputed blocks)"""
    kept = network(arch, size)
    recomputed = copy.deepcopy(kept)
    return kept, recomputed, recompute_blocks(recomputed, arch)


def backward(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """(logits, gradients and buffers by name) after one pass; dropout is the same in each call."""
    module.zero_grad()
    torch.manual_seed(1)
    logits: torch.Tensor = module(images)
    torch.autograd.backward(logits.square().sum())
    found = {f"gradient of {name}": one.grad for name, one in module.named_parameters() if one.grad is not None}
    return logits.detach(), found | dict(module.named_buffers())


def saved_bytes(module: nn.Module, images: torch.Tensor) -> int:
    """Bytes that the forward pass keeps for the backward pass besides the parameters. Each storage is counted once."""
    own = {one.untyped_storage().data_ptr() for one in module.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(images)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize(("arch", "count"), [*ARCHS.items(), (BY_NAME, 12)])
def test_logits_gradients_and_running_statistics_are_the_same_to_the_bit(arch: str, count: int) -> None:
    size = 14 if arch == BY_NAME else 32
    kept, recomputed, found = both(arch, size)
    assert found == count
    images = torch.randn(2, 3, size, size)
    (logits, expected), (same_logits, same) = backward(kept, images), backward(recomputed, images)
    assert torch.equal(same_logits, logits)
    assert same.keys() == expected.keys()
    for name in expected:
        assert torch.equal(same[name], expected[name]), name


class Block(nn.Module):
    """With dropout and a batch norm inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.drop(self.norm(self.conv(x)).relu())  # type: ignore[no-any-return]


def test_dropout_is_the_same_in_both_passes() -> None:
    torch.manual_seed(0)
    kept = nn.Sequential(Block(), Block())
    recomputed = copy.deepcopy(kept)
    assert recompute_blocks(recomputed, "two") == 2
    images = torch.randn(2, 3, 6, 6)
    expected, found = backward(kept, images), backward(recomputed, images)
    assert torch.equal(found[0], expected[0])
    for name in expected[1]:
        assert torch.equal(found[1][name], expected[1][name]), name
    assert recomputed.get_submodule("0.norm").num_batches_tracked == 1


@pytest.mark.parametrize("arch", ["resnet50", "convnext_tiny"])
def test_fewer_than_half_of_the_activations_are_kept(arch: str) -> None:
    kept, recomputed, _ = both(arch)
    images = torch.randn(2, 3, 32, 32)
    assert saved_bytes(recomputed, images) < saved_bytes(kept, images) / 2


def test_nothing_is_recomputed_in_evaluation_mode() -> None:
    kept, recomputed, _ = both("resnet20")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(recomputed.eval()(images), kept.eval()(images))
    assert saved_bytes(recomputed, images) == saved_bytes(kept, images)


def test_a_copy_computes_with_its_own_weights() -> None:
    """The weight average is such a copy, and so is the network that is tried with torch.compile."""
    _, recomputed, _ = both("resnet20")
    other = copy.deepcopy(recomputed)
    images = torch.randn(2, 3, 32, 32)
    before = other(images)
    with torch.no_grad():
        for parameter in recomputed.parameters():
            parameter.zero_()
    assert torch.equal(other(images), before)
    torch.autograd.backward(other(images).sum())
    assert all(parameter.grad is None for parameter in recomputed.parameters())


def test_the_names_of_weights_do_not_change() -> None:
    kept, recomputed, _ = both("resnet20")
    assert list(recomputed.state_dict()) == list(kept.state_dict())


@pytest.mark.parametrize("arch", ["lenet", "mlp"])
def test_a_network_without_blocks_is_refused(arch: str) -> None:
    with pytest.raises(UsageError) as refused:
        recompute_blocks(network(arch), arch)
    assert str(refused.value) == f"{arch} has no residual blocks to recompute. Leave --recompute out."
