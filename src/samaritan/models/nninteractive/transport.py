"""Requests to an nnInteractive server over HTTP/1.1, and what its refusals mean.

No answer is larger in memory than was allowed beforehand, whatever its headers announce; no redirect is followed, and
no proxy, password file or other setting of the environment changes where images go. Neither images, prompts, keys nor
lease tokens are logged or put into an error.

====================  =====================
the server says       it is raised as
====================  =====================
401                   ``SessionError``: the key
410                   ``SessionExpiredError``
413                   ``ResourceError``
503                   ``ServerBusyError``
anything else amiss   ``SessionError``, with the reason it gives
====================  =====================
"""

from __future__ import annotations

import json
import logging
import math
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from samaritan.core.errors import (
    MissingExtraError,
    ResourceError,
    SamaritanError,
    ServerBusyError,
    SessionError,
    SessionExpiredError,
)
from samaritan.models.nninteractive.wire import EXTRA

if TYPE_CHECKING:
    import httpx

KEY_VARIABLE = "NN_INTERACTIVE_API_KEY"
TIMEOUT_VARIABLE = "SAMARITAN_NNINTERACTIVE_TIMEOUT_S"
SMALL_BYTES = 64 << 10  # of an answer that is no array
DEFAULT_PORT = 1527

_DETAIL = 300  # characters of a server's reason that are shown
_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))
_NOTHING: Mapping[str, Any] = MappingProxyType({})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long is waited, in seconds.

    Parameters
    ----------
    connect_s
        For a connection.
    write_s
        For the network to take the next piece of an upload.
    read_s
        For an answer: without a GPU a prediction takes minutes.
    image_s
        For the answer to an image, which the server may unpack and normalise first.
    release_s
        For the answer to a farewell, which no one should have to wait for.
    """

    connect_s: float = 10.0
    write_s: float = 120.0
    read_s: float = 300.0
    image_s: float = 600.0
    release_s: float = 5.0

    @classmethod
    def usual(cls) -> Self:
        """Return the usual ones; ``SAMARITAN_NNINTERACTIVE_TIMEOUT_S``, if that is set, is how long an answer may take.

        Raises
        ------
        SessionError
            If it is set to anything but seconds above 0.
        """
        text = os.environ.get(TIMEOUT_VARIABLE, "").strip()
        if not text:
            return cls()
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise SessionError(
                got=f"{TIMEOUT_VARIABLE}={text!r}", wanted="seconds above 0", fix=f"export {TIMEOUT_VARIABLE}=600"
            )
        return cls(read_s=seconds, image_s=max(seconds, cls().image_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask.

    Parameters
    ----------
    path, method
        Of HTTP; a POST unless said otherwise.
    lease
        Token of the lease; empty before there is one.
    message
        To send as JSON, or with ``body`` as the header ``X-Meta``; None for an empty request.
    body
        A packed array to send, or None.
    limit
        Bytes that the answer may have.
    timeout_s
        To wait for it; None for the usual.
    """

    path: str
    method: str = "POST"
    lease: str = ""
    message: Mapping[str, Any] | None = None
    body: bytes | None = None
    limit: int = SMALL_BYTES
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the header ``X-Meta``, empty if there is none, and the ``body``."""

    meta: Mapping[str, Any]
    body: bytes

    @property
    def message(self) -> Mapping[str, Any]:
        """The body as the JSON object that it should be.

        Raises
        ------
        SessionError
            If it is none.
        """
        return _json_object(self.body, "an answer")


class Transport:
    """A connection to one server; any number of threads may use it.

    Parameters
    ----------
    url
        http or https, host, port, and a path in front of the server's own if a proxy adds one.
    api_key
        Sent with every request, unless empty.
    timeouts
        How long is waited; None for ``Timeouts.usual``.

    Raises
    ------
    SessionError
        If the address or the key cannot be one, or the key would go to another host unencrypted.
    MissingExtraError
        If httpx is not installed.
    """

    def __init__(self, url: str, *, api_key: str = "", timeouts: Timeouts | None = None) -> None:
        self._httpx = _httpx()
        self.timeouts = timeouts or Timeouts.usual()
        parts = _address(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._host, self._port = parts.hostname or "", parts.port
        headers = {"Accept-Encoding": "identity", "User-Agent": "samaritan"}
        is_open = parts.scheme == "http" and self._host not in _LOOPBACK
        if api_key:
            _require_key(api_key)
            if is_open:
                raise self._open_to_all()
            headers["Authorization"] = f"Bearer {api_key}"
        if is_open:
            logger.warning("images and prompts go to %s unencrypted; https would protect them", self._host)
        self._client: httpx.Client = self._httpx.Client(
            headers=headers,
            follow_redirects=False,
            trust_env=False,
            # The system's own certificates: those of a hospital's authority are among them. Without TLS, none to load.
            verify=ssl.create_default_context() if parts.scheme == "https" else False,
            timeout=self._timeout(self.timeouts.read_s),
        )

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    def ask(self, request: Request) -> Answer:
        """Send ``request`` and return what comes back.

        Raises
        ------
        SessionError
            If the server cannot be reached, refuses, or answers something else than the protocol says; see the
            module for its subclasses.
        ResourceError
            If the server has no memory for it, or the answer is larger than it may be.
        """
        timeout_s = request.timeout_s or self.timeouts.read_s
        with self._explained(request, timeout_s):
            with self._client.stream(
                request.method,
                self.url + request.path,
                headers=_headers(request),
                content=_content(request),
                timeout=self._timeout(timeout_s),
            ) as response:
                good = response.status_code == 200
                body = _read(response, request.limit if good else SMALL_BYTES, timeout_s)
            if not good:
                raise _refused(request.path, response.status_code, response.headers, body)
            meta = response.headers.get("X-Meta")
            return Answer(_NOTHING if meta is None else _json_object(meta, "the header X-Meta"), body)

    def _timeout(self, read_s: float) -> httpx.Timeout:
        times = self.timeouts
        timeout: httpx.Timeout = self._httpx.Timeout(
            connect=times.connect_s, read=read_s, write=times.write_s, pool=times.connect_s
        )
        return timeout

    @contextmanager
    def _explained(self, request: Request, timeout_s: float) -> Iterator[None]:
        """Raise what goes wrong on the way as what it means.

        The library's own messages are left out where they may quote what was sent.
        """
        kinds = self._httpx
        try:
            yield
        except (kinds.ConnectError, kinds.ConnectTimeout) as error:
            raise SessionError(
                got=f"no server answers at {self.url} ({error or 'in time'})",
                wanted="a running nnInteractive server",
                fix=self._how_to_start,
            ) from error
        except kinds.TimeoutException as error:
            raise SessionError(
                got=f"{request.path}: the server at {self.url} has not answered within {timeout_s:g} s",
                fix=f"See how busy it is, then try again, or allow it more: {TIMEOUT_VARIABLE}={2 * timeout_s:g}",
            ) from error
        except (kinds.HTTPError, kinds.InvalidURL) as error:
            raise SessionError(
                got=f"{request.path}: the connection to {self.url} broke ({type(error).__name__})",
                fix="See whether the server still runs, then try again",
            ) from error
        except RuntimeError as error:  # of a client that was closed
            raise SessionError(got=f"the connection to {self.url} was closed", fix="Connect anew") from error

    def _open_to_all(self) -> SessionError:
        port = self._port or 80
        return SessionError(
            got=f"a key for {self._host} over plain http, where anyone on the way could read it",
            wanted="https, or a server on this machine",
            fix=f"Use https, or a tunnel: ssh -L {DEFAULT_PORT}:127.0.0.1:{port} {self._host}, "
            f"and the address http://127.0.0.1:{DEFAULT_PORT}",
        )

    @property
    def _how_to_start(self) -> str:
        if self._port is None:
            return f"The address has no port; the official server listens on {DEFAULT_PORT}"
        where = self._host if self._host in _LOOPBACK else "0.0.0.0"  # noqa: S104 - advice for a server elsewhere
        there = "" if self._host in _LOOPBACK else f" on {self._host}"
        return f"Start one{there}: nninteractive-server --host {where} --port {self._port}"


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        port = parts.port  # raises if it is no number
    except ValueError:
        parts, port = urlsplit(""), None
    odd = parts.username or parts.password or parts.query or parts.fragment or port == 0
    if parts.scheme not in ("http", "https") or not parts.hostname or odd:
        # The address is not quoted: it may hold a password.
        raise SessionError(
            got="an address of a server that is none, or says more than where it is",
            wanted=f"http or https, host and port, such as http://127.0.0.1:{DEFAULT_PORT}",
            fix=f"Give a key as api_key, or in {KEY_VARIABLE}",
        )
    return parts


def _require_key(key: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SessionError(
            got="a key with characters that HTTP cannot carry",
            wanted="ASCII without spaces or line breaks",
            fix=f"Look at how {KEY_VARIABLE} or api_key was set",
        )


def _headers(request: Request) -> dict[str, str]:
    headers = {"X-Lease-Token": request.lease} if request.lease else {}
    if request.body is not None:
        return headers | {"Content-Type": "application/octet-stream", "X-Meta": _compact(request.message or {})}
    return headers if request.message is None else headers | {"Content-Type": "application/json"}


def _content(request: Request) -> bytes | None:
    if request.body is not None or request.message is None:
        return request.body
    return _compact(request.message).encode()


def _compact(message: Mapping[str, Any]) -> str:
    return json.dumps(dict(message), separators=(",", ":"))


def _read(response: httpx.Response, limit: int, timeout_s: float) -> bytes:
    """Return the body, if it is no larger than ``limit`` and does not drip in for longer than ``timeout_s``."""
    if response.headers.get("Content-Encoding", "identity") != "identity":  # a small one could unpack to a huge one
        raise SessionError(got="an answer with a content encoding", wanted="none: the protocol has no use for it")
    announced = response.headers.get("Content-Length", "0")
    too_large = ResourceError(got="an answer larger than what was asked for can be", wanted=f"at most {limit} bytes")
    if not announced.isdigit() or int(announced) > limit:
        raise too_large
    body, deadline = bytearray(), time.monotonic() + timeout_s
    for piece in response.iter_raw():
        body += piece
        if len(body) > limit:
            raise too_large
        if time.monotonic() > deadline:
            raise SessionError(got=f"an answer that was not whole after {timeout_s:g} s", fix="Try again")
    return bytes(body)


def _refused(path: str, status: int, headers: httpx.Headers, body: bytes) -> SamaritanError:
    reason = f" ({_reason(body)})" if _reason(body) else ""
    got = f"{path}: the server refused with status {status}{reason}"
    if status == 401:
        return SessionError(
            got=got, wanted="the server's key", fix=f"Set {KEY_VARIABLE} to the key that the server was started with"
        )
    if status == 410:
        return SessionExpiredError(
            got=got, wanted="a lease that is still held", fix="Ask again: that takes a new lease"
        )
    if status == 413:
        return ResourceError(got=got, wanted="an image that the server has memory for", fix="Crop or downsample it")
    if status == 503:
        after = headers.get("Retry-After", "")
        wait = f"in {after} s" if after.isdigit() and len(after) < 6 else "later"
        return ServerBusyError(
            got=got, wanted="a free place", fix=f"Try again {wait}, or start the server with a larger --max-sessions"
        )
    if 300 <= status < 400:
        return SessionError(
            got=f"{path}: the server sends elsewhere (status {status})",
            wanted="the server itself: images are not sent on to where a redirect says",
            fix="Give the address that it means, if you trust it",
        )
    fix = "See that the address is that of an nnInteractive 2 server" if status in (404, 405) else ""
    return SessionError(got=got, wanted="an answer as the protocol has it", fix=fix)


def _reason(body: bytes) -> str:
    """Return what the server gives as its reason, in so far as it can be shown."""
    try:
        detail = _json_object(body, "").get("detail")
    except SessionError:
        return ""
    text = detail if isinstance(detail, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_DETAIL]).strip()


def _json_object(text: bytes | str, what: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: brackets in brackets in brackets
        value = None
    if not isinstance(value, dict):
        raise SessionError(
            got=f"{what} that is no JSON object",
            wanted="an answer as the protocol has it",
            fix="See that the address is that of an nnInteractive 2 server",
        )
    return value


def _httpx() -> ModuleType:
    try:
        return import_module("httpx")  # the base install has none
    except ImportError as error:
        raise MissingExtraError.of(what="the model 'nninteractive'", extra=EXTRA) from error
