"""The whole of inference: masks in the right place for pictures and volumes, however they are stored."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from tests.infer.batching import Batching
from tests.models.references import randomise
from tests.models.sam_med3d import stand_in

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
from samaritan.core.prompts import Box, Point, Prompts, Text
from samaritan.infer import EmbeddingCache, segment
from samaritan.infer.plan import plan
from samaritan.infer.volume import ObjectSegmenter
from samaritan.models import sam
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.published import published
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


# -- several objects at once ---------------------------------------------------------------------------------------


def boxed(phantom, count):
    return {str(n): Prompts(phantom.image.geometry, (phantom.box(n, margin=2),)) for n in range(1, count + 1)}


def test_objects_of_a_picture_are_decoded_together_and_no_more_than_fit(monkeypatch):
    phantom = many_objects(3, 4)
    model = Batching()
    together = segment(model, phantom.image, boxed(phantom, 12))
    assert (model.embeds, model.asked) == (1, [8, 4])
    for name, prompts in boxed(phantom, 12).items():
        [alone] = segment(FakeModel(), phantom.image, {name: prompts}).objects
        [found] = [item for item in together.objects if item.name == name]
        assert np.array_equal(found.mask, alone.mask)
        assert found.score == alone.score
    model.asked.clear()
    three = 3 * 3 * 4 * phantom.image.shape[0] * phantom.image.shape[1]  # three objects of three masks of float32
    monkeypatch.setattr("samaritan.infer.volume._LOGITS_BYTES", three)
    segment(model, phantom.image, boxed(phantom, 12))
    assert model.asked == [3] * 4


def test_one_object_is_not_decoded_together_with_itself():
    phantom = picture()
    model = Batching()
    one(phantom, phantom.box(1), model=model)
    assert (model.decodes, model.asked) == (1, [])


def planes_at(phantom, *slices):
    """Return a box in each of some slices around either organ, the second from one slice further on."""
    liver, other = phantom.box(1, margin=1), phantom.box(2, margin=1)
    return {
        name: Prompts(
            phantom.image.geometry,
            tuple(Box((*box.start[:2], k + shift), (*box.stop[:2], k + shift + 1)) for k in slices),
        )
        for name, box, shift in (("a", liver, 0), ("b", other, 1))
    }


def test_in_a_volume_objects_are_decoded_together_where_they_are_prompted_in_one_slice():
    phantom = ct_volume(noise_hu=20)
    middle = (phantom.box(1).start[2] + phantom.box(1).stop[2]) // 2
    objects = planes_at(phantom, middle - 1, middle, middle + 3)
    plain, model = FakeModel(), Batching()
    apart = {name: segment(plain, phantom.image, {name: prompts}).objects[0] for name, prompts in objects.items()}
    found = segment(model, phantom.image, objects)
    assert model.asked == [2]  # of the slices that both have a box in there is one
    assert model.decodes == plain.decodes
    assert model.embeds <= phantom.image.shape[2]
    for item in found.objects:
        assert item.mask.any()
        assert np.array_equal(item.mask, apart[item.name].mask)
        assert item.score == pytest.approx(apart[item.name].score, abs=1e-6)


def test_progress_of_objects_that_are_decoded_together_counts_up_to_each_total():
    phantom = ct_volume()
    slices = phantom.box(1).start[2] + 2
    calls = []
    segment(
        Batching(), phantom.image, planes_at(phantom, slices, slices + 1), progress=lambda *call: calls.append(call)
    )
    for name in ("a", "b"):
        mine = [done for called, done, _ in calls if called == name]
        assert mine == sorted(mine)
        assert mine[0] == 1
        assert mine[-1] == phantom.image.shape[2]


def test_ctrl_c_ends_it_between_objects_that_are_decoded_together():
    phantom = many_objects(3, 4)
    model = Batching()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(model, phantom.image, boxed(phantom, 12), progress=stop)
    assert model.asked == [8]


def test_a_kind_of_prompt_that_is_not_taken_is_refused_among_several():
    phantom = many_objects(1, 2)
    model = Batching()
    model._card = replace(model.card, prompts=frozenset({"box"}))
    objects = boxed(phantom, 1) | {"click": Prompts(phantom.image.geometry, (Point((3, 3, 0)),))}
    with pytest.raises(UnsupportedPromptError, match=r"^object 'click': a point prompt for model 'fake'"):
        segment(model, phantom.image, objects)


class TakesNoBoxAt(Batching):
    """Refuses a box that starts at some column only when it is asked: its card does not tell."""

    def __init__(self, column):
        super().__init__()
        self.column = column

    def decode(self, embedding, prompts, previous=None):
        if any(box.start[0] == self.column for box in prompts.boxes):
            raise PromptError(got="a box that the network cannot see")
        return super().decode(embedding, prompts, previous)


def boxes_at(*slices):
    """Return boxes that start at columns 3, 4 and 5, each in a slice."""
    return {
        name: Prompts(ct_volume().image.geometry, (Box((column, 5, k), (column + 20, 25, k + 1)),))
        for name, column, k in zip(("liver", "spleen", "kidney"), (3, 4, 5), slices, strict=True)
    }


@pytest.mark.parametrize("options", [{}, {"max_memory": 1 << 40}], ids=["together", "alone"])
@pytest.mark.parametrize("slices", [(4, 4, 4), (4, 5, 6)], ids=["one slice", "each its own"])
def test_what_is_wrong_with_the_second_of_three_objects_is_said_of_it(options, slices):
    model = TakesNoBoxAt(4)
    with pytest.raises(PromptError, match=r"^object 'spleen': a box that the network cannot see\.$"):
        segment(model, ct_volume().image, boxes_at(*slices), **options)
    assert model.asked == ([] if options or len(set(slices)) > 1 else [3])


@pytest.mark.parametrize("run", [segment, plan])
def test_an_object_of_which_nothing_says_where_it_is_is_named(run):
    phantom = ct_volume()
    objects = boxes_at(4, 4, 4)
    objects["spleen"] = Prompts(phantom.image.geometry, (Point((3, 3, 3), positive=False),))
    with pytest.raises(PromptError, match=r"^object 'spleen': only negative"):
        run(FakeModel(), phantom.image, objects)


def test_a_plan_names_the_object_that_it_is_tried_with():
    with pytest.raises(PromptError, match=r"^object 'liver': a box"):
        plan(TakesNoBoxAt(3), ct_volume().image, boxes_at(4, 4, 4))


def test_an_object_that_is_alone_is_not_named():
    phantom = ct_volume()
    prompts = Prompts(phantom.image.geometry, (Box((4, 5, 4), (24, 25, 5)),))
    with pytest.raises(PromptError, match=r"^a box that the network cannot see\.$"):
        segment(TakesNoBoxAt(4), phantom.image, {"spleen": prompts})


@pytest.mark.parametrize("run", [segment, plan])
def test_an_object_that_a_model_of_volumes_refuses_is_named(run):
    phantom = ct_volume((40, 36, 30))
    good = Prompts(phantom.image.geometry, (phantom.box(1),))
    bad = Prompts(phantom.image.geometry, (Text("spleen"),))
    with pytest.raises(UnsupportedPromptError, match=r"^object 'spleen': "):
        run(stand_in.model(), phantom.image, {"liver": good, "spleen": bad})


def test_a_network_that_is_asked_about_several_answers_as_it_does_alone(monkeypatch):
    phantom = many_objects(2, 4)
    model = PlanarModel(
        replace(published("sam-vit-b").card, sha256="0" * 64),
        sam.network(randomise(sam.build(48, 4, 3, side=64)), "cpu"),
        FrameSpec(64),
    )
    answers = []
    keep = ObjectSegmenter.start

    def kept(segmenter, index, answer):
        answers.append(answer)
        keep(segmenter, index, answer)

    monkeypatch.setattr(ObjectSegmenter, "start", kept)
    objects = boxed(phantom, 8)
    segment(model, phantom.image, objects)
    together, answers[:] = list(answers), []
    for name, prompts in objects.items():
        segment(model, phantom.image, {name: prompts})
    for first, second in zip(together, answers, strict=True):
        np.testing.assert_allclose(first.logits, second.logits, atol=1e-4)
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
    assert np.ptp(together[0].logits) > 1e-3


# -- volumes -----------------------------------------------------------------------------------------------------------

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
