"""Shapes: each draws one structure, or a field of them, onto a canvas of numbered parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.core.registry import Registry

Outline = NDArray[np.float64]  # (n, 2): x and y
Drawer = Callable[["Canvas", np.random.Generator], None]


@dataclass
class Canvas:
    """A grid that shapes draw on: ``parts`` (h, w) numbers of parts, 0 for background; what is drawn later is on top.

    ``objects`` are the things that somebody might ask for, each the numbers of its parts.
    """

    parts: NDArray[np.uint16]
    objects: list[tuple[int, ...]] = field(default_factory=list)
    count: int = 0

    @classmethod
    def empty(cls, side: int) -> Canvas:
        """Return an empty square canvas."""
        return cls(np.zeros((side, side), np.uint16))

    @property
    def side(self) -> int:
        """Its side in pixels."""
        return int(self.parts.shape[0])

    def fill(self, outline: Outline) -> int:
        """Draw a filled outline as a new part; return its number."""
        self.count += 1
        cv2.fillPoly(self.parts, [np.round(outline).astype(np.int32)], self.count)
        return self.count

    def ask_for(self, *objects: tuple[int, ...]) -> None:
        """Add things to ask for."""
        self.objects += objects

    def place(self, rng: np.random.Generator, low: float, high: float) -> tuple[Outline, Outline]:
        """Return a random centre and two radii in pixels; radii are between ``low`` and ``high`` of the side, or so."""
        radius = self.side * np.exp(rng.uniform(np.log(low), np.log(high)))
        return rng.uniform(0.05, 0.95, 2) * self.side, radius * np.exp(rng.normal(0, 0.3, 2))


SHAPES: Registry[Drawer] = Registry("shape", "samaritan.synthesis_shapes")
for _name in ("blob", "ring", "nested", "touching", "cells", "crowd", "band", "layers", "vessels", "tube", "row"):
    SHAPES.register(_name, f"samaritan.data.synthesis.shapes:{_name}")


def blob(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a smooth lump: an organ, a lesion."""
    centre, radii = canvas.place(rng, 0.03, 0.4)
    canvas.ask_for((canvas.fill(outline(centre, radii, rng, wobble=rng.uniform(0, 0.45))),))


def ring(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a wall around a cavity: a ventricle, a vessel cut across; the wall's thickness varies around it."""
    centre, radii = canvas.place(rng, 0.06, 0.35)
    outer = outline(centre, radii, rng, wobble=0.15)
    shift = rng.normal(0, 0.03, 2) * radii
    wall = canvas.fill(outer)
    cavity = canvas.fill((outer - centre) * rng.uniform(0.5, 0.9) + centre + shift)
    canvas.ask_for((wall,), (cavity,), (wall, cavity))


def nested(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a thing within a thing: a nucleus in a cell, a cup in a disc, a core in a tumour."""
    centre, radii = canvas.place(rng, 0.06, 0.35)
    whole = canvas.fill(outline(centre, radii, rng, wobble=0.2))
    inner = radii * rng.uniform(0.3, 0.75)
    shift = rng.uniform(-0.4, 0.4, 2) * (radii - inner)
    core = canvas.fill(outline(centre + shift, inner, rng, wobble=0.3))
    canvas.ask_for((whole,), (core,), (whole, core))


def touching(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a lump cut in two or three by lines: lobes, halves of the brain, stuck nuclei."""
    centre, radii = canvas.place(rng, 0.08, 0.35)
    whole = np.zeros_like(canvas.parts, np.uint8)
    cv2.fillPoly(whole, [np.round(outline(centre, radii, rng, wobble=0.2)).astype(np.int32)], 1)
    y, x = np.mgrid[0 : canvas.side, 0 : canvas.side]
    numbers = []
    angle = rng.uniform(0, 2 * np.pi)
    side = np.zeros(whole.shape, np.int64)
    for turn in rng.uniform(0.6, 1.6, rng.integers(1, 3)).cumsum():
        normal = np.cos(angle + turn), np.sin(angle + turn)
        side = 2 * side + ((x - centre[0]) * normal[0] + (y - centre[1]) * normal[1] > rng.normal(0, 0.1) * radii[0])
    for value in np.unique(side[whole > 0]):
        canvas.count += 1
        canvas.parts[(whole > 0) & (side == value)] = canvas.count
        numbers.append(canvas.count)
    canvas.ask_for(tuple(numbers), *((number,) for number in numbers))


def cells(canvas: Canvas, rng: np.random.Generator) -> None:
    """Scatter cells of about one size; some have a nucleus."""
    radius, wobble, nuclei = canvas.side * rng.uniform(0.02, 0.1), rng.uniform(0, 0.25), rng.random() < 0.4
    for _ in range(int(rng.integers(4, 24))):
        centre, radii = rng.uniform(0, 1, 2) * canvas.side, radius * np.exp(rng.normal(0, 0.2, 2))
        cell = canvas.fill(outline(centre, radii, rng, wobble=wobble))
        if nuclei:
            nucleus = canvas.fill(outline(centre, radii * rng.uniform(0.35, 0.65), rng, wobble=wobble))
            canvas.ask_for((cell, nucleus), (nucleus,))
        else:
            canvas.ask_for((cell,))


def crowd(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fill a region with cells that press against each other, with thin seams between them or none."""
    side, count = canvas.side, int(rng.integers(8, 40))
    seeds = rng.uniform(0, side, (count, 2))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    bend = [side * 0.02 * float(rng.random()) * np.sin(v * rng.uniform(3, 9) / side * np.pi) for v in (y, x)]
    nearest, seam = _nearest(x + bend[0], y + bend[1], seeds)
    region = np.zeros((side, side), np.uint8)
    centre, radii = canvas.place(rng, 0.2, 0.5)
    cv2.fillPoly(region, [np.round(outline(centre, radii, rng, wobble=0.3)).astype(np.int32)], 1)
    inside = (region > 0) & (seam > rng.choice((0.0, 1.5, 4.0)))
    canvas.parts[inside] = (nearest[inside] + canvas.count + 1).astype(np.uint16)
    canvas.ask_for(*((canvas.count + 1 + number,) for number in range(count)))
    canvas.count += count


def band(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a wavy band from side to side: a layer, a cortex, a muscle."""
    upper = _wave(canvas, rng, rng.uniform(0.15, 0.85))
    width = canvas.side * rng.uniform(0.02, 0.12)
    _across(canvas, upper, upper + width, turned=bool(rng.random() < 0.5))


def layers(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a stack of thin layers, as in the retina or the skin."""
    upper, turned = _wave(canvas, rng, rng.uniform(0.1, 0.5)), bool(rng.random() < 0.2)
    for _ in range(int(rng.integers(3, 7))):
        lower = upper + canvas.side * rng.uniform(0.012, 0.08) * (
            1 + 0.2 * np.sin(np.linspace(0, rng.uniform(2, 9), 48))
        )
        _across(canvas, upper, lower, turned=turned)
        upper = lower


def vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a branching tree that thins out: vessels, airways, neurites."""
    canvas.count += 1
    side = canvas.side
    stack = [(rng.uniform(0, 1, 2) * side, rng.uniform(0, 2 * np.pi), side * rng.uniform(0.008, 0.04), 0)]
    while stack:
        position, heading, thickness, depth = stack.pop()
        for _ in range(int(rng.integers(6, 18))):
            heading += rng.normal(0, 0.25)
            after = position + side * 0.035 * np.array([np.cos(heading), np.sin(heading)])
            ends = [(round(float(x)), round(float(y))) for x, y in (position, after)]
            cv2.line(canvas.parts, ends[0], ends[1], canvas.count, max(1, round(thickness)))
            position, thickness = after, thickness * 0.98
            if depth < 2 and rng.random() < 0.12:
                stack.append((position, heading + rng.choice((-0.8, 0.8)), thickness * 0.7, depth + 1))
    canvas.ask_for((canvas.count,))


def tube(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a bent tube of even width, at times with a lumen: bowel, a large vessel, the spinal cord."""
    side, thickness = canvas.side, canvas.side * rng.uniform(0.03, 0.12)
    position, heading = rng.uniform(0.1, 0.9, 2) * side, rng.uniform(0, 2 * np.pi)
    path = [position]
    turn = rng.normal(0, 0.12)
    for _ in range(int(rng.integers(8, 30))):
        turn = 0.8 * turn + rng.normal(0, 0.08)
        heading += turn
        path.append(path[-1] + side * 0.03 * np.array([np.cos(heading), np.sin(heading)]))
    points = [np.round(np.array(path)).astype(np.int32)]
    canvas.count += 1
    wall = canvas.count
    cv2.polylines(canvas.parts, points, isClosed=False, color=wall, thickness=max(3, round(thickness)))
    if rng.random() < 0.4 and thickness > 6:
        canvas.count += 1
        lumen = max(1, round(thickness * rng.uniform(0.4, 0.75)))
        cv2.polylines(canvas.parts, points, isClosed=False, color=canvas.count, thickness=lumen)
        canvas.ask_for((wall, canvas.count), (canvas.count,))
    else:
        canvas.ask_for((wall,))


def row(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a row of like pieces along a curve: vertebrae, teeth, ribs cut across."""
    side, count = canvas.side, int(rng.integers(3, 9))
    step, angle, bend = side * rng.uniform(0.08, 0.16), rng.uniform(0, 2 * np.pi), rng.normal(0, 0.08)
    centre = rng.uniform(0.2, 0.8, 2) * side
    radii = step * np.array([rng.uniform(0.32, 0.48), rng.uniform(0.4, 1.0)])
    power = rng.uniform(2.0, 5.0)
    for _ in range(count):
        piece = outline(np.zeros(2), radii * np.exp(rng.normal(0, 0.06, 2)), rng, wobble=0.08, power=power, turn=angle)
        canvas.ask_for((canvas.fill(piece + centre),))
        centre = centre + step * np.array([np.cos(angle), np.sin(angle)])
        angle += bend


def outline(
    centre: Outline, radii: Outline, rng: np.random.Generator, *, wobble: float, power: float | None = None,
    turn: float | None = None,
) -> Outline:  # fmt: skip
    """Return the corners (64, 2) of a rotated super-ellipse whose radius wobbles."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    n = rng.uniform(1.4, 4.0) if power is None else power
    cosine, sine = np.cos(angle), np.sin(angle)
    radius = (np.abs(cosine) ** n + np.abs(sine) ** n) ** (-1 / n)
    for order in range(2, 7):
        radius *= 1 + wobble / order * rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    x, y = radius * cosine * radii[0], radius * sine * radii[1]
    by = rng.uniform(0, np.pi) if turn is None else turn
    turned = np.stack([x * np.cos(by) - y * np.sin(by), x * np.sin(by) + y * np.cos(by)], axis=1)
    return np.asarray(turned + centre)


def _nearest(
    x: NDArray[np.floating], y: NDArray[np.floating], seeds: Outline
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which seed is nearest to each place, and how much further off the second nearest is."""
    first = np.full(x.shape, np.inf, np.float32)
    second, which = first.copy(), np.zeros(x.shape, np.int64)
    for number, (sx, sy) in enumerate(seeds.astype(np.float32)):
        distance = np.hypot(x - sx, y - sy).astype(np.float32)
        closer = distance < first
        second = np.where(closer, first, np.minimum(second, distance))
        which[closer] = number
        first = np.minimum(first, distance)
    return which, second - first


def _wave(canvas: Canvas, rng: np.random.Generator, middle: float) -> NDArray[np.float64]:
    along = np.linspace(0, 1, 48)
    waves = [rng.normal(0, 0.05) * np.sin(k * along * np.pi + rng.uniform(0, 6)) for k in (1, 2, 3)]
    return np.asarray(canvas.side * (middle + np.sum(waves, axis=0)))


def _across(canvas: Canvas, upper: NDArray[np.float64], lower: NDArray[np.float64], *, turned: bool) -> None:
    along = np.linspace(-0.05, 1.05, len(upper)) * canvas.side
    corners = np.concatenate([np.stack([along, upper], 1), np.stack([along, lower], 1)[::-1]])
    canvas.ask_for((canvas.fill(corners[:, ::-1] if turned else corners),))
