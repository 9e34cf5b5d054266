"""Our training step compared with loops as people write them: the same numbers, step by step.

At a learning rate of 0.1, the first training steps are chaotic: a rounding difference grows a thousandfold within
twenty steps, and the order of a sum depends on the vector registers of the processor. So the comparison with a plain
loop computes in float64 (except the loss, which tench computes in float32), and rounding stays far below the tolerance.
Both sides scale the pixels in float32 with the same two operations, which every processor rounds alike.
"""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.training.runs import resolved
from torch import nn

from tench.input.loader import Batch
from tench.models import create
from tench.training.recipe import Resolved
from tench.training.recipe_file import load_recipe
from tench.training.recipe_views import make_normalise
from tench.training.schedule import learning_rate
from tench.training.state import new_state
from tench.training.step import read_totals, train_step

CPU = torch.device("cpu")
SIZE, BATCH, CLASSES, STEPS = 32, 64, 10, 20
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(5)
    templates = torch.randint(0, 256, (CLASSES, 3, SIZE, SIZE), generator=generator)
    found = []
    for step in range(STEPS):
        labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
        noise = torch.randint(-40, 41, (BATCH, 3, SIZE, SIZE), generator=generator)
        images = (templates[labels] + noise).clamp(0, 255).to(torch.uint8)
        found.append(Batch(images, labels, torch.arange(BATCH) + step * BATCH))
    return found


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return create("resnet20", num_classes=CLASSES, image_size=SIZE)


def fp32(name: str) -> Resolved:
    return resolved(load_recipe(name), precision="fp32", memory_format="nchw", batch_size=BATCH, mean=MEAN, std=STD)


def losses_of_tench(module: nn.Module, recipe: Resolved, batches: list[Batch], lr: float | None = None) -> list[float]:
    """The loss of each of tench's steps, computed in the dtype of the module."""
    dtype = next(module.parameters()).dtype
    state = new_state(module, recipe, CPU)
    state.module.train()
    at = learning_rate(recipe, steps_per_epoch=STEPS)
    scale = make_normalise(recipe, CPU)
    normalise: Any = lambda images: scale(images).to(dtype)  # noqa: E731
    losses = []
    for batch in batches:
        train_step(state, batch, at(state.step) if lr is None else lr, recipe, normalise)
        losses.append(read_totals(state)[0])
        state.totals.zero_()
        state.step += 1
    return losses


def inputs(batch: Batch) -> torch.Tensor:
    """Like torchvision's ToTensor and Normalize, except that the mean and std are scaled by 255, not the pixels."""
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (batch.images.float() - mean) / std


def test_the_recipe_pytorch_examples_has_the_losses_of_a_plain_loop(resnet: nn.Module, batches: list[Batch]) -> None:
    plain = copy.deepcopy(resnet.double()).train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    expected = []
    few = [Batch(batch.images[:32], batch.labels[:32], batch.rows[:32]) for batch in batches[:10]]
    for batch in few:
        loss = nn.CrossEntropyLoss()(plain(inputs(batch).double()).float(), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    found = losses_of_tench(resnet, fp32("pytorch-examples"), few)
    assert expected[-1] < expected[0] / 2, "the loss must fall"
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


def numpy_losses(recipe: Resolved, spared: str, batches: list[Batch]) -> list[float]:
    """v <- m v + lr (g + wd w), w <- w - v, in float64, on a small network. spared: names without weight decay."""
    network = small_network()
    velocities = {name: np.zeros(parameter.shape) for name, parameter in network.named_parameters()}
    losses = []
    for batch in batches:
        loss = F.cross_entropy(network(inputs(batch)), batch.labels, label_smoothing=recipe.training.label_smoothing)
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            weights, gradient = parameter.detach().double().numpy(), parameter.grad.double().numpy()
            decay = 0.0 if spared in name else recipe.optimizer.weight_decay
            velocities[name] = recipe.optimizer.momentum * velocities[name] + 0.05 * (gradient + decay * weights)
            parameter.data = torch.from_numpy(weights - velocities[name]).float()
    return losses


def small_network() -> nn.Sequential:
    torch.manual_seed(2)
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 8, 5, stride=4))
    network.add_module("norm", nn.BatchNorm2d(8))
    network.add_module("relu", nn.ReLU())
    network.add_module("pool", nn.AdaptiveAvgPool2d(2))
    network.add_module("flatten", nn.Flatten())
    network.add_module("head", nn.Linear(32, CLASSES))
    return network


@pytest.mark.parametrize(("name", "spared"), [("mixup90", "norm"), ("mxnet-imagenet", "bias")])
def test_recipes_of_nnabla_and_mxnet_follow_their_formula(name: str, spared: str, batches: list[Batch]) -> None:
    recipe = fp32(name)
    found = losses_of_tench(small_network(), recipe, batches, lr=0.05)
    np.testing.assert_allclose(found, numpy_losses(recipe, spared, batches), atol=1e-6, rtol=0)


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_a_batch_in_parts_gives_the_same_update(parts: int, batches: list[Batch]) -> None:
    def trained(accumulate: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 7), nn.Tanh(), nn.Linear(7, CLASSES))
        losses_of_tench(network, fp32("pytorch-examples").replace(accumulate=accumulate), batches[:5], lr=0.01)
        return network.state_dict()

    whole, in_parts = trained(1), trained(parts)
    for name, weights in whole.items():
        torch.testing.assert_close(in_parts[name], weights, atol=1e-6, rtol=1e-5)


def test_recomputed_activations_give_the_same_losses_to_the_bit(resnet: nn.Module, batches: list[Batch]) -> None:
    from tench.training.recompute import recompute_blocks

    recomputed = copy.deepcopy(resnet)
    assert recompute_blocks(recomputed, "resnet20") == 9
    recipe = fp32("pytorch-examples")
    assert losses_of_tench(recomputed, recipe, batches[:4]) == losses_of_tench(resnet, recipe, batches[:4])
    for (name, found), expected in zip(recomputed.state_dict().items(), resnet.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name
