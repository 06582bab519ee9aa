"""Scores over clicks, and how well a model knows its own."""

import math

import numpy as np
import pytest

from samaritan.metrics import area_under_clicks, calibration, clicks_to


def test_clicks_to_a_score():
    scores = [0.5, 0.85, 0.91, 0.89, 0.95]
    assert [clicks_to(scores, dice=wanted) for wanted in (0.4, 0.85, 0.9, 0.95)] == [1, 2, 3, 5]
    assert clicks_to(scores, dice=0.96) == clicks_to([], dice=0.1) == math.inf


def test_the_area_under_five_clicks_is_at_most_four():
    assert area_under_clicks([1] * 5) == 4
    assert area_under_clicks([0, 1, 1, 1, 1]) == 3.5
    assert area_under_clicks([0.2, 0.4, 0.5, 0.7, 0.6]) == pytest.approx(0.1 + 0.4 + 0.5 + 0.7 + 0.3)


def test_calibration_by_hand():
    found = calibration([0.95, 0.95, 0.15], [0.85, 0.65, 0.25])
    assert found.mean_error == pytest.approx(0.5 / 3)
    assert found.bias == pytest.approx(0.3 / 3)
    assert found.expected_error == pytest.approx((0.4 + 0.1) / 3)
    assert found.correlation == pytest.approx(np.corrcoef([0.95, 0.95, 0.15], [0.85, 0.65, 0.25])[0, 1])


def test_errors_of_both_signs_cancel_within_a_tenth_only():
    found = calibration([0.55, 0.55], [0.45, 0.65])
    assert (found.mean_error, found.bias, found.expected_error) == pytest.approx((0.1, 0, 0))
    assert math.isnan(found.correlation)


def test_what_has_no_value_is_left_out():
    assert calibration([1.0, 0.5, math.nan], [1.0, math.nan, 0.5]).mean_error == 0
    assert all(map(math.isnan, vars_of(calibration([], []))))
    with pytest.raises(ValueError, match="shape"):
        calibration([1.0], [1.0, 0.5])


def vars_of(found):
    return found.mean_error, found.bias, found.expected_error, found.correlation
