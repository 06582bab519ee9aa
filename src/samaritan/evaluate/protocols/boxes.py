"""Boxes: tight, moved by up to 30% of their sides, and around the whole image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samaritan.autoprompt.simulate import Target, jittered_box, tight_box
from samaritan.core.prompts import Box, Prompts
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question

LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
_SOURCE = "Cheng et al. 2023, arXiv:2305.00035"


def _tight(target: Target, _rng: np.random.Generator) -> Asking:
    yield Question((Prompts(target.geometry, (tight_box(target),)),), "box", 1.0)


def _whole(target: Target, _rng: np.random.Generator) -> Asking:
    box = Box((0, 0, 0), target.geometry.shape)
    yield Question((Prompts(target.geometry, (box,)),), "whole image", 1.0)


def _moved(inward: float, outward: float) -> Callable[[Target, np.random.Generator], Asking]:
    """Return what asks with boxes of growing jitter, the same draw at each level: shares of it inward and outward."""

    def run(target: Target, rng: np.random.Generator) -> Asking:
        seed = int(rng.integers(2**63))
        for level in LEVELS:
            same = np.random.default_rng(seed)
            box = jittered_box(target, same, inward=inward * level, outward=outward * level)
            yield Question((Prompts(target.geometry, (box,)),), f"{level:.0%}", level)

    return run


_BOX = frozenset({"box"})
BOX = Protocol(title="the tight box", run=_tight, kinds=_BOX, source="Ma et al. 2024, arXiv:2304.12306", oracle=True)
BOX_WHOLE = Protocol(title="a box around the whole image", run=_whole, kinds=_BOX, dims=2, oracle=True)
BOX_JITTER = Protocol(
    title="each side of the box moved in or out, up to 0 to 30% of its length",
    run=_moved(1.0, 1.0),
    kinds=_BOX,
    source=_SOURCE,
    axis="jitter",
)
BOX_INWARD = Protocol(title="each side moved inward, up to 0 to 30%", run=_moved(1.0, 0.0), kinds=_BOX, axis="jitter")
BOX_OUTWARD = Protocol(title="each side moved outward, up to 0 to 30%", run=_moved(0.0, 1.0), kinds=_BOX, axis="jitter")
