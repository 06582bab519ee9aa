"""The report put together: a page of its own, and its figures and tables beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError, MissingExtraError, SamaritanError
from samaritan.data import DataSet, open_data
from samaritan.evaluate.effort import EFFORT_METRICS, effort_rows
from samaritan.evaluate.instances import INSTANCE_METRICS
from samaritan.evaluate.protocols.cvpr25 import TOLERANCE_MM
from samaritan.evaluate.report.explained import Explained, explain
from samaritan.evaluate.report.figures import figures
from samaritan.evaluate.report.gallery import Picture, gallery
from samaritan.evaluate.report.latex import to_latex
from samaritan.evaluate.report.runs import Run, metrics_of, read_runs
from samaritan.evaluate.summary import Difference, Mean, calibrations, challenge, differences, last_answers, means
from samaritan.evaluate.tables import write_csv
from samaritan.io.atomic import atomic_path

Row = dict[str, Any]

_WITHIN = ("modality", "dataset", "label")
_MOST_GROUPS = 60  # rows of a breakdown: hundreds of labels are for the tables
_LEAST_P = 1e-3  # that is told
_TEMPLATE = "template.html"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows."""

    runs: Sequence[Run]
    rows: Sequence[Row]
    metrics: Sequence[str]
    means: Sequence[Mean]
    breakdowns: dict[str, Sequence[Mean]]
    differences: Sequence[Difference]
    challenge: Sequence[Row]
    effort: Sequence[Mean]
    calibration: Sequence[Row]
    instances: Sequence[Mean]
    explained: Explained
    figures: dict[str, str]
    galleries: dict[str, Sequence[Picture]]


def write_report(
    folders: Sequence[Path], page: Path, *, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Path]:
    """Write the report of one or several runs: ``page``, and beside it a folder with figures and tables.

    Parameters
    ----------
    folders
        Of the runs.
    page
        HTML that needs no other file and no network.
    progress
        Called with a word, steps done, and of all.

    Returns
    -------
    dict
        The page, and ``files``, the folder: ``table.tex``, a figure each as SVG, and as far as there is anything in
        them ``means.csv``, ``differences.csv``, ``effort.csv``, ``instances.csv``, ``calibration.csv``,
        ``challenge.csv``, ``factors.csv``.

    Raises
    ------
    DataSetError
        If a folder holds no run, or nothing was scored.
    MissingExtraError
        If matplotlib, jinja2 or statsmodels are not installed.
    """
    runs = read_runs(folders)
    rows = [row for run in runs for row in run.rows]
    if not rows:
        raise DataSetError(got=f"no scored answer in {', '.join(map(str, folders))}", wanted="one at least")
    metrics = metrics_of(rows)
    seed = int(runs[0].asked["fixed"].get("seed", 0))
    told = means(rows, metrics, seed=seed)
    shown = Shown(
        runs=runs,
        rows=rows,
        metrics=metrics,
        means=told,
        breakdowns={name: _breakdown(rows, metrics[0], name, seed) for name in _WITHIN},
        differences=differences(rows, metrics[:1], seed=seed),
        challenge=challenge(rows) if _to_the_terms(runs) else [],
        effort=means(effort_rows(rows), EFFORT_METRICS, seed=seed),
        calibration=calibrations(rows),
        instances=means([row for run in runs for row in run.instances], INSTANCE_METRICS, seed=seed),
        explained=explain(runs, metrics[0]),
        figures=figures(rows, told, metrics[0]),
        galleries=_galleries(runs, metrics[0], progress),
    )
    text = _page(shown)
    with atomic_path(page) as staged:
        staged.write_text(text, encoding="utf-8")
    return {"page": page, "files": _files(shown, page.with_name(f"{page.stem}_files"))}


def _to_the_terms(runs: Sequence[Run]) -> bool:
    """Whether NSD has the tolerance that CVPR 2025's scores are of."""
    tolerances = {run.asked["fixed"].get("scorer", {}).get("tolerance_mm", TOLERANCE_MM) for run in runs}
    return tolerances == {TOLERANCE_MM}


def _breakdown(rows: Sequence[Row], metric: str, name: str, seed: int) -> list[Mean]:
    """Return the means at the last steps within each value of a column; none where there is one value only."""
    last = last_answers(rows, [metric])
    values = {row[name] for row in last}
    return means(last, [metric], within=name, seed=seed) if 1 < len(values) <= _MOST_GROUPS else []


def _galleries(
    runs: Sequence[Run], metric: str, progress: Callable[[str, int, int], None] | None
) -> dict[str, Sequence[Picture]]:
    wanted = [(run, *key) for run in runs for key in dict.fromkeys((row["model"], row["protocol"]) for row in run.rows)]
    found: dict[str, Sequence[Picture]] = {}
    opened: dict[str, DataSet | None] = {}
    for done, (run, model, protocol) in enumerate(wanted, start=1):
        root = str(run.asked["fixed"]["data"])
        if root not in opened:
            opened[root] = _opened(root)
        data = opened[root]
        if data is not None:
            found[f"{model}, {protocol}"] = gallery(run, data, model, protocol, metric)
        if progress:
            progress("drawing", done, len(wanted))
    return {name: pictures for name, pictures in found.items() if pictures}


def _opened(root: str) -> DataSet | None:
    """Return the data set that a run was about; None if it is not there any more."""
    try:
        return open_data(root)
    except SamaritanError:
        return None


def _page(shown: Shown) -> str:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError.of(what="a report", extra="evaluate") from error
    environment = Environment(
        loader=PackageLoader("samaritan.evaluate.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["figure"] = _figure
    environment.filters["likelihood"] = _likelihood
    text: str = environment.get_template(_TEMPLATE).render(shown=shown)
    return text


def _figure(value: float | None) -> str:
    """Return a figure with three places; a dash where it is undefined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _likelihood(value: float | None) -> str:
    """Return a p-value with three places: of a small one that it is."""
    return "<0.001" if value is not None and value < _LEAST_P else _figure(value)


def _files(shown: Shown, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "means": [mean.flat() for mean in shown.means],
        "differences": [difference.flat() for difference in shown.differences],
        "effort": [mean.flat() for mean in shown.effort],
        "instances": [mean.flat() for mean in shown.instances],
        "calibration": shown.calibration,
        "challenge": shown.challenge,
        "factors": shown.explained.flat(),
    }
    for name, rows in tables.items():
        if rows:
            write_csv(rows, list(rows[0]), folder / f"{name}.csv")
    texts = {"table.tex": to_latex(shown.means, shown.metrics)}
    texts |= {f"{name}.svg": svg for name, svg in (shown.figures | shown.explained.plots).items()}
    for name, text in texts.items():
        with atomic_path(folder / name) as staged:
            staged.write_text(text, encoding="utf-8")
    return folder
