"""What a run found, in figures: means with intervals by model and step, and how models differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from samaritan.evaluate.predictions import GIVEN
from samaritan.evaluate.protocols import PROTOCOLS
from samaritan.evaluate.protocols.cvpr25 import scores as challenge_scores
from samaritan.evaluate.replay import first_asked
from samaritan.evaluate.scoring import PREDICTED
from samaritan.evaluate.statistics import Comparison, Interval, compare, holm, interval
from samaritan.evaluate.subjects import seeded
from samaritan.metrics import calibration
from samaritan.metrics.catalog import METRICS

Row = Mapping[str, Any]

_STEP = ("protocol", "step", "effort", "choice")
_OBJECT = ("case", "value", "instance")
ALL_STEPS = "all steps"
CHALLENGE = ("cvpr25", "cvpr25-clicks")


@dataclass(frozen=True, slots=True)
class Mean:
    """One figure: a metric of a model at a step of a protocol, over all objects or those ``within`` a group.

    ``of`` counts the answers; those whose value is undefined or infinite have no part in the ``interval``.
    """

    model: str
    protocol: str
    step: str
    effort: float
    choice: str
    metric: str
    within: str
    group: str
    interval: Interval
    of: int

    def flat(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        row: dict[str, Any] = asdict(self)
        told: dict[str, Any] = row.pop("interval")
        return row | told


@dataclass(frozen=True, slots=True)
class Difference:
    """How the ``second`` model differs from the ``first`` at a step, with p corrected over all that were compared."""

    first: str
    second: str
    protocol: str
    step: str
    choice: str
    metric: str
    comparison: Comparison
    p_holm: float

    def flat(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        row: dict[str, Any] = asdict(self)
        told: dict[str, Any] = row.pop("comparison")
        difference = told.pop("difference")
        return row | {"difference": difference["mean"], "low": difference["low"], "high": difference["high"]} | told


def means(rows: Sequence[Row], metrics: Sequence[str], *, within: str = "", seed: int = 0) -> list[Mean]:
    """Return the mean of each metric of each model and step, with its 95% interval by patient.

    Parameters
    ----------
    rows
        Of ``samaritan.evaluate.tables``.
    metrics
        Whose means.
    within
        A column, such as ``"modality"`` or ``"label"``: one mean for each of its values. Empty for all objects.
    seed
        Of the intervals.

    Notes
    -----
    A metric that is infinite (a distance to a mask that is empty) or undefined has no part in a mean, and the number of
    values says so.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row["model"], *(row[name] for name in _STEP), row[within] if within else "")].append(row)
    found = []
    for (model, protocol, step, effort, choice, group), members in groups.items():
        patients = [row["patient"] for row in members]
        for metric in metrics:
            rng = seeded(seed, "mean", model, protocol, step, choice, group, metric)
            told = interval(_values(members, metric), patients, rng=rng)
            found.append(Mean(model, protocol, step, effort, choice, metric, within, str(group), told, len(members)))
    return found


def differences(rows: Sequence[Row], metrics: Sequence[str], *, seed: int = 0) -> list[Difference]:
    """Return how each two models differ at each step that both were asked at, on the objects that both have.

    Masks that somebody else has made, who was asked nothing, are compared with ``last_answers``.
    """
    steps: dict[tuple[Any, ...], dict[str, dict[tuple[Any, ...], Row]]] = defaultdict(lambda: defaultdict(dict))
    last = last_answers(rows, metrics)
    for row in [*rows, *(row for row in last if row["step"] == ALL_STEPS)]:
        steps[tuple(row[name] for name in _STEP)][row["model"]][tuple(row[name] for name in _OBJECT)] = row
    given = {model: found for step, models in steps.items() if step[0] == GIVEN for model, found in models.items()}
    for step in dict.fromkeys(tuple(row[name] for name in _STEP) for row in last if row["protocol"] != GIVEN):
        steps[step] |= given
    found: list[tuple[tuple[str, str, str, str, str, str], Comparison]] = []
    for (protocol, step, _, choice), models in steps.items():
        for first, second in combinations(models, 2):
            if protocol != GIVEN and {first, second} <= given.keys():
                continue  # those are compared once
            both = [key for key in models[first] if key in models[second]]
            patients = [models[first][key]["patient"] for key in both]
            for metric in metrics:
                one, other = (_values([models[model][key] for key in both], metric) for model in (first, second))
                rng = seeded(seed, "difference", first, second, protocol, step, choice, metric)
                key = (first, second, protocol, step, choice, metric)
                kind = METRICS.get(metric)
                told = compare(one, other, patients, rng=rng, alike=kind.alike, more_is_better=kind.more_is_better)
                found.append((key, told))
    corrected = holm([told.p_flip for _, told in found])
    return [Difference(*key, told, p) for (key, told), p in zip(found, corrected, strict=True)]


def last_answers(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Return a row for each object, model and protocol: what came of it in the end, by the model's own choice of mask.

    That is the last step. Of a protocol whose steps stand apart, such as corruptions of many kinds, it is a row with
    the mean of each metric over all of them, at the step ``ALL_STEPS``.
    """
    order: dict[str, str] = {}
    apart: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["choice"] != PREDICTED:
            continue
        order[row["protocol"]] = row["step"]
        if _stands_apart(row["protocol"]):
            apart[(row["model"], row["protocol"], *(row[name] for name in _OBJECT))].append(row)
    found = [
        row for row in rows
        if row["choice"] == PREDICTED and row["step"] == order[row["protocol"]] and not _stands_apart(row["protocol"])
    ]  # fmt: skip
    return [*found, *(_averaged(members, metrics) for members in apart.values())]


def _stands_apart(protocol: str) -> bool:
    known = first_asked(protocol)
    return known in PROTOCOLS and PROTOCOLS.get(known).apart


def _averaged(rows: Sequence[Row], metrics: Sequence[str]) -> Row:
    """Return a row with the means of several of one object; a metric without any finite value is undefined."""
    means_of: dict[str, float | None] = {}
    for metric in (*metrics, "predicted_iou"):
        values = np.array(_values(rows, metric))
        known = values[np.isfinite(values)]
        means_of[metric] = float(known.mean()) if len(known) else None
    return {**rows[-1], "step": ALL_STEPS, "effort": 0.0, **means_of}


def challenge(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return CVPR 2025's scores of each model and case that was asked by its protocol and measured by Dice and NSD."""
    cases: dict[tuple[str, str, str], dict[float, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["protocol"] in CHALLENGE and "nsd" in row and "dice" in row:
            cases[row["model"], row["protocol"], row["case"]][row["effort"]].append(row)
    found = []
    for (model, protocol, case), steps in cases.items():
        first = steps[min(steps)]
        dice, nsd = (np.array([_values(steps[n], name) for n in sorted(steps)]) for name in ("dice", "nsd"))
        about = {"model": model, "protocol": protocol, "case": case, "modality": first[0]["modality"]}
        found.append({**about, "classes": len(first), **challenge_scores(dice, nsd)})
    return found


def calibrations(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return how well each model knows the IoU of what it thinks best, by protocol.

    Where it predicts none, or IoU is not measured, there is nothing. The columns are those of
    ``samaritan.metrics.Calibration``, and ``count``, of answers.
    """
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row["choice"] == PREDICTED and row["predicted_iou"] is not None and row.get("iou") is not None:
            pairs[row["model"], row["protocol"]].append((row["predicted_iou"], row["iou"]))
    return [
        {"model": model, "protocol": protocol, **asdict(calibration(*zip(*found, strict=True))), "count": len(found)}
        for (model, protocol), found in pairs.items()
    ]


def _values(rows: Sequence[Row], metric: str) -> list[float]:
    return [float("nan") if row.get(metric) is None else float(row[metric]) for row in rows]
