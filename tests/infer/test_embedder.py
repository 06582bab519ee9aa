"""Embeddings: once a plane, in bounded memory, from disk when they are there."""

import numpy as np
import pytest
from tests.infer.batching import Batching

from samaritan.core.image import Image
from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.embedder import Embedder
from samaritan.testing import FakeModel
from samaritan.testing.fake_model import FakeEmbedding
from samaritan.testing.phantoms import ct_volume


class Heavy(FakeModel):
    """A fake model with bulky embeddings that say what happened to them."""

    def pack(self, embedding):
        return {**super().pack(embedding), "bulk": np.full(100_000, 1 / 3, np.float32), "scale": np.array([1 / 3])}

    def unpack(self, arrays, geometry):
        self.unpacked = arrays
        return super().unpack(arrays, geometry)


def test_a_plane_is_encoded_once_and_knows_its_grid():
    phantom = ct_volume()
    embedder = Embedder(FakeModel(), phantom.image)
    first = embedder.embedding(("k", 3))
    embedder.embedding(("i", 3))
    again = embedder.embedding(("k", 3))
    assert embedder.model.embeds == 2
    assert first.geometry == again.geometry == phantom.image.geometry.plane("k", 3)
    np.testing.assert_array_equal(first.grey, again.grey)
    assert set(embedder.stopwatch.seconds) == {"prepare", "embed"}


class Whole(FakeModel):
    """A fake model that takes volumes."""

    def embed(self, image):
        self.embeds += 1
        return FakeEmbedding(image.array[0], image.geometry)


def test_the_whole_image_is_encoded_once_for_each_axis_that_is_k():
    phantom = ct_volume((24, 20, 18))
    embedder = Embedder(Whole(), phantom.image)
    as_it_is, turned = embedder.embedding(None), embedder.embedding("i")
    assert as_it_is.geometry == phantom.image.geometry
    assert turned.geometry.plane("k", 5).matches(phantom.image.geometry.plane("i", 5))
    np.testing.assert_array_equal(turned.grey, as_it_is.grey.transpose(1, 2, 0))
    assert embedder.embedding("i") is turned
    embedder.embedding(None)
    assert embedder.model.embeds == 2


def test_memory_is_bounded():
    embedder = Embedder(Heavy(), ct_volume().image, max_bytes=500_000)  # two embeddings of 200 kB
    for index in (0, 1, 2, 1, 0):
        embedder.embedding(("k", index))
    assert embedder.held.nbytes <= 500_000
    assert embedder.model.embeds == 4


def test_bulk_is_kept_in_half_precision_and_small_arrays_as_they_are():
    embedder = Embedder(Heavy(), ct_volume().image)
    embedder.embedding(("k", 0))
    assert embedder.held.nbytes < 300_000
    assert embedder.model.unpacked["bulk"].dtype == np.float32
    assert embedder.model.unpacked["bulk"][0] == np.float32(np.float16(1 / 3))
    assert embedder.model.unpacked["scale"][0] == 1 / 3


def test_values_beyond_half_precision_stay_finite():
    model = Heavy()
    model.pack = lambda embedding: {"grey": np.full((100, 100), 1e6, np.float32)}
    assert (Embedder(model, ct_volume().image).embedding(("k", 0)).grey == 1e6).all()


def test_a_warm_disk_cache_spares_the_encoder_and_changes_nothing(tmp_path):
    image = ct_volume(noise_hu=30).image
    cold = Embedder(FakeModel(), image, cache=EmbeddingCache(tmp_path))
    warm = Embedder(FakeModel(), image, cache=EmbeddingCache(tmp_path))
    for index in range(5):
        np.testing.assert_array_equal(cold.embedding(("k", index)).grey, warm.embedding(("k", index)).grey)
    assert (cold.model.embeds, warm.model.embeds) == (5, 0)
    other_window = Embedder(FakeModel(), image, window="lung", cache=EmbeddingCache(tmp_path))
    other_window.embedding(("k", 0))
    assert other_window.model.embeds == 1


# -- several at once ---------------------------------------------------------------------------------------------------


def went_through(embedder, indices):
    """Return the embeddings of planes that are asked for in turn."""
    return [embedder.embedding(where).grey for where in embedder.in_turn([("k", index) for index in indices])]


@pytest.fixture
def noisy():
    return ct_volume(noise_hu=30).image  # no two planes are equal


def test_planes_are_encoded_at_once_each_once_and_as_they_are_alone(noisy):
    embedder, plain = Embedder(Batching(4), noisy), Embedder(FakeModel(), noisy)
    found = went_through(embedder, range(10))
    assert embedder.model.embedded == [1, 4, 4, 1]  # what one takes is learnt from the first
    for grey, alone in zip(found, went_through(plain, range(10)), strict=True):
        np.testing.assert_array_equal(grey, alone)
    went_through(embedder, [9, 3, 12, 13, 4, 14])
    assert embedder.model.embedded[4:] == [3]
    assert embedder.model.twice == 0


def test_a_model_for_which_it_does_not_pay_encodes_planes_when_they_are_asked_for(noisy):
    embedder = Embedder(Batching(1), noisy)
    for n, where in enumerate(embedder.in_turn([("k", index) for index in range(5)])):
        assert embedder.model.embeds == n
        embedder.embedding(where)
    assert embedder.model.embedded == [1] * 5


def test_whoever_must_not_take_memory_encodes_planes_one_by_one(noisy):
    embedder = Embedder(Batching(4), noisy, together=False)
    went_through(embedder, range(6))
    assert embedder.model.embedded == [1] * 6


@pytest.mark.parametrize(("room", "wanted"), [(0, [1] * 9), (1, [1] * 9), (2, [1, 2, 2, 2, 2]), (3.9, [1, 3, 3, 2])])
def test_no_more_are_encoded_at_once_than_can_be_held(noisy, room, wanted):
    one = 48 * 40 * 4
    embedder = Embedder(Batching(4), noisy, max_bytes=int(room * one))
    went_through(embedder, range(9))
    assert embedder.model.embedded == wanted
    assert embedder.model.twice == 0
    assert embedder.held.nbytes <= max(one, room * one)


def test_of_planes_on_disk_the_others_are_encoded_and_all_are_what_they_are_alone(noisy, tmp_path):
    first = Embedder(Batching(4), noisy, cache=EmbeddingCache(tmp_path))
    for index in (0, 2, 3, 6):
        first.embedding(("k", index))
    second = Embedder(Batching(4), noisy, cache=EmbeddingCache(tmp_path))
    found = went_through(second, range(9))
    assert second.model.embedded == [2, 3]  # of planes 1 to 4, and of 5 to 8
    for grey, alone in zip(found, went_through(Embedder(FakeModel(), noisy), range(9)), strict=True):
        np.testing.assert_array_equal(grey, alone)
    third = Embedder(Batching(4), noisy, cache=EmbeddingCache(tmp_path))
    for grey, again in zip(found, went_through(third, range(9)), strict=True):
        np.testing.assert_array_equal(grey, again)
    assert third.model.embedded == []


def test_planes_that_are_equal_to_the_cache_are_encoded_once(noisy, tmp_path):
    same = Image(noisy.array[..., [0, 1, 5, 1, 5, 5, 2]], noisy.geometry.crop((0, 0, 0), (48, 40, 7)), modality="CT")
    embedder = Embedder(Batching(8), same, cache=EmbeddingCache(tmp_path))
    found = went_through(embedder, range(7))
    assert embedder.model.embedded == [1, 3]
    for grey, alone in zip(found, went_through(Embedder(FakeModel(), same), range(7)), strict=True):
        np.testing.assert_array_equal(grey, alone)
