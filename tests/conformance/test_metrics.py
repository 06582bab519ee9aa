"""Every metric passes the suite, and the suite fails what breaks its rules."""

import numpy as np
import pytest

from samaritan.metrics.catalog import METRICS, Pair
from samaritan.testing.metric_conformance import METRIC_CHECKS, Subject


def subject(metric):
    def measure(reference, prediction, spacing_mm):
        return metric.of(Pair.of(reference, prediction, spacing_mm=spacing_mm, tolerance_mm=0.5))

    return Subject(measure, metric.best)


@pytest.mark.parametrize("check", METRIC_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list(METRICS))
def test_conformance(name, check):
    if (name, check.__name__) == ("boundary_iou", "check_background_does_not_count"):
        pytest.skip("its width is a share of the image's diagonal")
    check(subject(METRICS.get(name)))


def share(reference, prediction, spacing_mm):
    return float((reference & prediction).sum() / max(1, (reference | prediction).sum()))


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("check_perfect_is_best", lambda one, other, spacing: 0.99 * share(one, other, spacing)),
        ("check_farther_is_no_better", lambda one, other, spacing: 1 - share(one, other, spacing) / 2),
        ("check_both_empty_is_nan", share),
        ("check_one_empty_has_a_value", lambda one, other, spacing: 1.0),
        ("check_axes_do_not_count", lambda one, other, spacing: float(np.argwhere(one)[0, 0])),
        ("check_background_does_not_count", lambda one, other, spacing: float((one == other).mean())),
    ],
)
def test_the_suite_fails_what_breaks_its_rules(name, measure):
    (check,) = [check for check in METRIC_CHECKS if check.__name__ == name]
    with pytest.raises(AssertionError):
        check(Subject(measure))


def test_a_pair_is_cut_to_what_it_holds():
    reference, prediction = np.zeros((2, 50, 60, 70), np.bool_)
    reference[10:12, 20:22, 30:32] = prediction[11:14, 19:21, 31:33] = True
    pair = Pair.of(reference, prediction, spacing_mm=(1, 1, 1))
    assert pair.reference.shape == (4, 3, 3)
    assert pair.surface is pair.surface
