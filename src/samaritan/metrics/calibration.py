"""How well a model knows how good its masks are: predicted beside actual IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far predicted scores are from actual ones; nan where there is none.

    Attributes
    ----------
    mean_error
        Mean absolute difference, in [0, 1].
    bias
        Mean of predicted less actual: above 0 for a model that thinks too well of itself.
    expected_error
        Expected calibration error (Naeini et al. 2015): the absolute ``bias`` within tenths of the predicted score,
        weighted by how many there are in each.
    correlation
        Pearson's, in [-1, 1]; nan if either does not vary.
    """

    mean_error: float
    bias: float
    expected_error: float
    correlation: float


def calibration(predicted: Sequence[float], actual: Sequence[float]) -> Calibration:
    """Return how well predicted scores (n,) tell actual ones (n,), all in [0, 1]; pairs with a nan are left out.

    Raises
    ------
    ValueError
        If there are more of one than of the other.
    """
    both = np.stack([np.asarray(predicted, np.float64), np.asarray(actual, np.float64)])
    first, second = both[:, np.isfinite(both).all(axis=0)]
    if not len(first):
        return Calibration(*[float("nan")] * 4)
    apart = first - second
    tenth = np.clip((first * _BINS).astype(int), 0, _BINS - 1)
    expected = np.abs(np.bincount(tenth, apart, _BINS)).sum() / len(apart)
    varies = len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
    return Calibration(
        float(np.abs(apart).mean()),
        float(apart.mean()),
        float(expected),
        float(np.corrcoef(first, second)[0, 1]) if varies else float("nan"),
    )
