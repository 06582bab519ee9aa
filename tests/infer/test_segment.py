"""The whole of inference: masks in the right place for pictures and volumes, however they are stored."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from samaritan.core.errors import (
    GeometryMismatchError,
    ImageError,
    OutOfMemoryBudgetError,
    PromptError,
    UnsupportedPromptError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import ModelCard, Prediction
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.infer import EmbeddingCache, segment
from samaritan.testing import FakeModel, fake_model
from samaritan.testing.phantoms import ct_volume, many_objects, picture


def dice(reference, prediction):
    return 2 * np.count_nonzero(reference & prediction) / (np.count_nonzero(reference) + np.count_nonzero(prediction))


def one(phantom, *items, model=None, **options):
    prompts = Prompts(phantom.image.geometry, items)
    [found] = segment(model or FakeModel(), phantom.image, {"it": prompts}, **options).objects
    return found


@pytest.mark.parametrize("colour", [False, True])
def test_a_picture(colour):
    phantom = picture(colour=colour)
    found = one(phantom, phantom.box(2, margin=3))
    assert np.array_equal(found.mask, phantom.mask(2))
    assert (found.name, found.score > 0.5) == ("it", True)


def test_several_objects_share_embeddings_and_become_labels():
    phantom = many_objects(2, 3)
    objects = {f"disk {n}": Prompts(phantom.image.geometry, (phantom.box(n, margin=2),)) for n in range(1, 7)}
    model = FakeModel()
    result = segment(model, phantom.image, objects)
    assert np.array_equal(result.labels.array, phantom.truth.array)
    assert dict(result.labels.names) == dict(phantom.truth.names)
    assert (model.embeds, model.decodes) == (1, 6)
    assert {"prepare", "embed", "decode"} <= set(result.seconds)


OBLIQUE = np.array([[0.8, 0.2, 0, -30], [-0.2, 0.79, 0.1, 12], [0.05, -0.1, 2.4, 100], [0, 0, 0, 1]])


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_mask_lands_on_the_object_however_the_volume_is_stored(order):
    phantom = ct_volume((30, 26, 16), affine=OBLIQUE)
    box, click = phantom.box(1, margin=1), Point((10.8, 9.36, 5.76))
    for letters in product("RL", "AP", "SI"):
        change = phantom.image.geometry.reorientation("".join(letters[a] for a in order))
        stored = Image(change.apply(phantom.image.array), change.target, modality="CT")
        for item in (box, click):
            prompts = Prompts(phantom.image.geometry, (item,)).to(change.target)
            [found] = segment(FakeModel(), stored, {"it": prompts}).objects
            assert dice(phantom.mask(1), change.undo(found.mask)) > 0.95


@pytest.mark.parametrize(("axis", "order"), [("i", (1, 2, 0)), ("j", (0, 2, 1)), ("k", (0, 1, 2))])
def test_slicing_along_an_axis_is_the_transposed_problem(axis, order):
    phantom = ct_volume((24, 20, 18), noise_hu=40)
    image = phantom.image
    box = phantom.box(1, margin=1)
    found = one(phantom, box, axis=axis)
    affine = image.geometry.affine[:, [*order, 3]]
    turned = Image(image.array.transpose(0, *(a + 1 for a in order)), Geometry([image.shape[a] for a in order], affine))
    turned_box = Box(tuple(box.start[a] for a in order), tuple(box.stop[a] for a in order))
    prompts = Prompts(turned.geometry, (turned_box,))
    [expected] = segment(FakeModel(), turned, {"it": prompts}, axis="k", window="abdomen").objects
    assert np.array_equal(found.mask.transpose(order), expected.mask)
    assert found.mask.any()


def test_the_default_axis_is_that_of_the_largest_spacing():
    phantom = ct_volume((24, 20, 18), affine=np.diag([3.0, 1, 1, 1]))
    model = FakeModel()
    one(phantom, phantom.box(1), model=model)
    across = 2
    assert model.embeds == phantom.box(1).stop[0] - phantom.box(1).start[0] + across


def test_a_whole_volume_is_not_encoded_for_one_object(tmp_path):
    phantom = ct_volume()
    model = FakeModel()
    box = phantom.box(2)
    one(phantom, box, model=model, cache=EmbeddingCache(tmp_path))
    assert model.embeds <= box.stop[2] - box.start[2]
    one(phantom, box, model=model, cache=EmbeddingCache(tmp_path))
    assert model.embeds <= box.stop[2] - box.start[2]


class Volumes(FakeModel):
    """Takes volumes: everything brighter than the middle of the range, within the box."""

    def __init__(self):
        super().__init__(replace(fake_model.CARD, dims=3, native_shape=(8, 8, 8), prompts=frozenset({"box"})))

    def embed(self, image):
        self.embeds += 1
        assert len(image.channels) == 3
        return fake_model.FakeEmbedding(image.array[0], image.geometry)

    def decode(self, embedding, prompts, previous=None):
        [box] = prompts.boxes
        mask = np.zeros(embedding.grey.shape, bool)
        block = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
        mask[block] = embedding.grey[block] > 127
        return Prediction(np.where(mask, 1, -1)[None].astype(np.float32), np.array([0.8], np.float32), prompts.geometry)


def test_a_model_of_volumes_gets_the_whole_volume_once():
    phantom = ct_volume()
    model = Volumes()
    objects = {str(v): Prompts(phantom.image.geometry, (phantom.box(v),)) for v in (1, 2)}
    result = segment(model, phantom.image, objects)
    assert np.array_equal(result.labels.array, phantom.truth.array)
    assert model.embeds == 1
    with pytest.raises(UnsupportedPromptError):
        one(phantom, Point((1, 1, 1)), model=model)


class Slices(Volumes):
    """Takes volumes by slices: like ``Volumes``, in boxes that are thick along k; a flat one bounds its plane only."""

    def __init__(self):
        super().__init__()
        self._card = replace(self.card, native_shape=(8, 8, 1))
        self.spacings = []

    def embed(self, image):
        self.spacings.append(image.geometry.spacing)
        return super().embed(image)

    def decode(self, embedding, prompts, previous=None):
        [box] = prompts.boxes
        if box.stop[2] - box.start[2] == 1:
            box = Box((*box.start[:2], 0), (*box.stop[:2], embedding.geometry.shape[2]))
        return super().decode(embedding, Prompts(prompts.geometry, (box,)), previous)


SPACED = ct_volume((24, 20, 18), affine=np.diag([3.0, 1, 2, 1]))


@pytest.mark.parametrize(
    ("axis", "spacings"), [(None, (1, 2, 3)), ("i", (1, 2, 3)), ("j", (3, 2, 1)), ("k", (3, 1, 2))]
)
def test_a_model_that_follows_slices_gets_them_along_the_axis(axis, spacings):
    model, box = Slices(), SPACED.box(1)
    found = one(SPACED, box, model=model, axis=axis)
    assert np.array_equal(found.mask, SPACED.mask(1))
    assert model.spacings == [pytest.approx(spacings)]


@pytest.mark.parametrize("normal", [0, 1, 2])
def test_a_model_that_follows_slices_gets_those_that_a_box_is_drawn_in(normal):
    model, box = Slices(), SPACED.box(1, margin=1)
    start, stop = list(box.start), list(box.stop)
    start[normal] = (start[normal] + stop[normal]) // 2
    stop[normal] = start[normal] + 1
    found = one(SPACED, Box(start, stop), model=model)
    assert np.array_equal(found.mask, SPACED.mask(1))


def test_objects_with_the_same_axis_share_the_embedding_of_a_model_that_follows_slices():
    model, flat = Slices(), SPACED.box(2)
    middle = (flat.start[1] + flat.stop[1]) // 2
    across = Box((flat.start[0], middle, flat.start[2]), (flat.stop[0], middle + 1, flat.stop[2]))
    boxes = {"a": SPACED.box(1), "b": across, "c": SPACED.box(2)}
    objects = {name: Prompts(SPACED.image.geometry, (box,)) for name, box in boxes.items()}
    result = segment(model, SPACED.image, objects)
    assert model.embeds == 2
    assert all(item.mask.any() for item in result.objects)


def test_a_model_that_sees_the_whole_volume_needs_no_axis():
    model = Volumes()
    found = one(SPACED, SPACED.box(1), model=model, axis="i")
    assert np.array_equal(found.mask, SPACED.mask(1))


def test_progress_counts_up_to_its_total():
    phantom = ct_volume()
    calls = []
    one(phantom, phantom.box(1), progress=lambda *call: calls.append(call))
    done = [n for _, n, _ in calls]
    box = phantom.box(1)
    assert {(stage, total) for stage, _, total in calls} == {("it", box.stop[2] - box.start[2])}
    assert done == sorted(done)
    assert done[-1] == calls[-1][2]


def test_ctrl_c_leaves_a_sound_cache(tmp_path):
    phantom = ct_volume()

    def stop(stage, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one(phantom, phantom.box(1), cache=EmbeddingCache(tmp_path), progress=stop)
    first, across = 1, 2
    kept = EmbeddingCache(tmp_path).info().entries
    assert kept == first + across + 3
    model = FakeModel()
    found = one(phantom, phantom.box(1), model=model, cache=EmbeddingCache(tmp_path))
    assert dice(phantom.mask(1), found.mask) > 0.95
    assert model.embeds == phantom.box(1).stop[2] - phantom.box(1).start[2] + across - kept


def test_mistakes_are_named():
    phantom = ct_volume()
    geometry = phantom.image.geometry
    with pytest.raises(PromptError, match="no object"):
        segment(FakeModel(), phantom.image, {})
    with pytest.raises(PromptError, match="no prompt"):
        one(phantom)
    with pytest.raises(PromptError, match="only negative"):
        one(phantom, Point((1, 1, 1), positive=False))
    with pytest.raises(GeometryMismatchError, match="prompts of 'it'"):
        segment(FakeModel(), phantom.image, {"it": Prompts(geometry.crop((0, 0, 0), (5, 5, 5)))})
    flat = Image(np.zeros((1, *phantom.image.shape), np.int16), geometry)
    with pytest.raises(ImageError, match="all 0"):
        segment(FakeModel(), flat, {"it": Prompts(geometry, (phantom.box(1),))})
    with pytest.raises(OutOfMemoryBudgetError):
        one(phantom, phantom.box(1), max_memory=1024)
    box_only = FakeModel(
        ModelCard(**{n: getattr(fake_model.CARD, n) for n in ModelCard.__slots__} | {"prompts": {"box"}})
    )
    with pytest.raises(UnsupportedPromptError, match="a point prompt for model 'fake'"):
        one(phantom, Point((17, 14, 8)), model=box_only)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 9), (9, 1, 9), (9, 9, 1), (1, 1, 9), (2, 2, 2)])
def test_tiny_images(shape):
    rng = np.random.default_rng(0)
    image = Image(rng.integers(0, 255, (1, *shape), np.uint8), Geometry.from_spacing(shape))
    prompts = Prompts(image.geometry, (Point((0, 0, 0)),))
    if shape == (1, 1, 1):
        with pytest.raises(ImageError, match="some contrast"):
            segment(FakeModel(), image, {"it": prompts})
        return
    [found] = segment(FakeModel(), image, {"it": prompts}).objects
    assert found.mask.shape == shape
