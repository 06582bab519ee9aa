import numpy as np
import pytest

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.prompt_areas import (
    bounds,
    deepest,
    drawn_areas,
    extent,
    inside,
    keep_within_lasso,
    positive_marks,
    require_start,
    spread,
    start_logits,
)

WIDTH, HEIGHT = 40, 90
PLANE = (WIDTH, HEIGHT)
GEOMETRY = Geometry.picture(WIDTH, HEIGHT)


def prompts(*items):
    return Prompts(GEOMETRY, items)


def area(i, j):
    """Return the mask (i, j) of a block, given as two slices."""
    mask = np.zeros(PLANE, bool)
    mask[i, j] = True
    return mask


def drawn(mask):
    return MaskPrompt(mask[..., None])


def found(mask):
    logits = np.where(mask, np.float32(3), np.float32(-2))
    return Prediction(logits[None, ..., None], np.array([0.9], np.float32), GEOMETRY)


def lasso(i, j, *, positive=True):
    """Return the outline along the edges of a block, given as two slices."""
    corners = [(i.start, j.start), (i.stop, j.start), (i.stop, j.stop), (i.start, j.stop)]
    return Lasso(np.array([(*corner, 0) for corner in corners]) - (0.5, 0.5, 0), positive=positive)


BLOCK = (slice(10, 18), slice(50, 70))


def test_bounds_are_half_open_and_those_of_nothing_are_none():
    np.testing.assert_array_equal(bounds(area(*BLOCK)), [(10, 50), (18, 70)])
    np.testing.assert_array_equal(bounds(area(39, 89)), [(39, 89), (40, 90)])
    assert bounds(np.zeros(PLANE, bool)) is None


def test_a_lasso_holds_the_pixels_whose_centres_are_within():
    np.testing.assert_array_equal(inside(lasso(*BLOCK), PLANE), area(*BLOCK))


def test_a_lasso_too_thin_for_that_holds_the_pixels_at_its_corners():
    thin = Lasso(np.array([(3.2, 7.3, 0), (3.4, 7.3, 0), (5.3, 7.4, 0)]))
    np.testing.assert_array_equal(inside(thin, PLANE), area([3, 5], [7, 7]))


def test_the_deepest_pixel_is_in_the_middle_of_the_widest_part():
    shape = area(slice(10, 19), slice(40, 49)) | area(14, slice(0, 90))
    np.testing.assert_array_equal(deepest(shape), (14, 44))
    np.testing.assert_array_equal(deepest(area(slice(0, 7), slice(0, 7))), (3, 3))  # outside of the plane is outside


def test_a_few_places_stand_for_all_from_the_middle_outwards():
    line = np.array([(float(x), 3.0) for x in range(33)])
    chosen = spread(line)
    assert chosen[0] == 16
    assert set(chosen[1:3]) == {0, 32}
    assert set(chosen[3:5]) == {8, 24}
    assert len(set(chosen)) == len(chosen) == 8
    assert spread(np.array([(1.0, 2.0, 3.0)] * 5)) == [0]  # one place, however often


def test_negative_marks_alone_are_no_start():
    beside = prompts(Point((1, 1, 0), positive=False), lasso(*BLOCK, positive=False))
    with pytest.raises(PromptError, match="negative prompts only"):
        require_start(beside, None)
    require_start(beside, found(area(*BLOCK)))
    require_start(beside.add(Box((1, 1, 0), (2, 2, 1))), None)


def test_positive_marks_are_points_and_scribbles():
    line = Scribble(np.array([(1, 2, 0), (1, 3, 0)]))
    marks = positive_marks(
        prompts(
            Point((5.4, 6, 0)), Point((7, 7, 0), positive=False), line, Scribble(np.array([(9, 9, 0)]), positive=False)
        )
    )
    assert [mark.tolist() for mark in marks] == [[[5, 6, 0]], [[1, 2, 0], [1, 3, 0]]]


BOX, FAR_BOX = Box((2, 3, 0), (5, 7, 1)), Box((20, 60, 0), (31, 65, 1))
CLICK = Point((30, 20, 0))


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ((BOX, FAR_BOX), [(2, 3), (31, 65)]),
        ((BOX, lasso(*BLOCK)), [(2, 3), (18, 70)]),
        ((BOX, lasso(*BLOCK, positive=False), CLICK), [(2, 3), (5, 7)]),
        ((drawn(area(*BLOCK)),), [(10, 50), (18, 70)]),
        ((drawn(area(*BLOCK)), CLICK), None),
        ((CLICK,), None),
    ],
    ids=["boxes", "box and lasso", "negative lasso", "mask", "mask and click", "click"],
)
def test_an_object_reaches_as_far_as_is_said(items, wanted):
    reach = extent(prompts(*items))
    assert (reach is None) == (wanted is None)
    if wanted is not None:
        np.testing.assert_array_equal(reach, wanted)


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ((CLICK,), [(10, 20), (31, 70)]),
        ((Point((30, 20, 0), positive=False),), [(10, 50), (18, 70)]),
        ((Scribble(np.array([(12, 55, 0), (5, 80, 0)])),), [(5, 50), (18, 81)]),
        ((drawn(area(slice(1, 4), slice(1, 9))),), [(1, 1), (18, 70)]),
        ((drawn(area(slice(1, 4), slice(1, 9))), CLICK), [(1, 1), (31, 70)]),
        ((BOX, CLICK), [(2, 3), (5, 7)]),
    ],
    ids=["click", "negative click", "scribble", "mask drawn since", "mask and click", "box"],
)
def test_after_a_prediction_it_reaches_as_far_as_that_and_what_was_marked_since(items, wanted):
    np.testing.assert_array_equal(extent(prompts(*items), found(area(*BLOCK))), wanted)


def test_after_an_empty_prediction_marks_say_nothing_of_how_far_it_reaches():
    assert extent(prompts(CLICK), found(np.zeros(PLANE, bool))) is None


def test_masks_and_lassos_are_drawn_areas():
    other = (slice(1, 4), slice(1, 9))
    areas = drawn_areas(prompts(lasso(*BLOCK), drawn(area(*other)), lasso(*other, positive=False)), None)
    np.testing.assert_array_equal(areas, [area(*other), area(*BLOCK)])


@pytest.mark.parametrize("how", [lasso, lambda *block: drawn(area(*block))], ids=["lasso", "mask"])
def test_what_the_prediction_heeded_or_a_mark_took_back_is_not_drawn_anew(how):
    shape = how(*BLOCK)
    heeded, scarcely = area(slice(10, 14), BLOCK[1]), area(slice(10, 13), BLOCK[1])  # half of it, and less
    assert drawn_areas(prompts(shape), found(heeded)) == []
    np.testing.assert_array_equal(drawn_areas(prompts(shape), found(scarcely)), [area(*BLOCK)])
    for mark in (
        Point((17, 60, 0), positive=False),
        Scribble(np.array([(17, 60, 0)]), positive=False),
        lasso(slice(16, 22), slice(55, 58), positive=False),
    ):
        assert drawn_areas(prompts(shape, mark), found(scarcely)) == []
    elsewhere = Point((3, 3, 0), positive=False)
    np.testing.assert_array_equal(drawn_areas(prompts(shape, elsewhere), found(scarcely)), [area(*BLOCK)])


def test_it_starts_from_what_was_found_and_what_was_drawn_since():
    shape, before = area(*BLOCK), found(area(slice(1, 4), slice(1, 9)))
    assert start_logits(prompts(CLICK), None) is None
    np.testing.assert_array_equal(start_logits(prompts(CLICK), before), before.logits)
    np.testing.assert_array_equal(start_logits(prompts(drawn(shape)), None)[0, ..., 0], np.where(shape, 8, -8))
    np.testing.assert_array_equal(
        start_logits(prompts(drawn(shape)), before)[0, ..., 0], np.where(shape, 8, before.logits[0, ..., 0])
    )


def test_a_mask_stays_within_its_lasso_unless_a_mark_lies_outside():
    logits = np.full((2, *PLANE, 1), 2, np.float32)
    kept = keep_within_lasso(logits, prompts(lasso(*BLOCK), Point((15, 55, 0))))
    for mask in kept[..., 0]:
        np.testing.assert_array_equal(mask, np.where(area(*BLOCK), 2, -8))
    assert keep_within_lasso(logits, prompts(lasso(*BLOCK), CLICK)) is logits
    assert keep_within_lasso(logits, prompts(lasso(*BLOCK, positive=False), CLICK)) is logits
