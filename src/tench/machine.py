"""The resources of this process: cores, memory, and the number formats that its processor computes fast."""

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

_was_forked = False


def _in_child() -> None:
    global _was_forked
    _was_forked = True


# OpenMP's threads do not survive a fork: as soon as torch uses more than one, the child waits for them forever.
os.register_at_fork(after_in_child=_in_child)


def num_cores() -> int:
    """Cores this process may use, by its affinity mask and the cgroup's quota (rounded up) if one is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(cores, -int(-quota // 1))) if quota else cores


def num_threads(asked: int) -> int:
    """The requested number of threads; 0 means one per core. Raises UsageError if it is negative."""
    if asked < 0:
        raise UsageError(f"The number of threads must be at least 1, or 0 for one per core; got {asked}.")
    return asked or num_cores()


def cgroup_quota() -> float | None:
    """The cgroup's limit in cores, such as 1.5; None if there is no limit. Reads cgroup v2 (cpu.max) and v1.

    Every cgroup that contains this process limits it, so the smallest quota counts.
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
    """Memory available without swapping, within the limits of all cgroups that contain this process.

    None if the system does not report it. Cached files that the kernel can drop count as available, because after a
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
    """The folders of this process's cgroup and of those that contain it, up to the root. They may not exist.

    controller: of cgroup v1, such as cpu; empty for v2. Source: cgroups(7). In a container without its own cgroup
    namespace, the path is the host's but the mount is the container's, so only the root exists.
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
    """Whether the processor multiplies bf16 in hardware (AVX512-BF16 or AMX); without it bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def has_bf16(device: "torch.device") -> bool:
    """Whether a device multiplies bf16 in hardware. NVIDIA GPUs do from Ampere on; older ones only emulate it."""
    import torch

    if device.type == "cpu":
        return cpu_has_bf16()
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def cpu_name() -> str:
    """The processor's name, as the system reports it."""
    import platform

    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def tune(device: "torch.device") -> None:
    """Prepare this process for training: keep freed memory on the CPU, let cuDNN time its kernels on a GPU.

    cuDNN times them once per shape, and a training run has few shapes.
    """
    import torch

    if device.type == "cpu":
        _keep_freed_memory()
    else:
        torch.backends.cudnn.benchmark = True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. On the CPU torch raises a plain RuntimeError for that."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    said = ("can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    return any(words in text for words in said)


@contextlib.contextmanager
def memory_suffices(what: str, remedy: str) -> Iterator[None]:
    """Turn out-of-memory errors into a TenchError. what: the activity. remedy: what the user can do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TenchError(f"{what}: not enough memory. {remedy} ({str(error).partition('. ')[0]})") from error


def _keep_freed_memory() -> None:
    """Have this process keep the memory it frees. Has no effect without glibc.

    Each step frees its activations and allocates the same amount again. glibc returns large blocks to the system, which
    then maps and zeroes every page again. Keeping them makes a step of resnet50 1.3 times as fast with a batch of 32,
    1.7 times with 64 (benchmarks/training/results.md).
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def choose_device(name: "str | torch.device") -> "torch.device":
    """The device with this name, cpu or cuda; auto is the GPU if there is one.

    All computing code requests its device first, so this also limits torch to one thread in a forked process. Raises
    UsageError for any other kind of device, and if the device is not available.
    """
    import torch

    name = str(name)
    if _was_forked:
        torch.set_num_threads(1)
    try:
        device = torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    except RuntimeError as error:  # its text lists twenty kinds of devices
        raise UsageError(f"--device {name}: no such device. Expected auto, cpu, cuda or cuda:1.") from error
    try:
        if device.type not in ("cpu", "cuda"):  # training sums its metrics as float64 on the device, which mps lacks
            raise UsageError(f"--device {name}: tench supports only cpu and cuda. Name one of them, or auto.")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {name}: not available ({str(error).splitlines()[0]}). See tench doctor.") from error
    return device
