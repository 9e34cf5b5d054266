"""Compare our loader with other loaders on the same photographs: images per second of the input alone.

All do the same work: a random resized crop of 224 x 224, mirrored at random, as uint8 batches of 64 with labels in host
memory (peers/clock.py explains what is timed). The contenders take turns. Each runs in a separate process, with the
Python of its environment, DIR/NAME/bin/python (environments/NAME.txt lists its packages). Missing environments are left
out and reported. The photographs are repeated under other names to 1,000 images, all in the page cache.

Usage: python benchmarks/input/loaders.py --photos photos.tar --environments DIR [--work DIR] [--workers N]
    [--passes 4] [--repeats 5] [--tables NAME ...] [--output FILE]
(writes loaders.json next to this script; `python benchmarks/input/table.py` makes tables from it)
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
import forms
from machine import write_result

from tench.machine import num_threads

HERE = Path(__file__).parent
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Contender:
    """A loader to measure.

    environment: the one whose Python runs it. peer: its script, `ours` or peers/read_NAME.py. data: a format of
    forms.py.
    """

    name: str
    environment: str
    peer: str
    data: str
    options: tuple[str, ...] = ()

    def command(self, environments: Path, path: Path) -> list[str]:
        script = HERE / "ours.py" if self.peer == "ours" else HERE / "peers" / f"read_{self.peer}.py"
        return list(map(str, (self.python(environments), script, path, *self.options)))

    def python(self, environments: Path) -> Path:
        return Path(sys.executable) if self.environment == "ours" else environments / self.environment / "bin/python"


EVAL, TENSOR = ("--view", "eval"), ("--form", "tensor")
AREA, ANTIALIAS, RANDAUGMENT = ("--interpolation", "area"), ("--antialias",), ("--randaugment",)

TABLES = {
    "originals": [
        Contender("tench", "ours", "ours", "folder"),
        Contender("tench", "ours", "ours", "webdataset"),
        Contender("tench", "ours", "ours", "recordio"),
        Contender("tench, prepare --addressable", "ours", "ours", "addressable"),
        Contender("torchvision, Pillow", "torch", "torchvision", "folder"),
        Contender("torchvision, decode_jpeg", "torch", "torchvision", "folder", TENSOR),
        Contender("timm", "torch", "timm", "folder"),
        Contender("webdataset, Pillow", "torch", "webdataset", "webdataset"),
        Contender("DALI on the CPU", "dali", "dali", "folder"),
        Contender("SPDL", "spdl", "spdl", "folder"),
        Contender("tf.data", "tensorflow", "tensorflow", "tfrecord"),
        Contender("tf.data, antialias", "tensorflow", "tensorflow", "tfrecord", ANTIALIAS),
        Contender("MXNet", "mxnet", "mxnet", "recordio"),
        Contender("MXNet, area", "mxnet", "mxnet", "recordio", AREA),
    ],
    "smaller": [
        Contender("tench", "ours", "ours", "webdataset-512"),
        Contender("tench", "ours", "ours", "recordio-512"),
        Contender("FFCV, jpg", "ffcv", "ffcv", "beton-512"),
        Contender("MXNet", "mxnet", "mxnet", "recordio-512"),
        Contender("MXNet, area", "mxnet", "mxnet", "recordio-512", AREA),
    ],
    "pixels": [
        Contender("tench", "ours", "ours", "webdataset-256"),
        Contender("FFCV, raw", "ffcv", "ffcv", "beton-256"),
    ],
    "randaugment": [
        Contender("tench", "ours", "ours", "folder", RANDAUGMENT),
        Contender("torchvision, Pillow", "torch", "torchvision", "folder", RANDAUGMENT),
        Contender("torchvision, decode_jpeg", "torch", "torchvision", "folder", (*TENSOR, *RANDAUGMENT)),
    ],
    "evaluation": [
        Contender("tench", "ours", "ours", "folder", EVAL),
        Contender("torchvision, Pillow", "torch", "torchvision", "folder", EVAL),
        Contender("torchvision, decode_jpeg", "torch", "torchvision", "folder", (*TENSOR, *EVAL)),
    ],
}
"""The contenders of each table. Ratios are relative to the first one, which is tench."""


def answer(command: list[str]) -> dict[str, Any]:
    """The last line that a contender prints, parsed as JSON. Raises SystemExit with its error output if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/tench-benchmark/input"))
    parser.add_argument("--workers", type=int, default=0, help="threads or processes of each; 0: one per core")
    parser.add_argument("--passes", type=int, default=4, help="timed passes over the 1,000 images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    environments = args.environments.absolute()
    os.environ["TENCH_CACHE"] = str(args.work / "cache")
    workers = num_threads(args.workers)

    contenders = {f"{table}: {one.name}, {one.data}": one for table in args.tables for one in TABLES[table]}
    there = {key: one for key, one in contenders.items() if one.python(environments).exists()}
    left_out = sorted({one.environment for key, one in contenders.items() if key not in there})
    if left_out:
        print(f"{environments} lacks these environments, which are left out: {', '.join(left_out)}.", file=sys.stderr)
    ffcv = environments / "ffcv/bin/python"
    needed = dict.fromkeys(one.data for one in there.values())
    paths = {form: forms.make(form, args.work, args.photos, ffcv) for form in needed}
    num_images = forms.num_images(args.work)
    num_batches = args.passes * num_images // BATCH_SIZE
    options = ["--workers", str(workers), "--batch-size", str(BATCH_SIZE), "--batches", str(num_batches)]
    answers: dict[str, dict[str, Any]] = {}

    def timed(key: str, contender: Contender) -> common.Contender:
        path = paths[contender.data]
        command = [*contender.command(environments, path), *options]

        def run() -> float:
            common.warm(path)
            answers[key] = answer(command)
            return float(answers[key]["seconds"])

        return run

    seconds = common.in_turns({key: timed(key, one) for key, one in there.items()}, args.repeats)
    tables: dict[str, list[dict[str, Any]]] = {}
    firsts: dict[str, list[float]] = {}  # the seconds of each table's first contender
    for key, contender in there.items():
        table, said = key.partition(":")[0], answers[key]
        row = {
            "loader": contender.name,
            "data": contender.data,
            "filter": said["filter"],
            "images_per_second": common.rates(said["images"], seconds[key], 0),
            "first_times_as_fast": common.times_as_fast(firsts.setdefault(table, seconds[key]), seconds[key]),
            "versions": said["versions"],
        }
        tables.setdefault(table, []).append(row)
    result = {
        "images": num_images,
        "passes": args.passes,
        "batch_size": BATCH_SIZE,
        "workers": workers,
        "repeats": args.repeats,
        "left_out": left_out,
        "tables": tables,
    }
    write_result(args.output, result)


if __name__ == "__main__":
    main()
