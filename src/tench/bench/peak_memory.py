"""The peak memory of a piece of work, on a GPU or in this process.

On a GPU it is the memory that torch has allocated, without that of the driver. On a CPU it is the growth of the
resident set to its maximum, which Linux records and lets a process reset. On other systems it is unknown.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from tench.bench.measure import give_back_memory

_SELF = Path("/proc/self")


def start_peak(device: torch.device) -> Callable[[], int | None]:
    """Start measuring; the returned function returns the peak since then, in bytes above the memory used before.

    It returns None if the system does not report the peak. A later call resets it, so only one such function is valid
    at a time.
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
    """Reset the recorded maximum of the resident set; return whether the system could."""
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
