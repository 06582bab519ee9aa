"""The tables of a run: a row for each answer that was scored, the same bytes whenever the same run is tabled."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
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


@dataclass(frozen=True, slots=True)
class Tables:
    """What a run has found, by model, protocol and case, as far as it has come.

    Attributes
    ----------
    rows
        A row for each answer that was scored.
    instances
        How well the instances of each image were found together; see ``samaritan.evaluate.instances``.
    journal
        Every question, with the model that it was asked of and what it was about.
    seconds
        How long each answer took, the first of a plane with its encoding; apart, as it differs every time.
    objects
        What objects are like, by case; see ``samaritan.evaluate.factors``.
    gaps
        What could not be asked, and why.
    """

    rows: list[Row] = field(default_factory=list)
    instances: list[Row] = field(default_factory=list)
    journal: list[Row] = field(default_factory=list)
    seconds: list[Row] = field(default_factory=list)
    objects: list[Row] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def tables_of(plan: Plan) -> Tables:
    """Return the tables of a run; each unit is read once."""
    tables = Tables()
    for model, protocol, case, unit in _units(plan):
        asked = {"model": model, "protocol": protocol}
        about = {
            "dataset": case.dataset,
            "case": case.id,
            "patient": case.subject,
            "modality": case.modality,
            "split": case.split,
        }
        tables.gaps.extend(
            Gap(kind, model, protocol, case.id, unit[kind]) for kind in ("error", "skipped") if kind in unit
        )
        tables.instances.extend({**asked, "choice": PREDICTED, **about, **row} for row in unit.get("instances", ()))
        for item in unit.get("objects", ()):
            which = {name: item[name] for name in ("value", "instance", "axis", "index")}
            tables.rows.extend({**asked, **about, "label": item["name"], **which, **row} for row in item["rows"])
            whose = {**asked, "case": case.id, "name": item["name"], **which}
            tables.journal.extend({**whose, **entry} for entry in item["journal"])
            tables.seconds.extend(
                {**asked, "case": case.id, "step": entry["step"], "seconds": seconds}
                for entry, seconds in zip(item["journal"], item["seconds"], strict=True)
            )
    for model, folder in plan.folders.items():
        stray = extra_files(folder, [case.id for case in plan.data.cases])
        tables.gaps.extend(Gap("extra", model, GIVEN, "", f"{path} stands for no case") for path in stray)
    for unit in plan.store.units([case.id for case in plan.data.cases], OBJECTS):
        tables.objects.extend({"case": unit["case"], **item} for item in unit["objects"])
    return tables


def write_tables(plan: Plan, tables: Tables) -> dict[str, Path]:
    """Write the tables of a run into its folder, and return where they are.

    ``results.parquet`` and ``results.csv``; ``objects.parquet``; ``instances.parquet``; ``journal.jsonl``;
    ``gaps.csv``; ``seconds.parquet``.
    """
    folder = plan.store.folder
    names = [*KEYS, *plan.settings.scorer.metrics]
    gaps = [asdict(gap) for gap in tables.gaps]
    return {
        "results": _write_parquet(tables.rows, _schema(plan), folder / "results.parquet"),
        "csv": write_csv(tables.rows, names, folder / "results.csv"),
        "objects": _write_parquet(tables.objects, _OBJECTS, folder / OBJECT_TABLE),
        "instances": _write_parquet(tables.instances, _INSTANCES, folder / INSTANCE_TABLE),
        "journal": _write_lines(tables.journal, folder / "journal.jsonl"),
        "gaps": write_csv(gaps, [f.name for f in fields(Gap)], folder / "gaps.csv"),
        "seconds": _write_parquet(tables.seconds, _SECONDS, folder / "seconds.parquet"),
    }


def write_csv(rows: Sequence[Row], names: Sequence[str], path: Path) -> Path:
    """Write rows as CSV with the columns ``names``."""
    with atomic_path(path) as staged, staged.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([row[name] for name in names] for row in rows)
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
    # By way of CSV, which keeps every digit: of rows in Python, pyarrow would load pandas, for half a second.
    text = io.StringIO(newline="")
    csv.writer(text).writerows([schema.names, *([row.get(name) for name in schema.names] for row in rows)])
    options = pacsv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=False)
    lines = pacsv.ParseOptions(newlines_in_values=True)
    table = pacsv.read_csv(io.BytesIO(text.getvalue().encode()), parse_options=lines, convert_options=options)
    with atomic_path(path) as staged:
        pq.write_table(table, staged)
    return path


def _write_lines(entries: Sequence[Row], path: Path) -> Path:
    with atomic_path(path) as staged, staged.open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return path
