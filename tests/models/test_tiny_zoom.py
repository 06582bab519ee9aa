"""The window around a boxed object: what it holds, and that everything keeps its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.letterbox import Letterbox
from samaritan.models.tiny.zoom import Zoom, stretched

SHAPE = (60, 40)
GRID = Geometry.picture(*SHAPE)


@st.composite
def prompted(draw):
    """Return a box as the adapter has it, and prompts of every kind anywhere in the plane."""
    start = draw(st.tuples(st.integers(0, 58), st.integers(0, 38)))
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True))
    place = st.tuples(st.integers(0, 59), st.integers(0, 39), st.just(0))
    mask = np.zeros((*SHAPE, 1), bool)
    mask[draw(place)] = True
    items = (
        Box((*start, 0), (*stop, 1)),
        Point(draw(place)),
        Scribble(np.array([draw(place), draw(place)])),
        Lasso(np.array([draw(place) for _ in range(3)])),
        MaskPrompt(mask),
    )
    return np.array([start, stop], float), Prompts(GRID, items)


@given(prompted())
def test_the_window_holds_all_prompts_and_moves_them_with_the_image(case):
    box, prompts = case
    zoom = Zoom.around(box, prompts)
    moved = zoom.prompts(prompts)  # raises if one lies outside
    offset = np.array((*zoom.origin(SHAPE), 0))
    assert np.array_equal(np.add(moved.boxes[0].start, offset), prompts.boxes[0].start)
    assert np.array_equal(np.add(moved.points[0].index, offset), prompts.points[0].index)
    assert np.array_equal(moved.of(Scribble)[0].voxels + offset, prompts.of(Scribble)[0].voxels)
    assert np.array_equal(moved.of(Lasso)[0].vertices + offset, prompts.of(Lasso)[0].vertices)
    there, here = np.argwhere(moved.of(MaskPrompt)[0].mask), np.argwhere(prompts.of(MaskPrompt)[0].mask)
    assert np.array_equal(there + offset, here)


@given(prompted())
def test_what_was_cropped_is_pasted_where_it_was(case):
    box, prompts = case
    zoom = Zoom.around(box, prompts)
    plane = np.random.default_rng(0).random((2, *SHAPE, 1), np.float32)
    part = zoom.crop(plane)
    back = zoom.paste(part, SHAPE, fill=-2)
    seen = back != -2
    assert np.array_equal(back[seen], plane[seen])
    assert seen[:, int(box[0, 0]) : int(box[1, 0]), int(box[0, 1]) : int(box[1, 1])].all()
    assert part.size == np.count_nonzero(seen)


@given(prompted())
def test_a_part_lies_in_the_frame_where_the_window_has_it(case):
    box, prompts = case
    zoom = Zoom.around(box, prompts)
    letterbox = zoom.letterbox(SHAPE, side=64, multiple=32)
    window = Letterbox.fit((zoom.side, zoom.side), side=64, multiple=32)
    assert letterbox.plane == zoom.crop(np.zeros((1, *SHAPE, 1))).shape[1:3]
    place = np.array(zoom.origin(SHAPE))
    np.testing.assert_allclose(letterbox.to_frame([0, 0]), window.to_frame(place - zoom.start), atol=1e-9)


def test_a_small_box_is_looked_at_closely():
    box = Box((20, 10, 0), (30, 14, 1))
    zoom = Zoom.around(np.array([[20, 10], [30, 14.0]]), Prompts(GRID, (box,)))
    assert (zoom.start, zoom.side) == ((16, 3), 17)


def test_a_faint_window_is_stretched_and_padding_stays_black():
    plane = np.zeros((3, 40, 30, 1), np.uint8)
    plane[:, :20], plane[:, 20:] = 100, 160
    zoom = Zoom((-10, -10), 60)
    frame = zoom.seen(plane, zoom.letterbox((40, 30), side=120, multiple=120))
    assert frame.shape == (3, 120, 120)
    assert set(np.unique(frame[:, 20:80, 20:58])) == {0.0}  # rows are j, columns i
    assert set(np.unique(frame[:, 20:80, 62:100])) == {255.0}
    for padding in (frame[:, :20], frame[:, 80:], frame[:, :, :20], frame[:, :, 100:]):
        assert padding.max() == 0


def test_negative_marks_outside_the_window_are_left_out():
    inside, outside = Point((22, 11, 0), positive=False), Point((50, 35, 0), positive=False)
    stroke = Scribble(np.array([[21, 10, 0], [55, 30, 0]]), positive=False)
    box = Box((20, 10, 0), (30, 14, 1))
    prompts = Prompts(GRID, (box, inside, outside, stroke))
    zoom = Zoom.around(np.array([[20, 10], [30, 14.0]]), prompts)
    assert zoom.side == 17
    moved = zoom.prompts(prompts)
    assert [point.voxel for point in moved.points] == [(6, 8, 0)]
    assert moved.of(Scribble)[0].voxels.tolist() == [[5, 7, 0]]


def _square(start, stop):
    (i0, j0), (i1, j1) = start, stop
    return Lasso(np.array([(i0, j0, 0), (i1, j0, 0), (i1, j1, 0), (i0, j1, 0.0)]), positive=False)


def test_a_negative_lasso_is_a_negative_scribble_of_its_pixels_in_the_window():
    box = Box((20, 10, 0), (30, 14, 1))
    across, outside = _square((29.5, 15.5), (50.5, 30.5)), _square((49.5, 29.5), (55.5, 35.5))
    prompts = Prompts(GRID, (box, across, outside))
    zoom = Zoom.around(np.array([[20, 10], [30, 14.0]]), prompts)
    assert (zoom.start, zoom.side) == ((16, 3), 17)
    moved = zoom.prompts(prompts)
    assert len(moved.items) == 2
    (stroke,) = moved.of(Scribble)
    assert not stroke.positive
    wanted = [(i - 16, j - 3, 0) for i in range(30, 33) for j in range(16, 20)]
    assert sorted(map(tuple, stroke.voxels.tolist())) == wanted


def test_a_mask_is_cut_off_where_the_plane_goes_on():
    logits = np.full((20, 20), -1.0, np.float32)
    logits[:, :5] = 1.0
    assert Zoom((5, 5), 20).cut_off(logits, SHAPE) == pytest.approx((20 + 0 + 5 + 5) / 80)
    assert Zoom((5, 0), 20).cut_off(logits, SHAPE) == pytest.approx((0 + 5 + 5) / 60)  # j = 0 is the plane's own border
    assert Zoom((-5, -5), 80).cut_off(np.ones(SHAPE, np.float32), SHAPE) == 0.0


def test_noise_is_not_stretched_to_full_contrast():
    flat = np.full((50, 50, 1), 90, np.float32)
    flat[::2] += 4
    low, high = np.unique(stretched(flat))
    assert high - low == pytest.approx(4 * 255 / 40)
