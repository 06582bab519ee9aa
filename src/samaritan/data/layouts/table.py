"""Tables: a CSV, TSV, Parquet or JSON-lines file with a row a case.

==============  ====================================================================================
column          what
==============  ====================================================================================
``image``       path, relative to the table; several, divided by ``;``, are channels
``mask``        path of a label map; several, divided by ``;``, are one mask each
``id``          name of the case; if absent, the stem of the image
``patient``, ``modality``, ``split``, ``dataset``, ``channels``
``labels``      JSON: ``{"1": "liver"}``; of instances ``{"class": "nucleus"}``
``mask_type``   ``semantic`` (the default) or ``instances``: values count objects of one kind
==============  ====================================================================================

Other columns are kept as tags of the case.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.layout import Layout
from samaritan.data.layouts.nnunet import label_names
from samaritan.io.format import split_name

Row = Mapping[str, Any]

_ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")
_COLUMNS = frozenset(
    {"image", "mask", "id", "patient", "modality", "split", "dataset", "channels", "labels", "mask_type"}
)


def recognise(path: Path) -> bool:
    """Tell a table, or a folder with one, by its column ``image``."""
    return bool(_tables(path))


def read(path: Path) -> DataSet:
    """Read the rows of the table."""
    tables = _tables(path)
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables)
        raise DataSetError(
            got=f"{path} with {names or 'no table that has a column image'}",
            wanted="one table (" + ", ".join(_ENDINGS) + ") with a column image",
            fix=f"Name it: {tables[0]}" if tables else "",
        )
    cases, notes = [], []
    for number, row in enumerate(rows_of(tables[0]), start=1):
        if not row.get("image"):
            notes.append(f"row {number} of {tables[0].name} has no image")
            continue
        cases.append(_case(row, f"row {number} of {tables[0]}"))
    return DataSet(tables[0].parent, "table", tuple(cases), tables[0].parent.resolve().name, tuple(notes))


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a table by column, one by one.

    Raises
    ------
    DataSetError
        If it cannot be read as what its name says.
    """
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq  # noqa: PLC0415  # 50 ms, only where there is one

            for batch in pq.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".jsonl":
                yield from (json.loads(line) for line in file if line.strip())
            else:
                yield from csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    except (ValueError, csv.Error) as error:  # pyarrow's errors and a wrong encoding are ValueErrors
        raise DataSetError(got=f"{path} is no {path.suffix[1:]} table ({error})") from error


def _tables(path: Path) -> list[Path]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file for file in files if file.suffix.lower() in _ENDINGS and file.is_file()]
    return [file for file in found if _has_image(file)]


def _has_image(path: Path) -> bool:
    try:
        first = next(iter(rows_of(path)), None)
    except DataSetError:
        return False
    return isinstance(first, Mapping) and "image" in first


def _case(row: Row, where: str) -> Case:
    images = _list(row["image"])
    text = {name: str(row.get(name) or "") for name in ("id", "patient", "modality", "split", "dataset")}
    others = ((str(name), value) for name, value in row.items() if name not in _COLUMNS)
    return Case(
        id=text["id"] or split_name(Path(images[0]).name)[0],
        images=images,
        reference=_reference(row, where),
        channels=_list(row.get("channels")),
        patient=text["patient"],
        modality=text["modality"],
        split=text["split"],
        dataset=text["dataset"],
        tags={name: str(value) for name, value in others if isinstance(value, (str, int, float)) and value != ""},
    )


def _reference(row: Row, where: str) -> Reference | None:
    masks = _list(row.get("mask"))
    if not masks:
        return None
    labels = _labels(row.get("labels"), where)
    kind = str(row.get("mask_type") or "semantic")
    if kind in ("instance", "instances"):
        name = labels.get("class") or next(iter(labels.values()), "object")
        return Reference("labels", masks, {1: str(name)}, instances=True)
    if kind != "semantic":
        raise DataSetError(got=f"{where} with the mask_type '{kind}'", wanted="semantic or instances")
    names, ignored = label_names(labels)
    return Reference("labels" if len(masks) == 1 else "masks", masks, names, ignored=ignored)


def _labels(given: object, where: str) -> dict[str, Any]:
    try:
        found = json.loads(given) if isinstance(given, str) and given else given or {}
    except ValueError as error:
        raise DataSetError(got=f"{where} with the labels {given}", wanted='JSON such as {"1": "liver"}') from error
    if not isinstance(found, dict):
        raise DataSetError(got=f"{where} with the labels {given}", wanted='an object such as {"1": "liver"}')
    return {name: value for name, value in found.items() if value is not None}  # Parquet has all keys in every row


def _list(value: object) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else str(value or "").split(";")
    return tuple(str(part).strip() for part in parts if str(part).strip())


TABLE = Layout(
    name="table", title="a table (CSV, Parquet, JSON lines) with a column image", recognise=recognise, read=read
)
