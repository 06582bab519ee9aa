"""One client's part in the conversation with an nnInteractive server (protocol of its versions 2.5 and later).

A server says what it can do (``Capabilities``) and lends places. A place, ``Lease``, holds one image, one buffer with
the mask, and the prompts since the last reset. Everything is in the index of the array that was uploaded: the wire
knows no millimetres. A thread of its own tells the server that the client lives; a lease on which nothing is done for
some minutes is taken back all the same, and whatever is asked then raises ``SessionExpiredError``.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import SamaritanError, SessionError, SessionExpiredError
from samaritan.core.geometry import Shape
from samaritan.models.nninteractive import wire
from samaritan.models.nninteractive.transport import Answer, Request, Transport

Bytes = NDArray[np.uint8]

_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")  # what a header can carry
_UNKNOWN_LICENCE = "!!MISSING!!"
_LICENCE = 80  # characters
_PATCH: Shape = (192, 192, 192)  # of the official weights
_THIN: Shape = (1, 1, 1)
_MOST_PATCH, _MOST_THICKNESS = 4096, 16  # voxels along an axis that are believed
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 20.0  # between two heartbeats

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server's model takes.

    Parameters
    ----------
    points, box_2d, box_3d, scribble, lasso
        Kinds of prompt; ``box_2d`` are boxes that are one voxel thick along an axis.
    start, refines
        Whether it takes a mask to start from, and improves one without any other prompt.
    patch
        Size, in the order of the wire, of what the model looks at around a prompt.
    thickness
        Voxels that scribbles should be thick, in the same order.
    licence
        Of the weights, as the server tells it, with the hyphens of SPDX; empty if it does not.
    version
        Of the server, for messages.
    """

    points: bool = False
    box_2d: bool = False
    box_3d: bool = False
    scribble: bool = False
    lasso: bool = False
    start: bool = False
    refines: bool = False
    patch: Shape = _PATCH
    thickness: Shape = _THIN
    licence: str = ""
    version: str = ""

    @classmethod
    def ask(cls, transport: Transport) -> Self:
        """Ask a server; takes no place on it.

        Raises
        ------
        SessionError
            If there is no such server, or it does not tell.
        """
        facts = transport.ask(Request(path="/capabilities", method="GET")).message
        kinds = facts.get("supported_interactions")
        if not isinstance(kinds, Mapping):
            raise _odd(got="capabilities without supported_interactions")
        licence = _line(facts.get("license"))
        return cls(
            points=kinds.get("points") is True,
            box_2d=kinds.get("bbox2d") is True,
            box_3d=kinds.get("bbox3d") is True,
            scribble=kinds.get("scribble") is True,
            lasso=kinds.get("lasso") is True,
            start=facts.get("supports_initial_label") is True,
            refines=facts.get("supports_zero_shot_label_refinement") is True,
            patch=_sizes(facts.get("patch_size"), most=_MOST_PATCH, otherwise=_PATCH),
            thickness=_sizes(facts.get("preferred_scribble_thickness"), most=_MOST_THICKNESS, otherwise=_THIN),
            licence="" if licence == _UNKNOWN_LICENCE else "-".join(licence.split()),
            version=_line(facts.get("inference_session_version")),
        )


class Lease:
    """A place on a server. Not for two threads at once: one conversation has one order.

    Made by ``claim``; ``release`` it, or use it in a ``with`` statement.
    """

    def __init__(self, transport: Transport, token: str, *, liveness_s: float) -> None:
        self._transport, self._token, self._process = transport, token, os.getpid()
        self._buffer: Bytes = np.zeros((0, 0, 0), np.uint8)
        self._stop = threading.Event()
        pause_s = min(max(liveness_s / 3, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S) if liveness_s > 0 else _LONGEST_PAUSE_S
        beat = (transport, token, self._stop, pause_s)  # not the lease: a thread would keep it alive
        threading.Thread(target=_keep_alive, args=beat, name="nninteractive-heartbeat", daemon=True).start()

    @classmethod
    def claim(cls, transport: Transport) -> Self:
        """Take a place.

        Raises
        ------
        ServerBusyError
            If all are taken.
        SessionError
            If the server cannot be reached or refuses.
        """
        facts = transport.ask(Request(path="/claim")).message
        token, liveness_s = facts.get("lease_token"), facts.get("liveness_timeout_seconds", 60.0)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _odd(got="a lease without a token that can be sent")
        if not isinstance(liveness_s, int | float) or not math.isfinite(liveness_s):
            raise _odd(got="a lease without a time that it lasts")
        logger.debug("took a place on %s", transport.url)
        return cls(transport, token, liveness_s=float(liveness_s))

    @property
    def buffer(self) -> Bytes:
        """The mask as it stands, 1 where the object is, in the shape of the target buffer. A view."""
        return self._buffer

    def release(self) -> None:
        """Give the place back, as far as the server still can take it; nothing happens the second time."""
        if self._stop.is_set():
            return
        self._stop.set()
        if os.getpid() != self._process:  # after a fork the place is still the parent's
            return
        farewell = Request(path="/release", lease=self._token, timeout_s=self._transport.timeouts.release_s)
        try:
            self._transport.ask(farewell)
        except SamaritanError as error:
            logger.debug("the server did not take a place back (%s)", error.code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    # -- the image ----------------------------------------------------------------------------------------------

    def set_image(self, voxels: NDArray[Any], spacing: tuple[float, ...]) -> None:
        """Upload the image (a, b, c), with the spacing along its axes, and set up a mask of its shape.

        Raises
        ------
        SamaritanError
            As ``Transport.ask``.
        """
        channels = voxels[None]
        answer = self._ask(
            Request(
                path="/set_image",
                message={"image_properties": {"spacing": list(spacing)}},
                body=wire.encode(channels),
                timeout_s=self._transport.timeouts.image_s,
            )
        )
        if answer.message.get("original_image_shape") != list(channels.shape):
            raise _odd(got="another shape for the image than it was sent with")
        self._ask(Request(path="/set_target_buffer", message={"shape": list(voxels.shape), "dtype": "uint8"}))
        self._buffer = np.zeros(voxels.shape, np.uint8)

    def reset(self) -> None:
        """Forget all prompts and the mask; the image stays."""
        self._ask(Request(path="/reset_interactions", message={}))
        self._buffer = np.zeros_like(self._buffer)

    # -- prompts: with ``run`` the model looks at all that were given since the last look -------------------------

    def add_start(self, mask: Bytes, *, run: bool) -> None:
        """Begin from a mask of the buffer's shape; forgets all prompts before it."""
        # The server takes it over on its side, and sends back only what a prediction changes.
        self._buffer = (mask != 0).astype(np.uint8)
        self._predict("/add_initial_seg_interaction", {}, wire.encode(self._buffer), run=run)

    def add_point(self, voxel: Shape, *, positive: bool, run: bool) -> None:
        """Click on a voxel."""
        self._predict("/add_point_interaction", {"coordinates": list(voxel), "include_interaction": positive}, run=run)

    def add_box(self, start: Shape, stop: Shape, *, run: bool) -> None:
        """Put a half-open box around the object."""
        sides = [list(side) for side in zip(start, stop, strict=True)]
        self._predict("/add_bbox_interaction", {"bbox_coords": sides, "include_interaction": True}, run=run)

    def add_scribble(self, mask: Bytes, start: Shape, *, positive: bool, run: bool) -> None:
        """Paint the voxels of ``mask``, a block that begins at ``start``."""
        self._predict_from_block("/add_scribble_interaction", mask, start, positive=positive, run=run)

    def add_lasso(self, mask: Bytes, start: Shape, *, positive: bool, run: bool) -> None:
        """Circle the voxels of ``mask``, a block that begins at ``start``."""
        self._predict_from_block("/add_lasso_interaction", mask, start, positive=positive, run=run)

    def _predict_from_block(self, path: str, mask: Bytes, start: Shape, *, positive: bool, run: bool) -> None:
        sides = [[first, first + size] for first, size in zip(start, mask.shape, strict=True)]
        message = {"include_interaction": positive, "interaction_bbox": sides}
        self._predict(path, message, wire.encode(mask), run=run)

    def _predict(self, path: str, message: Mapping[str, Any], body: bytes | None = None, *, run: bool) -> None:
        asked = {**message, "run_prediction": run, "override_capability_checks": False}
        # The mask is known to be no larger than the image, so an answer that is, is refused unread.
        answer = self._ask(Request(path=path, message=asked, body=body, limit=wire.largest_body(self._buffer.nbytes)))
        ran = answer.meta.get("ran_prediction")
        if ran is not run:
            raise _odd(got=f"that it ran a prediction: {ran!r}, asked for: {run}")
        block = answer.meta.get("bbox")
        if not run or block is None:
            return
        where = _slices(block, self._buffer.shape)
        target = self._buffer[where]
        if not answer.body:
            return
        found = wire.decode(answer.body, max_bytes=target.nbytes)
        if found.shape != target.shape:
            raise _odd(got=f"a mask of {found.shape} for a block of {target.shape}")
        self._buffer[where] = found != 0

    def _ask(self, request: Request) -> Answer:
        if self._stop.is_set():
            raise SessionError(got="a lease that was given back", fix="Claim another")
        return self._transport.ask(replace(request, lease=self._token))


def _keep_alive(transport: Transport, token: str, stop: threading.Event, pause_s: float) -> None:
    """Tell the server now and then that its client lives, until told to stop or the lease is gone."""
    while not stop.wait(pause_s):
        try:
            transport.ask(Request(path="/heartbeat", lease=token, message={}))
        except SessionExpiredError:
            return  # whoever works with the lease will hear of it too
        except SamaritanError as error:  # one that is lost does no harm: the server waits for three
            logger.debug("a heartbeat was not answered (%s)", error.code)


def _slices(block: object, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return a block [[a, b], ...], as a server tells it, as slices; refuse one that is not within ``shape``."""
    sides = block if isinstance(block, list) else []
    good = len(sides) == len(shape) and all(
        isinstance(side, list)
        and len(side) == 2
        and all(type(end) is int for end in side)
        and 0 <= side[0] < side[1] <= size
        for side, size in zip(sides, shape, strict=False)
    )
    if not good:
        raise _odd(got="a changed block that is not within the image")
    return tuple(slice(*side) for side in sides)


def _sizes(value: object, *, most: int, otherwise: Shape) -> Shape:
    """Return three whole numbers from 1 to ``most``, as a server tells them, or ``otherwise``."""
    sizes = value if isinstance(value, list) else []
    good = len(sizes) == 3 and all(type(size) is int and 1 <= size <= most for size in sizes)
    return cast("Shape", tuple(sizes)) if good else otherwise


def _line(value: object) -> str:
    """Return a server's text for people, cut to one short line; empty if it is no text."""
    text = value[:_LICENCE] if isinstance(value, str) else ""
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _odd(*, got: str) -> SessionError:
    return SessionError(
        got=f"the server answered with {got}",
        wanted="an answer as the protocol of nnInteractive 2 has it",
        fix="See that the address is that of such a server, of version 2.5 or later",
    )
