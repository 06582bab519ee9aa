import numpy as np
import pytest

from samaritan.core.errors import PromptError
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.infer import segment
from samaritan.infer.plan import plan
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import ct_volume, picture

VOLUME = ct_volume((48, 40, 24))


def asked(phantom, *items):
    return {"liver": Prompts(phantom.image.geometry, items)}


def counted(phantom, objects):
    """What is planned, and what segmenting then does: planes encoded and decoded."""
    planned = plan(FakeModel(), phantom.image, objects)
    model = FakeModel()
    segment(model, phantom.image, objects)
    return planned, (model.embeds, model.decodes)


def test_a_box_over_slices_is_counted_exactly():
    planned, done = counted(VOLUME, asked(VOLUME, VOLUME.box(1)))
    assert (planned.planes, planned.decodes) == done
    assert not planned.at_most


def test_a_picture_is_one_plane():
    flat = picture()
    planned, done = counted(flat, asked(flat, flat.box(1)))
    assert (planned.planes, planned.decodes) == done == (1, 1)
    assert not planned.at_most


def test_a_click_is_followed_nobody_knows_how_far():
    i, j, k = np.argwhere(VOLUME.mask(1)).mean(axis=0)
    planned, done = counted(VOLUME, asked(VOLUME, Point((round(i), round(j), round(k)))))
    assert planned.at_most
    assert plan(FakeModel(), VOLUME.image, asked(VOLUME, Box((5, 5, 4), (30, 30, 5)))).at_most
    assert planned.planes == 24 >= done[0]


def test_planes_that_two_objects_share_are_encoded_once():
    both = {"a": Prompts(VOLUME.image.geometry, (Box((5, 5, 4), (20, 20, 6)),)),
            "b": Prompts(VOLUME.image.geometry, (Box((20, 20, 5), (40, 38, 7)),))}  # fmt: skip
    planned, _ = counted(VOLUME, both)
    assert (planned.planes, planned.decodes) == (3, 4)


def test_more_planes_take_longer_and_more_room():
    one, all_ = (plan(FakeModel(), VOLUME.image, asked(VOLUME, Box((5, 5, 4), (30, 30, stop)))) for stop in (6, 24))
    assert all_.seconds > one.seconds > 0
    assert all_.disk == 11 * one.disk > 0  # 20 slices and two planes across them, to two slices; all of one size here
    assert all_.memory >= one.memory > 0


def test_what_cannot_be_segmented_cannot_be_planned():
    with pytest.raises(PromptError, match="only negative"):
        plan(FakeModel(), VOLUME.image, asked(VOLUME, Point((1, 1, 1), positive=False)))
