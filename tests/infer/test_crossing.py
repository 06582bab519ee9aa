"""How far an object reaches in each slice of a 3D box."""

import numpy as np
import pytest

from samaritan.core.geometry import AXES, Geometry
from samaritan.core.image import take_plane
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box
from samaritan.infer.crossing import boxes_by_slice, shows_across
from samaritan.infer.shapes import corners

SHAPE = (30, 26, 22)
CENTRE, RADII = np.array((15, 12, 11)), np.array((9, 7, 8))


@pytest.fixture
def ellipsoid():
    places = np.moveaxis(np.indices(SHAPE), 0, -1) + 0.5
    return (((places - CENTRE) / RADII) ** 2).sum(axis=-1) <= 1


def box_around(mask):
    places = np.argwhere(mask)
    return Box(tuple(map(int, places.min(axis=0))), tuple(map(int, places.max(axis=0) + 1)))


def seen(mask, *, score=0.9):
    """Return a look at ``mask`` itself."""

    def look(axis, index):
        plane = take_plane(mask, axis, index)
        logits = np.where(plane, np.float32(4), np.float32(-4))[None]
        return Prediction(logits, np.array([score], np.float32), Geometry.picture(*plane.shape[:2]))

    return look


@pytest.mark.parametrize("axis", AXES)
def test_each_slice_has_the_box_of_the_object_there(ellipsoid, axis):
    box = box_around(ellipsoid)
    boxes = boxes_by_slice(box, axis, seen(ellipsoid))
    normal = AXES.index(axis)
    filled = np.flatnonzero(ellipsoid.any(axis=tuple({0, 1, 2} - {normal})))
    assert sorted(boxes) == filled.tolist()
    for index, found in boxes.items():
        tight = np.array(corners(take_plane(ellipsoid, axis, index)[..., 0]))
        assert np.abs(np.array((found.start[:2], found.stop[:2])) - tight).max() <= 1


def test_no_box_reaches_beyond_the_whole(ellipsoid):
    box = box_around(ellipsoid)
    boxes = boxes_by_slice(box, "k", seen(np.ones(SHAPE, bool)))
    assert {(found.start[:2], found.stop[:2]) for found in boxes.values()} == {(box.start[:2], box.stop[:2])}


def test_planes_that_are_not_believed_say_nothing(ellipsoid):
    assert boxes_by_slice(box_around(ellipsoid), "k", seen(ellipsoid, score=0.1)) == {}
    assert boxes_by_slice(box_around(ellipsoid), "k", seen(np.zeros(SHAPE, bool))) == {}


@pytest.mark.parametrize(
    ("spacing", "deep", "expected"),
    [
        ((1, 1, 1), 10, True),
        ((1, 1, 3), 10, True),
        ((1, 1, 8), 10, True),
        ((1, 1, 12), 10, False),
        ((1, 1, 1), 3, False),
    ],
)
def test_thick_or_few_slices_show_nothing_across(spacing, deep, expected):
    geometry = Geometry.from_spacing((20, 20, 20), spacing)
    assert shows_across(Box((2, 2, 2), (12, 12, 2 + deep)), geometry, "k") is expected
