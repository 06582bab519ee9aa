"""What an object is like: size, contrast, outline, pieces, elongation; so that scores can be explained by them."""

from __future__ import annotations

import math

import cc3d
import numpy as np
from numpy.typing import NDArray

from samaritan.autoprompt.simulate import Target
from samaritan.autoprompt.simulate.target import depth_of
from samaritan.metrics import surface_size

Floats = NDArray[np.floating]

# What scores are explained by; see `factors_of`.
FACTORS = ("size", "contrast", "complexity", "components", "elongation")

_RIM = 0.1  # of an object's diameter: how far around it its ground is looked at; two voxels at least
_FLOOR = 1 / 255  # of an image's range: deviations below it are none


def factors_of(target: Target, values: NDArray[np.generic]) -> dict[str, float | None]:
    """Return what an object on a plane or in a volume is like; None where something is undefined.

    Parameters
    ----------
    target
        The object, on its grid.
    values
        (c, i, j, k) of the image, on that grid.

    Returns
    -------
    dict
        ``size``: its share of the plane or volume. ``contrast``: difference of the means of the object and of the
        ground around it over their pooled deviation, in the channel where it is largest. ``complexity``: its outline
        over that of the disk of its area, or its surface over that of the ball of its volume. ``components``: pieces,
        connected at corners. ``elongation``: its longest principal axis over the second. ``measure``: its area in
        mm2 or volume in mm3; in pixels where the image has no scale.
    """
    grid = target.geometry
    flat = grid.is_2d
    spacing = tuple(float(s) for s in (grid.spacing[:2] if flat else grid.spacing))
    mask = target.mask[target.bounds]
    own = mask[..., 0] if flat else mask
    count = int(np.count_nonzero(own))
    measure = count * math.prod(spacing)
    return {
        "size": count / target.mask.size,
        "contrast": _contrast(target, values),
        "complexity": surface_size(own, spacing_mm=spacing) / _roundest(measure, len(spacing)),
        "components": float(_pieces(own)),
        "elongation": _elongation(own, spacing),
        "measure": measure,
    }


def _roundest(measure: float, dimensions: int) -> float:
    """Return the outline of the disk of an area, or the surface of the ball of a volume."""
    if dimensions == 2:
        return 2 * math.sqrt(math.pi * measure)
    return math.cbrt(36 * math.pi * measure**2)


def _pieces(mask: NDArray[np.bool_]) -> int:
    connectivity = 8 if mask.ndim == 2 else 26
    _, count = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=connectivity, return_N=True)
    return int(count)


def _elongation(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    """Return the first principal axis over the second; a voxel has an extent of its own."""
    places = np.argwhere(mask) * spacing
    spread = np.atleast_2d(np.cov(places.T, bias=True)) + np.diag(np.square(spacing)) / 12
    first, second = np.sort(np.linalg.eigvalsh(spread))[::-1][:2]
    return float(np.sqrt(first / second))


def _contrast(target: Target, values: NDArray[np.generic]) -> float | None:
    """Return how far object and ground differ, in deviations; None if there is no ground, or nothing varies."""
    block = target.around(2 * _RIM)
    mask = target.mask[block]
    spacing = np.array(target.geometry.spacing)
    diameter = 2 * math.sqrt(np.count_nonzero(mask.any(axis=2)) * spacing[0] * spacing[1] / math.pi)
    reach = max(2 * float(spacing[:2].max()), _RIM * diameter)
    away = depth_of(~mask, target.geometry, ends_at_border=False)
    ground = (away > 0) & (away <= reach)
    if not ground.any():
        return None
    found = [_apart(channel[block][mask], channel[block][ground], _FLOOR * _range(channel)) for channel in values]
    known = [value for value in found if value is not None]
    return max(known) if known else None


def _range(channel: NDArray[np.generic]) -> float:
    return float(channel.max()) - float(channel.min())


def _apart(inside: NDArray[np.generic], outside: NDArray[np.generic], floor: float) -> float | None:
    one, other = inside.astype(np.float64), outside.astype(np.float64)
    deviation = max(math.sqrt((one.var() + other.var()) / 2), floor)
    return abs(float(one.mean() - other.mean())) / deviation if deviation > 0 else None
