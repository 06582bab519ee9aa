"""Simulated users: prompts that a person might give for an object whose mask is known.

Everything starts from a ``Target``, a mask on its grid. The functions are pure: all chance comes from the generator
that they are given, and what needs none takes none. Clicks and boxes are as many-dimensional as the target; strokes
are drawn in one slice, as people draw them.
"""

from samaritan.autoprompt.simulate.ambiguity import meanings
from samaritan.autoprompt.simulate.boxes import jittered_box, tight_box
from samaritan.autoprompt.simulate.clicks import centre_click, edge_click, next_click, outside_click, random_click
from samaritan.autoprompt.simulate.masks import wrong_mask
from samaritan.autoprompt.simulate.mixture import EVERYDAY, KINDS, Recipe, simulate
from samaritan.autoprompt.simulate.strokes import centre_line, contour, lasso, line, negative_stroke
from samaritan.autoprompt.simulate.target import Target

__all__ = [
    "EVERYDAY",
    "KINDS",
    "Recipe",
    "Target",
    "centre_click",
    "centre_line",
    "contour",
    "edge_click",
    "jittered_box",
    "lasso",
    "line",
    "meanings",
    "negative_stroke",
    "next_click",
    "outside_click",
    "random_click",
    "simulate",
    "tight_box",
    "wrong_mask",
]
