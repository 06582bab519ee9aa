"""A person who corrects a model, simulated: what calibration and benchmarks ask alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from samaritan.autoprompt.simulate import next_click
from samaritan.core.model import Embedding, Model, Prediction
from samaritan.core.prompts import Prompts

Bools = NDArray[np.bool_]


def corrected(
    model: Model, embedding: Embedding, mask: Bools, prompts: Prompts, *, clicks: int
) -> Iterator[Prediction]:
    """Yield the answer to `prompts`, if there are any, then that to each of so many `clicks` more.

    Each click is in the deepest point of all that is wrong, the first from nothing in the deepest point of the object;
    where none is left to give, the answer stays.

    Parameters
    ----------
    model, embedding
        What is asked, about which plane.
    mask
        The object, bool (i, j, 1), not empty.
    prompts
        What is known of it at first; may be empty.
    clicks
        How many to give.
    """
    answer = model.decode(embedding, prompts) if prompts.items else None
    if answer is not None:
        yield answer
    for _ in range(clicks):
        click = next_click(mask, np.zeros_like(mask) if answer is None else answer.mask, embedding.geometry)
        if click is not None and click not in prompts.items:
            prompts = prompts.add(click)
            answer = model.decode(embedding, prompts, answer)
        assert answer is not None  # an object that is not empty has a deepest point
        yield answer
