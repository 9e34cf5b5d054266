"""`mxnet:NAME` and MXNet's own network of that name give the same logits for the same weights, assigned in order."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.interop.conftest import ENVIRONMENTS, Ask
from torch import Tensor, nn

from tench.models import create

SYMBOLS = "mxnet_symbols"
pytestmark = [pytest.mark.interop("mxnet"), pytest.mark.interop(SYMBOLS)]


@pytest.mark.parametrize(
    ("arch", "module", "options", "image_size", "channels"),
    [
        ("mlp", "mlp", {}, 28, 1),
        ("lenet", "lenet", {}, 28, 1),
        ("lenet-stn", "lenet", {"add_stn": True}, 40, 2),
        ("resnet-18", "resnet", {"num_layers": 18}, 224, 3),
        ("resnet-50", "resnet", {"num_layers": 50}, 96, 3),
        ("resnet-34", "resnet", {"num_layers": 34}, 30, 3),
        ("resnet-20", "resnet", {"num_layers": 20}, 28, 3),
        ("resnet-164", "resnet", {"num_layers": 164}, 28, 1),
        ("resnetv1-50", "resnetv1", {"num_layers": 50}, 224, 3),
        ("resnetv1-18", "resnetv1", {"num_layers": 18}, 32, 3),
        ("resnetv1-20", "resnetv1", {"num_layers": 20}, 24, 3),
        ("resnetv1-164", "resnetv1", {"num_layers": 164}, 28, 3),
        ("resnext-50", "resnext", {"num_layers": 50}, 224, 3),
        ("resnext-101-64x4d", "resnext", {"num_layers": 101, "num_group": 64}, 64, 3),
        ("resnext-18", "resnext", {"num_layers": 18}, 40, 3),
        ("resnext-20", "resnext", {"num_layers": 20}, 32, 3),
        ("resnext-164", "resnext", {"num_layers": 164}, 28, 3),
        ("inception-bn", "inception-bn", {}, 224, 3),
        ("inception-bn", "inception-bn", {}, 256, 3),
        ("inception-bn", "inception-bn", {}, 28, 3),
        ("alexnet", "alexnet", {}, 224, 3),
        ("alexnet", "alexnet", {}, 67, 1),
        ("vgg-11", "vgg", {"num_layers": 11}, 224, 3),
        ("vgg-16", "vgg", {"num_layers": 16}, 70, 1),
        ("googlenet", "googlenet", {}, 224, 3),
        ("inception-v3", "inception-v3", {}, 299, 3),
        ("inception-v4", "inception-v4", {}, 299, 3),
        ("inception-resnet-v2", "inception-resnet-v2", {}, 299, 3),
        ("mobilenet", "mobilenet", {}, 224, 3),
        ("mobilenet", "mobilenet", {}, 230, 1),
    ],
)
def test_the_same_weights_give_mxnets_logits(
    arch: str, module: str, options: dict[str, object], image_size: int, channels: int, tmp_path: Path, ask: Ask
) -> None:
    torch.manual_seed(0)
    network = create(f"mxnet:{arch}", num_classes=7, image_size=image_size, channels=channels).eval()
    unsettle(network)
    images = torch.rand(2, channels, image_size, image_size) * 2 - 1
    with torch.no_grad():
        ours = network(images)
    arrays = {"images": images.numpy(), **in_order("a", arguments(network)), **in_order("s", states(network))}
    np.savez(tmp_path / "given.npz", **arrays)  # type: ignore[arg-type]  # the stub mistakes a name for allow_pickle
    shape = ",".join(map(str, images.shape[1:]))
    given = json.dumps({"num_classes": 7, "image_shape": shape, **options})
    files = tmp_path / "given.npz", tmp_path / "logits.npy"
    names = ask("mxnet", "logits_mxnet.py", ENVIRONMENTS / SYMBOLS, module, given, *files)
    assert [name.rpartition("_")[2] for name in names] == list(kinds(network))
    theirs = torch.from_numpy(np.load(files[1]))
    assert theirs.std() > 0.01, "nearly constant logits would prove nothing"
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def unsettle(network: nn.Module) -> None:
    """Give norms and biases values that differ from those of a fresh network."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for value, low, high in (
                    (module.weight, 0.7, 1.3),
                    (module.bias, -0.3, 0.3),
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.7, 1.3),
                ):
                    if value is not None and not (value is module.weight and not value.requires_grad):
                        value.uniform_(low, high)
            elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.uniform_(-0.1, 0.1)


def arguments(network: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in network.parameters()]


def states(network: nn.Module) -> list[Tensor]:
    return [buffer for name, buffer in network.named_buffers() if not name.endswith("num_batches_tracked")]


def kinds(network: nn.Module) -> Iterator[str]:
    """The endings of MXNet's names for our parameters, in order."""
    for module in network.modules():
        names = [name for name, _ in module.named_parameters(recurse=False)]
        norm = isinstance(module, nn.BatchNorm2d)
        yield from ({"weight": "gamma", "bias": "beta"}[name] if norm else name for name in names)


def in_order(kind: str, tensors: list[Tensor]) -> dict[str, np.ndarray]:
    return {f"{kind}{number}": tensor.numpy() for number, tensor in enumerate(tensors)}
