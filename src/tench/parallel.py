"""Run tasks in threads and yield their results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_WAITING_PER_THREAD = 4


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, threads: int, name: str
) -> Generator[tuple[Task, Result], None, None]:
    """Yield each task with its result, in the order of the tasks, whichever thread finishes first.

    At most a few results per thread are pending, so that memory stays flat. A task's error is raised when its result is
    due. Closing the generator, or an error in it, cancels tasks that have not started and waits for the others.
    """
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            for task in tasks:
                waiting.append((task, pool.submit(function, task)))
                if len(waiting) > _WAITING_PER_THREAD * threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
