"""The window around a boxed object: what it holds, and that everything keeps its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
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
    offset = np.array((*zoom.start, 0))
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
    window = zoom.crop(plane, fill=-1)
    assert window.shape == (2, zoom.side, zoom.side, 1)
    back = zoom.paste(window, SHAPE, fill=-2)
    seen = back != -2
    assert np.array_equal(back[seen], plane[seen])
    assert seen[:, int(box[0, 0]) : int(box[1, 0]), int(box[0, 1]) : int(box[1, 1])].all()
    assert np.count_nonzero(window != -1) == np.count_nonzero(seen)


def test_a_small_box_is_looked_at_closely():
    box = Box((20, 10, 0), (30, 14, 1))
    zoom = Zoom.around(np.array([[20, 10], [30, 14.0]]), Prompts(GRID, (box,)))
    assert (zoom.start, zoom.side) == ((16, 3), 17)


def test_a_faint_window_is_stretched_and_padding_stays_black():
    plane = np.zeros((3, 40, 30, 1), np.float32)
    plane[:, :20], plane[:, 20:] = 100, 160
    zoom = Zoom((-10, -10), 60)
    window = zoom.stretch(zoom.crop(plane, fill=0.0), (40, 30, 1))
    assert window.shape == (3, 60, 60, 1)
    assert set(np.unique(window[:, 10:50, 10:40])) == {0.0, 255.0}
    assert window[:, :10].max() == 0


def test_noise_is_not_stretched_to_full_contrast():
    flat = np.full((50, 50, 1), 90, np.float32)
    flat[::2] += 4
    low, high = np.unique(stretched(flat))
    assert high - low == pytest.approx(4 * 255 / 40)
