"""Prompts of a volume as prompts of its planes, and masks of planes back in the volume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryError, PromptError
from samaritan.core.geometry import AXES, Axis, Geometry, Shape, axis_number
from samaritan.core.image import take_plane
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble, Text

Bools = NDArray[np.bool_]

# Spacings that differ by less are the same but for rounding.
_THICK = 1.5  # times the spacing of the others: an axis that scans are looked at along
_ISOTROPIC = 1.01


def choose_axis(prompts: Prompts, axis: Axis | None = None) -> Axis:
    """Return the axis across which to slice the image for ``prompts``.

    The first that applies: ``axis`` if given; k for a 2D image; the axis of a lasso; the one axis that all of a box, a
    scribble or a mask is thin along (one voxel): it was drawn in that plane; the axis of the largest spacing, as planes
    were acquired; among axes of equal spacing, the one nearest to superior-inferior (axial slices); k for a
    picture.

    Raises
    ------
    GeometryError
        If a 2D image is to be sliced along another axis than k.
    PromptError
        If a lasso lies in another plane.
    """
    geometry = prompts.geometry
    if geometry.is_2d:
        if axis not in (None, "k"):
            raise GeometryError(got=f"axis {axis} for a 2D image", wanted="k, its only plane", fix="Leave the axis out")
        axis = "k"
    chosen = axis or _drawn_in(prompts) or _acquired_in(geometry)
    for lasso in prompts.of(Lasso):
        if lasso.axis != chosen:
            raise PromptError(
                got=f"a lasso drawn across axis {lasso.axis}, while slices are taken along {chosen}",
                wanted="lassos in the planes that are segmented",
                fix=f"Choose axis {lasso.axis}" if axis else "Draw all lassos along one axis, or choose the axis",
            )
    return chosen


def viewing_axis(geometry: Geometry) -> Axis:
    """Return the axis that slices are looked at along: the one with thick slices, if there is one, else k."""
    spacing = np.array(geometry.spacing)
    thickest = int(spacing.argmax())
    others = np.delete(spacing, thickest)
    return AXES[thickest] if not geometry.is_2d and spacing[thickest] >= _THICK * others.max() else "k"


def _drawn_in(prompts: Prompts) -> Axis | None:
    for lasso in prompts.of(Lasso):
        axis: Axis = lasso.axis
        return axis
    for item in prompts.items:
        if isinstance(item, Box | Scribble | MaskPrompt):
            start, stop = _extent(item)
            thin = [
                axis for axis, a, b, n in zip(AXES, start, stop, prompts.geometry.shape, strict=True) if b - a == 1 < n
            ]
            if len(thin) == 1:
                return thin[0]
    return None


def _acquired_in(geometry: Geometry) -> Axis:
    flat = [axis for axis, n in zip(AXES, geometry.shape, strict=True) if n == 1]
    if flat:
        return flat[-1]
    largest = max(geometry.spacing)
    widest = [axis for axis, s in zip(AXES, geometry.spacing, strict=True) if s * _ISOTROPIC >= largest]
    orientation = geometry.orientation or "RAS"
    axial = next(axis for axis, letter in zip(AXES, orientation, strict=True) if letter in "SI")
    return axial if axial in widest else widest[-1]


def _extent(item: Box | Scribble | MaskPrompt) -> tuple[Shape, Shape]:
    """Return start and stop of the block of voxels that ``item`` covers."""
    if isinstance(item, Box):
        return item.start, item.stop
    voxels = item.voxels if isinstance(item, Scribble) else np.argwhere(item.mask)
    start, last = voxels.min(axis=0), voxels.max(axis=0)
    return (int(start[0]), int(start[1]), int(start[2])), (int(last[0]) + 1, int(last[1]) + 1, int(last[2]) + 1)


def range_along(item: Prompt, axis: Axis, slices: int) -> tuple[int, int]:
    """Return the half-open range that ``item`` touches of an image's ``slices`` along ``axis``; all if it is text."""
    normal = axis_number(axis)
    match item:
        case Point(voxel=voxel):
            return voxel[normal], voxel[normal] + 1
        case Lasso(slice_index=index):
            return index, index + 1
        case Text():
            return 0, slices
        case _:
            start, stop = _extent(item)
            return start[normal], stop[normal]


def on_plane(prompts: Prompts, axis: Axis, index: int) -> Prompts:
    """Return the part of ``prompts`` that lies in one plane, in the indices of that plane; it may be empty."""
    normal = axis_number(axis)
    order = [*(a for a in range(3) if a != normal), normal]
    items: list[Prompt] = []
    for item in prompts.items:
        start, stop = range_along(item, axis, prompts.geometry.shape[normal])
        if start <= index < stop:
            items += _cut(item, axis, index, order)
    return Prompts(prompts.geometry.plane(axis, index), tuple(items))


def _cut(item: Prompt, axis: Axis, index: int, order: list[int]) -> list[Prompt]:
    a, b, normal = order
    match item:
        case Point():
            return [replace(item, index=(item.index[a], item.index[b], 0.0))]
        case Box(start=start, stop=stop):
            return [Box((start[a], start[b], 0), (stop[a], stop[b], 1))]
        case Scribble():
            here = item.voxels[item.voxels[:, normal] == index][:, order]
            return [replace(item, voxels=_flattened(here))] if len(here) else []
        case Lasso():
            return [replace(item, vertices=_flattened(item.vertices[:, order]), axis="k")]
        case MaskPrompt(mask=mask):
            plane = take_plane(mask, axis, index)
            return [MaskPrompt(plane)] if plane.any() else []
        case _:
            return [item]


def _flattened(places: NDArray[Any]) -> NDArray[Any]:
    flat = places.copy()
    flat[:, 2] = 0
    return flat


def put_plane(volume: Bools, axis: Axis, index: int, plane: Bools) -> None:
    """Write ``plane`` (a, b) as slice ``index`` along ``axis`` of ``volume`` (i, j, k)."""
    take_plane(volume, axis, index)[..., 0] = plane
