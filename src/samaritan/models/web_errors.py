"""What servers and networks refuse, in words."""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from urllib.error import HTTPError
from urllib.parse import urlsplit

from samaritan.core.errors import WeightsError

_HUB = "huggingface.co"


def refused(error: HTTPError, url: str, by_hand: str) -> WeightsError:
    """Return the error for an answer that is no file; ``by_hand`` says what a person can do instead."""
    host = urlsplit(url).hostname or url
    if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        got, fix = f"{host} does not give this file to everybody ({error.code})", _how_to_log_in(url)
    elif error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        got, fix = f"{host} has no such file any more ({error.code}): {url}", ""
    elif error.code == HTTPStatus.TOO_MANY_REQUESTS:
        wait = error.headers.get("Retry-After", "")
        got, fix = f"{host} has been asked too often ({error.code})", f"Wait{f' {wait} s' if wait.isdigit() else ''}."
    elif error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        got, fix = f"{host} has trouble of its own ({error.code} {error.reason})", "Type the same again later."
    else:
        got, fix = f"{host} answers {error.code} {error.reason}", ""
    return WeightsError(got=got, fix=f"{fix} {by_hand}".strip())


def unreachable(reason: object, url: str, by_hand: str) -> WeightsError:
    """Return the error for a server that cannot be spoken to, for a ``reason`` that is an exception or a text."""
    host, fix = urlsplit(url).hostname or url, ""
    if isinstance(reason, ssl.SSLCertVerificationError):
        why = "its certificate is not trusted here"
        fix = "If your network looks into connections, set SSL_CERT_FILE to its certificate."
    elif isinstance(reason, socket.gaierror):
        why = "no network, or no such name"
    elif isinstance(reason, TimeoutError):
        why = "it does not answer"
    elif isinstance(reason, OSError) and reason.strerror:
        why = reason.strerror
    else:
        why = str(reason) or type(reason).__name__
    return WeightsError(got=f"{host} cannot be reached ({why})", fix=f"{fix} {by_hand}".strip())


def _how_to_log_in(url: str) -> str:
    parts = urlsplit(url)
    if parts.hostname != _HUB:
        return ""
    owner, name = parts.path.strip("/").split("/")[:2]
    return (
        f"Log in at https://{_HUB}/{owner}/{name} and accept its terms; then set HF_TOKEN to a token from "
        f"https://{_HUB}/settings/tokens."
    )
