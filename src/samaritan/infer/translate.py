"""Prompts of a kind that a model does not take, said in kinds that it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from samaritan.core.model import ModelCard
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble
from samaritan.infer.shapes import Bools, corners, deepest_points

# More clicks on a stroke say nothing new to a model trained on a handful.
_POINTS_A_STROKE = 8


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
        said: list[Prompt] = [Point(_index(voxel), item.positive) for voxel in _spread(item.voxels)]
    elif isinstance(item, Lasso):
        mask = filled(item, shape)
        said = _outline(mask, positive=item.positive) if mask.any() else []
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


def filled(lasso: Lasso, shape: tuple[int, int]) -> Bools:
    """Return the pixels (a, b) of a plane of ``shape`` whose centres lie within ``lasso``."""
    return np.asarray(polygon2mask(shape, lasso.vertices[:, :2]))


def _spread(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a few of ``voxels`` (n, 3), each as far as can be from those before it; the first is the most central."""
    away = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1)
    chosen = [int(np.argmin(away))]
    nearest = np.linalg.norm(voxels - voxels[chosen[0]], axis=1)
    while len(chosen) < _POINTS_A_STROKE and nearest.max() > 1:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(voxels - voxels[chosen[-1]], axis=1))
    return voxels[chosen]


def _index(voxel: NDArray[np.int64]) -> tuple[float, float, float]:
    return (float(voxel[0]), float(voxel[1]), float(voxel[2]))
