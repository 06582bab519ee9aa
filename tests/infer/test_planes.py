"""Prompts of volumes in the indices of planes; masks of planes back in volumes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.errors import GeometryError, PromptError
from samaritan.core.geometry import AXES, Geometry, axis_number
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble, Text
from samaritan.infer.planes import choose_axis, on_plane, put_plane

GRID = Geometry.from_spacing((10, 9, 8), (1, 1, 3))


@given(st.data())
def test_points_on_a_plane_stay_where_they_are_in_the_world(data):
    affine = np.eye(4)
    affine[:3, :3] = [[0, -0.7, 0.1], [1.1, 0, 0.2], [0.1, 0, -2.5]]
    grid = Geometry((10, 9, 8), affine)
    axis = data.draw(st.sampled_from(AXES))
    index = tuple(data.draw(st.floats(0, n - 1)) for n in grid.shape)
    normal = axis_number(axis)
    snapped = list(index)
    snapped[normal] = Point(index).voxel[normal]
    plane = on_plane(Prompts(grid, (Point(index),)), axis, snapped[normal])
    [point] = plane.points
    np.testing.assert_allclose(plane.geometry.index_to_world(point.index), grid.index_to_world(snapped), atol=1e-9)
    other = (snapped[normal] + 1) % grid.shape[normal]
    assert not on_plane(Prompts(grid, (Point(index),)), axis, other)


@pytest.mark.parametrize("axis", AXES)
def test_every_kind_agrees_with_its_voxels(axis):
    normal = axis_number(axis)
    mask = np.zeros(GRID.shape, bool)
    mask[2:6, 3:7, 4:6] = True
    box = Box((2, 3, 4), (6, 7, 6))
    prompts = Prompts(GRID, (box, Scribble.from_mask(mask, positive=False), MaskPrompt(mask)))
    for index in range(GRID.shape[normal]):
        here = np.take(mask, index, normal)
        plane = on_plane(prompts, axis, index)
        assert bool(plane) == here.any()
        if not plane:
            continue
        cut, scribble, prior = plane.items
        drawn = np.zeros_like(here)
        drawn[cut.start[0] : cut.stop[0], cut.start[1] : cut.stop[1]] = True
        np.testing.assert_array_equal(drawn, here)
        np.testing.assert_array_equal(prior.mask[..., 0], here)
        stroke = np.zeros_like(here)
        stroke[tuple(scribble.voxels[:, :2].T)] = True
        np.testing.assert_array_equal(stroke, here)
        assert not scribble.positive
        assert plane.geometry == GRID.plane(axis, index)


def test_a_lasso_across_another_axis_becomes_one_in_the_plane():
    lasso = Lasso(np.array([[1, 4, 2], [5, 4, 2], [3, 4, 6.5]]), "j", positive=False)
    [cut] = on_plane(Prompts(GRID, (lasso,)), "j", 4).items
    np.testing.assert_array_equal(cut.vertices, [[1, 2, 0], [5, 2, 0], [3, 6.5, 0]])
    assert (cut.axis, cut.positive) == ("k", False)
    assert not on_plane(Prompts(GRID, (lasso,)), "j", 5)


@pytest.mark.parametrize("axis", AXES)
def test_planes_put_back_make_up_the_volume(axis):
    volume = np.random.default_rng(0).random(GRID.shape) > 0.5
    again = np.zeros_like(volume)
    for index in range(GRID.shape[axis_number(axis)]):
        put_plane(again, axis, index, np.take(volume, index, axis_number(axis)))
    np.testing.assert_array_equal(again, volume)


def grid(shape=(9, 9, 9), spacing=(1, 1, 1), order=(0, 1, 2)):
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(order)].T * np.asarray(spacing)
    return Geometry(shape, affine)


@pytest.mark.parametrize(
    ("geometry", "axis"),
    [
        (grid(spacing=(1, 3, 1)), "j"),
        (grid(spacing=(1, 1, 1)), "k"),
        (grid(order=(2, 0, 1)), "i"),  # i runs superior: axial slices lie across it
        (grid(spacing=(1, 1.001, 1)), "k"),
        (grid(spacing=(1, 2, 2), order=(2, 0, 1)), "k"),
        (grid(shape=(1, 9, 9)), "i"),
        (grid(shape=(9, 9, 1)), "k"),
        (Geometry((5, 5, 5), np.eye(4), "pixel"), "k"),
    ],
)
def test_the_axis_follows_the_acquisition(geometry, axis):
    assert choose_axis(Prompts(geometry, (Point((0, 0, 0)),))) == axis


def test_the_axis_follows_what_was_drawn_in_a_plane():
    thin = Prompts(grid(), (Point((1, 1, 1)), Box((2, 4, 2), (6, 5, 6))))
    assert choose_axis(thin) == "j"
    stroke = Scribble(np.array([[3, 2, 2], [3, 5, 6]]))
    assert choose_axis(Prompts(grid(), (stroke,))) == "i"
    lasso = Lasso(np.array([[1, 4, 2], [5, 4, 2], [3, 4, 6.5]]), "j")
    assert choose_axis(Prompts(grid(), (stroke, lasso))) == "j"
    assert choose_axis(thin, "i") == "i"


def test_lassos_must_lie_in_the_planes():
    lasso = Lasso(np.array([[1, 4, 2], [5, 4, 2], [3, 4, 6.5]]), "j")
    other = Lasso(np.array([[1, 4, 2], [5, 4, 2], [3, 5, 2]]), "k")
    with pytest.raises(PromptError, match="Choose axis j"):
        choose_axis(Prompts(grid(), (lasso,)), "k")
    with pytest.raises(PromptError, match="along one axis"):
        choose_axis(Prompts(grid(), (lasso, other)))


def test_a_picture_has_planes_along_k_only():
    prompts = Prompts(Geometry.picture(5, 4), (Point((1, 1, 0)),))
    assert choose_axis(prompts, "k") == "k"
    with pytest.raises(GeometryError, match="its only plane"):
        choose_axis(prompts, "i")


def test_text_is_about_every_slice():
    assert on_plane(Prompts(Geometry.picture(5, 4), (Text("liver"),)), "k", 0).kinds == {"text"}
    named = Prompts(GRID, (Text("liver"),))
    assert all(on_plane(named, "k", index).kinds == {"text"} for index in range(GRID.shape[2]))
