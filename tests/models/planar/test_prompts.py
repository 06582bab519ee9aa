"""What a person gives on a plane of 40 x 90 pixels, as tokens and an earlier mask: made by hand.

The frame has two pixels for one of the plane, the mask one.
"""

import numpy as np
import pytest

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.planar import FrameSpec
from samaritan.models.planar.prompts import is_ambiguous, tokens

WIDTH, HEIGHT = 40, 90
GEOMETRY = Geometry.picture(WIDTH, HEIGHT)
LETTERBOX = FrameSpec(2 * HEIGHT).letterbox((WIDTH, HEIGHT))
ON, BESIDE, START, STOP, NOTHING = 1, 0, 2, 3, -1


def asked(*items, previous=None):
    return tokens(Prompts(GEOMETRY, items), previous, LETTERBOX, mask_side=HEIGHT)


def said(*items, previous=None):
    """Return the tokens as (x, y, label)."""
    found = asked(*items, previous=previous)
    return [(*place, label) for place, label in zip(found.coords.tolist(), found.labels.tolist(), strict=True)]


def earlier(seed=0):
    logits = np.random.default_rng(seed).normal(0, 4, (1, WIDTH, HEIGHT, 1)).astype(np.float32)
    return Prediction(logits, np.array([0.9], np.float32), GEOMETRY)


def square(i, j, *, sides=8, positive=True):
    corners = [(i, j), (i + sides, j), (i + sides, j + sides), (i, j + sides)]
    return Lasso(np.array([(*corner, 0) for corner in corners]) - (0.5, 0.5, 0), positive=positive)


def test_a_click_is_put_at_the_centre_of_its_pixel_and_a_token_that_says_nothing_after_it():
    assert said(Point((10, 20, 0))) == [(21, 41, ON), (0, 0, NOTHING)]
    assert said(Point((10, 20, 0)), Point((3, 80, 0), positive=False)) == [
        (21, 41, ON), (7, 161, BESIDE), (0, 0, NOTHING),
    ]  # fmt: skip


def test_a_click_on_the_border_stays_on_the_picture():
    assert said(Point((0, 0, 0)))[0] == (1, 1, ON)
    assert said(Point((39, 89, 0)))[0] == (79, 179, ON)
    assert said(Point((-0.5, -0.5, 0)))[0] == (0, 0, ON)
    assert said(Point((39.25, 89.25, 0)))[0] == (79.5, 179.5, ON)


def test_a_box_reaches_from_the_centre_of_its_first_pixel_to_that_of_its_last():
    assert said(Box((2, 3, 0), (31, 60, 1))) == [(5, 7, START), (61, 119, STOP)]
    assert said(Box((39, 89, 0), (40, 90, 1))) == [(79, 179, START), (79, 179, STOP)]


def test_two_boxes_are_one_around_both():
    assert said(Box((20, 3, 0), (31, 7, 1)), Box((2, 50, 0), (5, 60, 1))) == [(5, 7, START), (61, 119, STOP)]


def test_clicks_come_before_the_box():
    box = Box((2, 3, 0), (31, 60, 1))
    assert said(box, Point((10, 20, 0), positive=False)) == [(21, 41, BESIDE), (5, 7, START), (61, 119, STOP)]


def test_a_scribble_is_points_spread_along_it():
    line = Scribble(np.array([(i, 30, 0) for i in range(2, 35)]))
    found = said(line)
    assert found[0] == (2 * 18 + 1, 61, ON)  # its middle
    assert {(5, 61, ON), (69, 61, ON)} == set(found[1:3])  # its ends
    assert len(found) == 8 + 1
    assert {label for *_, label in found[:-1]} == {ON}
    along = sorted(x for x, *_ in found[:-1])
    assert max(np.diff(along)) <= 2 * 10  # no long part of it goes without


def test_a_short_scribble_is_all_of_its_pixels_once():
    twice = np.array([(5, 6, 0), (5, 7, 0), (5, 6, 0)])
    assert sorted(said(Scribble(twice, positive=False), Point((1, 1, 0)))[1:3]) == [(11, 13, BESIDE), (11, 15, BESIDE)]
    assert len(said(Scribble(twice))) == 2 + 1


def test_a_negative_lasso_is_points_spread_over_it():
    found = said(Point((1, 1, 0)), square(10, 40, positive=False))
    beside = [place for place in found if place[2] == BESIDE]
    assert found[0] == (3, 3, ON)
    assert len(beside) == 8
    assert all(20 < x < 36 and 80 < y < 96 for x, y, _ in beside)
    assert np.abs(np.array(beside[0][:2]) - (28, 88)).max() <= 1  # the first in its middle
    assert np.ptp(np.array(beside), axis=0)[:2].tolist() == [14, 14]  # and its corners
    assert found[-1] == (0, 0, NOTHING)


def test_a_lasso_is_the_box_around_it_and_a_point_in_its_middle():
    (x, y, label), *box = said(square(10, 40))
    assert box == [(21, 81, START), (35, 95, STOP)]
    assert label == ON
    assert abs(x - 28) <= 1
    assert abs(y - 88) <= 1


def test_an_earlier_prediction_lies_on_the_frame_as_the_picture_does():
    previous = earlier()
    mask = asked(Point((10, 20, 0)), previous=previous).mask
    np.testing.assert_array_equal(mask[:, :WIDTH], previous.logits[0, ..., 0].T)
    assert (mask[:, WIDTH:] == previous.logits.min()).all()
    assert mask.dtype == np.float32
    assert asked(Point((10, 20, 0))).mask is None


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (300, 170)])
@pytest.mark.parametrize("fit", ["pad", "stretch", "centre"])
def test_an_earlier_mask_is_where_a_click_into_it_is(size, fit):
    letterbox = FrameSpec(256, fit=fit).letterbox(size)
    logits = np.full((1, *size, 1), -8, np.float32)
    logits[:, 20:32, 8:12] = 8
    geometry = Geometry.picture(*size)
    previous = Prediction(logits, np.array([0.9], np.float32), geometry)
    found = tokens(Prompts(geometry, (Point((25.5, 9.5, 0)),)), previous, letterbox, mask_side=64)
    rows, columns = np.indices((64, 64)) + 0.5
    weight = found.mask + 8
    middle = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    assert np.abs(middle - found.coords[0] / 4).max() <= 0.5  # of the mask, of which it fills whole pixels


@pytest.mark.parametrize(("side", "mask_side"), [(256, 64), (1008, 288)])  # 4 and 3.5 pixels a cell
@pytest.mark.parametrize("size", [(57, 90), (90, 57), (41, 90), (301, 517), (517, 301), (90, 31)])
@pytest.mark.parametrize("fit", ["pad", "stretch", "centre"])
def test_an_earlier_mask_lies_where_it_is_to_a_fraction_of_a_cell_however_the_plane_ends(size, fit, side, mask_side):
    letterbox = FrameSpec(side, fit=fit).letterbox(size)
    middle = np.array(size) * 0.8  # far from the corner that planes have in common with the frame
    away = np.indices(size) - middle[:, None, None]
    blob = np.exp(-np.square(away / (0.05 * np.array(size)[:, None, None])).sum(axis=0)).astype(np.float32)
    geometry = Geometry.picture(*size)
    previous = Prediction(blob[None, ..., None], np.array([0.9], np.float32), geometry)
    found = tokens(Prompts(geometry, (Point((*middle, 0)),)), previous, letterbox, mask_side=mask_side)
    rows, columns = np.indices(found.mask.shape) + 0.5
    weight = found.mask - found.mask.min()
    centroid = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    assert np.abs(centroid - found.coords[0] * mask_side / side).max() < 0.02


def test_a_cell_in_which_the_plane_ends_is_of_it_if_its_centre_is():
    # In a frame of 64, of which the mask has 16 cells: 26 / 4 = 6.5 cells wide, 25 / 4 = 6.25.
    for width, cells in ((26, 7), (25, 6), (24, 6), (1, 1)):
        letterbox = FrameSpec(64).letterbox((width, 64))
        logits = np.full((1, width, 64, 1), 5, np.float32)
        logits[0, 0, 0] = -3
        previous = Prediction(logits, np.array([0.9], np.float32), Geometry.picture(width, 64))
        mask = tokens(Prompts(previous.geometry, (Point((0, 9, 0)),)), previous, letterbox, mask_side=16).mask
        assert (mask[1:, :cells] > 0).all(), "the border of the plane is dragged to what lies beside it"
        assert (mask[:, cells:] == -3).all()


def test_an_earlier_prediction_says_nothing_of_how_far_the_object_reaches():
    assert said(Point((10, 20, 0)), previous=earlier()) == [(21, 41, ON), (0, 0, NOTHING)]
    assert said(Box((2, 3, 0), (31, 60, 1)), previous=earlier()) == [(5, 7, START), (61, 119, STOP)]
    assert said(Point((10, 20, 0), positive=False), previous=earlier()) == [(21, 41, BESIDE), (0, 0, NOTHING)]


def test_a_mask_is_an_earlier_one_and_alone_the_box_around_it():
    area = np.zeros((WIDTH, HEIGHT, 1), bool)
    area[4:9, 30:70] = True
    drawn = MaskPrompt(area)
    assert said(drawn) == [(9, 61, START), (17, 139, STOP)]
    assert said(drawn, Point((6, 40, 0))) == [(13, 81, ON), (0, 0, NOTHING)]
    assert said(drawn, previous=earlier()) == [(0, 0, NOTHING)]
    mask = asked(drawn).mask
    np.testing.assert_array_equal(mask[:, :WIDTH] > 0, area[..., 0].T)
    assert (mask[:, WIDTH:] < 0).all()


def test_something_must_be_on_the_object():
    with pytest.raises(PromptError, match="negative prompts only"):
        said(Point((10, 20, 0), positive=False), square(10, 40, positive=False))


def test_a_lone_click_is_ambiguous_until_something_was_found():
    click, other = Point((10, 20, 0)), Point((12, 20, 0))
    assert is_ambiguous(Prompts(GEOMETRY, (click,)), None)
    assert not is_ambiguous(Prompts(GEOMETRY, (click,)), earlier())
    assert not is_ambiguous(Prompts(GEOMETRY, (click, other)), None)
    assert not is_ambiguous(Prompts(GEOMETRY, (Box((2, 3, 0), (31, 60, 1)),)), None)
