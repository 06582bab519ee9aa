"""A ``Model`` made of a network: tried on one that gives what it is told to, and remembers what it was asked."""

from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.errors import GeometryMismatchError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, Point, Prompts
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.planar.network import DecoderSpec
from samaritan.models.published import published

WIDTH, HEIGHT = 40, 90
GEOMETRY = Geometry.picture(WIDTH, HEIGHT)
CARD = published("sam-vit-b").card
CLICK, OTHER, BOX = Point((10, 20, 0)), Point((12, 30, 0)), Box((2, 3, 0), (31, 60, 1))


class Told:
    """Gives the same four masks and scores whatever it is asked; the masks have a pixel for each of the plane."""

    def __init__(self, *, scores=(0.4, 0.2, 1.7, 0.6)):
        self.spec = DecoderSpec({"seen": (1, 3, 1, 1)}, HEIGHT)
        self.scores = np.array(scores, np.float32)
        self.logits = np.random.default_rng(0).normal(size=(len(scores), HEIGHT, HEIGHT)).astype(np.float32)
        self.asked = []

    def encode(self, picture):
        return {"seen": picture.mean(axis=(2, 3), keepdims=True)}

    def decode(self, features, tokens):
        self.asked.append(tokens)
        return self.logits, self.scores

    def to_arrays(self, features):
        return dict(features)

    def from_arrays(self, arrays):
        return dict(arrays)

    def on_plane(self, number):
        """Return a mask (i, j) of the plane: rows are j, and what is right of it is padding."""
        return self.logits[number, :, :WIDTH].T


@pytest.fixture
def network():
    return Told()


@pytest.fixture
def model(network):
    return PlanarModel(CARD, network, FrameSpec(2 * HEIGHT))


def image(width=WIDTH, height=HEIGHT):
    array = np.random.default_rng(width).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def decoded(model, *items, previous=None):
    return model.decode(model.embed(image()), Prompts(GEOMETRY, items), previous)


def test_a_lone_click_gets_all_masks_but_the_first_best_first(model, network):
    found = decoded(model, CLICK)
    np.testing.assert_allclose(found.scores, [1.0, 0.6, 0.2])  # what is beyond 1 is 1
    for at, number in enumerate((2, 3, 1)):
        np.testing.assert_allclose(found.logits[at, ..., 0], network.on_plane(number), atol=1e-6)


@pytest.mark.parametrize("items", [(BOX,), (CLICK, OTHER), (CLICK, BOX)], ids=["box", "clicks", "click and box"])
def test_what_leaves_no_doubt_gets_the_first_mask(model, network, items):
    found = decoded(model, *items)
    np.testing.assert_allclose(found.scores, [0.4])
    assert found.logits.shape == (1, WIDTH, HEIGHT, 1)
    np.testing.assert_allclose(found.logits[0, ..., 0], network.on_plane(0), atol=1e-6)


def test_a_click_on_an_earlier_prediction_gets_the_first_mask_and_shows_it(model, network):
    before = decoded(model, CLICK)
    found = decoded(model, CLICK, previous=before)
    np.testing.assert_allclose(found.scores, [0.4])
    assert network.asked[0].mask is None
    np.testing.assert_allclose(network.asked[1].mask[:, :WIDTH].T, before.logits[0, ..., 0], atol=1e-6)


def test_a_network_with_one_mask_gives_it_for_a_click_too():
    network = Told(scores=(-0.1,))
    found = decoded(PlanarModel(CARD, network, FrameSpec(2 * HEIGHT)), CLICK)
    np.testing.assert_allclose(found.scores, [0.0])
    np.testing.assert_allclose(found.logits[0, ..., 0], network.on_plane(0), atol=1e-6)


def test_the_mask_stays_within_a_lasso(model, network):
    corners = np.array([(9.5, 39.5, 0), (17.5, 39.5, 0), (17.5, 47.5, 0), (9.5, 47.5, 0)])
    found = decoded(model, Lasso(corners)).logits[0, ..., 0]
    within = np.s_[10:18, 40:48]
    np.testing.assert_allclose(found[within], network.on_plane(0)[within], atol=1e-6)
    found[within] = -1
    assert (found < 0).all()


def test_the_embedding_is_of_the_prepared_picture_and_is_kept(model):
    picture = image()
    embedding = model.embed(picture)
    wanted = FrameSpec(2 * HEIGHT).picture(picture).mean(axis=(2, 3))
    np.testing.assert_allclose(embedding.features["seen"][..., 0, 0], wanted)
    assert embedding.nbytes == 3 * 4
    kept = model.unpack(model.pack(embedding), picture.geometry)
    np.testing.assert_array_equal(kept.features["seen"], embedding.features["seen"])
    assert kept.geometry is picture.geometry


def test_what_cannot_be_answered_is_refused_before_the_network_is_asked(model, network):
    embedding = model.embed(image())
    other = Geometry.picture(HEIGHT, WIDTH)
    with pytest.raises(GeometryMismatchError):
        model.decode(embedding, Prompts(other, (CLICK,)))
    turned = Prediction(np.zeros((1, HEIGHT, WIDTH, 1), np.float32), np.ones(1, np.float32), other)
    with pytest.raises(GeometryMismatchError):
        model.decode(embedding, Prompts(GEOMETRY, (CLICK,)), turned)
    boxes_only = PlanarModel(replace(CARD, prompts=frozenset({"box"})), network, FrameSpec(2 * HEIGHT))
    with pytest.raises(UnsupportedPromptError, match="a point prompt"):
        boxes_only.decode(embedding, Prompts(GEOMETRY, (CLICK,)))
    assert not network.asked
