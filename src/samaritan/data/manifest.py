"""The manifest: ``samaritan.yaml``, which says what a data set is, and ``samaritan.parquet`` with a row a case.

Written once, read by every verb: what was found and checked is what is used, whatever else lies in the folder. Both
files can be opened by other means; the columns beyond those of a case are what ``samaritan.data.inspection`` found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.io.atomic import atomic_path

NAME = "samaritan.yaml"
_VERSION = 1
_LISTS = ("images", "channels")


def find_manifest(path: Path) -> Path | None:
    """Return the manifest that ``path`` is, or that a folder holds; None if there is none."""
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") else None
    return path / NAME if (path / NAME).is_file() else None


def write_manifest(
    data: DataSet, folder: Path | None = None, *, facts: Mapping[str, Mapping[str, Any]] | None = None
) -> Path:
    """Write the manifest of a data set into its folder, or another one; return its path.

    Parameters
    ----------
    data
        What to write down.
    folder
        Where to; the data set's own if None. Paths stay relative to the data set's folder.
    facts
        Further columns of each case by its id: shape, spacing, volumes.
    """
    folder = folder or data.root
    table = folder / "samaritan.parquet"
    rows = [{**_row(case), **(facts or {}).get(case.id, {})} for case in data.cases]
    with atomic_path(table) as staged:
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema(rows)), staged)
    about = {
        "samaritan_manifest": _VERSION,
        "name": data.name,
        "layout": data.layout,
        "root": os.path.relpath(data.root, folder),
        "cases": table.name,
        "count": len(data.cases),
        "labels": dict(data.labels),
        "notes": list(data.notes),
    }
    path = folder / NAME
    with atomic_path(path) as staged:
        staged.write_text(yaml.safe_dump(about, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def read_manifest(path: Path) -> DataSet:
    """Return the data set that a manifest describes.

    Raises
    ------
    DataSetError
        If it is no manifest, of a later version, or its table is missing or not the one that it was written with.
    """
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataSetError(got=f"{path} is no YAML ({error})", fix=_AGAIN) from error
    if not isinstance(about, dict) or about.get("samaritan_manifest") != _VERSION:
        version = about.get("samaritan_manifest") if isinstance(about, dict) else None
        raise DataSetError(
            got=f"{path} with samaritan_manifest: {version}", wanted=f"a manifest of version {_VERSION}", fix=_AGAIN
        )
    table = path.parent / str(about.get("cases"))
    if not table.is_file():
        raise DataSetError(got=f"{path} without its table {table.name}", fix=_AGAIN)
    try:
        cases = tuple(_case(row) for batch in pq.ParquetFile(table).iter_batches() for row in batch.to_pylist())
    except (KeyError, TypeError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataSetError(got=f"{table} is no table of cases ({error})", fix=_AGAIN) from error
    root = path.parent / str(about.get("root", "."))
    return DataSet(root, str(about.get("layout")), cases, str(about.get("name")), tuple(about.get("notes") or ()))


_AGAIN = "Write it again: samaritan inspect FOLDER --write"


def with_splits(data: DataSet, splits: Mapping[str, str]) -> DataSet:
    """Return the data set with the split of each case, by its id, set anew."""
    cases = tuple(replace(case, split=splits.get(case.id, case.split)) for case in data.cases)
    return replace(data, cases=cases)


def _row(case: Case) -> dict[str, Any]:
    row: dict[str, Any] = {item.name: getattr(case, item.name) for item in fields(case) if item.name != "reference"}
    row |= {name: list(row[name]) for name in _LISTS}
    row["tags"] = json.dumps(dict(case.tags), ensure_ascii=False, sort_keys=True)
    row["reference"] = None
    if case.reference is not None:
        drawn = {item.name: getattr(case.reference, item.name) for item in fields(case.reference)}
        drawn["names"] = {str(value): name for value, name in case.reference.names.items()}
        row["reference"] = json.dumps(drawn, ensure_ascii=False)
    return row


def _case(row: Mapping[str, Any]) -> Case:
    own = {item.name: row[item.name] for item in fields(Case)}
    own |= {name: tuple(own[name]) for name in _LISTS}
    own["tags"] = json.loads(own["tags"])
    if own["reference"] is not None:
        drawn = json.loads(own["reference"])
        drawn["names"] = {int(value): name for value, name in drawn["names"].items()}
        drawn |= {name: tuple(drawn[name]) for name in ("paths", "values", "ignored")}
        own["reference"] = Reference(**drawn)
    return Case(**own)


def _schema(rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Return the columns of all rows: pyarrow itself looks at the first only."""
    kinds: dict[str, pa.DataType] = {}
    for item in fields(Case):
        kinds[item.name] = pa.list_(pa.string()) if item.name in _LISTS else pa.string()
    for name in dict.fromkeys(name for row in rows for name in row if name not in kinds):
        kinds[name] = pa.infer_type([row.get(name) for row in rows])
    return pa.schema(list(kinds.items()))
