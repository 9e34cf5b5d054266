import os
import platform
from pathlib import Path

import pytest
import torch
from tests.support.processes import run_python

from tench import machine
from tench.errors import UsageError
from tench.machine import (
    available_memory_bytes,
    cgroup_quota,
    choose_device,
    cpu_has_bf16,
    cpu_name,
    has_bf16,
    is_out_of_memory,
    memory_suffices,
    num_cores,
    tune,
)

GIB = 2**30


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake /sys/fs/cgroup, empty at first. The process is in its root unless own.txt names another path."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_OWN_CGROUPS", tmp_path / "own.txt")
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "garbage\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.5),
        ({"cpu/cpu.cfs_quota_us": "250000\n"}, None),
        ({"cpu.max": "100000 100000\n", "cpu/cpu.cfs_quota_us": "9", "cpu/cpu.cfs_period_us": "1"}, 1.0),
    ],
)
def test_the_quota_of_a_cgroup_is_read_in_both_versions(
    cgroup: Path, files: dict[str, str], expected: float | None
) -> None:
    write(cgroup, files)
    assert cgroup_quota() == expected


V2 = "0::/slurm/job_7/step:0\n"
V1 = "5:memory:/slurm/job_7\n4:cpu,cpuacct:/slurm/job_7\n3:cpuset:/elsewhere\n1:name=systemd:/user.slice\n0::/\n"


def quota_v1(quota: int, folder: str) -> dict[str, str]:
    files = {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": "100000\n"}
    return {f"cpu{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (V2, {"slurm/job_7/step:0/cpu.max": "200000 100000\n"}, 2.0),
        (V2, {"slurm/job_7/step:0/cpu.max": "max 100000\n", "slurm/job_7/cpu.max": "300000 100000\n"}, 3.0),
        (V2, {"slurm/job_7/step:0/cpu.max": "400000 100000\n", "slurm/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"slurm/job_8/cpu.max": "100000 100000\n"}, None),
        (V1, quota_v1(200_000, "/slurm/job_7"), 2.0),
        (V1, quota_v1(400_000, "/slurm/job_7") | quota_v1(150_000, "/slurm") | quota_v1(-1, ""), 1.5),
        (V1, quota_v1(100_000, "/elsewhere"), None),
        (V1, quota_v1(250_000, ""), 2.5),
        ("garbage\n", {"cpu.max": "150000 100000\n"}, 1.5),
    ],
)
def test_the_quota_is_the_smallest_of_the_cgroups_that_the_process_is_in(
    cgroup: Path, own: str, files: dict[str, str], expected: float | None
) -> None:
    write(cgroup, {"own.txt": own} | files)
    assert cgroup_quota() == expected


@pytest.mark.parametrize(
    ("quota", "cores"), [("max", 8), ("800000", 8), ("900000", 8), ("150000", 2), ("100000", 1), ("20000", 1)]
)
def test_cores_are_those_of_the_affinity_mask_within_the_quota_rounded_up(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    write(cgroup, {"cpu.max": f"{quota} 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert num_cores() == cores


def test_without_an_affinity_mask_all_cores_are_counted(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert num_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1


def v2(limit: str, used: int, droppable: int, folder: str = "") -> dict[str, str]:
    statistics = f"anon 5\nfile {droppable + 7}\nactive_file 7\ninactive_file {droppable}\n"
    files = {"max": f"{limit}\n", "current": f"{used}\n", "stat": statistics}
    return {f"{folder}memory.{name}": text for name, text in files.items()}


def v1(limit: int, used: int, droppable: int, folder: str = "") -> dict[str, str]:
    statistics = f"cache 9\ninactive_file 3\ntotal_inactive_file {droppable}\n"
    files = {"limit_in_bytes": f"{limit}\n", "usage_in_bytes": f"{used}\n", "stat": statistics}
    return {f"memory{folder}/memory.{name}": text for name, text in files.items()}


@pytest.mark.parametrize("files", [v2(str(GIB), GIB // 4, 0), v1(GIB, GIB // 4, 0)])
def test_available_memory_is_limited_by_the_cgroup(cgroup: Path, files: dict[str, str]) -> None:
    write(cgroup, files)
    system = int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) * 1024
    assert system > GIB, "this test needs a machine with more than 1 GiB free"
    assert available_memory_bytes() == GIB - GIB // 4


@pytest.mark.parametrize(
    "files",
    [
        {"own.txt": V2} | v2(str(GIB), GIB // 4, 0, "slurm/job_7/") | v2("max", 5, 0, "slurm/job_7/step:0/"),
        {"own.txt": V2} | v2(str(2 * GIB), 0, 0, "slurm/") | v2(str(GIB), GIB // 4, 0, "slurm/job_7/step:0/"),
        {"own.txt": V1} | v1(GIB, GIB // 4, 0, "/slurm/job_7") | v1(2**63 - 4096, GIB, 0),
        {"own.txt": V1} | v1(GIB, GIB // 4, 0, "/slurm") | v1(2**63 - 4096, GIB // 8, 0, "/slurm/job_7"),
    ],
)
def test_available_memory_is_limited_by_the_smallest_of_the_cgroups(cgroup: Path, files: dict[str, str]) -> None:
    write(cgroup, files)
    assert available_memory_bytes() == GIB - GIB // 4


@pytest.mark.parametrize("files", [v2(str(GIB), GIB - 1000, GIB // 2), v1(GIB, GIB - 1000, GIB // 2)])
def test_files_that_the_kernel_can_drop_do_not_count_as_used_memory(cgroup: Path, files: dict[str, str]) -> None:
    """After a pass over a dataset, its pages fill the cgroup, but the kernel drops them when memory is needed."""
    write(cgroup, files)
    assert available_memory_bytes() == 1000 + GIB // 2


@pytest.mark.parametrize("files", [{}, v2("max", 10, 0), v1(2**63 - 4096, 10, 0), v2("garbage", 10, 0)])
def test_without_a_limit_the_systems_available_memory_is_used(cgroup: Path, files: dict[str, str]) -> None:
    write(cgroup, files)
    found = available_memory_bytes()
    assert found is not None
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < found < total


def test_bf16_is_recognised_by_the_processors_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(text: str | None) -> bool:
        def read(path: Path) -> str:
            assert path == Path("/proc/cpuinfo")
            if text is None:
                raise FileNotFoundError
            return text

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", read)
            return cpu_has_bf16()

    assert told("flags : fpu avx512f avx512_bf16 amx_tile")
    assert told("flags : fpu amx_bf16")
    assert not told("flags : fpu avx2 avx512f")
    assert not told(None)


@pytest.mark.parametrize(("capability", "expected"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_before_ampere_have_no_bf16_even_though_torch_emulates_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    of_device = {torch.device("cuda:1"): capability}
    monkeypatch.setattr(torch.cuda, "get_device_capability", of_device.__getitem__)
    assert has_bf16(torch.device("cuda:1")) == expected


def test_on_a_gpu_cudnn_benchmarks_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    tune(torch.device("cuda"))
    assert torch.backends.cudnn.benchmark


def test_running_out_of_memory_is_recognised_by_torchs_message() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_another_error_is_not_mistaken_for_running_out_of_memory() -> None:
    with pytest.raises(ValueError, match=r"^shapes$"), memory_suffices("A step", "Take fewer images."):
        raise ValueError("shapes")


def test_the_processor_has_a_name() -> None:
    assert cpu_name().strip() != ""


def test_cpu_is_a_device_and_auto_is_an_available_device() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "CUDA"])
def test_a_name_that_is_not_a_device_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError) as error:
        choose_device(name)
    assert str(error.value) == f"--device {name}: no such device. Expected auto, cpu, cuda or cuda:1."


def test_an_unavailable_device_is_a_usage_error() -> None:
    name = "cuda:99"
    with pytest.raises(UsageError) as error:
        choose_device(name)
    assert str(error.value).startswith(f"--device {name}: not available (")
    assert str(error.value).endswith("See tench doctor.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mps", "meta", "xpu:0"])
def test_another_kind_of_device_is_refused_even_if_torch_has_it(name: str) -> None:
    with pytest.raises(UsageError) as error:
        choose_device(name)
    assert str(error.value) == f"--device {name}: tench supports only cpu and cuda. Name one of them, or auto."


def test_freed_memory_is_kept_if_the_c_library_supports_it() -> None:
    # In a separate process, because the setting of the C library cannot be undone.
    script = """
import ctypes, os
import torch
from tench.machine import tune
tune(torch.device("cpu"))
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
block = libc.malloc(200_000_000)
ctypes.memset(block, 1, 200_000_000)
full = resident()
libc.free(block)
print(full - resident())
"""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("needs glibc")
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000
