"""A run: units carried out one after the other or in several processes; what is there already is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from samaritan.core.parallel import mapped
from samaritan.evaluate.sources import Sources
from samaritan.evaluate.unit import Done, Plan, Unit, forget, left, work

Mapper = Callable[[Callable[[Unit], Done], Iterable[Unit]], Iterator[Done]]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did: units ``done`` now, those that were ``kept`` from before, and the errors of cases."""

    done: int
    kept: int
    errors: tuple[tuple[str, str], ...]


def waiting_units(plan: Plan, sources: Sources | None = None) -> tuple[list[Unit], int]:
    """Return the units of a plan that are still to be done, by model and case, and how many are there already."""
    units: list[Unit] = [(model, case) for model in plan.asked for case in plan.data.cases]
    sources = sources or plan.sources
    waiting = [unit for unit in units if left(plan, unit, sources)]
    return waiting, len(units) - len(waiting)


def run(
    plan: Plan,
    *,
    workers: int = 1,
    mapper: Mapper | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Ran:
    """Carry out a plan, or what is left of it: what was made of other files than there are now is not kept.

    Parameters
    ----------
    plan
        What to do. Its store must have ``begin``-ed.
    workers
        Processes. Each loads the model that it needs.
    mapper
        Does the work elsewhere, such as on a cluster; in place of ``workers``.
    progress
        Called with the model's name, units done, and of all; those kept from before are not counted.
    """
    sources = plan.sources
    waiting, kept = waiting_units(plan, sources)
    for unit in waiting:
        forget(plan, unit, sources)
    apply = mapper or partial(mapped, workers=min(workers, max(1, len(waiting))))
    errors = []
    # Of each model those with many labels first, or all wait at the end for the one that has an atlas.
    models = list(plan.asked)
    waiting.sort(key=lambda unit: (models.index(unit[0]), -_labels(unit)))
    for count, done in enumerate(apply(partial(work, plan), waiting), start=1):
        if done.error:
            errors.append((done.case, done.error))
        if progress:
            progress(done.model, count, len(waiting))
    return Ran(len(waiting), kept, tuple(errors))


def _labels(unit: Unit) -> int:
    _, case = unit
    return len(case.reference.names) if case.reference else 0


def fixed(plan: Plan) -> dict[str, Any]:
    """Return what decides every row of a plan, as JSON: a folder holds runs of one of these only."""
    told = {"data": str(plan.data.root.resolve()), "layout": plan.data.layout, **asdict(plan.settings)}
    told |= {"journal": plan.journal.sha256} if plan.journal else {}
    found: dict[str, Any] = json.loads(json.dumps(told))  # tuples are lists there
    return found
