"""Where the time goes: seconds by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

# Called with the stage, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


class Stopwatch:
    """Adds up seconds by stage; stages do not nest."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time that the block takes towards ``stage``."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start
