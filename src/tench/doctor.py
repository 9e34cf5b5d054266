"""What this machine offers for training and what limits it, as findings that a user can act on."""

import dataclasses
import os
import shutil

from tench.data.cache import cache_folder
from tench.machine import available_memory_bytes, cgroup_quota, cpu_has_bf16, cpu_name, has_bf16, num_cores


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fact about the machine, and advice if something should be done about it."""

    what: str
    value: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at cores, memory, shared memory, accelerators, precision, the cache folder and versions."""
    return [*_processor(), *_memory(), *_accelerators(), *_software()]


def _processor() -> list[Finding]:
    quota, total = cgroup_quota(), os.cpu_count() or 1
    granted = num_cores()
    limits = f" of {total}" if granted < total else ""
    limits += f", limited by the cgroup to {quota:g}" if quota and quota < total else ""
    return [
        Finding("processor", cpu_name()),
        Finding("cores", f"{granted}{limits}"),
        Finding("bf16 on the processor", "yes" if cpu_has_bf16() else "no: fp32 is used on the processor"),
    ]


def _memory() -> list[Finding]:
    free = available_memory_bytes()
    findings = [Finding("memory available", f"{free / 2**30:.1f} GiB" if free is not None else "unknown")]
    if os.path.isdir("/dev/shm"):
        findings.append(Finding("/dev/shm free", f"{shutil.disk_usage('/dev/shm').free / 2**30:.1f} GiB (not used)"))
    folder = cache_folder()
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    writable = os.access(nearest, os.W_OK)
    findings.append(
        Finding(
            "cache folder",
            f"{folder}, {shutil.disk_usage(nearest).free / 2**30:.1f} GiB free",
            "" if writable else "It is not writable. Set TENCH_CACHE to a writable folder.",
        )
    )
    return findings


def _accelerators() -> list[Finding]:
    import torch

    findings = []
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if has_bf16(torch.device("cuda", index)) else "no bf16: fp32, or --precision fp16"
        findings.append(Finding(f"cuda:{index}", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {bf16}"))
    if not findings:
        build = "this torch is built without CUDA" if torch.version.cuda is None else "none is visible to this process"
        findings.append(Finding("GPUs", f"none ({build})"))
    return findings


def _software() -> list[Finding]:
    from importlib.metadata import version

    from tench.compat import import_torchvision
    from tench.run import environment

    found = environment()
    torchvision = import_torchvision()
    loaded = torchvision.extension._has_ops()
    return [
        Finding("tench", f"{found['tench']}" + (f" ({found['commit']})" if found["commit"] else "")),
        Finding("python", found["python"]),
        *(Finding(name, number) for name, number in found["packages"].items() if name != "torchvision"),
        Finding(
            "torchvision",
            version("torchvision"),
            "" if loaded else "Its compiled operators do not match this torch. tench does not need them.",
        ),
    ]
