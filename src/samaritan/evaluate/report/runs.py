"""Runs read back from their folders, to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from samaritan.core.errors import DataSetError
from samaritan.evaluate.store import Store
from samaritan.evaluate.tables import INSTANCE_TABLE, KEYS, OBJECT_TABLE, rows_in

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its folder, what was asked, its rows, what is missing, what objects are like, how instances fit."""

    store: Store
    asked: dict[str, Any]
    rows: tuple[Row, ...]
    gaps: tuple[Row, ...]
    objects: tuple[Row, ...] = ()
    instances: tuple[Row, ...] = ()

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return self.store.folder.resolve().name


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs in some folders; a model that several have is called with the run's name, too.

    Raises
    ------
    DataSetError
        If a folder holds no run that was tabled, or runs are of different metrics.
    """
    runs = [_read(folder) for folder in folders]
    measured = {tuple(metrics_of(run.rows)) for run in runs if run.rows}
    if len(measured) > 1:
        raise DataSetError(
            got=f"runs that measure {' and '.join(', '.join(names) for names in sorted(measured))}",
            wanted="the same metrics in all",
        )
    seen: set[str] = set()
    told = []
    for run in runs:
        models = dict.fromkeys(row["model"] for row in run.rows)
        names = {model: f"{model} ({run.name})" if model in seen else model for model in models}
        seen |= set(models)
        rows, instances = (
            tuple({**row, "model": names[row["model"]], "run": run.name} for row in table)
            for table in (run.rows, run.instances)
        )
        told.append(replace(run, rows=rows, instances=instances))
    return told


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
