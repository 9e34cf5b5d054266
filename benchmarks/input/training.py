"""Measure whether training waits for images: steps on images from files compared with steps on one synthetic batch.

Both use tench's training step on the CPU and take turns of a few steps each. The files are read by the loader, whose
threads share the cores with the network. The time of a turn includes waiting for its batches.

Usage: python benchmarks/input/training.py --source FOLDER [--arch resnet50] [--batch-size 32] [--steps 20]
    [--repeats 3] [--output FILE] (writes training.json next to this script)
"""

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

from tench.data.source import open_source
from tench.input.loader import Batch, Loader
from tench.input.order import Order
from tench.models import create
from tench.training.plan import resolve
from tench.training.recipe import Recipe
from tench.training.recipe_views import make_normalise, train_view
from tench.training.state import new_state
from tench.training.step import read_totals, train_step

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    dataset = open_source(args.source)
    _, table = dataset.split("train")
    recipe = resolve(Recipe().replace(arch=args.arch, batch_size=args.batch_size, channels=3), table, CPU)
    size = recipe.input.image_size
    module = create(args.arch, num_classes=len(dataset.classes), image_size=size, channels=3)
    state = new_state(module, recipe, CPU)
    state.module.train()
    normalise = make_normalise(recipe, CPU)
    order = Order(num_rows=len(table), batch_size=args.batch_size)
    with Loader(table, train_view(recipe), order, channels=3) as loader:
        images = torch.randint(0, 256, (args.batch_size, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        rows = torch.arange(args.batch_size)
        made_up = itertools.repeat(Batch(images, rows % len(dataset.classes), rows))

        def turn(batches: Iterator[Batch]) -> float:
            start = time.perf_counter()
            for _ in range(args.steps):
                train_step(state, next(batches), 0.0, recipe, normalise)
                state.step += 1
            read_totals(state)
            return time.perf_counter() - start

        epochs = itertools.count()

        def from_files() -> float:  # a turn starts with no batch ready, and closing the iterator stops reading ahead
            with contextlib.closing(loader.batches(next(epochs))) as batches:
                return turn(batches)

        contenders = {"files": from_files, "made_up": lambda: turn(made_up)}
        seconds = common.in_turns(contenders, args.repeats)
    num_images = args.steps * args.batch_size
    result = {
        "arch": args.arch,
        "precision": recipe.training.precision,
        "batch_size": args.batch_size,
        "images_of_a_turn": num_images,
        "images_per_second": {name: common.rates(num_images, times, 2) for name, times in seconds.items()},
        "files_to_made_up": common.times_as_fast(seconds["files"], seconds["made_up"]),
    }
    write_result(args.output, result)


if __name__ == "__main__":
    main()
