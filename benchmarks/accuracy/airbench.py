"""Compare the recipe airbench94 with the original program on the same JPEG files of CIFAR-10, seed by seed.

The original (package `airbench` of KellerJordan/cifar10-airbench) requires a GPU and half precision. Here its
unmodified source runs on the CPU: `.half()` keeps float32 and `.cuda()` does nothing, its CUDA events read the CPU's
clock, and its network runs under bfloat16 autocast, as ours does. Nothing else is changed. It reads the pixels from a
file; here they are those of the JPEG files, in a fixed random order.

Usage: python benchmarks/accuracy/airbench.py --source CIFAR10 --original REPOSITORY --work FOLDER [--seeds 2]
    [--recipe airbench94] [--output FILE] (writes airbench.json next to this script)

CIFAR10: a folder with train and test, each with a folder per class, or any source of tench with these splits.
"""

import argparse
import json
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

from tench.data.source import open_source
from tench.data.table import Table
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import EvalView

_ORIGINAL = textwrap.dedent(
    """
    import contextlib, json, sys, time, types
    import torch

    repository, data, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])

    class Clock:
        def record(self): self.at = time.perf_counter()
        def elapsed_time(self, later): return 1e3 * (later.at - self.at)

    torch.cuda.Event = lambda **_: Clock()
    torch.cuda.synchronize = lambda: None
    torch.nn.Module.half = torch.nn.Module.cuda = torch.Tensor.half = torch.Tensor.cuda = lambda self: self
    torch.Tensor.half = lambda self: self.float()
    load = torch.load
    torch.load = lambda path, map_location=None: load(path)
    sys.path.insert(0, repository)
    from tench.compat import import_torchvision
    import_torchvision()
    import airbench
    from airbench import utils

    class Loader(utils.CifarLoader):
        def __init__(self, path, *args, **kwargs): super().__init__(data, *args, **kwargs)

    utils.CifarLoader = airbench.lib_airbench94.CifarLoader = Loader

    def make_net():
        net = airbench.make_net94()
        forward = net.forward
        def under_autocast(inputs):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return forward(inputs).float()
        net.forward = under_autocast
        return net

    torch.manual_seed(seed)
    began = time.perf_counter()
    net = airbench.train94(make_net=make_net, verbose=False)
    seconds = time.perf_counter() - began
    test = Loader("", train=False, batch_size=2000)
    print(json.dumps({
        "seconds": seconds,
        "top1": utils.evaluate(net, test, tta_level=2),
        "top1_one_view": utils.evaluate(net, test, tta_level=0),
    }))
    """
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--recipe", default="airbench94")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    dataset = open_source(args.source)
    for split in ("train", "test"):
        _, table = dataset.split(split)
        write_pixels(table, list(dataset.classes.ids), args.work / f"{split}.pt")
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "original": []}
    for seed in range(args.seeds):
        runs["ours"].append(ours(args.source, args.recipe, seed, args.work / f"run-{seed}"))
        print("ours", runs["ours"][-1], file=sys.stderr, flush=True)
        runs["original"].append(original(args.original, args.work, seed))
        print("original", runs["original"][-1], file=sys.stderr, flush=True)
        write_result(args.output, {"recipe": args.recipe, "runs": runs, **summaries(runs)})


def write_pixels(table: Table, classes: list[str], path: Path) -> None:
    """Write the images of a table in the original's format: uint8 (N, 32, 32, 3), labels, class names."""
    if path.exists():
        return
    order = Order(num_rows=len(table), batch_size=1000, shuffle=False, drop_last=False)
    with Loader(table, EvalView(size=32, resize=32), order, channels=3) as loader:
        parts = [(batch.images.permute(0, 2, 3, 1).clone(), batch.labels.clone()) for batch in loader.batches(epoch=0)]
    images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    # Its whitening uses the first 5,000 images. Sorted by name, they would all belong to one class.
    mixed = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    torch.save({"images": images[mixed], "labels": labels[mixed], "classes": classes}, path)


def ours(source: Path, recipe: str, seed: int, run: Path) -> dict[str, float]:
    if run.exists():
        raise SystemExit(f"{run} already exists. Remove it: continuing a run would measure only the rest of it.")
    began = time.perf_counter()
    command = [*common.TENCH, "train", str(source), "--recipe", recipe, "--seed", str(seed), "--run", str(run)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "epoch"][-1]
    return {"seconds": round(seconds, 1), "top1": last["val_top1"]}


def original(repository: Path, data: Path, seed: int) -> dict[str, float]:
    command = [sys.executable, "-c", _ORIGINAL, str(repository), str(data), str(seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"seconds": round(found["seconds"], 1)}


def summaries(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Mean top-1 of each program, its standard deviation over seeds, and seconds."""
    return {
        name: {
            "top1_mean": round(statistics.mean(run["top1"] for run in of_name), 5),
            "top1_deviation": round(statistics.stdev(run["top1"] for run in of_name), 5) if len(of_name) > 1 else None,
            "seconds": common.summary([run["seconds"] for run in of_name], 1),
        }
        for name, of_name in runs.items()
        if of_name
    }


if __name__ == "__main__":
    main()
