"""Requests over HTTP: what refusals mean, and what is not believed of an answer."""

import json
import logging
import socket
import sys
import time

import pytest
from tests.models.nninteractive.stand_in import StandIn

from samaritan.core.errors import MissingExtraError, ResourceError, ServerBusyError, SessionError, SessionExpiredError
from samaritan.models.nninteractive.transport import Request, Timeouts, Transport

HELLO = Request(path="/healthz", method="GET")


@pytest.fixture
def transport(server):
    transport = Transport(server.url)
    yield transport
    transport.close()


@pytest.fixture
def hasty(server):
    transport = Transport(server.url, timeouts=Timeouts(read_s=0.5))
    yield transport
    transport.close()


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, SessionError, "status 400 \\(of no use\\)"),
        (401, SessionError, "NN_INTERACTIVE_API_KEY"),
        (403, SessionError, "status 403"),
        (404, SessionError, "nnInteractive 2 server"),
        (410, SessionExpiredError, "lease"),
        (413, ResourceError, "Crop"),
        (422, SessionError, "status 422"),
        (500, SessionError, "status 500"),
        (503, ServerBusyError, "in 10 s"),
        (204, SessionError, "status 204"),
    ],
)
def test_each_refusal_has_its_error(server, transport, status, error, words):
    def refuse(handler):
        body = b"" if status == 204 else json.dumps({"detail": "of no\nuse\x1b"}).encode()
        handler.reply_with(status, body, **{"Retry-After": "10"})

    server.answers["/healthz"] = refuse
    with pytest.raises(error, match=words) as caught:
        transport.ask(HELLO)
    assert type(caught.value) is error
    assert "\x1b" not in str(caught.value)


def test_a_redirect_is_not_followed(server, transport):
    with StandIn() as other:
        server.answers["/healthz"] = lambda handler: handler.reply_with(307, b"", Location=f"{other.url}/healthz")
        with pytest.raises(SessionError, match="elsewhere"):
            transport.ask(HELLO)
        assert not other.asked


def test_where_nothing_listens_it_says_how_to_start_a_server():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    transport = Transport(f"http://127.0.0.1:{port}")
    with pytest.raises(SessionError, match=rf"nninteractive-server --host 127\.0\.0\.1 --port {port}") as caught:
        transport.ask(HELLO)
    assert f"http://127.0.0.1:{port}" in str(caught.value)
    transport.close()


def test_a_server_that_hangs_up_or_says_nothing_is_told_of(server, hasty):
    server.answers["/healthz"] = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(SessionError, match="broke"):
        hasty.ask(HELLO)
    server.answers["/healthz"] = lambda _: time.sleep(1)
    with pytest.raises(SessionError, match=r"within 0\.5 s"):
        hasty.ask(HELLO)


def test_a_dripping_answer_is_cut_off(server, hasty):
    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "60")
        handler.end_headers()
        for _ in range(12):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    server.answers["/healthz"] = drip
    with pytest.raises(SessionError, match="not whole"):
        hasty.ask(HELLO)


def test_a_closed_connection_is_told_of(server):
    transport = Transport(server.url)
    transport.close()
    with pytest.raises(SessionError, match="closed"):
        transport.ask(HELLO)


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:1527", "ftp://127.0.0.1", "http://", "http://:80", "http://[::1", "http://host:port",
        "http://host:99999", "http://host:0", "http://user:hidden@host:1527", "http://host?key=hidden", "file:///etc",
        "http://host#hidden",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_unquoted(url):
    with pytest.raises(SessionError, match=r"such as http://127\.0\.0\.1:1527") as caught:
        Transport(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("key", ["hidden\r\nX-Other: 1", "hidden key", "hiddén"])
def test_a_key_that_cannot_be_sent_is_refused_unquoted(server, key):
    with pytest.raises(SessionError, match="a key with characters") as caught:
        Transport(server.url, api_key=key)
    assert "hidd" not in str(caught.value)


def test_proxies_and_password_files_of_the_environment_are_not_used(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/healthz"] = lambda handler: handler.reply(
        {"auth": handler.headers.get("Authorization"), "encoding": handler.headers["Accept-Encoding"]}
    )
    transport = Transport(server.url)
    assert transport.ask(HELLO).message == {"auth": None, "encoding": "identity"}
    transport.close()


def test_only_what_leaves_the_machine_unencrypted_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        for url in ("http://localhost:1527", "https://server.example"):
            Transport(url).close()
        assert not caplog.records
        Transport("http://server.example:1527").close()
    assert "unencrypted" in caplog.text


def test_a_key_does_not_leave_the_machine_unencrypted():
    Transport("http://localhost:1527", api_key="hidden").close()
    Transport("https://server.example", api_key="hidden").close()
    with pytest.raises(SessionError, match=r"ssh -L 1527:127\.0\.0\.1:99 server\.example") as caught:
        Transport("http://server.example:99", api_key="hidden")
    assert "hidden" not in str(caught.value)


def test_how_long_an_answer_may_take_is_said_by_the_environment(server, monkeypatch):
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_TIMEOUT_S", "0.25")
    server.answers["/healthz"] = lambda _: time.sleep(1)
    transport = Transport(server.url)
    with pytest.raises(SessionError, match=r"within 0\.25 s[^~]*SAMARITAN_NNINTERACTIVE_TIMEOUT_S=0\.5"):
        transport.ask(HELLO)
    transport.close()
    assert Transport(server.url, timeouts=Timeouts(read_s=7)).timeouts.read_s == 7
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_TIMEOUT_S", "1800")
    assert (Timeouts.usual().read_s, Timeouts.usual().image_s) == (1800, 1800)
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_TIMEOUT_S", "")
    assert Timeouts.usual() == Timeouts()


@pytest.mark.parametrize("text", ["soon", "0", "-5", "nan", "inf", "5 s"])
def test_a_time_that_is_none_is_refused(server, monkeypatch, text):
    monkeypatch.setenv("SAMARITAN_NNINTERACTIVE_TIMEOUT_S", text)
    with pytest.raises(SessionError, match="seconds above 0"):
        Transport(server.url)


def test_without_httpx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'samaritan\[nninteractive\]'"):
        Transport("http://127.0.0.1:1527")


def test_an_endless_answer_is_cut_off(server, transport):
    poured = []

    def pour(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while len(poured) < 2000:  # twenty megabytes: more than lies between the two
            handler.wfile.write(b" " * 10_000)
            poured.append(1)

    server.answers["/healthz"] = pour
    with pytest.raises(ResourceError, match="at most 65536"):
        transport.ask(HELLO)
    assert 0 < len(poured) < 2000


def test_a_packed_answer_is_refused(server, transport):
    server.answers["/healthz"] = lambda handler: handler.reply_with(200, b"{}", **{"Content-Encoding": "gzip"})
    with pytest.raises(SessionError, match="encoding"):
        transport.ask(HELLO)
