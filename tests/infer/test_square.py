"""Planes whose pixels are not square, stretched until they are, and answers brought back."""

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box
from samaritan.infer.square import SquareView


@pytest.fixture(params=[(1, 1, 1), (1, 5, 1), (4, 1, 1), (0.7, 2.4, 1)], ids=str)
def plane(request):
    return Geometry.from_spacing((24, 30, 1), request.param)


def test_pixels_are_square_and_as_fine_as_the_finer_side(plane):
    view = SquareView.of(plane)
    sides = np.array(plane.shape[:2]) * plane.spacing[:2]
    assert np.abs(np.array(view.geometry.shape[:2]) - sides / min(plane.spacing[:2])).max() <= 0.5
    assert view.is_plane_itself == (plane.spacing[0] == plane.spacing[1])


def test_a_box_covers_the_same_part_of_the_picture(plane):
    view = SquareView.of(plane)
    found = view.box(Box((3, 4, 0), (20, 29, 1)))
    scale = np.array(view.geometry.shape[:2]) / plane.shape[:2]
    assert np.abs(found.start[:2] - np.array((3, 4)) * scale).max() < 1
    assert np.abs(found.stop[:2] - np.array((20, 29)) * scale).max() < 1
    assert np.all(np.array(found.stop[:2]) <= view.geometry.shape[:2])


def test_what_is_found_comes_back_to_where_it_was(plane):
    view = SquareView.of(plane)
    inside = np.zeros((24, 30), bool)
    inside[5:13, 8:23] = True
    image = Image(np.where(inside, 200, 20).astype(np.float32)[None, :, :, None], plane)
    shown = view.image(image)
    assert shown.geometry == view.geometry
    found = Prediction(shown.array - 110, np.array([0.9], np.float32), view.geometry)
    back = view.back(found)
    assert back.geometry == plane
    assert np.array_equal(back.mask[..., 0], inside)
