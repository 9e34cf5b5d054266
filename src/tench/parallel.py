"""Work done by threads and given out in order."""

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
    """Each task with what the function makes of it, in the order of the tasks, whatever thread was first.

    A few results per thread wait at most, so that memory stays flat. An error of a task is raised in its turn. Closing
    the generator, or leaving it by an error, cancels what has not begun, and waits for what has.
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
