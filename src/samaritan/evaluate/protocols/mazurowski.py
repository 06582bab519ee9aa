"""The five modes of use of Mazurowski et al. 2023, "Segment anything model for medical image analysis: an experimental
study" (Medical Image Analysis 89:102918, arXiv:2304.10517), and their points one after the other.

Pieces are connected at corners; points are the deepest of a piece; boxes are tight. Theirs end with the last pixel,
ours after it. Several boxes are asked for one by one, and the answers united; several points are one prompt.
"""  # noqa: D205

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import Target, tight_box
from samaritan.core.prompts import Box, Point, Prompt, Prompts
from samaritan.evaluate.protocols.components import components, deepest_point
from samaritan.evaluate.protocols.protocol import Asking, Protocol, Question

_PIECES = 3
_POINTS = 9
_SOURCE = "Mazurowski et al. 2023, arXiv:2304.10517"


def _ask(target: Target, *prompts: Prompt, step: str) -> Asking:
    """Ask once: points together, boxes one by one."""
    sets = [(prompt,) for prompt in prompts] if isinstance(prompts[0], Box) else [prompts]
    yield Question(tuple(Prompts(target.geometry, items) for items in sets), step, float(len(prompts)))


def _point_on_largest(target: Target, rng: np.random.Generator) -> Asking:
    yield from _ask(target, deepest_point(components(target, most=1)[0], rng), step="1 point")


def _point_on_each(target: Target, rng: np.random.Generator) -> Asking:
    points = [deepest_point(piece, rng) for piece in components(target, most=_PIECES)]
    yield from _ask(target, *points, step="a point a piece")


def _box_on_largest(target: Target, _rng: np.random.Generator) -> Asking:
    yield from _ask(target, tight_box(components(target, most=1)[0]), step="1 box")


def _box_on_each(target: Target, _rng: np.random.Generator) -> Asking:
    boxes = [tight_box(piece) for piece in components(target, most=_PIECES)]
    yield from _ask(target, *boxes, step="a box a piece")


def _box_on_all(target: Target, _rng: np.random.Generator) -> Asking:
    yield from _ask(target, tight_box(target), step="1 box")


def _points_in_turn(target: Target, rng: np.random.Generator) -> Asking:
    """Ask with 1 to 9 points, each the deepest of all that is wrong; the model is not handed its last answer."""
    prompts = Prompts(target.geometry, ())
    wrong, point = target, deepest_point(target, rng)
    for count in range(1, _POINTS + 1):
        prompts = prompts.add(point)
        answer = yield Question((prompts,), f"{count} points", float(count))
        error = answer.mask ^ target.mask
        if error.any():
            wrong = Target(error, target.geometry)
            where = deepest_point(wrong, rng)
            point = Point(where.index, positive=bool(target.mask[where.voxel]))


_POINT, _BOX = frozenset({"point"}), frozenset({"box"})
M1 = Protocol(
    title="a point on the largest piece", run=_point_on_largest, kinds=_POINT, source=_SOURCE, dims=2, oracle=True
)
M2 = Protocol(
    title="a point on each of the three largest pieces",
    run=_point_on_each,
    kinds=_POINT,
    source=_SOURCE,
    dims=2,
    oracle=True,
)
M3 = Protocol(
    title="a box around the largest piece", run=_box_on_largest, kinds=_BOX, source=_SOURCE, dims=2, oracle=True
)
M4 = Protocol(
    title="a box around each of the three largest pieces",
    run=_box_on_each,
    kinds=_BOX,
    source=_SOURCE,
    dims=2,
    oracle=True,
)
M5 = Protocol(title="a box around the whole object", run=_box_on_all, kinds=_BOX, source=_SOURCE, dims=2, oracle=True)
M_POINTS = Protocol(
    title="1 to 9 points, each in the deepest of what is wrong, without the last answer",
    run=_points_in_turn,
    kinds=_POINT,
    source=_SOURCE,
    axis="points",
    dims=2,
    oracle=True,
)
