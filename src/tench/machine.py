"""What this machine grants this process: cores, memory, and the number formats its processor is fast in."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tench.errors import TenchError, UsageError

if TYPE_CHECKING:
    import torch

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def num_cores() -> int:
    """Cores this process may use: the affinity mask, and the cgroup's quota where one is set (rounded up)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(cores, -int(-quota // 1))) if quota else cores


def num_threads(asked: int) -> int:
    """So many threads, or with 0 one for each core. Raises UsageError for less."""
    if asked < 0:
        raise UsageError(f"The number of threads is {asked}, but should be 1 or more, or 0 for one per core.")
    return asked or num_cores()


def cgroup_quota() -> float | None:
    """The cgroup's limit in cores, such as 1.5; None where there is none. Reads cgroup v2 (cpu.max) and v1.

    The smallest of the cgroup that this process is in and of those around it: each of them limits it.
    """
    found = []
    for level in _cgroups():
        with contextlib.suppress(OSError, ValueError):  # "max": no limit here
            limit, period = map(int, (level / "cpu.max").read_text().split())
            found.append(limit / period)
    for level in _cgroups("cpu"):
        with contextlib.suppress(OSError, ValueError):
            limit, period = (int((level / f"cpu.cfs_{what}_us").read_text()) for what in ("quota", "period"))
            if limit > 0:
                found.append(limit / period)
    return min(found, default=None)


def available_memory_bytes() -> int | None:
    """Memory that can be had without swapping, within the limits of the cgroup and of those around it.

    None where the system does not tell. Files that the kernel keeps in memory and can drop count as available: after a
    pass over a dataset they fill all of a cgroup's memory.
    """
    found = []
    with contextlib.suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for controller, limit, used, files in (
        ("", "memory.max", "memory.current", "inactive_file"),  # cgroup v2
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # v1
    ):
        for level in _cgroups(controller):
            with contextlib.suppress(OSError, KeyError, ValueError):
                left = int((level / limit).read_text()) - int((level / used).read_text())
                statistics = (level / "memory.stat").read_text()
                found.append(left + int(dict(line.split() for line in statistics.splitlines())[files]))
    return min(found, default=None)


def _cgroups(controller: str = "") -> list[Path]:
    """The folders of the cgroup of this process and of those around it, up to the root; there may be none of a name.

    controller: of cgroup v1, such as cpu; empty for v2. Source: cgroups(7). In a container without a namespace of its
    own the path is the host's, and what is mounted is the container's: then the root alone is there.
    """
    path = ""
    with contextlib.suppress(OSError, ValueError):
        for line in _OWN_CGROUPS.read_text().splitlines():
            _, controllers, own = line.split(":", 2)  # 0::/slurm/job_7, of v1: 4:cpu,cpuacct:/slurm/job_7
            if controller in controllers.split(","):
                path = own.lstrip("/")
    own_level = PurePosixPath(path)
    return [_CGROUP / controller / level for level in (own_level, *own_level.parents)]


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware (AVX512-BF16 or AMX); elsewhere bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def has_bf16(device: "torch.device") -> bool:
    """Whether a device multiplies bf16 in hardware. Of NVIDIA's those from Ampere on; older ones only emulate it."""
    import torch

    if device.type == "cpu":
        return cpu_has_bf16()
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def cpu_name() -> str:
    """The processor as the system calls it."""
    import platform

    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def tune(device: "torch.device") -> None:
    """Prepare this process for training on a device: freed memory is kept, or cuDNN tries which kernels are fastest.

    cuDNN tries them once for each shape, and the shapes of a training are few.
    """
    import torch

    if device.type == "cpu":
        _keep_freed_memory()
    else:
        torch.backends.cudnn.benchmark = True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory: a GPU's, or the processor's, which is a plain RuntimeError."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    said = ("can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    return any(words in text for words in said)


@contextlib.contextmanager
def memory_suffices(what: str, remedy: str) -> Iterator[None]:
    """Turn running out of memory inside into a TenchError that says what was being done, and what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TenchError(f"{what}: there is not enough memory. {remedy} ({str(error).partition('. ')[0]})") from error


def _keep_freed_memory() -> None:
    """Have this process keep the memory it frees.

    Each step frees its activations and asks for as much again. glibc gives large pieces back to the system, which hands
    them out anew page by page, filled with zeros: without that a step of resnet50 is 1.3 times as fast with a batch of
    32, 1.7 times with 64 (benchmarks/training/results.md). Elsewhere than with glibc nothing happens.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def choose_device(name: str) -> "torch.device":
    """The device of that name, cpu or cuda; auto is the GPU where there is one.

    Raises UsageError for another kind, and for one that is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):  # the totals of a training are float64 on the device: mps has none
            raise UsageError(f"--device {name}: tench computes on cpu and cuda alone. Name one of them, or auto.")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {name}: not to be had ({str(error).splitlines()[0]}). See tench doctor.") from error
    return device
