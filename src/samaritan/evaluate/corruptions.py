"""Images made worse, in five severities: what scanners, motion, transfer and files do to them.

Severities from 1 (hardly seen) to 5 (severe) are as in Hendrycks & Dietterich 2019 (arXiv:1903.12261); the kinds are
those of medicine. Strengths are shares of an image's own range, from its 0.5th to its 99.5th percentile, so that they
mean the same in Hounsfield units and in colours; values never leave the image's own range.

==============  ==================================  ==========================================
name            what                                severity 1 to 5
==============  ==================================  ==========================================
``noise``       Gaussian, in each voxel             deviation .02 .04 .08 .12 .18 of the range
``blur``        Gaussian, in each slice             deviation 1 1.5 2.5 4 6 pixels of 512
``contrast``    squeezed towards the mean           to .75 .6 .45 .3 .2 of what it was
``resolution``  slices shrunk and enlarged          by 1.5 2 3 4 6
``bias_field``  times a smooth field                of deviation .1 .2 .3 .45 .6
``motion``      rows of k-space moved in phase      share .05 .1 .15 .2 .3 of them, by 4% of the side
``jpeg``        each slice as JPEG                  quality 40 25 15 10 5
==============  ==================================  ==========================================
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from samaritan.core.errors import ImageError
from samaritan.core.image import Image
from samaritan.core.registry import Registry

Floats = NDArray[np.float32]
Corruption = Callable[[Image, int, np.random.Generator], Image]

SEVERITIES = (1, 2, 3, 4, 5)
_RANGE = (0.5, 99.5)  # percentiles
_SIDE = 512  # pixels that blurs are told of
_FIELD_GRID = 4  # points along each axis that a bias field is drawn at
_MOVED = 0.04  # of the side: how far a patient moves

CORRUPTIONS: Registry[Corruption] = Registry("corruption", "samaritan.corruptions")
for _name in ("noise", "blur", "contrast", "resolution", "bias_field", "motion", "jpeg"):
    CORRUPTIONS.register(_name, f"samaritan.evaluate.corruptions:{_name}")


def noise(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Add Gaussian noise to every voxel."""
    deviation = _of((0.02, 0.04, 0.08, 0.12, 0.18), severity) * _span(image)
    return _with(image, image.array + deviation * rng.standard_normal(image.array.shape, np.float32))


def blur(image: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Blur every slice along k."""
    sigma = _of((1.0, 1.5, 2.5, 4.0, 6.0), severity) * max(image.shape[:2]) / _SIDE
    return _with(image, ndimage.gaussian_filter(image.array.astype(np.float32), (0, sigma, sigma, 0)))


def contrast(image: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Squeeze the values towards their mean, which stays."""
    share = _of((0.75, 0.6, 0.45, 0.3, 0.2), severity)
    middle = np.float32(image.array.mean(dtype=np.float64))
    return _with(image, middle + np.float32(share) * (image.array.astype(np.float32) - middle))


def resolution(image: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Shrink every slice along k, each pixel the mean of those it replaces, and enlarge it again."""
    factor = _of((1.5, 2.0, 3.0, 4.0, 6.0), severity)
    width, height = (max(1, round(n / factor)) for n in image.shape[:2])

    def coarse(plane: Floats) -> Floats:
        picture = Pillow.fromarray(plane)
        small = picture.resize((height, width), Pillow.Resampling.BOX)
        return np.asarray(small.resize(picture.size, Pillow.Resampling.BILINEAR), np.float32)

    return _with(image, _by_slice(image, coarse))


def bias_field(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Multiply the values, counted from the lowest, by a smooth field, as the coils of an MR do."""
    strength = _of((0.1, 0.2, 0.3, 0.45, 0.6), severity)
    coarse = rng.standard_normal([_FIELD_GRID if n > 1 else 1 for n in image.shape]).astype(np.float32)
    field = coarse
    for axis, n in enumerate(image.shape):
        at = np.linspace(0, coarse.shape[axis] - 1, n)
        others = [np.arange(m, dtype=np.float32) for m in field.shape]
        others[axis] = at.astype(np.float32)
        field = ndimage.map_coordinates(field, np.meshgrid(*others, indexing="ij"), order=1)
    field = np.exp(strength * (field - field.mean()) / max(float(field.std()), 1e-6))
    lowest = np.float32(image.array.min())
    return _with(image, lowest + (image.array.astype(np.float32) - lowest) * field)


def motion(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Move the object while some rows of k-space were taken: ghosts along j, in every slice along k."""
    share = _of((0.05, 0.1, 0.15, 0.2, 0.3), severity)
    side = image.shape[1]
    moved = rng.permutation(side) < round(share * side)
    moved[side // 2] = False  # the middle row holds the mean: without it, all would change in brightness
    shift = _MOVED * side * rng.standard_normal()
    phase = np.exp(-2j * np.pi * np.fft.fftshift(np.fft.fftfreq(side)) * shift * moved)

    def ghosts(plane: Floats) -> Floats:
        spectrum = np.fft.fftshift(np.fft.fft(plane, axis=1), axes=1)
        return np.real(np.fft.ifft(np.fft.ifftshift(spectrum * phase, axes=1), axis=1)).astype(np.float32)

    return _with(image, _by_slice(image, ghosts))


def jpeg(image: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Write every channel of every slice along k as JPEG, and read it back."""
    quality = int(_of((40, 25, 15, 10, 5), severity))
    lowest, span = float(image.array.min()), float(np.ptp(image.array)) or 1.0

    def lossy(plane: Floats) -> Floats:
        file = io.BytesIO()
        Pillow.fromarray(np.rint((plane - lowest) * (255 / span)).astype(np.uint8)).save(file, "JPEG", quality=quality)
        file.seek(0)
        with Pillow.open(file) as read:
            return np.asarray(read, np.float32) * np.float32(span / 255) + np.float32(lowest)

    return _with(image, _by_slice(image, lossy))


def _of(strengths: tuple[float, ...], severity: int) -> float:
    if severity not in SEVERITIES:
        raise ImageError(got=f"severity {severity}", wanted=f"one of {', '.join(map(str, SEVERITIES))}")
    return strengths[severity - 1]


def _span(image: Image) -> np.float32:
    low, high = np.percentile(image.array, _RANGE)
    return np.float32(max(high - low, 1e-6))


def _by_slice(image: Image, change: Callable[[Floats], Floats]) -> Floats:
    """Return the values with ``change`` made to each slice (i, j) of each channel."""
    changed = np.empty(image.array.shape, np.float32)
    for channel, values in enumerate(image.array):
        for k in range(values.shape[-1]):
            changed[channel, ..., k] = change(np.ascontiguousarray(values[..., k], np.float32))
    return changed


def _with(image: Image, values: NDArray[Any]) -> Image:
    """Return the image with other values: of its own type, and in its own range."""
    within = np.clip(values, image.array.min(), image.array.max())
    whole = np.rint(within) if image.array.dtype.kind in "ui" else within
    return replace(image, array=whole.astype(image.array.dtype))
