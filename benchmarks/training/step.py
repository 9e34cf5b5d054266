"""Compare training steps on the CPU: tench's defaults, plain fp32 NCHW, and a hand-written bf16 NHWC loop.

The defaults are what `tench train` resolves on this machine: bf16 if the CPU supports it in hardware, channels last,
and freed memory is kept. The plain loop is that of pytorch/examples: float32, NCHW, torch.optim.SGD without further
options. The hand-written loop adds bfloat16 autocast and channels last, which timm's train.py has as flags. All have
the same network, batch and pixels, and the images are in memory. The contenders take turns. Each turn is a separate
process, because the settings of the C library cannot be undone. Its rate is that of its fastest step, its memory is the
peak.

Usage: python benchmarks/training/step.py [--repeats 5] [--output FILE] (writes step.json next to this script)
"""

import argparse
import json
import resource
import subprocess
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

from tench.bench.network import network as resolved_for
from tench.input.loader import Batch
from tench.input.views import IMAGENET_MEAN, IMAGENET_STD
from tench.machine import cpu_has_bf16, tune
from tench.models import create
from tench.training.recipe import Recipe
from tench.training.recipe_views import make_normalise
from tench.training.state import new_state
from tench.training.step import train_step

CPU = torch.device("cpu")
PROBLEMS = [
    ("resnet50", 32, 224, 1000),
    ("resnet50", 64, 224, 1000),
    ("mobilenet_v2", 32, 224, 1000),
    ("resnet20", 64, 32, 10),
]
"""Network, batch, image size and classes."""
_SECONDS = 8.0
"""Minimum duration of the timed steps of a turn; there are at least 3 steps."""

Step = Callable[[], None]


def ours(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    precision = "bf16" if cpu_has_bf16() else "fp32"
    asked = Recipe().replace(precision=precision, memory_format="nhwc", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    recipe = resolved_for("resnet18", asked, images.shape[-1], CPU).recipe  # it does not depend on the network
    state = new_state(network, recipe, CPU)
    state.module.train()
    normalise = make_normalise(recipe, CPU)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.arange(len(labels)))
    return lambda: train_step(state, batch, 0.0, recipe, normalise)


def ours_keeping_memory(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    tune(CPU)  # as `tench.fit` does: keeps freed memory
    return ours(network, images, labels)


def plain(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, careful: bool = False) -> Step:
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


def careful(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    return plain(network, images, labels, careful=True)


CONTENDERS = {
    "ours": ours_keeping_memory,
    "ours, memory given back": ours,
    "plain fp32 nchw": plain,
    "bf16 nhwc by hand": careful,
}


def turn(arch: str, batch: int, size: int, classes: int, contender: str) -> tuple[float, int]:
    """(images per second of the fastest step, peak memory of this process in bytes)"""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (batch,), generator=generator)
    step = CONTENDERS[contender](create(arch, num_classes=classes, image_size=size), images, labels)
    step()  # allocates memory and chooses kernels
    took: list[float] = []
    while len(took) < 3 or sum(took) < _SECONDS:
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    return batch / min(took), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(problem: tuple[str, int, int, int], repeats: int) -> dict[str, Any]:
    turns: list[dict[str, tuple[float, int]]] = []
    for _ in range(repeats):
        turns.append({})
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--turn", *map(str, problem), name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            turns[-1][name] = json.loads(done.stdout)
        print(problem, turns[-1], file=sys.stderr, flush=True)
    return {
        "arch": problem[0],
        "batch": problem[1],
        "image_size": problem[2],
        "images_per_second": {name: summary([turn[name][0] for turn in turns], 1) for name in CONTENDERS},
        "memory_mb": {name: summary([turn[name][1] / 1e6 for turn in turns], 0) for name in CONTENDERS},
        "ours_times_as_fast_as": {
            name: summary([turn["ours"][0] / turn[name][0] for turn in turns]) for name in CONTENDERS if name != "ours"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turn", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    if args.turn:
        arch, batch, size, classes, contender = args.turn
        print(json.dumps(turn(arch, int(batch), int(size), int(classes), contender)))
        return
    result = {"threads": torch.get_num_threads(), "processor_has_bf16": cpu_has_bf16()}
    write_result(args.output, result | {"rows": [measured(problem, args.repeats) for problem in PROBLEMS]})


if __name__ == "__main__":
    main()
