"""Boxes, deepest points and shapes between shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samaritan.infer.shapes import between, corners, deepest_points, overlap


def disk(centre, radius, shape=(40, 30)):
    a, b = np.ogrid[: shape[0], : shape[1]]
    return (a - centre[0]) ** 2 + (b - centre[1]) ** 2 <= radius**2


def test_corners_are_half_open():
    mask = np.zeros((9, 8), bool)
    mask[2, 3] = mask[5, 4] = True
    assert corners(mask) == ((2, 3), (6, 5))


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
def test_deepest_points_lie_on_the_object(mask):
    points = deepest_points(mask)
    assert 1 <= len(points) <= 3
    assert all(mask[point] for point in points)


def test_the_deepest_point_of_a_disk_is_its_centre_also_at_the_edge_of_the_image():
    assert deepest_points(disk((20, 15), 8)) == [(20, 15)]
    square = np.zeros((40, 30), bool)
    square[:7, :7] = True
    assert deepest_points(square) == [(3, 3)]


def test_each_large_part_has_its_point_and_specks_have_none():
    mask = disk((10, 10), 6) | disk((30, 20), 4)
    mask[0, 29] = True
    assert deepest_points(mask) == [(10, 10), (30, 20)]


def test_the_point_of_a_ring_lies_in_the_ring():
    ring = disk((20, 15), 10) & ~disk((20, 15), 5)
    [point] = deepest_points(ring)
    assert ring[point]


def test_overlap():
    first, second = disk((10, 10), 5), disk((30, 20), 5)
    assert overlap(first, first) == 1
    assert overlap(first, second) == 0
    assert overlap(first & second, first & second) == 0


@pytest.mark.parametrize(("fraction", "radius"), [(0, 4), (0.25, 6), (0.5, 8), (1, 12)])
def test_between_two_disks_lies_the_disk_of_the_mean_radius(fraction, radius):
    found = between(disk((20, 15), 4), disk((20, 15), 12), fraction)
    assert abs(np.sqrt(found.sum() / np.pi) - radius) < 0.6
    assert (found <= disk((20, 15), radius + 1)).all()


def test_between_shapes_far_apart_lies_nothing():
    assert not between(disk((8, 8), 4), disk((30, 20), 4), 0.5).any()
