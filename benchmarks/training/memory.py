"""What it brings that a training on the processor keeps the memory it frees: the same steps with and without, in turns.

Each turn is a process of its own, for what the C library is told cannot be taken back. The rate is that of the fastest
steps; memory is the most that the process had.

Usage: python benchmarks/training/memory.py [--repeats 5] [--output FILE] (writes memory.json beside itself)
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import summary
from machine import write_result

_STEPS = """
import json, resource, sys, time
import torch
sys.path.insert(0, sys.argv[1])
import step
from tench.machine import keep_freed_memory
from tench.models import create

arch, batch, size, classes = sys.argv[2], *map(int, sys.argv[3:6])
if sys.argv[6] == "kept":
    keep_freed_memory()
images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
work = step.ours(create(arch, num_classes=classes, image_size=size), images, torch.randint(0, classes, (batch,)))
step.seconds(work, 2)
count = 30 if size < 64 else 6
rate = batch / min(step.seconds(work, 1) for _ in range(count))
print(json.dumps([rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""
PROBLEMS = [
    ("resnet50", 32, 224, 1000),
    ("resnet50", 64, 224, 1000),
    ("mobilenet_v2", 32, 224, 1000),
    ("resnet20", 64, 32, 10),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    rows = []
    for problem in PROBLEMS:
        turns = [{how: measured(problem, how) for how in ("kept", "given back")} for _ in range(args.repeats)]
        row: dict[str, Any] = {"arch": problem[0], "batch": problem[1], "image_size": problem[2]}
        for how in ("kept", "given back"):
            row[how] = {
                "images_per_second": summary([turn[how][0] for turn in turns], 1),
                "memory_mb": summary([turn[how][1] / 1e6 for turn in turns], 0),
            }
        row["times_as_fast"] = summary([turn["kept"][0] / turn["given back"][0] for turn in turns])
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    write_result(args.output, {"rows": rows})


def measured(problem: tuple[str, int, int, int], how: str) -> tuple[float, int]:
    command = [sys.executable, "-c", _STEPS, str(Path(__file__).parent), *map(str, problem), how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, memory = json.loads(done.stdout.splitlines()[-1])
    return rate, memory


if __name__ == "__main__":
    main()
