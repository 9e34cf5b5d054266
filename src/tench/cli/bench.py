"""Measure speed on this machine, and what limits it."""

import importlib

from tench.cli.bench_input import BenchInput
from tench.cli.bench_models import BenchModels
from tench.cli.bench_train import BenchTrain
from tench.errors import UsageError, nearest

FORMS = {"input": BenchInput, "train": BenchTrain, "models": BenchModels}


def run(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in FORMS:
        known = f"Known: {', '.join(FORMS)}. See tench bench --help."
        if not arguments or arguments[0].startswith("-"):
            raise UsageError(f"name a benchmark first. {known}")
        raise UsageError(f"unknown benchmark {arguments[0]!r}.{nearest(arguments[0], list(FORMS))} {known}")
    result: int = importlib.import_module(f"tench.cli.bench_{arguments[0]}").run(arguments[1:])
    return result
