import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.support.processes import child

from tench.bench import measure
from tench.bench.measure import Rate, give_back_memory, memory_bytes, rates


def test_a_rate_has_the_median_the_smallest_and_the_largest_value() -> None:
    seconds = [0.5, 2.0, 1.0, 0.25, 4.0]
    rate = Rate.of(100, seconds)
    found = [100 / one for one in seconds]
    assert (rate.median, rate.min, rate.max) == (statistics.median(found), min(found), max(found))
    assert (rate.images, rate.repeats) == (100, 5)


def test_passes_are_warmed_up_once_and_then_take_turns() -> None:
    ran: list[str] = []

    def work(name: str, images: int) -> int:
        ran.append(name)
        return images

    found = rates(
        {"a": lambda: work("a", 3), "b": lambda: work("b", 5)},
        repeats=2,
        before={"b": lambda: ran.append("before")},
        done=lambda: ran.append("done"),
    )
    turn = ["a", "done", "before", "b", "done"]
    assert ran == 3 * turn
    assert {name: (rate.images, rate.repeats) for name, rate in found.items()} == {"a": (3, 2), "b": (5, 2)}


def test_only_the_passes_themselves_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def takes(seconds: float) -> None:
        nonlocal now
        now += seconds

    def work() -> int:
        takes(2)
        return 10

    found = rates({"a": work}, before={"a": lambda: takes(100)}, done=lambda: takes(50))
    assert (found["a"].min, found["a"].median, found["a"].max) == (5, 5, 5)


def test_memory_is_counted_for_written_and_freed_pages() -> None:
    give_back_memory()
    before = memory_bytes()
    if before is None:
        pytest.skip("needs /proc/self/smaps_rollup, which this system does not have")
    held = np.ones(64 * 2**20, np.uint8)
    with_it = memory_bytes()
    assert with_it is not None
    assert with_it - before == pytest.approx(held.nbytes, rel=0.1)
    del held
    give_back_memory()
    without = memory_bytes()
    assert without is not None
    assert without < before + 8 * 2**20


def test_memory_is_none_if_the_system_does_not_report_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_PROC", tmp_path)
    assert memory_bytes() is None


def test_the_memory_of_child_processes_counts_too() -> None:
    before = memory_bytes()
    if before is None:
        pytest.skip("needs /proc/self/smaps_rollup, which this system does not have")
    code = "held = b'x' * (64 * 2**20); print(flush=True); input()"
    with child([sys.executable, "-c", code], stdin=True) as process:
        process.wait_for_output("\n")
        with_it = memory_bytes()
    assert with_it is not None
    assert with_it > before + 60 * 2**20
