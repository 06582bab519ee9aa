"""Volumes turned so that any axis is k: voxels, prompts and masks stay where they are in the world."""

from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.geometry import AXES, Geometry
from samaritan.core.image import Image
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble, Text
from samaritan.infer.turn import Turn
from samaritan.testing import fake_model

GRID = Geometry((5, 6, 7), np.array([[0.8, 0.2, 0, -30], [-0.2, 0.79, 0.1, 12], [0.05, -0.1, 2.4, 100], [0, 0, 0, 1]]))
SHAPES = {"i": (6, 7, 5), "j": (5, 7, 6), "k": (5, 6, 7)}


@pytest.fixture(params=AXES)
def axis(request):
    return request.param


def test_slices_are_those_along_the_axis(axis):
    array = np.arange(2 * 5 * 6 * 7).reshape(2, *GRID.shape)
    image = Image(array, GRID, ("a", "b"), modality="MR")
    turned = Turn.of(GRID, axis).image(image)
    assert turned.shape == SHAPES[axis]
    assert turned.modality == "MR"
    for index in range(turned.shape[2]):
        here, expected = turned.plane("k", index), image.plane(axis, index)
        np.testing.assert_array_equal(here.array, expected.array)
        assert here.geometry.matches(expected.geometry)


def test_prompts_stay_at_their_place_in_the_world(axis):
    turn = Turn.of(GRID, axis)
    items = Point((1.25, 2, 3.5), positive=False), Box((1, 2, 3), (4, 4, 7)), Scribble(np.array([[1, 2, 3], [4, 5, 6]]))
    prompts = Prompts(GRID, items)
    point, box, scribble = turn.prompts(prompts).items
    moved = prompts.to(turn.change.target).items
    np.testing.assert_allclose(point.index, moved[0].index)
    assert not point.positive
    assert box == moved[1]
    assert {tuple(voxel) for voxel in scribble.voxels.tolist()} == {tuple(voxel) for voxel in moved[2].voxels.tolist()}


def test_what_is_drawn_in_a_slice_along_the_axis_is_drawn_along_k(axis):
    turn, normal = Turn.of(GRID, axis), AXES.index(axis)
    vertices = np.insert(np.array([[1.0, 1], [3, 1], [3, 4]]), normal, 2, axis=1)
    (lasso,) = turn.prompts(Prompts(GRID, (Lasso(vertices, axis=axis, positive=False),))).items
    assert (lasso.axis, lasso.slice_index, lasso.positive) == ("k", 2, False)
    np.testing.assert_array_equal(lasso.vertices[:, :2], [[1, 1], [3, 1], [3, 4]])


def test_a_lasso_across_others_keeps_its_plane():
    lasso = Lasso(np.array([(1.0, 1, 2), (3, 1, 2), (3, 4, 2)]))
    (turned,) = Turn.of(GRID, "i").prompts(Prompts(GRID, (lasso,))).items
    assert (turned.axis, turned.slice_index) == ("j", 2)


def test_a_mask_comes_back(axis):
    turn = Turn.of(GRID, axis)
    mask = np.random.default_rng(0).random(GRID.shape) > 0.5
    drawn, word = turn.prompts(Prompts(GRID, (MaskPrompt(mask), Text("liver")))).items
    assert drawn.mask.shape == SHAPES[axis]
    assert word == Text("liver")
    np.testing.assert_array_equal(turn.back(drawn.mask), mask)


def test_only_models_that_follow_slices_are_turned_for():
    by_slices = replace(fake_model.CARD, dims=3, native_shape=(64, 64, 1))
    assert Turn.wanted(by_slices, GRID, "i").where == "i"
    assert Turn.wanted(by_slices, GRID, "k").where is None
    assert Turn.wanted(replace(by_slices, native_shape=(64, 64, 64)), GRID, "i").where is None
