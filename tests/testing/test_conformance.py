"""The conformance suite finds what it is there to find: each model here breaks one promise."""

from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Prompts
from samaritan.testing import FakeModel, conformance
from samaritan.testing.fake_model import CARD, FakeEmbedding


class SwapsAxes(FakeModel):
    def embed(self, image):
        embedding = super().embed(image)
        width, height = embedding.grey.shape
        grey = np.resize(embedding.grey.T, (width, height))
        return FakeEmbedding(grey, embedding.geometry)


class Forgets(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, previous)
        return Prediction(found.logits + self.decodes, found.scores, found.geometry)


class TakesAnyGrid(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        return super().decode(embedding, Prompts(embedding.geometry, prompts.items), None)


class TakesAnyImage(FakeModel):
    def embed(self, image):
        return FakeEmbedding(image.array[..., 0].mean(axis=0, dtype=np.float32), image.geometry)


class WritesToThePrevious(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        if previous is not None:
            previous.logits[:] = 0
        return super().decode(embedding, prompts, previous)


class GivesDoubles(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, previous)
        return Prediction(found.logits.astype(np.float64), found.scores, found.geometry)


class SurerThanSure(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, previous)
        return Prediction(found.logits, found.scores + 1, found.geometry)


class DoesNotPredict(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, previous)
        return Prediction(found.logits, np.full_like(found.scores, np.nan), found.geometry)


class PacksCoarsely(FakeModel):
    def pack(self, embedding):
        return {"grey": np.where(embedding.grey > 150, 0, 1).astype(np.uint8)}


class PacksObjects(FakeModel):
    def pack(self, embedding):
        return {"grey": embedding.grey.astype(object)}


class TakesAnyPrompt(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        everything = Box((0, 0, 0), prompts.geometry.shape)
        items = tuple(item if item.kind in self.card.prompts else everything for item in prompts.items)
        return super().decode(embedding, Prompts(prompts.geometry, items), previous)


class Anonymous(FakeModel):
    def __init__(self):
        super().__init__(replace(CARD, licence="", sha256="none"))


class Drifts(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, previous)
        width = embedding.geometry.shape[0]
        return Prediction(np.roll(found.logits, width // 8, axis=1), found.scores, found.geometry)


class StaysInPlace(FakeModel):
    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, previous)
        start = min(box.start[0] for box in prompts.boxes)
        return Prediction(np.roll(found.logits, 40 - start, axis=1), found.scores, found.geometry)


class Batches(FakeModel):
    def most_images(self):
        return 2

    def embed_batch(self, images):
        return [self.embed(image) for image in images]

    def decode_batch(self, embedding, prompts, previous=None):
        return [self.decode(embedding, *both) for both in zip(prompts, previous or [None] * len(prompts), strict=True)]


class MixesObjects(Batches):
    def decode_batch(self, embedding, prompts, previous=None):
        return super().decode_batch(embedding, prompts, previous)[::-1]


class ForgetsWhatWasBefore(Batches):
    def decode_batch(self, embedding, prompts, previous=None):
        return super().decode_batch(embedding, prompts)


class MixesImages(Batches):
    def embed_batch(self, images):
        return super().embed_batch(images)[::-1]


class EncodesNone(Batches):
    def most_images(self):
        return 0


class DecodesBatchesOnly(FakeModel):
    def decode_batch(self, embedding, prompts, previous=None):
        return [self.decode(embedding, one) for one in prompts]


class PredictsOnce(DoesNotPredict):
    def decode(self, embedding, prompts, previous=None):
        return (super() if self.decodes else super(DoesNotPredict, self)).decode(embedding, prompts, previous)


def test_a_model_need_not_predict_its_iou():
    for check in conformance.MODEL_CHECKS:
        check(DoesNotPredict())


def test_a_model_that_does_several_at_once_may_do_so():
    conformance.check_batches(Batches())


@pytest.mark.parametrize(
    ("model", "check", "reason"),
    [
        (MixesObjects, conformance.check_batches, "among others"),
        (ForgetsWhatWasBefore, conformance.check_batches, "among others"),
        (MixesImages, conformance.check_batches, "embedded among others"),
        (EncodesNone, conformance.check_batches, "0 images"),
        (DecodesBatchesOnly, conformance.check_batches, "lacks most_images, embed_batch"),
        (SwapsAxes, conformance.check_finds_a_plain_object, "Dice"),
        (Drifts, conformance.check_finds_a_plain_object, "Dice"),
        (StaysInPlace, conformance.check_translation, "after a shift"),
        (Forgets, conformance.check_determinism, "logits differ"),
        (Forgets, conformance.check_threads, "logits differ"),
        (TakesAnyGrid, conformance.check_other_grids_are_refused, "GeometryMismatchError"),
        (TakesAnyImage, conformance.check_other_images_are_refused, "was taken"),
        (WritesToThePrevious, conformance.check_inputs_stay_as_they_are, "changed the previous"),
        (GivesDoubles, conformance.check_any_size, "float64"),
        (PredictsOnce, conformance.check_determinism, "scores"),
        (SurerThanSure, conformance.check_any_size, "not in"),
        (PacksCoarsely, conformance.check_pack, "unpacked"),
        (PacksObjects, conformance.check_pack, "could not be kept safely"),
        (TakesAnyPrompt, conformance.check_prompt_kinds, "was taken"),
        (Anonymous, conformance.check_card_is_complete, "no licence"),
    ],
)
def test_a_broken_promise_is_found(model, check, reason):
    with pytest.raises(AssertionError, match=reason):
        check(model())


def test_every_check_is_in_the_table():
    assert {check.__name__ for check in conformance.MODEL_CHECKS} == {
        name for name in dir(conformance) if name.startswith("check_")
    }
