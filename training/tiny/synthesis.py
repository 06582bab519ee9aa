"""Images made from nothing: random shapes, and label maps painted with random intensities and textures.

Painting labels at random, as SynthSeg does for brain MR (Billot et al. 2023), teaches a network to follow contrast
edges rather than one modality's grey values.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def random_scene(size: int, rng: np.random.Generator) -> tuple[Array, list[tuple[int, ...]]]:
    """Draw random shapes.

    Returns
    -------
        parts: uint16 (size, size), 0 for background; part numbers of each object worth prompting.
    """
    parts = np.zeros((size, size), np.uint16)
    drawers = (_draw_blobs, _draw_ring, _draw_cells, _draw_band, _draw_vessels, _draw_nested)
    weights = np.array([0.32, 0.16, 0.16, 0.12, 0.12, 0.12])
    objects: list[tuple[int, ...]] = []
    for _ in range(rng.integers(1, 5)):
        drawer = drawers[rng.choice(len(drawers), p=weights)]
        objects += drawer(parts, rng)
    parts = _bend(parts, rng)
    alive = np.bincount(parts.ravel(), minlength=int(parts.max()) + 1)
    last = len(alive)
    objects = [kept for o in objects if (kept := tuple(p for p in o if p < last and alive[p] >= 24))]
    return parts, objects


def paint(parts: Array, rng: np.random.Generator) -> Array:
    """Give every part of (h, w) a random grey value and texture; float32 (h, w, 3) in [0, 255]."""
    count = int(parts.max()) + 1
    level = rng.uniform(20, 235, count).astype(np.float32)
    if rng.random() < 0.4:  # parts of one kind look alike: nuclei, cells, vertebrae
        level[1:] = level[rng.integers(1, count)] if count > 1 else level[1:]
        level[1:] += rng.normal(0, 8, count - 1).astype(np.float32)
    contrast = abs(level[1:] - level[0]) if count > 1 else np.zeros(0, np.float32)
    level[1:] += np.where(contrast < 15, np.sign(level[1:] - level[0] + 0.1) * 20, 0).astype(np.float32)
    image = level[parts]
    for cell_px in (1, int(rng.integers(2, 6)), int(rng.integers(8, 40))):
        amplitude = (rng.exponential(9.0, count) * (rng.random(count) < 0.6)).astype(np.float32)
        image += amplitude[parts] * smooth_noise(parts.shape, cell_px, rng)
    if rng.random() < 0.7:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.8)))
    if rng.random() < 0.3:
        tint = rng.uniform(-60, 60, (count, 3)).astype(np.float32)
        return np.asarray(image[..., None] + tint[parts])
    return np.repeat(image[..., None], 3, axis=2)


def smooth_noise(shape: tuple[int, ...], cell_px: int, rng: np.random.Generator) -> Array:
    """Gaussian noise (h, w) of about unit variance, whose grains are about `cell_px` pixels wide."""
    height, width = shape
    grid = rng.standard_normal((max(2, height // cell_px), max(2, width // cell_px)), dtype=np.float32)
    if cell_px == 1 and grid.shape == (height, width):
        return grid
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))


def _outline(centre: Array, radii: Array, rng: np.random.Generator, *, wobble: float) -> Array:
    """Corner points (n, 2) of a rotated super-ellipse whose radius wobbles."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    power = rng.uniform(1.4, 4.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    radius = (np.abs(cosine) ** power + np.abs(sine) ** power) ** (-1 / power)
    for order in range(2, 7):
        radius *= 1 + wobble / order * rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    x, y = radius * cosine * radii[0], radius * sine * radii[1]
    turn = rng.uniform(0, np.pi)
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return np.asarray(turned + centre)


def _fill(parts: Array, outline: Array, number: int) -> None:
    cv2.fillPoly(parts, [np.round(outline).astype(np.int32)], number)


def _place(parts: Array, rng: np.random.Generator, low: float, high: float) -> tuple[Array, Array]:
    size = parts.shape[0]
    radius = size * np.exp(rng.uniform(np.log(low), np.log(high)))
    return rng.uniform(0.05, 0.95, 2) * size, radius * np.exp(rng.normal(0, 0.3, 2))


def _draw_blobs(parts: Array, rng: np.random.Generator) -> list[tuple[int, ...]]:
    centre, radii = _place(parts, rng, 0.03, 0.4)
    number = int(parts.max()) + 1
    _fill(parts, _outline(centre, radii, rng, wobble=rng.uniform(0, 0.45)), number)
    return [(number,)]


def _draw_ring(parts: Array, rng: np.random.Generator) -> list[tuple[int, ...]]:
    centre, radii = _place(parts, rng, 0.06, 0.35)
    number = int(parts.max()) + 1
    state = rng.bit_generator.state
    _fill(parts, _outline(centre, radii, rng, wobble=0.15), number)
    rng.bit_generator.state = state  # the same outline again, smaller: a wall of even thickness
    _fill(parts, _outline(centre, radii * 0.72, rng, wobble=0.15), number + 1)
    return [(number,), (number + 1,), (number, number + 1)]


def _draw_nested(parts: Array, rng: np.random.Generator) -> list[tuple[int, ...]]:
    centre, radii = _place(parts, rng, 0.06, 0.35)
    number = int(parts.max()) + 1
    _fill(parts, _outline(centre, radii, rng, wobble=0.2), number)
    inner = radii * rng.uniform(0.3, 0.75)
    shift = rng.uniform(-0.4, 0.4, 2) * (radii - inner)
    _fill(parts, _outline(centre + shift, inner, rng, wobble=0.3), number + 1)
    return [(number,), (number + 1,), (number, number + 1)]


def _draw_cells(parts: Array, rng: np.random.Generator) -> list[tuple[int, ...]]:
    size, first = parts.shape[0], int(parts.max()) + 1
    radius, wobble = size * rng.uniform(0.02, 0.1), rng.uniform(0, 0.25)
    count = int(rng.integers(4, 24))
    for number in range(first, first + count):
        centre, radii = rng.uniform(0, 1, 2) * size, radius * np.exp(rng.normal(0, 0.2, 2))
        _fill(parts, _outline(centre, radii, rng, wobble=wobble), number)
    return [(number,) for number in range(first, first + count)]


def _draw_band(parts: Array, rng: np.random.Generator) -> list[tuple[int, ...]]:
    size, number = parts.shape[0], int(parts.max()) + 1
    along = np.linspace(-0.05, 1.05, 48) * size
    middle, width = rng.uniform(0.15, 0.85) * size, size * rng.uniform(0.02, 0.12)
    wave = sum(rng.normal(0, 0.05) * size * np.sin(k * along / size * np.pi + rng.uniform(0, 6)) for k in (1, 2, 3))
    upper, lower = middle + wave + width / 2, middle + wave - width * rng.uniform(0.2, 0.6)
    outline = np.concatenate([np.stack([along, upper], 1), np.stack([along, lower], 1)[::-1]])
    _fill(parts, outline[:, ::-1] if rng.random() < 0.5 else outline, number)
    return [(number,)]


def _draw_vessels(parts: Array, rng: np.random.Generator) -> list[tuple[int, ...]]:
    size, number = parts.shape[0], int(parts.max()) + 1
    stack = [(rng.uniform(0, 1, 2) * size, rng.uniform(0, 2 * np.pi), size * rng.uniform(0.008, 0.03), 0)]
    while stack:
        position, heading, thickness, depth = stack.pop()
        for _ in range(int(rng.integers(6, 16))):
            heading += rng.normal(0, 0.25)
            after = position + size * 0.035 * np.array([np.cos(heading), np.sin(heading)])
            ends = [tuple(int(v) for v in np.round(p)) for p in (position, after)]
            cv2.line(parts, ends[0], ends[1], number, max(1, round(thickness)))
            position, thickness = after, thickness * 0.98
            if depth < 2 and rng.random() < 0.12:
                stack.append((position, heading + rng.choice((-0.8, 0.8)), thickness * 0.7, depth + 1))
    return [(number,)]


def _bend(parts: Array, rng: np.random.Generator) -> Array:
    """Warp the label map by a smooth random displacement."""
    size = parts.shape[0]
    strength, cell = rng.uniform(0, 0.02) * size, int(size * rng.uniform(0.08, 0.3))
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    shift = [np.float32(strength) * smooth_noise(parts.shape, cell, rng) for _ in range(2)]
    return np.asarray(cv2.remap(parts, columns + shift[0], rows + shift[1], cv2.INTER_NEAREST))
