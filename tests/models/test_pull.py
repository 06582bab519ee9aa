"""Checkpoints come whole and right, or a person is told what to do."""

import errno
import hashlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.models.file_server import serving
from tests.models.toys import publish, use_toys

from samaritan.core.errors import (
    ChecksumError,
    LicenceNotAcceptedError,
    ResourceError,
    UnknownNameError,
    WeightsError,
    WriteError,
)
from samaritan.models import download, web_errors
from samaritan.models.published import published, published_names, recorded
from samaritan.models.pull import kept, pull

CONTENT = bytes(range(256)) * 20_000  # several pieces of what is read at once
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


@pytest.fixture
def server(monkeypatch, tmp_path):
    use_toys(monkeypatch, tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(CONTENT) as server:
        publish(url=server.url(), sha256=SHA256, bytes=len(CONTENT))
        yield server


def folder_holds():
    return sorted(path.name for path in published("toy").path.parent.iterdir())


def nothing_is_left():
    return not published("toy").path.parents[1].exists()


def ranges(server):
    return [headers.get("range") for _, headers in server.asked]


def cut(server, *after):
    """Make each answer in turn end after so many bytes, and a call give up at the first."""
    server.cuts = list(after)


def test_a_checkpoint_is_fetched_whole_and_nothing_else_stays(server):
    seen = []
    path = pull("toy", progress=lambda *told: seen.append(told))
    assert path == published("toy").path
    assert path.read_bytes() == CONTENT
    assert folder_holds() == ["toy.pth"]
    assert seen[0] == ("toy.pth", 0, len(CONTENT))
    assert ("toy.pth", len(CONTENT), len(CONTENT)) in seen
    assert seen[-1] == ("checking", len(CONTENT), len(CONTENT))
    ((_, headers),) = server.asked
    assert headers["user-agent"].startswith("samaritan/")
    assert headers["accept-encoding"] == "identity"
    assert "range" not in headers


def test_one_that_is_here_is_checked_and_not_fetched_again(server):
    path = pull("toy")
    assert pull("toy") == path
    assert len(server.asked) == 1
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ChecksumError, match=r"models pull toy --force"):
        pull("toy")
    assert pull("toy", force=True).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_cut_is_gone_on_from_within_the_call(server):
    cut(server, HALF)
    assert pull("toy").read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-"]
    assert server.asked[1][1]["if-range"] == '"first"'


def test_a_call_that_is_cut_off_too_often_is_gone_on_from_by_the_next(server):
    cut(server, HALF, 0)
    with pytest.raises(WeightsError, match=r"cut off after .* Type the same again: it goes on from there"):
        pull("toy")
    assert kept("toy") == HALF
    assert pull("toy").read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF}-"]
    assert folder_holds() == ["toy.pth"]


def test_of_a_call_that_is_cut_off_before_the_first_byte_nothing_is_left(server):
    cut(server, 0)
    with pytest.raises(WeightsError, match="cut off after 0 bytes"):
        pull("toy")
    assert nothing_is_left()


def test_what_was_there_before_a_call_that_fails_stays(server):
    server.status = 503
    folder = published("toy").path.parent
    folder.mkdir(parents=True)
    with pytest.raises(WeightsError):
        pull("toy")
    assert folder_holds() == []
    (folder / ".lock").touch()  # as earlier versions left it
    (folder / "mine").touch()
    with pytest.raises(WeightsError):
        pull("toy")
    assert folder_holds() == ["mine"]


def test_a_cut_of_an_answer_without_length_is_found_by_the_size_on_the_card(server):
    server.length = False
    cut(server, HALF)
    assert pull("toy").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_starts_again(server):
    server.ranges = False
    cut(server, HALF)
    assert pull("toy").read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-"]


def test_another_version_of_the_file_starts_again(server):
    publish(url=server.url())
    cut(server, HALF, 0)
    with pytest.raises(WeightsError):
        pull("toy")
    server.content, server.headers = CONTENT[::-1], {"ETag": '"second"'}
    assert pull("toy").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"first"'}])
def test_a_part_that_may_be_of_another_version_is_gone_on_from_only_if_the_card_can_tell(server, headers):
    server.headers = headers
    cut(server, HALF)
    pull("toy")
    assert ranges(server)[-1] == f"bytes={HALF}-"
    publish(url=server.url())
    cut(server, HALF)
    assert pull("toy", force=True).read_bytes() == CONTENT
    assert ranges(server)[-1] is None


def test_a_part_from_another_address_is_not_gone_on_from(server):
    cut(server, HALF, 0)
    with pytest.raises(WeightsError):
        pull("toy")
    publish(url=server.url("/elsewhere.pth"), sha256=SHA256, bytes=len(CONTENT))
    assert pull("toy").read_bytes() == CONTENT
    assert ranges(server)[-1] is None


def test_a_part_that_is_whole_is_only_checked(server):
    wanted = published("toy").path
    cut(server, HALF, 0)
    with pytest.raises(WeightsError):
        pull("toy")
    wanted.with_name("toy.pth.part").write_bytes(CONTENT)
    assert pull("toy").read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize(("content", "requests"), [(CONTENT, 3), (CONTENT + b"more", 4)])
def test_a_range_that_cannot_be_satisfied_means_whole_or_wrong(server, content, requests):
    publish(url=server.url(), sha256=SHA256)  # the size is not known beforehand
    cut(server, HALF, 0)
    with pytest.raises(WeightsError):
        pull("toy")
    published("toy").path.with_name("toy.pth.part").write_bytes(content)
    assert pull("toy").read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_a_wrong_file_is_removed(server):
    server.content = CONTENT[::-1]
    with pytest.raises(ChecksumError, match=rf"arrived with SHA-256.*Wanted {SHA256[:12]}"):
        pull("toy")
    assert nothing_is_left()


def test_a_file_of_another_size_is_not_even_fetched(server):
    server.content = CONTENT * 2
    with pytest.raises(ChecksumError, match=f"of {2 * len(CONTENT):,} bytes. Wanted {len(CONTENT):,} bytes"):
        pull("toy")
    assert nothing_is_left()


def test_more_than_the_size_on_the_card_is_not_taken(server):
    server.content, server.length = CONTENT * 2, False
    with pytest.raises(ChecksumError, match=f"more than {len(CONTENT):,} bytes"):
        pull("toy")
    assert nothing_is_left()


def test_a_file_without_a_published_size_has_a_limit(server, monkeypatch):
    publish(url=server.url())
    monkeypatch.setattr(download, "MAX_BYTES", len(CONTENT) - 1)
    with pytest.raises(ResourceError, match="at most"):
        pull("toy")
    server.length = False
    with pytest.raises(ChecksumError, match="more than"):
        pull("toy")


def test_the_hash_that_the_hub_tells_counts_where_the_card_has_none(server, monkeypatch):
    monkeypatch.setattr(download, "_HUB", frozenset({"127.0.0.1"}))
    publish(url=server.url("/hub"))
    server.redirects["/hub"] = (server.url(), {"X-Linked-ETag": f'"{SHA256}"'})
    path = pull("toy")
    assert recorded(path) == SHA256
    assert path.with_name("toy.pth.sha256").read_text() == f"{SHA256}  toy.pth\n"
    server.redirects["/hub"] = (server.url(), {"X-Linked-ETag": f'"{"0" * 64}"'})
    with pytest.raises(ChecksumError, match="as its server tells"):
        pull("toy", force=True)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_what_others_say_that_looks_like_a_hash_is_not_taken_for_one(server, sha256):
    """GitHub's ETags have 64 digits, and are not the SHA-256 of the content."""
    odd = f'"{"0" * 64}"'
    publish(url=server.url("/moved"), sha256=sha256)
    server.redirects["/moved"] = (server.url(), {"X-Linked-ETag": odd, "ETag": odd})
    server.headers = {"ETag": odd, "X-Linked-ETag": odd}
    assert pull("toy").read_bytes() == CONTENT


def test_a_hub_that_tells_another_hash_than_the_card_is_not_asked_for_gigabytes(server, monkeypatch):
    monkeypatch.setattr(download, "_HUB", frozenset({"127.0.0.1"}))
    publish(url=server.url("/hub"), sha256=SHA256)
    server.redirects["/hub"] = (server.url(), {"X-Linked-ETag": f'"{"0" * 64}"'})
    with pytest.raises(ChecksumError, match="Its publisher may have put another file there"):
        pull("toy")
    assert nothing_is_left()


def test_without_any_hash_what_came_first_is_recorded_and_a_change_is_noticed(server):
    publish(url=server.url())
    path = pull("toy")
    assert recorded(path) == SHA256
    path.write_bytes(b"changed")
    with pytest.raises(ChecksumError, match="as when it was fetched"):
        pull("toy")
    path.with_name("toy.pth.sha256").unlink()  # put there by hand: what it is now is what it is to stay
    pull("toy")
    assert recorded(path) == hashlib.sha256(b"changed").hexdigest()


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_an_empty_file_is_not_right_even_if_nobody_has_published_its_hash(server, sha256):
    publish(url=server.url(), sha256=sha256)
    path = published("toy").path
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(ChecksumError, match=r"is empty\. .*models pull toy --force"):
        pull("toy")
    assert folder_holds() == ["toy.pth"]
    assert pull("toy", force=True).read_bytes() == CONTENT


def test_other_files_with_the_same_weights_are_right_too(server):
    publish(url=server.url(), sha256="0" * 64, also=[SHA256])
    assert pull("toy").read_bytes() == CONTENT
    assert pull("toy").read_bytes() == CONTENT


def test_a_licence_has_to_be_accepted_first(server):
    publish(url=server.url(), sha256=SHA256, licence="CC-BY-NC-4.0", commercial=False, accept=True)
    with pytest.raises(LicenceNotAcceptedError) as told:
        pull("toy")
    text = str(told.value)
    for part in ("CC-BY-NC-4.0", "not for commercial use", "https://spdx.org/licenses/CC-BY-NC-4.0.html"):
        assert part in text
    assert "type: samaritan models pull toy --accept-licence" in text
    assert not server.asked
    assert nothing_is_left()
    pull("toy", accept_licence=True)
    pull("toy")  # what is here has been accepted
    with pytest.raises(LicenceNotAcceptedError, match="pull toy --force --accept-licence"):
        pull("toy", force=True)


def test_terms_that_are_not_among_spdxs_have_an_address(server):
    publish(url=server.url(), accept=True, licence="LicenseRef-ours", terms="https://example.org/terms")
    with pytest.raises(LicenceNotAcceptedError, match=r"https://example\.org/terms"):
        pull("toy")


def test_a_full_disk_is_found_out_before(server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=len(CONTENT)))
    with pytest.raises(ResourceError, match=r"MiB free in .*SAMARITAN_MODELS"):
        pull("toy")
    assert nothing_is_left()


def test_a_disk_that_gets_full_all_the_same_keeps_what_fitted(server):
    resource = pytest.importorskip("resource", reason="Windows has no limit to the size of files")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = 3 * download._AT_ONCE - 100  # so little is left over that a buffer would keep it, and fail again when closed
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most[1]))
    try:
        with pytest.raises(WriteError, match=r"File too large\. Free some space, then type the same again"):
            pull("toy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert kept("toy") == room
    assert pull("toy").read_bytes() == CONTENT
    assert ranges(server)[-1] == f"bytes={room}-"


def test_a_forced_call_that_was_cut_off_is_gone_on_from(server):
    old = pull("toy")
    cut(server, HALF, 0)
    with pytest.raises(WeightsError, match="it goes on from there"):
        pull("toy", force=True)
    assert old.read_bytes() == CONTENT
    assert pull("toy", force=True).read_bytes() == CONTENT
    assert ranges(server)[-1] == f"bytes={HALF}-"


def test_a_folder_in_the_place_of_the_file_is_told_before_anything_is_fetched(server):
    published("toy").path.mkdir(parents=True)
    with pytest.raises(WriteError, match="is a folder"):
        pull("toy")
    assert not server.asked


def test_a_file_that_cannot_be_replaced_stays_right(server, monkeypatch):
    publish(url=server.url())
    path = pull("toy")
    server.content = CONTENT[::-1]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "in use")))
        with pytest.raises(WriteError, match="Close what uses it"):
            pull("toy", force=True)
    assert recorded(path) == SHA256
    assert pull("toy") == path


def test_a_hash_that_cannot_be_recorded_is_told(server, monkeypatch):
    publish(url=server.url())
    published("toy").path.with_name("toy.pth.sha256").mkdir(parents=True)
    with pytest.raises(WriteError, match="is here, but its SHA-256 cannot be kept beside it"):
        pull("toy")
    assert published("toy").path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not give this file to everybody"),
        (403, "does not give this file to everybody"),
        (404, "has no such file any more"),
        (429, "asked too often"),
        (503, "Type the same again later"),
        (418, "answers 418"),
    ],
)
def test_refusals_are_told_in_words(server, status, words):
    server.status = status
    with pytest.raises(WeightsError, match=words) as told:
        pull("toy")
    assert str(published("toy").path) in str(told.value)
    assert nothing_is_left()


def test_who_is_refused_by_the_hub_is_told_how_to_log_in():
    error = SimpleNamespace(code=401, reason="Unauthorized", headers={})
    told = web_errors.refused(error, "https://huggingface.co/owner/model/resolve/main/file.pth", "Or by hand")
    for part in ("https://huggingface.co/owner/model ", "https://huggingface.co/settings/tokens", "HF_TOKEN"):
        assert part in str(told)


def test_a_web_page_is_no_checkpoint(server):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(WeightsError, match="gives a web page"):
        pull("toy")
    assert nothing_is_left()


def test_without_a_network_one_is_told_which_file_to_put_where(server, monkeypatch):
    def no_network(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    publish(url="https://hub.invalid/toy.pth")
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    with pytest.raises(WeightsError, match=r"hub\.invalid cannot be reached \(no network, or no such name\)") as told:
        pull("toy")
    assert f"put it here: {published('toy').path}" in str(told.value)
    assert nothing_is_left()


def test_a_port_where_nobody_listens_and_a_server_that_hangs_up_are_told(server):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        publish(url=f"http://127.0.0.1:{unheard.getsockname()[1]}/toy.pth")
        with pytest.raises(WeightsError, match=r"127\.0\.0\.1 cannot be reached"):
            pull("toy")
    publish(url=server.url("/hangs-up"))
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1 cannot be reached"):
        pull("toy")
    assert nothing_is_left()


def test_a_server_that_does_not_answer_is_given_up(server, monkeypatch):
    release = threading.Event()
    server.before_sending = lambda: release.wait(10)
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.05)
    with pytest.raises(WeightsError, match="it does not answer"):
        pull("toy")
    release.set()


def test_a_certificate_that_is_not_trusted_is_told_with_the_way_out():
    told = web_errors.unreachable(ssl.SSLCertVerificationError(1, "self-signed"), "https://hub.example/x", "By hand.")
    assert "its certificate is not trusted here" in str(told)
    assert "SSL_CERT_FILE" in str(told)


@pytest.mark.parametrize("url", ["http://example.com/toy.pth", "file:///etc/passwd", "ftp://example.com/toy.pth"])
def test_only_https_is_spoken_to_the_world(server, url):
    publish(url=url)
    with pytest.raises(WeightsError, match="begins with https"):
        pull("toy")


def test_a_redirect_is_followed_but_not_away_from_https(server):
    publish(url=server.url("/moved"), sha256=SHA256)
    server.redirects["/moved"] = (server.url(), {})
    assert pull("toy").read_bytes() == CONTENT
    for away in ("http://example.com/toy.pth", "file:///etc/passwd"):
        server.redirects["/moved"] = (away, {})
        with pytest.raises(WeightsError):
            pull("toy", force=True)


def test_a_range_and_its_condition_survive_a_redirect(server):
    publish(url=server.url("/moved"), sha256=SHA256)
    server.redirects["/moved"] = (server.url(), {})
    cut(server, HALF)
    assert pull("toy").read_bytes() == CONTENT
    assert [headers.get("if-range") for path, headers in server.asked if path == "/toy.pth"] == [None, '"first"']


def test_the_token_goes_to_the_hub_and_not_where_that_redirects_to(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "not-a-real-token\n")
    publish(url=server.url("/hub"), sha256=SHA256)
    server.redirects["/hub"] = (server.url(host="localhost"), {})
    pull("toy")
    assert all("authorization" not in headers for _, headers in server.asked)
    monkeypatch.setattr(download, "_HUB", frozenset({"127.0.0.1"}))
    server.asked.clear()
    server.redirects["/again"] = (server.url("/hub"), {})
    publish(url=server.url("/again"), sha256=SHA256)
    pull("toy", force=True)
    assert [(path, headers.get("authorization")) for path, headers in server.asked] == [
        ("/again", "Bearer not-a-real-token"),
        ("/hub", "Bearer not-a-real-token"),
        ("/toy.pth", None),
    ]


def test_ctrl_c_keeps_what_has_come(server):
    def stop(stage, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("toy", progress=stop)
    assert 0 < kept("toy") < len(CONTENT)
    assert pull("toy").read_bytes() == CONTENT
    assert ranges(server)[-1].startswith("bytes=")


def test_two_at_once_do_not_mix(server):
    """One process holds on in the middle; another call fails at once and leaves what the first has brought alone."""
    script = """
import sys
from samaritan.models.download import Wanted
from samaritan.models.pull import _alone
from types import SimpleNamespace
from pathlib import Path
with _alone(SimpleNamespace(path=Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""
    path = published("toy").path
    first = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ResourceError, match="being fetched by another call"):
            pull("toy")
        assert not server.asked
    finally:
        first.communicate("")
    assert pull("toy").read_bytes() == CONTENT


def test_a_file_that_another_call_brought_meanwhile_is_not_fetched_again(server, monkeypatch):
    def brought_while_waiting(known):
        known.path.parent.mkdir(parents=True)
        known.path.write_bytes(CONTENT)
        return nullcontext()

    monkeypatch.setattr("samaritan.models.pull._alone", brought_while_waiting)
    assert pull("toy") == published("toy").path
    assert not server.asked


def test_a_folder_that_cannot_be_written_is_told(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAMARITAN_MODELS", str(tmp_path / "file"))
    with pytest.raises(WriteError, match="Set SAMARITAN_MODELS to a folder that you own"):
        pull("toy")


def test_names_without_a_checkpoint_are_refused(server):
    with pytest.raises(UnknownNameError, match=r"no checkpoint to fetch.*samaritan models tiny tells how"):
        pull("tiny")
    with pytest.raises(UnknownNameError, match="Did you mean 'toy'"):
        pull("tov")


def test_every_published_address_can_be_asked():
    for name in published_names():
        assert published(name).url.startswith("https://"), name
        assert Path(published(name).file).name == published(name).file, name
        assert all(len(sha256) == 64 for sha256 in published(name).hashes), name
