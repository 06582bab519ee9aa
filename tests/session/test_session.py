"""Sessions: undo, redo, reset, refinement, and replay from JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samaritan.core.errors import (
    GeometryMismatchError,
    PromptError,
    PromptOutsideImageError,
    SessionError,
    UnsupportedPromptError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import ModelCard, Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Scribble, Text
from samaritan.infer.cache import EmbeddingCache
from samaritan.session import Session
from samaritan.testing import FakeModel, fake_model
from samaritan.testing.phantoms import ct_volume, many_objects, picture

DISK = Point((29, 26, 0))  # in the disk of the picture phantom
ELLIPSE = Point((72, 42, 0))


@pytest.fixture
def phantom():
    return picture()


@pytest.fixture
def session(phantom):
    return Session(FakeModel(), phantom.image)


def test_a_click_gives_the_object(session, phantom):
    session.add(DISK)
    assert np.array_equal(session.mask(), phantom.mask(1))
    assert session.score() > 0.5
    assert session.objects == ("object",)


def test_each_click_only_decodes_and_asking_again_is_free(session):
    session.add(DISK)
    session.mask()
    session.add(Point((3, 3, 0), positive=False))
    session.mask()
    session.mask()
    session.score()
    assert (session.model.embeds, session.model.decodes) == (1, 2)
    session.undo()
    session.mask()
    session.redo()
    session.mask()
    assert session.model.decodes == 2


def test_undo_redo_and_reset(session, phantom):
    session.add(DISK)
    session.add(ELLIPSE, object="other")
    both = session.labels
    assert both.names == {1: "object", 2: "other"}
    assert np.array_equal(both.mask(2), phantom.mask(2))
    session.reset()
    assert session.objects == ()
    assert session.labels.labels == ()
    session.undo()
    assert np.array_equal(session.labels.array, both.array)
    session.undo()
    assert session.objects == ("object",)
    session.redo()
    session.redo()
    assert session.objects == ()
    with pytest.raises(SessionError, match="nothing to redo"):
        session.redo()


def test_adding_forgets_what_was_undone(session):
    session.add(DISK)
    session.undo()
    session.add(ELLIPSE)
    with pytest.raises(SessionError, match="nothing to redo"):
        session.redo()
    session.undo()
    with pytest.raises(SessionError, match="nothing to undo"):
        session.undo()


def test_a_history_that_is_kept_is_a_snapshot(session):
    session.add(DISK)
    snapshot = session.history
    session.add(ELLIPSE)
    session.history = snapshot
    assert session.history.prompts == {"object": (DISK,)}


def test_a_refused_prompt_leaves_the_session_as_it_was(session):
    session.add(DISK)
    with pytest.raises(PromptOutsideImageError):
        session.add(Point((500, 1, 0)))
    with pytest.raises(PromptError, match="same voxel"):
        session.add(Point(DISK.index, positive=False))
    assert session.history.prompts == {"object": (DISK,)}


def test_only_negative_prompts_give_an_empty_mask(session):
    session.add(Point((3, 3, 0), positive=False))
    assert not session.mask().any()
    assert session.score() == 0
    session.add(DISK)
    assert session.mask().any()


def test_an_unknown_object_is_a_named_error(session):
    with pytest.raises(SessionError, match="none yet"):
        session.mask()
    session.add(DISK, object="disk")
    with pytest.raises(SessionError, match="one of: disk"):
        session.mask(object="ellipse")


def test_a_mask_cannot_be_changed_by_its_reader(session):
    session.add(DISK)
    with pytest.raises(ValueError, match="read-only"):
        session.mask()[0] = True


def test_a_prompt_the_model_does_not_take_is_refused_when_added(phantom):
    fields = {name: getattr(fake_model.CARD, name) for name in ModelCard.__slots__}
    session = Session(FakeModel(ModelCard(**(fields | {"prompts": frozenset({"box"})}))), phantom.image)
    with pytest.raises(PromptError, match="point prompt for model 'fake'"):
        session.add(DISK)


def test_a_later_click_refines_the_mask_before():
    phantom = many_objects(1, 3)
    session = Session(FakeModel(), phantom.image)
    session.add(Point((12, 12, 0)))
    session.add(Point((36, 12, 0)))
    assert np.array_equal(session.mask(), phantom.mask(1) | phantom.mask(2))


def volume_session(phantom, **options):
    session = Session(FakeModel(), phantom.image, **options)
    session.add(phantom.box(1), object="liver")
    session.add(Point((36, 30, 18)), object="kidney")
    return session


def test_a_volume_is_segmented_and_embeddings_are_shared():
    phantom = ct_volume()
    session = volume_session(phantom, window="abdomen")
    assert np.array_equal(session.mask(object="liver"), phantom.mask(1))
    assert np.array_equal(session.mask(object="kidney"), phantom.mask(2))
    assert session.model.embeds <= phantom.image.shape[2]


class Slices(FakeModel):
    """Follows slices along k, and finds what lies in those from the tenth."""

    def __init__(self):
        super().__init__(replace(fake_model.CARD, dims=3, native_shape=(64, 64, 1)))

    def embed(self, image):
        return fake_model.FakeEmbedding(image.array[0], image.geometry)

    def decode(self, embedding, prompts, previous=None):
        logits = np.full((1, *embedding.geometry.shape), -1, np.float32)
        logits[..., 10:] = 1
        return Prediction(logits, np.ones(1, np.float32), embedding.geometry)


@pytest.mark.parametrize(("axis", "at"), [("i", (20, 5, 5)), ("j", (5, 20, 5)), ("k", (5, 5, 20)), (None, (5, 5, 20))])
def test_a_model_that_follows_slices_goes_along_the_axis(axis, at):
    session = Session(Slices(), ct_volume().image, axis=axis)
    session.add(Point((1, 1, 1)))
    mask = session.mask()
    assert mask[at]
    assert not mask[5, 5, 5]


def prompts_of_all_kinds(shape):
    mask = np.zeros(shape, bool)
    mask[8:14, 8:14, 9] = True
    return [
        Point((17.25, 14.5, 8)),
        Point((2, 2, 8), positive=False),
        Box((7, 5, 4), (28, 24, 14)),
        Scribble(np.array([[15, 14, 9], [16, 14, 9]])),
        Lasso(np.array([[8.5, 8, 8], [25, 9, 8], [16, 22, 8]])),
        MaskPrompt(mask),
    ]


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_replay_gives_the_same_masks_bit_for_bit(data):
    phantom = ct_volume((32, 28, 16))
    image = phantom.image if data.draw(st.booleans()) else phantom.image.plane("k", 8)
    session = Session(FakeModel(), image, window="liver", axis=data.draw(st.sampled_from([None, "k"])))
    items = data.draw(st.lists(st.sampled_from(prompts_of_all_kinds(phantom.image.shape)), min_size=1, max_size=5))
    for item in items:
        flat = item
        if image.is_2d:
            flat = {
                Point: lambda p: Point((*p.index[:2], 0), p.positive),
                Box: lambda p: Box((*p.start[:2], 0), (*p.stop[:2], 1)),
                Scribble: lambda p: Scribble(p.voxels * [1, 1, 0], p.positive),
                Lasso: lambda p: Lasso(p.vertices * [1, 1, 0]),
                MaskPrompt: lambda p: MaskPrompt(p.mask[..., 9:10]),
            }[type(item)](item)
        session.add(flat)
        if data.draw(st.booleans()):
            session.mask()  # asking in between must not matter
    if data.draw(st.booleans()):
        session.undo()
    again = Session.from_json(session.to_json(), FakeModel(), image)
    assert again.objects == session.objects
    for name in session.objects:
        assert np.array_equal(again.mask(object=name), session.mask(object=name))
        assert again.score(object=name) == session.score(object=name)
    assert again.to_json() == session.to_json()


def test_a_window_of_numpy_s_numbers_is_kept(phantom):
    session = Session(FakeModel(), phantom.image, window=(np.float32(100), np.float32(50)))
    assert Session.from_json(session.to_json(), session.model, phantom.image).window == (100.0, 50.0)


def test_replay_keeps_what_can_be_redone(session):
    session.add(DISK)
    session.add(ELLIPSE, object="other")
    session.undo()
    again = Session.from_json(session.to_json(), session.model, session.image)
    again.redo()
    assert again.objects == ("object", "other")


def test_masks_do_not_depend_on_a_warm_cache(tmp_path):
    phantom = ct_volume(noise_hu=60)
    masks = []
    for _ in range(2):
        session = volume_session(phantom, cache=EmbeddingCache(tmp_path))
        masks.append(session.labels.array)
    masks.append(volume_session(phantom).labels.array)
    assert session.model.embeds == 0
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


def test_replay_on_another_image_grid_or_model_is_refused(session, phantom):
    session.add(DISK)
    text = session.to_json()
    image = phantom.image
    brighter = image.array.copy()
    brighter[0, 0, 0, 0] += 1
    with pytest.raises(SessionError, match="another image"):
        Session.from_json(text, session.model, Image(brighter, image.geometry))
    moved = Image(image.array, Geometry(image.shape, np.diag([2, 2, 2, 1.0])))
    with pytest.raises(GeometryMismatchError):
        Session.from_json(text, session.model, moved)
    fields = {name: getattr(fake_model.CARD, name) for name in ModelCard.__slots__}
    other = FakeModel(ModelCard(**(fields | {"sha256": "1" * 64})))
    with pytest.raises(SessionError, match="other weights"):
        Session.from_json(text, other, image)


def test_the_order_in_memory_does_not_change_the_image(session, phantom):
    session.add(DISK)
    same = Image(np.asfortranarray(phantom.image.array), phantom.image.geometry)
    assert Session.from_json(session.to_json(), session.model, same).objects == ("object",)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("actions"),
        lambda d: d.update(version=99),
        lambda d: d.update(position=7),
        lambda d: d.update(position="one"),
        lambda d: d.update(position=1.0),
        lambda d: d.update(axis="x"),
        lambda d: d.update(window=[1, 2, 3]),
        lambda d: d.update(channels={"rule": "average"}),
        lambda d: d.update(channels=["average"]),
        lambda d: d["actions"].append({"do": "dance"}),
        lambda d: d["actions"].append({"do": "add"}),
        lambda d: d["actions"].append({"do": "add", "object": "a", "prompt": []}),
        lambda d: d.update(image=[]),
    ],
)
def test_text_that_is_no_session_is_a_named_error(session, change):
    session.add(DISK)
    entries = json.loads(session.to_json())
    change(entries)
    with pytest.raises(SessionError):
        Session.from_json(json.dumps(entries), session.model, session.image)


def test_a_session_of_before_there_was_a_choice_of_channels_is_read(session):
    session.add(DISK)
    entries = json.loads(session.to_json())
    del entries["channels"]
    again = Session.from_json(json.dumps(entries), session.model, session.image)
    assert np.array_equal(again.mask(), session.mask())


@pytest.mark.parametrize("text", ["", "[]", "{", "3", '{"format": "other", "version": 1}', "[" * 100_000])
def test_other_text_is_a_named_error(session, text):
    with pytest.raises(SessionError):
        Session.from_json(text, session.model, session.image)


def test_a_session_tells_nothing_about_where_the_image_came_from(phantom):
    image = Image(phantom.image.array, phantom.image.geometry, source="/home/ward/DOE^JANE.dcm")
    session = Session(FakeModel(), image)
    session.add(DISK)
    assert "DOE" not in session.to_json()


@pytest.mark.parametrize("image", [picture().image, ct_volume().image], ids=["picture", "volume"])
def test_a_kind_that_the_model_does_not_take_is_refused_when_added(image):
    session = Session(FakeModel(), image)
    with pytest.raises(UnsupportedPromptError, match="text"):
        session.add(Text("liver"))
    assert session.objects == ()
