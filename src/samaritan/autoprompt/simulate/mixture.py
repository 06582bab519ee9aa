"""Who prompts how often in which way: recipes that mix the kinds of prompt."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from samaritan.autoprompt.simulate.clicks import outside_click, random_click
from samaritan.autoprompt.simulate.kinds import Maker
from samaritan.autoprompt.simulate.target import Target
from samaritan.core.prompts import Point, Prompt, Prompts
from samaritan.core.registry import Registry

KINDS: Registry[Maker] = Registry("kind of simulated prompt", "samaritan.simulated_prompts")
KINDS.register("click", "samaritan.autoprompt.simulate.kinds:click")
KINDS.register("clicks", "samaritan.autoprompt.simulate.kinds:clicks")
KINDS.register("box", "samaritan.autoprompt.simulate.kinds:box")
KINDS.register("loose box", "samaritan.autoprompt.simulate.kinds:loose_box")
KINDS.register("wide box", "samaritan.autoprompt.simulate.kinds:wide_box")
KINDS.register("box and clicks", "samaritan.autoprompt.simulate.kinds:box_and_clicks")
KINDS.register("line", "samaritan.autoprompt.simulate.kinds:line_scribble")
KINDS.register("centre line", "samaritan.autoprompt.simulate.kinds:centre_line_scribble")
KINDS.register("contour", "samaritan.autoprompt.simulate.kinds:contour_scribble")
KINDS.register("two scribbles", "samaritan.autoprompt.simulate.kinds:two_scribbles")
KINDS.register("scribble and clicks", "samaritan.autoprompt.simulate.kinds:scribble_and_clicks")
KINDS.register("box and scribble", "samaritan.autoprompt.simulate.kinds:box_and_scribble")
KINDS.register("lasso", "samaritan.autoprompt.simulate.kinds:outline")
KINDS.register("lasso and clicks", "samaritan.autoprompt.simulate.kinds:outline_and_clicks")
KINDS.register("mask", "samaritan.autoprompt.simulate.kinds:mask")
KINDS.register("mask and clicks", "samaritan.autoprompt.simulate.kinds:mask_and_clicks")


@dataclass(frozen=True)
class Recipe:
    """How often each kind of ``KINDS`` is drawn (weights, not probabilities), and how often people err.

    ``wrong_click_share`` is the share of prompts that get one click of the wrong sign besides.
    """

    weights: dict[str, float] = field(default_factory=dict)
    wrong_click_share: float = 0.0


EVERYDAY = Recipe(
    {
        "box": 0.22, "loose box": 0.15, "wide box": 0.02, "box and clicks": 0.05, "box and scribble": 0.02,
        "click": 0.16, "clicks": 0.1, "line": 0.04, "centre line": 0.08, "contour": 0.02, "two scribbles": 0.04,
        "scribble and clicks": 0.02, "lasso": 0.02, "lasso and clicks": 0.01, "mask": 0.03, "mask and clicks": 0.04,
    },
    wrong_click_share=0.01,
)  # fmt: skip


def simulate(target: Target, rng: np.random.Generator, recipe: Recipe = EVERYDAY) -> Prompts:
    """Draw a kind of prompt and make it for ``target``."""
    names = sorted(recipe.weights)
    shares = np.array([recipe.weights[name] for name in names])
    kind = names[rng.choice(len(names), p=shares / shares.sum())]
    items = KINDS.get(kind)(target, rng)
    if rng.random() < recipe.wrong_click_share:
        items.append(_wrong_click(target, rng))
    return Prompts(target.geometry, tuple(_without_contradictions(items)))


def _wrong_click(target: Target, rng: np.random.Generator) -> Point | None:
    if rng.random() < 0.5:
        return Point(random_click(target, rng).index, positive=False)
    beside = outside_click(target, rng)
    return Point(beside.index) if beside else None


def _without_contradictions(items: list[Prompt | None]) -> list[Prompt]:
    """Drop what could not be made, and clicks on a voxel that was clicked before."""
    kept: list[Prompt] = []
    taken = set()
    for item in items:
        if item is None or (isinstance(item, Point) and item.voxel in taken):
            continue
        if isinstance(item, Point):
            taken.add(item.voxel)
        kept.append(item)
    return kept
