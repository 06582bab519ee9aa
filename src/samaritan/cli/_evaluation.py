"""What an evaluation found: as JSON, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from samaritan.evaluate.effort import EFFORT_METRICS, effort_rows
from samaritan.evaluate.instances import INSTANCE_METRICS
from samaritan.evaluate.planning import Estimate
from samaritan.evaluate.runner import Ran
from samaritan.evaluate.summary import calibrations, challenge, differences, means
from samaritan.evaluate.tables import Tables
from samaritan.evaluate.unit import Plan
from samaritan.infer.memory import format_size

Found = dict[str, Any]

_TOLD = 5  # errors that are told; gaps.csv has all
_CELL = 22


def found_by(plan: Plan, ran: Ran, tables: Tables, files: Mapping[str, Path]) -> Found:
    """Return what a run found, for JSON."""
    rows, gaps, metrics = tables.rows, tables.gaps, plan.settings.scorer.metrics
    skipped = sorted({(gap.model, gap.protocol, gap.reason) for gap in gaps if gap.kind == "skipped"})
    return {
        "output": str(plan.store.folder),
        "cases": len(plan.data.cases),
        "objects": len({(row["case"], row["value"], row["instance"]) for row in rows}),
        "units": {"done": ran.done, "kept": ran.kept},
        "means": [mean.flat() for mean in means(rows, metrics, seed=plan.settings.seed)],
        "differences": [told.flat() for told in differences(rows, metrics[:1], seed=plan.settings.seed)],
        "challenge": challenge(rows),
        "effort": [mean.flat() for mean in means(effort_rows(rows), EFFORT_METRICS, seed=plan.settings.seed)],
        "calibration": calibrations(rows),
        "instances": [mean.flat() for mean in means(tables.instances, INSTANCE_METRICS, seed=plan.settings.seed)],
        "skipped": [{"model": m, "protocol": p, "reason": why} for m, p, why in skipped],
        "errors": [{"model": gap.model, "case": gap.case, "reason": gap.reason} for gap in gaps if gap.kind == "error"],
        "extra": [gap.reason for gap in gaps if gap.kind == "extra"],
        "files": {name: str(path) for name, path in files.items()},
    }


def defined(found: Any) -> Any:  # noqa: ANN401  # of what JSON holds
    """Return what was found with None in the place of figures that are undefined or infinite."""
    if isinstance(found, dict):
        return {name: defined(value) for name, value in found.items()}
    if isinstance(found, list):
        return [defined(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def in_words(found: Found) -> str:
    """Return what a run found, for people."""
    lines = [f"{found['objects']} objects in {found['cases']} cases", ""]
    lines += [*_mean_table(found), *(_difference(told) for told in found["differences"])]
    lines += [f"skipped: {item['model']}, {item['protocol']}: {item['reason']}" for item in found["skipped"]]
    lines += [f"error: {item['model']}, {item['case']}: {item['reason']}" for item in found["errors"][:_TOLD]]
    lines += [f"{len(found['errors'])} errors in all: gaps.csv lists them"] if len(found["errors"]) > _TOLD else []
    lines += [f"extra: {reason}" for reason in found["extra"][:_TOLD]]
    return "\n".join([*lines, "", f"tables: {found['output']}"])


def expectation(needed: Estimate, workers: int) -> str:
    """Return what a run would take, for people."""
    together = f", {format_size(workers * needed.memory)} for {workers} workers" if workers > 1 else ""
    return "\n".join(
        (
            f"to do: {needed.units} models and cases; {needed.kept} are there already",
            f"time: about {timedelta(seconds=round(needed.seconds))} h on this machine, as busy as it is now",
            f"memory: about {format_size(needed.memory)}{together}",
            f"disk: about {format_size(needed.disk)}",
            f"tried: {needed.tried}; nothing was kept",
        )
    )


def _mean_table(found: Found) -> Iterator[str]:
    table: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for mean in found["means"]:
        key = (mean["model"], mean["protocol"], mean["step"], mean["choice"])
        table.setdefault(key, {})[mean["metric"]] = _interval(mean)
    titles = ("model", "protocol", "step", "choice")
    widths = [max(len(row[n]) for row in (titles, *table)) for n in range(len(titles))]
    names = list(dict.fromkeys(mean["metric"] for mean in found["means"]))
    for key, cells in {titles: {name: name for name in names}, **table}.items():
        left = "  ".join(f"{part:<{width}}" for part, width in zip(key, widths, strict=True))
        yield (left + "".join(f"  {cells.get(name, '-'):<{_CELL}}" for name in names)).rstrip()


def _interval(mean: Mapping[str, Any]) -> str:
    if not mean["count"]:
        return "-"
    around = "" if math.isnan(mean["low"]) else f" [{mean['low']:.3f}, {mean['high']:.3f}]"
    part = "" if mean["count"] == mean["of"] else f" ({mean['count']} of {mean['of']})"
    return f"{mean['mean']:.3f}{around}{part}"


def _difference(told: Mapping[str, Any]) -> str:
    where = f"{told['protocol']}, {told['step']} ({told['choice']})"
    around = "" if math.isnan(told["low"]) else f" [{told['low']:+.3f}, {told['high']:+.3f}]"
    return (
        f"{told['second']} less {told['first']}, {where}: {told['metric']} "
        f"{told['difference']:+.3f}{around}, p {told['p_holm']:.2g}; "
        f"better in {told['wins']}, alike in {told['ties']}, worse in {told['losses']}"
    )
