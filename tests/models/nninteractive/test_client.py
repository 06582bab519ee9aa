"""The conversation with a server: what is asked, and what is not believed."""

import gc
import logging
import threading
import time

import numpy as np
import pytest
from tests.models.nninteractive.stand_in import StandIn, pack

from samaritan.core.errors import (
    CorruptFileError,
    ResourceError,
    SamaritanError,
    ServerBusyError,
    SessionError,
    SessionExpiredError,
)
from samaritan.models.nninteractive import client, wire
from samaritan.models.nninteractive.client import Capabilities, Lease
from samaritan.models.nninteractive.transport import Transport

SHAPE = (4, 6, 9)
WHOLE = [[0, 4], [0, 6], [0, 9]]


def volume():
    voxels = np.full(SHAPE, 100, np.int16)
    voxels[1:3, 2:5, 3:7] = 900
    return voxels


@pytest.fixture
def transport(server):
    transport = Transport(server.url)
    yield transport
    transport.close()


@pytest.fixture
def lease(transport):
    with Lease.claim(transport) as lease:
        lease.set_image(volume(), (3.0, 1.0, 0.5))
        yield lease


def eventually(condition):
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_capabilities_are_told_without_a_place(server, transport):
    found = Capabilities.ask(transport)
    assert (found.points, found.box_2d, found.box_3d, found.scribble, found.lasso) == (True, True, False, True, True)
    assert (found.start, found.refines, found.licence, found.version) == (True, True, "CC-BY-NC-SA-4.0", "2.6.0")
    assert (found.patch, found.thickness) == ((192, 192, 192), (2, 2, 2))
    assert server.paths() == ["/capabilities"]
    server.capabilities |= {"license": "!!MISSING!!"}
    assert not Capabilities.ask(transport).licence


def test_sizes_that_cannot_be_are_not_believed(server, transport):
    server.capabilities |= {"patch_size": [64, 96, 128], "preferred_scribble_thickness": [1, 2, 3]}
    found = Capabilities.ask(transport)
    assert (found.patch, found.thickness) == ((64, 96, 128), (1, 2, 3))
    for odd in (None, 2, [2, 2], [2, 2, 0], [2, 2, 2.5], [2, 2, True], ["2", "2", "2"], [10**9] * 3):
        server.capabilities |= {"patch_size": odd, "preferred_scribble_thickness": odd}
        found = Capabilities.ask(transport)
        assert (found.patch, found.thickness) == ((192, 192, 192), (1, 1, 1))


def test_all_that_is_asked_is_asked_as_the_protocol_says(server, lease):
    ones = np.ones((1, 2, 3), np.uint8)
    lease.add_start((volume() > 500).astype(np.uint8), run=False)
    lease.add_point((1, 2, 3), positive=True, run=False)
    lease.add_box((1, 2, 3), (2, 5, 7), run=False)
    lease.add_scribble(ones, (0, 0, 0), positive=False, run=False)
    lease.add_lasso(ones, (2, 2, 3), positive=True, run=True)
    lease.reset()
    flags = {"run_prediction": False, "override_capability_checks": False}
    yes, no = flags | {"include_interaction": True}, flags | {"include_interaction": False}
    assert server.asked == [
        ("/claim", None),
        ("/set_image", {"image_properties": {"spacing": [3.0, 1.0, 0.5]}}),
        ("/set_target_buffer", {"shape": list(SHAPE), "dtype": "uint8"}),
        ("/add_initial_seg_interaction", flags),
        ("/add_point_interaction", yes | {"coordinates": [1, 2, 3]}),
        ("/add_bbox_interaction", yes | {"bbox_coords": [[1, 2], [2, 5], [3, 7]]}),
        ("/add_scribble_interaction", no | {"interaction_bbox": [[0, 1], [0, 2], [0, 3]]}),
        ("/add_lasso_interaction", yes | {"interaction_bbox": [[2, 3], [2, 4], [3, 6]], "run_prediction": True}),
        ("/reset_interactions", {}),
    ]


def test_the_mask_is_kept_up_with_what_changes(server, lease):
    object_ = volume() > 500
    assert not lease.buffer.any()
    lease.add_point((1, 2, 3), positive=True, run=False)
    assert not lease.buffer.any()
    lease.add_point((2, 3, 4), positive=True, run=True)
    np.testing.assert_array_equal(lease.buffer, object_)
    lease.reset()
    assert not lease.buffer.any()
    start = np.zeros(SHAPE, np.uint8)
    start[3] = 1
    lease.add_start(start, run=False)
    np.testing.assert_array_equal(lease.buffer, start)
    lease.add_point((1, 2, 3), positive=True, run=True)
    np.testing.assert_array_equal(lease.buffer, start | object_)
    (seat,) = server.seats.values()
    np.testing.assert_array_equal(lease.buffer, seat.buffer)


def test_a_place_is_given_back_once(server, transport):
    with Lease.claim(transport) as lease:
        assert len(server.seats) == 1
    assert not server.seats
    lease.release()
    assert server.paths().count("/release") == 1
    with pytest.raises(SessionError, match="given back"):
        lease.reset()


def test_giving_back_does_not_mind_a_server_that_is_gone(server, transport):
    lease = Lease.claim(transport)
    server.expire()
    lease.release()
    other = Lease.claim(transport)
    server.answers["/release"] = lambda handler: handler.reply_with(500, b"")
    other.release()


def test_a_forked_child_does_not_give_back_its_parents_place(server, transport, monkeypatch):
    lease = Lease.claim(transport)
    monkeypatch.setattr(client.os, "getpid", lambda: -1)
    lease.release()
    assert server.seats


def test_heartbeats_keep_a_place_and_end_with_it():
    with StandIn(liveness_s=1.0) as server:
        transport = Transport(server.url)
        lease = Lease.claim(transport)
        time.sleep(1.5)
        lease.set_image(volume(), (1.0, 1.0, 1.0))
        assert server.beats >= 2
        lease.release()
        transport.close()
        assert eventually(lambda: not heartbeats())


def test_heartbeats_end_when_the_place_is_lost():
    with StandIn(liveness_s=0.3) as server:
        transport = Transport(server.url)
        lease = Lease.claim(transport)
        server.expire()
        assert eventually(lambda: not heartbeats())
        lease.release()
        transport.close()


def test_a_server_without_a_clock_is_not_pestered(server, transport):
    server.answers["/claim"] = lambda handler: handler.reply({"lease_token": "a", "liveness_timeout_seconds": 0})
    with Lease.claim(transport):
        time.sleep(0.2)
    assert not server.beats


def heartbeats():
    gc.collect()
    return [thread for thread in threading.enumerate() if thread.name == "nninteractive-heartbeat"]


def test_a_full_server_and_a_lost_place_are_refused(server, transport, lease):
    with pytest.raises(ServerBusyError, match="max-sessions"):
        Lease.claim(transport)
    server.expire()
    with pytest.raises(SessionExpiredError):
        lease.reset()


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_wrong_key_is_refused(key):
    with StandIn(key="secret") as server:
        transport = Transport(server.url, api_key=key)
        with pytest.raises(SessionError, match="NN_INTERACTIVE_API_KEY"):
            Capabilities.ask(transport)
        transport.close()
        transport = Transport(server.url, api_key="secret")
        assert Capabilities.ask(transport).points
        transport.close()


def test_nothing_secret_is_logged(caplog):
    with caplog.at_level(logging.DEBUG), StandIn(key="the-key") as server:
        transport = Transport(server.url, api_key="the-key")
        with Lease.claim(transport) as lease:
            (token,) = server.seats
            lease.set_image(volume(), (1.0, 1.0, 1.0))
            lease.add_point((1, 2, 3), positive=True, run=True)
            server.expire()
        transport.close()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("samaritan")]
    assert ours
    assert not any(secret in message for message in ours for secret in (token, "the-key", "[1, 2, 3]"))


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 60000, b"<html>", b"\xff", b'"text"', b"9" * 6000])
def test_an_answer_that_is_no_object_is_refused(server, transport, body):
    server.answers["/capabilities"] = lambda handler: handler.reply_with(200, body)
    with pytest.raises(SessionError, match="no JSON object"):
        Capabilities.ask(transport)


def test_capabilities_of_another_kind_of_server_are_refused(server, transport):
    for facts in ({}, {"supported_interactions": ["points"]}):
        server.answers["/capabilities"] = lambda handler, facts=facts: handler.reply(facts)
        with pytest.raises(SessionError, match=r"version 2\.5 or later"):
            Capabilities.ask(transport)


@pytest.mark.parametrize(
    "facts",
    [{}, {"lease_token": 5}, {"lease_token": ""}, {"lease_token": "a\r\nb: c"}, {"lease_token": "a" * 600}]
    + [{"lease_token": "a", "liveness_timeout_seconds": odd} for odd in ("long", None, float("nan"), float("inf"))],
)
def test_a_lease_that_cannot_be_used_is_refused(server, transport, facts):
    server.answers["/claim"] = lambda handler: handler.reply(facts)
    with pytest.raises(SessionError, match="a lease without"):
        Lease.claim(transport)


@pytest.mark.parametrize("announced", [str(10**12), "-1", "many", str(wire.largest_body(216) + 1)])
def test_a_huge_answer_is_refused_unread(server, lease, announced):
    def announce(handler):
        handler.send_response(200)
        handler.send_header("X-Meta", '{"ran_prediction":true,"bbox":[[0,4],[0,6],[0,9]]}')
        handler.send_header("Content-Length", announced)
        handler.end_headers()
        handler.close_connection = True

    server.answers["/add_point_interaction"] = announce
    with pytest.raises(SamaritanError) as caught:
        lease.add_point((0, 0, 0), positive=True, run=True)
    # What is no number at all does not even get past the HTTP library.
    assert isinstance(caught.value, ResourceError) or not announced.isdigit()


@pytest.mark.parametrize(
    "block",
    [
        [], {}, "all", 7, [[0, 4], [0, 6]], [*WHOLE, [0, 1]], [[0, 5], [0, 6], [0, 9]], [[-1, 4], [0, 6], [0, 9]],
        [[0, 0], [0, 6], [0, 9]], [[3, 1], [0, 6], [0, 9]], [[0, 4.0], [0, 6], [0, 9]], [[False, True], [0, 6], [0, 9]],
        [[0, 4, 8], [0, 6], [0, 9]], [[0, 10**30], [0, 6], [0, 9]], [None, [0, 6], [0, 9]], [["0", 4], [0, 6], [0, 9]],
    ],
)  # fmt: skip
def test_a_changed_block_that_is_none_is_refused(server, lease, block):
    body = pack(np.ones(SHAPE, np.uint8))
    server.answers["/add_point_interaction"] = lambda handler: handler.reply(
        ({"ran_prediction": True, "bbox": block}, body)
    )
    with pytest.raises(SessionError, match="not within the image"):
        lease.add_point((0, 0, 0), positive=True, run=True)
    assert not lease.buffer.any()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (pack(np.ones((4, 6, 8), np.uint8)), SessionError),
        (pack(np.ones((9, 6, 4), np.uint8)), SessionError),
        (pack(np.ones(SHAPE, np.uint16)), ResourceError),
        (pack(np.ones((5, 6, 9), np.uint8)), ResourceError),
        (b"nonsense", CorruptFileError),
        (pack(np.ones(SHAPE, np.uint8))[:-1], CorruptFileError),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(server, lease, body, error):
    server.answers["/add_point_interaction"] = lambda handler: handler.reply(
        ({"ran_prediction": True, "bbox": WHOLE}, body)
    )
    with pytest.raises(error):
        lease.add_point((0, 0, 0), positive=True, run=True)
    assert not lease.buffer.any()


@pytest.mark.parametrize("body", [pack(np.ones(SHAPE, np.bool_)), pack(np.full(SHAPE, 7, np.uint8))])
def test_any_mask_of_single_bytes_is_taken(server, lease, body):
    server.answers["/add_point_interaction"] = lambda handler: handler.reply(
        ({"ran_prediction": True, "bbox": WHOLE}, body)
    )
    lease.add_point((0, 0, 0), positive=True, run=True)
    assert (lease.buffer == 1).all()


@pytest.mark.parametrize(("said", "body"), [({"bbox": None}, b""), ({"bbox": WHOLE}, b"")])
def test_no_change_changes_nothing(server, lease, said, body):
    server.answers["/add_point_interaction"] = lambda handler: handler.reply(({"ran_prediction": True, **said}, body))
    lease.add_point((0, 0, 0), positive=True, run=True)
    assert not lease.buffer.any()


@pytest.mark.parametrize("run", [True, False])
@pytest.mark.parametrize("said", [{}, {"ran_prediction": None}, {"ran_prediction": "yes"}, "the contrary"])
def test_a_look_that_was_not_asked_for_or_not_taken_is_refused(server, lease, said, run):
    meta = {"ran_prediction": not run} if isinstance(said, str) else said
    server.answers["/add_point_interaction"] = lambda handler: handler.reply((meta, b""))
    with pytest.raises(SessionError, match="ran a prediction"):
        lease.add_point((0, 0, 0), positive=True, run=run)


def test_another_shape_for_the_image_is_refused(server, transport):
    with Lease.claim(transport) as lease:
        server.answers["/set_image"] = lambda handler: handler.reply({"original_image_shape": [1, 9, 6, 4]})
        with pytest.raises(SessionError, match="another shape"):
            lease.set_image(volume(), (1.0, 1.0, 1.0))
