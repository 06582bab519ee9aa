"""A model asked about each channel: it is a model like others, and its answers are pooled as it says."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from tests.infer.batching import Batching
from tests.models.sam_med3d import stand_in

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import GrowingEmbedding, Prediction, StepwiseModel, decode_all, embed_all, images_at_once
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.infer import segment
from samaritan.infer.embedder import Embedder
from samaritan.infer.per_channel import PerChannel, Pool
from samaritan.testing import FakeModel, fake_model
from samaritan.testing.conformance import MODEL_CHECKS, check_other_images_are_refused

GRID = Geometry.picture(3, 2)
PLANE = Geometry.picture(40, 30)
CUBE = Geometry.from_spacing((40, 36, 30), (1.5, 1.5, 1.5))
CHECKS = [check for check in MODEL_CHECKS if check is not check_other_images_are_refused]  # any channels are right


def answer(logits, score):
    return Prediction(np.full((1, 3, 2, 1), logits, np.float32), np.array([score], np.float32), GRID)


def pooled(answers, geometry):
    pool = Pool()
    for one in answers:
        pool.add(one)
    return pool.prediction(geometry)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("model", [FakeModel, Batching])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_it_is_a_model_as_any_other(check, model):
    check(PerChannel(model()))


def test_probabilities_are_averaged_so_that_none_outvotes_all():
    together = pooled([answer(5, 0.9), answer(5, 0.6), answer(-20, 0.3)], GRID)
    np.testing.assert_allclose(expit(together.logits), (2 * expit(5) + expit(-20)) / 3, rtol=1e-5)
    assert together.mask.all()
    assert together.scores == pytest.approx([0.6])
    assert not pooled([answer(5, 0.9), answer(-6, 0.9)], GRID).mask.any()


@pytest.mark.parametrize("logits", [-500, -3, 0, 0.5, 500])
def test_equal_answers_are_the_answer(logits):
    together = pooled([answer(logits, 0.5)] * 3, GRID)
    assert np.isfinite(together.logits).all()
    assert together.logits.dtype == np.float32
    np.testing.assert_allclose(together.logits, np.clip(logits, -13.8, 13.8), atol=0.05)
    assert (together.mask == (logits > 0)).all()


def test_only_the_best_mask_of_each_answer_counts():
    several = Prediction(
        np.stack([np.full((3, 2, 1), v, np.float32) for v in (3, -9)]), np.array([0.8, 0.1], np.float32), GRID
    )
    together = pooled([several, answer(3, 0.6)], GRID)
    np.testing.assert_allclose(together.logits, np.full((1, 3, 2, 1), 3), rtol=1e-4)
    assert together.scores == pytest.approx([0.7])


def test_the_previous_prediction_is_told_to_each_channel():
    told = []

    class Listening(FakeModel):
        def decode(self, embedding, prompts, previous=None):
            told.append(previous)
            return super().decode(embedding, prompts, previous)

    model = PerChannel(Listening())
    values = np.stack([np.arange(6.0).reshape(3, 2, 1) * 40, np.arange(6.0)[::-1].reshape(3, 2, 1) * 40])
    embedding = model.embed(Image(values.astype(np.float32), GRID, ("a", "b")))
    prompts = Prompts(GRID, (Point((0, 0, 0)),))
    first = model.decode(embedding, prompts)
    model.decode(embedding, prompts.add(Point((2, 1, 0), positive=False)), first)
    assert told == [None, None, first, first]


# -- models of volumes ----------------------------------------------------------------------------------------------


def ball():
    i, j, k = np.ogrid[:40, :36, :30]
    return (i - 20) ** 2 + (j - 18) ** 2 + (k - 15) ** 2 <= 81


def scan():
    array = np.stack([np.where(ball(), 400, 100), np.where(ball(), 20, 10), np.where(ball(), 0.9, 0.1)])
    array = array * np.random.default_rng(5).normal(1, 0.01, array.shape)
    return Image(array.astype(np.float32), CUBE, ("t1", "t2", "flair"), "MR")


def test_a_model_of_volumes_sees_each_channel_and_tells_of_its_steps():
    prompts, told = Prompts(CUBE, (Point((20, 18, 15)),)), []
    [it] = segment(
        stand_in.model(), scan(), {"it": prompts}, channels="each", progress=lambda *step: told.append(step)
    ).objects
    assert 2 * np.count_nonzero(it.mask & ball()) / (it.mask.sum() + ball().sum()) > 0.9
    assert np.isnan(it.score)  # as that of each: SAM-Med3D does not predict it
    assert told
    done = [step[1] for step in told]
    assert done == sorted(done)
    assert told[-1][1] == told[-1][2]


def test_what_embeddings_may_take_they_share():
    class Growing:
        geometry, nbytes = GRID, 7

        def __init__(self):
            self.max_bytes, self.store = 100, None

    class Model(FakeModel):
        def embed(self, image):
            return Growing()

    embedding = PerChannel(Model()).embed(Image(np.zeros((4, 3, 2, 1), np.float32), GRID, ("a", "b", "c", "d")))
    assert isinstance(embedding, GrowingEmbedding)
    assert (embedding.nbytes, embedding.max_bytes) == (28, 100)
    embedding.max_bytes = 200
    assert {part.max_bytes for part in embedding.parts} == {50}
    assert embedding.store is None
    embedding.store = store = object()
    assert {part.store for part in embedding.parts} == {store} == {embedding.store}


def test_embeddings_of_fixed_size_do_not_grow():
    model = PerChannel(FakeModel())
    embedding = model.embed(Image(np.zeros((2, 3, 2, 1), np.float32), GRID, ("a", "b")))
    assert not isinstance(embedding, GrowingEmbedding)
    assert isinstance(model, StepwiseModel)


def sequences(count=1, *, rng):
    return [Image(rng.uniform(0, 255, (3, 40, 30, 1)).astype(np.float32), PLANE, ("t1", "t2", "flair"))
            for _ in range(count)]  # fmt: skip


def test_channels_are_encoded_at_once_where_the_model_can(rng):
    model, [image] = Batching(16), sequences(rng=rng)
    embedding = PerChannel(model).embed(image)
    assert model.embedded == [3]
    for part, alone in zip(embedding.parts, PerChannel(FakeModel()).embed(image).parts, strict=True):
        np.testing.assert_array_equal(part.grey, alone.grey)


@pytest.mark.parametrize(("images", "channels", "wanted"), [(16, 3, 5), (16, 1, 16), (2, 3, 1), (1, 4, 1)])
def test_as_many_images_are_encoded_at_once_as_their_channels_fit(images, channels, wanted):
    assert images_at_once(PerChannel(Batching(images), channels=channels)) == wanted
    assert images_at_once(PerChannel(FakeModel(), channels=channels)) == 1


def test_an_image_is_known_to_have_the_channels_that_are_picked(rng):
    image = Image(rng.uniform(1, 255, (4, 40, 30, 6)).astype(np.float32), Geometry.from_spacing((40, 30, 6)),
                  ("t1", "t2", "flair", "dwi"))  # fmt: skip
    assert Embedder(Batching(12), image, channels="each").batch == 3
    assert Embedder(Batching(12), image, channels="each:t1,dwi").batch == 6


@pytest.mark.parametrize("model", [FakeModel, Batching])
def test_several_images_and_objects_are_answered_as_each_alone(model, rng):
    both, images = PerChannel(model()), sequences(4, rng=rng)
    embeddings = embed_all(both, images)
    for image, embedding in zip(images, embeddings, strict=True):
        for part, alone in zip(embedding.parts, both.embed(image).parts, strict=True):
            np.testing.assert_array_equal(part.grey, alone.grey)
    asked = [Prompts(PLANE, (item,)) for item in (Box((3, 4, 0), (30, 22, 1)), Point((9, 9, 0)), Point((30, 20, 0)))]
    previous = [both.decode(embeddings[0], asked[1]), None, None]
    found = decode_all(both, embeddings[0], asked, previous)
    for prediction, prompts, before in zip(found, asked, previous, strict=True):
        alone = both.decode(embeddings[0], prompts, before)
        np.testing.assert_array_equal(prediction.logits, alone.logits)
        np.testing.assert_array_equal(prediction.scores, alone.scores)
    assert np.ptp(np.concatenate([prediction.logits for prediction in found])) > 1
    with pytest.raises(PromptError, match=r"^object 2 of 2: "):
        decode_all(both, embeddings[0], [asked[0], Prompts(PLANE)])


def test_each_channel_is_asked_about_all_objects_at_once(rng):
    model, [image] = Batching(), sequences(rng=rng)
    embedding = PerChannel(model).embed(image)
    decode_all(PerChannel(model), embedding, [Prompts(PLANE, (Point((n, n, 0)),)) for n in range(5)])
    assert model.asked == [5, 5, 5]


def test_more_than_ten_channels_stay_in_order():
    model = PerChannel(FakeModel(replace(fake_model.CARD, channels=1)))
    values = np.arange(12, dtype=np.float32).reshape(12, 1, 1, 1) + np.zeros((12, 3, 2, 1), np.float32)
    embedding = model.embed(Image(values, GRID, tuple(f"echo {n}" for n in range(12))))
    again = model.unpack(model.pack(embedding), GRID)
    assert [part.grey[0, 0] for part in again.parts] == list(range(12))
