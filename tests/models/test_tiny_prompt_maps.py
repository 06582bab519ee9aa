"""The prompt maps place every prompt where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from samaritan.models.tiny import prompt_maps
from samaritan.models.tiny.prompt_maps import CHANNELS, STRIDE, Scribbles, box_coverage, render

SHAPE = (64, 96)
MAP = (16, 24)


def _point(x, y):
    return np.array([[x, y]], np.float32)


def test_no_prompt_gives_empty_maps():
    maps = render(SHAPE)
    assert maps.shape == (CHANNELS, *MAP)
    assert maps.dtype == np.float32
    assert not maps.any()


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((0, 0, 96, 64), 96 * 64),
        ((4, 8, 8, 12), 16),  # one cell exactly
        ((5, 9, 6, 10), 1),  # one pixel
        ((10.25, 3.5, 30.75, 40.0), 20.5 * 36.5),
        ((-20, -20, 10, 10), 100),  # only what lies inside counts
        ((90, 60, 200, 200), 6 * 4),
        ((200, 200, 300, 300), 0),
    ],
)
def test_coverage_of_a_half_open_box_sums_to_its_area(box, area):
    coverage = box_coverage(np.array(box, float), MAP)
    assert coverage.sum() * STRIDE**2 == pytest.approx(area)
    assert coverage.min() >= 0
    assert coverage.max() <= 1


def test_a_box_of_one_pixel_covers_a_sixteenth_of_its_cell():
    coverage = box_coverage(np.array([5, 9, 6, 10], float), MAP)
    assert coverage[2, 1] == pytest.approx(1 / 16)
    assert np.count_nonzero(coverage) == 1


def test_box_coordinates_run_from_side_to_side():
    maps = render(SHAPE, box=np.array([16, 8, 80, 56], np.float32))
    rows, columns = np.mgrid[0 : MAP[0], 0 : MAP[1]]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    np.testing.assert_allclose(maps[6], np.clip((x - 48) / 64, -1, 1), atol=1e-6)
    np.testing.assert_allclose(maps[7], np.clip((y - 32) / 48, -1, 1), atol=1e-6)
    ellipse = ((x - 48) / 32) ** 2 + ((y - 32) / 24) ** 2 <= 1
    np.testing.assert_array_equal(maps[8] >= 0, ellipse)
    assert (maps[5] == 1).all()
    assert maps[9, 0, 0] == pytest.approx(np.log2(np.sqrt(64 * 48) / 128) / 4)


def test_points_peak_in_their_cell_and_keep_their_sign():
    maps = render(SHAPE, points=np.array([[10.0, 10.0], [70.0, 50.0]], np.float32), positive=np.array([True, False]))
    assert np.unravel_index(maps[0].argmax(), MAP) == (2, 2)  # x = 10 is the centre of the cell 8..12
    assert maps[0].max() == pytest.approx(1.0)
    assert np.unravel_index(maps[1].argmax(), MAP) == (12, 17)
    assert maps[0, 12, 17] < 1e-3


def test_nearness_falls_with_distance():
    maps = render(SHAPE, points=_point(10, 10), positive=np.array([True]))
    assert maps[2, 2, 10] == pytest.approx(np.exp(-32 / prompt_maps.REACH_PX), rel=1e-5)
    assert not maps[3].any()


def test_a_lone_click_has_a_frame_of_fixed_size_about_it():
    maps = render(SHAPE, points=_point(50, 30), positive=np.array([True]))
    assert maps[6, 7, 12] == pytest.approx(0.0)
    assert maps[6, 7, 13] == pytest.approx(STRIDE / prompt_maps.MIN_FRAME_PX)
    assert not maps[8].any()
    assert not maps[5].any()


def test_a_lone_negative_click_has_no_frame():
    maps = render(SHAPE, points=_point(50, 30), positive=np.array([False]))
    assert maps[1].any()
    assert not maps[[0, 2, *range(5, 16)]].any()


def test_a_scribble_marks_every_cell_it_touches():
    stroke = np.zeros(SHAPE, bool)
    stroke[9, 5:50] = True
    maps = render(SHAPE, scribbles=Scribbles(positive=stroke))
    expected = np.zeros(MAP, bool)
    expected[2, 1:13] = True
    np.testing.assert_array_equal(maps[0] == 1, expected)
    assert maps[2].max() == pytest.approx(1.0)
    assert not maps[1].any()


def test_a_scribble_over_everything_is_thinned():
    maps = render((512, 512), scribbles=Scribbles(negative=np.ones((512, 512), bool)))
    assert (maps[1] == 1).all()
    assert maps[3].min() > 0


def test_the_previous_mask_is_squashed_and_averaged():
    logits = np.full((32, 48), -8.0, np.float32)
    logits[0, 0] = 8.0
    maps = render(SHAPE, previous=logits)
    low = np.tanh(-2.0)
    assert maps[10, 0, 0] == pytest.approx((3 * low - low) / 4)
    assert maps[10, 5, 5] == pytest.approx(low)
    assert (maps[11] == 1).all()


def test_quarters_of_cells_keep_the_previous_mask_as_fine_as_it_was():
    logits = np.random.default_rng(0).normal(0, 4, (32, 48)).astype(np.float32)
    maps = render(SHAPE, previous=logits)
    # Row by row within a cell: PyTorch's pixel_shuffle(maps[12:16], 2) is the mask at half the frame's resolution.
    fine = maps[12:].reshape(2, 2, *MAP).transpose(2, 0, 3, 1).reshape(32, 48)
    np.testing.assert_allclose(fine, np.tanh(logits / 4), rtol=1e-6)
    np.testing.assert_allclose(maps[10], maps[12:].mean(axis=0), rtol=1e-6)
    assert not render(SHAPE)[10:].any()
    whole = render(SHAPE, previous=np.full((64, 96), 2.0, np.float32))
    np.testing.assert_allclose(whole[12:], np.tanh(0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((63, 96), {}, "multiples of 4"),
        (SHAPE, {"points": _point(1, 1)}, "give both or neither"),
        (SHAPE, {"previous": np.zeros((30, 48), np.float32)}, "do not divide"),
        (SHAPE, {"previous": np.zeros((16, 24), np.float32)}, "do not divide"),  # of cells, not of their quarters
    ],
)
def test_refuses_what_cannot_be_drawn(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        render(shape, **arguments)
