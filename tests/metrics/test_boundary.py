"""Overlap near boundaries."""

import math

import numpy as np
import pytest

from samaritan.core.errors import GeometryError, GeometryMismatchError
from samaritan.metrics import boundary_iou


def square(start, stop, side=100):
    mask = np.zeros((side, side), np.bool_)
    mask[start:stop, start:stop] = True
    return mask


def ring(outer, width):
    """Return the pixels of a square of side ``outer`` within ``width`` of its border."""
    return outer**2 - max(0, outer - 2 * width) ** 2


def test_rims_of_two_squares_by_hand():
    one, other = square(20, 80), square(22, 78)
    # Rims three pixels wide: of the outer square 20 to 23, of the inner one 22 to 25; they share a ring of one.
    shared = ring(56, 1)
    whole = ring(60, 3) + ring(56, 3) - shared
    assert boundary_iou(one, other, spacing_mm=(1, 1), width_mm=3) == pytest.approx(shared / whole)


def test_a_rim_as_wide_as_the_object_is_the_object():
    one, other = square(20, 80), square(30, 90)
    whole = 2 * 60**2 - 50**2
    assert boundary_iou(one, other, spacing_mm=(1, 1), width_mm=1e6) == pytest.approx(50**2 / whole)


def test_its_width_is_two_percent_of_the_diagonal():
    one, other = square(20, 80), square(21, 79)
    expected = boundary_iou(one, other, spacing_mm=(2, 2), width_mm=0.02 * 200 * math.sqrt(2))
    assert boundary_iou(one, other, spacing_mm=(2, 2)) == expected
    assert 0 < expected < 1


def test_the_image_border_is_boundary():
    full = np.ones((50, 50), np.bool_)
    inner = np.zeros_like(full)
    inner[1:-1, 1:-1] = True
    shared = ring(48, 1)
    found = boundary_iou(full, inner, spacing_mm=(1, 1), width_mm=2)
    assert found == pytest.approx(shared / (ring(50, 2) + ring(48, 2) - shared))


def test_spacing_counts_in_volumes():
    one = np.zeros((20, 20, 20), np.bool_)
    one[2:18, 2:18, 2:18] = True
    other = one.copy()
    other[2] = False  # a slice 5 mm thick
    thin = boundary_iou(one, other, spacing_mm=(5, 1, 1), width_mm=1)
    assert thin == boundary_iou(one.copy("F"), other.copy("F"), spacing_mm=(5, 1, 1), width_mm=1)
    # Within 1 mm there is no voxel at the ends along the thick axis: rims are the sides alone.
    assert thin == pytest.approx(15 / 16)


def test_empty_masks():
    none, some = square(0, 0), square(20, 80)
    assert math.isnan(boundary_iou(none, none, spacing_mm=(1, 1)))
    assert boundary_iou(none, some, spacing_mm=(1, 1)) == boundary_iou(some, none, spacing_mm=(1, 1)) == 0


@pytest.mark.parametrize("dimensions", [1, 4])
def test_masks_of_other_dimensions_are_refused(dimensions):
    mask = np.ones((3,) * dimensions, np.bool_)
    with pytest.raises(GeometryMismatchError, match="two or three"):
        boundary_iou(mask, mask, spacing_mm=(1,) * dimensions)


@pytest.mark.parametrize("width_mm", [math.nan, -1.0])
def test_a_width_that_is_no_length_is_refused(width_mm):
    with pytest.raises(GeometryError, match="width_mm"):
        boundary_iou(square(2, 5, 9), square(2, 5, 9), spacing_mm=(1, 1), width_mm=width_mm)
