"""Prompts of a kind that a model does not take, said in kinds that it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from samaritan.core.model import ModelCard
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble
from samaritan.infer.shapes import Bools, corners, deepest_points
from samaritan.models.prompt_areas import inside, spread


def translate(prompts: Prompts, card: ModelCard) -> Prompts:
    """Return ``prompts`` of one plane with every kind that ``card`` does not list replaced by kinds that it lists.

    A scribble becomes a few points along it; a lasso a mask, the box around it and the point deepest inside; a mask
    the box around it and its deepest points. What is negative becomes negative points. A prompt that cannot be said
    in the model's kinds stays, for ``card.require_prompts`` to refuse.
    """
    items: list[Prompt] = []
    for item in prompts.items:
        items += [item] if item.kind in card.prompts else _said_otherwise(item, prompts.geometry.shape[:2], card)
    return replace(prompts, items=tuple(items))


def _said_otherwise(item: Prompt, shape: tuple[int, int], card: ModelCard) -> list[Prompt]:
    if isinstance(item, Scribble):
        some = item.voxels[spread(item.voxels.astype(np.float64))].tolist()
        said: list[Prompt] = [Point((a, b, k), item.positive) for a, b, k in some]
    elif isinstance(item, Lasso):
        said = _outline(inside(item, shape), positive=item.positive)
    elif isinstance(item, MaskPrompt):
        said = _outline(item.mask[..., 0], positive=True)
    else:
        return [item]
    return [other for other in said if other.kind in card.prompts] or [item]


def _outline(mask: Bools, *, positive: bool) -> list[Prompt]:
    points: list[Prompt] = [Point((a, b, 0), positive) for a, b in deepest_points(mask)]
    if not positive:
        return points
    (a0, b0), (a1, b1) = corners(mask)
    return [MaskPrompt(mask[..., None]), Box((a0, b0, 0), (a1, b1, 1)), *points]
