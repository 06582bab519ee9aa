"""Disturbances: images that are worse than they should be, and hands that are."""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import Target, edge_click, jittered_box, random_click, tight_box
from samaritan.core.prompts import Prompt, Prompts
from samaritan.evaluate.corruptions import CORRUPTIONS, SEVERITIES
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question

_HANDS = 5


def _corrupted(target: Target, _rng: np.random.Generator) -> Asking:
    """Ask with the tight box, on the image as it is and with each corruption of each severity.

    The plane is all that is seen in each of them: spoilt planes have no volume to take their window from.
    """
    prompts = (Prompts(target.geometry, (tight_box(target),)),)
    yield Question(prompts, "none", 0.0, corruption=("none", 0))
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            yield Question(prompts, f"{name} {severity}", float(severity), corruption=(name, severity))


def _by_hand(target: Target, rng: np.random.Generator) -> Asking:
    """Ask as different people would: careless boxes, clicks anywhere, clicks near the edge; five each."""
    for number in range(1, _HANDS + 1):
        hands: dict[str, Prompt] = {
            "a careless box": jittered_box(target, rng, inward=0.1, outward=0.2),
            "a click anywhere": random_click(target, rng),
            "a click near the edge": edge_click(target, rng),
        }
        for name, prompt in hands.items():
            yield Question((Prompts(target.geometry, (prompt,)),), f"{name} {number}", float(number))


CORRUPTED_IMAGES = Protocol(
    title="the tight box on images spoilt in many ways, five severities each",
    run=_corrupted,
    kinds=frozenset({"box"}),
    source="Hendrycks & Dietterich 2019, arXiv:1903.12261; Wang et al. 2023, arXiv:2304.14674",
    axis="severity",
    dims=2,
    apart=True,
)
HUMAN_NOISE = Protocol(
    title="careless boxes, clicks anywhere and near the edge, five of each",
    run=_by_hand,
    kinds=frozenset({"box", "point"}),
    axis="repeat",
    apart=True,
)
