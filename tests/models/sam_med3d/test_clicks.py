"""Clicks lie in the window where they lie in the volume, and drawn masks count as long as nothing refutes them."""

import numpy as np
import pytest
from scipy import ndimage

from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import MaskPrompt, Point, Prompts, Scribble
from samaritan.models.sam_med3d.clicks import SURE, Clicks, start_logits
from samaritan.models.sam_med3d.lattice import Lattice, centre_of

FLIPPED = np.array([[0, -1.2, 0, 60], [0.9, 0, 0, -20], [0, 0, -2.6, 70], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [np.diag([0.9, 1.2, 2.6, 1]), np.diag([3.1, 0.7, 1.5, 1]), FLIPPED])
def test_a_click_lies_in_the_window_where_it_lies_in_the_volume(affine):
    geometry = Geometry((40, 50, 20), affine)
    lattice = Lattice(geometry)
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    ramp = geometry.index_to_world(index) @ [30.0, -40.0, 20.0]
    clicked = [(12.0, 31.0, 7.0), (20.3, 8.6, 11.5), (5.0, 40.0, 3.2)]
    places = Clicks.of(Prompts(geometry, tuple(map(Point, clicked))), None, lattice).places
    start = np.array([-8, -4, -20])
    window = lattice.read(ramp, start, start + 120, fill=0)
    seen = ndimage.map_coordinates(window, (places - start).T, order=1)
    np.testing.assert_allclose(seen, geometry.index_to_world(clicked) @ [30.0, -40.0, 20.0], atol=0.1)


def test_a_cell_is_four_cubes():
    lattice = Lattice(Geometry.from_spacing((16, 20, 9), (1.5, 3.0, 1.5)))
    assert lattice.shape == (16, 40, 9)
    assert lattice.cells == (4, 10, 3)
    assert centre_of((1, 0, 2)).tolist() == [5.5, 1.5, 9.5]
    assert [lattice.cell_of(np.array(place)) for place in ((3.4, 3.6, 8.0), (-9.0, 0.0, 99.0))] == [
        (0, 1, 2),
        (0, 0, 2),
    ]


GEOMETRY = Geometry.from_spacing((8, 8, 8))


def block(start, stop):
    mask = np.zeros(GEOMETRY.shape, np.bool_)
    mask[start:stop] = True
    return mask


def previous(mask):
    return Prediction(np.where(mask, 2.5, -2.5).astype(np.float32)[None], np.array([0.5], np.float32), GEOMETRY)


def test_a_drawn_mask_is_what_one_starts_from():
    found = start_logits(Prompts(GEOMETRY, (MaskPrompt(block(0, 4)), MaskPrompt(block(3, 5)))), None)
    assert np.array_equal(found, np.where(block(0, 5), SURE, -SURE))


def test_without_a_mask_there_is_nothing_to_start_from_but_an_earlier_prediction():
    click = Prompts(GEOMETRY, (Point((1, 1, 1)),))
    assert start_logits(click, None) is None
    assert np.array_equal(start_logits(click, previous(block(0, 4))), np.where(block(0, 4), 2.5, -2.5))


@pytest.mark.parametrize(
    ("beside", "heeded"),
    [
        ((), True),
        ((Point((5, 1, 1), positive=False),), False),
        ((Scribble(np.array([[5, 1, 1]]), positive=False),), False),
        ((Point((1, 1, 1), positive=False),), True),
    ],
)
def test_a_mask_that_an_earlier_prediction_did_not_heed_was_drawn_since_unless_a_mark_refutes_it(beside, heeded):
    prompts = Prompts(GEOMETRY, (MaskPrompt(block(4, 8)), *beside))
    found = start_logits(prompts, previous(block(0, 4)))
    assert np.array_equal(found[4:] == SURE, np.full((4, 8, 8), heeded))
    assert (found[:4] == 2.5).all()


def test_a_mask_that_an_earlier_prediction_heeded_says_no_more():
    prompts = Prompts(GEOMETRY, (MaskPrompt(block(2, 5)),))
    assert np.array_equal(start_logits(prompts, previous(block(0, 4))), previous(block(0, 4)).logits[0])
