"""What is said to a server for which prompts, and in which order."""

import numpy as np
import pytest

from samaritan.core.errors import PromptError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.nninteractive.client import Capabilities
from samaritan.models.nninteractive.steps import BlockStep, BoxStep, PointStep, plan

SHAPE = (13, 9, 5)
GRID = Geometry.from_spacing(SHAPE, (0.7, 1.1, 3.0))
ALL = Capabilities(points=True, box_2d=True, box_3d=True, scribble=True, lasso=True, start=True, refines=True)
THIN = Capabilities(points=True, box_2d=True, scribble=True, lasso=True, start=True, refines=True)


def planned(*items, previous=None, capabilities=THIN):
    return plan(Prompts(GRID, items), previous, capabilities)


def predicted(mask):
    logits = np.where(mask, np.float32(4), np.float32(-4))[None]
    return Prediction(logits, np.array([0.5], np.float32), GRID)


def block(start, stop):
    mask = np.zeros(SHAPE, np.bool_)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def said(step):
    """Voxels (i, j, k) that a step with a mask means."""
    assert step.mask.dtype == np.uint8
    assert step.mask.flags.c_contiguous
    return {(i, j, k) for k, j, i in (np.argwhere(step.mask) + step.start).tolist()}


def test_a_point_is_the_voxel_that_it_lies_in():
    assert planned(Point((11.6, 2.4, -0.5))).steps == (PointStep((0, 2, 12), positive=True),)


@pytest.mark.parametrize(
    "box",
    [Box((1, 2, 3), (9, 8, 4)), Box((1, 2, 0), (2, 8, 5)), Box((1, 2, 0), (9, 3, 5)), Box((4, 4, 4), (5, 5, 5)),
     Box((1, 2, 3), (2, 3, 5))],
)  # fmt: skip
def test_a_thin_box_goes_as_it_is(box):
    assert planned(box).steps == (BoxStep(box.start[::-1], box.stop[::-1]),)


def test_a_thick_box_goes_as_it_is_to_who_takes_it():
    assert planned(Box((1, 2, 0), (9, 8, 5)), capabilities=ALL).steps == (BoxStep((0, 2, 1), (5, 8, 9)),)


@pytest.mark.parametrize("stop", [(9, 8, 5), (3, 4, 2), (13, 4, 5), (2, 9, 5)])
def test_a_thick_box_becomes_three_that_cross_in_its_middle(stop):
    box = Box((0, 0, 0), stop)
    steps = planned(box).steps
    sides = [[b - a for a, b in zip(step.start, step.stop, strict=True)] for step in steps]
    assert sorted(side.index(1) for side in sides) == [0, 1, 2]
    wanted = stop[::-1]
    for step, side in zip(steps, sides, strict=True):
        thin = side.index(1)
        assert step.start[thin] == wanted[thin] // 2
        assert [n for axis, n in enumerate(side) if axis != thin] == [n for a, n in enumerate(wanted) if a != thin]
    # The last shows the most: it is thin along the shortest side.
    assert wanted[sides[-1].index(1)] == min(wanted)


def test_a_scribble_goes_as_the_block_around_it():
    voxels = np.array([(12, 8, 4), (10, 8, 3), (11, 7, 4)])
    (step,) = planned(Scribble(voxels)).steps
    assert isinstance(step, BlockStep)
    assert not step.circled
    assert step.mask.shape == (2, 2, 3)
    assert said(step) == set(map(tuple, voxels.tolist()))


@pytest.mark.parametrize(("axis", "normal"), [("i", 0), ("j", 1), ("k", 2)])
def test_a_lasso_goes_as_what_it_holds_of_its_slice(axis, normal):
    across = [n for n in range(3) if n != normal]
    corners = np.full((4, 3), 3.0)
    corners[:, across] = [(-0.4, 0.6), (3.2, 0.6), (3.2, 4.4), (-0.4, 2.4)]
    (step,) = planned(Lasso(corners, axis)).steps
    assert step.circled
    wanted = {(a, b) for a, top in enumerate((2, 3, 3, 4)) for b in range(1, top + 1)}
    assert {tuple(v[n] for n in across) for v in said(step)} == wanted
    assert {v[normal] for v in said(step)} == {3}


def test_a_lasso_too_thin_to_hold_a_voxel_is_where_its_corners_are():
    (step,) = planned(Lasso(np.array([(2.2, 3.2, 1), (4.2, 3.3, 1), (2.3, 3.3, 1)]))).steps
    assert said(step) == {(2, 3, 1), (4, 3, 1)}


def test_a_mask_is_where_to_start_from():
    first, second = block((1, 1, 1), (4, 4, 4)), block((8, 2, 0), (12, 4, 5))
    found = planned(MaskPrompt(first), MaskPrompt(second))
    assert found.steps == ()
    np.testing.assert_array_equal(found.start, (first | second).transpose(2, 1, 0))
    assert found.start.dtype == np.uint8


def test_of_masks_beside_an_earlier_prediction_only_those_count_that_it_did_not_heed():
    before = block((1, 1, 1), (5, 5, 5))
    known, since = block((1, 1, 1), (4, 4, 4)), block((8, 2, 0), (12, 4, 5))
    items = (MaskPrompt(known), MaskPrompt(since), Point((2, 2, 2)))
    found = planned(*items, previous=predicted(before & ~block((1, 1, 1), (2, 5, 5))))
    np.testing.assert_array_equal(found.start.transpose(2, 1, 0), (before & ~block((1, 1, 1), (2, 5, 5))) | since)
    refused = (
        Point((9, 3, 3), positive=False),
        Scribble(np.array([(9, 3, 3)]), positive=False),
        Lasso(np.array([(8, 1, 3), (10, 1, 3), (10, 5, 3)]), positive=False),
    )
    for negative in refused:
        found = planned(*items, negative, previous=predicted(before))
        np.testing.assert_array_equal(found.start.transpose(2, 1, 0), before)


def test_without_a_mask_the_farthest_reaching_positive_prompt_comes_last():
    box, stroke = Box((1, 2, 3), (9, 8, 4)), Scribble(np.array([(1, 1, 1), (4, 1, 1)]))
    items = (box, Point((1, 1, 0)), Point((3, 3, 0), positive=False), stroke, Point((2, 2, 0)))
    steps = planned(*items).steps
    assert [step.positive for step in steps] == [False, True, True, True, True]
    assert [step.reach for step in steps] == [1, 1, 1, 4, 8]
    assert [step.voxel for step in steps[1:3]] == [(0, 1, 1), (0, 2, 2)]


def test_with_a_mask_the_order_stays():
    items = (Box((1, 2, 3), (9, 8, 4)), Point((2, 2, 0)), Point((1, 1, 0), positive=False))
    for steps in (
        planned(*items, previous=predicted(block((1, 1, 1), (4, 4, 4)))).steps,
        planned(*items, MaskPrompt(block((1, 1, 1), (4, 4, 4)))).steps,
    ):
        assert [type(step) for step in steps] == [BoxStep, PointStep, PointStep]
        assert [step.positive for step in steps] == [True, True, False]


def test_negative_prompts_alone_are_refused_unless_there_is_something_to_correct():
    negative = Point((1, 1, 0), positive=False)
    with pytest.raises(PromptError, match="negative prompts only"):
        planned(negative)
    assert planned(negative, previous=predicted(block((1, 1, 1), (4, 4, 4)))).says_where
    assert not planned(negative, previous=predicted(np.zeros(SHAPE, np.bool_))).says_where


def test_a_server_that_takes_no_masks_is_not_told_of_earlier_predictions():
    poor = Capabilities(points=True)
    before = predicted(block((1, 1, 1), (4, 4, 4)))
    assert planned(Point((1, 1, 0)), previous=before, capabilities=poor).start is None
    with pytest.raises(PromptError, match="negative prompts only"):
        planned(Point((1, 1, 0), positive=False), previous=before, capabilities=poor)


def test_a_mask_alone_needs_a_server_that_improves_masks():
    fair = Capabilities(points=True, start=True)
    mask = MaskPrompt(block((1, 1, 1), (4, 4, 4)))
    with pytest.raises(UnsupportedPromptError, match="another prompt with it"):
        planned(mask, capabilities=fair)
    assert planned(mask, Point((1, 1, 1)), capabilities=fair).start is not None
