"""Kinds of prompt: each makes, for a target, what one person gives at once.

A kind is a function ``(target, rng) -> [prompt, ...]``; None stands for a prompt that this target leaves no room for.
To add one, write it here or in a package of your own, and register its name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samaritan.autoprompt.simulate.boxes import jittered_box, tight_box
from samaritan.autoprompt.simulate.clicks import centre_click, edge_click, outside_click, random_click
from samaritan.autoprompt.simulate.masks import wrong_mask
from samaritan.autoprompt.simulate.strokes import centre_line, contour, lasso, line, negative_stroke
from samaritan.autoprompt.simulate.target import Target
from samaritan.core.prompts import Prompt

Maker = Callable[[Target, np.random.Generator], list[Prompt | None]]

_CENTRE_SHARE, _EDGE_SHARE = 0.4, 0.1  # of lone clicks; the rest may be anywhere in the object
_MAX_EXTRA_CLICKS = 3
_INSIDE_SHARE = 0.6  # of the strokes that are drawn besides a box
_WIDE = 0.4  # of its length: how far beyond the object a side of a careless box may lie


def click(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Click once, often near the middle, seldom near the edge."""
    choice = rng.random()
    if choice < _CENTRE_SHARE:
        return [centre_click(target)]
    return [edge_click(target, rng) if choice > 1.0 - _EDGE_SHARE else random_click(target, rng)]


def clicks(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Click, and some more, in the object or beside it."""
    return [*click(target, rng), *_extra_clicks(target, rng)]


def box(target: Target, _rng: np.random.Generator) -> list[Prompt | None]:
    """Draw the tight box."""
    return [tight_box(target)]


def loose_box(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a box whose sides are off by up to a tenth of its length, inward or outward."""
    return [jittered_box(target, rng)]


def wide_box(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a box with room around the object, more at some sides than at others."""
    return [jittered_box(target, rng, inward=0.0, outward=_WIDE)]


def box_and_clicks(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a loose box and add some clicks."""
    return [jittered_box(target, rng), *_extra_clicks(target, rng)]


def line_scribble(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a stroke across the object."""
    return [line(target, rng)]


def centre_line_scribble(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a stroke along the object's middle."""
    return [centre_line(target, rng)]


def contour_scribble(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a stroke along the boundary, inside."""
    return [contour(target, rng)]


def two_scribbles(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a stroke along the middle, and one outside to keep the mask from spilling."""
    return [centre_line(target, rng), negative_stroke(target, rng)]


def scribble_and_clicks(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a stroke along the middle and add some clicks."""
    return [centre_line(target, rng), *_extra_clicks(target, rng)]


def box_and_scribble(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a loose box, and a stroke in the object or outside it."""
    stroke = centre_line(target, rng) if rng.random() < _INSIDE_SHARE else negative_stroke(target, rng)
    return [jittered_box(target, rng), stroke]


def outline(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a lasso around the object."""
    return [lasso(target, rng)]


def outline_and_clicks(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Draw a lasso around the object and add some clicks."""
    return [lasso(target, rng), *_extra_clicks(target, rng)]


def mask(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Give a mask with a wrong boundary."""
    return [wrong_mask(target, rng)]


def mask_and_clicks(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    """Give a mask with a wrong boundary, and some clicks."""
    return [wrong_mask(target, rng), *_extra_clicks(target, rng)]


def _extra_clicks(target: Target, rng: np.random.Generator) -> list[Prompt | None]:
    count = int(rng.integers(1, _MAX_EXTRA_CLICKS + 1))
    return [random_click(target, rng) if rng.random() < 0.5 else outside_click(target, rng) for _ in range(count)]
