"""Nothing but the name of the label, for models that know it."""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import Target
from samaritan.core.prompts import Prompts, Text
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question


def _named(target: Target, _rng: np.random.Generator) -> Asking:
    yield Question((Prompts(target.geometry, (Text(target.name or "object"),)),), "name", 0.0)


NAME = Protocol(title="the name of the label", run=_named, kinds=frozenset({"text"}))
