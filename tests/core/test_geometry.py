"""Grids: positions, orientations, planes, comparisons."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.errors import GeometryError, GeometryMismatchError, UnknownOrientationError
from samaritan.core.geometry import AXES, Geometry, axis_number
from samaritan.core.image import take_plane

CODES = [
    "".join(letters[a][flip] for a, flip in zip(order, flips, strict=True))
    for letters in [("LR", "PA", "IS")]
    for order in permutations(range(3))
    for flips in product((0, 1), repeat=3)
]


def oblique(shape=(5, 6, 7), spacing=(0.7, 1.1, 3.0), angles=(0.2, -0.1, 0.15)) -> Geometry:
    """Return a grid that is rotated by small angles about all three axes."""
    rotation = np.eye(3)
    for (a, b), angle in zip(((0, 1), (1, 2), (0, 2)), angles, strict=True):
        turn = np.eye(3)
        turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        rotation = rotation @ turn
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = (-90.0, 20.0, 45.0)
    return Geometry(shape, affine)


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_agrees_with_nibabel_and_undoes(code):
    source = oblique()
    change = source.reorientation(code)
    array = np.arange(np.prod(source.shape)).reshape(source.shape)
    target, moved = change.target, change.apply(array)
    assert target.orientation == code == "".join(nibabel.aff2axcodes(target.affine))
    assert moved.shape == target.shape
    np.testing.assert_array_equal(change.undo(moved), array)
    for index in [(0, 0, 0), (4, 1, 2), (3, 5, 6)]:
        there = tuple(np.rint(target.world_to_index(source.index_to_world(index))).astype(int))
        assert moved[there] == array[index]


def test_reorientation_moves_the_last_axes_of_a_channel_array():
    change = oblique().reorientation("ASL")
    array = np.random.default_rng(0).random((2, *change.source.shape))
    np.testing.assert_array_equal(change.apply(array)[1], change.apply(array[1]))
    np.testing.assert_array_equal(change.undo(change.apply(array)), array)


@given(st.tuples(*[st.floats(-500, 500)] * 3))
def test_world_and_index_are_inverse(index):
    geometry = oblique()
    np.testing.assert_allclose(geometry.world_to_index(geometry.index_to_world(index)), index, atol=1e-9)


def test_lps_is_ras_with_x_and_y_negated():
    geometry = oblique()
    lps = (geometry.affine_lps @ [1, 2, 3, 1])[:3]
    np.testing.assert_allclose(geometry.index_to_world((1, 2, 3)), lps * (-1, -1, 1))
    assert Geometry.from_lps(geometry.shape, geometry.affine_lps).matches(geometry)


@pytest.mark.parametrize("axis", AXES)
def test_a_plane_keeps_every_voxel_in_its_place(axis):
    geometry = oblique()
    array = np.arange(np.prod(geometry.shape)).reshape(geometry.shape)
    plane, values = geometry.plane(axis, 3), take_plane(array, axis, 3)
    assert plane.is_2d
    assert values.shape == plane.shape
    for index in np.ndindex(plane.shape):
        there = tuple(np.rint(geometry.world_to_index(plane.index_to_world(index))).astype(int))
        assert there[axis_number(axis)] == 3
        assert array[there] == values[index]


def test_a_crop_keeps_its_place():
    geometry = oblique()
    cropped = geometry.crop((1, 2, 3), (4, 5, 6))
    assert cropped.shape == (3, 3, 3)
    np.testing.assert_allclose(cropped.index_to_world((0, 1, 2)), geometry.index_to_world((1, 3, 5)))
    with pytest.raises(GeometryError):
        geometry.crop((1, 2, 3), (1, 5, 6))


def test_spacing_and_volume():
    geometry = oblique(spacing=(0.5, 2.0, 4.0))
    assert geometry.spacing_mm == pytest.approx((0.5, 2.0, 4.0))
    assert geometry.voxel_volume_mm3 == pytest.approx(4.0)


def test_a_picture_says_nothing_in_millimetres():
    picture = Geometry.picture(640, 480)
    assert picture.shape == (640, 480, 1)
    assert picture.is_2d
    assert picture.spacing_mm is None
    assert picture.voxel_volume_mm3 is None
    assert picture.orientation is None
    with pytest.raises(UnknownOrientationError):
        picture.reorientation("RAS")


def test_matching_forgives_float32_but_not_a_shift():
    geometry = oblique()
    rounded = Geometry(geometry.shape, geometry.affine.astype(np.float32))
    assert geometry.matches(rounded)
    shifted = geometry.affine.copy()
    shifted[0, 3] += 0.1
    other = Geometry(geometry.shape, shifted)
    assert not geometry.matches(other)
    with pytest.raises(GeometryMismatchError, match="scribble"):
        geometry.require_match(other, "scribble")


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((0, 1, 1), np.eye(4)),
        ((2, 2), np.eye(4)),
        ((2, 2, 2), np.diag([1, 0, 1, 1])),
        ((2, 2, 2), np.full((4, 4), np.nan)),
        ((2, 2, 2), np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        ((2, 2, 2), np.eye(3)),
        ((2, 2, 2), np.diag([1, 1, 1, 2])),
    ],
)
def test_a_grid_that_cannot_exist_is_refused(shape, affine):
    with pytest.raises(GeometryError):
        Geometry(shape, affine)


@pytest.mark.parametrize("spacing", [(1, 1, 0), (1, -1, 1), (1, 1)])
def test_a_spacing_must_be_positive(spacing):
    with pytest.raises(GeometryError):
        Geometry.from_spacing((2, 2, 2), spacing)


@pytest.mark.parametrize("code", ["RAA", "XYZ", "RA", "LRS"])
def test_a_code_that_is_no_orientation_is_refused(code):
    with pytest.raises(UnknownOrientationError):
        oblique().reorientation(code)


def test_equal_grids_hash_equal_and_cannot_be_changed():
    assert oblique() == oblique()
    assert hash(oblique()) == hash(oblique())
    assert oblique() != oblique(shape=(5, 6, 8))
    with pytest.raises(ValueError, match="read-only"):
        oblique().affine[0, 0] = 2


def test_contains_reaches_half_a_voxel_beyond_the_centres():
    inside = Geometry.picture(4, 3).contains([(-0.5, 0, 0), (3.49, 2.49, 0), (3.5, 0, 0), (0, 0, 1)])
    assert inside.tolist() == [True, True, False, False]
