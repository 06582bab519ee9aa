"""Strokes around the middle of an object: what they give if they are searched for, and by their own box."""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import centre_line, contour
from samaritan.core.prompts import Prompts
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
from samaritan.models.tiny.prompts import drawn_around
from training.measures import dice
from training.tiny.limits.shared import Asked, Subject, markdown

DRAWN = 4  # strokes of each kind of each object


class Searching(TinyModel):
    """The model as it would be if a stroke around its middle told nothing: marks are always searched for."""

    def ask(self, item: Asked, prompts: Prompts) -> float:
        """Return the Dice of the answer to a stroke."""
        return dice(item.target.mask, self._find(item.embedding, prompts).mask)


def table(subject: Subject) -> str:
    """Return the table."""
    searching = Searching(FOLDER, network=subject.network)
    rows: dict[str, dict[str, float]] = {}
    for group, part in subject.groups.items():
        rng = np.random.default_rng(0)
        pairs = []
        for item in part:
            for draw in (centre_line, contour):
                for _ in range(DRAWN):
                    prompts = Prompts(item.target.geometry, (draw(item.target, rng),))
                    if drawn_around(prompts) is not None:
                        own = dice(item.target.mask, subject.model.decode(item.embedding, prompts).mask)
                        pairs.append((searching.ask(item, prompts), own))
        if pairs:
            searched, own = np.mean(pairs, axis=0)
            rows[group] = {"strokes": float(len(pairs)), "searched for": float(searched), "its own box": float(own)}
    return markdown("Dice of strokes around their middle", rows or {"none": {"strokes": 0.0}})
