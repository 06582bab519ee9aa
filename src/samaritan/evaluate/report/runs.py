"""Runs read back from their folders, to be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from samaritan.core.errors import DataSetError
from samaritan.evaluate.store import Store
from samaritan.evaluate.tables import INSTANCE_TABLE, KEYS, OBJECT_TABLE, rows_in

Row = dict[str, Any]

# What of the settings makes rows comparable: by part and name.
_ALIKE = (("choice", "dims"), ("choice", "piece"), ("choice", "merged"), ("scorer", "tolerance_mm"))


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its folder, what was asked, its rows, what is missing, what objects are like, how instances fit.

    ``called`` has the name that each model is told by, by the one that it was asked by.
    """

    store: Store
    asked: dict[str, Any]
    rows: tuple[Row, ...]
    gaps: tuple[Row, ...]
    objects: tuple[Row, ...] = ()
    instances: tuple[Row, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return self.store.folder.resolve().name


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs in some folders; a model that several have is called with the run's name, too.

    Raises
    ------
    DataSetError
        If a folder holds no run that was tabled, or runs are of different metrics, data or objects.
    """
    runs = [_read(folder) for folder in folders]
    measured = {tuple(metrics_of(run.rows)) for run in runs if run.rows}
    if len(measured) > 1:
        raise DataSetError(
            got=f"runs that measure {' and '.join(', '.join(names) for names in sorted(measured))}",
            wanted="the same metrics in all",
        )
    for run in runs[1:]:
        _require_alike(runs[0], run)
    seen: set[str] = set()
    told = []
    for run in runs:
        models = dict.fromkeys(row["model"] for row in run.rows)
        names = {model: _unseen(model, run, seen) for model in models}
        seen |= set(names.values())
        rows, instances = (
            tuple({**row, "model": names[row["model"]], "run": run.name} for row in table)
            for table in (run.rows, run.instances)
        )
        told.append(replace(run, rows=rows, instances=instances, called=names))
    return told


def _unseen(model: str, run: Run, seen: Collection[str]) -> str:
    """Return a name for a model that none has: its own, or with the run's, or with a number besides."""
    names = chain((model, f"{model} ({run.name})"), (f"{model} ({run.name} {number})" for number in count(2)))
    return next(name for name in names if name not in seen)


def _require_alike(first: Run, other: Run) -> None:
    """Raise unless two runs asked about the same objects and measured alike: else their rows are no pairs."""
    asked = [{name: run.asked["fixed"].get(part, {}).get(name) for part, name in _ALIKE} for run in (first, other)]
    differ = [f"{name} {asked[0][name]} and {asked[1][name]}" for name in asked[0] if asked[0][name] != asked[1][name]]
    known = [{(o["case"], o["value"], o["instance"]): o["measure"] for o in run.objects} for run in (first, other)]
    both = known[0].keys() & known[1].keys()
    odd = sorted(key for key in both if known[0][key] != known[1][key])
    if odd:
        differ.append(f"other objects of the same name, such as case {odd[0][0]}")
    elif not both and known[0] and known[1]:
        differ.append("no object that both asked about")
    if differ:
        raise DataSetError(
            got=f"runs {first.store.folder} and {other.store.folder} with {'; '.join(differ)}",
            wanted="runs about the same objects, measured alike",
            fix="Write a report of each",
        )


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Return the metrics that rows have, in order."""
    return [name for name in rows[0] if name not in (*KEYS, "run")] if rows else []


def _read(folder: Path) -> Run:
    store = Store(folder)
    asked = store.asked()
    table = folder / "results.parquet"
    if not table.is_file():
        raise DataSetError(
            got=f"{folder} without {table.name}", wanted="a run that has come to its end", fix="Go on with it first"
        )
    objects, instances = (_table(folder / name) for name in (OBJECT_TABLE, INSTANCE_TABLE))
    return Run(
        store,
        asked,
        tuple(pq.read_table(table).to_pylist()),
        tuple(rows_in(folder / "gaps.csv")),
        objects,
        instances,
    )


def _table(path: Path) -> tuple[Row, ...]:
    """Return the rows of a table; none where a run has none."""
    return tuple(pq.read_table(path).to_pylist()) if path.is_file() else ()
