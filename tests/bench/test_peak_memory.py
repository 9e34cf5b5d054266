from pathlib import Path

import pytest
import torch

from tench.bench import peak_memory
from tench.bench.peak_memory import start_peak

CPU = torch.device("cpu")


def test_memory_that_was_freed_counts_too() -> None:
    taken = start_peak(CPU)
    if taken() is None:
        pytest.skip("needs /proc/self/clear_refs, which this system does not have")
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    expected = held.nbytes
    del held
    found = taken()
    assert found is not None
    assert found == pytest.approx(expected, rel=0.1)
    again = start_peak(CPU)()
    assert again is not None
    assert again < 8 * 2**20


def test_the_peak_is_none_if_the_system_does_not_report_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory, "_SELF", tmp_path / "none")
    assert start_peak(CPU)() is None


def test_on_a_gpu_the_peak_is_torchs_allocation_above_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: called.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: called.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 350)
    assert start_peak(torch.device("cuda"))() == 250
    assert called == ["synchronize", "reset"]
