"""The remote model: the right voxels, leases that come and go, and what it says of itself."""

import gc
import logging
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from tests.models.nninteractive.stand_in import StandIn

from samaritan.core.errors import (
    CorruptFileError,
    MissingExtraError,
    ServerBusyError,
    SessionError,
    SessionExpiredError,
    UnsupportedPromptError,
    WeightsError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer import EmbeddingCache, segment
from samaritan.models.nninteractive import ENTRY, connect
from samaritan.models.nninteractive.card import remote_card
from samaritan.testing.phantoms import ct_volume, picture

# No two sides, spacings or places are alike, and the object is its own image in no mirror.
SHAPE = (13, 9, 5)
AFFINE = np.array([(0, -1.1, 0, 5), (0.7, 0, 0, -9), (0, 0, -3.0, 2), (0, 0, 0, 1)], float)
OBJECT = np.zeros(SHAPE, np.bool_)
OBJECT[7:12, 1:6, 2:5] = True
OBJECT[10:12, 4:6] = OBJECT[7:9, 1:3, 4] = False


def subject(object_=OBJECT):
    grid = Geometry(object_.shape, AFFINE)
    return Image(np.where(object_, np.float32(3000), np.float32(500))[None], grid)


def one(image, *items):
    return Prompts(image.geometry, items)


# -- the right place --------------------------------------------------------------------------------------------


def test_the_server_gets_the_volume_and_its_spacing_in_the_wires_order(server, model):
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    image = Image(np.asfortranarray(values[None]), Geometry(SHAPE, AFFINE))
    model.decode(model.embed(image), one(image, Point((12, 8, 4))))
    (seat,) = server.seats.values()
    np.testing.assert_array_equal(seat.image[0], values.transpose(2, 1, 0))
    assert seat.image.dtype == np.int16
    assert dict(server.asked)["/set_image"] == {"image_properties": {"spacing": [3.0, 1.1, 0.7]}}
    assert dict(server.asked)["/set_target_buffer"] == {"shape": [5, 9, 13], "dtype": "uint8"}


@pytest.mark.parametrize(
    "item",
    [
        Point((11.4, 3.4, 1.6)),
        Scribble(np.array([(10, 3, 3), (10, 2, 3), (9, 2, 3)])),
        Lasso(np.array([(6.6, 0.6, 3), (11.4, 0.6, 3), (11.4, 5.4, 3), (6.6, 5.4, 3)])),
        Lasso(np.array([(8, 0.6, 1.6), (8, 5.4, 1.6), (8, 5.4, 4.4), (8, 0.6, 4.4)]), "i"),
        Lasso(np.array([(6.6, 3, 1.6), (11.4, 3, 1.6), (11.4, 3, 4.4), (6.6, 3, 4.4)]), "j"),
        Box((6, 0, 2), (13, 8, 3)),
        Box((6, 0, 1), (13, 8, 5)),
        MaskPrompt(OBJECT),
    ],
    ids=["point", "scribble", "lasso k", "lasso i", "lasso j", "box", "thick box", "mask"],
)
def test_masks_come_back_exactly_where_the_object_is(model, item):
    image = subject()
    found = model.decode(model.embed(image), one(image, item))
    np.testing.assert_array_equal(found.mask, OBJECT)
    assert found.geometry == image.geometry
    assert set(np.unique(found.logits)) == {-4, 4}
    assert np.isnan(found.score)


def test_earlier_predictions_and_negative_marks_keep_their_place(model):
    image = subject()
    embedding = model.embed(image)
    other = np.zeros(SHAPE, np.bool_)
    other[0:2, 7:9, 4] = True
    before = Prediction(np.where(other, np.float32(1), np.float32(-1))[None], np.ones(1, np.float32), image.geometry)
    found = model.decode(embedding, one(image, Point((8, 2, 2))), before)
    np.testing.assert_array_equal(found.mask, OBJECT | other)
    beside = Point((8, 5, 2), positive=False)
    taken = model.decode(embedding, one(image, Point((8, 2, 2)), beside), found).mask
    assert not taken[8, 5, 2]
    assert taken[0, 7, 4]


def test_the_whole_of_inference_finds_an_object_in_hounsfield_units(model, tmp_path):
    phantom = ct_volume(affine=AFFINE)
    cache = EmbeddingCache(tmp_path)
    objects = {"liver": one(phantom.image, phantom.box(1)), "kidney": one(phantom.image, phantom.box(2))}
    for _ in range(2):  # encoded, and from disk
        found = segment(model, phantom.image, objects, cache=cache)
        np.testing.assert_array_equal(found.labels.array, phantom.truth.array)
    assert cache.info().entries == 1


def test_a_picture_is_a_volume_of_one_plane(server, model):
    phantom = picture()
    found = segment(model, phantom.image, {"disk": one(phantom.image, phantom.box(1))})
    np.testing.assert_array_equal(found.labels.array == 1, phantom.mask(1))
    (seat,) = server.seats.values()
    assert seat.image.shape == (1, 1, 64, 96)


# -- what is sent when ------------------------------------------------------------------------------------------


def test_a_volume_is_uploaded_once_and_prompts_are_forgotten(server, model):
    image = subject()
    embedding = model.embed(image)
    assert server.paths() == ["/capabilities"]
    first = model.decode(embedding, one(image, Point((8, 2, 2))))
    second = model.decode(embedding, one(image, Point((0, 0, 0))))
    again = model.decode(model.embed(subject()), one(image, Point((8, 2, 2))))
    np.testing.assert_array_equal(second.mask, ~OBJECT)
    np.testing.assert_array_equal(first.logits, again.logits)
    assert server.paths().count("/claim") == server.paths().count("/set_image") == 1
    assert server.paths().count("/reset_interactions") == 2


def test_another_volume_or_spacing_is_uploaded_again(server, model):
    image, other = subject(), subject(OBJECT[::-1])
    stretched = Image(image.array, Geometry(SHAPE, np.diag([1, 1, 2, 1])))
    for now in (image, other, stretched, image):
        found = model.decode(model.embed(now), one(now, Point((8, 2, 2)), Point((4, 2, 2))))
        assert found.geometry == now.geometry
    assert server.paths().count("/set_image") == 4


def test_the_model_looks_once_for_all_prompts(server, model):
    image = subject()
    items = (MaskPrompt(OBJECT), Point((8, 2, 2)), Point((0, 0, 0), positive=False), Box((6, 0, 1), (13, 8, 5)))
    model.decode(model.embed(image), one(image, *items))
    looks = [message["run_prediction"] for path, message in server.asked if path.startswith("/add_")]
    assert looks == [False] * 5 + [True]


@pytest.mark.parametrize("refines", [False, True])
def test_clicks_farther_apart_than_the_model_sees_are_all_looked_at(refines):
    """As it was, the model looked around the last click alone."""
    grid = Geometry((80, 20, 12), AFFINE)
    first, second = np.zeros((2, *grid.shape), np.bool_)
    first[4:14, 4:14, 3:9] = second[60:74, 4:14, 3:9] = True
    image = Image(np.where(first | second, np.float32(3000), np.float32(500))[None], grid)
    clicks = (Point((8, 8, 5)), Point((66, 8, 5)))
    with StandIn(patch_size=[24, 24, 24]) as server, connect(server.url, api_key="") as model:
        assert model.card.native_shape == (24, 24, 24)
        embedding = model.embed(image)
        before = model.decode(embedding, one(image, clicks[0])) if refines else None
        if before is not None:
            np.testing.assert_array_equal(before.mask, first)
        server.asked.clear()
        np.testing.assert_array_equal(model.decode(embedding, one(image, *clicks), before).mask, first | second)
        looks = [message["run_prediction"] for path, message in server.asked if path == "/add_point_interaction"]
        assert looks == [not refines, True]  # the first is in the mask already


def test_a_scribble_reaches_the_server_as_thick_as_it_prefers(server, model):
    image = subject()
    model.decode(model.embed(image), one(image, Scribble(np.array([(10, 2, 2), (11, 2, 2)]))))
    (message,) = [message for path, message in server.asked if path == "/add_scribble_interaction"]
    assert message["interaction_bbox"] == [[2, 3], [2, 4], [10, 13]]


def test_the_server_gets_pet_whole_and_hounsfield_units_as_they_are(server, model):
    uptake = np.linspace(0, 40, int(np.prod(SHAPE))).reshape(1, *SHAPE)
    hounsfield = np.linspace(-1024, 3500, int(np.prod(SHAPE))).reshape(1, *SHAPE).round()
    for values, modality, window, wanted in (
        (uptake, "PT", None, np.rint(uptake / 40 * 32767)),
        (hounsfield, "CT", None, hounsfield + 1024),
        (hounsfield, "CT", "abdomen", np.clip(hounsfield, -160, 240) + 1024),
    ):
        image = Image(values, Geometry(SHAPE, AFFINE), modality=modality)
        segment(model, image, {"it": one(image, Point((8, 2, 2)))}, window=window)
        (seat,) = server.seats.values()
        np.testing.assert_array_equal(seat.image[0], wanted[0].transpose(2, 1, 0))


def test_a_volume_of_one_value_holds_nothing(server, model):
    grid = Geometry(SHAPE, AFFINE)
    for value in (0, 700):
        image = Image(np.full((1, *SHAPE), value, np.float32), grid)
        found = model.decode(model.embed(image), one(image, Point((1, 1, 1))))
        assert not found.mask.any()
        assert found.score == 0
        drawn = model.decode(model.embed(image), one(image, MaskPrompt(OBJECT)))
        np.testing.assert_array_equal(drawn.mask, OBJECT)
    assert server.paths() == ["/capabilities"]


def test_an_empty_prediction_stays_empty_under_negative_marks(server, model):
    image = subject()
    nothing = Prediction(np.full((1, *SHAPE), -1, np.float32), np.zeros(1, np.float32), image.geometry)
    found = model.decode(model.embed(image), one(image, Point((1, 1, 1), positive=False)), nothing)
    assert not found.mask.any()
    assert server.paths() == ["/capabilities"]


def test_values_become_whole_numbers_within_sixteen_bits(model):
    values = np.linspace(-50_000, 50_000, int(np.prod(SHAPE))).reshape(1, *SHAPE)
    for array in (values, values.astype(np.float32), values.astype(np.int64)):
        voxels = model.embed(Image(array, Geometry(SHAPE, AFFINE))).voxels
        wanted = np.clip(np.rint(array[0]), -32768, 32767).transpose(2, 1, 0)
        np.testing.assert_array_equal(voxels, wanted)
        assert voxels.flags.c_contiguous
        assert not voxels.flags.writeable


def test_arrays_of_another_volume_are_refused(model):
    image = subject()
    packed = dict(model.pack(model.embed(image)))
    for arrays in (
        {},
        {"grey": packed["voxels"]},
        {"voxels": packed["voxels"].astype(np.float32)},
        {"voxels": packed["voxels"].transpose(2, 1, 0)},
    ):
        with pytest.raises(CorruptFileError):
            model.unpack(arrays, image.geometry)


# -- leases that come and go ------------------------------------------------------------------------------------


def test_a_lease_that_the_server_took_back_is_taken_again(server, model):
    image = subject()
    embedding = model.embed(image)
    prompts = one(image, Point((8, 2, 2)), Scribble(np.array([(10, 2, 2)])))
    first = model.decode(embedding, prompts)
    server.expire()
    np.testing.assert_array_equal(model.decode(embedding, prompts).logits, first.logits)
    assert server.paths().count("/claim") == server.paths().count("/set_image") == 2
    assert len(server.seats) == 1


@pytest.mark.parametrize("path", ["/set_target_buffer", "/add_point_interaction", "/add_scribble_interaction"])
def test_a_lease_may_be_lost_at_any_moment(server, model, path):
    image = subject()

    def lose(handler):
        del server.answers[path]  # once only
        server.expire()
        handler.rfile.read(0)
        handler.reply_with(410, b'{"detail":"lease expired or unknown"}')

    server.answers[path] = lose
    prompts = one(image, Scribble(np.array([(10, 2, 2), (9, 2, 2)])), Point((8, 2, 2)))
    np.testing.assert_array_equal(model.decode(model.embed(image), prompts).mask, OBJECT)


def test_a_lease_that_is_lost_again_and_again_is_told_of(server, model):
    image = subject()
    server.answers["/set_image"] = lambda handler: handler.reply_with(410, b"")
    with pytest.raises(SessionExpiredError):
        model.decode(model.embed(image), one(image, Point((8, 2, 2))))
    assert server.paths().count("/claim") == 2


def test_a_full_server_is_told_of_and_asked_again_later(server, model):
    image = subject()
    prompts = one(image, Point((8, 2, 2)))
    with connect(server.url) as other:
        other.decode(other.embed(image), prompts)
        with pytest.raises(ServerBusyError, match="in 10 s"):
            model.decode(model.embed(image), prompts)
    assert model.decode(model.embed(image), prompts).mask.any()


def test_after_a_failed_upload_the_volume_is_sent_anew(server, model):
    image = subject()
    prompts = one(image, Point((8, 2, 2)))
    server.answers["/set_target_buffer"] = lambda handler: handler.reply_with(500, b"")
    with pytest.raises(SessionError, match="status 500"):
        model.decode(model.embed(image), prompts)
    server.answers.clear()
    np.testing.assert_array_equal(model.decode(model.embed(image), prompts).mask, OBJECT)
    assert server.paths().count("/set_image") == 2


def test_after_a_failed_upload_the_volume_before_is_sent_anew_too(server, model):
    image, other = subject(), subject(OBJECT[::-1])
    model.decode(model.embed(image), one(image, Point((8, 2, 2))))
    server.answers["/set_target_buffer"] = lambda handler: handler.reply_with(500, b"")
    with pytest.raises(SessionError, match="status 500"):
        model.decode(model.embed(other), one(other, Point((4, 2, 2))))
    server.answers.clear()
    np.testing.assert_array_equal(model.decode(model.embed(image), one(image, Point((8, 2, 2)))).mask, OBJECT)


def test_what_was_half_said_is_forgotten(server, model):
    image = subject()
    embedding = model.embed(image)
    server.answers["/add_scribble_interaction"] = lambda handler: handler.reply_with(500, b"")
    with pytest.raises(SessionError, match="status 500"):
        model.decode(embedding, one(image, Point((0, 0, 0)), Scribble(np.array([(10, 2, 2), (9, 2, 2)]))))
    found = model.decode(embedding, one(image, Point((8, 2, 2))))
    np.testing.assert_array_equal(found.mask, OBJECT)


def test_a_server_that_went_away_is_told_of():
    image = subject()
    with StandIn() as server:
        model = connect(server.url, api_key="")
        embedding = model.embed(image)
        model.decode(embedding, one(image, Point((8, 2, 2))))
    with pytest.raises(SessionError, match=server.url):
        model.decode(embedding, one(image, Point((8, 2, 2))))
    model.close()


def test_closing_gives_the_place_back(server):
    image = subject()
    with connect(server.url, api_key="") as model:
        embedding = model.embed(image)
        model.decode(embedding, one(image, Point((8, 2, 2))))
        assert server.seats
    assert not server.seats
    model.close()
    with pytest.raises(SessionError, match="closed"):
        model.decode(embedding, one(image, Point((8, 2, 2))))


@pytest.mark.parametrize("path", ["/add_point_interaction", "/claim"])
def test_closing_does_not_wait_for_who_asks(server, path):
    asked, goes_on = threading.Event(), threading.Event()
    left_waiting = []

    def dawdle(handler):
        del server.answers[path]
        asked.set()
        left_waiting.append(not goes_on.wait(10))
        handler.handle_one(b"")

    server.answers[path] = dawdle
    image = subject()
    model = connect(server.url, api_key="")
    embedding, errors = model.embed(image), []

    def ask():
        try:
            model.decode(embedding, one(image, Point((8, 2, 2))))
        except SessionError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(10)
    model.close()
    assert not left_waiting  # the server still thinks
    goes_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert left_waiting == [False]
    assert len(errors) == 1
    assert not server.seats
    assert server.paths().count("/claim") == 1  # no other place is taken by a model that was closed


def test_a_model_that_is_no_longer_used_gives_the_place_back(server):
    image = subject()
    model = connect(server.url, api_key="")
    model.decode(model.embed(image), one(image, Point((8, 2, 2))))
    del model
    gc.collect()
    assert not server.seats


def test_the_end_of_the_program_gives_the_place_back(server):
    program = """
        import sys
        import numpy as np
        from samaritan.core.geometry import Geometry
        from samaritan.core.image import Image
        from samaritan.core.prompts import Point, Prompts
        from samaritan.models.nninteractive import connect
        image = Image(np.arange(60).reshape(1, 3, 4, 5), Geometry.from_spacing((3, 4, 5)))
        model = connect(sys.argv[1])
        model.decode(model.embed(image), Prompts(image.geometry, (Point((0, 0, 0)),)))
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), server.url], check=True, timeout=60)
    assert "/add_point_interaction" in server.paths()
    assert server.paths()[-1] == "/release"
    assert not server.seats


# -- what it says of itself -------------------------------------------------------------------------------------


def test_the_card_is_read_without_a_server_or_what_it_takes_to_ask_one():
    card = ENTRY.card()
    assert card == remote_card()
    assert card.dims == 3
    assert not card.commercial_use
    program = """
        import sys
        from samaritan.models.nninteractive import ENTRY
        ENTRY.card()
        assert not {"httpx", "blosc2", "torch", "samaritan.models.nninteractive.adapter"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_a_connected_card_tells_what_the_server_takes():
    kinds = {"points": False, "lasso": False, "bbox2d": False, "bbox3d": True}
    told = {"license": "Apache 2.0", "supports_initial_label": False}
    with StandIn(kinds=kinds, **told) as server, connect(server.url, api_key="") as model:
        assert model.card.prompts == {"box", "scribble"}
        assert model.card.licence == "Apache-2.0"
        assert not model.card.commercial_use
        image = subject()
        with pytest.raises(UnsupportedPromptError, match="a point prompt"):
            model.decode(model.embed(image), one(image, Point((1, 1, 1))))


def test_a_server_that_takes_nothing_known_is_refused():
    none = dict.fromkeys(("points", "bbox2d", "scribble", "lasso"), False)
    server = StandIn(kinds=none, supports_initial_label=False)
    with server, pytest.raises(SessionError, match="takes no prompt"):
        connect(server.url, api_key="")


def test_the_key_comes_from_the_caller_or_the_environment(monkeypatch):
    with StandIn(key="secret") as server:
        monkeypatch.setenv("NN_INTERACTIVE_API_KEY", "secret")
        connect(server.url).close()
        with pytest.raises(SessionError, match="Invalid bearer token"):
            connect(server.url, api_key="other")
        monkeypatch.delenv("NN_INTERACTIVE_API_KEY")
        with pytest.raises(SessionError, match="Missing bearer token"):
            connect(server.url)


def test_by_name_the_server_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_URL", f" {server.url}/ ")
    model = ENTRY.load("auto")
    assert model.card.name == "nninteractive"
    model.close()


def test_by_name_the_time_that_answers_may_take_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_URL", server.url)
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_TIMEOUT_S", "0.25")
    server.answers["/capabilities"] = lambda _: time.sleep(1)
    with pytest.raises(WeightsError, match=r"within 0\.25 s"):
        ENTRY.load("auto")
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_TIMEOUT_S", "long")
    with pytest.raises(WeightsError, match="seconds above 0"):
        ENTRY.load("auto")


def test_by_name_without_a_server_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("SAMARITAN_NNINTERACTIVE_URL", raising=False)
    with pytest.raises(WeightsError, match=r"export SAMARITAN_NNINTERACTIVE_URL=http://127\.0\.0\.1:1527"):
        ENTRY.load("auto")
    with StandIn() as server:
        url = server.url
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_URL", url)
    with pytest.raises(WeightsError, match="nninteractive-server --host"):
        ENTRY.load("cpu")


@pytest.mark.parametrize("missing", ["httpx", "blosc2"])
def test_without_the_extra_it_says_what_to_install(server, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'samaritan\[nninteractive\]'"):
        connect(server.url)


def test_no_voxel_prompt_or_name_is_logged(server, caplog):
    image = Image(subject().array, Geometry(SHAPE, AFFINE), source="/data/Doe^Jane.nii")
    with caplog.at_level(logging.DEBUG, logger="samaritan"), connect(server.url, api_key="") as model:
        model.decode(model.embed(image), one(image, Point((8, 2, 2))))
        server.expire()
        model.decode(model.embed(image), one(image, Point((8, 2, 2))))
    ours = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("samaritan"))
    assert ours
    assert not any(secret in ours for secret in ("Doe", "13", "(8, 2, 2)", *server.seats))
