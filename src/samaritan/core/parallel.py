"""Work on many things in several processes: in order, a few at a time, and stopped at once."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # tasks for each worker that are handed out before the first is done: enough that none waits


def mapped(function: Callable[[T], R], items: Iterable[T], *, workers: int = 1) -> Iterator[R]:
    """Yield ``function(item)`` of each item in order, as it becomes known; only a few items are held at a time.

    With one worker all happens in this process, as does a debugger. With more, function and items are pickled to
    processes that start afresh (threads of a runtime do not survive a fork). An error of the function is raised where
    its result would have come, and what has not begun is dropped.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    source = iter(items)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        waiting: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(source, workers * _AHEAD))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
