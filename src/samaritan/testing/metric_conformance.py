"""What every metric of masks must do, as checks that anyone can run over theirs.

Each check takes a ``Subject`` and raises ``AssertionError`` with the reason if it fails; none needs pytest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

_SPACING = (0.7, 1.3, 2.5)


@dataclass(frozen=True, slots=True)
class Subject:
    """A metric: how it is asked, ``measure(reference, prediction, spacing_mm)``, and its value for a perfect one."""

    measure: Callable[[Bools, Bools, tuple[float, ...]], float]
    best: float = 1.0


Check = Callable[[Subject], None]


def check_perfect_is_best(metric: Subject) -> None:
    """Check that a prediction that is the reference has the best value, in two and in three dimensions."""
    for dimensions in (2, 3):
        reference, _ = _pair(dimensions)
        found = metric.measure(reference, reference.copy(), _SPACING[:dimensions])
        same = math.isclose(found, metric.best, abs_tol=1e-9)
        _require(same, f"a perfect prediction in {dimensions} dimensions has {found}, not {metric.best}")


def check_farther_is_no_better(metric: Subject) -> None:
    """Check that a prediction beside the reference is no better than one that overlaps it."""
    reference, near = _pair(3)
    far = np.roll(near, 9, axis=0)
    off = [abs(metric.measure(reference, prediction, _SPACING) - metric.best) for prediction in (near, far)]
    _require(off[0] <= off[1], f"off the best value by {off[0]} near the reference, and by {off[1]} beside it")


def check_both_empty_is_nan(metric: Subject) -> None:
    """Check that nothing to find, and nothing found, has no value, so that means leave it out."""
    empty = np.zeros((5, 6, 7), np.bool_)
    found = metric.measure(empty, empty, _SPACING)
    _require(math.isnan(found), f"two empty masks have {found}, not nan")


def check_one_empty_has_a_value(metric: Subject) -> None:
    """Check that an object that was missed, or made up, is no error, and not perfect."""
    reference, _ = _pair(3)
    empty = np.zeros_like(reference)
    for one, other in ((reference, empty), (empty, reference)):
        found = metric.measure(one, other, _SPACING)
        _require(math.isnan(found) or found != metric.best, f"one empty mask has {found}, as a perfect one has")


def check_axes_do_not_count(metric: Subject) -> None:
    """Check that it does not matter which way an axis goes, which comes first, and how arrays lie in memory."""
    one, other = _pair(3)
    expected = metric.measure(one, other, _SPACING)
    flipped = metric.measure(one[::-1, :, ::-1], other[::-1, :, ::-1], _SPACING)
    swapped = metric.measure(one.transpose(2, 0, 1), other.transpose(2, 0, 1), (_SPACING[2], *_SPACING[:2]))
    for how, found in (("flipped", flipped), ("swapped", swapped)):
        same = math.isclose(found, expected, rel_tol=1e-6)
        _require(same, f"{expected} became {found} when axes were {how}")


def check_background_does_not_count(metric: Subject) -> None:
    """Check that more of nothing at every side changes nothing."""
    one, other = _pair(3)
    expected = metric.measure(one, other, _SPACING)
    found = metric.measure(np.pad(one, 3), np.pad(other, 3), _SPACING)
    _require(math.isclose(found, expected, rel_tol=1e-6), f"{expected} became {found} in a larger array")


METRIC_CHECKS: tuple[Check, ...] = (
    check_perfect_is_best,
    check_farther_is_no_better,
    check_both_empty_is_nan,
    check_one_empty_has_a_value,
    check_axes_do_not_count,
    check_background_does_not_count,
)


def _pair(dimensions: int) -> tuple[Bools, Bools]:
    """Return two balls that overlap, off the middle of arrays whose sides differ."""
    shape, centre = (22, 19, 17)[:dimensions], (9.0, 8.0, 7.0)[:dimensions]
    return _ball(shape, centre, 5), _ball(shape, tuple(place + 1.5 for place in centre), 4.5)


def _ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> Bools:
    apart = (np.arange(size) - middle for size, middle in zip(shape, centre, strict=True))
    return np.asarray(sum(part**2 for part in np.ix_(*apart)) <= radius**2)


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)
