import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.training.runs import resolved
from torch import nn

from tench.errors import TenchError
from tench.input.erasing import Erasing
from tench.input.loader import Batch
from tench.input.mix import BatchMix
from tench.input.on_batch import OnBatch
from tench.input.order import Order
from tench.training.recipe import Resolved
from tench.training.recipe_views import make_normalise
from tench.training.state import State, new_state
from tench.training.step import num_parts, read_totals, train_step
from tench.weights.own import Normalise

CPU = torch.device("cpu")
MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.3, 0.4)
RECIPE = resolved(batch_size=8, mean=MEAN, std=STD)


def small_network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)
    )


def batches(count: int, size: int = 8) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(7)
    for _ in range(count):
        pixels = torch.randint(0, 256, (size, 9, 9, 3), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 5, (size,), generator=generator)
        yield Batch(pixels.permute(0, 3, 1, 2), labels, torch.arange(size))


def normalise_for(recipe: Resolved) -> Normalise:
    return make_normalise(recipe, CPU)


def trained(recipe: Resolved, network: nn.Module, steps: int = 20) -> State:
    state = new_state(network, recipe, CPU)
    for batch in batches(steps):
        train_step(state, batch, recipe.optimizer.lr * (1 + state.step) / 10, recipe, normalise_for(recipe))
        state.step += 1
    return state


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0.01},
        {"lr": 0.01, "label_smoothing": 0.1},
        {"lr": 0.01, "clip_norm": 0.5, "nesterov": True},
        {"lr": 0.01, "clip_norm": 1e6, "weight_decay": 0.1, "decay": "not-norms"},
        {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.0},
    ],
)
def test_twenty_steps_match_a_plain_pytorch_loop(values: dict[str, Any]) -> None:
    recipe = RECIPE.replace(**values)
    theirs = small_network()
    state = trained(recipe, copy.deepcopy(theirs))

    spared = list(theirs[1].parameters()) if recipe.optimizer.decay == "not-norms" else []
    pulled = [one for one in theirs.parameters() if not any(one is other for other in spared)]
    optimizer = torch.optim.SGD(
        [{"params": pulled, "weight_decay": recipe.optimizer.weight_decay}, {"params": spared, "weight_decay": 0.0}],
        lr=1.0,
        momentum=recipe.optimizer.momentum,
        nesterov=recipe.optimizer.nesterov,
    )
    loss_sum, correct = 0.0, 0
    for step, batch in enumerate(batches(20)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.lr * (1 + step) / 10
        images = (batch.images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        logits = theirs(images)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=recipe.training.label_smoothing)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if recipe.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(theirs.parameters(), recipe.optimizer.clip_norm)
        optimizer.step()
        loss_sum += loss.item() * 8
        correct += int((logits.argmax(1) == batch.labels).sum())

    for name, expected in theirs.state_dict().items():
        torch.testing.assert_close(state.module.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
    loss_mean, top1, images_seen = read_totals(state)
    assert loss_mean == pytest.approx(loss_sum / 160, rel=1e-5)
    assert top1 == correct / 160
    assert images_seen == 160


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_mixed_steps_match_a_plain_pytorch_loop_with_timms_targets(label_smoothing: float) -> None:
    recipe = RECIPE.replace(lr=0.01, label_smoothing=label_smoothing)
    order = Order(num_rows=80, batch_size=8)
    augment = OnBatch(order, 5, Erasing(prob=0.5), BatchMix(mixup=0.8, cutmix=1.0, form="timm"))
    theirs = small_network()
    state = new_state(copy.deepcopy(theirs), recipe, CPU)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loss_sum, correct = 0.0, 0
    for step, batch in enumerate(batches(10)):
        train_step(state, batch, 0.01, recipe, normalise_for(recipe), augment)
        state.step += 1
        images, targets = augment(normalise_for(recipe)(batch.images), batch.labels, step)
        targets = targets * (1 - label_smoothing) + label_smoothing / 5
        logits = theirs(images)
        loss = (-targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        loss_sum += loss.item() * 8
        correct += int((logits.argmax(1) == targets.argmax(1)).sum())
    for name, expected in theirs.state_dict().items():
        torch.testing.assert_close(state.module.state_dict()[name], expected, rtol=1e-4, atol=1e-5)
    loss_mean, top1, images_seen = read_totals(state)
    assert loss_mean == pytest.approx(loss_sum / 80, rel=1e-5)
    assert (top1, images_seen) == (correct / 80, 80)


def test_clipping_changes_the_weights() -> None:
    weights = [
        trained(RECIPE.replace(lr=0.01, clip_norm=norm), small_network()).module.get_parameter("5.weight")
        for norm in (0.0, 0.1)
    ]
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)


def test_the_memory_format_does_not_change_the_numbers() -> None:
    first = trained(RECIPE.replace(lr=0.01, memory_format="nchw"), small_network())
    last = trained(RECIPE.replace(lr=0.01, memory_format="nhwc"), small_network())
    assert last.module.get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    for name, expected in first.module.state_dict().items():
        torch.testing.assert_close(last.module.state_dict()[name], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_computes_in_half_and_keeps_fp32_weights(precision: str) -> None:
    network = small_network()
    seen: list[torch.dtype] = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    state = trained(RECIPE.replace(lr=0.001, precision=precision), network)
    assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {parameter.dtype for parameter in state.module.parameters()} == {torch.float32}
    full = trained(RECIPE.replace(lr=0.001), small_network())
    assert read_totals(state)[0] == pytest.approx(read_totals(full)[0], rel=0.02)
    assert not torch.equal(state.module.get_parameter("5.weight"), small_network().get_parameter("5.weight"))


class NotFiniteAt(nn.Module):
    """The network with logits that are not finite in some calls (counted from 0)."""

    def __init__(self, network: nn.Module, calls: set[int], value: float) -> None:
        super().__init__()
        self.network, self.calls, self.value, self.call = network, calls, value, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        self.call += 1
        return logits * self.value if self.call - 1 in self.calls else logits


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_loss_that_is_not_finite_leaves_the_weights_unchanged(value: float, precision: str, clip_norm: float) -> None:
    recipe = RECIPE.replace(lr=0.01, precision=precision, clip_norm=clip_norm)
    state = new_state(NotFiniteAt(small_network(), {2}, value), recipe, CPU)
    for batch in batches(3):
        before = {name: weight.clone() for name, weight in state.module.named_parameters()}
        momentum = [part["momentum_buffer"].clone() for part in state.optimizer.state.values()]
        train_step(state, batch, 0.01, recipe, normalise_for(recipe))
        state.step += 1
    for name, weight in state.module.named_parameters():
        assert torch.equal(weight, before[name]), name
    for part, buffer in zip(state.optimizer.state.values(), momentum, strict=True):
        assert torch.equal(part["momentum_buffer"], buffer)


@pytest.mark.parametrize("bad", [{0}, {3}, {3, 4}, {2, 3, 4, 5}])
def test_the_first_step_with_a_loss_that_is_not_finite_is_named(bad: set[int]) -> None:
    recipe = RECIPE.replace(lr=0.01)
    state = trained(recipe, NotFiniteAt(small_network(), bad, float("nan")), steps=6)
    with pytest.raises(TenchError) as stopped:
        read_totals(state)
    assert str(stopped.value) == (
        f"The loss was not finite at step {min(bad) + 1}. That update was skipped, and the last checkpoint is from "
        "before it. Try a lower learning rate, a longer warm-up, --clip-norm 1 or --precision fp32."
    )


@pytest.mark.parametrize(
    ("rows", "shown"), [([4, 9], "4, 9"), (list(range(8)), "0, 1, 2, 3, 4, 5, 6, 7"), (list(range(10)), None)]
)
def test_the_rows_of_the_first_bad_step_are_named(rows: list[int], shown: str | None) -> None:
    state = trained(RECIPE.replace(lr=0.01), NotFiniteAt(small_network(), {1, 2}, float("nan")), steps=4)
    asked: list[int] = []

    def rows_of(step: int) -> list[int]:
        asked.append(step)
        return rows

    with pytest.raises(TenchError) as stopped:
        read_totals(state, rows_of)
    names = shown or "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert f"not finite at step 2 (rows {names} of the training images). That update was skipped" in str(stopped.value)
    assert asked == [1]


@pytest.mark.parametrize("parts", [2, 3, 8])
@pytest.mark.parametrize("values", [{}, {"clip_norm": 0.5}, {"loss": "bce"}, {"label_smoothing": 0.1}])
def test_a_batch_in_parts_matches_a_plain_loop_that_accumulates_gradients(parts: int, values: dict[str, Any]) -> None:
    recipe = RECIPE.replace(lr=0.05, accumulate=parts, **values)
    theirs = small_network()
    state = new_state(copy.deepcopy(theirs), recipe, CPU)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    loss_sum, correct = 0.0, 0
    for batch in batches(4):
        train_step(state, batch, 0.05, recipe, normalise_for(recipe))
        state.step += 1
        optimizer.zero_grad()
        images = normalise_for(recipe)(batch.images)
        for part, labels in zip(images.chunk(parts), batch.labels.chunk(parts), strict=True):
            logits = theirs(part)  # batch norms see a single part
            if recipe.training.loss == "bce":
                losses = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 5).float(), reduction="sum") / 5
            else:
                smoothing = recipe.training.label_smoothing
                losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
            torch.autograd.backward(losses / len(images))
            loss_sum += losses.item()
            correct += int((logits.argmax(1) == labels).sum())
        if recipe.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(theirs.parameters(), recipe.optimizer.clip_norm)
        optimizer.step()
    for name, expected in theirs.state_dict().items():
        torch.testing.assert_close(state.module.state_dict()[name], expected, rtol=1e-4, atol=1e-5)
    loss_mean, top1, images_seen = read_totals(state)
    assert loss_mean == pytest.approx(loss_sum / 32, rel=1e-4)
    assert (top1, images_seen) == (correct / 32, 32)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_part_that_is_not_finite_skips_the_whole_update(bad: int) -> None:
    recipe = RECIPE.replace(lr=0.01, accumulate=3)
    state = new_state(NotFiniteAt(small_network(), {bad}, float("nan")), recipe, CPU)
    before = {name: weight.clone() for name, weight in state.module.named_parameters()}
    train_step(state, next(batches(1)), 0.01, recipe, normalise_for(recipe))
    assert all(torch.equal(weight, before[name]) for name, weight in state.module.named_parameters())
    assert int(state.first_bad) == 0


@pytest.mark.parametrize(("images", "parts"), [(64, 4), (63, 4), (48, 3), (17, 2), (16, 1), (5, 1)])
def test_an_incomplete_batch_has_fewer_parts_not_smaller_ones(images: int, parts: int) -> None:
    assert num_parts(images, RECIPE.replace(batch_size=64, accumulate=4).training) == parts


def test_a_finite_loss_is_not_an_error_and_without_images_all_totals_are_zero() -> None:
    state = new_state(small_network(), RECIPE, CPU)
    assert read_totals(state) == (0.0, 0.0, 0)
    assert read_totals(trained(RECIPE.replace(lr=0.01), small_network()))[2] == 160


def test_dropout_is_a_function_of_the_seed_and_the_step() -> None:
    def logits_of_step(seed: int, step: int) -> torch.Tensor:
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(243, 5))
        nn.init.constant_(network.get_parameter("2.weight"), 0.1)
        nn.init.zeros_(network.get_parameter("2.bias"))
        seen: list[torch.Tensor] = []
        network.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
        recipe = RECIPE.replace(seed=seed)
        state = new_state(network, recipe, CPU)
        state.step = step
        torch.rand(step * 11 + 1)  # earlier random numbers have no influence
        train_step(state, next(batches(1)), 0.01, recipe, normalise_for(recipe))
        return seen[0]

    assert torch.equal(logits_of_step(5, 8), logits_of_step(5, 8))
    assert not torch.equal(logits_of_step(5, 8), logits_of_step(5, 9))
    assert not torch.equal(logits_of_step(5, 8), logits_of_step(6, 8))
    assert not torch.equal(logits_of_step(5, 8), logits_of_step(6, 7))  # seed + 1 at the step before is different too


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"precision": "bf16", "clip_norm": 1.0},
        {"accumulate": 3},
        {"average": "ema", "average_decay": 0.9, "average_every": 1},
        {"average": "lookahead", "average_decay": 0.9, "average_every": 1, "epochs": 8},
        {"loss": "bce", "label_smoothing": 0.1},
        *({"optimizer": name} for name in ("lamb", "lars", "adamw", "rmsprop", "rmsprop-tf", "muon")),
    ],
)
def test_a_step_does_not_synchronise_with_the_gpu(values: dict[str, Any]) -> None:
    cuda = torch.device("cuda")
    recipe = RECIPE.replace(lr=0.01, **values)
    state = new_state(small_network(), recipe, cuda)
    normalise = make_normalise(recipe, cuda)
    on_gpu = [batch.to(cuda) for batch in batches(4)]
    train_step(state, on_gpu[0], 0.01, recipe, normalise)  # the first step initialises libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in on_gpu[1:]:
            train_step(state, batch, 0.01, recipe, normalise)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert read_totals(state)[2] == 32
