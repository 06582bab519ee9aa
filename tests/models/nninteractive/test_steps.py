"""What is said to a server for which prompts, and in which order."""

from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.errors import PromptError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.nninteractive.client import Capabilities
from samaritan.models.nninteractive.steps import Block, BlockStep, BoxStep, PointStep, plan

SHAPE = (13, 9, 5)
GRID = Geometry.from_spacing(SHAPE, (0.7, 1.1, 3.0))
ALL = Capabilities(points=True, box_2d=True, box_3d=True, scribble=True, lasso=True, start=True, refines=True)
THIN = Capabilities(points=True, box_2d=True, scribble=True, lasso=True, start=True, refines=True)
NARROW = replace(THIN, patch=(5, 9, 6))  # sees all along k and j, and little along i


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
    assert planned(box).steps == (BoxStep(Block(box.start[::-1], box.stop[::-1])),)


def test_a_thick_box_goes_as_it_is_to_who_takes_it():
    assert planned(Box((1, 2, 0), (9, 8, 5)), capabilities=ALL).steps == (BoxStep(Block((0, 2, 1), (5, 8, 9))),)


@pytest.mark.parametrize("stop", [(9, 8, 5), (3, 4, 2), (13, 4, 5), (2, 9, 5)])
def test_a_thick_box_becomes_three_that_cross_in_its_middle(stop):
    box = Box((0, 0, 0), stop)
    steps = planned(box).steps
    sides = [list(step.block.sides) for step in steps]
    assert sorted(side.index(1) for side in sides) == [0, 1, 2]
    wanted = stop[::-1]
    for step, side in zip(steps, sides, strict=True):
        thin = side.index(1)
        assert step.block.start[thin] == wanted[thin] // 2
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


@pytest.mark.parametrize(
    ("drawn", "thickness", "wanted"),
    [
        # along i in a slice across k: one more along j, none along k
        ([(1, 1, 1), (2, 1, 1)], (2, 2, 2), {(i, j, 1) for i in (1, 2, 3) for j in (1, 2)}),
        # in a slice across i
        (
            [(1, 1, 1), (1, 2, 2)],
            (2, 2, 2),
            {(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2), (1, 2, 3), (1, 3, 2), (1, 3, 3)},
        ),
        # in no slice: in all directions
        ([(1, 1, 1), (2, 2, 2)], (1, 1, 2), {(1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 2, 2)}),
        # each axis has its own, in the order of the wire: k, j, i
        ([(5, 5, 2)], (9, 3, 1), {(5, j, 2) for j in (4, 5, 6)}),
        # as thick as it should be, in part; and cut off by the border
        ([(1, 1, 0), (1, 2, 0), (2, 1, 0), (2, 2, 0)], (2, 2, 2), {(i, j, 0) for i in (1, 2) for j in (1, 2)}),
        ([(12, 8, 0)], (2, 2, 2), {(12, 8, 0)}),
    ],
)
def test_a_scribble_is_as_thick_as_the_server_prefers_in_its_slice(drawn, thickness, wanted):
    (step,) = planned(Scribble(np.array(drawn)), capabilities=replace(THIN, thickness=thickness)).steps
    assert said(step) == wanted


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
    assert [max(step.block.sides) for step in steps] == [1, 1, 1, 4, 8]
    assert [step.voxel for step in steps[1:3]] == [(0, 1, 1), (0, 2, 2)]


def test_with_a_mask_what_it_does_not_heed_comes_last():
    mask = block((1, 1, 1), (4, 4, 4))
    heeded = (
        Box((1, 2, 3), (9, 8, 4)),
        Point((1, 1, 0), positive=False),
        Scribble(np.array([(3, 3, 3), (4, 3, 3)])),
        Lasso(np.array([(5, 1, 3), (8, 1, 3), (8, 5, 3)]), positive=False),
        Point((1, 1, 1)),
    )
    refuted = (
        Box((5, 2, 3), (9, 8, 4)),
        Point((1, 1, 2), positive=False),
        Scribble(np.array([(3, 3, 3), (4, 3, 3), (5, 3, 3)])),
        Lasso(np.array([(3, 1, 3), (8, 1, 3), (8, 5, 3)]), positive=False),
        Point((2, 2, 0)),
    )
    mixed = [item for pair in zip(refuted, heeded, strict=True) for item in pair]
    for found in (planned(*mixed, previous=predicted(mask)), planned(*mixed, MaskPrompt(mask))):
        wanted = planned(*heeded, *refuted, previous=predicted(mask))
        assert [(step.block, step.positive) for step in found.steps] == [(s.block, s.positive) for s in wanted.steps]
        assert [step.is_heeded(found.start) for step in found.steps] == [True] * 5 + [False] * 5


def test_what_fits_a_patch_takes_one_look():
    items = (Point((0, 0, 0)), Point((12, 8, 4)), Box((1, 2, 3), (9, 8, 4)), Point((5, 5, 0), positive=False))
    assert planned(*items).looks == (False, False, False, True)
    assert planned(*items, previous=predicted(block((1, 1, 1), (2, 2, 2)))).looks == (False, False, False, True)


def test_positive_prompts_out_of_sight_of_the_last_look_get_looks_of_their_own():
    far, near, last = Point((1, 4, 2)), Point((2, 4, 2)), Point((11, 4, 2))
    beside = Point((3, 4, 2), positive=False)
    found = planned(far, near, beside, last, capabilities=NARROW)
    assert [step.voxel[2] for step in found.steps] == [3, 1, 2, 11]
    assert found.looks == (False, False, True, True)
    # a large prompt is seen whole, and with it what lies around it
    box = Box((2, 1, 2), (11, 8, 3))
    assert planned(far, last, box, capabilities=NARROW).looks == (False, False, True)
    assert planned(Point((0, 4, 2)), Box((8, 1, 2), (12, 8, 3)), capabilities=NARROW).looks == (True, True)


def test_with_a_mask_only_what_it_does_not_heed_gets_looks_of_its_own():
    known, missed, last = Point((1, 4, 2)), Point((3, 0, 2), positive=False), Point((11, 4, 2))
    before = predicted(block((0, 3, 1), (3, 6, 4)))
    assert planned(known, missed, last, previous=before, capabilities=NARROW).looks == (False, False, True)
    before = predicted(block((0, 0, 0), (5, 9, 5)))
    assert planned(known, missed, last, previous=before, capabilities=NARROW).looks == (False, True, True)


def test_of_a_mask_that_heeds_all_the_newest_prompt_is_looked_at():
    found = planned(Point((1, 4, 2)), Point((2, 4, 2)), previous=predicted(block((0, 3, 1), (4, 6, 4))))
    assert [step.voxel[2] for step in found.steps] == [1, 2]
    assert found.looks == (False, True)


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
