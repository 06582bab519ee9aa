"""Model cards and predictions: what cannot be built."""

import pickle

import numpy as np
import pytest

from samaritan.core.errors import GeometryMismatchError, ImageError, UnknownNameError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import ModelCard, Prediction, decode_all, embed_all, images_at_once
from samaritan.core.prompts import Point, Prompts, Text
from samaritan.testing import FakeModel

GRID = Geometry.picture(4, 3)


def card(**changes):
    fields = {
        "name": "x", "family": "sam", "title": "X", "licence": "MIT", "commercial_use": True,
        "native_shape": (64, 64), "dims": 2, "prompts": frozenset({"point"}), "sha256": "0" * 64,
    }  # fmt: skip
    return ModelCard(**(fields | changes))


def test_a_card_names_prompts_that_exist():
    with pytest.raises(UnknownNameError, match="prompt kind"):
        card(prompts=frozenset({"points"}))


def test_a_card_refuses_no_prompt_and_prompts_the_model_does_not_take():
    card().require_prompts(Prompts(GRID, (Point((1, 1, 0)),)))
    with pytest.raises(UnsupportedPromptError, match="no prompt"):
        card().require_prompts(Prompts(GRID))
    with pytest.raises(UnsupportedPromptError, match="text"):
        card().require_prompts(Prompts(GRID, (Text("liver"),)))


def test_a_prediction_is_best_first_and_on_its_grid():
    logits = np.zeros((2, 4, 3, 1), np.float32)
    logits[0, 1] = 1
    prediction = Prediction(logits, np.array([0.9, 0.5], np.float32), GRID)
    assert prediction.mask.sum() == 3
    assert prediction.score == pytest.approx(0.9)
    with pytest.raises(ImageError, match="best first"):
        Prediction(logits, np.array([0.5, 0.9], np.float32), GRID)
    with pytest.raises(ImageError):
        Prediction(logits, np.array([0.5], np.float32), GRID)
    with pytest.raises(GeometryMismatchError):
        Prediction(logits, np.array([0.9, 0.5], np.float32), Geometry.picture(3, 4))


class Batching(FakeModel):
    """Does several at once, and keeps a record."""

    def most_images(self):
        return 5

    def __init__(self):
        super().__init__()
        self.embedded, self.decoded = [], []

    def embed_batch(self, images):
        self.embedded.append(len(images))
        return [self.embed(image) for image in images]

    def decode_batch(self, embedding, prompts, previous=None):
        self.decoded.append(previous)
        return [self.decode(embedding, asked) for asked in prompts]


def planes(count):
    rng = np.random.default_rng(0)
    return [Image(rng.uniform(0, 255, (3, 4, 3, 1)), GRID, RGB) for _ in range(count)]


def clicks(*columns):
    return [Prompts(GRID, (Point((column, 1, 0)),)) for column in columns]


def test_any_model_does_several_one_by_one_and_some_at_once():
    images, asked = planes(3), clicks(0, 2)
    plain, batching = FakeModel(), Batching()
    for first, second in zip(embed_all(plain, images), embed_all(batching, images), strict=True):
        np.testing.assert_array_equal(first.grey, second.grey)
    embedding = plain.embed(images[0])
    wanted = [plain.decode(embedding, prompts) for prompts in asked]
    for found in (decode_all(plain, embedding, asked), decode_all(batching, embedding, asked, [None, wanted[0]])):
        for first, second in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(first.logits, second.logits)
    assert (images_at_once(plain), images_at_once(batching)) == (1, 5)
    assert batching.embedded == [3]
    assert batching.decoded == [[None, wanted[0]]]


def test_each_object_is_refined_from_its_own_previous_prediction():
    model = FakeModel()
    embedding = model.embed(planes(1)[0])
    before = model.decode(embedding, clicks(0)[0])
    negative = Prompts(GRID, (Point((3, 2, 0), positive=False),))
    found = decode_all(model, embedding, [clicks(0)[0], negative], [None, before])
    np.testing.assert_array_equal(found[1].logits, model.decode(embedding, negative, before).logits)
    with pytest.raises(ValueError, match="shorter"):
        decode_all(model, embedding, clicks(0, 1), [None])


def test_what_is_refused_among_several_is_named():
    model, (good, _) = FakeModel(), planes(2)
    embedding = model.embed(good)
    with pytest.raises(UnsupportedPromptError, match=r"^object 2 of 3: no prompt\. Wanted"):
        decode_all(model, embedding, [clicks(0)[0], Prompts(GRID), clicks(1)[0]])
    grey = Image(np.ones((1, 4, 3, 1)), GRID)
    with pytest.raises(ImageError, match=r"^image 2 of 2: "):
        embed_all(model, [good, grey])


def test_a_card_travels_to_other_processes():
    one = card(scores={"Dice": 0.9}, classes={3: "liver"}, slices=3)
    again = pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    assert (again, again.classes, again.scores) == (one, {3: "liver"}, {"Dice": 0.9})
