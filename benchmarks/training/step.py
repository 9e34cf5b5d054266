"""The training step on the processor: default settings, plain fp32 NCHW, and what a careful person writes, in turns.

Default settings are what `tench train` resolves on this machine: bf16 where the processor multiplies it in hardware,
channels last. Plain is the loop of pytorch/examples: float32, NCHW, torch.optim.SGD as it comes. Careful is that loop
with bfloat16 autocast and channels last, which timm's train.py has as flags. All have the same network, batch and
pixels; images are there at once.

Usage: python benchmarks/training/step.py [--arch resnet50 mobilenet_v2 resnet20] [--repeats 5] [--output FILE]
    (writes step.json beside itself)
"""

import argparse
import copy
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import summary
from machine import write_result

from tench.input.loader import Batch
from tench.machine import cpu_has_bf16
from tench.models import create
from tench.training.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe
from tench.training.recipe_views import make_normalise
from tench.training.state import new_state
from tench.training.step import train_step

CPU = torch.device("cpu")
PROBLEMS = {"resnet50": (32, 224, 1000), "mobilenet_v2": (32, 224, 1000), "resnet20": (64, 32, 10)}
"""Batch, image size and classes."""
_PASS_SECONDS = 2.0

Step = Callable[[], None]


def ours(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    precision = "bf16" if cpu_has_bf16() else "fp32"
    recipe = Recipe().replace(precision=precision, memory_format="nhwc", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    state = new_state(network, recipe, CPU)
    state.module.train()
    normalise = make_normalise(recipe, CPU)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.arange(len(labels)))
    return lambda: train_step(state, batch, 0.0, recipe, normalise)


def by_hand(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, careful: bool) -> Step:
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.0, momentum=0.9, weight_decay=1e-4)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    if careful:
        network, images = (part.to(memory_format=torch.channels_last) for part in (network, images))

    def step() -> None:
        inputs = (images.float() / 255 - mean) / std
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=careful):
            loss = F.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Step, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - start) / times


def measured(arch: str, repeats: int) -> dict[str, Any]:
    batch, size, classes = PROBLEMS[arch]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (batch,), generator=generator)
    network = create(arch, num_classes=classes, image_size=size)
    steps = {
        "ours": ours(copy.deepcopy(network), images, labels),
        "plain fp32 nchw": by_hand(copy.deepcopy(network), images, labels, careful=False),
        "bf16 nhwc by hand": by_hand(copy.deepcopy(network), images, labels, careful=True),
    }
    for step in steps.values():
        seconds(step, 1)  # memory is taken, kernels are chosen
    times = {name: math.ceil(_PASS_SECONDS / seconds(step, 1)) for name, step in steps.items()}
    turns = [{name: seconds(step, times[name]) for name, step in steps.items()} for _ in range(repeats)]
    return {
        "batch": batch,
        "image_size": size,
        "images_per_second": {
            name: round(batch / statistics.median(turn[name] for turn in turns), 1) for name in steps
        },
        "times_as_fast_as": {
            name: summary([turn[name] / turn["ours"] for turn in turns]) for name in steps if name != "ours"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    result = {"threads": torch.get_num_threads(), "processor_has_bf16": cpu_has_bf16()}
    write_result(args.output, result | {"networks": {arch: measured(arch, args.repeats) for arch in args.arch}})


if __name__ == "__main__":
    main()
