"""Masks that are nearly right: what a model, a colleague or an atlas might have left to better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samaritan.autoprompt.simulate.target import Target, depth_of
from samaritan.core.prompts import MaskPrompt

_MARGIN = 0.4  # of the longest side: how far beyond the object a wrong mask may reach


def wrong_mask(target: Target, rng: np.random.Generator, *, strength: float = 0.15) -> MaskPrompt:
    """Return the object with a wrong boundary: too large here, too small there, with bites and bumps.

    The signed distance to the boundary is shifted by a constant and by smooth noise of about ``strength`` times the
    object's radius, so that errors look like those of a model: connected, and at the boundary. Never empty.
    """
    block = target.around(_MARGIN)
    mask = target.mask[block]
    signed = depth_of(mask, target.geometry) - depth_of(~mask, target.geometry, ends_at_border=False)
    radius = float(target.depth.max()) + 0.5
    grain = np.where(np.array(mask.shape) > 1, max(1.0, rng.uniform(0.15, 0.6) * float(target.extent.max()) / 2), 0.0)
    noise = _smooth_noise(mask.shape, grain, rng)
    amount = strength * radius * rng.uniform(0.0, 2.0)
    wrong = signed + rng.normal(0.0, 0.5 * amount) + amount * noise > 0
    if not wrong.any():
        wrong = signed >= signed.max()
    whole = np.zeros_like(target.mask)
    whole[block] = wrong
    return MaskPrompt(whole)


def _smooth_noise(shape: tuple[int, ...], grain: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return Gaussian noise of unit variance whose grains are about ``grain`` voxels wide along each axis."""
    coarse = [max(2, int(np.ceil(n / g))) + 2 if g else n for n, g in zip(shape, grain, strict=True)]
    field = rng.standard_normal(coarse, dtype=np.float32)
    zoomed = ndimage.zoom(field, [n / c for n, c in zip(shape, coarse, strict=True)], order=3, mode="nearest")
    return np.asarray(zoomed / max(float(zoomed.std()), 1e-6), np.float32)
