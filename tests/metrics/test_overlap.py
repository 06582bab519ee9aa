"""Overlap, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samaritan.core.errors import GeometryMismatchError, ImageError
from samaritan.metrics import dice, iou, precision, sensitivity, volume_similarity

ALL = (dice, iou, precision, sensitivity, volume_similarity)
masks = array_shapes(min_dims=1, max_dims=4, max_side=5).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


def line(start, stop, length=10):
    return (np.arange(length) >= start) & (np.arange(length) < stop)


def test_two_lines_by_hand():
    reference, prediction = line(0, 6), line(2, 10)  # 6 and 8 long, 4 in common
    assert dice(reference, prediction) == 8 / 14
    assert iou(reference, prediction) == 4 / 10
    assert sensitivity(reference, prediction) == 4 / 6
    assert precision(reference, prediction) == 4 / 8
    assert volume_similarity(reference, prediction) == 1 - 2 / 14


def test_empty_masks():
    some, none = line(0, 3), line(0, 0)
    assert all(math.isnan(metric(none, none)) for metric in ALL)
    assert dice(some, none) == iou(some, none) == sensitivity(some, none) == volume_similarity(some, none) == 0
    assert dice(none, some) == iou(none, some) == precision(none, some) == volume_similarity(none, some) == 0
    assert math.isnan(precision(some, none))
    assert math.isnan(sensitivity(none, some))


@given(masks)
def test_they_are_what_counting_gives_in_any_number_of_dimensions(pair):
    reference, prediction = pair
    both, either = (reference & prediction).sum(), (reference | prediction).sum()
    if not either:
        return
    assert iou(reference, prediction) == both / either
    assert dice(reference, prediction) == dice(prediction, reference) == pytest.approx(2 * both / (both + either))
    assert iou(reference, prediction) <= dice(reference, prediction) <= 1


@pytest.mark.parametrize("metric", ALL)
def test_what_is_no_pair_of_masks_is_refused(metric):
    with pytest.raises(ImageError, match="prediction of float64"):
        metric(line(0, 3), np.zeros(10))
    with pytest.raises(GeometryMismatchError, match="one grid"):
        metric(line(0, 3), line(0, 3, length=11))
