import numpy as np
import pytest

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.sam2.route import Route, heeds

GRID = Geometry.from_spacing((8, 9, 20), (0.5, 0.5, 3.0))


def route(*items):
    return Route.of(Prompts(GRID, items))


def mask(slices):
    array = np.zeros(GRID.shape, bool)
    array[2:4, 3:6, slices] = True
    return MaskPrompt(array)


def kept(route):
    """Return what is kept of a volume that is object everywhere."""
    return np.stack([route.kept(k, np.ones(GRID.shape[:2], np.float32)) for k in range(GRID.shape[2])], axis=-1)


def test_prompts_ask_about_their_own_slices():
    found = route(Point((1.5, 2, 7.4)), Point((1, 1, 7), positive=False), Scribble(np.array([[1, 2, 3], [2, 2, 9]])))
    assert set(found.starts) == {3, 7, 9}
    assert found.starts[7].items == (Point((1.5, 2, 0)), Point((1, 1, 0), positive=False))
    np.testing.assert_array_equal(found.starts[9].items[0].voxels, [[2, 2, 0]])
    assert found.starts[3].geometry == GRID.plane("k", 3)
    assert (found.start, found.stop) == (0, 20)


def test_a_box_asks_about_its_middle_and_bounds_the_rest():
    found = route(Box((1, 2, 4), (5, 6, 11)), Point((2, 3, 15)))
    assert found.starts[7].items == (Box((1, 2, 0), (5, 6, 1)),)
    assert (found.start, found.stop) == (4, 16)
    assert found.is_bounded
    logits = kept(found)
    assert (logits[1:5, 2:6, 4:11] == 1).all()
    assert (logits[..., 15] == 1).all()
    assert (logits > 0).sum() == 4 * 4 * 7 + 8 * 9


def test_a_box_in_one_slice_bounds_nothing():
    found = route(Box((1, 2, 4), (5, 6, 5)))
    assert set(found.starts) == {4}
    assert (found.start, found.stop) == (0, 20)
    assert not found.is_bounded
    assert (kept(found) == 1).all()


def test_of_two_boxes_both_are_kept():
    found = route(Box((0, 0, 2), (3, 3, 6)), Box((4, 4, 5), (8, 8, 9)))
    assert (kept(found) > 0).sum() == 9 * 4 + 16 * 4
    assert (found.start, found.stop) == (2, 9)


def test_a_mask_in_one_slice_is_taken_as_it_is_and_followed():
    found = route(mask([6]))
    assert found.drawn == {6}
    assert (found.start, found.stop) == (0, 20)
    assert not route(mask([6]), Point((1, 1, 6), positive=False)).drawn


def test_a_mask_over_slices_is_not_followed_beyond_them():
    found = route(mask([5, 6, 9]))
    assert set(found.starts) == {5, 6, 9}
    assert not found.drawn
    assert (found.start, found.stop) == (5, 10)
    beyond = route(mask([5, 6, 9]), Point((1, 1, 14)))
    assert (beyond.start, beyond.stop) == (0, 20)


def test_negative_prompts_alone_correct_their_slice():
    found = route(Point((1, 1, 3)), Point((1, 1, 8), positive=False), Scribble(np.array([[1, 2, 9]]), positive=False))
    assert set(found.starts) == {3}
    assert set(found.corrections) == {8, 9}


def test_a_lasso_lies_in_a_slice_along_k():
    outline = np.array([(1.0, 1, 6), (5, 1, 6), (5, 5, 6)])
    (lasso,) = route(Lasso(outline)).starts[6].items
    np.testing.assert_array_equal(lasso.vertices, outline * (1, 1, 0))
    with pytest.raises(PromptError, match="across axis i"):
        route(Lasso(outline[:, ::-1], axis="i"))


@pytest.mark.parametrize("box", [Box((3, 2, 4), (4, 8, 9)), Box((1, 5, 4), (7, 6, 9))], ids=["i", "j"])
def test_a_box_drawn_across_another_axis_is_refused(box, request):
    with pytest.raises(PromptError, match=f"a box drawn across axis {request.node.callspec.id}.*along k"):
        route(box)


def test_a_thin_box_may_be_that_of_a_thin_object():
    for box in (Box((3, 2, 4), (4, 4, 9)), Box((3, 2, 4), (4, 8, 5))):
        assert len(route(box).starts) == 1
    row = Geometry.from_spacing((1, 9, 20))
    assert Route.of(Prompts(row, (Box((0, 1, 2), (1, 8, 9)),))).starts


PLANE = GRID.plane("k", 3)


def heeded(*items, area=(slice(2, 6), slice(3, 8))):
    logits = np.full((1, *PLANE.shape), -1, np.float32)
    logits[(0, *area)] = 1
    return heeds(Prediction(logits, np.ones(1, np.float32), PLANE), Prompts(PLANE, items))


def stroke(*voxels):
    return np.array([(i, j, 0) for i, j in voxels])


def drawn(area):
    array = np.zeros(PLANE.shape, bool)
    array[area] = True
    return MaskPrompt(array)


OUTLINE = np.array([(1.6, 2.6, 0), (5.4, 2.6, 0), (5.4, 7.4, 0), (1.6, 7.4, 0)])


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([Point((2.4, 3, 0))], True),
        ([Point((1.4, 3, 0))], False),
        ([Point((2, 3, 0)), Point((1, 3, 0), positive=False)], True),
        ([Point((2, 3, 0)), Point((3, 3, 0), positive=False)], False),
        ([Scribble(stroke((2, 3), (3, 3)))], True),
        ([Scribble(stroke((2, 3), (1, 3)))], False),
        ([Scribble(stroke((1, 3), (2, 3)), positive=False)], False),
        ([Lasso(OUTLINE)], True),
        ([Lasso(OUTLINE + np.array([2, -2.5, 0]))], False),
        ([Lasso(OUTLINE * (0.5, 1, 1), positive=False)], False),
        ([drawn((slice(2, 5), slice(3, 8)))], True),
        ([drawn((slice(0, 3), slice(3, 8)))], False),
        ([Box((2, 3, 0), (6, 8, 1))], True),
        ([Box((1, 2, 0), (6, 9, 1))], True),
        ([Box((4, 2, 0), (8, 9, 1))], False),
        ([Box((3, 4, 0), (5, 6, 1))], False),
    ],
)
def test_a_mask_heeds_what_it_does_as_asked(items, expected):
    assert heeded(*items) == expected


def test_no_mask_heeds_no_box():
    assert not heeded(Box((2, 3, 0), (6, 8, 1)), area=(slice(0), slice(0)))
