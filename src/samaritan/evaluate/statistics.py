"""Whether figures mean anything: intervals by patient, paired tests between models, corrected for how many there are.

All works on one value an object with the patient it is of: objects of a patient are no independent draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES, FLIPS = 2_000, 10_000
_LEVEL = 0.95
_EXACT = 14  # patients, and fewer, whose sign flips are all counted
_BLOCK = 256  # resamples drawn at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A ``mean`` with its interval from ``low`` to ``high``, over ``count`` values of so many ``patients``.

    Without a value all are nan; with one patient the interval is.
    """

    mean: float
    low: float
    high: float
    count: int
    patients: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two models differ on the same objects: the second less the first.

    Parameters
    ----------
    difference
        Of the means, with its interval.
    p_flip
        Of a sign-flip permutation test of the patients' mean differences, two-sided.
    p_wilcoxon
        Of Wilcoxon's signed-rank test of the same; 1 where nothing differs.
    effect
        Cohen's d_z: the mean of the patients' differences over their deviation; nan where they do not vary.
    rank_biserial
        Matched-pairs rank-biserial correlation (Kerby 2014), from -1 to 1.
    wins, ties, losses
        Objects for which the second is better, alike, worse.
    """

    difference: Interval
    p_flip: float
    p_wilcoxon: float
    effect: float
    rank_biserial: float
    wins: int
    ties: int
    losses: int


def interval(values: Sequence[float] | Floats, patients: Sequence[str], *, rng: np.random.Generator) -> Interval:
    """Return the mean with its 95% interval by the percentile bootstrap of patients (Efron 1979, Field & Welsh 2007).

    Patients are drawn with replacement, each with all its values. Values that are nan are left out.
    """
    array, groups = _known(values, patients)
    sums, counts = _by_patient(array, groups)
    if not len(counts):
        return Interval(float("nan"), float("nan"), float("nan"), 0, 0)
    mean = float(array.mean())
    if len(counts) < 2:
        return Interval(mean, float("nan"), float("nan"), len(array), 1)
    means = []
    for _ in range(0, RESAMPLES, _BLOCK):
        drawn = rng.integers(len(counts), size=(_BLOCK, len(counts)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(np.concatenate(means)[:RESAMPLES], [tail, 1 - tail])
    return Interval(mean, float(low), float(high), len(array), len(counts))


def compare(
    first: Sequence[float] | Floats,
    second: Sequence[float] | Floats,
    patients: Sequence[str],
    *,
    rng: np.random.Generator,
    alike: float = 0.01,
    more_is_better: bool = True,
) -> Comparison:
    """Return how two models differ, from their values for the same objects in one order; pairs with nan are out.

    Parameters
    ----------
    first, second, patients
        Values of each object, and whose it is.
    rng
        Of intervals and flips.
    alike
        A difference of this or less is none.
    more_is_better
        Whether a higher value is a better one.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    array, groups = _known(difference, patients)
    sums, counts = _by_patient(array, groups)
    means = sums / counts if len(counts) else sums
    deviation = float(means.std(ddof=1)) if len(means) > 1 else 0.0
    gain = array if more_is_better else -array
    return Comparison(
        difference=interval(difference, patients, rng=rng),
        p_flip=flip_test(means, rng=rng),
        p_wilcoxon=_wilcoxon(means),
        effect=float(means.mean()) / deviation if deviation > 0 else float("nan"),
        rank_biserial=_rank_biserial(means),
        wins=int((gain > alike).sum()),
        ties=int((np.abs(gain) <= alike).sum()),
        losses=int((gain < -alike).sum()),
    )


def flip_test(differences: Floats, *, rng: np.random.Generator) -> float:
    """Return the two-sided p of the mean of ``differences`` if each might as well have had the other sign.

    Exact for few; else from random flips, the observed one counted in (Phipson & Smyth 2010). nan without any.
    """
    count = len(differences)
    if not count:
        return float("nan")
    observed = abs(float(differences.sum())) * (1 - 1e-12)  # equal sums differ in their last bits
    if count <= _EXACT:
        signs = np.array(list(product((1.0, -1.0), repeat=count)))
        return float((np.abs(signs @ differences) >= observed).mean())
    more = 0
    for _ in range(0, FLIPS, _BLOCK):
        signs = rng.choice((-1.0, 1.0), size=(_BLOCK, count))
        more += int((np.abs(signs @ differences) >= observed).sum())
    drawn = -(-FLIPS // _BLOCK) * _BLOCK
    return (more + 1) / (drawn + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for there being several (Holm 1979), in their order; nan stays, and is not counted."""
    array = np.asarray(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(array))
    order = known[np.argsort(array[known], kind="stable")]
    adjusted = array.copy()
    highest = 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, float(array[at]) * (len(order) - rank)))
        adjusted[at] = highest
    return [float(value) for value in adjusted]


def _known(values: Sequence[float] | Floats, patients: Sequence[str]) -> tuple[Floats, NDArray[np.str_]]:
    array, groups = np.asarray(values, np.float64), np.asarray(patients, np.str_)
    known = np.isfinite(array)
    return array[known], groups[known]


def _by_patient(values: Floats, patients: NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Return the sum and the number of each patient's values."""
    _, which = np.unique(patients, return_inverse=True)
    return np.bincount(which, weights=values).astype(np.float64), np.bincount(which).astype(np.float64)


def _wilcoxon(differences: Floats) -> float:
    if not len(differences):
        return float("nan")
    if not differences.any():
        return 1.0
    from scipy import stats  # noqa: PLC0415 - it takes a second, and runs of one model compare nothing

    with warnings.catch_warnings():  # of ties and few values: the p is then that of the normal approximation
        warnings.simplefilter("ignore")
        return float(stats.wilcoxon(differences).pvalue)


def _rank_biserial(differences: Floats) -> float:
    moved = differences[differences != 0]
    if not len(moved):
        return 0.0 if len(differences) else float("nan")
    from scipy import stats  # noqa: PLC0415 - as above

    ranks = stats.rankdata(np.abs(moved))
    return float((ranks * np.sign(moved)).sum() / ranks.sum())
