"""Compare training from files: `tench train`, and timm's train.py with its best flags for a CPU, taking turns.

Each runs in a separate process and trains the same network on the same class folders, with one loading thread or
process per core. Its rate is the median of the rates that it logs after the first steps.

Usage: python benchmarks/training/timm_train.py --timm TRAIN_PY --photos FOLDER --cifar FOLDER [--repeats 3]
    [--output FILE] (writes timm_train.json next to this script)

TRAIN_PY: train.py of huggingface/pytorch-image-models, matching the installed timm. FOLDER: class folders in train and
in val (or test).
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import TENCH, summary
from machine import write_result

from tench.machine import num_cores

_RATE = re.compile(r"([\d.]+)/s")
_STEPS = 24
"""Steps of a turn; every second one is logged, and the first third of the logged rates is not counted."""
_REGISTER = """
import runpy, sys
from tench.compat import import_timm
import_timm()
from timm.models import register_model
from tench.models import create

@register_model
def cifar_resnet20(pretrained=False, num_classes=10, in_chans=3, **kwargs):
    return create("resnet20", num_classes=num_classes, image_size=32, channels=in_chans)

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Registers the CIFAR ResNet, which timm lacks. Importing timm may need our workaround for torchvision."""


def ours(source: Path, arch: str, batch: int, size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options = ["-a", arch, "-b", batch, "--image-size", size, "--epochs", 100, "-p", 2, "-j", num_cores()]
        command = [*TENCH, "train", source, *options, "--run", run, "--val-fraction", 0.02]
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = run / "metrics.jsonl"
        while process.poll() is None:
            records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            rates = [record["images_per_second"] for record in records if record["kind"] == "step"]
            if len(rates) >= _STEPS // 2:
                process.terminate()
                process.wait()
                return statistics.median(rates[len(rates) // 3 :])
            time.sleep(0.2)
    raise SystemExit("tench train ended before enough steps were logged.")


def timms(train: Path, source: Path, arch: str, batch: int, size: int) -> float:
    classes = len([folder for folder in (source / "train").iterdir() if folder.is_dir()])
    flags = "--device cpu --amp --amp-dtype bfloat16 --channels-last --no-prefetcher --log-interval 2 --sched cosine"
    options = ["--model", arch, "-b", batch, "--img-size", size, "--num-classes", classes, "-j", num_cores()]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _REGISTER, train, "--data-dir", source, *flags.split(), *options]
        command += ["--train-split", "train", "--val-split", "val", "--epochs", 100, "--output", folder]
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        rates: list[float] = []
        tail = []
        for line in process.stderr:
            tail.append(line)
            if "Train:" in line and (found := _RATE.search(line)):
                rates.append(float(found[1]))
            if len(rates) >= _STEPS // 2:
                process.terminate()
                process.wait()
                return statistics.median(rates[len(rates) // 3 :])
        raise SystemExit("".join(tail[-15:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    problems: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "resnet50": (
            lambda: ours(args.photos, "resnet50", 32, 224),
            lambda: timms(args.timm, args.photos, "resnet50", 32, 224),
        ),
        "mobilenet_v2": (
            lambda: ours(args.photos, "mobilenet_v2", 32, 224),
            lambda: timms(args.timm, args.photos, "mobilenetv2_100", 32, 224),
        ),
        "resnet20": (
            lambda: ours(args.cifar, "resnet20", 64, 32),
            lambda: timms(args.timm, args.cifar, "cifar_resnet20", 64, 32),
        ),
    }
    found: dict[str, Any] = {}
    for name, (our, their) in problems.items():
        turns = []
        for _ in range(args.repeats):
            turns.append((our(), their()))
            print(name, turns[-1], file=sys.stderr, flush=True)
        found[name] = {
            "ours": summary([mine for mine, _ in turns], 1),
            "timm train.py": summary([theirs for _, theirs in turns], 1),
            "times_as_fast": summary([mine / theirs for mine, theirs in turns]),
        }
    write_result(args.output, {"images_per_second": found})


if __name__ == "__main__":
    main()
