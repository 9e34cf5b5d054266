"""Threads do the work, and results are returned in order."""

import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.processes import DEADLINE_SECONDS

from tench.parallel import in_order


def slow_first(task: int) -> int:
    """Make every third task slower than those after it."""
    time.sleep(0.002 if task % 3 == 0 else 0)
    return task * task


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 60])
def test_results_are_returned_with_their_tasks_in_the_order_of_the_tasks(threads: int, count: int) -> None:
    results = in_order(slow_first, range(count), threads=threads, name="squares")
    assert list(results) == [(task, task * task) for task in range(count)]


def test_as_many_tasks_run_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(3, timeout=DEADLINE_SECONDS)  # each waits for two others

    def meet(task: int) -> str:
        together.wait()
        return threading.current_thread().name.rpartition("_")[0]

    assert [name for _, name in in_order(meet, range(6), threads=3, name="meeting")] == ["meeting"] * 6


@pytest.mark.parametrize("threads", [1, 3])
def test_only_a_few_tasks_per_thread_are_started_ahead_of_the_results(threads: int) -> None:
    drawn = 0

    def tasks() -> Iterator[int]:
        nonlocal drawn
        for task in range(200):
            drawn += 1
            yield task

    ahead = [drawn - given for given, _ in enumerate(in_order(slow_first, tasks(), threads=threads, name="squares"))]
    assert len(ahead) == 200
    assert max(ahead) == 4 * threads + 1
    assert ahead[-1] == 1


def test_an_error_is_raised_in_order_and_nothing_keeps_running_afterwards() -> None:
    ran = set()

    def fails_at_five(task: int) -> int:
        if task == 5:
            raise ValueError("the fifth")
        time.sleep(0.002)
        ran.add(task)
        return task

    before = threading.active_count()
    results = in_order(fails_at_five, range(1000), threads=3, name="failing")
    assert [next(results) for _ in range(5)] == [(task, task) for task in range(5)]
    with pytest.raises(ValueError, match="the fifth"):
        next(results)
    assert threading.active_count() == before
    num_ran = len(ran)
    assert num_ran <= 5 + 4 * 3 + 1
    time.sleep(0.02)
    assert len(ran) == num_ran


def test_an_error_from_the_iterable_of_tasks_is_raised() -> None:
    def tasks() -> Iterator[int]:
        yield 0
        raise KeyError("no more")

    before = threading.active_count()
    with pytest.raises(KeyError, match="no more"):
        list(in_order(slow_first, tasks(), threads=2, name="squares"))
    assert threading.active_count() == before


def test_closing_early_cancels_waiting_tasks_and_waits_for_running_ones() -> None:
    began, ended = [], []
    started, go_on = threading.Event(), threading.Event()

    def blocked(task: int) -> int:
        began.append(task)
        if task:
            started.set()
            go_on.wait(DEADLINE_SECONDS)
        ended.append(task)
        return task

    results = in_order(blocked, range(100), threads=1, name="blocked")
    assert next(results) == (0, 0)
    assert started.wait(DEADLINE_SECONDS)
    threading.Timer(0.02, go_on.set).start()
    results.close()
    assert began == ended == [0, 1]
    assert list(results) == []
