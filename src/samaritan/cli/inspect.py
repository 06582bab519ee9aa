"""``samaritan inspect``: what is in a data set, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.cli._progress import Report, progress_bar
from samaritan.cli._select import Limit, Modality, Split, Where, chosen_cases

if TYPE_CHECKING:
    from samaritan.data.case import DataSet
    from samaritan.data.inspection import Inspection, Problem

_SOME_FAILED = 1
_TOLD = 5  # problems of a kind that are told; --json tells all


def inspect(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder, a table of cases, or a COCO file.")],
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="How it is laid out, where that is not clear: see below.")
    ] = None,
    modality: Modality = None,
    split: Split = None,
    where: Where = None,
    limit: Limit = None,
    patient: Annotated[
        str | None, typer.Option(metavar="REGEX", help="What of a case's id is its patient, such as '^[^_]+'.")
    ] = None,
    splits: Annotated[
        str | None, typer.Option(metavar="NAME=SHARE,...", help="Assign splits by patient: train=0.8,test=0.2.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits.")] = 0,
    write: Annotated[bool, typer.Option("--write", help="Write the manifest that other verbs use into DATA.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Write the manifest there instead.")
    ] = None,
    contact_sheet: Annotated[Path | None, typer.Option(metavar="F.png", help="Draw the cases at a glance.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes that read; all cores.")] = None,
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Show what is in a data set, and what is wrong with it.

    Layouts: nnunet, decathlon, folders, beside, table, coco, bids, sa-med2d, cvpr, dicom.
    Leaves with exit code 1 if some cases cannot be used.
    """
    from samaritan.data.inspection import inspect as look

    _require_picture(contact_sheet)
    found = chosen_cases(_opened(data, layout), modality, split, where, limit)
    found = _arranged(found, patient, splits, seed)
    with progress_bar(quiet=as_json_) as report:
        result = look(found, workers=min(workers or os.cpu_count() or 1, len(found.cases)), progress=report)
        written = _written(result, output, write=write, contact_sheet=contact_sheet, report=report)
    facts = {**summary_of(result), "outputs": {name: str(path) for name, path in written.items()}}
    typer.echo(as_json(facts) if as_json_ else _text(facts, result))
    if result.failed:
        raise typer.Exit(_SOME_FAILED)


def _require_picture(path: Path | None) -> None:
    from samaritan.cli._output import require_picture_format, require_writable

    if path is not None:
        require_picture_format(path)
        require_writable(path, inputs=())


def _opened(data: Path, layout: str | None) -> DataSet:
    """Return what the files say; a manifest counts only where there is nothing else: this verb writes it."""
    from samaritan.core.errors import DataSetError
    from samaritan.data.layouts import open_data, read_folder
    from samaritan.data.manifest import find_manifest

    try:
        return read_folder(data, layout=layout)
    except DataSetError:
        if layout is not None or not data.exists() or find_manifest(data) is None:
            raise
        return open_data(data)


def _arranged(data: DataSet, patient: str | None, splits: str | None, seed: int) -> DataSet:
    from samaritan.data.filters import with_patients
    from samaritan.data.manifest import with_splits
    from samaritan.data.splits import assign_splits

    if patient is not None:
        data = with_patients(data, patient)
    if splits is None:
        return data
    try:
        shares = {name.strip(): float(share) for name, share in (part.split("=") for part in splits.split(","))}
    except ValueError as error:
        raise UsageError(got=f"--splits {splits}", wanted="NAME=SHARE,..., such as train=0.8,test=0.2") from error
    return with_splits(data, assign_splits(data, shares, seed=seed))


def _written(
    result: Inspection, output: Path | None, *, write: bool, contact_sheet: Path | None, report: Report | None
) -> dict[str, Path]:
    from samaritan.data.manifest import write_manifest

    written = {}
    if write or output is not None:
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        columns = {facts.id: facts.columns() for facts in result.facts}
        written["manifest"] = write_manifest(result.data, output, facts=columns)
    if contact_sheet is not None:
        from samaritan.draw.overlay import save
        from samaritan.draw.sheet import contact_sheet as draw

        written["contact_sheet"] = save(draw(result.data, progress=report), contact_sheet)
    return written


def summary_of(result: Inspection) -> dict[str, Any]:
    """Return what is known of a data set as a whole, for JSON."""
    from samaritan.data.inspection import FATAL
    from samaritan.data.summary import summarise

    by_kind: dict[str, list[Problem]] = {}
    for problem in result.problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    problems = [
        {
            "kind": kind,
            "fatal": kind in FATAL,
            "count": len(found),
            "found": [{"cases": list(problem.cases), "detail": problem.detail} for problem in found],
        }
        for kind, found in by_kind.items()
    ]
    return {**summarise(result), "problems": problems}


def _text(facts: dict[str, Any], result: Inspection) -> str:
    from samaritan.data.layouts import LAYOUTS

    title = LAYOUTS.get(result.data.layout).title if result.data.layout in LAYOUTS else result.data.layout
    lines = [f"{facts['name']}: {facts['cases']} cases of {facts['patients'] or 'unknown'} patients; {title}"]
    for name in ("modalities", "splits", "datasets", "orientations"):
        counts = ", ".join(f"{key or 'unknown'} {count}" for key, count in facts[name].items())
        lines += [f"  {name}: {counts}"] if set(facts[name]) - {""} else []
    lines += [f"  {name}: {_spread(facts[name])}" for name in ("shape", "spacing_mm") if facts[name]]
    lines += ["", *_label_table(facts["labels"])] if facts["labels"] else []
    for problem in facts["problems"]:
        lines += ["", f"{'error' if problem['fatal'] else 'warning'}: {problem['kind']}: {problem['count']}"]
        for item in problem["found"][:_TOLD]:
            where = ", ".join(item["cases"][:_TOLD])
            lines.append(f"  {': '.join(filter(None, (where, item['detail'])))}")
        if problem["count"] > _TOLD:
            lines.append(f"  and {problem['count'] - _TOLD} more: --json lists them")
    lines += ["", *(f"{name.replace('_', ' ')}: {path}" for name, path in facts["outputs"].items())]
    return "\n".join(lines).rstrip()


def _spread(axes: Sequence[dict[str, float]]) -> str:
    """Return the range of each axis, in a line."""
    return " x ".join(f"{a['min']:g}" if a["min"] == a["max"] else f"{a['min']:g}..{a['max']:g}" for a in axes)


def _label_table(labels: Sequence[dict[str, Any]]) -> list[str]:
    width = max(len(row["name"]) for row in labels)
    lines = [f"  {'label':<{width + 6}} {'cases':>6} {'objects':>8} {'smallest':>10} {'median':>10} {'largest':>10}"]
    for row in labels[:40]:
        sizes = "".join(f" {row['size'][name]:>10.4g}" for name in ("min", "median", "max"))
        lines.append(
            f"  {row['value']:>4}  {row['name']:<{width}} {row['cases']:>6} {row['objects']:>8}{sizes} {row['unit']}"
        )
    lines += [f"  and {len(labels) - 40} more: --json lists them"] if len(labels) > 40 else []
    return lines
