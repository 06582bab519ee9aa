"""What explains scores: how much each property of an object goes with its score, the others held.

Factors are skewed: of a size its logarithm is taken, of the others log(1 + x); then they are brought to deviation 1,
so that effects compare. Patients with several objects have an intercept each (a mixed model, Laird & Ware 1982); where
they have not, or that model does not converge, outliers are weighed down instead (Huber 1964). Beside it the partial
rank correlation, which asks for nothing linear.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from samaritan.core.errors import MissingExtraError
from samaritan.evaluate.factors import FACTORS

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

_LEAST = 5  # objects for each thing that is fitted
MIXED, ROBUST = "mixed", "robust"


@dataclass(frozen=True, slots=True)
class Effect:
    """How a score of a model goes with a factor: by how much it changes for a deviation of it, the others held.

    Of what is there or not, a modality say, by how much it changes if it is there.

    Parameters
    ----------
    model, protocol, step, metric
        Whose score.
    factor
        A name in ``FACTORS``; ``"volume"`` for slices of volumes against pictures; ``"modality X"`` against the most
        frequent one.
    estimate, low, high, p
        In units of the metric, with its 95% interval; p two-sided.
    correlation
        Partial rank correlation, from -1 to 1.
    count, patients
        Objects and patients that it is from.
    method
        ``"mixed"`` or ``"robust"``.
    """

    model: str
    protocol: str
    step: str
    metric: str
    factor: str
    estimate: float
    low: float
    high: float
    p: float
    correlation: float
    count: int
    patients: int
    method: str

    def flat(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class Design:
    """What is explained: ``score`` (n,) by ``columns`` (n, factors) called ``names``, of so many ``patients`` (n,)."""

    names: tuple[str, ...]
    columns: Floats
    score: Floats
    patients: NDArray[np.str_]

    def partial(self, number: int) -> tuple[Floats, Floats]:
        """Return a factor and the score, both less what the other factors explain of them: what a partial plot shows.

        The factor is in deviations. By least squares (Velleman & Welsch 1981).
        """
        rest = np.column_stack([np.ones(len(self.score)), np.delete(self.columns, number, axis=1)])
        return _less(self.columns[:, number], rest), _less(self.score, rest)


def design_of(rows: Sequence[Row], objects: Mapping[tuple[Any, ...], Row], metric: str) -> Design | None:
    """Return what rows of one model at one step give to explain; None if there are too few, or nothing varies.

    Parameters
    ----------
    rows
        Of ``samaritan.evaluate.tables``, one an object.
    objects
        What objects are like, by case, value and instance.
    metric
        The score. Rows without a value, and objects of which a factor is unknown, are left out.
    """
    pairs = [(row, objects.get((row["case"], row["value"], row["instance"]))) for row in rows]
    known = [
        (row, item)
        for row, item in pairs
        if item is not None and _is_known(row.get(metric)) and all(_is_known(item[name]) for name in FACTORS)
    ]
    if not known:
        return None
    columns = {name: _unskewed(name, np.array([item[name] for _, item in known], np.float64)) for name in FACTORS}
    named = {name: _standard(column) for name, column in columns.items() if float(np.ptp(column)) > 0}
    named |= {name: column for name, column in _kinds(known).items() if float(np.ptp(column)) > 0}
    score = np.array([row[metric] for row, _ in known], np.float64)
    if not named or len(score) < _LEAST * (len(named) + 1) or float(np.ptp(score)) == 0:
        return None
    patients = np.array([row["patient"] for row, _ in known], np.str_)
    return Design(tuple(named), np.column_stack(list(named.values())), score, patients)


def effects_of(design: Design, *, model: str, protocol: str, step: str, metric: str) -> list[Effect]:
    """Return the effect of each factor of a design.

    Raises
    ------
    MissingExtraError
        If statsmodels is not installed.
    """
    fit, method = _fitted(design)
    ranks = Design(
        design.names, np.apply_along_axis(stats.rankdata, 0, design.columns), stats.rankdata(design.score),
        design.patients,
    )  # fmt: skip
    found = []
    for number, name in enumerate(design.names):
        estimate, (low, high), p = fit.params[number + 1], fit.conf_int()[number + 1], fit.pvalues[number + 1]
        one, other = ranks.partial(number)
        same = float(one.std() * other.std())
        correlation = float(np.mean(one * other)) / same if same > 0 else float("nan")
        numbers = (float(estimate), float(low), float(high), float(p), correlation)
        found.append(
            Effect(model, protocol, step, metric, name, *numbers, len(design.score), len(set(design.patients)), method)
        )
    return found


def _fitted(design: Design) -> tuple[Any, str]:
    try:
        import statsmodels.api as models  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise MissingExtraError.of(what="a factor analysis", extra="evaluate") from error
    columns = np.column_stack([np.ones(len(design.score)), design.columns])
    with warnings.catch_warnings():  # of models that do not converge, or at their bounds: told by what is asked below
        warnings.simplefilter("ignore")
        if 1 < len(set(design.patients)) < len(design.score):
            try:
                mixed = models.MixedLM(design.score, columns, groups=design.patients).fit(reml=True)
            except np.linalg.LinAlgError:
                mixed = None
            if mixed is not None and mixed.converged and np.isfinite(mixed.bse[: columns.shape[1]]).all():
                return mixed, MIXED
        return models.RLM(design.score, columns, M=models.robust.norms.HuberT()).fit(), ROBUST


def _kinds(known: Sequence[tuple[Row, Row]]) -> dict[str, Floats]:
    """Return columns of 0 and 1: of volumes, and of each modality but the most frequent one."""
    found = {"volume": np.array([float(item["volume"]) for _, item in known])}
    modalities = [row["modality"] or "unknown" for row, _ in known]
    by_count = sorted(set(modalities), key=lambda name: (-modalities.count(name), name))
    for name in by_count[1:]:
        found[f"modality {name}"] = np.array([float(modality == name) for modality in modalities])
    return found


def _unskewed(name: str, column: Floats) -> Floats:
    return np.asarray(np.log(column) if name == "size" else np.log1p(column))


def _standard(column: Floats) -> Floats:
    return np.asarray((column - column.mean()) / column.std())


def _less(column: Floats, rest: Floats) -> Floats:
    return np.asarray(column - rest @ np.linalg.lstsq(rest, column, rcond=None)[0])


def _is_known(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))
