"""The most memory that a piece of work takes, on a GPU or in this process.

On a GPU it is what torch has allocated, without what the driver itself holds. On a processor it is the growth of the
resident set to its highest, which Linux keeps and lets a process set back; elsewhere it is not known.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from tench.bench.measure import give_back_memory

_SELF = Path("/proc/self")


def start_peak(device: torch.device) -> Callable[[], int | None]:
    """Begin now; the function that is returned tells the most bytes taken since, above what was taken before.

    None where the system does not tell. A later call begins anew, so that only one such function is of use at a time.
    """
    give_back_memory()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        return lambda: torch.cuda.max_memory_allocated(device) - held
    if device.type != "cpu" or not _set_back():
        return lambda: None
    before = _status_bytes("VmRSS")

    def taken() -> int | None:
        highest = _status_bytes("VmHWM")
        return None if before is None or highest is None else max(0, highest - before)

    return taken


def _set_back() -> bool:
    """Let the highest resident set be counted from now on; whether the system could."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(name: str) -> int | None:
    """A size in /proc/self/status."""
    try:
        lines = (_SELF / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
