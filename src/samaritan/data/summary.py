"""A data set as a whole: counts, sizes and spreads over what was found in its cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from samaritan.data.inspection import CaseFacts, Inspection, ObjectFacts

_QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def summarise(result: Inspection) -> dict[str, Any]:
    """Return the summary of an inspection, of what JSON holds.

    ``shape`` and ``spacing_mm`` are spreads along i, j and k; ``labels`` has a row for each label and unit, with the
    spread of the sizes of its objects. ``patients`` is 0 where no case says whose it is.
    """
    cases, facts = result.data.cases, result.facts
    return {
        "name": result.data.name,
        "layout": result.data.layout,
        "root": str(result.data.root),
        "cases": len(cases),
        "usable": len(cases) - len(result.failed),
        "patients": len({case.subject for case in cases if case.patient}),
        "modalities": _counts(found.modality for found in facts),
        "splits": _counts(case.split for case in cases),
        "datasets": _counts(case.dataset for case in cases),
        "orientations": _counts(found.orientation or "" for found in facts if found.shape),
        "channels": _counts(str(found.channels) for found in facts if found.shape),
        "shape": _axes([found.shape for found in facts if found.shape]),
        "spacing_mm": _axes([found.spacing_mm for found in facts if found.spacing_mm]),
        "labels": _labels(facts),
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _axes(rows: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    return [spread(axis) for axis in zip(*rows, strict=True)]


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return least, 5th, 25th, 50th, 75th, 95th percentile and greatest of ``values``, which are not empty."""
    found = np.quantile(np.fromiter(values, np.float64), list(_QUANTILES.values()))
    return {name: round(float(value), 6) for name, value in zip(_QUANTILES, found, strict=True)}


def _labels(facts: Sequence[CaseFacts]) -> list[dict[str, Any]]:
    found: dict[tuple[int, str, str], list[tuple[str, ObjectFacts]]] = defaultdict(list)
    for case in facts:
        for item in case.objects:
            found[item.value, item.name, case.unit].append((case.id, item))
    return [
        {
            "value": value,
            "name": name,
            "cases": len({case for case, _ in objects}),
            "objects": len(objects),
            "unit": unit,
            "size": spread(item.size for _, item in objects),
        }
        for (value, name, unit), objects in sorted(found.items())
    ]
