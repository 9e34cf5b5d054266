"""One training step of resnet50 at 224 pixels on the CPU: default settings beside plain fp32 NCHW, in turns.

Default settings are what `tench train` resolves on this machine: bf16 where the processor multiplies it in hardware,
channels last. Plain is the loop a person writes by hand: float32, NCHW, torch.optim.SGD as it comes.

Usage: python benchmarks/first_mile/step.py [--batch 32] [--repeats 5]   (writes step.json beside itself)
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import write_result

from tench.compat import import_torchvision
from tench.input.loader import Batch
from tench.machine import cpu_has_bf16
from tench.models import create
from tench.training.recipe import Recipe
from tench.training.state import memory_format, new_state
from tench.training.step import train_step
from tench.weights.own import Normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ours(images: torch.Tensor, labels: torch.Tensor) -> tuple[Callable[[], None], dict[str, str]]:
    recipe = Recipe().replace(arch="resnet50", precision="bf16" if cpu_has_bf16() else "fp32", memory_format="nhwc")
    device = torch.device("cpu")
    module = create("resnet50", num_classes=1000, image_size=224)
    state = new_state(module, recipe, device)
    normalise = Normalise(MEAN, STD, device, memory_format(recipe))
    batch = Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.arange(len(labels)))
    settings = {"precision": recipe.training.precision, "memory_format": recipe.training.memory_format}
    return lambda: train_step(state, batch, 0.1, recipe, normalise), settings


def plain(images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    model = import_torchvision().models.resnet50()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def step() -> None:
        loss = F.cross_entropy(model((images.float() / 255 - mean) / std), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (args.batch, 3, 224, 224), dtype=np.uint8))
    labels = torch.from_numpy(generator.integers(0, 1000, args.batch))
    our_step, settings = ours(images, labels)
    plain_step = plain(images, labels)
    seconds(our_step), seconds(plain_step)  # warm-up
    pairs = [(seconds(our_step), seconds(plain_step)) for _ in range(args.repeats)]  # in turns
    ratios = sorted(slow / fast for fast, slow in pairs)
    result = {
        "model": "resnet50",
        "batch": args.batch,
        "threads": torch.get_num_threads(),
        "processor_has_bf16": cpu_has_bf16(),
        "ours": settings | {"median_seconds": round(statistics.median(fast for fast, _ in pairs), 3)},
        "plain fp32 nchw": {"median_seconds": round(statistics.median(slow for _, slow in pairs), 3)},
        "times_as_fast": {
            "median": round(statistics.median(ratios), 2),
            "min": round(ratios[0], 2),
            "max": round(ratios[-1], 2),
        },
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
