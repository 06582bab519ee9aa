"""What training samples are cut out of: synthetic scenes, real views, and views of pieces that nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.adapt.prompted.crops import Sample, crop, finished
from samaritan.adapt.prompted.view import Balanced, View
from samaritan.data.synthesis import deform, draw_scene, paint_scene

Array = NDArray[Any]

SCENE_SHARE, REPAINT_SHARE = 0.35, 0.15
PIECES_SHARE = 0.4  # of the real views
SCENE_SIDES = (160, 400)  # of a synthetic scene, before it is cropped


class Sampler:
    """Draws samples: synthetic scenes, real views, and views of `pieces` that nobody labelled.

    Of real views first a modality is drawn, one of four families twice as often as one of a single family; then a
    family, a view, a structure in it, and an object. Without any view there are synthetic scenes only.
    """

    def __init__(self, views: Sequence[View], pieces: Sequence[View] = ()) -> None:
        self._views, self._pieces = Balanced(views), Balanced(pieces)

    def draw(self, size: int, rng: np.random.Generator) -> Sample:
        """Draw one sample of `size` x `size` pixels."""
        while True:
            is_scene = not self._views or rng.random() < SCENE_SHARE
            view, source = _scene(rng) if is_scene else self._view(rng)
            sample = crop(view, size, rng, source=source)
            if sample is not None:
                return finished(sample, rng, spoilt=is_scene)

    def _view(self, rng: np.random.Generator) -> tuple[View, str]:
        """Draw a real view, and say what it is; its image is now and then repainted, always if it has none."""
        if self._pieces and rng.random() < PIECES_SHARE:
            view = self._pieces.draw(rng)
            return view, f"piece of {view.family}"
        view = self._views.draw(rng)
        if view.image is not None and rng.random() > REPAINT_SHARE:
            return view, view.family
        painted = _renumbered(replace(view, parts=deform(view.parts, rng)))
        if not painted.objects:
            return view, view.family
        scene = paint_scene(painted.parts, painted.objects, rng)
        return replace(painted, image=scene.image), f"{view.family} as {scene.appearance}"


def synthetic_view(rng: np.random.Generator) -> View:
    """Draw a synthetic scene; all its objects are of one structure."""
    scene = draw_scene(int(rng.integers(*SCENE_SIDES)), rng)
    return View("synthetic", scene.appearance, scene.image, scene.parts, scene.objects, (1,) * len(scene.objects))


def _scene(rng: np.random.Generator) -> tuple[View, str]:
    view = synthetic_view(rng)
    return view, f"scene: {view.modality}"


def _renumbered(view: View) -> View:
    """Renumber the parts that are there 1, 2, ..., so that painting needs few greys; drop objects that are not."""
    present, dense = np.unique(view.parts, return_inverse=True)
    shift = int(present[0] > 0)
    number = {int(value): index + shift for index, value in enumerate(present)}
    left = [tuple(number[part] for part in members if part in number) for members in view.objects]
    kept = [(members, value) for members, value in zip(left, view.structures, strict=True) if members]
    return replace(
        view,
        parts=(dense.reshape(view.parts.shape) + shift).astype(np.uint16),
        objects=tuple(members for members, _ in kept),
        structures=tuple(value for _, value in kept),
    )
