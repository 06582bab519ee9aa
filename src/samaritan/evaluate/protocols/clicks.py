"""Corrective clicks: each in the deepest point of the deepest error, from nothing or from a box."""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import Target, next_click, tight_box
from samaritan.core.prompts import Box, Prompts
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question

_CLICKS = 10
_AFTER_BOX = 5


def _corrected(target: Target, first: tuple[Box, ...], *, most: int) -> Asking:
    """Ask with ``first``, if there is any, and with one click more each time; the model is handed its last answer."""
    prompts = Prompts(target.geometry, first)
    mask = np.zeros(target.mask.shape, np.bool_)
    asked = False
    if first:
        answer = yield Question((prompts,), "0 clicks", 0.0)
        mask, asked = answer.mask, True
    for count in range(1, most + 1):
        click = next_click(target.mask, mask, target.geometry)
        if click is not None:  # nothing is wrong: nobody clicks, and the answer stays
            prompts = prompts.add(click)
        answer = yield Question((prompts,), f"{count} clicks", float(count), refines=asked)
        mask, asked = answer.mask, True


def _clicks(target: Target, _rng: np.random.Generator) -> Asking:
    yield from _corrected(target, (), most=_CLICKS)


def _box_clicks(target: Target, _rng: np.random.Generator) -> Asking:
    yield from _corrected(target, (tight_box(target),), most=_AFTER_BOX)


CLICKS = Protocol(
    title="1 to 10 corrective clicks from nothing",
    run=_clicks,
    kinds=frozenset({"point"}),
    source="Sofiiuk et al. 2022 (RITM), arXiv:2102.06583",
    axis="clicks",
)
BOX_CLICKS = Protocol(
    title="the tight box, then 1 to 5 corrective clicks",
    run=_box_clicks,
    kinds=frozenset({"box", "point"}),
    axis="clicks",
)
