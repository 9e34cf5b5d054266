"""`tench bench WHAT`: measure a part of the pipeline on this machine, and what limits it."""

import importlib
import sys

from tench.cli.bench_input import BenchInput
from tench.cli.bench_models import BenchModels
from tench.cli.bench_train import BenchTrain
from tench.errors import UsageError, nearest

KINDS = {
    "input": "how fast images are read, decoded and made into batches, and what would make it faster",
    "train": "training speed of networks, by batch size, precision and memory format",
    "models": "cost of networks: forward and training rates, memory, parameters, GMACs",
}
FORMS = {"input": BenchInput, "train": BenchTrain, "models": BenchModels}

_HELP = """usage: tench bench WHAT ...

Rates on this machine, and what limits them.

what:
{kinds}

See `tench bench WHAT --help` for more. Example:

    tench bench input ~/flowers"""


def run(arguments: list[str]) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        for line in _HELP.format(kinds="\n".join(f"  {name:<8}{text}" for name, text in KINDS.items())).splitlines():
            print(line)
        sys.exit(0)
    if not arguments or arguments[0] not in KINDS:
        found = f"Unknown benchmark {arguments[0]!r}." + nearest(arguments[0], list(KINDS)) if arguments else ""
        raise UsageError(f"{found} Usage: tench bench {', '.join(KINDS)}.".strip())
    result: int = importlib.import_module(f"tench.cli.bench_{arguments[0]}").run(arguments[1:])
    return result
