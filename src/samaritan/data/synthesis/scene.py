"""Scenes: shapes laid out, bent, painted and spoilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samaritan.data.synthesis.anatomy import deform
from samaritan.data.synthesis.appearance import APPEARANCES
from samaritan.data.synthesis.artefacts import spoil
from samaritan.data.synthesis.shapes import SHAPES, Canvas

MIN_PIXELS = 24  # of an object that is worth asking for
LEAST_SIDE = 16  # of a scene: the smaller, the more seldom a shape covers so many pixels; in 4 x 4 none ever can

# How often each appearance is drawn, and which shapes it likes to show; the others get any.
_WEIGHTS = {"any_contrast": 4.0, "ct": 1.5, "mr": 1.5, "ultrasound": 1.5, "histology": 1.5}
_SHAPE_WEIGHTS = {
    "blob": 3.0, "ring": 2.0, "nested": 1.2, "touching": 1.0, "cells": 1.2, "crowd": 0.5, "band": 0.8, "layers": 0.5,
    "vessels": 0.7, "tube": 1.0, "row": 0.8,
}  # fmt: skip
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "fundus": ("blob", "nested", "vessels", "cells"),
    "oct_scan": ("layers", "layers", "blob", "band"),
    "histology": ("cells", "crowd", "nested", "blob", "ring", "tube"),
    "fluorescence": ("cells", "crowd", "blob", "nested"),
    "bright_field": ("cells", "crowd", "blob", "nested", "tube"),
    "electron_microscopy": ("crowd", "crowd", "cells", "nested", "ring"),
    "endoscopy": ("blob", "blob", "touching", "nested"),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and what is in it.

    ``image`` is uint8 (h, w, 3); ``parts`` uint16 (h, w) numbers of parts, 0 for background; an object is the numbers
    of its parts, none of them without a pixel. ``appearance`` is the name of what painted it.
    """

    image: NDArray[np.uint8]
    parts: NDArray[np.uint16]
    objects: tuple[tuple[int, ...], ...]
    appearance: str

    def mask(self, members: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the mask (h, w) of an object."""
        return np.isin(self.parts, members)


def draw_scene(side: int, rng: np.random.Generator, *, appearance: str | None = None) -> Scene:
    """Draw a scene of ``side`` x ``side`` pixels with one object at least; any appearance unless one is named.

    Raises
    ------
    ValueError
        If ``side`` is less than ``LEAST_SIDE``.
    UnknownNameError
        If there is no such appearance.
    """
    if side < LEAST_SIDE:
        message = f"a scene of {side} x {side} pixels has no room for objects; its side is {LEAST_SIDE} at least"
        raise ValueError(message)
    name = appearance or _draw(APPEARANCES, _WEIGHTS, rng)
    while True:
        canvas = Canvas.empty(side)
        for _ in range(int(rng.integers(1, 5))):
            liked = _SHOWN.get(name)
            shape = liked[rng.integers(len(liked))] if liked else _draw(SHAPES, _SHAPE_WEIGHTS, rng)
            SHAPES.get(shape)(canvas, rng)
        parts = deform(canvas.parts, rng)
        objects = _visible(parts, canvas.objects)
        if objects:
            return paint_scene(parts, objects, rng, appearance=name)


def paint_scene(
    parts: NDArray[np.uint16],
    objects: tuple[tuple[int, ...], ...],
    rng: np.random.Generator,
    *,
    appearance: str | None = None,
) -> Scene:
    """Paint a label map (h, w), drawn or real, as one modality would show it, and spoil the picture."""
    name = appearance or _draw(APPEARANCES, _WEIGHTS, rng)
    image = spoil(APPEARANCES.get(name)(parts, rng), rng)
    return Scene(image.astype(np.uint8), parts, objects, name)


def _draw(names: object, weights: Mapping[str, float], rng: np.random.Generator) -> str:
    known = list(names)  # type: ignore[call-overload]
    shares = np.array([weights.get(name, 1.0) for name in known])
    return str(known[rng.choice(len(known), p=shares / shares.sum())])


def _visible(parts: NDArray[np.uint16], objects: list[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Return the objects with enough pixels left, without the parts that have none, each once."""
    alive = np.bincount(parts.ravel(), minlength=1 + max(max(members) for members in objects))
    kept = {tuple(p for p in members if alive[p]): None for members in objects}
    return tuple(members for members in kept if members and alive[list(members)].sum() >= MIN_PIXELS)
