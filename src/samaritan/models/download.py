"""One large file from the web, whole and resumable, with the standard library alone.

What has arrived lies in ``<file>.part``, with what is needed to go on from there in ``<file>.part.json``. A later call
asks for the rest only if the server says that the file is still the same (``If-Range``); else it starts again.

Only ``https`` is spoken, but to this machine itself. ``HF_TOKEN`` is told to huggingface.co and to nobody else, also
not where that redirects to.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from samaritan._version import __version__
from samaritan.core.errors import ChecksumError, ResourceError, WeightsError, WriteError
from samaritan.models.web_errors import refused, unreachable

Progress = Callable[[str, int, int], None]

MAX_BYTES = 16 << 30  # of a file whose size nobody has published
_TIMEOUT_S = 30.0  # without a single byte
_ATTEMPTS = 3  # at going on by ourselves after a cut, each of which has to bring something
_AT_ONCE = 1 << 20
_SPARE = 64 << 20  # free space to leave on the disk
_HUB = frozenset({"huggingface.co"})  # who is told the token, and believed about hashes
_CUT = (http.client.HTTPException, OSError)  # what reading from a lost connection raises
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Response(Protocol):
    """What is used of ``http.client.HTTPResponse``; there is no public type of what an opener returns."""

    status: int
    headers: Message

    def read(self, amount: int) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be fetched.

    Parameters
    ----------
    url
        Where it lies.
    part
        Where it is to arrive.
    size
        Its bytes; 0 if nobody has published them.
    sha256
        Those that it may have; none if nobody has published any.
    by_hand
        What a person can do instead, for messages.
    """

    url: str
    part: Path
    size: int = 0
    sha256: tuple[str, ...] = ()
    by_hand: str = ""

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return self.part.name.removesuffix(".part")

    @property
    def notes(self) -> Path:
        """The file of what is known of the part: from where it is, and how the server names this version of it."""
        return self.part.with_name(self.part.name + ".json")

    def drop(self) -> None:
        """Remove what has arrived."""
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def bytes_kept(part: Path) -> int:
    """Return how much of a file has arrived."""
    return part.stat().st_size if part.is_file() else 0


def download(wanted: Wanted, progress: Progress | None = None) -> str:
    """Bring a file into its part, and return the SHA-256 that the Hugging Face hub tells of it; "" from elsewhere.

    What arrived is not checked against it yet, but has the size that was wanted or told. Of a download that fails
    before the first byte nothing stays.

    Raises
    ------
    WeightsError
        If the server cannot be reached, refuses, or stops; what has arrived stays.
    ChecksumError
        If the server tells, or sends, a file of another SHA-256 or size than those wanted.
    ResourceError
        If the disk has not the room.
    WriteError
        If the part cannot be written.
    """
    try:
        return _persistently(wanted, progress)
    except BaseException:  # Ctrl-C too
        if not bytes_kept(wanted.part):
            with suppress(OSError):
                wanted.drop()
        raise


def _persistently(wanted: Wanted, progress: Progress | None) -> str:
    """Fetch a file; after a cut go on by ourselves, as long as that brings something."""
    for attempt in range(_ATTEMPTS):
        before = bytes_kept(wanted.part)
        try:
            return _fetch(wanted, progress)
        except _CutError as error:
            if attempt == _ATTEMPTS - 1 or bytes_kept(wanted.part) <= before:
                raise WeightsError(
                    got=f"the download of {wanted.name} was cut off after {bytes_kept(wanted.part):,} bytes ({error})",
                    fix=f"Type the same again: it goes on from there. {wanted.by_hand}",
                ) from error
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


class _CutError(Exception):
    """The connection was lost before all had come."""


def _fetch(wanted: Wanted, progress: Progress | None) -> str:
    redirects = _Redirects(wanted.url)
    answer = _respond(wanted, redirects)
    if answer is None:
        return redirects.told
    response, start = answer
    try:
        if redirects.told and wanted.sha256 and redirects.told not in wanted.sha256:
            raise _another_file(wanted, f"with SHA-256 {redirects.told[:12]}…", f"{wanted.sha256[0][:12]}…")
        _require_a_file(response, wanted)
        total = _total(response, start) or wanted.size
        if wanted.size and total != wanted.size:
            raise _another_file(wanted, f"of {total:,} bytes", f"{wanted.size:,} bytes")
        _require_room(wanted, total, start)
        if not start:
            _note(wanted, response.headers)
        _receive(response, wanted, start, total, progress)
    finally:
        response.close()
    return redirects.told


def _respond(wanted: Wanted, redirects: _Redirects) -> tuple[_Response, int] | None:
    """Return the server's answer, and the byte that it begins with: 0 unless what has arrived can be gone on with.

    None if all has arrived: a program may end between the last byte and the last check.
    """
    kept, validator = _kept(wanted)
    if kept and kept == wanted.size:
        return None
    request = _request(wanted.url, redirects)
    if kept:
        request.add_header("Range", f"bytes={kept}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = _open(request, redirects, wanted)
    except HTTPError as error:
        error.close()  # it is an answer as well
        if not kept or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise refused(error, wanted.url, wanted.by_hand) from error
        if error.headers.get("Content-Range") == f"bytes */{kept}":
            return None
        wanted.drop()  # it is longer than the file is now: whatever it is, it is not the beginning of that
        return _respond(wanted, redirects)
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return response, 0  # a server that knows no ranges, or another version of the file: from the beginning
    begins = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if begins is None or begins[1] != str(kept):
        response.close()
        wanted.drop()
        return _respond(wanted, redirects)
    return response, kept


def _request(url: str, redirects: _Redirects) -> Request:
    request = Request(url)  # noqa: S310 - its scheme is looked at
    redirects.admit(request)
    request.add_header("User-Agent", f"samaritan/{__version__}")
    request.add_header("Accept-Encoding", "identity")  # what is counted and hashed is the file itself
    return request


def _open(request: Request, redirects: _Redirects, wanted: Wanted) -> _Response:
    # Proxies are for the world outside.
    opener: OpenerDirector = build_opener(redirects, *([ProxyHandler({})] if redirects.at_home else []))
    try:
        return cast("_Response", opener.open(request, timeout=_TIMEOUT_S))
    except HTTPError:
        raise
    except URLError as error:
        raise unreachable(error.reason, wanted.url, wanted.by_hand) from error
    except _CUT as error:
        raise unreachable(error, wanted.url, wanted.by_hand) from error


def _receive(response: _Response, wanted: Wanted, start: int, total: int, progress: Progress | None) -> None:
    done, limit = start, total or MAX_BYTES
    with _writable(wanted.part, "ab" if start else "wb") as file:
        while True:
            if progress:
                progress(wanted.name, done, total)
            try:
                piece = response.read(_AT_ONCE)
            except _CUT as error:
                raise _CutError(str(error) or type(error).__name__) from error
            if not piece:
                break
            done += len(piece)
            if done > limit:
                wanted.drop()
                raise _another_file(wanted, f"of more than {limit:,} bytes", "no more than that")
            _write(file, piece, wanted)
    if done < total:
        missing = f"{total - done:,} bytes are missing"
        raise _CutError(missing)


def _writable(path: Path, mode: Literal["ab", "wb"]) -> RawIOBase:
    """Open a file without a buffer: what is counted as kept is there, and closing it has nothing left to fail at."""
    try:
        return path.open(mode, buffering=0)
    except OSError as error:
        raise WriteError(
            got=f"cannot write {path}: {error.strerror}", fix="Set SAMARITAN_MODELS to a folder that you own"
        ) from error


def _write(file: RawIOBase, piece: bytes, wanted: Wanted) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[file.write(rest) or 0 :]
    except OSError as error:
        raise WriteError(
            got=f"cannot write {wanted.part}: {error.strerror}",
            fix="Free some space, then type the same again: it goes on from there",
        ) from error


def _kept(wanted: Wanted) -> tuple[int, str]:
    """Return how much has arrived that can be gone on with, and the server's name for that version of the file."""
    kept = bytes_kept(wanted.part)
    try:
        notes: Mapping[str, Any] = json.loads(wanted.notes.read_text(encoding="utf-8"))
        validator = str(notes["validator"])
        same = notes["url"] == wanted.url
    except (OSError, ValueError, LookupError, TypeError):
        validator, same = "", False
    # Without such a name, only a SHA-256 would tell at the end that two versions have been mixed.
    if not same or not (validator or wanted.sha256) or (wanted.size and kept > wanted.size):
        return 0, ""
    return kept, validator


def _note(wanted: Wanted, headers: Message) -> None:
    etag = headers.get("ETag", "")
    # A weak ETag says that two versions mean the same, not that they are the same bytes.
    validator = headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    with _writable(wanted.notes, "wb") as file:
        _write(file, json.dumps({"url": wanted.url, "validator": validator}).encode(), wanted)


def _total(response: _Response, start: int) -> int:
    """Return the size of the whole file as the server tells it; 0 if it does not."""
    if start:
        told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return int(told[2]) if told and told[2] != "*" else 0
    length: str = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else 0


def _require_a_file(response: _Response, wanted: Wanted) -> None:
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise WeightsError(
            got=f"{wanted.url} gives a web page, not {wanted.name}",
            fix=f"Open it in a browser: it may ask something first. {wanted.by_hand}",
        )


def _require_room(wanted: Wanted, total: int, start: int) -> None:
    if total > MAX_BYTES:
        raise ResourceError(got=f"{wanted.name} of {total >> 30} GiB", wanted=f"at most {MAX_BYTES >> 30} GiB")
    free, needed = shutil.disk_usage(wanted.part.parent).free, total - start
    if free < needed + _SPARE:
        raise ResourceError(
            got=f"{free >> 20:,} MiB free in {wanted.part.parent}",
            wanted=f"{(needed + _SPARE) >> 20:,} MiB for the rest of {wanted.name}",
            fix="Free some space, or set SAMARITAN_MODELS to a folder on another disk",
        )


def _another_file(wanted: Wanted, got: str, expected: str) -> ChecksumError:
    return ChecksumError(
        got=f"{urlsplit(wanted.url).hostname} has a {wanted.name} {got}",
        wanted=f"{expected}, as its card says",
        fix=f"Its publisher may have put another file there. {wanted.by_hand}",
    )


class _Redirects(HTTPRedirectHandler):
    """Follows redirects that are safe, and reads the SHA-256 that the hub tells where it redirects to its stores.

    Nobody else's headers are taken for a hash of the content: an ``ETag`` of 64 digits may be of anything.
    """

    def __init__(self, url: str) -> None:
        self.told = ""
        self.at_home = _is_this_machine(url)

    def admit(self, request: Request) -> None:
        """Give a request the token if it goes to the hub; refuse to make it at all if it can be listened to."""
        url = urlsplit(request.full_url)
        if url.scheme != "https" and not (url.scheme == "http" and self.at_home and _is_this_machine(request.full_url)):
            raise WeightsError(got=f"address {request.full_url}", wanted="one that begins with https://")
        token = os.environ.get("HF_TOKEN", "").strip()
        if token and url.hostname in _HUB:
            request.add_unredirected_header("Authorization", f"Bearer {token}")

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """Return the request to follow a redirect with; the names are urllib's."""
        linked = headers.get("X-Linked-ETag", "").strip('"').lower()
        if urlsplit(req.full_url).hostname in _HUB and _SHA256.fullmatch(linked):
            self.told = linked
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            self.admit(request)
        return request


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
