"""Appearances: how a modality would show the parts of a label map.

Each takes ``parts`` (h, w), numbers of parts with 0 for background, and a generator, and returns float32 (h, w, 3) in
about [0, 255] (grey modalities in three equal channels). They are caricatures with the traits that matter to a
boundary: what noise looks like, what is bright, what is smooth, what hides an edge.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.core.registry import Registry
from samaritan.data.synthesis.noise import Floats, smooth_noise

Parts = NDArray[np.uint16]
Appearance = Callable[[Parts, np.random.Generator], Floats]

APPEARANCES: Registry[Appearance] = Registry("appearance", "samaritan.synthesis_appearances")
for _name in (
    "any_contrast", "ct", "mr", "ultrasound", "xray", "fundus", "oct_scan", "histology", "fluorescence",
    "bright_field", "electron_microscopy", "endoscopy",
):  # fmt: skip
    APPEARANCES.register(_name, f"samaritan.data.synthesis.appearance:{_name}")


def any_contrast(parts: Parts, rng: np.random.Generator) -> Floats:
    """Give every part a random grey and texture, at times a colour: any modality, and none."""
    level = _levels(parts, rng, low=20, high=235, least=15)
    image = level[parts]
    for grain in (1, int(rng.integers(2, 6)), int(rng.integers(8, 40))):
        amplitude = (rng.exponential(9.0, len(level)) * (rng.random(len(level)) < 0.6)).astype(np.float32)
        image += amplitude[parts] * smooth_noise(parts.shape, grain, rng)
    image = _soft(image, rng.uniform(0.4, 1.8)) if rng.random() < 0.7 else image
    if rng.random() < 0.3:
        tint = rng.uniform(-60, 60, (len(level), 3)).astype(np.float32)
        return np.asarray(image[..., None] + tint[parts])
    return _grey(image)


def ct(parts: Parts, rng: np.random.Generator) -> Floats:
    """CT: soft tissues of nearly one grey, now and then bone or air, fine noise, at times streaks."""
    tissue = rng.uniform(90, 160)
    level = np.float32(tissue) + rng.normal(0, 22, _count(parts)).astype(np.float32)
    extreme = rng.random(len(level)) < 0.15
    level[extreme] = rng.choice((10.0, 245.0), int(extreme.sum()))
    if rng.random() < 0.4:
        level[0] = rng.uniform(0, 30)
    _keep_apart(level, least=12)
    image = _soft(level[parts] + 5 * smooth_noise(parts.shape, 20, rng), rng.uniform(0.5, 1.2))
    image += rng.uniform(2, 14) * _soft(smooth_noise(parts.shape, 1, rng), 0.7)
    if rng.random() < 0.15:
        image += rng.uniform(3, 12) * _streaks(parts.shape, rng)
    return _grey(image)


def mr(parts: Parts, rng: np.random.Generator) -> Floats:
    """MR: any contrast between tissues, a bias field, Rician noise, dark air."""
    level = _levels(parts, rng, low=40, high=230, least=14)
    if rng.random() < 0.5:
        level[0] = rng.uniform(0, 15)
    image = level[parts] + rng.uniform(2, 10) * smooth_noise(parts.shape, rng.uniform(6, 30), rng)
    image = _soft(image, rng.uniform(0.5, 1.4)) * (1 + rng.uniform(0, 0.3) * smooth_noise(parts.shape, 130, rng))
    sigma = rng.uniform(2, 12)
    real, imaginary = (sigma * smooth_noise(parts.shape, 1, rng) for _ in range(2))
    return _grey(np.hypot(image + real, imaginary))


def ultrasound(parts: Parts, rng: np.random.Generator) -> Floats:
    """Ultrasound: speckle as wide as it is deep, dark lumps, bright walls, shadows, fading with depth."""
    height, width = parts.shape
    level = rng.uniform(0.05, 0.35, _count(parts)).astype(np.float32)
    level[0] = rng.uniform(0.3, 0.7)
    bright = rng.random(len(level)) < 0.25
    level[bright] = rng.uniform(0.6, 0.95, int(bright.sum()))
    echo = _soft(level[parts], rng.uniform(1.0, 2.5)) * (1 + 0.25 * smooth_noise(parts.shape, (14, 40), rng))
    echo += rng.uniform(0, 0.5) * _soft(_edges(parts), 1.0)
    if rng.random() < 0.4:  # what is bright casts a shadow
        shade = np.ones((height, width), np.float32)
        for _ in range(int(rng.integers(1, 4))):
            start, column, spread = rng.integers(0, height), rng.integers(0, width), rng.uniform(4, 20)
            across = np.exp(-(((np.arange(width) - column) / spread) ** 2))
            shade[start:] *= (1 - rng.uniform(0.3, 0.9) * across).astype(np.float32)
        echo *= shade
    grain = rng.uniform(1.2, 3.0)
    speckle = np.hypot(*(smooth_noise(parts.shape, (grain, 2.2 * grain), rng) for _ in range(2))) / np.float32(1.25)
    depth = np.linspace(1.0, rng.uniform(0.5, 1.2), height, dtype=np.float32)[:, None]
    image = 255 * (np.clip(echo, 0, None) * depth * speckle ** rng.uniform(0.5, 1.0)) ** rng.uniform(0.5, 0.9)
    if rng.random() < 0.3:
        image *= _fan(parts.shape)
    return _grey(image)


def xray(parts: Parts, rng: np.random.Generator) -> Floats:
    """X-ray: everything adds up along the ray, thick things fade at their rims, ribs and shading lie over all."""
    image = np.float32(rng.uniform(80, 170)) + 30 * smooth_noise(parts.shape, 120, rng)
    for number in np.unique(parts[parts > 0]):
        inside = (parts == number).astype(np.uint8)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        thick = np.sqrt(np.clip(depth / max(float(depth.max()), 1.0), 0, 1))
        flat = rng.uniform(0.2, 0.9)
        image += np.float32(rng.choice((-1, 1)) * rng.uniform(15, 70)) * (flat * inside + (1 - flat) * thick)
    if rng.random() < 0.5:
        y = np.arange(parts.shape[0])[:, None] + 25 * np.cos(np.linspace(-1.5, 1.5, parts.shape[1]))[None, :]
        ribs = np.clip(np.sin(y / rng.uniform(4, 9)) - 0.2, 0, 1)
        image += (rng.uniform(8, 25) * ribs).astype(np.float32)
    image = _soft(image, rng.uniform(0.6, 2.0)) + rng.uniform(1, 8) * smooth_noise(parts.shape, 1, rng)
    return _grey(image)


def fundus(parts: Parts, rng: np.random.Generator) -> Floats:
    """Fundus photograph: an orange disc that darkens outward, yellow discs and exudates, dark red vessels and spots."""
    base = np.array([rng.uniform(140, 220), rng.uniform(60, 120), rng.uniform(15, 60)], np.float32)
    image = base * (1 + 0.1 * smooth_noise(parts.shape, 30, rng))[..., None]
    pale = rng.random(_count(parts)) < 0.5
    tints = np.where(pale[:, None], rng.uniform((25, 40, 10), (70, 110, 60), (len(pale), 3)),
        rng.uniform((-90, -55, -30), (-25, -20, -5), (len(pale), 3))).astype(np.float32)  # fmt: skip
    tints[0] = 0
    image = image + _soft(tints[parts], rng.uniform(0.8, 2.5))
    image += rng.uniform(1, 6) * smooth_noise(parts.shape, 1.5, rng)[..., None]
    return np.asarray(image * _vignette(parts.shape, rng)[..., None], np.float32)


def oct_scan(parts: Parts, rng: np.random.Generator) -> Floats:
    """OCT: grey layers in speckle over a dark background; deeper is darker."""
    level = rng.uniform(0.15, 0.9, _count(parts)).astype(np.float32)
    level[0] = rng.uniform(0.02, 0.15)
    echo = _soft(level[parts], rng.uniform(0.6, 1.5))
    speckle = np.hypot(*(smooth_noise(parts.shape, rng.uniform(1.0, 1.8), rng) for _ in range(2))) / np.float32(1.25)
    fade = np.linspace(1.0, rng.uniform(0.4, 1.0), parts.shape[0], dtype=np.float32)[:, None]
    return _grey(235 * echo * fade * speckle ** rng.uniform(0.3, 0.8))


def histology(parts: Parts, rng: np.random.Generator) -> Floats:
    """H&E: pink stroma with fibres and white gaps; parts purple, pink or pale, with grains; nuclei strewn over all."""
    density = {"h": 0.25 * np.ones(parts.shape, np.float32), "e": 0.5 * np.ones(parts.shape, np.float32)}
    density["e"] += 0.25 * smooth_noise(parts.shape, (rng.uniform(3, 8), rng.uniform(10, 40)), rng)
    blue = rng.choice((0.1, 0.5, 0.9, 1.2), _count(parts)).astype(np.float32)
    pink = rng.uniform(0.05, 0.8, len(blue)).astype(np.float32)
    inside = parts > 0
    density["h"][inside] = blue[parts][inside]
    density["e"][inside] = pink[parts][inside]
    rough = (0.35 * rng.random(len(blue))).astype(np.float32)
    density["h"] *= 1 + rough[parts] * smooth_noise(parts.shape, rng.uniform(1.5, 5), rng)
    nuclei = np.zeros(parts.shape, np.float32)
    for _ in range(int(rng.integers(0, 150))):
        place = tuple(int(v) for v in rng.integers(0, parts.shape[::-1]))
        axes = tuple(int(v) for v in rng.integers(1, 5, 2))
        cv2.ellipse(nuclei, place, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.3, 0.9)), -1)
    density["h"] += nuclei
    density["h"] += rng.uniform(0, 0.3) * _edges(parts)
    stains = {"h": np.array([0.65, 0.70, 0.29]), "e": np.array([0.10, 0.95, 0.28])}
    jitter = rng.normal(1.0, 0.12, (2, 3))
    optical = np.zeros((*parts.shape, 3), np.float32)
    for n, (name, stain) in enumerate(stains.items()):
        optical += np.clip(_soft(density[name], 0.8), 0, None)[..., None] * (stain * jitter[n]).astype(np.float32)
    return np.asarray(
        rng.uniform(225, 250) * np.exp(-optical) + 3 * smooth_noise(parts.shape, 1, rng)[..., None], np.float32
    )


def fluorescence(parts: Parts, rng: np.random.Generator) -> Floats:
    """Fluorescence: bright things of uneven brightness on black, blurred by the optics, in the noise of few photons."""
    level = rng.uniform(0.25, 1.0, _count(parts)).astype(np.float32)
    level[0] = rng.uniform(0.0, 0.12)
    light = level[parts] * (1 + rng.uniform(0.05, 0.4) * smooth_noise(parts.shape, rng.uniform(3, 12), rng))
    light = np.clip(_soft(light, rng.uniform(0.8, 2.5)), 0, None)
    photons = rng.uniform(15, 200)
    image = rng.poisson(light * photons).astype(np.float32) * np.float32(230 / photons)
    if rng.random() < 0.3:
        return np.asarray(image[..., None] * rng.dirichlet((1, 1, 1)).astype(np.float32) * 2)
    return _grey(image)


def bright_field(parts: Parts, rng: np.random.Generator) -> Floats:
    """Bright field and phase contrast: grey, things hardly differ from the ground but for their rims, with halos."""
    level = np.float32(rng.uniform(110, 200)) + rng.normal(0, 18, _count(parts)).astype(np.float32)
    rim = _soft(_edges(parts), rng.uniform(0.6, 1.5))
    halo = _soft(_edges(parts), rng.uniform(2.5, 5.0))
    image = _soft(level[parts], 1.0) - np.float32(rng.uniform(20, 120)) * rim
    image += np.float32(rng.uniform(0, 90)) * halo + rng.uniform(2, 10) * smooth_noise(
        parts.shape, rng.uniform(1, 4), rng
    )
    tint = rng.uniform(0.75, 1.0, 3).astype(np.float32) if rng.random() < 0.5 else np.ones(3, np.float32)
    return np.asarray(image[..., None] * tint)


def electron_microscopy(parts: Parts, rng: np.random.Generator) -> Floats:
    """Electron microscopy: one grey for all, rough inside, told apart by dark membranes."""
    level = np.float32(rng.uniform(130, 190)) + rng.normal(0, 8, _count(parts)).astype(np.float32)
    image = level[parts]
    for grain, amount in ((1.5, 10), (4, 12), (9, 10)):
        image += np.float32(amount * rng.uniform(0.3, 1.2)) * smooth_noise(parts.shape, grain, rng)
    image -= np.float32(rng.uniform(50, 130)) * np.clip(_soft(_edges(parts), rng.uniform(0.7, 1.3)), 0, 1)
    for _ in range(int(rng.integers(0, 25))):
        place = tuple(int(v) for v in rng.integers(0, parts.shape[::-1]))
        axes = tuple(int(v) for v in rng.integers(2, 8, 2))
        cv2.ellipse(image, place, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(40, 110)), 1)
    return _grey(image)


def endoscopy(parts: Parts, rng: np.random.Generator) -> Floats:
    """Endoscopy: wet pink folds, things of nearly the same colour, glints, light that falls off outward."""
    base = np.array([rng.uniform(150, 220), rng.uniform(70, 130), rng.uniform(60, 110)], np.float32)
    folds = 0.16 * smooth_noise(parts.shape, 50, rng) + 0.08 * smooth_noise(parts.shape, (8, 60), rng)
    tints = rng.normal(0, 18, (_count(parts), 3)).astype(np.float32)
    tints[0] = 0
    bulge = np.zeros(parts.shape, np.float32)
    for number in np.unique(parts[parts > 0])[:12]:
        depth = cv2.distanceTransform((parts == number).astype(np.uint8), cv2.DIST_L2, 3)
        bulge += np.sqrt(depth / max(float(depth.max()), 1.0))
    light = 1 + folds + np.float32(rng.uniform(0.05, 0.3)) * (bulge - _soft(_edges(parts), 2.0))
    image = (base + _soft(tints[parts], 2.0)) * light[..., None]
    glints = np.clip(smooth_noise(parts.shape, rng.uniform(3, 7), rng) - rng.uniform(2.0, 3.0), 0, 1)
    image += 230 * _soft(glints, 0.8)[..., None] + 3 * smooth_noise(parts.shape, 1, rng)[..., None]
    return np.asarray(image * _vignette(parts.shape, rng)[..., None], np.float32)


def _count(parts: Parts) -> int:
    return int(parts.max()) + 1


def _levels(parts: Parts, rng: np.random.Generator, *, low: float, high: float, least: float) -> Floats:
    """Return a grey for every part; often all but the background are alike, as nuclei and vertebrae are."""
    level = rng.uniform(low, high, _count(parts)).astype(np.float32)
    if len(level) > 1 and rng.random() < 0.4:
        level[1:] = level[rng.integers(1, len(level))] + rng.normal(0, 8, len(level) - 1)
    _keep_apart(level, least=least)
    return level


def _keep_apart(level: Floats, *, least: float) -> None:
    """Move greys that are within ``least`` of the background's away from it: a boundary must be there to be found."""
    away = level[1:] - level[0]
    level[1:] += np.where(np.abs(away) < least, np.where(away < 0, -least, least), 0)


def _soft(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(sigma)), np.float32)


def _edges(parts: Parts) -> Floats:
    """Return 1 on the boundary pixels between parts, else 0."""
    edge = np.zeros(parts.shape, np.float32)
    down, right = parts[1:] != parts[:-1], parts[:, 1:] != parts[:, :-1]
    edge[1:][down] = edge[:, 1:][right] = 1.0
    return edge


def _streaks(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    angle = np.arctan2(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1]))
    rays = smooth_noise((1, 720), (1, 4), rng)[0]
    return np.asarray(rays[((angle + np.pi) / (2 * np.pi) * 719).astype(int)], np.float32)


def _fan(shape: tuple[int, ...]) -> Floats:
    """Return 1 within the sector that a curved probe sees, else 0."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape)
    radius, angle = np.hypot(y + 0.15, x - 0.5), np.arctan2(x - 0.5, y + 0.15)
    inside = (radius > 0.2) & (radius < 1.12) & (np.abs(angle) < 0.75)
    return np.asarray(inside, np.float32)


def _vignette(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / (np.array(shape[:2]).reshape(2, 1, 1) - 1) - 0.5
    radius = np.hypot(y, x)
    dark = np.clip(1 - rng.uniform(0.3, 1.2) * radius**2, 0, 1)
    return np.asarray(dark * (radius < 0.56) if rng.random() < 0.3 else dark, np.float32)


def _grey(image: NDArray[np.floating]) -> Floats:
    return np.repeat(np.asarray(image, np.float32)[..., None], 3, axis=2)
