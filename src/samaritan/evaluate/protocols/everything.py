"""Everything in the image, without a prompt: the mask that fits the object best."""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import Target
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question


def _run(_target: Target, _rng: np.random.Generator) -> Asking:
    yield Question(None, "everything", 0.0)


EVERYTHING = Protocol(
    title="a grid of points, good and stable masks kept; the best match counts",
    run=_run,
    kinds=frozenset({"point"}),
    source="Kirillov et al. 2023, arXiv:2304.02643",
    dims=2,
    oracle=True,
)
