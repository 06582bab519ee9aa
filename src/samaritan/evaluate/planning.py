"""What a run would take: a few of its units are carried out, timed, and thrown away."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from samaritan.core.parallel import mapped
from samaritan.core.process import peak_rss
from samaritan.evaluate.runner import waiting_units
from samaritan.evaluate.store import Store
from samaritan.evaluate.unit import Plan, Unit, prepare, work

_LEAST = 3  # units of a model that are tried


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left of a run: ``units`` (``kept`` are there already), of which so many were ``tried``.

    ``seconds`` by all workers together; ``memory`` of one worker at most and ``disk`` of all units in bytes.
    """

    units: int
    kept: int
    tried: int
    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True, slots=True)
class _Tried:
    model: str
    loading: float
    seconds: float
    memory: int
    disk: int


def estimate(plan: Plan, *, workers: int = 1, progress: Callable[[str, int, int], None] | None = None) -> Estimate:
    """Return what is left to do of a plan, from some units of each model, spread over the cases; nothing is kept.

    They are tried by as many workers as the run would have, so that these get in each other's way as they would.

    Raises
    ------
    WeightsError, MissingExtraError
        As ``samaritan.evaluate.runner.run``.
    """
    waiting, kept = waiting_units(plan)
    sample = _spread(waiting, max(_LEAST, 2 * workers))
    tried: dict[str, list[_Tried]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        trial = partial(_try, replace(plan, store=Store(Path(folder))))
        for done, found in enumerate(mapped(trial, sample, workers=min(workers, max(1, len(sample)))), start=1):
            tried[found.model].append(found)
            if progress:
                progress("trying", done, len(sample))
    seconds = disk = 0.0
    for model, units in tried.items():
        count = sum(name == model for name, _ in waiting)
        seconds += max(unit.loading for unit in units) + count / workers * _mean([unit.seconds for unit in units])
        disk += count * _mean([unit.disk for unit in units])
    memory = max((unit.memory for units in tried.values() for unit in units), default=0)
    return Estimate(len(waiting), kept, len(sample), seconds, memory, round(disk))


def _spread(waiting: Sequence[Unit], count: int) -> list[Unit]:
    """Return so many units of each model, evenly spread over its cases."""
    by_model: dict[str, list[Unit]] = defaultdict(list)
    for unit in waiting:
        by_model[unit[0]].append(unit)
    found = []
    for units in by_model.values():
        step = max(1, len(units) // count)
        found += units[step // 2 :: step][:count]
    return found


def _try(plan: Plan, unit: Unit) -> _Tried:
    model, _ = unit
    started = time.perf_counter()
    prepare(plan, model)
    loaded = time.perf_counter()
    before = _size(plan.store.folder)
    work(plan, unit)
    seconds = time.perf_counter() - loaded
    return _Tried(model, loaded - started, seconds, peak_rss(), _size(plan.store.folder) - before)


def _size(folder: Path) -> int:
    """Return the size of the files in a folder; others may write there, so it is about right."""
    return sum(path.stat().st_size for path in folder.rglob("*.json"))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
