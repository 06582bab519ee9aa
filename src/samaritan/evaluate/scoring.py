"""Answers to rows: what is entered about an answer, by the metrics that were chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.evaluate.protocols import Answer, Question
from samaritan.metrics import iou
from samaritan.metrics.catalog import METRICS, TOLERANCE_MM, Pair

Bools = NDArray[np.bool_]
Row = dict[str, Any]

PREDICTED, ORACLE = "predicted", "oracle"
DEFAULT_METRICS = ("dice", "iou", "nsd", "hd95")


@dataclass(frozen=True, slots=True)
class Scorer:
    """What is measured: names of ``metrics``, and the tolerance of NSD in mm (in pixels where there is no scale)."""

    metrics: tuple[str, ...] = DEFAULT_METRICS
    tolerance_mm: float = TOLERANCE_MM

    def rows(
        self, reference: Bools, answer: Answer, question: Question, geometry: Geometry, *, oracle: bool
    ) -> Iterator[Row]:
        """Yield a row for the mask that the model thinks best, and with ``oracle`` one for that which is."""
        chosen = [] if question.prompts is None else [(PREDICTED, 0)]  # of everything none is meant for the object
        chosen += [(ORACLE, _best(reference, answer))] if oracle else []
        measured: dict[int, dict[str, float | None]] = {}  # mostly the best is the one that the model thinks best
        for choice, which in chosen:
            if which not in measured:
                measured[which] = self.scores(reference, answer.masks[which], geometry)
            yield {
                "step": question.step,
                "effort": question.effort,
                "choice": choice,
                "predicted_iou": _known(float(answer.scores[which])),
                **measured[which],
            }

    def scores(self, reference: Bools, mask: Bools, geometry: Geometry) -> dict[str, float | None]:
        """Return the metrics of a mask (i, j, k), None where one is undefined; infinite distances stay infinite."""
        flat = geometry.is_2d
        spacing = tuple(float(s) for s in (geometry.spacing[:2] if flat else geometry.spacing))
        pair = Pair.of(
            reference[..., 0] if flat else reference,
            mask[..., 0] if flat else mask,
            spacing_mm=spacing,
            tolerance_mm=self.tolerance_mm,
        )
        values = {name: METRICS.get(name).of(pair) for name in self.metrics}
        return {name: _known(float(value)) for name, value in values.items()}


def _best(reference: Bools, answer: Answer) -> int:
    return int(np.argmax([iou(reference, mask) for mask in answer.masks]))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
