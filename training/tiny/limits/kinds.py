"""What each kind of prompt gives: one of each kind that is simulated, for every object, drawn by chance.

A kind that says more than another should not give less; `box and clicks` has a loose box, as people draw them.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from samaritan.autoprompt.simulate import KINDS, Recipe, simulate
from training.measures import dice
from training.tiny.limits.shared import Subject, markdown, mean_of

SEED = 40_000_000  # far from the seeds of training


def table(subject: Subject) -> str:
    """Return the Dice of the answers to one prompt of each kind."""
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for group, part in subject.groups.items():
        for kind in KINDS:
            recipe, scores = Recipe({kind: 1.0}), []
            for number, item in enumerate(part):
                prompts = simulate(item.target, np.random.default_rng([SEED, number]), recipe)
                scores.append(dice(item.target.mask, subject.model.decode(item.embedding, prompts).mask))
            rows[kind][group] = mean_of(scores, part)
    return markdown("Dice of one prompt", rows)
