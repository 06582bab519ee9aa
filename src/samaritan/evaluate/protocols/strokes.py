"""One scribble, as people draw them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samaritan.autoprompt.simulate import Target, centre_line, contour, line
from samaritan.core.prompts import Prompts, Scribble
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question

_SOURCE = "Wong et al. 2024 (ScribblePrompt), arXiv:2312.07381"


def _protocol(title: str, draw: Callable[[Target, np.random.Generator], Scribble]) -> Protocol:
    def run(target: Target, rng: np.random.Generator) -> Asking:
        yield Question((Prompts(target.geometry, (draw(target, rng),)),), "1 scribble", 1.0)

    return Protocol(title=title, run=run, kinds=frozenset({"scribble"}), source=_SOURCE, axis="scribbles", oracle=True)


SCRIBBLE_LINE = _protocol("a line between two places in the object", line)
SCRIBBLE_CENTRE = _protocol("along the object's middle line", centre_line)
SCRIBBLE_CONTOUR = _protocol("along the object's boundary, inside", contour)
