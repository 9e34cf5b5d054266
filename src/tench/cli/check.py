"""`tench check`: decode everything once, name what is bad."""

import dataclasses
import json
from typing import Annotated

import tyro

from tench.cli.parse import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Decode every image of a source once; name each that cannot be read, count what is odd.

    The source is read anew. The exit code is 1 if an image would stop a training. Example:

        tench check ~/flowers
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Path of the dataset, or digits or synthetic."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads; 0: one for each core."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: images, bad (split, key, file, reason), odd (counts and examples)."""


def run(arguments: list[str]) -> int:
    asked = parse(Check, arguments)
    from tench.data.check import ODD, check
    from tench.data.source import open_source
    from tench.machine import num_threads
    from tench.progress import progress

    threads = num_threads(asked.threads)
    dataset = open_source(asked.source, anew=True)
    total = sum(len(table) for table in dataset.splits.values())
    with progress("check", total, "images") as advance:
        report = check(dataset, threads=threads, progress=lambda count: advance(count, ""))
    if asked.json:
        print(json.dumps(report.to_json()))
        return 1 if report.bad else 0
    for bad in report.bad:
        print(f"bad: {bad.file}: {bad.reason} ({bad.split}, {bad.key})")
    for name, odd in report.odd.items():
        if odd.count:
            print(f"{name}: {odd.count} ({ODD[name]}), such as {', '.join(odd.examples)}")
    print(f"{dataset.source}: {report.images} images, {len(report.bad)} bad")
    return 1 if report.bad else 0
