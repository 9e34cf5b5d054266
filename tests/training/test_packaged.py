"""The packaged recipes of other systems, compared with their sources: the values, and learning rates by formula."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from tench.models.registry import source_of
from tench.training.recipe import Recipe
from tench.training.recipe_file import PACKAGED, from_plain, load_recipe, packaged_recipes, recipe_text
from tench.training.schedule import learning_rate, total_steps

Values = dict[str, Any]

NNABLA: Values = {
    "validate_every": 10,
    "arch": "nnabla:resnet50",
    "init": "nnabla",
    "batch_size": 256,
    "label_smoothing": 0.1,
    "lr_inside": True,
}
NNABLA |= {"decay": "not-norms", "image_size": 224, "eval_resize": 256, "nesterov": False, "drop_last": False}
COSINE = NNABLA | {"lr": 0.256, "momentum": 0.875, "weight_decay": 2**-15}
MIXUP = COSINE | {"mixup": 0.2, "mix_form": "timm", "mix_mode": "elem", "cutmix": 0.0}
PLAIN: Values = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "lr_inside": False,
    "nesterov": False,
    "label_smoothing": 0.0,
}
PLAIN |= {"image_size": 224, "eval_resize": 256, "scale": (0.08, 1.0), "flip": 0.5, "decay": "all", "drop_last": False}
NEW: Values = {
    "batch_size": 1024,
    "epochs": 600,
    "lr": 0.5,
    "weight_decay": 2e-5,
    "decay": "not-norms",
    "label_smoothing": 0.1,
}
NEW |= {"policy": "trivialaugment-wide", "policy_filter": "bilinear", "erasing": 0.1, "mixup": 0.2, "cutmix": 1.0}
NEW |= {"mix_form": "torchvision", "mix_prob": 1.0, "mix_switch": 0.5, "repeats": 4, "average": "ema", "momentum": 0.9}
NEW |= {"average_decay": 0.99998, "average_every": 32, "average_form": "torchvision"}
STRIKES: Values = {
    "arch": "timm:resnet50",
    "optimizer": "lamb",
    "batch_size": 2048,
    "loss": "bce",
    "cutmix": 1.0,
}
STRIKES |= {"mix_prob": 1.0, "mix_switch": 0.5, "mix_form": "timm", "decay": "not-norms-and-biases", "erasing": 0.0}
STRIKES |= {"interpolation": "bicubic", "train_interpolation": "bicubic", "image_size": 224, "eval_resize": 235}
STRIKES |= {"average": "none", "color_jitter": (0.0, 0.0, 0.0, 0.0)}
FFCV: Values = {
    "arch": "resnet50",
    "blurpool": True,
    "batch_size": 4096,
    "lr": 1.7,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}
FFCV |= {"decay": "not-named-bn", "label_smoothing": 0.1, "ramp_from": 160, "train_size": 192, "ramp_multiple": 32}
FFCV |= {"image_size": 256, "eval_resize": round(256 / (224 / 256)), "test_time": "mirror"}
MXNET: Values = {
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "lr_inside": True,
    "decay": "not-biases",
    "init": "own",
}
AIRBENCH: Values = {
    "momentum": 0.85,
    "nesterov": True,
    "batch_size": 1024,
    "label_smoothing": 0.2,
    "norm_bias_lr": 64.0,
}
AIRBENCH |= {"flip_form": "alternate", "pad_fill": "reflect", "freeze": "whiten.bias", "freeze_from": "3 epochs"}
AIRBENCH |= {"average": "lookahead", "average_every": 5, "average_decay": 0.95, "test_time": "mirror-shift"}
AIRBENCH |= {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616), "train_view": "pad-crop"}

VALUES: dict[str, Values] = {
    "step90": NNABLA | {"lr": 0.000390625 * 256, "epochs": 90, "momentum": 0.9, "weight_decay": 1e-4},
    "cos90": COSINE | {"epochs": 90, "mixup": 0.0},
    "cos350": COSINE | {"epochs": 350, "mixup": 0.0, "arch": "nnabla:efficientnet_b0"},
    "mixup90": MIXUP | {"epochs": 90},
    "mixup250": MIXUP | {"epochs": 250},
    "mixup350": MIXUP | {"epochs": 350, "arch": "nnabla:efficientnet_b0"},
    "finetune10": COSINE
    | {"epochs": 10, "arch": "auto", "weights": "needed", "init": "own", "image_size": "auto", "eval_resize": "auto"},
    "pytorch-examples": PLAIN | {"arch": "resnet18", "lr": 0.1, "weight_decay": 1e-4, "epochs": 90, "batch_size": 256},
    "torchvision-90": PLAIN | {"arch": "resnet50", "lr": 0.1, "weight_decay": 1e-4, "epochs": 90, "batch_size": 256},
    "torchvision-600": NEW | {"arch": "resnet50", "train_size": 176, "image_size": 224, "eval_resize": 232},
    "efficientnet-v2": NEW | {"arch": "efficientnet_v2_s", "train_size": 300, "image_size": 384, "eval_resize": 384},
    "mobilenet-v2": PLAIN
    | {"arch": "mobilenet_v2", "lr": 0.045, "weight_decay": 4e-5, "epochs": 300, "batch_size": 256},
    "mobilenet-v3": PLAIN
    | {"arch": "mobilenet_v3_large", "optimizer": "rmsprop", "alpha": 0.9, "eps": 0.0316, "lr": 0.064, "epochs": 600}
    | {
        "weight_decay": 1e-5,
        "batch_size": 1024,
        "policy": "autoaugment-imagenet",
        "policy_filter": "bilinear",
        "erasing": 0.2,
    },
    "regnet-100": PLAIN
    | {"arch": "regnet_y_800mf", "lr": 0.8, "weight_decay": 5e-5, "epochs": 100, "batch_size": 1024},
    "timm-a1": STRIKES
    | {"epochs": 600, "lr": 5e-3, "weight_decay": 0.01, "label_smoothing": 0.1, "drop_path": 0.05, "repeats": 3}
    | {"policy": "rand-m7-mstd0.5-inc1", "mixup": 0.2, "train_size": "auto"},
    "timm-a2": STRIKES
    | {"epochs": 300, "lr": 5e-3, "weight_decay": 0.02, "label_smoothing": 0.0, "drop_path": 0.05, "repeats": 3}
    | {"policy": "rand-m7-mstd0.5-inc1", "mixup": 0.1, "train_size": "auto"},
    "timm-a3": STRIKES
    | {"epochs": 100, "lr": 8e-3, "weight_decay": 0.02, "label_smoothing": 0.0, "drop_path": 0.0, "repeats": 1}
    | {"policy": "rand-m6-mstd0.5-inc1", "mixup": 0.1, "train_size": 160},
    "ffcv-16": FFCV | {"epochs": 16, "ramp_epochs": (11, 13)},
    "ffcv-24": FFCV | {"epochs": 24, "ramp_epochs": (17, 20)},
    "ffcv-32": FFCV | {"epochs": 32, "ramp_epochs": (23, 27)},
    "ffcv-40": FFCV | {"epochs": 40, "ramp_epochs": (29, 34)},
    "ffcv-56": FFCV | {"epochs": 56, "ramp_epochs": (41, 48)},
    "ffcv-88": FFCV | {"epochs": 88, "ramp_epochs": (65, 76)},
    "edgeai": PLAIN
    | {"arch": "edgeai:mobilenetv2_tv_x1", "init": "edgeai", "lr": 0.1, "weight_decay": 4e-5, "epochs": 150}
    | {"batch_size": 512, "scale": (0.2, 1.0), "seed": 1},
    "mxnet-mnist": MXNET
    | {"arch": "mxnet:mlp", "lr": 0.05, "epochs": 20, "batch_size": 64, "channels": 1, "mean": (0.0,), "std": (1.0,)}
    | {"image_size": 28, "train_view": "pad-crop", "pad": 0, "flip": 0.0},
    "mxnet-cifar10": MXNET
    | {"arch": "mxnet:resnet-110", "lr": 0.05, "epochs": 300, "batch_size": 128, "image_size": 28, "eval_resize": 32}
    | {"train_view": "mxnet", "mxnet_level": "0"},
    "mxnet-imagenet": MXNET
    | {"arch": "mxnet:resnet-50", "lr": 0.1, "epochs": 80, "batch_size": 128, "image_size": 224}
    | {"train_view": "mxnet", "mxnet_level": "imagenet"},
    "mxnet-finetune": MXNET
    | {
        "arch": "auto",
        "weights": "needed",
        "image_size": 224,
        "lr": 0.01,
        "epochs": 30,
        "batch_size": 128,
        "momentum": 0.0,
    }
    | {"weight_decay": 0.0, "train_view": "mxnet", "mxnet_level": "1"},
    "apm5": {"arch": "apm5:resnet50_v2", "lr": 0.05, "epochs": 50, "batch_size": 128, "label_smoothing": 0.1}
    | {"momentum": 0.9, "lr_inside": True, "weight_decay": 1e-4, "decay": "not-norms-and-biases", "lighting": 0.1}
    | {"train_view": "resize-crop", "short_side": (256, 384), "stretch": (0.8, 1.25), "channel_order": "bgr"}
    | {"image_size": 224, "eval_resize": 256, "drop_last": True},
    "airbench94": AIRBENCH
    | {"arch": "airbench94", "epochs": 9.9, "pad": 2, "lr": 11.5 / (1 + 1 / (1 - 0.85)), "weight_decay": 0.0153 / 11.5},
    "airbench96": AIRBENCH
    | {"arch": "airbench96", "epochs": 37, "pad": 4, "lr": 9.0 / (1 + 1 / (1 - 0.85)), "weight_decay": 0.012 / 9.0}
    | {"erasing": 1.0, "erasing_area": ((12 / 32) ** 2,) * 2, "erasing_ratio": (1.0, 1.0), "erasing_value": "zero"},
}
OURS = {"cifar-resnet", "digits", "mnist-lenet", "mnist-mlp"}


def flat(recipe: Recipe) -> dict[str, Any]:
    return {name.partition(".")[2]: value for name, value in recipe.leaves()}


def test_every_packaged_recipe_is_compared_here_or_is_our_own() -> None:
    assert set(packaged_recipes()) == set(VALUES) | OURS


@pytest.mark.parametrize("name", VALUES)
def test_a_recipes_values_match_its_source(name: str) -> None:
    found = flat(load_recipe(name))
    for field, expected in VALUES[name].items():
        assert found[field] == (pytest.approx(expected, rel=1e-12) if isinstance(expected, float) else expected), field


def test_a_recipes_normalisation_matches_its_source() -> None:
    def on_bytes(name: str) -> list[tuple[float, ...]]:
        view = load_recipe(name).input
        assert view.mean != "auto"
        assert view.std != "auto"
        return [tuple(255 * value for value in values) for values in (view.mean, view.std)]

    mean, std = on_bytes("mxnet-imagenet")
    assert mean == pytest.approx((123.68, 116.779, 103.939))
    assert std == pytest.approx((58.393, 57.12, 57.375))
    mean, std = on_bytes("mxnet-cifar10")
    assert mean == pytest.approx((123.68, 116.779, 103.939))
    assert std == pytest.approx((1.0, 1.0, 1.0))
    mean, std = on_bytes("apm5")
    assert mean == pytest.approx((103.939, 116.779, 123.68))
    assert std == pytest.approx((58.393, 57.12, 57.375))
    edgeai = load_recipe("edgeai").input.std
    assert edgeai != "auto"
    assert [1 / (255 * value) for value in edgeai] == pytest.approx((0.017125, 0.017507, 0.017429), rel=1e-8)


def cosine(time: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * time))


def linear(at: float, points: list[tuple[float, float]]) -> float:
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    raise ValueError(at)


def nnabla_cosine(lr: float, epochs: int, warmup: int) -> Callable[[int], float]:
    return lambda e: lr * (e + 1) / warmup if e < warmup else lr * cosine((e - warmup) / (epochs - warmup))


def timm(lr: float, epochs: int) -> Callable[[int], float]:
    return lambda e: 1e-4 + e * (lr - 1e-4) / 5 if e < 5 else 1e-6 + (lr - 1e-6) * cosine(e / epochs)


def steps(lr: float, *milestones: int) -> Callable[[int], float]:
    return lambda e: lr * 0.1 ** sum(e >= milestone for milestone in milestones)


# The learning rate of each whole epoch, by the formulas of the sources.
BY_EPOCH: dict[str, Callable[[int], float]] = {
    "step90": lambda e: 0.1 * (e + 1) / 6 if e < 5 else steps(0.1, 30, 60, 80)(e),
    "cos90": nnabla_cosine(0.256, 90, 16),
    "cos350": nnabla_cosine(0.256, 350, 16),
    "mixup90": nnabla_cosine(0.256, 90, 16),
    "mixup250": nnabla_cosine(0.256, 250, 16),
    "mixup350": nnabla_cosine(0.256, 350, 16),
    "finetune10": lambda e: 0.256 * cosine(e / 10),
    "pytorch-examples": steps(0.1, 30, 60),
    "torchvision-90": steps(0.1, 30, 60),
    "torchvision-600": lambda e: 0.5 * (0.01 + 0.99 * e / 5) if e < 5 else 0.5 * cosine((e - 5) / 595),
    "efficientnet-v2": lambda e: 0.5 * (0.01 + 0.99 * e / 5) if e < 5 else 0.5 * cosine((e - 5) / 595),
    "mobilenet-v2": lambda e: 0.045 * 0.98**e,
    "mobilenet-v3": lambda e: 0.064 * 0.973 ** (e // 2),
    "regnet-100": lambda e: 0.8 * (0.1 + 0.9 * e / 5) if e < 5 else 0.8 * cosine((e - 5) / 95),
    "timm-a1": timm(5e-3, 600),
    "timm-a2": timm(5e-3, 300),
    "timm-a3": timm(8e-3, 100),
    "edgeai": lambda e: max(0.1 * e / 5, 1e-4) if e <= 5 else 0.1 * cosine(e / 150),
    "mxnet-mnist": steps(0.05, 10),
    "mxnet-cifar10": steps(0.05, 200, 250),
    "mxnet-imagenet": steps(0.1, 30, 60),
    "mxnet-finetune": steps(0.01, 20),
}
STEPS_PER_EPOCH = 48


@pytest.mark.parametrize("name", BY_EPOCH)
def test_a_recipes_learning_rate_per_epoch_matches_its_source(name: str) -> None:
    recipe = load_recipe(name)
    at = learning_rate(recipe, STEPS_PER_EPOCH)
    for epoch in range(int(recipe.training.epochs)):
        expected = pytest.approx(BY_EPOCH[name](epoch), rel=1e-9)
        first = epoch * STEPS_PER_EPOCH
        assert [at(first), at(first + STEPS_PER_EPOCH - 1)] == [expected, expected], epoch


# Recipes whose learning rate changes with every step, by step and total number of steps.
BY_STEP: dict[str, Callable[[int, int], float]] = {
    **{
        f"ffcv-{epochs}": lambda step, total, epochs=epochs: linear(  # type: ignore[misc]  # bound to its own epochs
            step / STEPS_PER_EPOCH, [(0, 1.7e-4), (2, 1.7), (epochs, 0.0)]
        )
        for epochs in (16, 24, 32, 40, 56, 88)
    },
    "apm5": lambda step, total: (
        0.05 * step / STEPS_PER_EPOCH
        if step < STEPS_PER_EPOCH
        # tf.keras.experimental.CosineDecay: alpha is a fraction of the initial rate
        else 0.05 * ((1 - 1e-4) * cosine((step - STEPS_PER_EPOCH) / (total - STEPS_PER_EPOCH)) + 1e-4)
    ),
    "airbench94": lambda step, total: 1.5 * linear(step, [(0, 0.2), (int(total * 0.23), 1.0), (total, 0.07)]),
    "airbench96": lambda step, total: 9 * 0.15 / 1.15 * linear(step, [(0, 0.2), (int(total * 0.1), 1.0), (total, 0.0)]),
}


@pytest.mark.parametrize("name", BY_STEP)
def test_a_recipes_learning_rate_per_step_matches_its_source(name: str) -> None:
    recipe = load_recipe(name)
    total = total_steps(recipe, STEPS_PER_EPOCH)
    assert total == math.ceil(STEPS_PER_EPOCH * recipe.training.epochs)
    at = learning_rate(recipe, STEPS_PER_EPOCH)
    assert [at(step) for step in range(total)] == pytest.approx(
        [BY_STEP[name](step, total) for step in range(total)], rel=1e-9, abs=1e-12
    )


def test_the_learning_rate_of_every_recipe_is_compared() -> None:
    assert set(BY_EPOCH) | set(BY_STEP) == set(VALUES)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_recipes_header_names_its_source_and_the_reported_and_measured_accuracy(name: str) -> None:
    header = re.match(r"(?:#.*\n)+", (PACKAGED / f"{name}.yaml").read_text())
    assert header is not None
    text = " ".join(line.lstrip("# ") for line in header[0].splitlines())
    assert f"--recipe {name}" in text
    for pattern in ("Source: ", "[Rr]eported", "Measured by us: |Not measured (on ImageNet )?by us yet"):
        assert re.search(pattern, text), pattern


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_recipes_network_exists(name: str) -> None:
    arch = load_recipe(name).model.arch
    assert arch == "auto" or source_of(arch)


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_printed_recipe_is_a_standalone_file(name: str) -> None:
    import yaml

    text = recipe_text(name)
    assert "like:" not in text
    assert text.startswith("# ")
    assert from_plain(yaml.safe_load(text), "printed") == load_recipe(name)


@pytest.mark.parametrize("name", packaged_recipes())
def test_recipes_of_programs_that_ignore_the_exif_orientation_ignore_it(name: str) -> None:
    torchvisions = ("torchvision-", "mobilenet-v", "efficientnet-v2", "regnet-")
    ignoring = name.startswith(("pytorch-examples", "timm-", "ffcv-", "edgeai", "apm5", *torchvisions))
    assert load_recipe(name).input.exif == ("ignore" if ignoring else "auto")
