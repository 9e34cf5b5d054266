"""`tench bench WHAT`: how fast a part of the way is on this machine, and what bounds it."""

import importlib
import sys

from tench.cli.bench_input import BenchInput
from tench.cli.bench_models import BenchModels
from tench.cli.bench_train import BenchTrain
from tench.errors import UsageError, nearest

KINDS = {
    "input": "how fast images are read, decoded and made into batches, and what would make it faster",
    "train": "how fast networks learn, for batch sizes, precisions and memory formats",
    "models": "what networks cost: forward and training rates, memory, parameters, GMACs",
}
FORMS = {"input": BenchInput, "train": BenchTrain, "models": BenchModels}

_HELP = """usage: tench bench WHAT ...

Rates on this machine, and what bounds them.

what:
{kinds}

`tench bench WHAT --help` tells more. Example:

    tench bench input ~/flowers"""


def run(arguments: list[str]) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        for line in _HELP.format(kinds="\n".join(f"  {name:<8}{text}" for name, text in KINDS.items())).splitlines():
            print(line)
        sys.exit(0)
    if not arguments or arguments[0] not in KINDS:
        found = f"{arguments[0]!r} is nothing to measure." + nearest(arguments[0], list(KINDS)) if arguments else ""
        raise UsageError(f"{found} Say what to measure: tench bench {', '.join(KINDS)}.".strip())
    result: int = importlib.import_module(f"tench.cli.bench_{arguments[0]}").run(arguments[1:])
    return result
