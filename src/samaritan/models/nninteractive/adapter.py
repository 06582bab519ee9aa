"""The remote model: volumes and prompts to an nnInteractive server, masks back.

What is sent is the image as ``embed`` gets it, in whole numbers of the card's range. The server brings what it gets to
mean 0 and variance 1, so scale and offset are lost on it, and the card asks for no more than these: nothing is clipped,
unless the caller names a window for CT. What was darkest is 0, as the server expects of a background.

There is no predicted IoU on the wire. The score is nan, for unknown, and 0 for an empty mask.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, ImageError, SessionError, SessionExpiredError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, read_only
from samaritan.core.model import Embedding, ModelCard, Prediction, require_same_grid
from samaritan.core.prompts import Prompts
from samaritan.models.nninteractive.card import remote_card
from samaritan.models.nninteractive.client import Bytes, Capabilities, Lease
from samaritan.models.nninteractive.steps import Plan, plan, wire_order
from samaritan.models.nninteractive.transport import KEY_VARIABLE, Timeouts, Transport
from samaritan.models.nninteractive.wire import blosc2_module

_VOXELS = "voxels"
_LOGIT = np.float32(4.0)  # of the object; its negative elsewhere: the wire carries yes and no only
_WHOLE = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False, slots=True)
class VolumeEmbedding:
    """A volume ready to be sent: ``voxels`` (k, j, i) of int16 in C order, and the ``key`` that its content has.

    ``spacing`` (k, j, i) is that of the geometry.
    """

    voxels: NDArray[np.int16]
    geometry: Geometry
    key: str = field(init=False)
    is_flat: bool = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(repr((self.voxels.shape, self.spacing)).encode())
        digest.update(self.voxels.data)
        object.__setattr__(self, "key", digest.hexdigest())
        object.__setattr__(self, "is_flat", bool(self.voxels.min() == self.voxels.max()))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between voxels along k, j, i."""
        return self.geometry.spacing[::-1]

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.voxels.nbytes


class NnInteractiveModel:
    """A ``Model`` of volumes that runs on an nnInteractive server; pictures are volumes of one plane.

    It takes a place on the server with the first ``decode`` and keeps it until ``close``, the end of a ``with``
    statement, or the end of the program; a server has few. The volume is uploaded when it is not the one that was
    uploaded last, so going back and forth between volumes is slow. Threads may share it, and wait for each other.

    Parameters
    ----------
    url
        Where the server is, such as ``http://127.0.0.1:1527``.
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

    def __init__(self, url: str, *, api_key: str | None = None, timeouts: Timeouts | None = None) -> None:
        blosc2_module()  # now, not when the first volume is sent
        key = os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key
        transport = Transport(url, api_key=key, timeouts=timeouts)
        self._place = _Place(transport)
        # Runs when the model is no longer used, or else before the interpreter exits.
        self._finalizer = weakref.finalize(self, self._place.close)
        try:
            self.capabilities = Capabilities.ask(transport)
            self._card = _card_of(self.capabilities)
        except BaseException:
            self.close()
            raise

    @property
    def card(self) -> ModelCard:
        """What there is to know about the model: prompts, size, and licence if it tells, as its server has them."""
        return self._card

    def embed(self, image: Image) -> VolumeEmbedding:
        """Take a volume in; nothing is sent yet. See ``Model.embed``.

        Values are rounded to whole numbers; the server gets these.

        Raises
        ------
        ImageError
            If the image has another number of channels than the card says.
        """
        if len(image.channels) != self.card.channels:
            raise ImageError(got=f"an image of {len(image.channels)} channels", wanted=f"{self.card.channels}")
        voxels = np.empty(wire_order(image.shape), np.int16)
        for index, plane in enumerate(voxels):  # one at a time, to spare memory
            whole = np.rint(image.array[0, :, :, index])
            plane[...] = np.clip(whole, _WHOLE.min, _WHOLE.max).T
        return VolumeEmbedding(read_only(voxels), image.geometry)

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Have the server find one object; see ``Model.decode``, and ``steps`` for what is said in which order.

        The answer follows from what is given alone: the server is told to forget what was said before. One mask, logits
        of 4 and -4. In a volume of one value there is nothing to find: the server would fail on it and is not asked.

        Raises
        ------
        PromptError
            If nothing says where the object is.
        ServerBusyError
            If the server has no free place.
        SessionExpiredError
            If the server took the place back twice in a row.
        SessionError
            If it cannot be reached, refuses, or answers what it should not.
        ResourceError
            If it has no memory for the volume.
        """
        require_same_grid(embedding, prompts, previous)
        self.card.require_prompts(prompts)
        known = cast("VolumeEmbedding", embedding)
        said = plan(prompts, previous, self.capabilities)
        if said.says_where and not known.is_flat:
            mask = self._place.ask(known, said)
        else:
            mask = np.zeros(known.voxels.shape, np.uint8) if said.start is None else said.start
        return _prediction(mask, known.geometry)

    def pack(self, embedding: Embedding) -> Mapping[str, NDArray[Any]]:
        """Return the voxels."""
        return {_VOXELS: cast("VolumeEmbedding", embedding).voxels}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> VolumeEmbedding:
        """Return the embedding that ``pack`` took apart.

        Raises
        ------
        CorruptFileError
            If the arrays are not those of a volume on ``geometry``.
        """
        wanted = {_VOXELS: (wire_order(geometry.shape), "int16")}
        found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        if found != wanted:
            raise CorruptFileError(got=f"an embedding of {found}", wanted=f"{wanted}")
        return VolumeEmbedding(read_only(np.ascontiguousarray(arrays[_VOXELS])), geometry)

    def close(self) -> None:
        """Give the place on the server back. The model cannot be asked any more; nothing happens the second time.

        What another thread has asked for is not waited for. It may still get its answer, or a ``SessionError``.
        """
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Place:
    """A place on a server, taken when it is first needed and again if the server took it back; one asks at a time."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._holds = ""  # key of the volume that the server has
        self._closed = False

    def ask(self, volume: VolumeEmbedding, said: Plan) -> Bytes:
        """Return the mask (k, j, i) that the server finds in ``volume``."""
        try:
            with self._lock:
                try:
                    return self._ask(volume, said)
                except SessionExpiredError:
                    # After minutes without a prompt, or a restart of the server: all that it needs to know is here.
                    self._give_up()
                    return self._ask(volume, said)
        finally:
            if self._closed:  # meanwhile: then what it had to leave is left to here
                self.close()

    def close(self) -> None:
        """Give it back for good. Nobody is waited for who asks just now: that could take minutes."""
        self._closed = True
        lease = self._lease
        if lease is not None:
            lease.release()
        if self._lock.acquire(blocking=False):
            try:
                self._give_up()
                self._transport.close()
            finally:
                self._lock.release()

    def _ask(self, volume: VolumeEmbedding, said: Plan) -> Bytes:
        self._require_open()
        if self._lease is None:
            self._lease = Lease.claim(self._transport)
            self._require_open()  # it may have been closed while the server thought
        if self._holds == volume.key:
            self._lease.reset()
        else:
            self._holds = ""  # should the upload fail, nobody knows what the server has
            self._lease.set_image(volume.voxels, volume.spacing)
            self._holds = volume.key
        said.send(self._lease)
        return self._lease.buffer

    def _require_open(self) -> None:
        if self._closed:
            raise SessionError(got="a model that was closed", fix="Connect anew")

    def _give_up(self) -> None:
        lease, self._lease, self._holds = self._lease, None, ""
        if lease is not None:
            lease.release()


def _card_of(capabilities: Capabilities) -> ModelCard:
    """Return the card with what the server tells of its model."""
    card = remote_card()
    takes = {
        "point": capabilities.points,
        "box": capabilities.box_2d or capabilities.box_3d,
        "scribble": capabilities.scribble,
        "lasso": capabilities.lasso,
        "mask": capabilities.start,
    }
    prompts = card.prompts & {kind for kind, taken in takes.items() if taken}
    if not prompts:
        raise SessionError(got="a server whose model takes no prompt that is known here", wanted="points, for one")
    licence = capabilities.licence or card.licence
    return replace(card, prompts=prompts, licence=licence, native_shape=wire_order(capabilities.patch))


def _prediction(mask: Bytes, geometry: Geometry) -> Prediction:
    logits = np.where(mask > 0, _LOGIT, -_LOGIT)[None].transpose(0, 3, 2, 1)
    score = np.nan if mask.any() else 0.0
    return Prediction(logits, np.array([score], np.float32), geometry)
