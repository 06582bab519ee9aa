"""The tables of a run: a row for each answer that was scored, the same bytes whenever the same run is tabled."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from samaritan.data import Case
from samaritan.evaluate.factors import FACTORS
from samaritan.evaluate.instances import INSTANCE_METRICS
from samaritan.evaluate.predictions import GIVEN, extra_files
from samaritan.evaluate.scoring import PREDICTED
from samaritan.evaluate.store import OBJECTS, Store
from samaritan.evaluate.unit import Plan
from samaritan.io.atomic import atomic_path

Row = dict[str, Any]

# What every row has before its metrics.
KEYS = (
    "model", "protocol", "step", "effort", "choice", "dataset", "case", "patient", "modality", "split",
    "label", "value", "instance", "axis", "index", "predicted_iou",
)  # fmt: skip


OBJECT_TABLE = "objects.parquet"
INSTANCE_TABLE = "instances.parquet"


@dataclass(frozen=True, slots=True)
class Gap:
    """What is not in the tables: ``kind`` "error", "skipped" or "extra"; of which model, protocol, case; and why."""

    kind: str
    model: str
    protocol: str
    case: str
    reason: str


def rows_of(plan: Plan) -> Iterator[Row]:
    """Yield the scored answers of a run, by model, protocol and case, as far as it has come."""
    for model, protocol, case, unit in _units(plan):
        for item in unit.get("objects", ()):
            for row in item["rows"]:
                yield {
                    "model": model,
                    "protocol": protocol,
                    "step": row["step"],
                    "effort": row["effort"],
                    "choice": row["choice"],
                    "dataset": case.dataset,
                    "case": case.id,
                    "patient": case.subject,
                    "modality": case.modality,
                    "split": case.split,
                    "label": item["name"],
                    "value": item["value"],
                    "instance": item["instance"],
                    "axis": item["axis"],
                    "index": item["index"],
                    "predicted_iou": row["predicted_iou"],
                    **{name: value for name, value in row.items() if name not in KEYS},
                }


def instances_of(plan: Plan) -> Iterator[Row]:
    """Yield how well the instances of each image were found together; see ``samaritan.evaluate.instances``."""
    for model, protocol, case, unit in _units(plan):
        for row in unit.get("instances", ()):
            yield {
                "model": model,
                "protocol": protocol,
                "choice": PREDICTED,
                "dataset": case.dataset,
                "case": case.id,
                "patient": case.subject,
                "modality": case.modality,
                "split": case.split,
                **row,
            }


def gaps_of(plan: Plan) -> Iterator[Gap]:
    """Yield what could not be asked, and why."""
    for model, protocol, case, unit in _units(plan):
        for kind in ("error", "skipped"):
            if kind in unit:
                yield Gap(kind, model, protocol, case.id, unit[kind])
    for model, folder in plan.folders.items():
        for path in extra_files(folder, [case.id for case in plan.data.cases]):
            yield Gap("extra", model, GIVEN, "", f"{path} is of no case")


def journal_of(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the journal of a run: every question, with the model that it was asked of and what it was about."""
    for model, protocol, case, unit in _units(plan):
        for item in unit.get("objects", ()):
            about = {name: item[name] for name in ("value", "name", "instance", "axis", "index")}
            for entry in item["journal"]:
                yield {"model": model, "protocol": protocol, "case": case.id, **about, **entry}


def seconds_of(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield how long each answer took, the first of a plane with its encoding; apart, as it differs every time."""
    for model, protocol, case, unit in _units(plan):
        for item in unit.get("objects", ()):
            for entry, seconds in zip(item["journal"], item["seconds"], strict=True):
                yield {"model": model, "protocol": protocol, "case": case.id, "step": entry["step"], "seconds": seconds}


def objects_of(plan: Plan) -> Iterator[Row]:
    """Yield what the objects of a run are like, by case; see ``samaritan.evaluate.factors``."""
    for unit in plan.store.units([case.id for case in plan.data.cases], OBJECTS):
        for item in unit["objects"]:
            yield {"case": unit["case"], **item}


def write_tables(plan: Plan) -> dict[str, Path]:
    """Write the tables of a run into its folder, and return where they are.

    ``results.parquet`` and ``results.csv``; ``objects.parquet``; ``instances.parquet``; ``journal.jsonl``;
    ``gaps.csv``; ``seconds.parquet``.
    """
    folder = plan.store.folder
    rows = list(rows_of(plan))
    names = [*KEYS, *plan.settings.scorer.metrics]
    gaps = [
        {"kind": g.kind, "model": g.model, "protocol": g.protocol, "case": g.case, "reason": g.reason}
        for g in gaps_of(plan)
    ]
    return {
        "results": _write_parquet(rows, _schema(plan), folder / "results.parquet"),
        "csv": write_csv(rows, names, folder / "results.csv"),
        "objects": _write_parquet(list(objects_of(plan)), _OBJECTS, folder / OBJECT_TABLE),
        "instances": _write_parquet(list(instances_of(plan)), _INSTANCES, folder / INSTANCE_TABLE),
        "journal": _write_lines(journal_of(plan), folder / "journal.jsonl"),
        "gaps": write_csv(gaps, ["kind", "model", "protocol", "case", "reason"], folder / "gaps.csv"),
        "seconds": _write_parquet(list(seconds_of(plan)), _SECONDS, folder / "seconds.parquet"),
    }


def write_csv(rows: Sequence[Row], names: Sequence[str], path: Path) -> Path:
    """Write rows as CSV with the columns ``names``."""
    with atomic_path(path) as staged, staged.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_in(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, as text; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _units(plan: Plan) -> Iterator[tuple[str, str, Case, dict[str, Any]]]:
    store: Store = plan.store
    for model, protocols in plan.asked.items():
        for protocol in protocols:
            for case in plan.data.cases:
                unit = store.get(case.id, model, protocol)
                if unit is not None:
                    yield model, protocol, case, unit


_SECONDS = pa.schema(
    [*((name, pa.string()) for name in ("model", "protocol", "case", "step")), ("seconds", pa.float64())]
)


_OBJECTS = pa.schema(
    [("case", pa.string()), ("value", pa.int64()), ("instance", pa.int64()), ("volume", pa.bool_())]
    + [(name, pa.float64()) for name in (*FACTORS, "measure")]
)


_INSTANCES = pa.schema(
    [
        (name, pa.string())
        for name in ("model", "protocol", "step", "choice", "dataset", "case", "patient", "modality", "split", "label")
    ]
    + [(name, pa.int64()) for name in ("value", "references", "predictions")]
    + [(name, pa.float64()) for name in ("effort", *INSTANCE_METRICS)]
)


def _schema(plan: Plan) -> pa.Schema:
    numbers = {"effort", "predicted_iou", *plan.settings.scorer.metrics}
    whole = {"value", "instance", "index"}
    kinds = {name: pa.float64() if name in numbers else pa.int64() if name in whole else pa.string() for name in KEYS}
    return pa.schema([*kinds.items(), *((name, pa.float64()) for name in plan.settings.scorer.metrics)])


def _write_parquet(rows: list[Row], schema: pa.Schema, path: Path) -> Path:
    with atomic_path(path) as staged:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), staged)
    return path


def _write_lines(entries: Iterator[dict[str, Any]], path: Path) -> Path:
    with atomic_path(path) as staged, staged.open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return path
