"""nnInteractive (Isensee et al. 2025) on a server: volumes and prompts go there, masks come back.

Images leave this machine. The server is named by the caller, or by ``SAMARITAN_NNINTERACTIVE_URL``; no other is asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from samaritan.core.errors import SessionError, WeightsError
from samaritan.core.model import Model
from samaritan.models.nninteractive.card import remote_card
from samaritan.models.registry import ModelEntry

if TYPE_CHECKING:
    from samaritan.models.nninteractive.adapter import NnInteractiveModel
    from samaritan.models.nninteractive.transport import Timeouts

URL_VARIABLE = "SAMARITAN_NNINTERACTIVE_URL"


def connect(url: str, api_key: str | None = None, *, timeouts: Timeouts | None = None) -> NnInteractiveModel:
    """Return the model that runs on the nnInteractive server at ``url``.

    Parameters
    ----------
    url
        Such as ``http://127.0.0.1:1527``.
    api_key
        If the server wants one; None takes it from ``NN_INTERACTIVE_API_KEY``, if that is set.
    timeouts
        How long is waited for what; None takes what an answer may take from ``SAMARITAN_NNINTERACTIVE_TIMEOUT_S``.

    Raises
    ------
    SessionError
        If no such server answers, it does not take the key, or the key would go to another host unencrypted.
    MissingExtraError
        If httpx or blosc2 are not installed.
    """
    from samaritan.models.nninteractive.adapter import NnInteractiveModel  # noqa: PLC0415 - few people need it

    return NnInteractiveModel(url, api_key=api_key, timeouts=timeouts)


def _address() -> str:
    """Return the address of the server; WeightsError if nobody has told it."""
    url = os.environ.get(URL_VARIABLE, "").strip()
    if not url:
        raise WeightsError(
            got=f"no address of an nnInteractive server: {URL_VARIABLE} is not set",
            wanted="an address such as http://127.0.0.1:1527",
            fix="Start one: nninteractive-server --host 127.0.0.1 --port 1527\n"
            f"Then: export {URL_VARIABLE}=http://127.0.0.1:1527",
        )
    return url


def _load(device: str) -> Model:  # noqa: ARG001 - the server chooses the device, as it does the weights
    url = _address()
    try:
        return connect(url)
    except SessionError as error:  # to who loads a model by name, a server that does not answer is a missing file
        raise WeightsError(got=error.got, wanted=error.wanted, fix=error.fix) from error


def _require() -> None:
    _address()


ENTRY = ModelEntry(remote_card, _load, place="on a server", require=_require)
