"""Prompts said in the kinds that a model takes."""

import numpy as np
import pytest

from samaritan.core.errors import UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import ModelCard
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer.translate import translate
from samaritan.testing import fake_model

GRID = Geometry.picture(40, 30)
SQUARE = Lasso(np.array([[9.5, 9.5, 0], [20.5, 9.5, 0], [20.5, 20.5, 0], [9.5, 20.5, 0]]))


def card(*kinds):
    fields = {name: getattr(fake_model.CARD, name) for name in ModelCard.__slots__}
    return ModelCard(**(fields | {"prompts": frozenset(kinds)}))


def said(item, *kinds):
    return translate(Prompts(GRID, (item,)), card(*kinds)).items


def test_what_the_model_takes_stays():
    assert said(SQUARE, "lasso", "point") == (SQUARE,)


def test_a_lasso_becomes_a_box_a_point_or_a_mask():
    assert said(SQUARE, "box") == (Box((10, 10, 0), (21, 21, 1)),)
    assert said(SQUARE, "point") == (Point((15, 15, 0)),)
    [mask] = said(SQUARE, "mask")
    assert mask.mask.sum() == 121
    assert [item.kind for item in said(SQUARE, "box", "point", "mask")] == ["mask", "box", "point"]


def test_an_outline_too_thin_to_hold_a_pixel_is_its_corners():
    thin = Lasso(np.array([[9.2, 9.2, 0], [9.4, 9.2, 0], [9.3, 9.4, 0]]))
    assert said(thin, "box", "point") == (Box((9, 9, 0), (10, 10, 1)), Point((9, 9, 0)))


def test_a_negative_lasso_becomes_a_negative_point_only():
    negative = Lasso(SQUARE.vertices, positive=False)
    assert said(negative, "box", "point", "mask") == (Point((15, 15, 0), positive=False),)


def test_a_mask_becomes_its_box_and_deepest_point():
    mask = np.zeros(GRID.shape, bool)
    mask[10:21, 10:21] = True
    assert said(MaskPrompt(mask), "box", "point") == (Box((10, 10, 0), (21, 21, 1)), Point((15, 15, 0)))


@pytest.mark.parametrize("positive", [True, False])
def test_a_scribble_becomes_a_few_points_along_it(positive):
    stroke = Scribble(np.array([[n, 5, 0] for n in range(35)]), positive)
    points = said(stroke, "point")
    assert 3 <= len(points) <= 8
    assert all(point.positive == positive and point.index[1] == 5 for point in points)
    columns = sorted(point.index[0] for point in points)
    assert (columns[0], columns[-1]) == (0, 34)
    assert len(said(Scribble(np.array([[3, 3, 0]])), "point")) == 1


def test_what_cannot_be_said_is_refused():
    prompts = translate(Prompts(GRID, (Point((3, 3, 0)),)), card("box"))
    with pytest.raises(UnsupportedPromptError, match="point"):
        card("box").require_prompts(prompts)
