import numpy as np
import pytest

from samaritan.core.errors import ImageError
from samaritan.core.prompts import Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import picture


@pytest.fixture
def phantom():
    return picture(colour=True)


@pytest.fixture
def model():
    return FakeModel()


def decode(model, phantom, *items, previous=None):
    return model.decode(model.embed(phantom.image), Prompts(phantom.image.geometry, items), previous)


@pytest.mark.parametrize("label", [1, 2])
@pytest.mark.parametrize("margin", [0, 3])
def test_a_box_gives_exactly_the_object_in_it(model, phantom, label, margin):
    prediction = decode(model, phantom, phantom.box(label, margin=margin))
    np.testing.assert_array_equal(prediction.mask, phantom.mask(label))
    assert prediction.score > 0.9


def inner_point(phantom, label, *, positive=True):
    where = np.argwhere(phantom.mask(label))
    return Point(tuple(where[len(where) // 2]), positive)


@pytest.mark.parametrize("label", [1, 2])
def test_a_click_gives_exactly_the_object_under_it(model, phantom, label):
    np.testing.assert_array_equal(decode(model, phantom, inner_point(phantom, label)).mask, phantom.mask(label))


def test_a_scribble_gives_the_object_under_it(model, phantom):
    scribble = Scribble(np.argwhere(phantom.mask(2))[::7])
    np.testing.assert_array_equal(decode(model, phantom, scribble).mask, phantom.mask(2))


def test_a_lasso_gives_the_object_in_it(model, phantom):
    box = phantom.box(1, margin=2)
    (x0, y0, _), (x1, y1, _) = box.start, box.stop
    lasso = Lasso(np.array([(x0, y0, 0), (x1, y0, 0), (x1, y1, 0), (x0, y1, 0)]))
    np.testing.assert_array_equal(decode(model, phantom, lasso).mask, phantom.mask(1))


def test_a_rough_mask_is_drawn_to_the_object(model, phantom):
    rough = np.roll(phantom.mask(1), 2, axis=0)
    np.testing.assert_array_equal(decode(model, phantom, MaskPrompt(rough)).mask, phantom.mask(1))


def test_clicks_add_to_and_take_from_the_previous_prediction(model, phantom):
    first = decode(model, phantom, inner_point(phantom, 1))
    both = decode(model, phantom, inner_point(phantom, 2), previous=first)
    np.testing.assert_array_equal(both.mask, phantom.mask(1) | phantom.mask(2))
    again = decode(model, phantom, inner_point(phantom, 1, positive=False), previous=both)
    np.testing.assert_array_equal(again.mask, phantom.mask(2))


def test_where_there_is_nothing_the_score_is_low(model, phantom):
    empty = np.zeros(phantom.image.shape, bool)
    empty[:6, -6:] = True
    assert decode(model, phantom, MaskPrompt(empty)).score < 0.1


def test_it_counts_its_calls(model, phantom):
    decode(model, phantom, inner_point(phantom, 1))
    assert (model.embeds, model.decodes) == (1, 1)


def test_other_channels_than_the_cards_are_refused(model):
    with pytest.raises(ImageError, match="3 channels"):
        model.embed(picture(colour=False).image)
