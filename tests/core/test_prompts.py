"""Prompts: validity, moving between grids, and their JSON form."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.errors import GeometryMismatchError, PromptError, PromptOutsideImageError
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble, Text

GRID = Geometry.from_spacing((20, 30, 10), (1, 1, 3))


@pytest.mark.parametrize(
    ("start", "stop"), [((5, 0, 0), (5, 9, 9)), ((6, 0, 0), (5, 9, 9)), ((0.5, 0, 0), (5, 9, 9)), ((0, 0), (5, 9))]
)
def test_a_box_has_an_inside(start, stop):
    with pytest.raises(PromptError):
        Box(start, stop)


@pytest.mark.parametrize("index", [(1, 2), (1, 2, np.nan), (1, 2, np.inf)])
def test_a_point_is_three_finite_numbers(index):
    with pytest.raises(PromptError):
        Point(index)


@pytest.mark.parametrize(
    "item",
    [
        Point((20, 0, 0)),
        Point((0, 0, -1)),
        Box((0, 0, 0), (21, 5, 5)),
        Scribble(np.array([[0, 0, 0], [0, 30, 0]])),
        Lasso(np.array([[0, 0, 10], [5, 0, 10], [5, 5, 10]])),
    ],
)
def test_prompts_outside_the_image_are_refused(item):
    with pytest.raises(PromptOutsideImageError, match=item.kind):
        Prompts(GRID, (item,))


def test_a_box_may_end_where_the_image_ends():
    assert Prompts(GRID).add(Box((0, 0, 0), GRID.shape)).boxes


def test_points_on_one_voxel_must_agree():
    with pytest.raises(PromptError, match="same voxel"):
        Prompts(GRID, (Point((3, 4, 5)), Point((3.2, 4, 5), positive=False)))
    assert len(Prompts(GRID, (Point((3, 4, 5)), Point((3.2, 4, 5)))).points) == 2


def test_a_mask_prompt_has_the_image_shape_and_voxels():
    with pytest.raises(PromptError):
        MaskPrompt(np.zeros(GRID.shape, bool))
    with pytest.raises(GeometryMismatchError):
        Prompts(GRID, (MaskPrompt(np.ones((2, 2, 2), bool)),))


def test_a_lasso_stays_in_its_slice():
    with pytest.raises(PromptError, match="slice"):
        Lasso(np.array([[0, 0, 1], [5, 0, 2], [5, 5, 1]]))
    assert Lasso(np.array([[3, 0, 1], [3, 0, 2], [3, 5, 1]]), axis="i").slice_index == 3


def test_an_empty_text_is_refused():
    with pytest.raises(PromptError):
        Text("  ")


@given(
    st.tuples(st.integers(0, 9), st.integers(0, 14), st.integers(0, 4)),
    st.tuples(st.integers(1, 10), st.integers(1, 15), st.integers(1, 5)),
    st.sampled_from(["RAS", "LPS", "SAR", "PIL", "ASR"]),
)
def test_prompts_keep_their_place_on_a_reoriented_grid(start, size, code):
    change = GRID.reorientation(code)
    box = Box(start, tuple(a + n for a, n in zip(start, size, strict=True)))
    prompts = Prompts(GRID, (box, Point(start), Scribble(np.array([start]))))
    moved = prompts.to(change.target)
    block = np.zeros(GRID.shape, bool)
    block[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))] = True
    there = np.zeros(change.target.shape, bool)
    there[tuple(slice(a, b) for a, b in zip(moved.boxes[0].start, moved.boxes[0].stop, strict=True))] = True
    np.testing.assert_array_equal(there, change.apply(block))
    np.testing.assert_allclose(change.target.index_to_world(moved.points[0].index), GRID.index_to_world(start))
    assert moved.points[0].voxel == tuple(moved.of(Scribble)[0].voxels[0])


def test_a_mask_does_not_change_grid():
    prompts = Prompts(GRID, (MaskPrompt(np.ones(GRID.shape, bool)),))
    with pytest.raises(PromptError):
        prompts.to(GRID.crop((0, 0, 0), (5, 5, 5)))


def test_json_gives_the_same_prompts_back():
    mask = np.random.default_rng(0).random(GRID.shape) > 0.5
    prompts = Prompts(
        GRID,
        (
            Point((1, 2.5, 3), positive=False),
            Box((1, 2, 3), (4, 5, 6)),
            Scribble(np.array([[1, 2, 3], [2, 2, 3]]), positive=False),
            Lasso(np.array([[0, 0, 1], [5, 0, 1], [5, 5, 1]])),
            MaskPrompt(mask),
            Text("liver"),
        ),
    )
    text = json.dumps(prompts.to_dict())
    again = Prompts.from_dict(GRID, json.loads(text))
    assert json.dumps(again.to_dict()) == text
    np.testing.assert_array_equal(again.of(MaskPrompt)[0].mask, mask)


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "pointt", "index": [1, 2, 3]},
        {"index": [1, 2, 3]},
        {"kind": "point", "indx": [1, 2, 3]},
        {"kind": "box", "start": [1, 2, 3]},
        {"kind": "point", "index": "here"},
        {"kind": "point", "index": 3},
        {"kind": "lasso", "vertices": [["a"]]},
        {"kind": "scribble", "voxels": [[1, 2]]},
        {"kind": "mask", "runs": [1, 2]},
        {"kind": "mask", "runs": [-1, 6001]},
        {"kind": "mask", "runs": [2**62] * 4 + [6000]},  # in 64 bits their sum is 6000
        {"kind": "text", "text": 3},
        {"kind": "point", "index": [1, 2, 3], "positive": "no"},
    ],
)
def test_json_that_is_no_prompt_is_refused(entry):
    with pytest.raises(PromptError):
        Prompts.from_dict(GRID, [entry])


@pytest.mark.parametrize("first", [False, True])
def test_mask_runs_begin_with_background(first):
    mask = np.zeros((2, 2, 2), bool)
    mask[1, 1, 1], mask[0, 0, 0] = True, first
    prompts = Prompts(Geometry.from_spacing((2, 2, 2)), (MaskPrompt(mask),))
    entry = prompts.to_dict()[0]
    assert entry["runs"] == ([0, 1, 6, 1] if first else [7, 1])
    np.testing.assert_array_equal(Prompts.from_dict(prompts.geometry, [entry]).of(MaskPrompt)[0].mask, mask)
