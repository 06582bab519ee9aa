"""Work on many things in several processes: in order, a few at a time, and stopped at once."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS = "OMP_NUM_THREADS"  # of the OpenMP standard: PyTorch and BLAS read it, and cluster schedulers set it
_AHEAD = 4  # tasks for each worker that are handed out before the first is done: enough that none waits


def allowed_threads() -> int:
    """Return how many threads a runtime may use in this process, by ``OMP_NUM_THREADS``; 0 if nobody said."""
    told = os.environ.get(_THREADS, "").split(",")[0].strip()
    return int(told) if told.isdecimal() else 0


def mapped(function: Callable[[T], R], items: Iterable[T], *, workers: int = 1) -> Iterator[R]:
    """Yield ``function(item)`` of each item in order, as it becomes known; only a few items are held at a time.

    With one worker all happens in this process, as does a debugger. With more, function and items are pickled to
    processes that start afresh (threads of a runtime do not survive a fork), each with its share of the processors. An
    error of the function is raised where its result would have come, and what has not begun is dropped.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    source = iter(items)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_share_processors, initargs=(workers,))
    try:
        waiting: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(source, workers * _AHEAD))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _share_processors(workers: int) -> None:
    """Have runtimes that this process loads use its share: threads of all would wait for each other."""
    os.environ.setdefault(_THREADS, str(max(1, (os.cpu_count() or 1) // workers)))
